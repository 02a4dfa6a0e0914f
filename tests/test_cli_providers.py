"""`providerkit providers`: what it lists, and what it imports to know it."""

import json

import pytest
from commands import call

from providerkit import discovery, plugins
from providerkit.discovery import PROVIDERS

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
    """Give the rows of `providerkit providers` and its options, cell by cell."""
    code, output, errors = call("providers")
    assert (code, errors) == (0, "")
    return [line.split(maxsplit=3) for line in output.splitlines()]


def test_providers_lists_what_is_installed():
    assert table() == [["NAME", "VERSION", "DISTRIBUTION", "STATE"], KOALA]


def test_providers_lists_the_broken_ones_with_the_reason(announce):
    announce("gone", "ara = gone_module:Ara")
    announce("odd", "budgie = no module at all")
    announce("one", "dodo = one:Dodo", "")
    announce("two", "dodo = two:Dodo", "")
    assert table()[1:] == [
        ["ara", "2.1", "gone", "broken: its module 'gone_module' is not there"],
        ["budgie", "2.1", "odd", "broken: its entry point 'no module at all' is not of the form 'module:name'"],
        ["dodo", "2.1", "one", "broken: one 2.1 and two 2.1 both announce this name; uninstall one"],
        ["dodo", "2.1", "two", "broken: one 2.1 and two 2.1 both announce this name; uninstall one"],
        KOALA,
    ]


def test_providers_imports_only_what_it_is_told_to(announce):
    announce("falling", "emu = falling:Emu", "raise RuntimeError('first line\\nsecond line')")
    assert table()[1] == ["emu", "2.1", "falling", "installed"]
    reason = "plugin 'emu' (falling 2.1): it can't be imported: RuntimeError: first line second line"
    assert call("run", "-p", "emu", "hi") == (1, "", f"Error: {reason}\n")
    code, output, errors = call("providers", "--load")
    assert (code, errors) == (0, "")
    _, emu, koala = output.splitlines()
    assert f"broken: {reason}" in emu
    assert koala.split() == [*KOALA[:-1], "loaded"]


def test_providers_lists_those_that_support_a_feature(announce):
    announce("falling2", "emu = falling2:Emu", "raise RuntimeError('oh')")
    code, output, _ = call("providers", "--supports", "history")
    assert (code, [line.split()[0] for line in output.splitlines()]) == (0, ["NAME", "koala"])
    assert call("providers", "--supports", "temperature") == (0, "", "No provider supports temperature\n")


def test_providers_says_what_to_install_where_nothing_is(monkeypatch):
    monkeypatch.setattr("providerkit.discovery.announcements", list)
    expected = "No provider is installed; try: pip install providerkit-koala\n"
    assert call("providers") == (0, "", expected)


def test_providers_are_listed_as_json(announce):
    announce("gone", "ara = gone_module:Ara")
    announce("falling3", "emu = falling3:Emu", "raise RuntimeError('oh')")
    code, output, errors = call("providers", "--json")
    assert (code, errors, output.count("\n")) == (0, "", 1)
    ara, emu, koala = json.loads(output)
    assert ara["problem"] == "its module 'gone_module' is not there"
    assert (ara["state"], emu["state"]) == ("broken", "installed")
    assert koala == dict(zip(("name", "version", "distribution", "state"), KOALA, strict=True))
    ara, emu, koala = json.loads(call("providers", "--json", "--load")[1])
    assert emu["state"] == "broken"
    assert emu["problem"].endswith("it can't be imported: RuntimeError: oh")
    assert (koala["state"], koala["default_model"], koala["models"][0]) == ("loaded", "gpt-4o-mini", "gpt-4o-mini")
    assert koala["supports"] == ["extra", "history", "system"]


def test_json_of_nothing_is_an_empty_list():
    assert call("providers", "--json", "--supports", "temperature") == (0, "[]\n", "")
