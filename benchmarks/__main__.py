"""What providerkit costs, beside a bare loop of aiohttp and beside other libraries.

    python -m benchmarks [QUESTION ...] [--quick] [--peers]

Every figure is the median of rounds in which all clients have their turn, each in a process
of its own on a core of its own; beside it stand the least and the most, and the median of
the ratios to the bare loop. `python -m benchmarks.report` makes pages and plots of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import environments, results
from .bench import OURS, ROOT, Bench, cores, upstream

QUESTIONS = ("startup", "events", "calls", "crowds", "latency", "growth")


def main() -> None:
    """Ask the questions, write the figures down and show them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="three small rounds, to see where one stands")
    parser.add_argument(
        "--peers", action="store_true", help="compare other libraries, each in an environment that pip makes once"
    )
    parser.add_argument(
        "--environments", type=Path, default=ROOT / ".benchmarks", metavar="FOLDER", help="where these are made"
    )
    parser.add_argument("--rounds", type=int, help="5 by default, 3 where it has to be quick")
    parser.add_argument("--output", type=Path, default=Path("results.jsonl"), help="where the figures go")
    given = parser.parse_args()
    if unknown := set(given.questions) - set(QUESTIONS):
        parser.error(f"there is no question {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    peers = environments.make(environments.recipes(), given.environments.resolve(), say) if given.peers else []
    core, other = cores()
    with upstream(other) as base_url:
        rounds = given.rounds or (3 if given.quick else 5)
        bench = Bench((*OURS, *peers), rounds, given.quick, base_url, core, say)
        figures = []
        for question in given.questions or QUESTIONS:
            figures += import_module(f".{question}", __package__).figures(bench)
    head = describe(bench, pinned(core, other))
    results.write(given.output, head, figures)
    print("\n".join(f"{name}: {value}" for name, value in head.items()))
    print(results.table(figures))


def say(words: str) -> None:
    """Tell what is being done, beside the figures."""
    print(words, file=sys.stderr)


def pinned(core: int | None, other: int | None) -> str:
    """Return which process had which core."""
    if core is None:
        return "not pinned to cores"
    return "client and upstream each on a core of its own" if core != other else "client and upstream share one core"


def describe(bench: Bench, pinned: str) -> dict[str, Any]:
    """Return what was measured on, and with what."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("aiohttp", "orjson", "pluggy", "attrs")},
        "rounds": bench.rounds,
        "pinned": pinned,
        "peers": ", ".join(f"{peer.name} {peer.version}" for peer in bench.peers if peer not in OURS)
        or "none (python -m benchmarks --peers makes them)",
    }


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text("ascii").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
