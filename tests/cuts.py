"""Cut bytes in every way a network may, and see that the cuts change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

# No test may depend on how fast the machine is.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cuttings(data: bytes) -> Iterator[list[bytes]]:
    """Yield `data` whole, byte by byte, and cut in two at every offset (an empty piece among them)."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(len(data) + 1):
        yield [data[:at], data[at:]]


def whatever_the_cut(take: Callable[[list[bytes]], T], data: bytes) -> T:
    """Return what `take` makes of `data`, the same for each of its cuttings."""
    whole = take([data])
    for pieces in cuttings(data):
        assert take(pieces) == whole, pieces
    return whole


def cut_at(data: bytes, offsets: list[int]) -> list[bytes]:
    """Cut `data` at these offsets, in any order and as often as they are named."""
    edges = [0, *sorted(min(offset, len(data)) for offset in offsets), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
