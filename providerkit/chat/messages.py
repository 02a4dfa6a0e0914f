"""Messages: the turns of a chat, plain frozen values that are checked when they are made."""

from __future__ import annotations

import attrs

from ..errors import InvalidMessages
from .parts import ImagePart, Part, TextPart, ToolCall
from .validators import as_tuple, check_word, checked_text

ROLES = ("system", "user", "assistant", "tool")


def _checked_content(content: object) -> str | tuple[Part, ...]:
    if isinstance(content, str):
        return checked_text(content, "the content")
    if not isinstance(content, (list, tuple)):
        raise InvalidMessages(
            f"the content is {type(content).__name__}; it must be a string, or a list of TextPart and ImagePart"
        )
    for part in content:
        if not isinstance(part, Part):
            raise InvalidMessages(f"the content holds {type(part).__name__}; its parts are TextPart and ImagePart")
    return tuple(content)


def _checked_tool_calls(calls: object) -> tuple[ToolCall, ...]:
    for call in (found := as_tuple(calls)):
        if not isinstance(call, ToolCall):
            raise InvalidMessages(f"tool_calls holds {type(call).__name__}; each must be a ToolCall")
    return found


def _checked_role(role: object) -> str:
    if role not in ROLES:
        raise InvalidMessages(f"the role is {role!r}; it must be one of {', '.join(ROLES)}")
    return str(role)


@attrs.frozen
class Message:
    """Hold one turn of a chat.

    `role` is system, user, assistant or tool; `content` a string or a list of parts;
    `tool_calls` what an assistant asked for; `tool_call_id` which call a tool's message
    answers. Raises InvalidMessages where one of them is wrong.

    >>> Message("user", "Hello").text
    'Hello'
    """

    role: str = attrs.field(converter=_checked_role)
    content: str | tuple[Part, ...] = attrs.field(converter=_checked_content)
    tool_calls: tuple[ToolCall, ...] = attrs.field(default=(), converter=_checked_tool_calls, kw_only=True)
    tool_call_id: str | None = attrs.field(default=None, validator=check_word, kw_only=True)
    name: str | None = attrs.field(default=None, validator=check_word, kw_only=True)

    @property
    def text(self) -> str:
        """Give the text parts of the content, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def has_image(self) -> bool:
        """Tell whether the content holds an image."""
        return not isinstance(self.content, str) and any(isinstance(part, ImagePart) for part in self.content)
