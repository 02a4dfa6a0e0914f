"""How soon does text reach its caller? How soon does one who leaves free the connection? In microseconds."""

from __future__ import annotations

from collections.abc import Iterator

from .bench import Bench
from .results import Figure, derive
from .upstream import STAMP


def figures(bench: Bench) -> Iterator[Figure]:
    """Measure one stream whose texts say when they were written, then leave some others."""
    events = bench.sized(500, 200)
    taken = bench.ask_all(["stream"], events * len(STAMP), path=f"/openai-sent/{events}/1/2")
    yield from derive(
        "latency",
        f"one stream of {events} events, 2 ms apart: from the socket to the caller",
        taken,
        ("half of the events", "µs", lambda result: 1e6 * result["late"][0]),
        ("99 of 100 events", "µs", lambda result: 1e6 * result["late"][1]),
    )
    taken = bench.ask_all(["stream"], 0, path="/openai/1000/1/2", warm_path="/openai/50/1/0", leaving=20)
    yield from derive(
        "latency",
        "from `break` to the server seeing the connection closed",
        taken,
        ("half of 20 streams", "µs", lambda result: 1e6 * result["late"][0]),
        ("the slowest of 20", "µs", lambda result: 1e6 * result["late"][2]),
    )
