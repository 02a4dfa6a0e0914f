"""The plots of the benchmarks, where matplotlib is installed."""

import attrs
import pytest

from benchmarks import plots
from benchmarks.results import compare

EVENTS = [
    *compare(
        "events", "CPU per event, OpenAI's wire", "1 x 9, one a chunk", "µs", {"bare": [2.0], "providerkit": [3.0]}
    ),
    *compare("events", "CPU per event, OpenAI's wire", "1 x 9, one a chunk", "µs", {"openai": [30.0], "slow": [99.0]}),
]
GROWTH = [
    figure
    for case, what, _ in plots.LINES
    for figure in compare("growth", case, what, "µs", {"1": [1.0], "1,000": [2.0], "log": [3.0]}, to="1")
]


def test_a_title_says_what_was_found():
    assert plots.finding("CPU", EVENTS) == "CPU: 1.5 times bare aiohttp's; openai takes 10 times ours"
    assert plots.finding("CPU", EVENTS[:2]) == "CPU: 1.5 times bare aiohttp's"
    assert plots.finding("CPU", EVENTS[2:]) == "CPU"


def test_bars_stand_in_order_one_for_each_client():
    blocking = attrs.evolve(EVENTS[1], client="providerkit, blocking")
    unable = attrs.evolve(EVENTS[1], client="unable", runs=())
    picked = plots.BARS[0].pick([EVENTS[3], unable, blocking, *EVENTS[:3]])
    assert [figure.client for figure in picked] == ["bare", "providerkit", "openai", "slow"]


def test_the_same_figures_give_the_same_files(tmp_path):
    (tmp_path / "again").mkdir()
    figures = [*EVENTS, *GROWTH]
    drawn, again = (list(plots.draw(figures, folder)) for folder in (tmp_path, tmp_path / "again"))
    assert [path.name for path in drawn] == ["performance-events.svg", "performance-growth.svg"]
    assert [path.read_bytes() for path in drawn] == [path.read_bytes() for path in again]


@pytest.mark.parametrize("words", ["CPU per event, µs", "a loop of bare aiohttp", "1.5 times bare aiohttp"])
def test_text_stays_text(tmp_path, words):
    (drawn,) = plots.draw(EVENTS, tmp_path)
    assert words in drawn.read_text("utf-8")
