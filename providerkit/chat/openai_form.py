"""Messages read from what users pass: strings, values, and OpenAI-style mappings.

Fields of a mapping that no part has are of a service or an application. They become kept
ProviderData without a provider, in its place:

{"message": {...}}     fields of the message
{"tool_call": {...}}   fields of the call right before it
{"part": {...}}        fields of the part of the content right before it
{"content": {...}}     a part of the content that is not one of ours
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import orjson

from ..errors import InvalidMessages
from .messages import ROLES, Message
from .parts import FilePart, ImagePart, Part, ProviderData, ReasoningPart, TextPart, ToolCall
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
    if item.get("role") is None:
        raise InvalidMessages(f"it has no role; give one of {', '.join(ROLES)}")
    if item.get("function_call"):
        raise InvalidMessages("it has a function_call, which is the old form; expected tool_calls, a list")
    calls = [_parse_tool_call(call) for call in as_tuple(item.get("tool_calls"))]
    was_answered = item["role"] == "assistant" and "content" in item  # by nothing: all tokens went into thinking, say
    if item.get("content") is None and not (calls or item.get("refusal") or was_answered):
        raise InvalidMessages("it has no content")
    content = _parse_content(item.get("content"), item.get("refusal"))
    kept = _kept("message", item, _FIELDS)
    if isinstance(content, str | tuple) and (kept or any(len(call) > 1 for call in calls)):
        said = content if isinstance(content, tuple) else (TextPart(content),) if content else ()
        content, calls = (*kept, *said, *(part for call in calls for part in call)), []
    return Message(
        "system" if item["role"] == "developer" else item["role"],
        content,
        tool_calls=tuple(call for call, *_ in calls),
        tool_call_id=item.get("tool_call_id"),
        name=item.get("name"),
    )


_FIELDS = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"}) | {
    "refusal",
    "annotations",  # as OpenAI dumps an answer; it does not want them back
}


def _kept(holder: str, fields: Mapping[str, Any], known: frozenset[str], **within: frozenset[str]) -> list[Part]:
    """Return the fields that no part of ours has, for the wires that take them; those that say nothing are left out.

    `within` are the fields known of objects inside, by their name.
    """
    unknown = {name: value for name, value in fields.items() if name not in known and value}
    for inside, names in within.items():
        if inner := {name: value for name, value in fields[inside].items() if name not in names and value}:
            unknown[inside] = inner
    try:
        return [ProviderData({holder: orjson.loads(orjson.dumps(unknown))}, keep=True)] if unknown else []
    except TypeError as error:
        found = ", ".join(map(repr, unknown))
        raise InvalidMessages(f"its field {found} has no value that JSON can hold: {error}") from None


def _parse_content(content: object, refusal: object) -> Any:
    """Read the content; a refusal is text, as it is in the Reply of the same answer."""
    if isinstance(content, (list, tuple)):
        content = tuple(part for given in content for part in _parse_part(given))
    if not refusal:
        return "" if content is None else content
    if not content:
        return refusal
    parts = content if isinstance(content, tuple) else (TextPart(content),)
    return (*parts, TextPart(refusal))


def _parse_part(part: Any) -> list[Part]:
    match part:
        case TextPart() | ImagePart() | FilePart() | ReasoningPart() | ToolCall() | ProviderData():
            return [part]
        case {"type": "text", "text": text}:
            return [TextPart(text), *_kept("part", part, _of("text"))]
        case {"type": "refusal", "refusal": text}:
            return [TextPart(text)]
        case {"type": "image_url", "image_url": {"url": str(url)} as image}:
            within = {"image_url": frozenset({"url", "detail"})}
            return [ImagePart(url, detail=image.get("detail")), *_kept("part", part, _of("image_url"), **within)]
        case {"type": "file", "file": {"file_id": str(id)} as file}:
            return [FilePart(id=id, name=file.get("filename")), *_kept("part", part, _of("file"))]
        case {"type": "file", "file": {"file_data": str(data)} as file}:
            return [_file_of(data, file.get("filename")), *_kept("part", part, _of("file"))]
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(kind)}}:
            audio = FilePart(_decoded(data), media_type=f"audio/{_AUDIO.get(kind, kind)}")
            return [audio, *_kept("part", part, _of("input_audio"))]
        case {"type": "thinking"}:
            return [ProviderData({"content": dict(part)}, keep=True)]
    raise InvalidMessages(
        'a part of its content is neither {"type": "text", "text": ...}, '
        '{"type": "image_url", "image_url": {"url": ...}}, {"type": "file", "file": {"file_data" or "file_id": ...}} '
        'nor {"type": "input_audio", "input_audio": {"data": ..., "format": ...}}'
    )


_AUDIO = {"mp3": "mpeg"}


def _of(kind: str) -> frozenset[str]:
    return frozenset({"type", kind})


def _file_of(data: str, name: Any) -> FilePart:
    """Read the data of a file: a data URL, or the address of a file."""
    head, comma, rest = data.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        media_type = head.removeprefix("data:").removesuffix(";base64").partition(";")[0]
        return FilePart(_decoded(rest), media_type=media_type, name=name)
    return FilePart(url=data, name=name)


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidMessages(f"the data of a part of its content is not base64: {error}") from None


def _parse_tool_call(call: Any) -> list[Part]:
    match call:
        case ToolCall():
            return [call]
        case {"id": str(id), "function": {"name": str(name), "arguments": str() | dict() | None as arguments}}:
            text = arguments if isinstance(arguments, str) else _json(arguments)
            within = {"function": frozenset({"name", "arguments"})}
            return [ToolCall(id, name, text), *_kept("tool_call", call, _CALL, **within)]
    raise InvalidMessages(
        'a tool call is not {"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}'
    )


def _json(arguments: Mapping[str, Any] | None) -> str:
    return "" if arguments is None else orjson.dumps(arguments).decode()


_CALL = frozenset({"id", "type", "index", "function"})
