"""`providerkit keys`: keys are kept, listed without being shown, and removed."""

import json
import sys

import attrs
import pytest
from click import UsageError
from commands import call, terminal
from keyring.backends.fail import Keyring as Fail
from parrots import Parrot

from providerkit import hookimpl
from providerkit.cli.keys import _typed
from providerkit.plugins.keys import SERVICE

KEY = "sk-marked-0123456789"


def test_a_key_is_read_from_a_pipe_and_kept(memory):
    kept = (0, "Kept the key of koala in the keyring (memory of the tests).\n", "")
    assert call("keys", "set", "koala", stdin=f"{KEY}\n") == kept
    assert memory.kept == {(SERVICE, "koala"): KEY}


def test_a_key_that_is_not_utf8_is_reported_and_not_kept(memory):
    code, output, errors = call("keys", "set", "koala", stdin=KEY.encode() + b"\xe9")
    assert (code, output, memory.kept) == (2, "", {})
    note, error = errors.splitlines()
    assert note.startswith(f"Note: the input is not UTF-8 at byte {len(KEY)}; ")
    assert "beyond ASCII" in error
    assert KEY not in errors


def test_a_key_is_asked_for_at_a_terminal_and_not_shown(tmp_path):
    """The keyring of this other process keeps nothing; what it says of it shows that it was given the key."""
    with terminal("keys", "set", "koala", home=tmp_path) as program:
        program.expect_exact("Key of koala (it is not shown): ")
        program.sendline(KEY)
        program.expect_exact("took the key but did not keep it")
        program.expect_exact("\n")
        assert KEY not in program.before
        program.wait()
        assert program.exitstatus == 2


@pytest.mark.parametrize("backend", [Fail(), None])
def test_no_key_is_asked_for_if_nothing_can_keep_it(any_backend, monkeypatch, backend):
    monkeypatch.setattr("providerkit.cli.keys._typed", pytest.fail)
    if backend is None:
        monkeypatch.setitem(sys.modules, "keyring", None)
        expected = "Error: keyring is not installed; run: pip install keyring; set KOALA_API_KEY instead\n"
    else:
        any_backend(backend)
        trouble = "the keyring can't be used: NoKeyringError: No recommended backend was available"
        expected = f"Error: {trouble}; set KOALA_API_KEY instead\n"
    assert call("keys", "set", "koala") == (2, "", expected)


@pytest.mark.parametrize("argument", [KEY, f"--{KEY}", "-sk-0"])
def test_a_key_is_no_argument_and_is_not_repeated(memory, argument):
    code, output, errors = call("keys", "set", "koala", argument, stdin="other")
    assert (code, output, memory.kept) == (2, "", {})
    assert errors.startswith(
        "Error: A key is never an argument: other users can see arguments, and shells remember them. "
    )
    assert argument not in errors


def test_a_key_that_the_environment_hides_is_kept_with_a_note(memory, monkeypatch):
    monkeypatch.setenv("KOALA_API_KEY", "other")
    code, _, errors = call("keys", "set", "koala", stdin=KEY)
    assert (code, errors) == (0, "Note: KOALA_API_KEY is set, and goes before the keyring.\n")


@pytest.mark.parametrize(
    ("name", "stdin", "words"),
    [
        ("koala", "", "There is no key; try: pass show koala | providerkit keys set koala."),
        ("koala", " \n", "There is no key"),
        ("koala", f"{KEY}\n{KEY}", "the key has a line break or a character beyond ASCII"),
        ("koal", KEY, "did you mean 'koala'?"),
        ("parrot", KEY, "parrot names no variable for a key, so none is kept; only Python code can pass one"),
    ],
)
def test_what_can_not_be_kept_is_told_in_one_line(memory, install, name, stdin, words):
    install("parrot", Keyless)
    code, output, errors = call("keys", "set", name, stdin=stdin)
    assert (code, output, errors.count("\n"), memory.kept) == (2, "", 1, {})
    assert words in errors
    assert KEY not in errors


def test_a_terminal_is_asked_for_a_key_without_showing_it(monkeypatch):
    """The test above, in this process."""
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: asked.append(prompt) or f" {KEY} ")
    assert (_typed("koala"), asked) == (KEY, ["Key of koala (it is not shown): "])


def test_no_input_at_all_is_told(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="There is no key"):
        _typed("koala")


class Keyless(Parrot):
    @hookimpl
    def describe(self):
        return attrs.evolve(super().describe(), api_key_env=None)


class Talkative(Parrot):
    @hookimpl
    def describe(self):
        raise RuntimeError("no name")


def listed():
    """Return the rows of `providerkit keys list`, by the provider's name."""
    code, output, errors = call("keys", "list")
    assert (code, errors) == (0, "")
    return {name: cells for name, *cells in (line.split() for line in output.splitlines())}


def test_keys_are_listed_by_where_they_are_found_and_not_shown(memory, install, monkeypatch):
    install("parrot", Keyless)
    install("talkative", Talkative, distribution="broken")
    assert listed()["NAME"] == ["VARIABLE", "FOUND"]
    assert listed()["koala"] == ["KOALA_API_KEY", "nowhere"]
    assert {"parrot", "talkative"}.isdisjoint(listed())
    call("keys", "set", "koala", stdin=KEY)
    assert listed()["koala"] == ["KOALA_API_KEY", "keyring"]
    monkeypatch.setenv("KOALA_API_KEY", KEY)
    assert listed()["koala"] == ["KOALA_API_KEY", "environment"]
    code, output, _ = call("keys", "list", "--json")
    assert code == 0
    assert {"name": "koala", "variable": "KOALA_API_KEY", "found": "environment"} in json.loads(output)


def test_where_nobody_takes_a_key_the_list_says_so(memory, monkeypatch):
    monkeypatch.setattr("providerkit.plugins.discovery.installed", lambda group: [])
    assert call("keys", "list") == (0, "", "No installed provider takes a key\n")


def test_a_keyring_that_fails_is_told(any_backend):
    any_backend(Fail())
    code, output, errors = call("keys", "list")
    assert (code, "nowhere" in output, errors.count("\n")) == (0, True, 1)
    assert errors.startswith("Note: the keyring can't be used: NoKeyringError")


def test_a_key_is_removed_also_of_a_provider_that_is_gone(memory):
    memory.kept[SERVICE, "gone"] = KEY
    assert call("keys", "remove", "gone") == (0, "Removed the key of gone from the keyring.\n", "")
    assert memory.kept == {}
    words = "Error: the keyring keeps no key for 'gone'; see: providerkit keys list\n"
    assert call("keys", "remove", "gone") == (2, "", words)


def test_keys_alone_is_its_help():
    code, output, errors = call("keys")
    assert (code, output, errors) == (0, call("keys", "--help")[1], "")
