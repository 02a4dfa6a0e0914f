"""`providerkit providers`: what it lists, and what it imports to know it."""

import json

import pytest
from commands import call

import providerkit
from providerkit.plugins import discovery, loading as plugins
from providerkit.plugins.discovery import PROVIDERS

KOALA = ["koala", "0.1.0", "providerkit-koala", "installed"]


@pytest.fixture
def announce(tmp_path, monkeypatch):
    """Install packages by their metadata alone."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(discovery, "_cache", {})
    monkeypatch.setattr(plugins, "_loaded", {})

    def announce(distribution, entry_point, code=None):
        info = tmp_path / f"{distribution}-2.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n")
        (info / "entry_points.txt").write_text(f"[{PROVIDERS}]\n{entry_point}\n")
        if code is not None:
            (tmp_path / f"{distribution}.py").write_text(code)

    return announce


def table():
    """Return the rows of `providerkit providers` and its options, cell by cell."""
    code, output, errors = call("providers")
    assert (code, errors) == (0, "")
    return [line.split(maxsplit=3) for line in output.splitlines()]


def test_providers_lists_what_is_installed():
    head, *rows = table()
    assert head == ["NAME", "VERSION", "DISTRIBUTION", "STATE"]
    assert [row[0] for row in rows] == providerkit.providers()
    assert KOALA in rows


def test_providers_lists_the_broken_ones_with_the_reason(announce):
    announce("gone", "ara = gone_module:Ara")
    announce("odd", "budgie = no module at all")
    announce("one", "dodo = one:Dodo", "")
    announce("two", "dodo = two:Dodo", "")
    rows = table()[1:]
    assert KOALA in rows
    assert [row for row in rows if row[3] != "installed"] == [
        ["ara", "2.1", "gone", "broken: its module 'gone_module' is not there"],
        ["budgie", "2.1", "odd", "broken: its entry point 'no module at all' is not of the form 'module:name'"],
        ["dodo", "2.1", "one", "broken: one 2.1 and two 2.1 both announce this name; uninstall one"],
        ["dodo", "2.1", "two", "broken: one 2.1 and two 2.1 both announce this name; uninstall one"],
    ]


def test_providers_imports_only_what_it_is_told_to(announce):
    announce("falling", "emu = falling:Emu", "raise RuntimeError('first line\\nsecond line')")
    assert ["emu", "2.1", "falling", "installed"] in table()
    reason = "plugin 'emu' (falling 2.1): it can't be imported: RuntimeError: first line second line"
    assert call("run", "-p", "emu", "hi") == (1, "", f"Error: {reason}\n")
    code, output, errors = call("providers", "--load")
    assert (code, errors) == (0, "")
    rows = {line.split()[0]: line.split(maxsplit=3) for line in output.splitlines()}
    assert rows["emu"][3] == f"broken: {reason}"
    assert rows["koala"] == [*KOALA[:-1], "loaded"]


def test_providers_lists_those_that_support_a_feature(announce):
    announce("falling2", "emu = falling2:Emu", "raise RuntimeError('oh')")
    code, output, _ = call("providers", "--supports", "history")
    names = [line.split()[0] for line in output.splitlines()]
    assert (code, names[0], "koala" in names, "emu" in names) == (0, "NAME", True, False)
    assert "koala" not in call("providers", "--supports", "temperature")[1]


@pytest.fixture
def koala_alone(monkeypatch):
    found = [one for one in discovery.announcements() if one.name == "koala"]
    monkeypatch.setattr("providerkit.plugins.discovery.announcements", lambda: found)


def test_it_is_said_where_no_provider_supports_a_feature(koala_alone):
    assert call("providers", "--supports", "temperature") == (0, "", "No provider supports temperature\n")


def test_providers_says_what_to_install_where_nothing_is(monkeypatch):
    monkeypatch.setattr("providerkit.plugins.discovery.announcements", list)
    expected = "Providers: none is installed; in a checkout of providerkit, run: pip install ./providers/koala\n"
    assert call("providers") == (0, "", expected)


def rows_in(output):
    return {row["name"]: row for row in json.loads(output)}


def test_providers_are_listed_as_json(announce):
    announce("gone", "ara = gone_module:Ara")
    announce("falling3", "emu = falling3:Emu", "raise RuntimeError('oh')")
    code, output, errors = call("providers", "--json")
    assert (code, errors, output.count("\n")) == (0, "", 1)
    ara, emu, koala = (rows_in(output)[name] for name in ("ara", "emu", "koala"))
    assert ara["problem"] == "its module 'gone_module' is not there"
    assert (ara["state"], emu["state"]) == ("broken", "installed")
    assert koala == dict(zip(("name", "version", "distribution", "state"), KOALA, strict=True))
    rows = rows_in(call("providers", "--json", "--load")[1])
    emu, koala = rows["emu"], rows["koala"]
    assert emu["state"] == "broken"
    assert emu["problem"].endswith("it can't be imported: RuntimeError: oh")
    assert (koala["state"], koala["default_model"], koala["models"][0]) == ("loaded", "gpt-4o-mini", "gpt-4o-mini")
    assert koala["supports"] == ["extra", "history", "system"]


def test_json_of_nothing_is_an_empty_list(koala_alone):
    assert call("providers", "--json", "--supports", "temperature") == (0, "[]\n", "")
