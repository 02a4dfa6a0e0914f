"""Pages made of the figures of the benchmarks; their plots are drawn where matplotlib is installed."""

import attrs
import pytest

from benchmarks import report
from benchmarks.results import compare

PAIR = compare("events", "short", "CPU", "µs", {"bare": [2.0, 4.0, 1.0], "providerkit": [5.0, 4.0, 1.0], "other": []})


def test_tables_go_between_the_markers_of_a_page():
    page = "A\n<!-- setting --><!-- end of setting -->\nB\n<!-- events -->old<!-- end of events -->\nC"
    filled = report.filled(page, {"python": "3.14", "versions": {"a": "1", "b": "2"}}, PAIR)
    assert filled.splitlines() == [
        "A",
        "<!-- setting -->",
        "",
        "- python: 3.14",
        "- versions: a 1, b 2",
        "",
        "<!-- end of setting -->",
        "B",
        "<!-- events -->",
        "",
        "| short | CPU, µs |",
        "| --- | ---: |",
        "| bare | 2 (1 to 4) **1.00** |",
        "| providerkit | 4 (1 to 5) **1.00** |",
        "| other | - |",
        "",
        "<!-- end of events -->",
        "C",
    ]
    assert report.filled(filled, {"python": "3.14", "versions": {"a": "1", "b": "2"}}, PAIR) == filled
    with pytest.raises(ValueError, match="no <!-- events -->"):
        report.filled("<!-- setting --><!-- end of setting -->", {}, PAIR)


def test_figures_of_several_measurements_are_joined_case_by_case():
    long = [attrs.evolve(figure, case="long") for figure in PAIR]
    calls = [attrs.evolve(figure, question="calls") for figure in PAIR]
    head = {"rounds": 5, "peers": "a 1", "versions": {"b": "1"}}
    slower = [attrs.evolve(figure, runs=(9.0,)) for figure in PAIR]
    joined = report.joined([(head, [*PAIR, *calls]), (head | {"rounds": 3}, [*slower, *long])])
    assert joined == ({"rounds": "5 / 3", "peers": "a 1", "versions": "b 1"}, [*PAIR, *long, *calls])
