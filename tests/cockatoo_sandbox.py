"""An imitation of Cockatoo."""

from __future__ import annotations

import json
import re

from aiohttp import web


def application():
    app = web.Application()
    app.router.add_post("/say", say)
    app.router.add_get("/models", models)
    app.router.add_post("/vectors", vectors)
    app.router.add_post("/token", token)
    return app


async def say(request):
    """Think, call the tools that the last message of the user names, and else say what was said."""
    try:
        body = await request.json()
        last = body["turns"][-1]
        asked = " ".join(part.get("text") or "" for part in last["said"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return web.json_response({"error": {"message": repr(error)}}, status=400)
    called = [tool for tool in body["tools"] if tool["name"] in asked and last["role"] == "user"]
    number = len(body["turns"])
    events = [{"by": "white-1"}, {"thought": "Well.", "sign": f"signed-{number}"}]
    events += [
        {"call": index, "id": f"call-{number}-{index}", "tool": tool["name"], "arguments": json.dumps(example(tool))}
        for index, tool in enumerate(called)
    ]
    events += [] if called else [{"text": word} for word in re.split("(?= )", f"You said {asked}.")]
    counts = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    events.append({"tokens": dict.fromkeys(counts, 1), "finish": "calls" if called else "end"})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    return response


def example(tool):
    kinds = {"string": "here", "integer": 1}
    return {name: kinds[schema["type"]] for name, schema in tool["schema"]["properties"].items()}


async def models(request):
    first = "after" not in request.query
    return web.json_response({"models": ["white"] if first else ["black"], "next": "page-2" if first else None})


async def vectors(request):
    """Answer in another order than that of the texts, as services may."""
    texts = (await request.json())["texts"]
    found = [{"of": index, "is": [len(text), ord(text[-1])]} for index, text in enumerate(texts)]
    return web.json_response({"vectors": found[::-1]})


async def token(request):
    return web.json_response({"token": "token-of-cockatoo", "seconds": 60})
