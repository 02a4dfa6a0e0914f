"""What programs read: replies, events and errors as JSON, which every reader of JSON takes."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

import providerkit

from ..errors import ProviderKitError
from .options import told

if TYPE_CHECKING:
    from ..chat.events import Event
    from ..chat.replies import Reply

MAX_DEPTH = 800  # arrays and objects in each other; Python's json reads some 950, orjson 1,024
MAX_BITS = 1024  # of an integer in digits, as of a float; Python reads some 14,000
# What a terminal would obey, or a reader of lines take for the end of one.
_ESCAPED = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def dumps(value: object, encoding: str | None = None) -> str:
    """Return JSON in one line, in characters that an encoding can hold: by default that of the standard output.

    JSON has no infinity and no NaN, so they become null. Half a surrogate pair becomes U+FFFD. What JSON has no form
    for becomes text, as do integers beyond 1,024 bits and what is nested too deeply.
    """
    encoding = encoding or getattr(sys.stdout, "encoding", None) or ""
    text = _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", _encode(value, MAX_DEPTH))
    if encoding.lower() in ("utf-8", "utf8"):
        return text
    return re.sub(r"[^\x00-\x7f]+", lambda match: json.dumps(match[0])[1:-1], text)


def of_reply(reply: Reply, error: ProviderKitError | None = None) -> dict[str, Any]:
    """Return all fields of a Reply by their names, and `error`: None, or why it is not a whole answer."""
    return {**_fields(reply), "error": None if error is None else of_error(error)}


def of_event(event: Event) -> dict[str, Any]:
    """Return all fields of an event by their names, and its `type`: text_delta, usage, finish, ..."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    return {"type": kind, **_fields(event)}


def of_error(error: ProviderKitError) -> dict[str, Any]:
    """Return the class of an error as its `type`, its `message`, and its other fields that are known."""
    fields = {name: value for name, value in vars(error).items() if value is not None and name[0] != "_"}
    fields.pop("partial", None)  # the text of the reply
    return {"type": type(error).__name__, "message": told(error), **fields}


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}


def _encode(value: object, depth: float) -> str:
    """Return the JSON of a value; without recursion, for which a provider can nest too deeply."""
    pieces: list[str] = []
    levels = [iter([("", value)])]
    ends = [""]
    holders: list[object] = [None]
    open_ids = {id(None)}
    while levels:
        for lead, member in levels[-1]:
            pieces.append(lead)
            parts = None if id(member) in open_ids else _parts(member)
            if parts is None:
                pieces.append(_leaf(member))
            elif len(levels) > depth:
                pieces.append(_string(_encode(member, math.inf)))
            else:
                begin, members, end = parts
                pieces.append(begin)
                levels.append(members)
                ends.append(end)
                holders.append(member)
                open_ids.add(id(member))
                break
        else:
            levels.pop()
            open_ids.discard(id(holders.pop()))
            pieces.append(ends.pop())
    return "".join(pieces)


def _parts(value: object) -> tuple[str, Iterator[tuple[str, object]], str] | None:
    """Return how an array or object begins, its members, each with what stands before it, and how it ends."""
    if isinstance(value, ProviderKitError):
        value = of_error(value)
    elif isinstance(value, (providerkit.Attempt, providerkit.ToolCall, providerkit.Usage)):
        value = _fields(value)
    if isinstance(value, Mapping):
        return "{", ((f"{', ' * (at > 0)}{_key(key)}: ", value[key]) for at, key in enumerate(value)), "}"
    if isinstance(value, (list, tuple)):
        return "[", ((", " * (at > 0), member) for at, member in enumerate(value)), "]"
    return None


def _key(key: object) -> str:
    text = _leaf(key)
    return text if text.startswith('"') else f'"{text}"'


def _leaf(value: object) -> str:
    match value:
        case str():
            return _string(value)
        case None | bool():
            return json.dumps(value)
        case int():
            return int.__repr__(value) if value.bit_length() <= MAX_BITS else _string(hex(value))
        case float():
            return float.__repr__(value) if math.isfinite(value) else "null"
        case bytes() | bytearray():
            return _string(value.decode("utf-8", "replace"))
        case _:
            return _string(_text(value))


def _string(text: str) -> str:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs of surrogates are joined
    return json.dumps(whole, ensure_ascii=False)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # of a plugin's object, which may raise anything
        return object.__repr__(value)
