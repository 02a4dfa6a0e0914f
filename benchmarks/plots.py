"""Draw figures: bars for clients, lines for what grows. Each title says what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from .results import BARE, Figure, number

OURS, OTHERS, INK = "#3d8bd4", "#9aa0a6", "#7d838a"  # each in sight on white and on black
mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "providerkit",  # the same figures give the same file
        "font.size": 10,
        "font.family": "sans-serif",
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
    }
)


@attrs.frozen
class Bars:
    """Say which figures become bars: those of a question whose case and measure hold these words."""

    name: str
    question: str
    case: str
    what: str
    title: str
    label: str

    def pick(self, figures: Iterable[Figure]) -> list[Figure]:
        """Return them, the least first; of the ways of one client, the first."""
        picked = [
            each
            for each in figures
            if each.question == self.question and self.case in each.case and self.what in each.what
            if each.runs and "," not in each.client
        ]
        group = [each for each in picked if (each.case, each.what) == (picked[0].case, picked[0].what)]
        return sorted(group, key=lambda each: each.median)


BARS = (
    Bars("events", "events", "CPU per event, OpenAI", "one a chunk", "CPU of a streamed event", "CPU per event, µs"),
    Bars("calls", "calls", "one after another, OpenAI", "CPU", "CPU of a whole call", "CPU per call, µs"),
    Bars("crowd-time", "crowds", "1,000", "wall", "Time of 1,000 streams", "time until all have ended, s"),
    Bars("crowd-memory", "crowds", "1,000", "memory", "Memory of 1,000 streams", "memory beyond that before, MB"),
)
LINES = (
    ("providers installed", "further", "CPU per run, µs"),
    ("messages of history", "CPU", "CPU per call, µs"),
    ("megabytes in one event", "CPU", "CPU per MB, ms"),
    ("active extensions", "event", "CPU per event, µs"),
)


def draw(figures: Sequence[Figure], folder: Path) -> Iterator[Path]:
    """Draw what there are figures for; give the files."""
    for bars in BARS:
        if picked := bars.pick(figures):
            yield _save(_bars(bars, picked), folder / f"performance-{bars.name}.svg")
    if any(figure.question == "growth" for figure in figures):
        yield _save(_growth(figures), folder / "performance-growth.svg")


def finding(what: str, figures: Iterable[Figure]) -> str:
    """Return what bars show: how providerkit stands to the bare loop, and the next library to providerkit."""
    known = {figure.client: figure for figure in figures}
    ours = known.get("providerkit")
    if ours is None or ours.ratio is None:
        return what
    others = [each for name, each in known.items() if name not in (BARE, "providerkit")]
    said = f"{what}: {ours.ratio:.3g} times bare aiohttp's"
    if not others:
        return said
    nearest = min(others, key=lambda each: each.median)
    return f"{said}; {nearest.client} takes {nearest.median / ours.median:.2g} times ours"


def _bars(bars: Bars, figures: Sequence[Figure]) -> Canvas:
    canvas = Canvas(figsize=(7.2, 1.1 + 0.32 * len(figures)), layout="constrained")
    axes = canvas.add_subplot()
    values = [figure.median for figure in figures]
    errors = [
        [figure.median - figure.spread[0] for figure in figures],
        [figure.spread[1] - figure.median for figure in figures],
    ]
    names = ["a loop of bare aiohttp" if figure.client == BARE else figure.client for figure in figures]
    colours = [OURS if name == "providerkit" else OTHERS for name in names]
    axes.barh(names, values, color=colours, height=0.66, xerr=errors, ecolor=INK, error_kw={"elinewidth": 1})
    for row, figure in enumerate(figures):
        axes.annotate(
            number(figure.median), (figure.spread[1], row), xytext=(5, 0), textcoords="offset points", va="center"
        )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(figure.spread[1] for figure in figures))
    axes.set_xlabel(bars.label)
    axes.tick_params(axis="y", length=0)
    canvas.suptitle(finding(bars.title, figures), fontsize=11, fontweight="bold")
    return canvas


def _growth(figures: Iterable[Figure]) -> Canvas:
    canvas = Canvas(figsize=(7.2, 5.4), layout="constrained")
    for place, (case, what, label) in enumerate(LINES, 1):
        picked = [each for each in figures if each.case == case and what in each.what and each.client[0].isdigit()]
        _line(canvas.add_subplot(2, 2, place), picked, case, label)
    canvas.suptitle("What providerkit takes more where there is more", fontsize=11, fontweight="bold")
    return canvas


def _line(axes: Axes, figures: Sequence[Figure], case: str, label: str) -> None:
    sizes = [int(figure.client.replace(",", "")) for figure in figures]
    medians = [figure.median for figure in figures]
    axes.plot(sizes, medians, color=OURS, marker="o", markersize=4)
    least, most = ([figure.spread[side] for figure in figures] for side in (0, 1))
    axes.fill_between(sizes, least, most, color=OURS, alpha=0.25)
    axes.set_ylim(0, 1.2 * max(figure.spread[1] for figure in figures))
    axes.set_title(f"{figures[-1].ratio or 0:.3g} times from {sizes[0]:,} to {sizes[-1]:,}", fontsize=10)
    axes.set_xlabel(case)
    axes.set_ylabel(label)


def _save(canvas: Canvas, path: Path) -> Path:
    canvas.savefig(path, transparent=True, metadata={"Date": None})
    return path
