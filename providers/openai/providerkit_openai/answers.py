"""What comes back: the chunks of a stream or a whole completion, as events.

Of several choices only the first is read. Keys that are not known here are ignored, unless
they hold a list or an object beside the text: then they are ProviderData. What a service wants
back is kept ProviderData, in the place that `requests` puts it back into.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from providerkit import (
    Answered,
    Decoder,
    DecoderWrapper,
    Event,
    Finish,
    Model,
    ProviderData,
    ProviderError,
    ReasoningDelta,
    ResponseHead,
    StreamMalformed,
    StreamTruncated,
    TextDelta,
    UnexpectedContent,
    Usage,
    loads,
)

from .calls import Calls
from .dialect import Dialect
from .keeping import Keeping
from .refusals import error_within, is_error, said_in, typed
from .template import DATA, Template, text_alone

DONE = b"[DONE]"
# In lower case. Gateways pass on what the service behind them says.
REASONS = {
    "stop": "stop",
    "complete": "stop",  # Cohere
    "completed": "stop",
    "end": "stop",
    "end_turn": "stop",  # Anthropic
    "eos": "stop",  # Together
    "eos_token": "stop",  # text-generation-inference
    "finished": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "incomplete": "length",
    "max_length": "length",
    "max_output_tokens": "length",  # OpenAI's Responses
    "max_tokens": "length",  # Anthropic, Gemini
    "model_context_window_exceeded": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "blocklist": "content_filter",  # Gemini, as the next ones
    "image_prohibited_content": "content_filter",
    "image_recitation": "content_filter",
    "image_safety": "content_filter",
    "jailbreak": "content_filter",
    "model_armor": "content_filter",
    "prohibited_content": "content_filter",
    "recitation": "content_filter",
    "safety": "content_filter",
    "spii": "content_filter",
    "content_filtered": "content_filter",  # Bedrock
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",  # Anthropic
    "sensitive": "content_filter",  # Zhipu
    "continuation": "pause",  # Gemini
    "pause_turn": "pause",  # Anthropic
    "error": "error",
    "failed": "error",
    "insufficient_system_resource": "error",  # DeepSeek
    "malformed_function_call": "error",  # Gemini, as the next ones
    "malformed_response": "error",
    "missing_thought_signature": "error",
    "network_error": "error",  # Zhipu
    "too_many_tool_calls": "error",
    "unexpected_tool_call": "error",
}
UNFINISHED = frozenset({"", "null", "none", "finish_reason_unspecified"})  # reasons that are none yet
# Fields of a delta or message by what they say; services differ in the name.
KINDS = ({"content"}, {"refusal"}, {"reasoning", "reasoning_content"}, {"tool_calls", "function_call"})
READ = frozenset({"role", "usage", "reasoning_details"}).union(*KINDS)


class Answer:
    """Make events of one answer, and remember what its end depends on."""

    def __init__(self, head: ResponseHead, dialect: Dialect) -> None:
        self._head = head
        self._name = dialect.name
        self._calls = Calls(dialect.kept.tool_call)
        self._keeping = Keeping(dialect.kept)
        self._read = READ | dialect.kept.message
        self._template = Template()
        self._begun = False
        self._refused = False
        self._model = ""
        self._streamed: set[str] = set()  # names of fields that deltas have brought
        self._data: dict[str, Any] = {}  # beside the choices, as last told
        self._counters = Counters()
        self._is_counted = False  # usage has come
        self._is_done = False  # [DONE] has come, which usage may follow
        self.broken: StreamMalformed | None = None  # an event is, unless the next one says why

    @property
    def is_over(self) -> bool:
        """Return whether nothing more is expected: usage may follow [DONE]."""
        return self._is_done and self._is_counted

    def parse_event(self, data: bytes, event: str) -> list[Event]:
        """Make events of the data of one server-sent event."""
        if event == "error" and not self._is_done:
            raise self._error(_value_or_text(data))
        if event == "ping":
            return []
        text = self._template.text_in(data)
        if text is not None:
            return [TextDelta(text)]
        if self._is_done:
            return self._late_usage(data)
        try:
            chunk = loads(data)
        except StreamMalformed as error:
            return self._parse_lines(data, error)
        text = None if self.broken else text_alone(chunk)
        if text is None:
            return self._parse_chunk(chunk)
        self._begun = True
        self._streamed.add("content")
        self._template.learn(data, text)
        return [*self._who(chunk), *self._keeping.complete(), TextDelta(text)]

    def _parse_lines(self, data: bytes, error: StreamMalformed) -> list[Event]:
        """Take events that no blank line parts, the mark of the end among them; blank data is none."""
        events: list[Event] = []
        for line in filter(None, map(bytes.strip, data.split(b"\n"))):
            if line == DONE and not self.broken:
                return [*events, self._end_of_wire()]
            try:
                events += self._parse_chunk(loads(line))
            except StreamMalformed:
                return [*events, *self._break(data, error)]
        return events

    def _break(self, data: bytes, error: StreamMalformed) -> list[Event]:
        """Take note of data that is no JSON; raises the error that stands in it, or the one of an event before."""
        if (said := error_within(data)) is not None:
            raise self._error(said)
        if self.broken:
            raise self.broken
        self._template = Template()  # what comes next is looked at
        self.broken = error
        return []

    def _end_of_wire(self) -> Finish:
        self._template = Template()
        self._is_done = True
        return Finish("stop")

    def _late_usage(self, data: bytes) -> list[Event]:
        """Take what follows [DONE]: usage, and nothing else."""
        chunk = None if self._is_counted else _value_or_text(data)
        return self._usage(chunk) if isinstance(chunk, dict) else []

    def _parse_chunk(self, chunk: Any) -> list[Event]:
        if not isinstance(chunk, dict):
            raise StreamMalformed(f"{self._name}: a chunk is {type(chunk).__name__}, not an object")
        if is_error(chunk):
            raise self._error(chunk)
        if self.broken:
            raise self.broken
        choices = _objects(chunk.get("choices"))
        if len(choices) > 1:
            self._counters.stop()
        events: list[Event] = self._who(chunk) if choices else []
        for choice in choices:
            if choice.get("index"):
                self._counters.take(choice)
            else:
                self._parse_choice(choice, events)
        self._add_data(chunk, DATA, events)
        return [*events, *self._usage(chunk)]

    def _who(self, chunk: dict[str, Any]) -> list[Event]:
        """Say who answers, whenever that is news."""
        model = _string(chunk.get("model"))
        if not model or model == self._model:
            return []
        self._model = model
        return [Answered(model, _string(chunk.get("id")) or None)]

    def _add_data(self, value: dict[str, Any], names: frozenset[str], events: list[Event]) -> None:
        """Add what stands beside the text; some services repeat it in every chunk."""
        for name in names & value.keys():
            if value[name] and self._data.get(name) != value[name]:
                self._data[name] = value[name]
                events.append(ProviderData({name: value[name]}))

    def parse_completion(self, value: Any) -> list[Event]:
        """Make events of a completion that came whole; of what is none the core asks `parse_error`."""
        choices = _objects(value.get("choices")) if isinstance(value, dict) else []
        if not choices:
            raise UnexpectedContent("the answer is JSON, but not a completion", status=self._head.status)
        first = next((choice for choice in choices if not choice.get("index")), choices[0])
        return self._parse_chunk({**value, "choices": [{**first, "index": 0}]})

    def _parse_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        if is_error(choice):
            raise self._error(choice)
        self._begun = True
        delta, message = choice.get("delta"), choice.get("message")
        if isinstance(delta, dict):
            self._streamed |= {name for name, value in delta.items() if value}
            self._parse_delta(delta, events)
        if isinstance(message, dict):
            self._parse_delta(self._rest_of(message), events, is_whole=True)
        if logprobs := choice.get("logprobs"):
            events.append(ProviderData({"logprobs": logprobs}))
        if reason := _reason(choice):
            self._counters.stop()
            events.append(Finish(reason, raw=choice["finish_reason"]))

    def _rest_of(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return what a whole message says that no delta has said before it."""
        told = self._streamed.union(*(kind for kind in KINDS if not kind.isdisjoint(self._streamed)))
        return {name: value for name, value in message.items() if name not in told}

    def _parse_delta(self, delta: dict[str, Any], events: list[Event], *, is_whole: bool = False) -> None:
        if thought := _string(delta.get("reasoning_content")) or _string(delta.get("reasoning")):
            events.append(ReasoningDelta(thought))
        self._keeping.add(delta, is_whole=is_whole)
        content = delta.get("content")
        refusal = _string(delta.get("refusal"))
        calls = _objects(delta.get("tool_calls"))
        function = delta.get("function_call")
        if isinstance(content, str) and content:
            events += [*self._keeping.complete(), TextDelta(content)]
        elif content:
            events += self._parts(content)
        if refusal or calls or function:
            events += self._keeping.complete()
        if refusal:
            self._refused = True
            events.append(TextDelta(refusal))
        events += self._calls.whole(calls) if is_whole else self._calls.pieces(calls)
        if function:
            events += self._calls.pieces([{"index": 0, "function": function}])
        if self._keeping.is_open:
            self._template = Template()  # which does not see that something else comes
        for name in delta.keys() - self._read:
            if delta[name] and isinstance(delta[name], (list, dict)):
                events.append(ProviderData({name: delta[name]}))

    def _parts(self, content: Any) -> Iterator[Event]:
        """Read a content of parts, as Mistral gives it."""
        for part in _objects(content):
            kind = part.get("type")
            is_kept = self._keeping.wants(kind)
            if not is_kept or self._keeping.is_other(part):
                yield from self._keeping.complete()
            match kind:
                case "thinking":
                    yield ReasoningDelta(_joined(part.get("thinking")))
                case "text" | "output_text":
                    yield TextDelta(_joined(part.get("text")))
                case _ if not is_kept:
                    yield ProviderData(part)
            if is_kept:
                self._keeping.add_part(part)

    def _usage(self, chunk: dict[str, Any]) -> list[Event]:
        """Count tokens, wherever in a chunk that is said; the last place counts."""
        x_groq = chunk.get("x_groq")
        choices = _objects(chunk.get("choices"))
        places = [*choices, *(choice.get("delta") for choice in choices), x_groq, chunk]
        found = [usage for place in places for usage in usage_in(_inner(place, "usage"))][-1:]
        self._is_counted = self._is_counted or bool(found)
        return list(found)

    def _error(self, value: Any) -> ProviderError:
        return typed(said_in(value) or {}, self._head, self._name)

    def end(self, finish: Finish) -> list[Event]:
        """Return the end of the answer: calls without arguments, and the Finish that what came before wants.

        Raises UnexpectedContent if nothing of an answer came before it.
        """
        if not self._begun:
            raise UnexpectedContent("the answer ended without a choice", status=self._head.status)
        rest, reason, raw = self._counters.rest()
        finish = attrs.evolve(finish, reason=reason, raw=raw) if reason else finish
        if finish.reason == "stop" and self._calls:
            finish = attrs.evolve(finish, reason="tool_calls")
        elif finish.reason == "stop" and self._refused:
            finish = attrs.evolve(finish, reason="content_filter")
        kept = self._keeping.complete(is_end=True, called_tool=bool(self._calls))
        return [*kept, *rest, *self._calls.rest(), finish]


