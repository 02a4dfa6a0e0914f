"""The command line: its words, its exit codes, and how it behaves in a shell."""

import asyncio
import json
import os
import runpy
import signal
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from loopback import chunked, serve
from yarl import URL

from providerkit import discovery, plugins
from providerkit.cli.main import main
from providerkit.discovery import PROVIDERS

ADDRESS = "https://koala.sh/api/gpt/"
NO_PROMPT = 'Error: There is no PROMPT; try: providerkit run -p koala --sandbox "Hello". See: providerkit run --help\n'


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for variable in ("KOALA_API_KEY", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "PROVIDERKIT_EXTENSIONS"):
        monkeypatch.delenv(variable, raising=False)


def call(*arguments, stdin=None):
    """Run a command in this process; give its exit code, output and errors."""
    result = CliRunner().invoke(main, arguments, prog_name="providerkit", input=stdin)
    return result.exit_code, result.stdout, result.stderr


async def start(*arguments, command=("-m", "providerkit"), **options):
    """Start a command in a process of its own, where a warning is an error."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
    strict = ("-X", "dev", "-W", "error")
    return await asyncio.create_subprocess_exec(sys.executable, *strict, *command, *arguments, **(pipes | options))


async def finished(*arguments, stdin=b"", **options):
    """Run a command in a process of its own; give its exit code, output and errors."""
    process = await start(*arguments, **options)
    output, errors = await process.communicate(stdin)
    return process.returncode, (output or b"").decode(), errors.decode()


def said(question, turns="0 turns"):
    return f"You said: {question!r}. {turns} came before. This is Koala's sandbox.\n"


def body_sent(mocked):
    (sent,) = mocked.requests["POST", URL(ADDRESS)]
    return json.loads(sent.kwargs["data"])


@pytest.mark.parametrize("arguments", [("-p", "koala"), ("--provider", "koala", "-m", "x"), ("-m", "koala/x")])
def test_run_asks_the_sandbox_of_the_provider_that_is_named(arguments):
    assert call("run", *arguments, "--sandbox", "hi") == (0, said("hi"), "")


def test_runs_options_reach_the_provider(mocked):
    mocked.post(ADDRESS, body='data: "ok"\n\n')
    assert call("run", "-p", "koala", "-m", "claude-3.7-sonnet", "-s", "Be brief.", "hi") == (0, "ok\n", "")
    assert (body_sent(mocked)["model"], body_sent(mocked)["input"]) == ("claude-3.7-sonnet", "hi Be brief.")


def test_run_asks_at_a_base_url(mocked):
    mocked.post("http://127.0.0.1:1/api/gpt/", body='data: "ok"\n\n')
    assert call("run", "-p", "koala", "--base-url", "http://127.0.0.1:1", "hi") == (0, "ok\n", "")


@pytest.mark.parametrize("prompt", [(), ("-",)], ids=["no prompt", "a dash"])
def test_run_reads_the_question_from_a_pipe(prompt):
    stdin = "two\nlines 🐨".encode() + b"\xff"
    assert call("run", "-p", "koala", "--sandbox", *prompt, stdin=stdin) == (0, said("two\nlines 🐨\ufffd"), "")


async def test_run_does_not_wait_for_a_pipe_where_there_is_a_prompt():
    process = await start("run", "-p", "koala", "--sandbox", "hi")
    assert (await process.stdout.read()).decode() == said("hi")
    await process.communicate()


@pytest.mark.parametrize("arguments", [("run",), ("run", "-")], ids=["no prompt", "a dash"])
def test_run_without_any_input_asks_for_a_prompt(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as caught:
        main(arguments, prog_name="providerkit")
    assert (caught.value.code, capsys.readouterr().err) == (2, NO_PROMPT)


def test_run_at_a_terminal_asks_for_a_prompt(monkeypatch, capsys):
    main_end, terminal = os.openpty()
    with os.fdopen(main_end), os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(SystemExit) as caught:
            main(["run", "-p", "koala"], prog_name="providerkit")
    assert (caught.value.code, capsys.readouterr().err) == (2, NO_PROMPT)


async def test_text_is_printed_as_it_arrives():
    seen = asyncio.Event()

    async def answer(request, writer):
        writer.write(chunked(b'data: "one"\n\n', end=False))
        await seen.wait()
        writer.write(b'e\r\ndata: " two"\n\n\r\n0\r\n\r\n')

    async with serve(answer) as server:
        process = await start("run", "-p", "koala", "--base-url", server.base_url, "hi")
        assert await process.stdout.readexactly(3) == b"one"
        seen.set()
        assert await process.communicate() == (b" two\n", b"")
    assert process.returncode == 0


async def test_an_answer_that_breaks_off_is_printed_with_its_error_after_it():
    async def answer(request, writer):
        writer.write(chunked(b'data: "one"\n\n', end=False))
        writer.close()

    async with serve(answer) as server:
        code, output, errors = await finished("run", "-p", "koala", "--base-url", server.base_url, "hi")
    assert (code, output, errors.count("\n")) == (1, "one\n", 1)
    assert errors.startswith("Error: the connection broke in mid-answer")


async def test_ctrl_c_ends_a_run_with_130_and_closes_its_connection():
    async def answer(request, writer):
        writer.write(chunked(b'data: "one"\n\n', end=False))

    async with serve(answer) as server:
        process = await start("run", "-p", "koala", "--base-url", server.base_url, "hi")
        assert await process.stdout.readexactly(3) == b"one"
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
        await server.closed.get()
    assert (process.returncode, output, errors.strip()) == (130, b"\n", b"")


async def test_a_pipe_that_closes_is_no_error():
    more = asyncio.Event()

    async def answer(request, writer):
        writer.write(chunked(b'data: "one"\n\n', end=False))
        await more.wait()
        writer.write(b'e\r\ndata: " two"\n\n\r\n')

    read_end, write_end = os.pipe()
    async with serve(answer) as server:
        arguments = ("run", "-p", "koala", "--base-url", server.base_url, "hi")
        process = await start(*arguments, stdout=write_end)
        os.close(write_end)
        assert await asyncio.to_thread(os.read, read_end, 3) == b"one"
        os.close(read_end)
        more.set()
        assert (await process.communicate())[1] == b""
        await server.closed.get()
    assert process.returncode == 0


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


@pytest.mark.parametrize("arguments", [("providers",), ("--help",)])
async def test_python_does_not_complain_of_it_again_at_its_exit(unwritable, arguments):
    code, _, errors = await finished(*arguments, stdout=unwritable)
    os.close(unwritable)
    assert (code, errors.count("\n")) == (1, 1)


async def test_text_that_the_output_can_not_hold_is_printed_with_question_marks():
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    process = await start("run", "-p", "koala", "--sandbox", "\u00e9 \U0001f428", env=environment)
    assert await process.communicate() == (said("\u00e9 ?").encode("latin-1"), b"")


def test_an_interrupted_command_exits_130(monkeypatch):
    monkeypatch.setattr("providerkit.cli.main._question", interrupt)
    assert call("run")[:2] == (130, "")


def interrupt(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rn", "hi"], "No such command 'rn'. Did you mean 'run'? See: providerkit --help"),
        (["zzz"], "No such command 'zzz'. There are: run, providers, sandbox. See: providerkit --help"),
        (["--verison"], "No such option '--verison'. Did you mean '--version'? See: providerkit --help"),
        (["run", "--sandbxo"], "No such option '--sandbxo'. Did you mean '--sandbox'? See: providerkit run --help"),
        (["run", "two", "words"], "Got unexpected extra argument (words) See: providerkit run --help"),
        (["run", "--sandbox", "hi"], "--sandbox needs to know whose; add -p NAME. See: providerkit run --help"),
        (["run", "-m", "x", "--sandbox", "hi"], "--sandbox needs to know whose; add -p NAME."),
        (["run", "-p", "koala", "--sandbox", "--base-url", "http://x", "hi"], "leave out --base-url."),
        (["run", "hi"], "no provider is named; installed are: koala"),
        (["run", "-p", "koal", "hi"], "there is no provider 'koal'; installed are: koala; did you mean 'koala'?"),
        (["run", "-p", "koala", ""], "there is no message to send"),
        (["run", "-p", "koala", "--base-url", "koala.sh", "hi"], "base_url is 'koala.sh'; it must look like"),
        (["providers", "--supports", "tmperature"], "'tmperature' is not one of 'extra', 'history'"),
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


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 401, "body": '{"error": "who\\nare you?"}'}, "koala: who are you?"),
        ({"status": 503}, "koala answered 503 Service Unavailable"),
        ({"body": "<html>"}, "expected a chat answer"),
        ({"body": ""}, "the body is empty"),
        ({"timeout": True}, "Timeouts(connect=...)"),
        ({"exception": ConnectionResetError()}, "koala.sh closed the connection"),
    ],
    ids=["a refusal", "a status", "a page", "nothing", "a timeout", "a reset"],
)
def test_what_the_provider_or_the_network_fails_at_is_told_in_one_line_and_exits_1(mocked, answer, words):
    mocked.post(ADDRESS, repeat=True, **answer)
    code, output, errors = call("run", "-p", "koala", "hi")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("Error: ")
    assert words in errors


async def test_a_refused_connection_shows_no_traceback():
    code, output, errors = await finished("run", "-p", "koala", "--base-url", "http://127.0.0.1:1", "hi")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("Error: can't connect to 127.0.0.1:1")


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


KOALA = ["koala", "0.1.0", "providerkit-koala", "installed"]


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
    monkeypatch.setattr("providerkit.cli.main.announcements", list)
    expected = "No provider is installed; try: pip install providerkit-koala\n"
    assert call("providers") == (0, "", expected)


async def test_sandbox_prints_its_url_first_and_serves_until_it_is_interrupted():
    process = await start("sandbox", "koala", "--port", "0")
    url = (await process.stdout.readline()).decode().strip()
    assert url.startswith("http://127.0.0.1:")
    assert await finished("run", "-p", "koala", "--base-url", url, "hi") == (0, said("hi"), "")
    process.send_signal(signal.SIGINT)
    output, errors = await process.communicate()
    assert (process.returncode, output) == (0, b"")
    assert errors.decode() == f"Ctrl-C stops it. Try: providerkit run -p koala --base-url {url} Hello\n"


async def test_sandbox_serves_at_the_port_that_is_asked_for():
    async with serve(b"") as server:
        port = server.base_url.rpartition(":")[2]
        code, output, errors = await finished("sandbox", "koala", "--port", port)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert f"can't have port {port}" in errors
    process = await start("sandbox", "koala", "--port", port)
    assert (await process.stdout.readline()).decode() == f"http://127.0.0.1:{port}\n"
    process.send_signal(signal.SIGINT)
    await process.communicate()


def test_sandbox_ends_well_when_it_is_interrupted(monkeypatch):
    monkeypatch.setattr("providerkit.cli.main.threading", SimpleNamespace(Event=interrupt))
    code, output, _ = call("sandbox", "koala")
    assert (code, output.startswith("http://127.0.0.1:")) == (0, True)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["run", "--help"], ["sandbox", "-h"], ["--version"], []])
def test_help_is_no_error(arguments):
    code, output, errors = call(*arguments)
    assert (code, errors) == (0, "")
    assert output.startswith(("Usage: providerkit", f"providerkit, version {version('providerkit-core')}"))


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["providers"], ["--version"], ["rn"]])
async def test_neither_a_provider_nor_aiohttp_is_imported_for(arguments):
    code = """
import sys
from providerkit.cli.main import main
try:
    main(sys.argv[1:])
finally:
    imported = {name.partition(".")[0] for name in sys.modules}
    print(sorted(imported & {"aiohttp", "providerkit_koala"}))
"""
    _, output, _ = await finished(*arguments, command=("-c", code))
    assert output.splitlines()[-1] == "[]"


def test_the_module_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["providerkit", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("providerkit", run_name="__main__")
    assert (caught.value.code, capsys.readouterr().out.splitlines()[0]) == (
        0,
        "Usage: python -m providerkit [OPTIONS] [COMMAND] [ARGS]...",
    )
