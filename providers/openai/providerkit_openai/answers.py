"""What comes back: the chunks of a stream or a whole completion, as events.

Of several choices only the first is read, and keys that are not known here are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from providerkit import (
    Decoder,
    DecoderWrapper,
    Event,
    Finish,
    Model,
    ProviderError,
    ReasoningDelta,
    ResponseHead,
    StreamMalformed,
    TextDelta,
    ToolCallDelta,
    UnexpectedContent,
    Usage,
    loads,
)

from .refusals import said_in, typed
from .template import Template, text_alone

DONE = b"[DONE]"
REASONS = {
    "stop": "stop",
    "eos": "stop",  # Together
    "length": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    "insufficient_system_resource": "error",  # DeepSeek
}


class Answer:
    """Make events of one answer, and remember what its end depends on."""

    def __init__(self, head: ResponseHead, name: str) -> None:
        self._head = head
        self._name = name
        self._calls = Calls()
        self._template = Template()
        self._begun = False
        self._refused = False

    def parse_event(self, data: bytes, event: str) -> list[Event]:
        """Make events of the data of one server-sent event."""
        if event == "error":
            raise self._error(_value_or_text(data))
        if event == "ping":
            return []
        text = self._template.text_in(data)
        if text is not None:
            return [TextDelta(text)]
        try:
            chunk = loads(data)
        except StreamMalformed:
            return self._parse_lines(data)
        text = text_alone(chunk)
        if text is None:
            return self._parse_chunk(chunk)
        self._begun = True
        self._template.learn(data, text)
        return [TextDelta(text)]

    def _parse_lines(self, data: bytes) -> list[Event]:
        """Take events that no blank line parts, the mark of the end among them; blank data is none."""
        lines = [line.strip() for line in data.split(b"\n") if line.strip()]
        events = [event for line in lines if line != DONE for event in self._parse_chunk(loads(line))]
        return [*events, Finish("stop")] if lines[-1:] == [DONE] else events

    def _parse_chunk(self, chunk: Any) -> list[Event]:
        if not isinstance(chunk, dict):
            raise StreamMalformed(f"{self._name}: a chunk is {type(chunk).__name__}, not an object")
        if _is_error(chunk):
            raise self._error(chunk)
        events: list[Event] = []
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                self._parse_choice(choice, events)
        if usage := chunk.get("usage"):
            events += usage_in(usage)
        return events

    def parse_completion(self, value: Any) -> list[Event]:
        """Make events of a completion that came whole; of what is none the core asks `parse_error`."""
        if not isinstance(value, dict) or not _objects(value.get("choices")):
            raise UnexpectedContent("the answer is JSON, but not a completion", status=self._head.status)
        return self._parse_chunk(value)

    def _parse_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        if _is_error(choice):
            raise self._error(choice)
        self._begun = True
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            self._parse_delta(delta, events)
        if reason := _string(choice.get("finish_reason")):
            events.append(Finish(REASONS.get(reason, "other")))

    def _parse_delta(self, delta: dict[str, Any], events: list[Event]) -> None:
        if thought := _string(delta.get("reasoning_content")) or _string(delta.get("reasoning")):
            events.append(ReasoningDelta(thought))
        content = delta.get("content")
        if content:
            events += [TextDelta(content)] if isinstance(content, str) else _parts(content)
        if refusal := _string(delta.get("refusal")):
            self._refused = True
            events.append(TextDelta(refusal))
        if calls := delta.get("tool_calls"):
            events += [self._calls.piece(call, call.get("function")) for call in _objects(calls)]
        if function := delta.get("function_call"):
            events.append(self._calls.piece({"index": 0}, function))

    def _error(self, value: Any) -> ProviderError:
        return typed(said_in(value) or {}, self._head, self._name)

    def end(self, finish: Finish) -> list[Event]:
        """Give the end of the answer: ids of calls that have none, and the Finish that what came before wants.

        Raises UnexpectedContent where nothing of an answer came before it.
        """
        if not self._begun:
            raise UnexpectedContent("the answer ended without a choice", status=self._head.status)
        if finish.reason == "stop" and self._calls:
            finish = attrs.evolve(finish, reason="tool_calls")
        elif finish.reason == "stop" and self._refused:
            finish = attrs.evolve(finish, reason="content_filter")
        return [*self._calls.missing_ids(), finish]


class Completed(DecoderWrapper):
    """Let the answer say how it ends."""

    def __init__(self, decoder: Decoder, answer: Answer) -> None:
        super().__init__(decoder)
        self._answer = answer

    def transform(self, events: list[Event]) -> list[Event]:
        """Look for the Finish."""
        if events and isinstance(finish := events[-1], Finish):
            return [*events[:-1], *self._answer.end(finish)]
        return events


@attrs.define
class _Call:
    position: int
    id: str = ""
    name: str = ""


class Calls:
    """Tell which pieces belong to one tool call, and count the calls from 0.

    Pieces of one call have one index. Where a server leaves the index out, or gives all
    calls the same, an id or a name that is not the call's begins another one.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._known: dict[int | str, _Call] = {}  # by index, where there is one, else by id

    def __bool__(self) -> bool:
        return bool(self._calls)

    def piece(self, entry: dict[str, Any], function: Any) -> ToolCallDelta:
        """Make the event of one piece."""
        function = function if isinstance(function, dict) else {}
        call_id, name = _string(entry.get("id")), _string(function.get("name"))
        index = entry.get("index")
        key = index if isinstance(index, int) else call_id
        call = self._known.get(key)
        if call is None and key == call_id:
            call = self._continued(call_id, name)
        if call is None or _is_another(call, call_id, name):
            call = _Call(len(self._calls))
            self._calls.append(call)
        if key != "":
            self._known[key] = call
        call.id, call.name = call.id or call_id, call.name or name
        return ToolCallDelta(call.position, call_id, name, _arguments(function.get("arguments")))

    def _continued(self, call_id: str, name: str) -> _Call | None:
        """Give the last call where a piece without an index goes on with it."""
        last = self._calls[-1] if self._calls else None
        return None if last is None or (name and last.name) or (call_id and last.id) else last

    def missing_ids(self) -> Iterator[ToolCallDelta]:
        """Give each call an id where the server gave none: the message that answers it needs one."""
        return (ToolCallDelta(call.position, f"call_{call.position}") for call in self._calls if not call.id)


