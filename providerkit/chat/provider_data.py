"""Provider data in a history: who is given what.

A provider is given its own data and that of nobody else. One that does not take such data
is given plain messages: content that is a string or text, images and files, and tool calls
apart. Data without a provider that the provider does not take is left out, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from .messages import Message, joined_text
from .parts import FilePart, ImagePart, Part, ProviderData, TextPart, ToolCall

logger = logging.getLogger("providerkit")


def own_messages(messages: tuple[Message, ...], provider: str, *, keeps: bool) -> tuple[Message, ...]:
    """Return the messages as one provider is given them; `keeps` says whether it takes provider data."""
    if all(isinstance(message.content, str) for message in messages):
        return messages
    if keeps:
        return tuple(_own(message, provider) for message in messages)
    for data in data_of(messages):
        if data.provider is None:
            note_left_out(provider, data.value)
    return tuple(_plain(message) for message in messages)


def note_left_out(provider: str, value: Any) -> None:
    """Return in the log that a provider is not sent some data of a message; once for each provider and field.

    `value` is that of the ProviderData: the fields of a message, a part or a call, by what they belong to.
    """
    for what in _described(value):
        _log_left_out(provider, what)


def _described(value: Any) -> Iterator[str]:
    """Yield what some data is, in words, without anything that a user or a model has written."""
    for holder, fields in value.items() if isinstance(value, dict) else ():
        if holder in _HOLDERS and isinstance(fields, dict):
            yield from (f"the field {name!r} of {_HOLDERS[holder]}" for name in fields)
            return
    inner = value.get("content", value) if isinstance(value, dict) else None
    kind = inner.get("type") if isinstance(inner, dict) else None
    yield f"provider data of type {kind!r}" if isinstance(kind, str) else "provider data"


_HOLDERS = {"message": "a message", "tool_call": "a tool call", "part": "a part"}


@lru_cache(maxsize=1024)  # a process says it once
def _log_left_out(provider: str, what: str) -> None:
    logger.info("%s is not sent %s, which it does not take", provider, what)


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
