"""What is asked: a chat as the body of a chat-completions request.

Kept provider data is put back where it stood: {"message": {...}} into the message,
{"tool_call": {...}} into the call right before it (or the one of its "id"), {"part": {...}}
into the part right before it, and {"content": {...}} as a part of its own.
"""

from __future__ import annotations

import json
import re
from base64 import b32encode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from providerkit import (
    Chat,
    FilePart,
    ImagePart,
    InvalidMessages,
    InvalidOption,
    Message,
    Part,
    ProviderData,
    StreamMalformed,
    TextPart,
    Tool,
    ToolCall,
    UnsupportedFeature,
    merge_extra,
    note_left_out,
)

from .dialect import Dialect, Kept

SCHEMA_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
SCHEMA_WORDS = frozenset({"properties", "anyOf", "oneOf", "allOf", "enum", "$ref", "$defs", "$schema"})


def body_of(chat: Chat, model: str, dialect: Dialect) -> dict[str, Any]:
    """Return the body, with `extra` laid over it at any depth."""
    options = {
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        dialect.max_tokens: chat.max_tokens,
        "stop": list(chat.stop) or None,
        dialect.seed: chat.seed,
        "tools": [_tool(tool) for tool in chat.tools] or None,
        "tool_choice": _tool_choice(chat.tool_choice),
        "parallel_tool_calls": chat.parallel_tool_calls,
        "response_format": _response_format(chat.response_format, dialect),
        **dialect.efforts.get(chat.reasoning or "", {}),
    }
    body = {
        "model": model,
        "messages": [_message(index, message, dialect) for index, message in _messages(chat, dialect)],
        "stream": True,
        **{name: value for name, value in options.items() if value is not None},
    }
    if dialect.asks_usage and chat.extra.get("stream", True):
        body["stream_options"] = {"include_usage": True}
    return merge_extra(body, chat.extra)


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
        part.text.strip() if isinstance(part, TextPart) else isinstance(part, (ImagePart, FilePart, ToolCall))
        for part in message.parts
    )


def _message(index: int, message: Message, dialect: Dialect) -> dict[str, Any]:
    if message.role == "tool" and not message.tool_call_id:
        raise InvalidMessages(f"messages[{index}]: a tool's message needs its tool_call_id", index=index)
    turn = _Turn(message, dialect)
    for part in message.parts:
        turn.add(part)
    return turn.written()


class _Turn:
    """One message, as its parts are put into it in their order."""

    def __init__(self, message: Message, dialect: Dialect) -> None:
        self._message = message
        self._dialect = dialect
        self._content: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._by_id: dict[str, dict[str, Any]] = {}
        self._fields: dict[str, Any] = {}
        texts = [part for part in message.parts if isinstance(part, TextPart)]
        self._is_text = message.role == "assistant" or len(texts) <= 1  # and not a list of parts

    def add(self, part: Part) -> None:
        if isinstance(part, ToolCall):
            call = self._by_id[part.id] = _tool_call(part, self._dialect)
            self._calls.append(call)
        elif isinstance(part, ProviderData):
            if left := self._put_back(part.value):
                self._leave_out(part, left)
        elif isinstance(part, TextPart):
            self._content.append({"type": "text", "text": part.text})
        elif isinstance(part, (ImagePart, FilePart)):
            self._is_text = False
            self._content.append(self._attached(part))

    def _attached(self, part: ImagePart | FilePart) -> dict[str, Any]:
        if self._message.role == "tool":
            feature = "images" if isinstance(part, ImagePart) else "files"
            raise _unsupported(self._dialect, feature, "takes text from tools, and nothing else")
        return _image(part) if isinstance(part, ImagePart) else _file(part, self._dialect)

    def _put_back(self, value: Any) -> Any:
        """Put kept data into what it belongs to, and return what the service does not take of it."""
        kept = self._dialect.kept
        match value:
            case {"message": dict() as fields}:
                taken, left = _parted(fields, kept, kept.message)
                self._fields |= {name: _joined(self._fields.get(name), field) for name, field in taken.items()}
                return left and {"message": left}
            case {"tool_call": dict() as fields, **more} if self._calls:
                taken, left = _parted(fields, kept, kept.tool_call)
                call = self._by_id.get(str(more.get("id")), self._calls[-1])
                call |= merge_extra(taken, call)
                return left and {"tool_call": left}
            case {"part": dict() as fields} if self._content:
                taken, left = _parted(fields, kept, kept.part)
                self._is_text = self._is_text and not taken
                self._content[-1] = merge_extra(taken, self._content[-1])
                return left and {"part": left}
            case {"content": {"type": str(kind)} as part} if kind in kept.content or kept.others:
                self._is_text = False
                self._content.append(part)
                return None
        return value

    def _leave_out(self, data: ProviderData, left: Any) -> None:
        name = self._dialect.name
        if data.provider is not None:
            raise _unsupported(self._dialect, "provider_data", "has no place for provider data of this form")
        note_left_out(name, left)

    def written(self) -> dict[str, Any]:
        message, call_id = self._message, self._message.tool_call_id
        fields = {
            "role": message.role,
            "content": self._written_content(),
            "name": message.name,
            "tool_call_id": call_id and _call_id(call_id, self._dialect),
            "tool_calls": self._calls,
        }
        own = {name: value for name, value in fields.items() if value or name == "content"}
        return {**self._fields, **own}

    def _written_content(self) -> str | list[dict[str, Any]] | None:
        """Return the content; None if the message only calls tools, as the wire itself has it."""
        if self._message.failed:
            self._content.insert(0, {"type": "text", "text": FAILED})
        if self._calls and not self._content:
            return None
        return "".join(part["text"] for part in self._content) if self._is_text else self._content


