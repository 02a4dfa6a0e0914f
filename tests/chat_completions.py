"""A plugin for tests that speaks OpenAI's chat completions, with its sandbox.

Source of the wire: openai-python 3.54 and the servers that deviate from it, read in
November 2026. The end is proven by a finish reason or by [DONE].
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
from aiohttp import web

from providerkit import (
    ByContent,
    Chat,
    ContentFiltered,
    ContextLengthExceeded,
    Decoder,
    Endpoint,
    Event,
    EventStream,
    Finish,
    JSONBody,
    Message,
    Model,
    ProviderError,
    ProviderInfo,
    QuotaExhausted,
    ReasoningDelta,
    Request,
    ResponseHead,
    StreamMalformed,
    TextDelta,
    ToolCallDelta,
    Usage,
    hookimpl,
    loads,
)

PATH = "/chat/completions"
REASONS = {"stop", "length", "tool_calls", "content_filter"}
KINDS: dict[str, type[ProviderError]] = {
    "context_length_exceeded": ContextLengthExceeded,
    "content_policy_violation": ContentFiltered,
    "content_filter": ContentFiltered,
    "insufficient_quota": QuotaExhausted,
    "credit_balance_exhausted": QuotaExhausted,
    "organization_spend_limit_exceeded": QuotaExhausted,
    "project_spend_limit_exceeded": QuotaExhausted,
    "organization_usage_limit_exceeded": QuotaExhausted,
}


class ChatCompletions:
    """Talk to a server of this wire; its sandbox says `tokens` words, and takes a prefill or refuses it."""

    def __init__(self, name: str = "chat", *, tokens: int = 60, prefill: bool = True) -> None:
        self.name = name
        self.tokens = tokens
        self.prefill = prefill

    @property
    def text(self) -> str:
        """Return what its sandbox says."""
        return "".join(words(self.name, self.tokens))

    @hookimpl
    def describe(self) -> ProviderInfo:
        return ProviderInfo(
            name=self.name,
            default_base_url=f"http://{self.name}.invalid",
            default_model="model",
            supports={"system", "history", "prefill", "tools", "temperature", "max_tokens", "extra", "reasoning"},
            api_key_env=f"{self.name.upper()}_API_KEY",
        )

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        return Model(name or "model")

    @hookimpl
    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint) -> Request:
        body = {
            "model": model.name,
            "messages": [{"role": "system", "content": chat.system}] * (chat.system is not None)
            + [_message(message) for message in chat.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": chat.temperature,
            "max_tokens": chat.max_tokens,
            "tools": [
                {"type": "function", "function": {"name": tool.name, "parameters": dict(tool.parameters)}}
                for tool in chat.tools
            ],
            **chat.extra,
        }
        given = {name: value for name, value in body.items() if value not in (None, [])}
        headers = {"Authorization": f"Bearer {endpoint.api_key.reveal()}"} if endpoint.api_key else {}
        return Request.json(endpoint.url(PATH), given, headers)

    @hookimpl
    def parse_stream(self, head: ResponseHead) -> Decoder:
        return ByContent(head, stream=EventStream(_chunk), body=JSONBody(_completion))

    @hookimpl
    def parse_error(self, head: ResponseHead, body: bytes) -> ProviderError | None:
        try:
            return _error_in(loads(body), head.status)
        except StreamMalformed:
            return None

    @hookimpl
    def sandbox(self) -> web.Application:
        app = web.Application()
        app.router.add_post(PATH, self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["messages"][-1]["role"] == "assistant" and not self.prefill:
            refusal = {"message": "the last message may not be the assistant's", "type": "invalid_request_error"}
            return web.json_response({"error": refusal}, status=400)
        deltas = tool_call() if "tools" in body else [{"content": word} for word in words(self.name, self.tokens)]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Request-ID": f"{self.name}-1"})
        await response.prepare(request)
        for piece in answer(*deltas, reason="tool_calls" if "tools" in body else "stop", model=body["model"]):
            await response.write(piece)
        return response


def words(name: str, count: int) -> Iterator[str]:
    """Name the provider and count."""
    return (f"{name}{number} " for number in range(count))


def tool_call(arguments: str = '{"city": "Oslo"}', *, index: int = 0, name: str = "weather") -> list[dict[str, Any]]:
    """Return the deltas of a tool call, its arguments cut in two."""
    whole = {"index": index, "id": f"call-{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    parts = arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]
    pieces = [{"index": index, "function": {"arguments": part}} for part in parts]
    return [{"tool_calls": [call]} for call in (whole, *pieces)]


def event(value: Any) -> bytes:
    """Write one server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def chunk(delta: dict[str, Any] | None = None, *, model: str = "model", **members: Any) -> bytes:
    """Write one chunk, with a choice for its delta where it has one; further members of the choice by name."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None, **members}]
    value = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}
    return event(value if delta is not None else {**value, **members})


def answer(*deltas: dict[str, Any], reason: str = "stop", model: str = "model") -> list[bytes]:
    """Write an answer: a piece for each delta, then the finish reason, the usage and [DONE].

    The role comes with the first of them, so that to count pieces is to count tokens.
    """
    return [
        *(chunk({"role": "assistant", **delta} if not at else delta, model=model) for at, delta in enumerate(deltas)),
        chunk({}, model=model, finish_reason=reason),
        chunk(model=model, usage=usage(7, len(deltas))),
        b"data: [DONE]\n\n",
    ]


def usage(asked: Any, answered: Any) -> dict[str, Any]:
    """Return the member of a chunk that counts tokens."""
    return {"prompt_tokens": asked, "completion_tokens": answered}


def refusal(message: str = "no", **members: Any) -> bytes:
    """Write the body of an error."""
    return json.dumps({"error": {"message": message, "type": None, "param": None, "code": None, **members}}).encode()


def _message(message: Message) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    found = {"role": message.role, "content": message.text, "tool_calls": calls, "tool_call_id": message.tool_call_id}
    return {name: value for name, value in found.items() if value not in (None, [])}


def _chunk(data: bytes, event: str) -> list[Event]:
    """Make the events of one chunk; raises the error that it is, or holds."""
    if not data or event == "ping":
        return []
    value = loads(data)
    error = _error_in(value, 200, certainly=event == "error")
    if error is not None:
        raise error
    events = [found for choice in _objects(value.get("choices")) for found in _choice(choice)]
    counted = value.get("usage")
    return [*events, _usage(counted)] if isinstance(counted, dict) else events


def _choice(choice: dict[str, Any]) -> Iterator[Event]:
    delta = choice.get("delta") or choice.get("message") or {}
    yield from _content(delta.get("content"))
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(thought, str):
        yield ReasoningDelta(thought)
    for place, call in enumerate(_objects(delta.get("tool_calls"))):
        yield _tool_call(call, place)
    reason = choice.get("finish_reason")
    if reason:
        yield Finish(reason if reason in REASONS else "other")


def _content(content: Any) -> Iterator[Event]:
    if isinstance(content, str):
        yield TextDelta(content)
    for part in _objects(content):
        if isinstance(part.get("text"), str):
            yield TextDelta(part["text"])
        yield from (ReasoningDelta(thought["text"]) for thought in _objects(part.get("thinking")))


def _tool_call(call: dict[str, Any], place: int) -> ToolCallDelta:
    function = call.get("function") or {}
    arguments = function.get("arguments") or ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    index = call.get("index")
    return ToolCallDelta(place if index is None else index, call.get("id") or "", function.get("name") or "", arguments)


def _usage(counted: dict[str, Any]) -> Usage:
    asked, answered = (
        count if isinstance(count := counted.get(name), int) and count >= 0 else None
        for name in ("prompt_tokens", "completion_tokens")
    )
    return Usage(input_tokens=asked, output_tokens=answered)


def _completion(value: Any) -> list[Event]:
    """Make the events of an answer that came whole, though a stream was asked for."""
    return _chunk(orjson.dumps(value), "message")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _error_in(value: Any, status: int, *, certainly: bool = False) -> ProviderError | None:
    """Make the error that an object is or holds; a list holds it first. What is no object is no chunk."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        raise StreamMalformed(f"expected a chunk, got {type(value).__name__}")
    error = value.get("error") or (value if certainly or value.get("object") == "error" else None)
    if error is None:
        return None
    if not isinstance(error, dict):
        error = {"message": str(error)}
    words = [str(error[name]) for name in ("code", "type") if error.get(name) is not None]
    code = words[0] if words else None
    message = f"the provider said: {error.get('message') or code or 'nothing'}"
    kind = next((KINDS[word] for word in words if word in KINDS), None)
    if kind is not None:
        return kind(message, status=status, code=code)
    number = int(code) if code and code.isdigit() and len(code) == 3 else status
    return ProviderError.from_status(number, message, code=code)
