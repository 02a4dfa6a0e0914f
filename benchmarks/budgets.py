"""Is it still as fast as it was said to be? Ratios to the bare loop, held against budgets.

    python -m benchmarks.budgets

Never times, which say as much of the machine. What is over its budget by more than the
margin is measured again, and fails the check where it is so three times: a machine may be
busy for a while, and what has become slow stays so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

import attrs

from . import calls, crowds, events, growth
from .bench import Bench, cores, upstream
from .results import Figure

MARGIN = 1.25
CHANCES = 3


@attrs.frozen
class Budget:
    """A ratio to its limit: that of the one figure of `client`, of those that are measured, which says `what`."""

    name: str
    limit: float
    measure: Callable[[Bench], Iterable[Figure]]
    what: str
    client: str = "providerkit"

    def ratio(self, bench: Bench) -> float:
        """Measure it."""
        (figure,) = (
            each
            for each in self.measure(bench)
            if each.client == self.client and self.what in f"{each.case}: {each.what}"
        )
        assert figure.ratio is not None  # there is something to compare with
        return figure.ratio


BUDGETS = (
    Budget(
        "event of OpenAI's wire, one a chunk",
        1.2,
        lambda bench: events.measure(bench, "openai", "-full/1", 1, 20_000),
        "CPU per event",
    ),
    Budget(
        "event of OpenAI's wire, twenty a write",
        1.3,
        lambda bench: events.measure(bench, "openai", "/20", 1, 20_000),
        "CPU per event",
    ),
    Budget(
        "event of Koala's wire, twenty a write",
        2.5,
        lambda bench: events.measure(bench, "koala", "/20", 1, 20_000),
        "CPU per event",
    ),
    Budget("event of 1,000 streams, 20 ms apart", 1.15, lambda bench: crowds.measure(bench, 1000), "CPU per event"),
    # Not the 1.5 that is aimed at: docs/performance.md says why. This is what was reached.
    Budget(
        "whole call, one after another",
        2.2,
        lambda bench: calls.measure(bench, "koala", 1, 500, "one after another"),
        "CPU per call",
    ),
    Budget("run where 200 providers are installed, not 1", 1.0, growth.providers, "further run", "200"),
    Budget("megabyte of an event of 8 MB, not 1", 1.0, growth.one_event, "CPU per MB", "8"),
)


def judge(budget: Budget, bench: Bench) -> tuple[bool, list[float]]:
    """Measure until it is within its budget and the margin, or has had its chances; give the ratios, too."""
    ratios: list[float] = []
    while len(ratios) < CHANCES:
        ratios.append(budget.ratio(bench))
        if ratios[-1] <= budget.limit * MARGIN:
            return True, ratios
    return False, ratios


def check(budgets: Iterable[Budget], bench: Bench) -> Iterator[tuple[bool, str]]:
    """Judge each; give whether it is held, and a line that says so."""
    for budget in budgets:
        held, ratios = judge(budget, bench)
        measured = ", then ".join(f"{ratio:.2f}" for ratio in ratios)
        yield held, f"{'held' if held else 'OVER':5} {budget.name}: {measured} of {budget.limit:g}"


def main() -> None:
    """Check all budgets, and fail where one is not held."""
    core, other = cores()
    print(f"CPU as a ratio; it may be {MARGIN:g} times its budget, on a machine that others use, too")
    failed = False
    with upstream(other) as base_url:
        for held, line in check(BUDGETS, Bench(rounds=3, quick=True, base_url=base_url, core=core)):
            failed |= not held
            print(line, flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
