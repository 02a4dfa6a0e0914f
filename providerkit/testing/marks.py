"""Marks: words that are put into a chat, and looked for in the request that is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote_plus

import orjson

from ..wire.requests import Request


def lost_marks(marks: Iterable[str], request: Request) -> list[str]:
    """Return the marks that are neither in the address nor in the headers nor in the body of a request."""
    sent = sent_text(request)
    return [mark for mark in marks if mark not in sent]


def sent_text(request: Request) -> str:
    """Return all that a request says: its parts as they are, unquoted, and the strings within its JSON."""
    body = (request.body or b"").decode("utf-8", "replace")
    headers = [f"{name}: {value}" for name, value in request.headers.items()]
    plain = [request.url, *headers, body]
    return "\n".join([*plain, *map(unquote_plus, plain), *leaves(request)])


def leaves(request: Request) -> Iterator[str]:
    """Yield the strings in the JSON body of a request, those in JSON that is itself a string, too."""
    return strings_of((request.body or b"").decode("utf-8", "replace"))


def strings_of(value: Any) -> Iterator[str]:
    """Yield the strings in a JSON value, names included; a string that holds JSON stands for what it holds."""
    match value:
        case dict():
            for name, inner in value.items():
                yield str(name)
                yield from strings_of(inner)
        case list() | tuple():
            for inner in value:
                yield from strings_of(inner)
        case str():
            yield from _strings_of_text(value)


def _strings_of_text(text: str) -> Iterator[str]:
    inner: Any = None
    if text.lstrip().startswith(("{", "[", '"')):
        try:
            inner = orjson.loads(text)
        except orjson.JSONDecodeError:
            inner = None
    if inner is None:
        yield text
    else:
        yield from strings_of(inner)


def is_told_alike(before: Request, after: Request) -> bool:
    """Return whether what differs between two requests, but for its place, stands in them twice or not at all.

    The two are of chats in which the id of one call was changed, for the call and for its
    result: if the wire has such ids, one value must stand at both.
    """
    gone = Counter(leaves(before)) - Counter(leaves(after))
    come = Counter(leaves(after)) - Counter(leaves(before))
    return (not gone and not come) or (max(gone.values(), default=0) > 1 and max(come.values(), default=0) > 1)
