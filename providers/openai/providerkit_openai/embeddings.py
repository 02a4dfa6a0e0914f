"""Embeddings: the vectors in an answer to POST /embeddings.

Source of the wire: platform.openai.com/docs/api-reference/embeddings, November 2026.
"""

from __future__ import annotations

from array import array
from base64 import b64decode
from sys import byteorder
from typing import Any

from providerkit import Embeddings, ResponseHead, StreamMalformed, UnexpectedContent, loads

from .answers import usage_in
from .refusals import is_error, said_in, typed


def embeddings_of(head: ResponseHead, body: bytes, name: str) -> Embeddings:
    """Return the vectors by their index, which need not be the order of the answer."""
    value = loads(body)
    if isinstance(value, dict) and is_error(value):
        raise typed(said_in(value) or {}, head, name)
    rows = value.get("data") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise UnexpectedContent("the answer is JSON, but not a list of embeddings", status=head.status)
    model = value.get("model")
    return Embeddings(
        [_vector(row, name) for row in _in_order(rows, name)],
        next(iter(usage_in(value.get("usage"))), None),
        model=model if isinstance(model, str) and model else None,
    )


def _in_order(rows: list[Any], name: str) -> list[dict[str, Any]]:
    """Return the rows by their index; as they came if none has one."""
    objects = [row for row in rows if isinstance(row, dict)]
    places = [row.get("index") for row in objects]
    if len(objects) == len(rows) and all(place is None for place in places):
        return objects
    if len(objects) < len(rows) or not all(type(place) is int for place in places):
        raise StreamMalformed(f"{name}: some embeddings have no index")
    by_place = dict(zip(places, objects, strict=True))
    if by_place.keys() != set(range(len(rows))):
        raise StreamMalformed(f"{name}: the indices of {len(rows)} embeddings are not those from 0 to {len(rows) - 1}")
    return [by_place[place] for place in range(len(rows))]


def _vector(row: dict[str, Any], name: str) -> list[float]:
    """Return the numbers, which may come as base64 of little-endian floats of 32 bits."""
    given = row.get("embedding")
    if isinstance(given, str):
        return _unpacked(given, name)
    if not isinstance(given, list) or not all(type(number) in (float, int) for number in given):
        raise StreamMalformed(f"{name}: an embedding is not a list of numbers")
    return given


def _unpacked(text: str, name: str) -> list[float]:
    numbers = array("f")
    try:
        numbers.frombytes(b64decode(text, validate=True))
    except ValueError as error:
        raise StreamMalformed(f"{name}: an embedding is not base64 of floats: {error}") from None
    if byteorder == "big":  # pragma: no cover - no such machine runs the tests
        numbers.byteswap()
    return numbers.tolist()
