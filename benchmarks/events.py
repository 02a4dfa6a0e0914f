"""What does a streamed event cost? CPU of the client, as fast as the upstream gives.

Written one by one, events cost the upstream more than they cost a fast client, which then
wakes for each of them and a slow one for many at once; so there is a stream whose chunks
come many at once, too, for which the upstream is never waited for. Its own CPU is beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .bench import MODES, Bench
from .results import Figure, compare
from .upstream import TEXT

WIRES = {"openai": "OpenAI's wire", "koala": "Koala's wire"}
WRITTEN = {"/1": "one a write", "-full/1": "one a chunk", "/20": "twenty a write"}
PADDED = {"-padded/20": "twenty a write, padded"}  # chunks that differ not in their text alone


def figures(bench: Bench) -> Iterator[Figure]:
    """Measure one long stream, and many short ones at once, over connections that are open."""
    long, short = (1, bench.sized(20_000, 10_000)), (bench.sized(200, 50), bench.sized(200, 50))
    for wire in WIRES:
        measured = [
            figure
            for written in WRITTEN | (PADDED if wire == "openai" else {})
            for streams, events in (long, short)
            for figure in measure(bench, wire, written, streams, events)
        ]
        yield from sorted(measured, key=lambda figure: figure.case)


def measure(bench: Bench, wire: str, written: str, streams: int, events: int) -> Iterator[Figure]:
    """Measure so many streams at once of so many events."""
    kind, _, together = written.partition("/")
    path = f"/{wire}{kind}/{events}/{together}/0"
    modes: Sequence[str] = ["stream"] if bench.quick and (streams > 1 or not kind) else [*MODES]
    warm = f"/{wire}{kind}/{min(events, 1000)}/{together}/0"
    taken = bench.ask_all(modes, streams * events * len(TEXT), path=path, at_once=streams, warm_path=warm, warm=streams)
    what = f"{streams} x {events:,}, {(WRITTEN | PADDED)[written]}"
    each = {name: [1e6 * result["cpu"] / (streams * events) for result in results] for name, results in taken.items()}
    yield from compare("events", f"CPU per event, {WIRES[wire]}", what, "µs", each)
    share = {
        name: [100 * result["upstream"]["cpu_share"] for result in results]
        for name, results in taken.items()
        if "," not in name
    }
    yield from compare("events", f"Upstream's CPU, {WIRES[wire]}", what, "% of its core", share, to="")
