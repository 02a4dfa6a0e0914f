"""An imitation of Koala on loopback, for demonstrations and tests. It is not the service.

It speaks all three dialects, streams word by word, remembers nothing, and repeats what it
was asked and how many turns came before.
"""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from .plugin import PATH


def application() -> web.Application:
    """Make the server."""
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post(PATH, answer)
    return app


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer in the dialect of the request."""
    try:
        body = await request.json()
        asked, turns = _read(body)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return web.json_response({"error": f"this is not a request of Koala's: {error!r}"}, status=400)
    text = f"You said: {asked!r}. {turns} turn{'' if turns == 1 else 's'} came before. This is Koala's sandbox."
    if "Authorization" in request.headers:
        return web.json_response({"output": text})
    words = [json.dumps(word) for word in re.split("(?= )", text)]
    return await _stream(request, [*words, "[DONE]"] if "messages" in body else words)


def _read(body: dict[str, Any]) -> tuple[str, int]:
    """Return what is asked and how many turns came before."""
    if "messages" in body:
        turns = [message for message in body["messages"] if message["role"] != "system"]
        return turns[-1]["content"], len(turns) - 1
    if len(body["inputHistory"]) != len(body["outputHistory"]):
        raise ValueError("inputHistory and outputHistory differ in length")
    return body["input"], sum(map(bool, (*body["inputHistory"], *body["outputHistory"])))


async def _stream(request: web.Request, events: list[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    for data in events:
        await response.write(f"data: {data}\n\n".encode())
    return response
