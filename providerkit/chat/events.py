"""Events: what comes back, as it arrives."""

from __future__ import annotations

from sys import getsizeof
from typing import Any, TypeAlias

import attrs

from ..errors import ProviderKitError, is_finite_number
from .messages import Message
from .parts import Part, ProviderData, ToolCall


@attrs.frozen
class TextDelta:
    """A piece of the answer's text."""

    text: str

    def __init__(self, text: str) -> None:  # most events are this one, and attrs' own takes half as long again
        _set_text(self, text)


_set_text = vars(TextDelta)["text"].__set__


@attrs.frozen
class ReasoningDelta:
    """A piece of what the model thinks before it answers."""

    text: str


@attrs.frozen
class ToolCallDelta:
    """A piece of a tool call.

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
    """The model that answers, as the wire names it, and the wire's `id` of the answer; None if it does not say.

    It may be another one than the model that was asked for: a router picks one, an alias
    stands for one. The last one counts.
    """

    model: str | None = None
    id: str | None = None


@attrs.frozen
class Finish:
    """The end of the answer; exactly one, always last.

    `reason` is stop, length, tool_calls, content_filter, pause, error or other, and `raw`
    the provider's own word for it. `proven` is True if the wire's own mark of the end has
    come, or HTTP has shown the end of the body. It is False if the connection just ended,
    broke or fell silent, though a finish reason may have come before.
    """

    reason: str = attrs.field(validator=attrs.validators.instance_of(str))
    proven: bool = True
    raw: str | None = None


@attrs.frozen
class ToolResult:
    """What a tool has answered to the `call` of a model, which is asked again with it.

    `content` is what the tool returned: a string, parts (text and images), or JSON text of
    anything else. If the tool `failed`, it is the error. A run gives this for each tool that
    it executes.
    """

    call: ToolCall
    content: str | tuple[Part, ...]
    failed: bool = False

    @property
    def message(self) -> Message:
        """Return the message that tells the model."""
        return Message("tool", self.content, tool_call_id=self.call.id, name=self.call.name, failed=self.failed)


@attrs.frozen
class Restart:
    """The answer begins again, on `route` ("provider/model"): what came before is void.

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
