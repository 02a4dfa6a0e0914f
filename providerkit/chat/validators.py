"""Checks that the values of a chat share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import attrs

from ..errors import Argument, InvalidMessages, InvalidOption, short_repr


def checked_text(text: object, what: str) -> str:
    """Return a text; raises InvalidMessages unless it is a string that can be sent. `what` names it in the error."""
    if not isinstance(text, str):
        raise InvalidMessages(f"{what} is {type(text).__name__}, not a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessages(
            f"{what} has half a surrogate pair at character {error.start}, which no wire can carry; "
            f"repair it with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        ) from None
    return text


def whole_text(text: str) -> str:
    """Return a text that can be sent: with pairs of surrogates joined, and halves of them replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def as_tuple(value: object) -> tuple[Any, ...]:
    """Make a tuple of None, of one item, or of several; what they are is checked later."""
    if type(value) is tuple:
        return value
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return tuple(value)
    return () if value is None else (value,)


def check_word(holder: object, attribute: attrs.Attribute[Any], word: object) -> None:
    """Raise InvalidMessages unless the value of an attribute is None or a string that can be sent."""
    if word is not None:
        checked_text(word, attribute.name)


_INTEGERS = range(-(2**63), 2**64)  # those that orjson writes


def check_kind(option: str, value: object, kinds: tuple[type, ...]) -> None:
    """Raise InvalidOption unless a value is of one of these types and, if it is a number, one that JSON carries."""
    sendable = isfinite(value) if isinstance(value, float) else not isinstance(value, int) or value in _INTEGERS
    if not isinstance(value, kinds) or isinstance(value, bool) or not sendable:
        wanted = " or ".join(kind.__name__ for kind in kinds) + ("" if sendable else ", finite and of at most 64 bits")
        raise InvalidOption(
            Argument(option),
            f" is {short_repr(value)}, of type {type(value).__name__}; it takes {wanted}",
            option=option,
        )
