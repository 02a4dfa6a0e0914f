"""providerkit, in each of the ways to read an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import providerkit

DISTRIBUTION, IMPORT = "providerkit-core", "providerkit"
WIRES = ("openai", "koala")


class Client:
    """Ask over one Client."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def __aenter__(self) -> Self:
        self._client = providerkit.Client(limits=providerkit.Limits(event=2**27))  # growth asks for 64 MB and its frame
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._client.aclose()

    def stream(self, path: str) -> AsyncIterator[str]:
        """Give the pieces of text."""
        return aiter(self._run(path))

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Give them to a blocking caller."""
        return iter(self._run(path))

    async def stream_events(self, path: str) -> AsyncIterator[str]:
        """Give the text of the typed events."""
        async for event in self._run(path).events():
            if isinstance(event, providerkit.TextDelta):
                yield event.text

    async def collect(self, path: str) -> str:
        """Give the whole text of a stream."""
        return (await self._run(path)).text

    async def complete(self, path: str) -> str:
        """Give the text of an answer that comes whole."""
        if path.startswith("/koala"):  # with a key, Koala's wire has one answer
            return (await self._run(path, api_key="none")).text
        return (await self._run(path, extra={"stream": False})).text

    def _run(self, path: str, **options: Any) -> providerkit.Run:
        if path.startswith("/koala"):
            return self._client.run("Count.", model="koala/gpt-4o-mini", base_url=self._base_url + path, **options)
        base_url = f"{self._base_url}{path}/v1"
        return self._client.run("Count.", model="openai/gpt-4o-mini", base_url=base_url, api_key="none", **options)
