"""A figure as a value; JSON lines in and out, and the table for a terminal.

The first line of a file says what was measured on and with; each other line is a figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import attrs

BARE = "bare"  # the client that all others are compared with

Wanted: TypeAlias = tuple[str, str, Callable[[Mapping[str, Any]], float]]  # what, its unit, and where it is told


@attrs.frozen
class Figure:
    """What one client did in one case, round by round; no rounds if it can't do that.

    `ratio` is the median of the ratios to the bare loop, each within its round.
    """

    question: str
    case: str
    what: str
    unit: str
    client: str
    runs: tuple[float, ...]
    ratio: float | None = None

    @property
    def median(self) -> float:
        """Return the median of the rounds."""
        return median(self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        """Return the least and the most."""
        return min(self.runs), max(self.runs)


def compare(
    question: str, case: str, what: str, unit: str, runs: Mapping[str, Sequence[float]], *, to: str = BARE
) -> list[Figure]:
    """Make the figures of one case, beside those of the client that they are compared with."""
    limit = runs.get(to, ())
    return [Figure(question, case, what, unit, name, tuple(its), ratio(its, limit)) for name, its in runs.items()]


def derive(
    question: str,
    case: str,
    taken: Mapping[str, Sequence[Mapping[str, Any]]],
    *wanted: Wanted,
    to: str = BARE,
) -> Iterator[Figure]:
    """Make the figures of one case that are wanted, out of what the clients told in each round."""
    for what, unit, told in wanted:
        runs = {name: [told(result) for result in results] for name, results in taken.items()}
        yield from compare(question, case, what, unit, runs, to=to)


def ratio(runs: Sequence[float], limit: Sequence[float]) -> float | None:
    """Return the median of the ratios of each round; None if there are none."""
    ratios = [one / other for one, other in zip(runs, limit, strict=False) if other]
    return median(ratios) if ratios else None


def write(path: Path, head: Mapping[str, Any], figures: Iterable[Figure]) -> None:
    """Write a file of JSON lines, medians and spreads among them for those who read it with other tools."""
    with path.open("w", encoding="utf-8") as lines:
        lines.write(json.dumps(head) + "\n")
        for figure in figures:
            known = {"median": figure.median, "spread": figure.spread} if figure.runs else {}
            lines.write(json.dumps({**attrs.asdict(figure), **known}, ensure_ascii=False) + "\n")


def read(path: Path) -> tuple[dict[str, Any], list[Figure]]:
    """Read such a file: its head and its figures."""
    head, *lines = map(json.loads, path.read_text("utf-8").splitlines())
    names = [field.name for field in attrs.fields(Figure)]
    return head, [Figure(**{name: line[name] for name in names} | {"runs": tuple(line["runs"])}) for line in lines]


def groups(figures: Iterable[Figure]) -> Iterator[tuple[str, str, str, str, list[Figure]]]:
    """Yield question, case, what, unit, and the figures of the clients, as they were measured."""
    for key, those in groupby(figures, lambda each: (each.question, each.case, each.what, each.unit)):
        yield *key, list(those)


def number(value: float) -> str:
    """Show three digits, or all of a greater number."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def table(figures: Iterable[Figure]) -> str:
    """Lay the figures out for a terminal: median, spread, ratio to the bare loop."""
    lines = []
    last = ""
    for question, case, what, unit, those in groups(figures):
        if question != last:
            lines.append(f"\n{question}")
        last = question
        lines.append(f"  {case}: {what}{unit and ', '}{unit}")
        lines += map(_row, those)
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    if not figure.runs:
        return f"    {figure.client:38} {'-':>9}"
    spread = "..".join(map(number, figure.spread))
    beside = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return f"    {figure.client:38} {number(figure.median):>9} {spread:>17} {beside:>8}"
