"""The limit: a loop of bare aiohttp that trusts every byte, with no error, clock or type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp
import orjson

DISTRIBUTION = IMPORT = "aiohttp"
WIRES = ("openai", "koala")

HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer none"}
QUESTION = {"messages": [{"role": "user", "content": "Count."}], "model": "gpt-4o-mini"}


class Client:
    """Ask over one session."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._session.close()

    async def stream(self, path: str) -> AsyncIterator[str]:
        """Split what comes at blank lines, and take the text out of each event."""
        pick = _koala if path.startswith("/koala") else _openai
        pending = b""
        async with self._post(path, stream=True) as response:
            async for data in response.content.iter_any():
                *events, pending = (pending + data).split(b"\n\n")
                for event in events:
                    if text := pick(event):
                        yield text

    async def complete(self, path: str) -> str:
        """Take the text out of a whole answer."""
        async with self._post(path) as response:
            answer = orjson.loads(await response.read())
        text: str = answer["output"] if path.startswith("/koala") else answer["choices"][0]["message"]["content"]
        return text

    def _post(self, path: str, **options: Any) -> Any:
        own = "/api/gpt/" if path.startswith("/koala") else "/v1/chat/completions"
        body = orjson.dumps({**QUESTION, **options})
        return self._session.post(f"{self._base_url}{path}{own}", data=body, headers=HEADERS)


def _openai(event: bytes) -> str | None:
    if event == b"data: [DONE]":
        return None
    text: str | None = orjson.loads(event[6:])["choices"][0]["delta"].get("content")
    return text


def _koala(event: bytes) -> str:
    text: str = orjson.loads(event[6:])
    return text
