"""An imitation of Parrot on loopback, for demonstrations and tests. It is not the service.

It speaks the wire that the plugin reads, as strictly as the service does, so that what is
wrong in a request shows here; and it answers briefly.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web


def application() -> web.Application:
    """Make the server; its paths are those that the plugin appends to the base URL."""
    app = web.Application()
    app.router.add_post("/chat", answer)
    app.router.add_get("/models", list_models)
    return app


async def answer(request: web.Request) -> web.StreamResponse:
    """Repeat the last message, word by word."""
    try:
        body = await request.json()
        words = f"You said: {body['messages'][-1]['content']}".split(" ")
    except (ValueError, LookupError, TypeError) as error:
        return web.json_response({"error": {"message": f"no request of this wire: {error!r}"}}, status=400)
    events: list[dict[str, Any]] = [{"text": word if place == 0 else f" {word}"} for place, word in enumerate(words)]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in (*events, {"finish": "stop"}, {"usage": {"input": 3, "output": len(words)}}):
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


async def list_models(request: web.Request) -> web.Response:
    """List the models."""
    return web.json_response({"data": [{"id": "small"}, {"id": "large"}]})
