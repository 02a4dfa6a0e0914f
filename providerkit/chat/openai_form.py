"""Messages read from what users pass: strings, values, and OpenAI-style mappings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import orjson

from ..errors import InvalidMessages
from .messages import ROLES, Message
from .parts import ImagePart, Part, TextPart, ToolCall
from .validators import as_tuple

Prompt: TypeAlias = str | Message | Iterable[Message | Mapping[str, Any]]


def parse_messages(prompt: Prompt) -> tuple[Message, ...]:
    """Make messages of what a user passes: a string, a Message, or an iterable of either form.

    The mappings are OpenAI's chat messages (platform.openai.com/docs/api-reference/chat,
    November 2026); the role "developer" is read as "system". Nothing is changed in place.
    Raises InvalidMessages, naming the message by its index.
    """
    if isinstance(prompt, Message):
        return (prompt,)
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message("user", prompt),) if prompt.strip() else ()
    elif isinstance(prompt, (Mapping, bytes)) or not isinstance(prompt, Iterable):
        raise InvalidMessages(f"messages is {type(prompt).__name__}; pass a string, a Message, or a list of messages")
    else:
        messages = tuple([_parse_message(index, item) for index, item in enumerate(prompt)])
    if not messages:
        raise InvalidMessages("there is no message to send; pass a non-empty string or list")
    return messages


def _parse_message(index: int, item: object) -> Message:
    try:
        return item if isinstance(item, Message) else _from_mapping(item)
    except InvalidMessages as error:
        raise InvalidMessages(f"messages[{index}]: {error}", index=index) from None


def _from_mapping(item: object) -> Message:
    if not isinstance(item, Mapping):
        raise InvalidMessages(f"it is {type(item).__name__}, not a Message or a mapping with role and content")
    unread = [key for key, value in item.items() if key not in (_READ | _DUMPED) and value]
    if unread:
        raise InvalidMessages(f"no field {unread[0]!r} is known; a message has {', '.join(sorted(_READ))}")
    if item.get("role") is None:
        raise InvalidMessages(f"it has no role; give one of {', '.join(ROLES)}")
    tool_calls = tuple(_parse_tool_call(call) for call in as_tuple(item.get("tool_calls")))
    was_answered = item["role"] == "assistant" and "content" in item  # by nothing: all tokens went into thinking, say
    if item.get("content") is None and not (tool_calls or item.get("refusal") or was_answered):
        raise InvalidMessages("it has no content")
    return Message(
        "system" if item["role"] == "developer" else item["role"],
        _parse_content(item.get("content"), item.get("refusal")),
        tool_calls=tool_calls,
        tool_call_id=item.get("tool_call_id"),
        name=item.get("name"),
    )


_READ = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_DUMPED = frozenset({"refusal", "annotations"})  # of an assistant's message, as OpenAI gives it


def _parse_content(content: object, refusal: object) -> Any:
    """Read the content; a refusal is text, as it is in the Reply of the same answer."""
    if isinstance(content, (list, tuple)):
        content = tuple(part if isinstance(part, Part) else _parse_part(part) for part in content)
    if not refusal:
        return "" if content is None else content
    if not content:
        return refusal
    parts = content if isinstance(content, tuple) else (TextPart(content),)
    return (*parts, TextPart(refusal))


def _parse_part(part: object) -> Part:
    match part:
        case {"type": "text", "text": text, **others} if not any(others.values()):
            return TextPart(text)
        case {"type": "refusal", "refusal": text}:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url), **others}, **more} if not any(more.values()):
            detail: Any = others.pop("detail", None)
            if not any(others.values()):
                return ImagePart(url, detail=detail)
    raise InvalidMessages(
        'a part of its content is neither {"type": "text", "text": ...} nor '
        '{"type": "image_url", "image_url": {"url": ...}}, with "detail" at most'
    )


def _parse_tool_call(call: object) -> ToolCall:
    match call:
        case ToolCall():
            return call
        case {"id": str(id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return ToolCall(id, name, arguments)
        case {"id": str(id), "function": {"name": str(name), "arguments": (dict() | None) as arguments}}:
            return ToolCall(id, name, "" if arguments is None else orjson.dumps(arguments).decode())
    raise InvalidMessages(
        'a tool call is not {"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}'
    )
