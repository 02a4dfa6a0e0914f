"""Pydantic AI, by the requests to a model that its `direct` module makes, which spare an agent's work.

An agent's `run_stream` is the better known way and does more. OpenAI's client is given, one an
address, with retries off and connections without limit. A blocking stream is an asynchronous
one in a thread and a loop of its own, so no connection is kept for the next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any, Self

import httpx2
import openai
from pydantic_ai import ModelRequest, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.direct import model_request, model_request_stream, model_request_stream_sync
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

DISTRIBUTION, IMPORT = "pydantic-ai-slim", "pydantic_ai"
REQUIREMENTS = ("pydantic-ai-slim[openai]",)

QUESTION = [ModelRequest.user_text_prompt("Count.")]


class Client:
    """Ask over one pool of connections."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._at = cache(self._make)  # an address is a model's, not a call's
        self._at_blocking = cache(self._make_blocking)

    async def __aenter__(self) -> Self:
        self._pool = openai.DefaultAsyncHttpx2Client(limits=httpx2.Limits(max_connections=10_000))
        limits = httpx2.Limits(max_connections=10_000, max_keepalive_connections=0)
        self._unkept = openai.DefaultAsyncHttpx2Client(limits=limits)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._pool.aclose()
        await self._unkept.aclose()

    async def stream(self, path: str) -> AsyncIterator[str]:
        """Yield the text of the events."""
        async with model_request_stream(self._at(path), QUESTION) as events:
            async for event in events:
                if text := text_of(event):
                    yield text

    def stream_blocking(self, path: str) -> Iterator[str]:
        """Yield it to a blocking caller."""
        with model_request_stream_sync(self._at_blocking(path), QUESTION) as events:
            for event in events:
                if text := text_of(event):
                    yield text

    async def complete(self, path: str) -> str:
        """Return the text of a response."""
        response = await model_request(self._at(path), QUESTION)
        text: str = response.text
        return text

    def _make(self, path: str) -> Any:
        return self._model(path, self._pool)

    def _make_blocking(self, path: str) -> Any:
        return self._model(path, self._unkept)

    def _model(self, path: str, pool: Any) -> Any:
        base_url = f"{self._base_url}{path}/v1"
        client = openai.AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0, http_client=pool)
        return OpenAIChatModel("gpt-4o-mini", provider=OpenAIProvider(openai_client=client))


def text_of(event: Any) -> str:
    """Take the text out of an event; the first piece comes with the part it starts."""
    match event:
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)) | PartStartEvent(part=TextPart(content=text)):
            return str(text)
        case _:
            return ""
