"""What comes back: events as they arrive, and the reply that joins all events of one answer."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from itertools import count
from sys import getsizeof
from typing import Any, TypeAlias

import attrs

from .errors import ProviderKitError, is_finite_number
from .messages import Chat, Message, ToolCall


@attrs.frozen
class TextDelta:
    """Carry a piece of the answer's text."""

    text: str

    def __init__(self, text: str) -> None:  # most events are this one, and attrs' own takes half as long again
        _set_text(self, text)


_set_text = vars(TextDelta)["text"].__set__


@attrs.frozen
class ReasoningDelta:
    """Carry a piece of what the model thinks before it answers."""

    text: str


@attrs.frozen
class ToolCallDelta:
    """Carry a piece of a tool call.

    Pieces with the same `index` (counted from 0) belong to one call; `id` and `name` are
    empty in pieces that do not repeat them, `arguments` is a fragment of JSON text. A call
    that ends without an id is given one by the core, unique within the chat.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


MAX_TOKENS = 2**53  # the largest whole number that JSON carries everywhere (RFC 8259, section 6)


def _token_count(value: Any) -> int | None:
    """Return a count as a wire tells it; None for what is not a whole number of tokens."""
    if type(value) is int:  # nearly always
        return value if 0 <= value <= MAX_TOKENS else None
    return int(value) if is_finite_number(value) and 0 <= value <= MAX_TOKENS and value == int(value) else None


@attrs.frozen
class Usage:
    """The tokens that the answer cost; None if the provider did not say.

    `input_tokens` includes those read from and written to the provider's cache,
    `output_tokens` includes those spent on reasoning. A wire that tells anything but a whole
    number from 0 up to 2**53 has not said either: plugins pass on what they read, and
    whoever counts with a Usage need not look.

    >>> Usage(input_tokens=12.0, output_tokens=-1)
    Usage(input_tokens=12, output_tokens=None, cache_read_tokens=None, cache_write_tokens=None, reasoning_tokens=None)
    """

    input_tokens: int | None = attrs.field(default=None, converter=_token_count)
    output_tokens: int | None = attrs.field(default=None, converter=_token_count)
    cache_read_tokens: int | None = attrs.field(default=None, converter=_token_count)
    cache_write_tokens: int | None = attrs.field(default=None, converter=_token_count)
    reasoning_tokens: int | None = attrs.field(default=None, converter=_token_count)

    def __add__(self, other: Usage) -> Usage:
        """Return the sum, in which None counts as nothing.

        >>> Usage(3, 1) + Usage(4)
        Usage(input_tokens=7, output_tokens=1, cache_read_tokens=None, cache_write_tokens=None, reasoning_tokens=None)
        """
        return Usage(*map(_sum, attrs.astuple(self), attrs.astuple(other)))


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


@attrs.frozen
class Answered:
    """The model that answers, as the wire names it, and the wire's `id` of the answer; None where it does not say.

    It may be another one than the model that was asked for: a router picks one, an alias
    stands for one. The last one counts.
    """

    model: str | None = None
    id: str | None = None


@attrs.frozen
class ProviderData:
    """Carry JSON, as decoded, that a provider sends beside the text and that has no event of its own."""

    value: Any


@attrs.frozen
class Finish:
    """End the answer; exactly one, always last.

    `reason` is stop, length, tool_calls, content_filter, pause, error or other. `proven`
    is True if the wire's own mark of the end has come, or HTTP has shown the end of the
    body. It is False if the connection just ended, broke or fell silent, though a finish
    reason may have come before.
    """

    reason: str = attrs.field(validator=attrs.validators.instance_of(str))
    proven: bool = True


@attrs.frozen
class ToolResult:
    """Say what a tool has answered to the `call` of a model, which is asked again with it.

    `content` is what the tool returned, as JSON where that was no string; where it `failed`,
    the error. A Conversation gives this for each tool that it runs.
    """

    call: ToolCall
    content: str
    failed: bool = False

    @property
    def message(self) -> Message:
        """Give the message that tells the model."""
        return Message("tool", self.content, tool_call_id=self.call.id)


@attrs.frozen
class Restart:
    """Say that the answer begins again, on `route` ("provider/model"): what came before is void.

    `error` is what broke it. Only a Run with `on_interrupt="restart"` gives this.
    """

    route: str
    error: ProviderKitError


Event: TypeAlias = (
    TextDelta | ReasoningDelta | ToolCallDelta | Usage | Answered | ProviderData | ToolResult | Restart | Finish
)


def has_content(event: Event) -> bool:
    """Return whether an event holds a piece of the answer: text, reasoning, or a piece of a tool call."""
    if isinstance(event, (TextDelta, ReasoningDelta)):
        return bool(event.text)
    return isinstance(event, ToolCallDelta)


def size_of(event: Event, cap: int) -> int:
    """Return about how many bytes an event takes in memory, with all that it holds; beyond `cap` it stops counting.

    JSON takes up to thirty times its bytes once it is decoded: `[],` is three, an empty list 64.
    """
    size = 0
    todo: list[Any] = [event]
    while todo:
        value = todo.pop()
        size += getsizeof(value) + 8  # the reference to it
        if size > cap:
            todo = []  # rather than as many references as a huge list holds
        elif isinstance(value, dict):
            todo += value
            todo += value.values()
        elif isinstance(value, (list, tuple)):
            todo += value
        elif attrs.has(type(value)):
            todo += (getattr(value, field.name) for field in attrs.fields(type(value)))
    return size


@attrs.frozen
class Attempt:
    """Say how one request on one route went.

    `route` is "provider/model", `error` None where it answered, `seconds` how long it
    took, `source` where the answer came from: "network", "cache" or "cassette" (None
    where none came).
    """

    route: str
    error: ProviderKitError | None
    seconds: float
    source: str | None


@attrs.frozen
class Reply:
    """Join all events of one answer.

    While the answer still comes, and where it broke, this is what has come so far and
    `finish_reason` is None; otherwise that is the reason of the Finish, and `proven` says
    whether the wire showed the end. `usage` and `request_id` are None where the provider
    did not say; `provider` and `model` are those that answered (the model that was asked
    for, if the wire does not say which one answers), `attempts` all that were asked, in
    order. If tools were run, the rest is the last answer's, while `usage` is the sum over
    all rounds and `attempts` has those of every round.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    proven: bool = False
    usage: Usage | None = None
    model: str | None = None
    provider: str | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def message(self) -> Message:
        """Give the assistant's message, to append to the history."""
        return Message("assistant", self.text, tool_calls=self.tool_calls)

    def _repr_markdown_(self) -> str:
        """Show it in a notebook: the model's Markdown as it is, what else came in brief, then how it ended."""
        calls = "\n".join(f"- `` {call.name}({_brief(call.arguments)}) ``" for call in self.tool_calls)
        counts = [(self.usage.input_tokens, "in"), (self.usage.output_tokens, "out")] if self.usage else []
        tokens = ", ".join(f"{count} tokens {way}" for count, way in counts if count is not None)
        facts = " · ".join(filter(None, (self.finish_reason or "unfinished", self.model, tokens)))
        thought = f"> {_brief(self.reasoning)}" if self.reasoning else ""
        return "\n\n".join(filter(None, (thought, self.text, calls, f"<small>{facts}</small>")))


