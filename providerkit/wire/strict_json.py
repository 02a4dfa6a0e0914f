"""Strict JSON from bytes."""

from __future__ import annotations

import re
from typing import Any

import orjson

from ..errors import StreamMalformed


def loads(data: bytes) -> Any:
    """Parse strict JSON.

    Bytes that are not UTF-8, and halves of surrogate pairs (which servers that cut text
    by UTF-16 units do send), become U+FFFD. Raises StreamMalformed for anything else
    that RFC 8259 does not allow.

    >>> loads(b'{"text": "Hello"}')
    {'text': 'Hello'}
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    text = _mended(data.decode("utf-8", "replace"))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        incomplete = error.pos >= len(text)
        raise StreamMalformed(f"expected JSON, got {data[:60]!r}: {error.msg}", incomplete=incomplete) from None


_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _mended(text: str) -> str:
    """Put U+FFFD in place of every half of a pair; a substitution would keep each escape, at thirty times its size."""
    pieces: list[str] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        if match["half"]:
            pieces += text[end : match.start()], "\\ufffd"
            end = match.end()
    return "".join((*pieces, text[end:]))