class Counters:
    """The text of an old server that counts tokens in the `index` of its one choice.

    That looks like many choices, of which only the first is ours, until it shows that the
    first has not ended and that no index came twice. So it is told at the end.
    """

    def __init__(self) -> None:
        self._index = 0
        self._events: list[Event] = []
        self._reason = ""
        self._raw: str | None = None
        self._is_possible = True

    def take(self, choice: dict[str, Any]) -> None:
        """Take a choice whose index is not 0, as it was before."""
        index = choice["index"]
        if not self._is_possible or not isinstance(index, int) or index <= self._index:
            self.stop()
            return
        self._index = index
        delta = choice.get("delta") or choice.get("message")
        if text := _string(_inner(delta, "content")):
            self._events.append(TextDelta(text))
        if not self._reason and (reason := _reason(choice)):
            self._reason, self._raw = reason, choice["finish_reason"]

    def stop(self) -> None:
        """Take note that other indices are other choices."""
        self._is_possible = False
        self._events = []

    def rest(self) -> tuple[list[Event], str, str | None]:
        """Return the rest of the text, and its end in our word and the wire's; nothing if there are several choices."""
        return (self._events, self._reason, self._raw) if self._is_possible else ([], "", None)


class Completed(DecoderWrapper):
    """Let the answer say how it ends."""

    def __init__(self, decoder: Decoder, answer: Answer) -> None:
        super().__init__(decoder)
        self._answer = answer

    @property
    def ended(self) -> bool:
        """Return whether the wire has said the end, or an error waits for the event that explains it."""
        return self.decoder.ended or self._answer.broken is not None

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes, with the Finish once usage and [DONE] have come."""
        events = self.decoder.feed(data)
        return self.transform([*events, *self.decoder.close()] if self._answer.is_over else events)

    def close(self) -> list[Event]:
        """Return the events that the end of the body gives; raises the error that nothing has explained."""
        broken = self._answer.broken
        try:
            events = self.decoder.close()
        except StreamTruncated:
            if broken is None:
                raise
        if broken is not None:
            raise broken
        return self.transform(events)

    def transform(self, events: list[Event]) -> list[Event]:
        """Look for the Finish."""
        if events and isinstance(finish := events[-1], Finish):
            return [*events[:-1], *self._answer.end(finish)]
        return events


def _reason(choice: dict[str, Any]) -> str:
    """Return why a choice has ended, in our words; empty if it has not."""
    said = _string(choice.get("finish_reason")).lower().removeprefix("finishreason.")
    return "" if said in UNFINISHED else REASONS.get(said, "other")


def _joined(text: Any) -> str:
    return _string(text) or "".join(_string(part.get("text")) for part in _objects(text))


def usage_in(value: Any) -> list[Usage]:
    """Read the tokens; none where none are counted."""
    asked, answered = _inner(value, "prompt_tokens_details"), _inner(value, "completion_tokens_details")
    input_tokens, reasoning_tokens = _count(value, "prompt_tokens"), _count(answered, "reasoning_tokens")
    cached = (_count(asked, "cached_tokens"), _count(value, "prompt_cache_hit_tokens"), _count(value, "cached_tokens"))
    cache_read_tokens = next((count for count in cached if count is not None), None)  # OpenAI, DeepSeek, Moonshot
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
        if is_error(value):
            raise typed(said_in(value) or {}, head, name)
        value = value.get("data", value) or []
    if not isinstance(value, list):
        raise UnexpectedContent("the answer is JSON, but not a list of models", status=head.status)
    return [Model(model) for model in (_string(row.get("id")) for row in _objects(value)) if model]


def _value_or_text(data: bytes) -> Any:
    try:
        return loads(data)
    except StreamMalformed:
        return data.decode("utf-8", "replace")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
