"""Messages: the turns of a chat, plain frozen values that are checked when they are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ..errors import InvalidMessages
from .parts import FilePart, ImagePart, Part, ProviderData, ReasoningPart, TextPart, ToolCall
from .validators import as_tuple, check_word, checked_text

ROLES = ("system", "user", "assistant", "tool")
KINDS_OF_PART = (TextPart, ImagePart, FilePart, ReasoningPart, ToolCall, ProviderData)


def _checked_content(content: object) -> str | tuple[Part, ...]:
    if isinstance(content, str):
        return checked_text(content, "the content")
    if not isinstance(content, (list, tuple)):
        raise InvalidMessages(f"the content is {type(content).__name__}; expected a string, or a list of parts")
    for part in content:
        if not isinstance(part, KINDS_OF_PART):
            kinds = ", ".join(kind.__name__ for kind in KINDS_OF_PART)
            raise InvalidMessages(f"the content holds {type(part).__name__}; its parts are {kinds}")
    return tuple(content)


def _checked_tool_calls(calls: object) -> tuple[ToolCall, ...]:
    for call in (found := as_tuple(calls)):
        if not isinstance(call, ToolCall):
            raise InvalidMessages(f"tool_calls holds {type(call).__name__}; each must be a ToolCall")
    return found


def _checked_role(role: object) -> str:
    if role not in ROLES:
        raise InvalidMessages(f"the role is {role!r}; expected one of {', '.join(ROLES)}")
    return str(role)


@attrs.frozen(eq=False, repr=False)
class Message:
    """One turn of a chat.

    `role` is system, user, assistant or tool. `content` is a string, or a list of parts in
    the order in which they were said; `tool_calls` adds calls behind it. `tool_call_id` is
    the call that a tool's message answers, `name` the tool's or the speaker's, and `failed`
    says that the tool raised an error. Two messages that say the same in the same order are
    equal. Raises InvalidMessages for a value of a wrong type.

    >>> Message("user", "Hello").text
    'Hello'
    >>> Message("user", "Hello").parts
    (TextPart(text='Hello'),)
    """

    role: str = attrs.field(converter=_checked_role)
    content: str | tuple[Part, ...] = attrs.field(converter=_checked_content)
    _calls: tuple[ToolCall, ...] = attrs.field(
        default=(), converter=_checked_tool_calls, kw_only=True, alias="tool_calls"
    )
    tool_call_id: str | None = attrs.field(default=None, validator=check_word, kw_only=True)
    name: str | None = attrs.field(default=None, validator=check_word, kw_only=True)
    failed: bool = attrs.field(default=False, kw_only=True)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return all parts in order, the tool calls among them; a string is one TextPart, an empty one none."""
        content = self.content
        if isinstance(content, str):
            content = (TextPart(content),) if content else ()
        return (*content, *self._calls)

    @property
    def text(self) -> str:
        """Return the text parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return joined_text(self.content, TextPart)

    @property
    def reasoning(self) -> str:
        """Return the reasoning parts, joined."""
        return "" if isinstance(self.content, str) else joined_text(self.content, ReasoningPart)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls that the model asks for, in order."""
        if isinstance(self.content, str):
            return self._calls
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self.role, self.parts, self.tool_call_id, self.name, self.failed

    def __repr__(self) -> str:
        others = {
            "tool_calls": self._calls,
            "tool_call_id": self.tool_call_id,
            "name": self.name,
            "failed": self.failed,
        }
        shown = "".join(f", {name}={value!r}" for name, value in others.items() if value)
        return f"Message({self.role!r}, {self.content!r}{shown})"


def joined_text(parts: Iterable[Any], kind: type[TextPart | ReasoningPart]) -> str:
    """Return the texts of one kind of part, joined."""
    texts = [part.text for part in parts if isinstance(part, kind)]
    return texts[0] if len(texts) == 1 else "".join(texts)


def message_of(role: str, parts: tuple[Part, ...]) -> Message:
    """Return a message of these parts, with the content as a string if it is text and then calls."""
    texts = 0
    while texts < len(parts) and isinstance(parts[texts], TextPart):
        texts += 1
    calls = parts[texts:]
    if texts <= 1 and all(isinstance(part, ToolCall) for part in calls):
        return Message(role, joined_text(parts[:texts], TextPart), tool_calls=calls)
    return Message(role, parts)
