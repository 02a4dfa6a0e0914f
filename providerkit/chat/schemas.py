"""JSON schemas of typed Python functions: what a tool takes, read off its signature and docstring.

Only types that JSON has are taken, so what a model writes is what the function gets, and
nothing has to convert it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from textwrap import dedent
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from ..errors import InvalidOption

_PLAIN: dict[Any, dict[str, Any]] = {
    Any: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    None: {"type": "null"},
    list: {"type": "array"},
    dict: {"type": "object"},
}
_LISTS = (list, Sequence, Collection, Iterable)
_MAPPINGS = (dict, Mapping)


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Describe the parameters of a function, an object in JSON schema (json-schema.org, 2020-12).

    A parameter is described by the string in its `Annotated`, else by the docstring, and
    is required where it has no default. Raises InvalidOption for a parameter without a
    type, of a type that JSON does not have, or that can't be given by name.
    """
    name = getattr(function, "__name__", repr(function))
    notes = _notes(_doc(function))
    properties, required = {}, []
    for parameter in _signature(function, name).parameters.values():
        where = f"parameter {parameter.name!r} of the tool {name!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise _refused(f"{where} can't be given by name")
        if parameter.annotation is parameter.empty:
            raise _refused(f"{where} has no type; write one, as in {parameter.name}: str")
        note = {"description": notes[parameter.name]} if parameter.name in notes else {}
        properties[parameter.name] = note | _schema(parameter.annotation, where)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return _object(properties, required)


def description_of(function: Callable[..., Any]) -> str:
    """Return the docstring of a function up to its first section, each paragraph on one line."""
    doc = _doc(function)
    section = _SECTION.search(doc)
    return _one_line(doc[: section.start()] if section else doc)


def _signature(function: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except (TypeError, ValueError, NameError) as error:
        raise _refused(f"the signature of the tool {name!r} can't be read: {error}") from None


def _schema(kind: Any, where: str, within: tuple[Any, ...] = ()) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is None:
        return _typed_dict(kind, where, within) if is_typeddict(kind) else _plain(kind, where)
    if origin is Annotated:
        words = [{"description": note} for note in arguments[1:] if isinstance(note, str)]
        return _schema(arguments[0], where, within) | (words[0] if words else {})
    if origin in (Required, NotRequired):
        return _schema(arguments[0], where, within)
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(inner, where, within) for inner in arguments]}
    if origin is Literal and all(isinstance(value, (str, int, NoneType)) for value in arguments):
        return {"enum": list(arguments)}
    if origin in _LISTS:
        return {"type": "array", "items": _schema(arguments[0], where, within)}
    if origin in _MAPPINGS and arguments[0] is str:
        return {"type": "object", "additionalProperties": _schema(arguments[1], where, within)}
    return _plain(kind, where)


def _plain(kind: Any, where: str) -> dict[str, Any]:
    for known, schema in _PLAIN.items():
        if kind is known:
            return dict(schema)
    shown = kind.__name__ if isinstance(kind, type) and not get_args(kind) else kind
    raise _refused(
        f"{where} is of type {shown}, which JSON does not have; take str, int, float, bool, None, Any, "
        f"list[...], dict[str, ...], Literal, a union of these, or a TypedDict"
    )


def _typed_dict(kind: Any, where: str, within: tuple[Any, ...]) -> dict[str, Any]:
    if kind in within:
        raise _refused(f"{where} holds the type {kind.__name__}, which holds itself")
    hints = get_type_hints(kind, include_extras=True)
    properties = {name: _schema(hint, where, (*within, kind)) for name, hint in hints.items()}
    # Where annotations are strings, __required_keys__ does not know of NotRequired.
    required = [name for name, hint in hints.items() if _is_required(kind, name, hint)]
    return _object(properties, required)


def _is_required(kind: Any, name: str, hint: Any) -> bool:
    return get_origin(hint) is Required or (name in kind.__required_keys__ and get_origin(hint) is not NotRequired)


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    needed = {"required": required} if required else {}
    return {"type": "object", "properties": properties, **needed, "additionalProperties": False}


def _refused(words: str) -> InvalidOption:
    return InvalidOption(words, option="tools")


# Docstrings

_SECTION = re.compile(r"^(?:[A-Z]\w+:[ \t]*$|:\w+|>>> )", re.MULTILINE)
_GOOGLE = re.compile(r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_GOOGLE_NOTE = re.compile(r"^(\w+)(?: *\([^)\n]*\))?: *(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_FIELD_NOTE = re.compile(r"^:param (?:[^:\n]* )?(\w+): *(.*(?:\n[ \t]+.*)*)", re.MULTILINE)


def _doc(function: Callable[..., Any]) -> str:
    """Return the docstring; that of a function's type is none of its own."""
    return inspect.getdoc(function) or "" if hasattr(function, "__name__") else ""


def _notes(doc: str) -> dict[str, str]:
    """Read what a docstring says of each parameter, in Google's form or in fields."""
    found = _FIELD_NOTE.findall(doc)
    for block in _GOOGLE.findall(doc):
        found += _GOOGLE_NOTE.findall(dedent(block))
    return {name: _one_line(words) for name, words in found}


def _one_line(text: str) -> str:
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return "\n\n".join(filter(None, paragraphs))
