"""`providerkit check`: what it prints of a provider that keeps the contract, and of those that do not."""

import os
import sys

import pytest
from commands import call

from providerkit.testing import ProviderContract, examination

CHECKS = sum(name.startswith("test_") for name in vars(ProviderContract))


def test_check_prints_one_line_a_check_whatever_a_developer_has_set(monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    before = dict(os.environ)
    code, output, errors = call("check", "koala")
    assert (code, errors) == (0, "")
    *lines, last = output.splitlines()
    assert (len(lines), last) == (CHECKS, f"koala: {CHECKS} passed")
    assert all(line.startswith("ok      ") for line in lines)
    assert "ok      an answer cut at any byte gives the same events" in lines
    assert dict(os.environ) == before
    assert examination.MODULE not in sys.modules


def test_a_check_that_fails_says_what_it_wants_and_where_to_read(install):
    install("parrot", "from broken_parrots import Plainspoken as Plugin")
    code, output, errors = call("check", "parrot")
    assert (code, errors) == (1, "")
    assert output.endswith(f"parrot: 2 failed, {CHECKS - 2} passed\n")  # its module brings aiohttp, too
    _, _, told = output.partition("FAILED  a status is its error\n")
    wants = "A status is the error of that status where the body does not say more; the provider is named."
    assert told.splitlines()[:4] == [
        "        400 and 11 more",
        f"        The contract wants: {wants}",
        "        It found: at 400: expected BadRequest, found ProviderError('no')",
        "        To read: docs/writing-a-provider.md#errors",
    ]


def test_of_one_that_does_not_load_the_reason_is_told_once(install):
    install("mute", "raise RuntimeError('the moon')")
    code, output, errors = call("check", "mute")
    assert (code, errors) == (1, "")
    assert output.count("it can't be imported: RuntimeError: the moon") == 1
    assert output.endswith(f"mute: 1 failed, {CHECKS - 1} skipped\n")
    assert (
        "skipped an answer that is none is no success\n        Skipped: it does not load: see test_it_loads\n" in output
    )


def test_who_is_not_installed_can_not_be_checked():
    code, output, errors = call("check", "koalla")
    assert (code, output) == (2, "")
    assert "did you mean 'koala'?" in errors


def test_without_pytest_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "providerkit.testing.examination")
    monkeypatch.setitem(sys.modules, "pytest", None)
    code, output, errors = call("check", "koala")
    assert (code, output) == (2, "")
    assert "this needs pytest: pip install pytest pytest-asyncio aioresponses. See: providerkit check --help" in errors


def test_another_module_that_is_missing_is_a_fault_of_ours(monkeypatch):
    monkeypatch.delitem(sys.modules, "providerkit.testing.examination")
    monkeypatch.setitem(sys.modules, "attrs", None)
    with pytest.raises(ModuleNotFoundError, match="attrs"):
        call_raising("check", "koala")


def call_raising(*arguments):
    from click.testing import CliRunner

    from providerkit.cli.main import main

    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_where_pytest_itself_fails_that_is_told(monkeypatch):
    monkeypatch.setattr(examination, "CODE", "raise RuntimeError('the moon')")
    with pytest.raises(RuntimeError, match="pytest ended with") as caught:
        examination.examine("koala", lambda verdict: None)
    assert "RuntimeError: the moon" in str(caught.value)
