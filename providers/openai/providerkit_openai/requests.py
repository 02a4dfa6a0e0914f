"""What is asked: a chat as the body of a chat-completions request."""

from __future__ import annotations

import json
import re
from base64 import b32encode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from providerkit import (
    Chat,
    ImagePart,
    InvalidMessages,
    InvalidOption,
    Message,
    Model,
    Part,
    ReasoningPart,
    StreamMalformed,
    TextPart,
    Tool,
    ToolCall,
    UnsupportedFeature,
)

from .dialect import Dialect

SCHEMA_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
SCHEMA_WORDS = frozenset({"properties", "anyOf", "oneOf", "allOf", "enum", "$ref", "$defs", "$schema"})


def body_of(chat: Chat, model: Model, dialect: Dialect) -> dict[str, Any]:
    """Make the body; what `extra` holds is laid over it, whole field by whole field."""
    options = {
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        dialect.max_tokens: chat.max_tokens,
        "stop": list(chat.stop) or None,
        dialect.seed: chat.seed,
        "tools": [_tool(tool) for tool in chat.tools] or None,
        "response_format": _response_format(chat.response_format, dialect),
    }
    body = {
        "model": model.name,
        "messages": [_message(index, message, dialect) for index, message in _messages(chat, dialect)],
        "stream": True,
        **{name: value for name, value in options.items() if value is not None},
        **chat.extra,
    }
    if dialect.asks_usage and body["stream"]:
        body.setdefault("stream_options", {"include_usage": True})
    return body


def _messages(chat: Chat, dialect: Dialect) -> list[tuple[int, Message]]:
    """Return the messages by their index, the option `system` before the first; answers that are empty are none."""
    option = [] if chat.system is None else [(-1, Message("system", chat.system))]
    messages = [*option, *((index, message) for index, message in enumerate(chat.messages) if not _is_empty(message))]
    places = [place for place, (_, message) in enumerate(messages) if message.role == "system"]
    if dialect.one_system and places not in ([], [0]):
        system = Message("system", "\n\n".join(text for text in chat.system_texts if text))
        return [(-1, system), *(pair for pair in messages if pair[1].role != "system")]
    return messages


def _is_empty(message: Message) -> bool:
    """Return whether this is an answer without text and calls, which many services refuse."""
    return message.role == "assistant" and not any(
        part.text.strip() if isinstance(part, TextPart) else not isinstance(part, ReasoningPart)
        for part in message.parts
    )


def _message(index: int, message: Message, dialect: Dialect) -> dict[str, Any]:
    if message.role == "tool" and not message.tool_call_id:
        raise InvalidMessages(f"messages[{index}]: a tool's message needs its tool_call_id", index=index)
    fields = {
        "role": message.role,
        "content": _content(message),
        "name": message.name,
        "tool_call_id": message.tool_call_id and _call_id(message.tool_call_id, dialect),
        "tool_calls": [_tool_call(call, dialect) for call in message.tool_calls],
    }
    return {name: value for name, value in fields.items() if value or name == "content"}


def _call_id(given: str, dialect: Dialect) -> str:
    """Return an id that the service takes: the same one, or nine letters and digits that are always the same for it."""
    if dialect.call_ids is None or re.fullmatch(dialect.call_ids, given):
        return given
    return b32encode(sha256(given.encode()).digest())[:9].decode()


def _content(message: Message) -> str | list[dict[str, Any]] | None:
    """Return the content; None if the message only calls tools, as the wire itself has it."""
    shown = [part for part in message.parts if isinstance(part, (TextPart, ImagePart))]
    if not shown and message.tool_calls:
        return None
    if isinstance(message.content, str) or (message.role == "assistant" and all(map(_is_text, shown))):
        return message.text
    return [_part(part) for part in shown]


def _is_text(part: Part) -> bool:
    return isinstance(part, TextPart)


def _part(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    detail = {} if part.detail is None else {"detail": part.detail}
    return {"type": "image_url", "image_url": {"url": _image_url(part)} | detail}


def _image_url(part: ImagePart) -> str:
    if part.url is not None:
        return part.url
    return f"data:{part.media_type};base64,{b64encode(part.data or b'').decode()}"


def _tool_call(call: ToolCall, dialect: Dialect) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _arguments(call)}
    return {"id": _call_id(call.id, dialect), "type": "function", "function": function}


def _arguments(call: ToolCall) -> str:
    """Return the arguments as JSON of an object, which some servers parse; what is none is put into one as text."""
    try:
        return call.arguments if call.parsed else "{}"
    except StreamMalformed:
        return json.dumps({"arguments": call.arguments}, ensure_ascii=False)


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def _response_format(given: Any, dialect: Dialect) -> Mapping[str, Any] | None:
    """Take the wire's own form as it is, and a bare JSON schema as the content of one."""
    if given is None or given == {}:
        return None
    if not isinstance(given, Mapping):
        raise InvalidOption(
            f"response_format is {type(given).__name__}; it takes a JSON schema as a mapping, "
            f'or the wire\'s own form, as in {{"type": "json_object"}}',
            option="response_format",
        )
    wanted = dict(given)
    if _is_schema(wanted):
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    if wanted.get("type") == "json_schema" and not dialect.takes_schemas:
        raise UnsupportedFeature(
            f"{dialect.name} answers in JSON, but by no schema; pass "
            f'response_format={{"type": "json_object"}} and describe the JSON in the prompt',
            option="response_format",
            provider=dialect.name,
        )
    return wanted


def _is_schema(given: dict[str, Any]) -> bool:
    """Tell a JSON schema from the wire's own forms, whose types are no types of a schema."""
    kind = given.get("type")
    if kind is None:
        return not SCHEMA_WORDS.isdisjoint(given)
    return isinstance(kind, list) or kind in SCHEMA_TYPES
