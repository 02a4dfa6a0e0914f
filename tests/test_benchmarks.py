"""The benchmarks in small: what they count is right, whatever the time."""

import asyncio
import json
import socket
import sys
from importlib import import_module

import attrs
import pytest

from benchmarks import __main__ as command
from benchmarks import bench, budgets, client, layers, results, startup, upstream
from benchmarks.results import compare

PAIR = compare("events", "short", "CPU", "µs", {"bare": [2.0, 4.0, 1.0], "providerkit": [5.0, 4.0, 1.0], "other": []})


@attrs.frozen
class Here(bench.Bench):
    """Have clients do their jobs in this process, each a few events long."""

    def sized(self, full, quick):
        return 4

    def ask(self, peer, characters, *, search="", **job):
        result = client.run(peer.name, client.Job(self.base_url, **job))
        assert result is None or result.characters == characters
        return result and vars(result)


@pytest.fixture
def base_url():
    with bench.upstream(None) as url:
        yield url


def measure(question, base_url):
    figures = list(import_module(f"benchmarks.{question}").figures(Here(rounds=1, quick=True, base_url=base_url)))
    assert all(run >= 0 for figure in figures for run in figure.runs if "memory" not in figure.what)
    return {(figure.case, figure.what, figure.client): figure for figure in figures}


def test_a_ratio_is_the_median_of_those_of_each_round():
    bare, ours, other = PAIR
    assert (bare.median, bare.spread, bare.ratio) == (2.0, (1.0, 4.0), 1.0)
    assert (ours.median, ours.spread, ours.ratio) == (4.0, (1.0, 5.0), 1.0)
    assert (other.runs, other.ratio) == ((), None)
    assert results.ratio([1.0], [0.0]) is None


def test_figures_survive_being_written(tmp_path):
    path = tmp_path / "results.jsonl"
    results.write(path, {"python": "3.14"}, PAIR)
    assert results.read(path) == ({"python": "3.14"}, PAIR)
    assert json.loads(path.read_text("utf-8").splitlines()[2])["median"] == 4.0


def test_the_table_has_the_ratio_beside_the_time():
    assert results.table(PAIR).splitlines() == [
        "",
        "events",
        "  short: CPU, µs",
        "    bare                                           2              1..4     1.00",
        "    providerkit                                    4              1..5     1.00",
        "    other                                          -",
    ]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.01234, "0.0123"), (12.34, "12.3"), (999.6, "1,000"), (12345.6, "12,346")]
)
def test_three_digits_are_shown(value, shown):
    assert results.number(value) == shown


def test_clients_take_turns_and_one_that_is_unable_is_not_asked_again():
    asked = []

    def measures(name, *answers):
        left = list(answers)

        def measure():
            asked.append(name)
            return left.pop(0)

        return measure

    taken = bench.Bench(rounds=3).in_turn({"a": measures("a", 1, 2, 3), "b": measures("b", 4, None)})
    assert (taken, asked) == ({"a": [1, 2, 3], "b": []}, ["a", "b", "a", "b", "a"])


def test_a_streamed_event_costs_something_in_each_way_to_read_it(base_url):
    figures = measure("events", base_url)
    assert {name for _, _, name in figures} == {
        "bare", "providerkit", "providerkit, blocking", "providerkit, events", "providerkit, collected"
    }  # fmt: skip
    assert len({(case, what) for case, what, _ in figures}) == 2 * (2 * 6) + 2 * 2


def test_whole_calls_share_their_connections(base_url):
    figures = measure("calls", base_url)
    opened = {name: figure.runs for (_, what, name), figure in figures.items() if what.startswith("connections")}
    assert opened == {"bare": (0,), "providerkit": (0,)}


def test_no_event_of_a_crowd_is_early(base_url):
    figures = measure("crowds", base_url)
    assert {name for _, _, name in figures} == {"bare", "providerkit"}
    assert all(figure.runs[0] > 0 for (_, what, _), figure in figures.items() if what.startswith("lateness"))


def test_a_stream_that_is_left_is_seen_to_be_closed(base_url):
    figures = measure("latency", base_url)
    assert len(figures) == 8
    assert all(figure.runs[0] > 0 for figure in figures.values())


def test_what_grows_is_compared_with_the_least(base_url):
    figures = measure("growth", base_url)
    cases = dict.fromkeys(case for case, _, _ in figures)
    assert list(cases) == [
        "providers installed", "messages of history", "megabytes in one event", "events in one stream",
        "active extensions",
    ]  # fmt: skip
    assert figures["providers installed", "CPU of each further run", "1"].ratio == 1.0
    assert {name for case, _, name in figures if case == "active extensions"} == {"0", "1", "5", "log, trace, cost"}


def test_a_fresh_environment_is_counted_by_what_is_required():
    found = startup.closure(["providerkit-koala"])
    assert {"providerkit-koala", "providerkit-core", "aiohttp", "yarl"} <= set(found)
    assert not {"pytest", "genai-prices"} & set(found)
    assert startup.size(found["providerkit-core"]) > 100_000


