"""LiteLLM, by `acompletion` and `completion`; the former with a shared aiohttp session, as its pages advise for speed.

Retries are off, connections without limit, and no callback is set. A stream is
closed by `aclosing`: one that is left without stays open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, Self

import aiohttp
import litellm

DISTRIBUTION = IMPORT = "litellm"
REQUIREMENTS = ("litellm",)
VARIABLES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or the import downloads the table
    "REPEATED_STREAMING_CHUNK_LIMIT": "10000000",  # or a hundred equal pieces of text are an error
}

QUESTION: dict[str, Any] = {
    "model": "openai/gpt-4o-mini",
    "messages": [{"role": "user", "content": "Count."}],
    "api_key": "none",
    "max_retries": 0,
}


class Client:
    """Ask over one session."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._session.close()

    async def stream(self, path: str) -> AsyncIterator[str]:
        """Yield the text of the chunks."""
        asking = litellm.acompletion(**self._asking(path), stream=True, shared_session=self._session)
        async with aclosing(await asking) as chunks:
            async for chunk in chunks:
                if text := chunk.choices[0].delta.content:
                    yield text

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Yield it to a blocking caller."""
        for chunk in litellm.completion(**self._asking(path), stream=True):
            if text := chunk.choices[0].delta.content:
                yield text

    async def complete(self, path: str) -> str:
        """Return the text of a response."""
        response = await litellm.acompletion(**self._asking(path), shared_session=self._session)
        text: str = response.choices[0].message.content
        return text

    def _asking(self, path: str) -> dict[str, Any]:
        return {**QUESTION, "api_base": f"{self._base_url}{path}/v1"}
