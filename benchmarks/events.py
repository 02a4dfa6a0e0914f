"""What does a streamed event cost? CPU of the client, as fast as the socket gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .bench import MODES, Bench
from .results import Figure, compare
from .upstream import TEXT

WIRES = {"openai": "OpenAI's wire", "koala": "Koala's wire"}
TOGETHER = {1: "one event a write", 20: "twenty a write"}


def figures(bench: Bench) -> Iterator[Figure]:
    """Measure one long stream, and many short ones at once."""
    long, short = (1, bench.sized(20_000, 4_000)), (bench.sized(200, 50), bench.sized(200, 50))
    for wire in WIRES:
        for together in TOGETHER:
            yield from measure(bench, wire, together, *long, [*MODES])
            yield from measure(bench, wire, together, *short, ["stream"] if bench.quick else [*MODES])


def measure(
    bench: Bench, wire: str, together: int, streams: int, events: int, modes: Sequence[str]
) -> Iterable[Figure]:
    """Measure so many streams at once, over connections that are open."""
    path = f"/{wire}/{events}/{together}/0"
    taken = bench.ask_all(modes, streams * events * len(TEXT), path=path, at_once=streams, warm=streams)
    each = {name: [1e6 * result["cpu"] / (streams * events) for result in results] for name, results in taken.items()}
    what = f"{streams} x {events:,} events, {TOGETHER[together]}"
    return compare("events", f"CPU per event of {WIRES[wire]}", what, "µs", each)
