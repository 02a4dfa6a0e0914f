"""gpt4free, by its clients and a provider of its OpenAI template, which is how one gives it a base URL.

The provider's models are told, or it would ask for a list of them. It keeps connections of its
own, of which no more than twenty are open at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any, Self

from g4f.client import AsyncClient, Client as BlockingClient
from g4f.Provider.template import OpenaiTemplate

DISTRIBUTION = IMPORT = "g4f"
REQUIREMENTS = ("g4f",)

QUESTION: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Count."}]}


class Client:
    """Ask by a provider an address."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._at = cache(self._make)  # an address is a provider's, not a call's

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        pass

    async def stream(self, path: str) -> AsyncIterator[str]:
        """Yield the text of the chunks."""
        client = AsyncClient(provider=self._at(path))
        async for chunk in client.chat.completions.create(**QUESTION, stream=True):
            if text := chunk.choices[0].delta.content:
                yield text

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Yield it to a blocking caller."""
        client = BlockingClient(provider=self._at(path))
        for chunk in client.chat.completions.create(**QUESTION, stream=True):
            if text := chunk.choices[0].delta.content:
                yield text

    async def complete(self, path: str) -> str:
        """Return the text of a completion."""
        client = AsyncClient(provider=self._at(path))
        completion = await client.chat.completions.create(**QUESTION)
        text: str = completion.choices[0].message.content
        return text

    def _make(self, path: str) -> Any:
        class Provider(OpenaiTemplate):  # type: ignore[misc]  # of a library that is not here
            base_url = f"{self._base_url}{path}/v1"
            api_key = "none"
            models = ("gpt-4o-mini",)
            working = True

        return Provider
