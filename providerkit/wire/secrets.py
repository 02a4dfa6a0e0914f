"""Secrets: keys that show nowhere, and addresses without what may be secret in them."""

from __future__ import annotations

import re

import attrs

from ..errors import InvalidOption
from .headers import UNSENDABLE


class Secret:
    """A key that shows nowhere; `reveal()` returns it to the code that must send it.

    A pickle of it holds the key, as a pickle is made on purpose: keep it as you would the key.

    Raises InvalidOption for a blank key, for one with a blank at an end, which a header
    loses on its way, and for one that no header can carry.

    >>> key = Secret("sk-0123")
    >>> key, key.reveal()
    (Secret('***'), 'sk-0123')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value.strip():
            raise InvalidOption("the key must be a string that is not blank", option="api_key")
        if UNSENDABLE.search(value) or value != value.strip():
            raise InvalidOption(
                "the key has a line break or a character beyond ASCII, or a blank at an end; "
                "was it read from a file without .strip()?",
                option="api_key",
            )
        self._value = value

    def reveal(self) -> str:
        """Return the key itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __format__(self, spec: str) -> str:
        raise TypeError("a Secret is no text; its reveal() gives the key to who must send it")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@attrs.frozen
class Token:
    """A token that stands in for a key, and for how many `seconds` it is good."""

    secret: Secret
    seconds: float


def shown_url(url: str) -> str:
    """Return an address without what may be secret in it: user and password, query, fragment."""
    before, slashes, rest = re.split("[?#]", url, maxsplit=1)[0].partition("//")
    authority, slash, path = rest.partition("/")
    return f"{before}{slashes}{authority.rpartition('@')[2] if slashes else authority}{slash}{path}"


def shown_value(value: object) -> str:
    """Return the repr of what should have been an address, without what may be secret in it."""
    shown = repr(value)
    quotes = [at for at, character in enumerate(shown) if character in "'\""]
    if len(quotes) < 2:
        return shown
    first, last = quotes[0] + 1, quotes[-1]
    words = shown[first:last]
    words = f"{'***' if '@' in words else ''}{words.rpartition('@')[2]}"
    address = re.split("[?#]", words, maxsplit=1)
    return f"{shown[:first]}{address[0]}{'***' if len(address) > 1 else ''}{shown[last:]}"


def shown_url_value(url: str) -> str:
    """Return the repr of an address without what may be secret in it."""
    return repr(shown_url(url))
