"""An imitation of the chat-completions wire on loopback, for demonstrations and tests. It isn't a model.

It repeats what it was asked, word by word, and counts words as tokens. It calls the tools
whose names it is told, answers by the schema it is given, stops at `stop` and after
`max_tokens` words, and remembers nothing. It thinks first if it is asked how much, and the
model "sandbox-reasoning" does unless that is "none". Its embeddings count words: texts that
share some are alike. A model called "error-429" refuses with that status.
"""

from __future__ import annotations

import json
import re
from array import array
from base64 import b64encode
from collections.abc import Callable, Iterator
from sys import byteorder
from typing import Any
from zlib import crc32

from aiohttp import web

MODELS = ("sandbox", "sandbox-reasoning")
DIMENSIONS = 64  # of a vector, unless it is asked for others
ID = "chatcmpl-sandbox"
# Types of errors, by status.
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def application() -> web.Application:
    """Make the server; services differ in the path before that of the wire."""
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/{prefix:.*}chat/completions", complete)
    app.router.add_post("/{prefix:.*}embeddings", embed)
    app.router.add_get("/{prefix:.*}models", list_models)
    app.router.add_get("/{prefix:.*}models/{name:.+}", show_model)
    app.router.add_route("*", "/{path:.*}", miss)
    return app


async def list_models(request: web.Request) -> web.Response:
    """List the models."""
    return _json({"object": "list", "data": [_model(name) for name in MODELS]})


async def show_model(request: web.Request) -> web.Response:
    """Describe one model."""
    name = request.match_info["name"]
    return _json(_model(name)) if name in MODELS else _error(404, f"There is no model {name!r}", "model_not_found")


async def miss(request: web.Request) -> web.Response:
    """Refuse what is not of this wire."""
    return _error(404, f"Invalid URL ({request.method} {request.path})")


async def complete(request: web.Request) -> web.StreamResponse:
    """Answer, as a stream where it is asked for."""
    try:
        body = await request.json()
        if refused := _refused(body):
            return refused
        message, reason = _answer(body)
        usage = _usage(body, message)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return _error(400, f"This is not a request of this wire: {error!r}")
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        return _json({**_head(body, "chat.completion"), "choices": [choice], "usage": usage})
    asked = (body.get("stream_options") or {}).get("include_usage")
    return await _stream(request, [*_chunks(body, message, reason), *_last(body, usage if asked else None)])


async def embed(request: web.Request) -> web.Response:
    """Answer with a vector for each text."""
    try:
        body = await request.json()
        if refused := _refused(body):
            return refused
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        write = FORMS[body.get("encoding_format") or "float"]
        vectors = [write(_vector(_words(text), body.get("dimensions") or DIMENSIONS)) for text in texts]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return _error(400, f"This is not a request of this wire: {error!r}")
    rows = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    count = sum(len(_words(text)) for text in texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return _json({"object": "list", "data": rows, "model": body["model"], "usage": usage})


def _vector(words: list[str], dimensions: int) -> array[float]:
    """Return how often each word comes, by its hash, as a vector of length 1."""
    counts = array("f", [0.0] * dimensions)
    for word in words:
        counts[crc32(word.strip().lower().encode()) % dimensions] += 1
    length = sum(count * count for count in counts) ** 0.5 or 1.0
    return array("f", [count / length for count in counts])


def _packed(vector: array[float]) -> str:
    if byteorder == "big":  # pragma: no cover - no such machine runs the tests
        vector.byteswap()
    return b64encode(vector.tobytes()).decode()


FORMS: dict[str, Callable[[array[float]], Any]] = {"float": list, "base64": _packed}


def _refused(body: dict[str, Any]) -> web.Response | None:
    """Refuse by the name of a model."""
    refused = re.fullmatch("error-([45][0-9][0-9])", body["model"])
    return _error(int(refused[1]), f"The model {body['model']!r} refuses") if refused else None


def _answer(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the assistant's message and the finish reason."""
    turns = [message for message in body["messages"] if message["role"] not in ("system", "developer")]
    asked = _text(turns[-1])
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if _thinks(body):
        message["reasoning_content"] = f"They say {asked!r}."
    if turns[-1]["role"] != "tool" and (calls := _calls(body, asked)):
        return {**message, "tool_calls": calls}, "tool_calls"
    content, reason = _cut(_said(body, turns, asked), body)
    return {**message, "content": content}, reason


def _thinks(body: dict[str, Any]) -> bool:
    """Return whether the model thinks: as it is asked to in the words of any service, else by its name."""
    reasoning = body.get("reasoning") or {}
    is_off = reasoning.get("enabled") is False or (body.get("thinking") or {}).get("type") == "disabled"
    effort = "none" if is_off else body.get("reasoning_effort") or reasoning.get("effort")
    return effort != "none" and (effort is not None or body["model"] == "sandbox-reasoning")


def _said(body: dict[str, Any], turns: list[dict[str, Any]], asked: str) -> str:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(_example(wanted["json_schema"]["schema"], asked))
    if wanted.get("type") == "json_object":
        return json.dumps({"you_said": asked})
    if turns[-1]["role"] == "tool":
        results = [_text(turn) for turn in turns if turn["role"] == "tool"]
        return f"The tools say: {', '.join(results)}. This is a sandbox."
    before = len(turns) - 1
    return f"You said: {asked!r}. {before} turn{'' if before == 1 else 's'} came before. This is a sandbox."


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] if part["type"] == "text" else f"[{part['type']}]" for part in content)


