"""The reply that joins all events of one answer, and the transcript that collects it."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from itertools import count

import attrs

from ..errors import ProviderKitError
from .events import Answered, Event, Finish, ProviderData, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from .messages import Message
from .options import Chat
from .parts import ToolCall


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