def _is_another(call: _Call, call_id: str, name: str) -> bool:
    """Tell whether a piece begins another call; some servers give every piece an id of its own, but no name."""
    if not name or not call.name:
        return False
    return call_id != call.id if call_id and call.id else name != call.name


def _arguments(given: Any) -> str:
    if isinstance(given, str):
        return given
    return "" if given is None else json.dumps(given, ensure_ascii=False, separators=(",", ":"))


def _parts(content: Any) -> Iterator[Event]:
    """Read a content of parts, as Mistral gives it."""
    for part in _objects(content):
        if part.get("type") == "thinking":
            yield ReasoningDelta(_joined(part.get("thinking")))
        elif part.get("type") == "text":
            yield TextDelta(_joined(part.get("text")))


def _joined(text: Any) -> str:
    return _string(text) or "".join(_string(part.get("text")) for part in _objects(text))


def usage_in(value: Any) -> list[Usage]:
    """Read the tokens; none where none are counted."""
    asked, answered = _inner(value, "prompt_tokens_details"), _inner(value, "completion_tokens_details")
    input_tokens, reasoning_tokens = _count(value, "prompt_tokens"), _count(answered, "reasoning_tokens")
    cache_read_tokens = _count(asked, "cached_tokens")
    if cache_read_tokens is None:
        cache_read_tokens = _count(value, "prompt_cache_hit_tokens")  # DeepSeek
    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=_output_tokens(value, input_tokens, reasoning_tokens),
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=_count(asked, "cache_write_tokens"),
        reasoning_tokens=reasoning_tokens,
    )
    return [] if usage == Usage() else [usage]


def _output_tokens(value: dict[str, Any], asked: int | None, reasoning: int | None) -> int | None:
    """Count the reasoning in, also where a service does not, as the total then shows."""
    answered = _count(value, "completion_tokens")
    if answered is None or asked is None or reasoning is None:
        return answered
    apart = _count(value, "total_tokens") == asked + answered + reasoning
    return answered + reasoning if apart else answered


def _inner(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _count(value: Any, name: str) -> int | None:
    count = _inner(value, name)
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def models_of(head: ResponseHead, body: bytes, name: str) -> list[Model]:
    """Read a list of models, which some services do not wrap."""
    value = loads(body)
    if isinstance(value, dict):
        if _is_error(value):
            raise typed(said_in(value) or {}, head, name)
        value = value.get("data", value) or []
    if not isinstance(value, list):
        raise UnexpectedContent("the answer is JSON, but not a list of models", status=head.status)
    return [Model(model) for model in (_string(row.get("id")) for row in _objects(value)) if model]


def _is_error(value: dict[str, Any]) -> bool:
    error = value.get("error")
    if error is None:
        return value.get("object") == "error"  # vLLM, Mistral
    return bool(error) or "choices" not in value


def _value_or_text(data: bytes) -> Any:
    try:
        return loads(data)
    except StreamMalformed:
        return data.decode("utf-8", "replace")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
