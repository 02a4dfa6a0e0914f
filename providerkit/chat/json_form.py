"""The JSON form of what a run gives: replies, parts, events and errors, for programs that read them.

Nothing here recurses, because a provider can nest arrays more deeply than Python can call.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Set as AbstractSet
from dataclasses import fields as dataclass_fields, is_dataclass
from enum import Enum
from typing import Any, Final, TypeAlias, get_args

import attrs

from ..errors import ProviderKitError
from .events import Event
from .parts import Part
from .validators import whole_text

Leaf: TypeAlias = str | int | float | bool | None
Message: TypeAlias = Callable[[ProviderKitError], str]

MAX_DEPTH = 200  # arrays and objects in each other; orjson writes some 250, Python's json reads some 950
MAX_BITS = 1024  # of an integer in digits, as of a float; Python reads some 14,000
_PARTS = frozenset(get_args(Part))  # which of them one is, only a `type` says
_ARRAY: Final = object()
_OBJECT: Final = object()
_END: Final = object()


def plain_value(value: object) -> Any:
    """Return a value as dicts, lists, strings, numbers, booleans and None, without what JSON has no form for.

    Values of ours have their fields, and a part has a `type`, too: text_part, tool_call. Errors
    have their class as `type`, their `message`, and their other fields that are known. Bytes
    become base64. Infinity and NaN become None, and half a surrogate pair U+FFFD. Integers
    beyond 1,024 bits become text, and so do other objects and what is nested too deeply.

    >>> plain_value({"at": (1, float("nan")), "data": b"koala"})
    {'at': [1, None], 'data': 'a29hbGE='}
    """
    root: list[Any] = []
    holders: list[Any] = [root]
    for key, token in _walk(value, MAX_DEPTH, str):
        if token is _END:
            holders.pop()
            continue
        item: Any = {} if token is _OBJECT else [] if token is _ARRAY else token
        if isinstance(holders[-1], dict):
            holders[-1][key] = item
        else:
            holders[-1].append(item)
        if token is _OBJECT or token is _ARRAY:
            holders.append(item)
    return root[0]


def dumps(value: object, message: Message = str) -> str:
    """Return the JSON of `plain_value(value)`, on one line; `message` returns the message of an error."""
    return _dumps(value, MAX_DEPTH, message)


def _dumps(value: object, depth: float, message: Message) -> str:
    pieces: list[str] = []
    ends: list[str] = []
    for key, token in _walk(value, depth, message):
        if token is _END:
            pieces.append(ends.pop())
            continue
        if pieces and pieces[-1] not in ("{", "["):
            pieces.append(", ")
        if key is not None:
            pieces.append(f"{_quoted(key)}: ")
        if token is _OBJECT or token is _ARRAY:
            begin, end = "{}" if token is _OBJECT else "[]"
            pieces.append(begin)
            ends.append(end)
        else:
            pieces.append(_quoted(token))
    return "".join(pieces)


def _quoted(leaf: object) -> str:
    return json.dumps(leaf, ensure_ascii=False)


def plain_error(error: ProviderKitError, message: Message = str) -> dict[str, Any]:
    """Return the class of an error as its `type`, its `message`, and its other fields that are known."""
    fields = {name: value for name, value in vars(error).items() if value is not None and name[0] != "_"}
    fields.pop("partial", None)  # the text of the reply
    return {"type": type(error).__name__, "message": message(error), **fields}


def plain_event(event: Event | Part) -> dict[str, Any]:
    """Return the fields of an event or a part by their names, and its `type`: text_delta, usage, finish, text_part."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    return {"type": kind, **_attributes(event)}


def _walk(value: object, depth: float, message: Message) -> Iterator[tuple[str | None, Any]]:
    """Yield a value piece by piece: the key of each within its object, and a leaf or the mark of a container.

    What holds itself becomes text there, and so does what is nested more deeply than `depth`.
    """
    levels: list[Iterator[tuple[str | None, object]]] = [iter([(None, value)])]
    holders: list[object] = [None]
    open_ids = {id(None)}
    while levels:
        for key, member in levels[-1]:
            container = None if id(member) in open_ids else _open(member, message)
            if container is None:
                yield key, _leaf(member)
            elif len(levels) > depth:
                yield key, _dumps(member, math.inf, message)
            else:
                mark, members = container
                yield key, mark
                levels.append(members)
                holders.append(member)
                open_ids.add(id(member))
                break
        else:
            levels.pop()
            open_ids.discard(id(holders.pop()))
            if levels:
                yield None, _END


def _open(value: object, message: Message) -> tuple[object, Iterator[tuple[str | None, object]]] | None:
    """Return which container a value is and its members, each with its key, or None for a leaf."""
    if isinstance(value, ProviderKitError):
        value = plain_error(value, message)
    elif not isinstance(value, type):
        value = _fields(value)
    if isinstance(value, Mapping):
        return _OBJECT, ((_as_key(key), value[key]) for key in value)
    if isinstance(value, (list, tuple)):
        return _ARRAY, ((None, member) for member in value)
    if isinstance(value, AbstractSet):
        return _ARRAY, ((None, member) for member in sorted(value, key=repr))
    return None


def _fields(value: Any) -> object:
    """Return the fields of a value of attrs, of a dataclass or of a model of pydantic, and any other value itself."""
    kind: Any = type(value)
    if attrs.has(kind):
        return plain_event(value) if kind in _PARTS else _attributes(value)
    if is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in dataclass_fields(kind)}
    if isinstance(getattr(kind, "model_fields", None), Mapping):
        return {name: getattr(value, name) for name in kind.model_fields}
    return value


def _attributes(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}


def _as_key(key: object) -> str:
    leaf = _leaf(key)
    return leaf if isinstance(leaf, str) else _quoted(leaf)


def _leaf(value: object) -> Leaf:
    match value:
        case None | bool():
            return value
        case Enum():
            return _leaf(value.value)
        case str():
            return whole_text(str.__str__(value))
        case int():
            return int(value) if value.bit_length() <= MAX_BITS else hex(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case bytes() | bytearray():
            return b64encode(value).decode()
        case _:
            return whole_text(_text(value))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # of a plugin's object, which may raise anything
        return object.__repr__(value)
