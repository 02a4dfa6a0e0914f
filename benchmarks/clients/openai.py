"""OpenAI's own client, the asynchronous one over aiohttp, which its README offers for many calls at once.

Retries are off, connections without limit; one pool serves all addresses. The blocking one
goes over httpx2, as it is installed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from functools import cache, cached_property
from typing import Any, Self

import httpx2
import openai

DISTRIBUTION = IMPORT = "openai"
REQUIREMENTS = ("openai[aiohttp]",)

QUESTION: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Count."}]}
# None means aiohttp's own limit, which is 100.
UNLIMITED = httpx2.Limits(max_connections=10_000, max_keepalive_connections=10_000)


class Client:
    """Ask over one pool of connections."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._at = cache(self._make)  # an address is a client's, not a call's
        self._at_blocking = cache(self._make_blocking)
        self._open = ExitStack()

    async def __aenter__(self) -> Self:
        self._pool = openai.DefaultAioHttpClient(limits=UNLIMITED)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._pool.aclose()
        self._open.close()

    async def stream(self, path: str) -> AsyncIterator[str]:
        """Yield the text of the chunks."""
        async with await self._at(path).chat.completions.create(**QUESTION, stream=True) as chunks:
            async for chunk in chunks:
                if text := chunk.choices[0].delta.content:
                    yield text

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Yield it to a blocking caller."""
        with self._at_blocking(path).chat.completions.create(**QUESTION, stream=True) as chunks:
            for chunk in chunks:
                if text := chunk.choices[0].delta.content:
                    yield text

    async def complete(self, path: str) -> str:
        """Return the text of a completion."""
        completion = await self._at(path).chat.completions.create(**QUESTION)
        text: str = completion.choices[0].message.content
        return text

    def _make(self, path: str) -> Any:
        base_url = f"{self._base_url}{path}/v1"
        return openai.AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0, http_client=self._pool)

    def _make_blocking(self, path: str) -> Any:
        base_url = f"{self._base_url}{path}/v1"
        return openai.OpenAI(api_key="none", base_url=base_url, max_retries=0, http_client=self._blocking_pool)

    @cached_property
    def _blocking_pool(self) -> Any:
        return self._open.enter_context(openai.DefaultHttpx2Client(limits=UNLIMITED))
