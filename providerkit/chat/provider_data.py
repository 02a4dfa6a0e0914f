"""Provider data in a history: who is given what.

A provider is given its own data and that of nobody else. One that does not take such data
is given plain messages: content that is a string or text, images and files, and tool calls
apart.
"""

from __future__ import annotations

from collections.abc import Iterable

from .messages import Message, joined_text
from .parts import FilePart, ImagePart, Part, ProviderData, TextPart, ToolCall


def own_messages(messages: tuple[Message, ...], provider: str, *, keeps: bool) -> tuple[Message, ...]:
    """Return the messages as one provider is given them; `keeps` says whether it takes provider data."""
    if all(isinstance(message.content, str) for message in messages):
        return messages
    if keeps:
        return tuple(_own(message, provider) for message in messages)
    return tuple(_plain(message) for message in messages)


def data_of(messages: Iterable[Message]) -> list[ProviderData]:
    """Return all provider data in these messages."""
    return [
        part
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ProviderData)
    ]


def _own(message: Message, provider: str) -> Message:
    if not any(_is_foreign(part, provider) for part in message.content):
        return message
    return _with(message, tuple(part for part in message.parts if not _is_foreign(part, provider)))


def _is_foreign(part: object, provider: str) -> bool:
    return isinstance(part, ProviderData) and part.provider not in (None, provider)


def _plain(message: Message) -> Message:
    if isinstance(message.content, str):
        return message
    shown = tuple(part for part in message.content if isinstance(part, (TextPart, ImagePart, FilePart)))
    if shown == message.content:
        return message
    is_text = all(isinstance(part, TextPart) for part in shown)
    return _with(message, joined_text(shown, TextPart) if is_text else shown, message.tool_calls)


def _with(message: Message, content: str | tuple[Part, ...], calls: tuple[ToolCall, ...] = ()) -> Message:
    return Message(
        message.role,
        content,
        tool_calls=calls,
        tool_call_id=message.tool_call_id,
        name=message.name,
        failed=message.failed,
    )