FAILED = "The tool failed. "  # the wire has no mark of its own for that


def _parted(fields: dict[str, Any], kept: Kept, names: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that a service takes, and the others."""
    taken = {name for name in fields if name in names or (kept.others and name not in APPLICATION)}
    return (
        {name: field for name, field in fields.items() if name in taken},
        {name: field for name, field in fields.items() if name not in taken},
    )


APPLICATION = frozenset({"id"})  # fields that no service asks for, and strict ones refuse


def _joined(before: Any, value: Any) -> Any:
    """Return a field of which more has come: an answer that thinks several times gives it in several pieces."""
    return before + value if type(before) is type(value) and isinstance(value, str | list) else value


def _unsupported(dialect: Dialect, feature: str, why: str) -> UnsupportedFeature:
    return UnsupportedFeature(f"{dialect.name} {why}; leave it out", option=feature, provider=dialect.name)


def _call_id(given: str, dialect: Dialect) -> str:
    """Return an id that the service takes: the same one, or nine letters and digits that are always the same for it."""
    if dialect.call_ids is None or re.fullmatch(dialect.call_ids, given):
        return given
    return b32encode(sha256(given.encode()).digest())[:9].decode()


def _image(part: ImagePart) -> dict[str, Any]:
    detail = {} if part.detail is None else {"detail": part.detail}
    return {"type": "image_url", "image_url": {"url": _image_url(part)} | detail}


def _file(part: FilePart, dialect: Dialect) -> dict[str, Any]:
    """Return the form that the service takes for this file: sound has one of its own."""
    kind = AUDIO.get(part.media_type or "")
    if part.data is not None and kind and "audio" in dialect.files:
        return {"type": "input_audio", "input_audio": {"data": b64encode(part.data).decode(), "format": kind}}
    way = "id" if part.id is not None else "url" if (part.url or "").startswith("http") else "data"
    if way not in dialect.files:
        raise _unsupported(
            dialect, "files", f"takes files as {', '.join(sorted(dialect.files))}, and this one is {way}"
        )
    if part.id is not None:
        return {"type": "file", "file": {"file_id": part.id}}
    address = part.url or f"data:{part.media_type};base64,{b64encode(part.data or b'').decode()}"
    return {"type": "file", "file": {"filename": part.name or _file_name(part), "file_data": address}}


def _file_name(part: FilePart) -> str:
    """Return a name for a file that has none: services ask for one, and some look at its end."""
    subtype = (part.media_type or "").partition("/")[2]
    return f"file.{subtype}" if subtype.isalnum() else "file"


AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


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


def _tool_choice(choice: str | None) -> str | dict[str, Any] | None:
    if choice is None or choice in TOOL_CHOICES:
        return choice
    return {"type": "function", "function": {"name": choice}}


TOOL_CHOICES = frozenset({"auto", "none", "required"})


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
