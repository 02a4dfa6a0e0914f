"""Spans and metrics of runs; the only module that imports OpenTelemetry, whose API it takes and no SDK."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context, metrics, trace

from .. import (
    Chat,
    FilePart,
    ImagePart,
    Message,
    Model,
    Part,
    ProviderKitError,
    ReasoningDelta,
    ReasoningPart,
    Reply,
    Request,
    TextDelta,
    TextPart,
    ToolCall,
    ToolCallDelta,
    Usage,
    __version__,
)
from . import conventions as names

CONTENT = TextDelta, ReasoningDelta, ToolCallDelta


class Telemetry:
    """Hold a tracer and the instruments of a meter."""

    def __init__(
        self,
        edition: names.Edition,
        tracer_provider: trace.TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
        *,
        content: bool,
    ) -> None:
        self.edition = edition
        self.content = content
        self.tracer = trace.get_tracer("providerkit", __version__, tracer_provider, edition.schema_url)
        meter = metrics.get_meter("providerkit", __version__, meter_provider, edition.schema_url)
        self.duration, self.first_chunk, self.each_chunk = (
            meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=names.SECONDS)
            for name in (edition.duration, edition.first_chunk, edition.each_chunk)
        )
        sizes = {
            name: meter.create_histogram(name, "{token}", explicit_bucket_boundaries_advisory=names.TOKENS)
            for name in dict.fromkeys(edition.sizes.values())
        }
        self._sizes = {kind: sizes[name] for kind, name in edition.sizes.items()}
        self._is_shared = len(sizes) < len(self._sizes)
        self._sums = {field: meter.create_counter(name, "{token}") for field, name in edition.sums.items()}

    def begin(self, provider: str, chat: Chat, model: Model) -> Operation:
        """Begin to follow a run."""
        return Operation(self, provider, chat, model)

    def count(self, usage: Usage, attributes: Mapping[str, Any]) -> None:
        """Count tokens; what the provider did not say is not counted."""
        for kind, histogram in self._sizes.items():
            count = getattr(usage, f"{kind}_tokens")
            if count is not None:
                histogram.record(count, {**attributes, names.TOKEN_TYPE: kind} if self._is_shared else attributes)
        for field, counter in self._sums.items():
            count = getattr(usage, field)
            if count is not None:
                counter.add(count, attributes)


class Operation:
    """Observe one run: its span begins where this is made, under the span that is current there.

    The span is started by the first that is told, as of that moment: a Run may be abandoned
    before, of whose end nothing is told.
    """

    def __init__(self, telemetry: Telemetry, provider: str, chat: Chat, model: Model) -> None:
        self._telemetry = telemetry
        self._chat = chat
        self._parent = context.get_current()
        self._began_at = time.time_ns()
        self._began = time.monotonic()
        self._known: dict[str, Any] = {
            names.OPERATION: names.CHAT,
            names.PROVIDER: provider,
            names.REQUEST_MODEL: model.name,
        }
        self._first: float | None = None
        self._latest: float | None = None
        self._started: trace.Span | None = None

    def current(self) -> AbstractContextManager[object]:
        """Make the span the current one within a block."""
        return trace.use_span(self._span(), record_exception=False, set_status_on_exception=False)

    def attempt(self, route: str, request: Request) -> None:
        """Note where the request goes: the last one counts."""
        url = urlsplit(request.url)
        port = url.port or (80 if url.scheme == "http" else 443)
        self._known |= {names.ADDRESS: url.hostname or "", names.PORT: port}
        self._span().set_attributes({**self._known, names.STREAM: request.stream})

    def events(self, batch: Sequence[object]) -> None:
        """Note when content comes."""
        if not any(isinstance(event, CONTENT) for event in batch):
            return
        now = time.monotonic()
        if self._latest is None:
            self._first = now - self._began
        else:
            self._telemetry.each_chunk.record(now - self._latest, self._known)
        self._latest = now

    def retry(self, error: ProviderKitError, delay: float) -> None:
        """Note on the span what broke."""
        self._first = self._latest = None
        facts = {names.ERROR: _type(error), names.DELAY: delay, names.STATUS: getattr(error, "status", None)}
        self._span().add_event(names.RETRY, _given(facts))

    def finish(self, reply: Reply) -> None:
        """End the span, and measure."""
        self._known |= {names.PROVIDER: reply.provider or "", names.RESPONSE_MODEL: reply.model or ""}
        usage = reply.usage or Usage()
        edition = self._telemetry.edition
        self._telemetry.count(usage, self._known)
        if self._first is not None:
            self._telemetry.first_chunk.record(self._first, self._known)
        told = {name: getattr(usage, field) for field, name in edition.usage.items()} | {
            names.FINISH_REASONS: [str(reply.finish_reason)],
            names.FIRST_CHUNK: self._first,
            names.REQUEST_ID: reply.request_id,
            names.ATTEMPTS: len(reply.attempts),
            names.SOURCE: reply.attempts[-1].source,
        }
        if self._telemetry.content:
            told[names.OUTPUT] = _json([_message(reply.message, str(reply.finish_reason))])
        self._end(told)

    def error(self, error: ProviderKitError | None) -> None:
        """End the span with an error, or without a reason to finish, where the run was left."""
        if error is not None:
            self._known |= {names.ERROR: _type(error)}
            says = str(error) if self._telemetry.content else None
            self._span().set_status(trace.StatusCode.ERROR, says)
        self._end({})

    def _end(self, told: dict[str, Any]) -> None:
        self._telemetry.duration.record(time.monotonic() - self._began, self._known)
        span = self._span()
        span.set_attributes(_given(self._known | told))
        span.end()

    def _span(self) -> trace.Span:
        if self._started is None:
            self._started = self._telemetry.tracer.start_span(
                f"{names.CHAT} {self._known[names.REQUEST_MODEL]}",
                self._parent,
                trace.SpanKind.CLIENT,
                _given(self._known | self._asked()),
                start_time=self._began_at,
            )
        return self._started

    def _asked(self) -> dict[str, Any]:
        chat = self._chat
        asked = {name: getattr(chat, option) for option, name in names.REQUEST.items()}
        asked[names.OUTPUT_TYPE] = None if chat.response_format is None else "json"
        if self._telemetry.content:
            asked[names.INPUT] = _json([_message(message) for message in chat.turns])
            asked[names.SYSTEM] = _json([{"type": "text", "content": text} for text in chat.system_texts])
            asked[names.TOOLS] = _json(
                [
                    {
                        "type": "function",
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": dict(tool.parameters),
                    }
                    for tool in chat.tools
                ]
            )
        return asked


def _type(error: ProviderKitError) -> str:
    return type(error).__name__


def _given(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, (), "")}


def _json(value: Sequence[object]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str) if value else ""


def _message(message: Message, finish_reason: str | None = None) -> dict[str, Any]:
    """Write a message as the conventions' JSON schemas of messages have it."""
    parts: list[dict[str, Any]] = []
    if message.role == "tool":
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": message.text})
    else:
        parts += [written for part in message.parts if (written := _part(part))]
    return {"role": message.role, "parts": parts} | ({"finish_reason": finish_reason} if finish_reason else {})


def _part(part: Part) -> dict[str, Any] | None:
    """Write a part; None for what only one provider understands."""
    match part:
        case TextPart():
            return {"type": "text", "content": part.text}
        case ReasoningPart():
            return {"type": "reasoning", "content": part.text}
        case ToolCall():
            return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": part.arguments}
        case ImagePart() | FilePart():
            return _file(part)
    return None


def _file(part: ImagePart | FilePart) -> dict[str, Any]:
    kind = "image/" if isinstance(part, ImagePart) else part.media_type or ""
    modality = {"modality": kind.partition("/")[0]} if kind.startswith(("image/", "audio/", "video/")) else {}
    if isinstance(part, FilePart) and part.id is not None:
        return {"type": "file", **modality, "file_id": part.id}
    if part.data is None:
        return {"type": "uri", **modality, "uri": part.url}
    return {"type": "blob", **modality, "mime_type": part.media_type, "content": base64.b64encode(part.data).decode()}
