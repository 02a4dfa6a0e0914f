"""The command line: its words, its exit codes, and how it behaves in a shell."""

import asyncio
import importlib
import os
import runpy
import signal
import sys
from importlib.metadata import version

import pytest
from commands import call, finished, start

from providerkit import cli
from providerkit.cli import main as main_module
from providerkit.cli.main import main


@pytest.mark.parametrize("arguments", [("providers",), ("--help",), ("run", "--help"), ("--version",)])
def test_an_output_that_nobody_reads_is_no_error(monkeypatch, arguments):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit) as caught:
            main(arguments, prog_name="providerkit")
        assert caught.value.code == 0


@pytest.fixture
def unwritable(tmp_path):
    """Give the number of a file that can only be read."""
    (tmp_path / "file").touch()
    return os.open(tmp_path / "file", os.O_RDONLY)


def test_an_output_that_can_not_be_written_is_an_error_in_one_line(monkeypatch, capsys, unwritable):
    with os.fdopen(unwritable, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit) as caught:
            main(["providers"], prog_name="providerkit")
        assert caught.value.code == 1
    errors = capsys.readouterr().err
    assert (errors.startswith("Error: the output can't be written: "), errors.count("\n")) == (True, 1)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/locked"), "/locked: Permission denied"),
        (PermissionError(13, "Permission denied", b"/locked"), "/locked: Permission denied"),
        (OSError(9, "Bad file descriptor"), "Bad file descriptor"),
        (OSError(9, "Bad file descriptor", 7), "Bad file descriptor"),
        (OSError(), "OSError"),
    ],
)
def test_what_the_system_refuses_is_named_and_not_the_output(monkeypatch, error, words):
    def refuse():
        raise error

    monkeypatch.setattr("providerkit.discovery.announcements", refuse)
    assert call("providers") == (1, "", f"Error: {words}\n")


async def test_an_input_that_can_not_be_read_is_not_the_outputs_fault(tmp_path):
    with (tmp_path / "file").open("w") as unreadable:
        process = await start("run", "-p", "koala", "--sandbox", stdin=unreadable)
        output, errors = await process.communicate()
    told = b'Error: There is no PROMPT; try: providerkit run -p koala --sandbox "Hello".'
    told += b" See: python -m providerkit run --help\n"
    assert (process.returncode, output, errors) == (2, b"", told)


@pytest.mark.parametrize("arguments", [("providers",), ("--help",)])
async def test_python_does_not_complain_of_it_again_at_its_exit(unwritable, arguments):
    code, _, errors = await finished(*arguments, stdout=unwritable)
    os.close(unwritable)
    assert (code, errors.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rn", "hi"], "No such command 'rn'. Did you mean 'run'? See: providerkit --help"),
        (["run", "-p"], "Option '-p' requires an argument. See: providerkit run --help"),
        (["chat", "--model"], "Option '--model' requires an argument. See: providerkit chat --help"),
        (["run", "--json=1"], "Option '--json' does not take a value. See: providerkit run --help"),
        (["--version=1"], "Option '--version' does not take a value. See: providerkit --help"),
        (
            ["zzz"],
            "No such command 'zzz'. There are: run, chat, models, providers, keys, doctor, sandbox, check, new. See: ",
        ),
        (["--verison"], "No such option '--verison'. Did you mean '--version'? See: providerkit --help"),
        (["doctor", "--onlin"], "No such option '--onlin'. Did you mean '--online'? See: providerkit doctor --help"),
        (["doctor", "--zzz"], "No such option '--zzz'. See: providerkit doctor --help"),
        (["run", "--sandbxo"], "No such option '--sandbxo'. Did you mean '--sandbox'? See: providerkit run --help"),
        (
            ["run", "two", "words"],
            'PROMPT is one argument; put it in quotes: "two words". See: providerkit run --help',
        ),
        (["chat", "two"], "Got unexpected extra argument (two). See: providerkit chat --help"),
        (
            ["run", "--api-key", "x", "hi"],
            "No such option '--api-key': keys are read from the environment, as in KOALA_API_KEY.",
        ),
        (
            ["run", "--sandbox", "hi"],
            "; say -p NAME\n",
        ),
        (["run", "-m", "x", "--sandbox", "hi"], "; say -p NAME or -m PROVIDER/x\n"),
        (["run", "-m", "Koala", "--sandbox", "hi"], "; say -p koala\n"),
        (["run", "-p", "koala", "--sandbox", "--base-url", "http://x", "hi"], "leave out --base-url."),
        (["run", "hi"], "no provider is named; installed are: "),
        (["run", "-p", "koal", "hi"], "; did you mean 'koala'?"),
        (["run", "-p", "koala", ""], 'There is no PROMPT; try: providerkit run -p koala --sandbox "Hello".'),
        (["run", "-p", "koala", "--base-url", "koala.sh", "hi"], "--base-url is 'koala.sh'; it must look like"),
        (["providers", "--supports", "tmperature"], "'tmperature' is not one of 'extra', 'history'"),
        (["keys", "zzz"], "No such command 'zzz'. See: providerkit keys --help"),
        (["keys", "set"], "Missing argument 'NAME'. See: providerkit keys set --help"),
        (["sandbox"], "Missing argument 'NAME'. See: providerkit sandbox --help"),
        (["sandbox", "koal"], "did you mean 'koala'?"),
        (["sandbox", "koala", "--port", "65536"], "65536 is not in the range 0<=x<=65535."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_told_in_one_line_and_exits_2(arguments, words):
    code, output, errors = call(*arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("Error: ")
    assert words in errors


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["run", "--help"], ["sandbox", "-h"], ["--version"], []])
def test_help_is_no_error(arguments):
    code, output, errors = call(*arguments)
    assert (code, errors) == (0, "")
    assert output.startswith(("Usage: providerkit", f"providerkit, version {version('providerkit-core')}"))


DEAR = {
    "aiohttp",
    "asyncio",
    "attr",
    "email",
    "importlib.metadata",
    "keyring",
    "orjson",
    "pathlib",
    "pluggy",
    "providerkit_koala",
}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["providers"], ["chat", "-h"], ["keys", "set", "-h"], ["doctor", "-h"], ["rn"]],
)
async def test_nothing_that_is_dear_is_imported_for(arguments):
    """Told by another Python without what this test's environment imports by itself."""
    code = """
import sys
before = set(sys.modules)
import click
from providerkit.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted(set(sys.modules) - before))
"""
    _, output, _ = await finished(*arguments, command=("-c", code))
    assert DEAR.intersection(output.splitlines()[-1].split()) == set()


