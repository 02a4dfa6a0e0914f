"""What grows with what? Providers installed, history, one event, many events, active extensions.

Here the sizes are compared with each other, in turn: the ratio is to the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .bench import Bench, Peer
from .results import Figure, Wanted, derive
from .upstream import KILOBYTE, TEXT

PROVIDERKIT = Peer("providerkit")
WORDS = 20
WATCHING = ("log", "trace", "cost")  # of our extensions those that only watch


def figures(bench: Bench) -> Iterator[Figure]:
    """Measure each kind of growth."""
    yield from providers(bench)
    said = {
        count: {"options": {"history": count}} | calls(max(5, 2_000 // count)) for count in sizes(bench, 10, 10_000)
    }
    yield from grow(bench, "messages of history", said, per_call("CPU per call"))
    yield from one_event(bench)
    yield from many_events(bench)
    yield from extensions(bench)


def providers(bench: Bench) -> Iterator[Figure]:
    """Install providers that nobody asks."""
    case, counts = "providers installed", (1, 200) if bench.quick else (1, 10, 50, 200)
    with TemporaryDirectory() as folder:
        sites = {count: {"search": install(Path(folder, f"{count}"), count)} for count in counts}
        first = {count: site | calls(1) | {"warm": 0} for count, site in sites.items()}
        yield from grow(bench, case, first, per_call("CPU of the first run in a process"))
        later = {count: site | calls(bench.sized(500, 200)) for count, site in sites.items()}
        yield from grow(bench, case, later, per_call("CPU of each further run"))


def one_event(bench: Bench) -> Iterator[Figure]:
    """Make one event larger, in pieces of 1 KB."""
    yield from grow(
        bench,
        "megabytes in one event",
        {count: big(count) for count in ((1, 8) if bench.quick else (1, 4, 16, 64))},
        ("CPU per MB", "ms", lambda result: 1e3 * result["cpu"] / (result["characters"] / 2**20)),
        ("memory, of the event's own", "times", lambda result: result["memory"] / result["characters"]),
    )


def many_events(bench: Bench) -> Iterator[Figure]:
    """Make more events of one stream."""
    for mode, how in (("stream", "as they come"), ("collect", "awaited")):
        jobs = {count: events(count, mode) for count in sizes(bench, 10_000, 1_000_000)}
        what = f"memory beyond the text, {how}"
        wanted: Wanted = (what, "MB", lambda result: (result["memory"] - result["characters"]) / 1e6)
        yield from grow(bench, "events in one stream", jobs, wanted)


def extensions(bench: Bench) -> Iterator[Figure]:
    """Have extensions active that wrap request, decoder and transport and change nothing; then real ones."""
    named = {f"{count}": [""] * count for count in ((0, 1, 5) if bench.quick else range(6))}
    active = {
        name: {"options": {"extensions": those}} for name, those in (named | {", ".join(WATCHING): WATCHING}).items()
    }
    whole = {name: job | calls(bench.sized(500, 200)) for name, job in active.items()}
    yield from grow(bench, "active extensions", whole, per_call("CPU per whole call"))
    streamed = {name: job | events(bench.sized(20_000, 10_000), "stream") for name, job in active.items()}
    per_event = (
        "CPU per streamed event",
        "µs",
        lambda result: 1e6 * result["cpu"] / (result["characters"] / len(TEXT)),
    )
    yield from grow(bench, "active extensions", streamed, per_event)


def grow(bench: Bench, case: str, jobs: Mapping[Any, Mapping[str, Any]], *wanted: Wanted) -> Iterator[Figure]:
    """Have providerkit do the job of each size, in turn."""
    measures = {
        f"{size:,}" if isinstance(size, int) else size: partial(bench.ask, PROVIDERKIT, **job)
        for size, job in jobs.items()
    }
    bench.say(f"{case}: {'; '.join(measures)}")
    yield from derive("growth", case, bench.in_turn(measures), *wanted, to=next(iter(measures)))


def sizes(bench: Bench, least: int, most: int) -> list[int]:
    """Return the powers of ten from one size to another; without the last where it has to be quick."""
    powers = [10**zeros for zeros in range(9) if least <= 10**zeros <= most]
    return powers[:-1] if bench.quick else powers


def per_call(what: str) -> Wanted:
    """Want the CPU of a call."""
    return what, "µs", lambda result: 1e6 * result["cpu"] / result["calls"]


def calls(times: int) -> dict[str, Any]:
    """Make the job of so many whole calls, one after another."""
    return {
        "characters": times * WORDS * len(TEXT),
        "path": f"/openai-json/{WORDS}/1/0",
        "mode": "complete",
        "times": times,
    }


def big(megabytes: int) -> dict[str, Any]:
    """Make the job of one event of this size, in pieces of 1 KB."""
    path = f"/openai-big/{megabytes}/1/0"
    return {
        "characters": megabytes * 1024 * len(KILOBYTE),
        "path": path,
        "mode": "collect",
        "warm_path": "/openai/9/1/0",
    }


def events(count: int, mode: str) -> dict[str, Any]:
    """Make the job of one stream of so many events."""
    path = f"/openai/{count}/20/0"
    return {"characters": count * len(TEXT), "path": path, "mode": mode, "warm_path": "/openai/1000/20/0"}


def install(folder: Path, count: int) -> str:
    """Announce so many providers that nobody asks; give the folder to search."""
    for number in range(count):
        info = folder / f"flock_{number}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: flock-{number}\nVersion: 1.0\n", "ascii")
        (info / "entry_points.txt").write_text(f"[providerkit.providers]\nbird{number} = flock:Bird\n", "ascii")
    return str(folder)
