"""Make pages of figures: tables between the markers of a page, plots beside it.

    python -m benchmarks.report results.jsonl [MORE.jsonl ...] --docs docs

writes all figures into one file, performance.jsonl: of each case those of the first file
that has it. Then it writes the tables of each question into performance.md, between `<!-- QUESTION -->` and
`<!-- end of QUESTION -->` and what was measured on between those of `setting`, and draws
performance-*.svg where matplotlib is installed (`pip install --group benchmarks`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from . import results
from .results import Figure, number

WIDTH = 4  # columns beside the clients
ASIDE = "Upstream's CPU"  # what stands in the file alone


def main() -> None:
    """Write the tables and draw the plots."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args()
    head, figures = joined(map(results.read, given.results))
    results.write(given.docs / "performance.jsonl", head, figures)
    page = given.docs / "performance.md"
    page.write_text(filled(page.read_text("utf-8"), head, figures), "utf-8")
    from .plots import draw  # matplotlib is of the one group of dependencies that has no other use

    for path in draw(figures, given.docs):
        print(path)


def joined(measured: Iterable[tuple[dict[str, Any], list[Figure]]]) -> tuple[dict[str, Any], list[Figure]]:
    """Join the figures of several measurements, question by question; what differs in their heads stands in a row."""
    heads, all_figures = zip(*measured, strict=True)
    head = {name: " / ".join(dict.fromkeys(_said(each[name]) for each in heads)) for name in heads[0]}
    known: dict[str, dict[tuple[str, str], list[Figure]]] = {}
    for figures in all_figures:
        for question, case, what, _, those in results.groups(figures):
            known.setdefault(question, {}).setdefault((case, what), those)
    return head, [figure for cases in known.values() for those in cases.values() for figure in those]


def _said(value: Any) -> str:
    return ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)


def filled(page: str, head: Mapping[str, Any], figures: Iterable[Figure]) -> str:
    """Put the tables between the markers of a page; raises ValueError if it has none for a question."""
    tables = {question: markdown(those) for question, those in groupby(figures, lambda figure: figure.question)}
    for name, text in {"setting": setting(head), **tables}.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"the page has no {begin} and {end}")
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


def setting(head: Mapping[str, Any]) -> str:
    """Return in a list what was measured on, and with what."""
    return "\n".join(["", *(f"- {name}: {_said(value)}" for name, value in head.items()), ""])


def markdown(figures: Iterable[Figure]) -> str:
    """Lay out tables for each case: a row for each client, a column for all that was measured of it."""
    cases: dict[str, list[Figure]] = {}
    for figure in figures:
        if not figure.case.startswith(ASIDE):
            cases.setdefault(figure.case, []).append(figure)
    return "\n".join(table for case, those in cases.items() for table in _tables(case, those))


def _tables(case: str, figures: list[Figure]) -> Iterator[str]:
    columns = list(dict.fromkeys((figure.what, figure.unit) for figure in figures))
    cells: dict[str, dict[tuple[str, str], str]] = {}
    for figure in figures:
        cells.setdefault(figure.client, {})[figure.what, figure.unit] = cell(figure)
    for some in batched(columns):
        head = [case, *(f"{what}, {unit}" if unit else what for what, unit in some)]
        rows = [
            [client, *(its.get(column, "-") for column in some)]
            for client, its in cells.items()
            if any(column in its for column in some)
        ]
        ruler = ["---", *["---:"] * len(some)]
        yield "\n".join(["", *(f"| {' | '.join(row)} |" for row in (head, ruler, *rows)), ""])


def batched(columns: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Yield so many columns at a time as a page is wide, as evenly as can be."""
    tables = -(-len(columns) // WIDTH)
    size = -(-len(columns) // tables)
    for start in range(0, len(columns), size):
        yield columns[start : start + size]


def cell(figure: Figure) -> str:
    """Show median, least and most, and the ratio; a dash for what can't be done."""
    if not figure.runs:
        return "-"
    least, most = map(number, figure.spread)
    spread = "" if least == most else f" ({least} to {most})"
    return f"{number(figure.median)}{spread}" + ("" if figure.ratio is None else f" **{figure.ratio:.2f}**")


if __name__ == "__main__":
    main()
