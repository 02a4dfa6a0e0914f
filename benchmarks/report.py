"""Make pages of figures: tables between the markers of a page, plots beside it.

    python -m benchmarks.report results.jsonl --docs docs

writes the tables of each question into performance.md, between `<!-- QUESTION -->` and
`<!-- end of QUESTION -->` and what was measured on between those of `setting`, and draws
performance-*.svg where matplotlib is installed (`pip install --group benchmarks`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from . import results
from .results import Figure, number


def main() -> None:
    """Write the tables and draw the plots."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args()
    head, figures = results.read(given.results)
    page = given.docs / "performance.md"
    page.write_text(filled(page.read_text("utf-8"), head, figures), "utf-8")
    from .plots import draw  # matplotlib is of the one group of dependencies that has no other use

    for path in draw(figures, given.docs):
        print(path)


def filled(page: str, head: Mapping[str, Any], figures: Iterable[Figure]) -> str:
    """Put the tables between the markers of a page; raises ValueError where it has none for a question."""
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
    """Say in a list what was measured on, and with what."""
    told = {
        name: ", ".join(f"{key} {value}" for key, value in each.items()) if isinstance(each, dict) else each
        for name, each in head.items()
    }
    return "\n".join(["", *(f"- {name}: {value}" for name, value in told.items()), ""])


def markdown(figures: Iterable[Figure]) -> str:
    """Lay out a table for each case: a row for each client, a column for all that was measured of it."""
    tables = [_table(case, list(those)) for case, those in groupby(figures, lambda figure: figure.case)]
    return "\n".join(tables)


def _table(case: str, figures: list[Figure]) -> str:
    columns = list(dict.fromkeys((figure.what, figure.unit) for figure in figures))
    cells: dict[str, dict[tuple[str, str], str]] = {}
    for figure in figures:
        cells.setdefault(figure.client, {})[figure.what, figure.unit] = cell(figure)
    head = [case, *(f"{what}, {unit}" if unit else what for what, unit in columns)]
    rows = [[client, *(its.get(column, "-") for column in columns)] for client, its in cells.items()]
    ruler = ["---", *["---:"] * len(columns)]
    return "\n".join(["", *(f"| {' | '.join(row)} |" for row in (head, ruler, *rows)), ""])


def cell(figure: Figure) -> str:
    """Show median, least and most, and the ratio; a dash for what can't be done."""
    if not figure.runs:
        return "-"
    least, most = map(number, figure.spread)
    spread = "" if least == most else f" ({least} to {most})"
    return f"{number(figure.median)}{spread}" + ("" if figure.ratio is None else f" **{figure.ratio:.2f}**")


if __name__ == "__main__":
    main()
