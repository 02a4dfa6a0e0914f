"""The reply that joins all events of one answer, and the transcript that collects it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import count
from typing import Any

import attrs

from ..errors import ProviderKitError
from .events import Answered, Event, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from .json_form import plain_value
from .messages import Message, joined_text, message_of
from .parts import Part, ProviderData, ReasoningPart, TextPart, ToolCall
from .validators import whole_text


@attrs.frozen
class Attempt:
    """How one request on one route went.

    `route` is "provider/model", `error` None if it answered, `seconds` how long it took,
    `source` where the answer came from: "network", "cache" or "cassette" (None if none came).
    """

    route: str
    error: ProviderKitError | None
    seconds: float
    source: str | None


@attrs.frozen(init=False)
class Reply:
    """All events of one answer, joined.

    `parts` are what the model said, in order; `text`, `reasoning` and `tool_calls` are views
    of them. `data` is all provider data, kept or not, and `parsed` the value of a typed
    answer (`response_format=` a type), else None.

    While the answer still comes, and if it broke, this is what has come so far and
    `finish_reason` is None. Otherwise that is the reason of the Finish, and `proven` says
    whether the wire showed the end. `usage` and `request_id` are None if the provider did
    not say. `provider` is who answered, `model` the model that did (the one that was asked
    for, if the wire does not say); `attempts` are all that were asked, in order. If tools
    were executed, the rest is the last answer's, while `usage` is the sum over all rounds
    and `attempts` has those of every round.
    """

    parts: tuple[Part, ...] = ()
    data: tuple[ProviderData, ...] = ()
    parsed: Any = None
    finish_reason: str | None = None
    proven: bool = False
    usage: Usage | None = None
    model: str | None = None
    provider: str | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()

    def __init__(
        self,
        text: str = "",
        reasoning: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
        *,
        parts: tuple[Part, ...] | None = None,
        **fields: Any,
    ) -> None:
        if parts is None:
            thought = (ReasoningPart(reasoning),) if reasoning else ()
            said = (TextPart(text),) if text else ()
            parts = (*thought, *said, *tool_calls)
        self.__attrs_init__(parts, **fields)

    @property
    def text(self) -> str:
        """Return the text, joined."""
        return joined_text(self.parts, TextPart)

    @property
    def reasoning(self) -> str:
        """Return what the model thought, joined."""
        return joined_text(self.parts, ReasoningPart)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls that the model asks for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def message(self) -> Message:
        """Return the assistant's message, to append to the history; it keeps what the provider wants back."""
        return message_of("assistant", self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as dicts, lists, strings, numbers, booleans and None.

        Each part and piece of data says its `type` (text_part, tool_call), each error its
        class. Bytes become base64, and what JSON has no form for becomes text or None.

        >>> Reply("Hello", finish_reason="stop").to_dict()["text"]
        'Hello'
        """
        views = {"text": self.text, "reasoning": self.reasoning, "tool_calls": self.tool_calls}
        plain: dict[str, Any] = plain_value({**views, **attrs.asdict(self, recurse=False)})
        return plain

    def _repr_markdown_(self) -> str:
        """Show it in a notebook: the model's Markdown as it is, what else came in brief, then how it ended."""
        calls = "\n".join(f"- `` {call.name}({_brief(call.arguments)}) ``" for call in self.tool_calls)
        counts = [(self.usage.input_tokens, "in"), (self.usage.output_tokens, "out")] if self.usage else []
        tokens = ", ".join(f"{count} tokens {way}" for count, way in counts if count is not None)
        facts = " · ".join(filter(None, (self.finish_reason or "unfinished", self.model, tokens)))
        thought = f"> {_brief(self.reasoning)}" if self.reasoning else ""
        return "\n\n".join(filter(None, (thought, self.text, calls, f"<small>{facts}</small>")))


def _brief(text: str) -> str:
    """Return the beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]} …"


class _PartialCall:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = StringIO(newline="")


class _Stretch:
    """Text or reasoning that nothing interrupts: it goes from `start` to where the next of its kind starts."""

    __slots__ = ("start",)

    def __init__(self, start: int) -> None:
        self.start = start


class _Text(_Stretch):
    pass


class _Reasoning(_Stretch):
    pass


class Transcript:
    """Collects what has come of one answer, in order; in memory little more than the text itself."""

    def __init__(self, attempts: list[Attempt] | None = None) -> None:
        self.attempts: list[Attempt] = [] if attempts is None else attempts
        self.parsed: Any = None
        self._spent: Usage | None = None  # by the rounds before this one
        self.begin()

    def begin(self, provider: str | None = None, model: str | None = None, *, keeps_data: bool = False) -> None:
        """Forget all but the attempts: another answer begins."""
        self.provider = provider
        self.model = model
        self.request_id: str | None = None
        self.source: str | None = None
        self._keeps_data = keeps_data
        self._text = StringIO(newline="")
        self._reasoning = StringIO(newline="")
        self._order: list[_Text | _Reasoning | _PartialCall | ProviderData] = []
        self._tool_calls: dict[int, _PartialCall] = {}
        self._data: list[ProviderData] = []
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
        """Return whether the Finish has come."""
        return self._finish is not None

    @property
    def text(self) -> str:
        """Return the text so far."""
        return self._text.getvalue()

    def add(self, events: Sequence[Event]) -> bool:
        """Take in events, and return whether one had content: text, reasoning, or a piece of a tool call.

        Raises TypeError for what is not an event, and if a Finish is not the last of them.
        """
        content = False
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                content |= self._add_text(event.text)  # type: ignore[union-attr]  # kind says which
            elif kind is ReasoningDelta:
                content |= self._add_reasoning(event.text)  # type: ignore[union-attr]  # kind says which
            elif isinstance(event, ToolCallDelta):
                self._add_tool_call(event)
                content = True
            elif isinstance(event, Usage):
                self._usage = event
            elif isinstance(event, Answered):
                self.model = event.model or self.model
            elif isinstance(event, ProviderData):
                self._add_data(event)
            elif isinstance(event, Finish):
                if self._finish is not None or event is not events[-1]:
                    raise TypeError("a decoder gave a Finish that is not its last event")
                self._finish = event
            else:
                raise TypeError(f"a decoder gave {kind.__name__}, which is not an event")
        self.has_content = self.has_content or content
        return content

    def _add_text(self, text: str) -> bool:
        if text and not (self._order and type(self._order[-1]) is _Text):
            self._order.append(_Text(self._text.tell()))
        return bool(self._text.write(text))

    def _add_reasoning(self, text: str) -> bool:
        if text and not (self._order and type(self._order[-1]) is _Reasoning):
            self._order.append(_Reasoning(self._reasoning.tell()))
        return bool(self._reasoning.write(text))

    def _add_tool_call(self, delta: ToolCallDelta) -> None:
        call = self._tool_calls.get(delta.index)
        if call is None:
            call = self._tool_calls[delta.index] = _PartialCall()
            self._order.append(call)
        call.id = call.id or delta.id
        call.name = call.name or delta.name
        call.arguments.write(delta.arguments)

    def _add_data(self, data: ProviderData) -> None:
        owned = attrs.evolve(data, provider=self.provider)
        self._data.append(owned)
        if data.keep and self._keeps_data:
            self._order.append(owned)

    def make_ids(self, messages: Iterable[Message]) -> list[Event]:
        """Return each call without an id one that no other call of the chat has; return the events that say so.

        The ids are counted, not drawn, so that a recorded chat can be replayed.
        """
        unnamed = [(index, call) for index, call in sorted(self._tool_calls.items()) if not call.id]
        if not unnamed:
            return []
        taken = {call.id for message in messages for call in message.tool_calls}
        taken |= {call.id for call in self._tool_calls.values()}
        free = (name for name in map("call_{}".format, count()) if name not in taken)
        for _, call in unnamed:
            call.id = next(free)
        return [ToolCallDelta(index, call.id) for index, call in unnamed]

    def reply(self) -> Reply:
        """Join what has come so far."""
        finish = self._finish
        return Reply(
            parts=self._parts(),
            data=tuple(self._data),
            parsed=self.parsed,
            finish_reason=finish.reason if finish else None,
            proven=finish.proven if finish else False,
            usage=self._whole_usage(),
            model=self.model,
            provider=self.provider,
            request_id=self.request_id,
            attempts=tuple(self.attempts),
        )

    def _parts(self) -> tuple[Part, ...]:
        parts: list[Part] = []
        text, reasoning = self._text.getvalue(), self._reasoning.getvalue()
        text_end, reasoning_end = len(text), len(reasoning)
        calls = [call for _, call in sorted(self._tool_calls.items())]  # by index, in the places where calls began
        for item in reversed(self._order):
            if isinstance(item, _Text):
                parts.append(TextPart(whole_text(text[item.start : text_end])))
                text_end = item.start
            elif isinstance(item, _Reasoning):
                parts.append(ReasoningPart(whole_text(reasoning[item.start : reasoning_end])))
                reasoning_end = item.start
            elif isinstance(item, _PartialCall):
                call = calls.pop()
                parts.append(ToolCall(call.id, call.name, call.arguments.getvalue()))
            else:
                parts.append(item)
        return tuple(reversed(parts))
