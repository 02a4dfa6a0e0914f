"""What is asked: a chat as the body of a chat-completions request."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from providerkit import (
    Chat,
    ImagePart,
    InvalidMessages,
    InvalidOption,
    Message,
    Model,
    Part,
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
        "messages": [_message(index, message) for index, message in _messages(chat)],
        "stream": True,
        **{name: value for name, value in options.items() if value is not None},
        **chat.extra,
    }
    if dialect.asks_usage and body["stream"]:
        body.setdefault("stream_options", {"include_usage": True})
    return body


def _messages(chat: Chat) -> list[tuple[int, Message]]:
    """Give the messages by their index, the option `system` before the first."""
    option = [] if chat.system is None else [(-1, Message("system", chat.system))]
    return [*option, *enumerate(chat.messages)]


def _message(index: int, message: Message) -> dict[str, Any]:
    if message.role == "tool" and not message.tool_call_id:
        raise InvalidMessages(f"messages[{index}]: a tool's message needs its tool_call_id", index=index)
    fields = {
        "role": message.role,
        "content": _content(message),
        "name": message.name,
        "tool_call_id": message.tool_call_id,
        "tool_calls": [_tool_call(call) for call in message.tool_calls],
    }
    return {name: value for name, value in fields.items() if value or name == "content"}


def _content(message: Message) -> str | list[dict[str, Any]] | None:
    """Give the content; None where the message only calls tools, as the wire itself has it."""
    if not message.content and message.tool_calls:
        return None
    if isinstance(message.content, str):
        return message.content
    return [_part(part) for part in message.content]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    detail = {} if part.detail is None else {"detail": part.detail}
    return {"type": "image_url", "image_url": {"url": _image_url(part)} | detail}


def _image_url(part: ImagePart) -> str:
    if part.url is not None:
        return part.url
    return f"data:{part.media_type};base64,{b64encode(part.data or b'').decode()}"


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


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
