"""llm, by the models of its OpenAI plugin with an `api_base`, which its settings file names likewise.

A response is never logged to its database. It makes a client of OpenAI for each call, with no
way to hand it one: so its retries stay on and its connections are its own. A response has no
method that closes it: a stream that is left stays open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any, Self

from llm.default_plugins.openai_models import AsyncChat, Chat

DISTRIBUTION = IMPORT = "llm"
REQUIREMENTS = ("llm",)


class Client:
    """Ask by a model an address."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._at = cache(self._make)  # an address is a model's, not a call's
        self._at_blocking = cache(self._make_blocking)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        pass

    async def stream(self, path: str) -> AsyncIterator[str]:
        """Yield the pieces of text."""
        async for text in self._at(path).prompt("Count."):
            yield text

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Yield them to a blocking caller."""
        yield from self._at_blocking(path).prompt("Count.")

    async def complete(self, path: str) -> str:
        """Return the text of a response that comes whole."""
        text: str = await self._at(path).prompt("Count.", stream=False).text()
        return text

    def _make(self, path: str) -> Any:
        return AsyncChat("gpt-4o-mini", key="none", api_base=f"{self._base_url}{path}/v1")

    def _make_blocking(self, path: str) -> Any:
        return Chat("gpt-4o-mini", key="none", api_base=f"{self._base_url}{path}/v1")