def _brief(text: str) -> str:
    """Give the beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]} …"


class _PartialCall:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = StringIO(newline="")

    def whole(self) -> ToolCall:
        return ToolCall(self.id, self.name, self.arguments.getvalue())


class Transcript:
    """Collect what has come of one run; in memory little more than the text itself."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self._spent: Usage | None = None  # by the rounds before this one
        self.begin()

    def begin(self, provider: str | None = None, model: str | None = None) -> None:
        """Forget all but the attempts: another one begins."""
        self.provider = provider
        self.model = model
        self.request_id: str | None = None
        self.source: str | None = None
        self._text = StringIO(newline="")
        self._reasoning = StringIO(newline="")
        self._tool_calls: dict[int, _PartialCall] = {}
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self.has_content = False

    def end_round(self) -> None:
        """Note that tools follow: the answer so far is not the last, but what it cost stays."""
        self._spent, self._usage = self._whole_usage(), None
        self._finish = None

    def _whole_usage(self) -> Usage | None:
        if self._spent is None or self._usage is None:
            return self._usage or self._spent
        return self._spent + self._usage

    @property
    def finished(self) -> bool:
        """Tell whether the Finish has come."""
        return self._finish is not None

    @property
    def text(self) -> str:
        """Give the text so far."""
        return self._text.getvalue()

    def add(self, events: Sequence[Event]) -> bool:
        """Take in `events`; tell whether one had content: text, reasoning, or a piece of a tool call.

        Raises TypeError for what is no event, and where a Finish is not the last of them.
        """
        content = False
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                content |= bool(self._text.write(event.text))  # type: ignore[union-attr]  # kind says which
            elif kind is ReasoningDelta:
                content |= bool(self._reasoning.write(event.text))  # type: ignore[union-attr]  # kind says which
            elif isinstance(event, ToolCallDelta):
                self._add_tool_call(event)
                content = True
            elif isinstance(event, Usage):
                self._usage = event
            elif isinstance(event, Answered):
                self.model = event.model or self.model
            elif isinstance(event, Finish):
                if self._finish is not None or event is not events[-1]:
                    raise TypeError("a decoder gave a Finish that is not its last event")
                self._finish = event
            elif not isinstance(event, ProviderData):
                raise TypeError(f"a decoder gave {kind.__name__}, which is no event")
        self.has_content = self.has_content or content
        return content

    def _add_tool_call(self, delta: ToolCallDelta) -> None:
        call = self._tool_calls.setdefault(delta.index, _PartialCall())
        call.id = call.id or delta.id
        call.name = call.name or delta.name
        call.arguments.write(delta.arguments)

    def make_ids(self, chat: Chat) -> list[Event]:
        """Give each call without an id one that no other call of the chat has; return the events that say so.

        The ids are counted, not drawn, so that a recorded chat can be replayed.
        """
        unnamed = [(index, call) for index, call in sorted(self._tool_calls.items()) if not call.id]
        if not unnamed:
            return []
        taken = {call.id for message in chat.messages for call in message.tool_calls}
        taken |= {call.id for call in self._tool_calls.values()}
        free = (name for name in map("call_{}".format, count()) if name not in taken)
        for _, call in unnamed:
            call.id = next(free)
        return [ToolCallDelta(index, call.id) for index, call in unnamed]

    def reply(self) -> Reply:
        """Join what has come so far."""
        finish = self._finish
        return Reply(
            text=self.text,
            reasoning=self._reasoning.getvalue(),
            tool_calls=tuple(call.whole() for _, call in sorted(self._tool_calls.items())),
            finish_reason=finish.reason if finish else None,
            proven=finish.proven if finish else False,
            usage=self._whole_usage(),
            model=self.model,
            provider=self.provider,
            request_id=self.request_id,
            attempts=tuple(self.attempts),
        )
