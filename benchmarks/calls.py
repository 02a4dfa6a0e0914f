"""What does a whole call cost? Calls a second, CPU of the client, and the connections it takes."""

from __future__ import annotations

from collections.abc import Iterator

from .bench import Bench
from .events import WIRES
from .results import Figure, derive
from .upstream import TEXT

WORDS = 20


def figures(bench: Bench) -> Iterator[Figure]:
    """Ask for JSON answers that come whole, one after another and 64 at once."""
    for wire in WIRES:
        yield from measure(bench, wire, 1, bench.sized(1000, 300), "one after another")
        yield from measure(bench, wire, 64, bench.sized(30, 5), "64 at once")


def measure(bench: Bench, wire: str, at_once: int, times: int, how: str) -> Iterator[Figure]:
    """Measure so many calls at once, each of them so many times."""
    calls = at_once * times
    path, characters = f"/{wire}-json/{WORDS}/1/0", calls * WORDS * len(TEXT)
    taken = bench.ask_all(["complete"], characters, path=path, at_once=at_once, times=times, warm=at_once)
    yield from derive(
        "calls",
        f"{calls:,} calls, {how}, {WIRES[wire]}",
        taken,
        ("calls a second", "1/s", lambda result: calls / result["wall"]),
        ("CPU per call", "µs", lambda result: 1e6 * result["cpu"] / calls),
        ("connections opened after the warm-up", "connections", lambda result: result["upstream"]["connections"]),
    )