def _calls(body: dict[str, Any], asked: str) -> list[dict[str, Any]]:
    """Call the tools that are named, by the question or by `tool_choice`; the first one where any must be."""
    functions = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice", "auto")
    named = choice["function"]["name"] if isinstance(choice, dict) else asked
    called = [function for function in functions if function["name"] in named]
    if choice == "none":
        called = []
    elif choice == "required":
        called = called or functions[:1]
    before = sum(len(message.get("tool_calls") or ()) for message in body["messages"])  # so that no id comes twice
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": function["name"],
                "arguments": json.dumps(_example(function.get("parameters") or {}, asked)),
            },
        }
        for number, function in enumerate(called, start=before)
    ]


def _example(schema: dict[str, Any], asked: str) -> Any:
    """Make up a value that fits a plain schema; a string is what was asked."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type", "object"):
        case "object":
            return {name: _example(inner, asked) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_example(schema.get("items", {}), asked)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    return asked


def _cut(text: str, body: dict[str, Any]) -> tuple[str, str]:
    """Stop if the request says."""
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0]
    words = _words(text)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    return "".join(words[:limit]), "length" if limit < len(words) else "stop"


def _words(text: str) -> list[str]:
    return re.split("(?= )", text) if text else []


def _usage(body: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    thought = len(_words(message.get("reasoning_content", "")))
    calls = [word for call in message.get("tool_calls", ()) for word in _words(call["function"]["arguments"])]
    asked = sum(len(_words(_text(turn))) for turn in body["messages"] if turn.get("content"))
    answered = thought + len(calls) + len(_words(message["content"] or ""))
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def _chunks(body: dict[str, Any], message: dict[str, Any], reason: str) -> Iterator[dict[str, Any]]:
    yield _chunk(body, {"role": "assistant", "content": "", "refusal": None})
    for word in _words(message.get("reasoning_content", "")):
        yield _chunk(body, {"reasoning_content": word})
    for word in _words(message["content"] or ""):
        yield _chunk(body, {"content": word})
    for index, call in enumerate(message.get("tool_calls", ())):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield _chunk(body, {"tool_calls": [{"index": index, **call, "function": function}]})
        for word in _words(call["function"]["arguments"]):
            yield _chunk(body, {"tool_calls": [{"index": index, "function": {"arguments": word}}]})
    yield _chunk(body, {}, reason)


def _last(body: dict[str, Any], usage: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [] if usage is None else [{**_head(body, "chat.completion.chunk"), "choices": [], "usage": usage}]


def _chunk(body: dict[str, Any], delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
    return {**_head(body, "chat.completion.chunk"), "choices": [choice]}


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": ID, "object": kind, "created": 0, "model": body["model"]}


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "providerkit"}


async def _stream(request: web.Request, chunks: list[dict[str, Any]]) -> web.StreamResponse:
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "x-request-id": "req-sandbox"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for data in (*map(json.dumps, chunks), "[DONE]"):
        await response.write(f"data: {data}\n\n".encode())
    return response


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(value, status=status, headers={"x-request-id": "req-sandbox"})


def _error(status: int, words: str, code: str | None = None) -> web.Response:
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return _json({"error": {"message": words, "type": kind, "param": None, "code": code}}, status)
