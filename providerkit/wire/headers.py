"""HTTP headers, whose values no repr shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from typing import TypeVar, overload

from ..errors import Argument, InvalidOption

T = TypeVar("T")


class Headers(Mapping[str, str]):
    """HTTP headers: names in any case, values never shown in a repr.

    Several values of one name are joined by ", " (RFC 9110, section 5.3). `|` lays other
    headers over these, and makes new ones.

    >>> headers = Headers({"Accept": "*/*"}) | {"X-Team": "blue"}
    >>> headers, headers["accept"]
    (<Headers Accept, X-Team>, '*/*')
    """

    __slots__ = ("_items", "_sendable")

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._items: dict[str, tuple[str, str]] = {}
        self._sendable = False  # True once they have been checked
        for name, value in headers.items() if isinstance(headers, (dict, Mapping)) else headers:
            key = name.lower()
            seen = self._items.get(key)
            self._items[key] = (name, f"{seen[1]}, {value}" if seen else value)

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __or__(self, other: Mapping[str, str]) -> Headers:
        over = other if isinstance(other, Headers) else Headers(other)
        if not over._items:
            return self
        joined = Headers.__new__(Headers)
        joined._items = {**self._items, **over._items}
        joined._sendable = self._sendable and over._sendable
        return joined

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: T) -> str | T: ...
    def get(self, name: str, default: T | None = None) -> str | T | None:  # Mapping's own catches an error
        """Return the value of a header, or `default`."""
        found = self._items.get(name.lower())
        return default if found is None else found[1]

    def items(self) -> ValuesView[tuple[str, str]]:  # type: ignore[override]  # a view of pairs, too, and far cheaper
        """Return the pairs of names and values."""
        return self._items.values()

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self)}>"


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
UNSENDABLE = re.compile(r"[^\t\x20-\x7e]")


def checked_headers(headers: Mapping[str, str] | None) -> Headers:
    """Return the headers; raises InvalidOption for a name or a value that HTTP can not carry."""
    if headers is None:
        return NO_HEADERS
    if isinstance(headers, Headers) and headers._sendable:
        return headers
    if not isinstance(headers, (dict, Mapping)):
        raise InvalidOption(
            Argument("headers"),
            f" is {type(headers).__name__}; it takes a mapping of names to values",
            option="headers",
        )
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise InvalidOption(f"{name!r} is not the name of a header", option="headers")
        if not isinstance(value, str) or UNSENDABLE.search(value):
            raise InvalidOption(
                f"the value of the header {name!r} must be printable ASCII text without line breaks",
                option="headers",
            )
    checked = Headers(headers)
    checked._sendable = True
    return checked


NO_HEADERS = checked_headers({})
