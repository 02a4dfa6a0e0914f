"""providerkit, in each of the ways to read an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import providerkit

DISTRIBUTION, IMPORT = "providerkit-core", "providerkit"
WIRES = ("openai", "koala")

SAID = "A sentence of no importance, as they are said in every chat."


class Through:
    """Wrap all there is to wrap, and change nothing."""

    @providerkit.hookimpl(wrapper=True)
    def build_request(self) -> Generator[None, providerkit.Request, providerkit.Request]:
        """Pass the request through."""
        return (yield)

    @providerkit.hookimpl(wrapper=True)
    def parse_stream(self) -> Generator[None, providerkit.Decoder, providerkit.Decoder]:
        """Pass the events through."""
        return providerkit.DecoderWrapper((yield))

    @providerkit.hookimpl(wrapper=True)
    def wrap_transport(self) -> Generator[None, providerkit.Transport, providerkit.Transport]:
        """Pass the transport through."""
        return (yield)


class Client:
    """Ask over one Client; growth varies how much was said before, and what is active ("" stands for Through)."""

    history = 0
    extensions: Sequence[str] = ()

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def __aenter__(self) -> Self:
        self._client = providerkit.Client(limits=providerkit.Limits(event=2**27))  # growth asks for 64 MB and its frame
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._client.aclose()

    def stream(self, path: str) -> AsyncIterator[str]:
        """Return the pieces of text."""
        return aiter(self._run(path))

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Return them to a blocking caller."""
        return iter(self._run(path))

    async def stream_events(self, path: str) -> AsyncIterator[str]:
        """Yield the text of the typed events."""
        async for event in self._run(path).events():
            if isinstance(event, providerkit.TextDelta):
                yield event.text

    async def collect(self, path: str) -> str:
        """Return the whole text of a stream."""
        return (await self._run(path)).text

    async def complete(self, path: str) -> str:
        """Return the text of an answer that comes whole."""
        if path.startswith("/koala"):  # with a key, Koala's wire has one answer
            return (await self._run(path, api_key="none")).text
        return (await self._run(path, extra={"stream": False})).text

    def _run(self, path: str, **options: Any) -> providerkit.Run:
        if self.extensions:
            options["extensions"] = self._active
        if path.startswith("/koala"):
            options = {"model": "koala/gpt-4o-mini", "base_url": self._base_url + path, **options}
        else:
            base_url = f"{self._base_url}{path}/v1"
            options = {"model": "openai/gpt-4o-mini", "base_url": base_url, "api_key": "none", **options}
        return self._client.run(self._messages() if self.history else "Count.", **options)

    @cached_property
    def _active(self) -> list[object]:
        return [name or Through() for name in self.extensions]

    def _messages(self) -> list[dict[str, str]]:
        turns = [{"role": role, "content": SAID} for role in ("user", "assistant")]
        return [turns[number % 2] for number in range(self.history)] + [{"role": "user", "content": "Count."}]
