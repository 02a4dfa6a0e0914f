"""What do many streams at once cost? Time, CPU, memory, and how late each event reaches its caller.

The upstream writes an event to every stream each 20 ms, so an event is late by what the
upstream and the client take together; the upstream's own part stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

from .bench import Bench
from .results import Figure, derive
from .upstream import STAMP

EVENTS, MILLISECONDS = 50, 20


def figures(bench: Bench) -> Iterator[Figure]:
    """Measure crowds of each size."""
    for streams in (100, 1000) if bench.quick else (100, 1000, 5000):
        yield from measure(bench, streams)


def measure(bench: Bench, streams: int) -> Iterator[Figure]:
    """Open so many streams at once, connections and all."""
    events = streams * EVENTS
    warm = f"/openai-due/{EVENTS}/1/0"
    path = f"/openai-due/{EVENTS}/1/{MILLISECONDS}"
    taken = bench.ask_all(["stream"], events * len(STAMP), path=path, at_once=streams, warm_path=warm, warm=10)
    yield from derive(
        "crowds",
        f"{streams:,} streams of {EVENTS} events, {MILLISECONDS} ms apart",
        taken,
        ("wall time", "s", lambda result: result["wall"]),
        ("CPU per event", "µs", lambda result: 1e6 * result["cpu"] / events),
        ("memory", "MB", lambda result: result["memory"] / 1e6),
        ("lateness, half of the events", "ms", lambda result: 1e3 * result["late"][0]),
        ("lateness, 99 of 100 events", "ms", lambda result: 1e3 * result["late"][1]),
        ("of that the upstream's, 99 of 100 passes", "ms", lambda result: 1e3 * result["upstream"]["late_p99"]),
        ("CPU of the upstream, of its core", "%", lambda result: 100 * result["upstream"]["cpu_share"]),
    )
