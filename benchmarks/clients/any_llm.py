"""any-llm, its OpenAI provider made once an address, as it says for many requests.

Retries are off, connections without limit, by the pool that it hands on to OpenAI's client. A
stream is closed by `aclosing`: one that is left without stays open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from functools import cache
from typing import Any, Self

import any_llm
import httpx2

DISTRIBUTION, IMPORT = "any-llm-sdk", "any_llm"
REQUIREMENTS = ("any-llm-sdk[openai]",)

QUESTION: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Count."}]}


class Client:
    """Ask over one pool of connections."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._at = cache(self._make)  # an address is a provider's, not a call's

    async def __aenter__(self) -> Self:
        limits = httpx2.Limits(max_connections=10_000, max_keepalive_connections=10_000)
        self._pool = httpx2.AsyncClient(limits=limits, timeout=600)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._pool.aclose()

    async def stream(self, path: str) -> AsyncIterator[str]:
        """Yield the text of the chunks."""
        async with aclosing(await self._at(path).acompletion(**QUESTION, stream=True)) as chunks:
            async for chunk in chunks:
                if text := chunk.choices[0].delta.content:
                    yield text

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Yield it to a blocking caller."""
        for chunk in self._at(path).completion(**QUESTION, stream=True):
            if text := chunk.choices[0].delta.content:
                yield text

    async def complete(self, path: str) -> str:
        """Return the text of a completion."""
        completion = await self._at(path).acompletion(**QUESTION)
        text: str = completion.choices[0].message.content
        return text

    def _make(self, path: str) -> Any:
        base_url = f"{self._base_url}{path}/v1"
        return any_llm.AnyLLM.create("openai", api_key="none", api_base=base_url, max_retries=0, http_client=self._pool)