@pytest.fixture
def program(monkeypatch):
    """Be the program itself, which alone decides what an interrupt does."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "argv", ["providerkit", "--version"])
    yield
    signal.signal(signal.SIGINT, before)


def test_the_module_is_the_command(program, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["providerkit", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("providerkit", run_name="__main__")
    assert (caught.value.code, capsys.readouterr().out.splitlines()[0]) == (
        0,
        "Usage: python -m providerkit [OPTIONS] [COMMAND] [ARGS]...",
    )


COMMANDS = ("", "run", "chat", "models", "providers", "keys", "keys list", "doctor", "sandbox", "check", "new")


def examples():
    for command in COMMANDS:
        _, _, after = call(*command.split(), "--help")[1].rpartition("Example")
        yield from [line.strip() for line in after.splitlines()[1:]]


EXAMPLES = list(examples())


def test_every_help_has_a_working_example():
    shown = {command: call(*command.split(), "--help")[1] for command in COMMANDS}
    assert [command for command, text in shown.items() if f"  providerkit {command}" not in text] == []


@pytest.mark.parametrize("example", EXAMPLES)
async def test_an_example_works(example, tmp_path):
    """Each as a shell runs it, but that it finds no input; what serves until it is interrupted is interrupted."""
    (tmp_path / "providerkit").write_text(f'#!/bin/sh\nexec {sys.executable} -W error -m providerkit "$@"\n')
    (tmp_path / "providerkit").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
    process = await asyncio.create_subprocess_shell(
        f"exec {example}" if "|" not in example else example, env=environment, cwd=tmp_path, **pipes
    )
    process.stdin.close()
    output = await process.stdout.readline()
    if "providerkit sandbox" in example:
        process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert (process.returncode, bool(output)) == (0, "chat" not in example or "|" in example)
    assert b"Error" not in errors


def completions(monkeypatch, *words):
    """Complete the last of these words, as a shell asks for it."""
    monkeypatch.setenv("_PROVIDERKIT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(("providerkit", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    code, output, errors = call()
    assert (code, errors) == (0, "")
    return [line.removeprefix("plain,") for line in output.split()]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("pro",), ["providers"]),
        (("run", "--te"), ["--temperature"]),
        (("run", "-p", "k"), ["koala"]),
        (("chat", "-p", "k"), ["koala"]),
        (("chat", "-m", "k"), ["koala/"]),
        (("sandbox", "k"), ["koala"]),
        (("keys", "set", "k"), ["koala"]),
        (("models", "-p", "zz"), []),
        (("nonsense", "x"), []),
        (("providers", "--supports", "t"), ["temperature", "tools", "top_p"]),
    ],
    ids=str,
)
def test_a_shell_completes(monkeypatch, words, found):
    assert completions(monkeypatch, *words) == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(monkeypatch, shell):
    monkeypatch.setenv("_PROVIDERKIT_COMPLETE", f"{shell}_source")
    code, output, _ = call()
    assert (code, f"_PROVIDERKIT_COMPLETE={shell}_complete" in output) == (0, True)


def test_an_interrupt_while_python_tidies_up_leaves_at_once(program, monkeypatch):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    with pytest.raises(SystemExit):
        cli.start()
    signal.raise_signal(signal.SIGINT)
    assert left == [130]


def test_an_interrupt_of_a_command_interrupts_it(program, monkeypatch):
    monkeypatch.setattr(main_module.main, "main", lambda **names: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as caught:
        cli.start()
    assert caught.value.code == 130


def test_an_interrupt_within_an_import_leaves_at_once(program, monkeypatch, site):
    """An import is nothing that can be stopped in good order."""
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    (site / "interrupted_bird.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    signal.signal(signal.SIGINT, cli._interrupt)
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module("interrupted_bird")
    assert set(left) == {130}


def test_an_interrupt_that_is_ignored_stays_ignored(program):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(SystemExit):
        cli.start()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


async def test_an_interrupt_during_the_imports_shows_no_traceback(tmp_path):
    """Python is stopped in the middle of its imports: a module of click's name waits there for the interrupt."""
    (tmp_path / "click.py").write_text("import signal\nprint('importing', flush=True)\nsignal.pause()\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    process = await start("--help", env=environment)
    assert await process.stdout.readline() == b"importing\n"
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130
