"""LangChain's model of OpenAI, by `astream`, `stream` and `ainvoke`.

Retries are off, connections without limit; LangSmith's tracing is off, as it is where nobody
turns it on. One model an address, over one pool of connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from functools import cache, cached_property
from typing import Any, Self

import httpx2
import openai
from langchain_openai import ChatOpenAI

DISTRIBUTION, IMPORT = "langchain-openai", "langchain_openai"
REQUIREMENTS = ("langchain-openai",)
VARIABLES = {"LANGSMITH_TRACING": "false"}

QUESTION = [("user", "Count.")]
UNLIMITED = httpx2.Limits(max_connections=10_000, max_keepalive_connections=10_000)


class Client:
    """Ask over one pool of connections."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._at = cache(self._make)  # an address is a model's, not a call's
        self._open = ExitStack()

    async def __aenter__(self) -> Self:
        self._pool = openai.DefaultAsyncHttpx2Client(limits=UNLIMITED)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._pool.aclose()
        self._open.close()

    async def stream(self, path: str) -> AsyncIterator[str]:
        """Yield the text of the chunks."""
        async for chunk in self._at(path).astream(QUESTION):
            if text := chunk.content:
                yield text

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Yield it to a blocking caller."""
        for chunk in self._at(path).stream(QUESTION):
            if text := chunk.content:
                yield text

    async def complete(self, path: str) -> str:
        """Return the text of a message."""
        message = await self._at(path).ainvoke(QUESTION)
        text: str = message.content
        return text

    def _make(self, path: str) -> Any:
        return ChatOpenAI(
            model="gpt-4o-mini",
            api_key="none",
            base_url=f"{self._base_url}{path}/v1",
            max_retries=0,
            http_client=self._blocking_pool,
            http_async_client=self._pool,
        )

    @cached_property
    def _blocking_pool(self) -> Any:
        return self._open.enter_context(openai.DefaultHttpx2Client(limits=UNLIMITED))