def test_the_beginning_of_a_process_is_measured():
    result = startup.begin(sys.executable, "import providerkit")
    assert (result["modules"], result["seconds"] > 0) == (1, True)
    assert startup.begin(sys.executable, "import nothing_of_this_name") is None


def test_the_command_measures_in_processes_of_their_own(tmp_path, monkeypatch, capsys):
    output = tmp_path / "results.jsonl"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "latency", "--quick", "--rounds", "1", "--output", str(output)])
    command.main()
    head, figures = results.read(output)
    assert (head["rounds"], {figure.client for figure in figures}) == (1, {"bare", "providerkit"})
    shown = capsys.readouterr().out
    assert "peers: none (python -m benchmarks --peers makes them)" in shown
    assert results.table(figures) in shown


def test_a_question_that_does_not_exist_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "weather"])
    with pytest.raises(SystemExit):
        command.main()
    assert "there is no question weather; there are startup," in capsys.readouterr().err


def test_a_peer_that_fails_is_left_out_but_ours_may_not(base_url):
    said = []
    there = bench.Bench(base_url=base_url, say=said.append)
    assert there.ask(bench.Peer("nobody"), 1, path="/openai/1/1/0") is None
    assert said == ["nobody is left out: ModuleNotFoundError: No module named 'benchmarks.clients.nobody'"]
    with pytest.raises(RuntimeError, match="providerkit: gave 6 characters of 7"):
        there.ask(bench.Peer("providerkit"), 7, path="/openai/1/1/0")


def test_chunks_of_openai_look_like_the_real_ones():
    data = upstream.event("openai", " token")
    assert 220 < len(data) < 240
    chunk = json.loads(data.removeprefix(b"data: "))
    assert list(chunk) == ["id", "object", "created", "model", "choices"]
    assert chunk["choices"][0]["delta"] == {"content": " token"}
    assert json.loads(upstream.event("openai", None)[6:])["choices"][0]["finish_reason"] == "stop"


def test_what_is_left_over_of_twenty_a_write_is_written_too(base_url):
    async def read():
        module = import_module("benchmarks.clients.bare")
        async with module.Client(base_url) as reader:
            return [text async for text in reader.stream("/openai/47/20/0")]

    assert asyncio.run(read()) == [upstream.TEXT] * 47
    stats = client.upstream_stats(base_url)
    assert (stats["requests"], stats["connections"], stats["writes"]) == (1, 1, 2)


def test_a_peer_that_does_not_read_is_waited_for(base_url):
    host, port = base_url.removeprefix("http://").split(":")
    client.upstream_stats(base_url)
    with socket.create_connection((host, int(port))) as silent:
        silent.sendall(b"POST /openai-full/1000000/1/0 HTTP/1.1\r\n\r\n")
        written = [1]
        while written[-1] or len(written) < 3:  # nothing more is written once its buffer is full
            written.append(client.upstream_stats(base_url)["writes"])
    assert 0 < sum(written[1:]) < 10_000
    while not client.upstream_stats(base_url)["left"]:
        pass


def budget(*ratios):
    """Make a budget of 2 whose ratio is measured as these, one after the other."""
    left = list(ratios)

    def measure(bench):
        ratio = left.pop(0)
        return [
            attrs.evolve(PAIR[0], ratio=1.0),
            attrs.evolve(PAIR[1], what="another", ratio=9.0),
            attrs.evolve(PAIR[1], ratio=ratio),
        ]

    return budgets.Budget("an event", 2.0, measure, "CPU")


@pytest.mark.parametrize(
    ("ratios", "held", "said"),
    [
        ((1.5,), True, "held  an event: 1.50 of 2"),
        ((2.5,), True, "held  an event: 2.50 of 2"),
        ((2.6, 1.5), True, "held  an event: 2.60, then 1.50 of 2"),
        ((2.6, 2.7, 2.8), False, "OVER  an event: 2.60, then 2.70, then 2.80 of 2"),
    ],
)
def test_a_budget_is_held_unless_it_is_exceeded_three_times(ratios, held, said):
    assert list(budgets.check([budget(*ratios)], bench.Bench())) == [(held, said)]


def test_each_budget_has_its_figure():
    class Told(bench.Bench):
        def ask(self, peer, characters, **job):
            upstream = {"cpu_share": 1.0, "connections": 0, "late_p99": 0.0}
            return vars(client.Result("1", 1.0, 1.0, 1, 1, characters, [1.0, 1.0, 1.0], upstream))

    assert [each.ratio(Told(rounds=1, quick=True)) for each in budgets.BUDGETS] == [1.0] * 5 + [1.0, 0.125]


def test_each_layer_of_a_call_is_measured_as_often(base_url, monkeypatch):
    monkeypatch.setattr(layers, "ROUNDS", 2)
    monkeypatch.setattr(layers, "CALLS", 3)
    client.upstream_stats(base_url)
    taken = asyncio.run(layers.measure(base_url))
    assert [len(runs) for runs in taken.values()] == [2] * 6
    assert client.upstream_stats(base_url)["requests"] == 2 * 3 * 6
