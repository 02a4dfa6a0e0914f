"""`providerkit chat`, as a person uses it at a terminal, and as a script does through a pipe."""

import asyncio
import json
import os
import re
import signal
import stat
import sys
import threading
from contextlib import suppress

import attrs
import pexpect
import pytest
from commands import call, finished, said, terminal
from loopback import chunked, http, serve
from parrots import Parrot

import providerkit
from providerkit import hookimpl
from providerkit.cli import chat, history, session
from providerkit.cli.main import main

KOALA = ("chat", "-p", "koala", "--sandbox")
FIRST = "Talking with koala/gpt-4o-mini. /help lists commands, Ctrl-D leaves.\n"


def typed(*lines):
    return call(*KOALA, stdin="".join(f"{line}\n" for line in lines))


def history_of(home):
    return (home / "providerkit" / "history").read_text("utf-8").splitlines()


@pytest.fixture
def person(tmp_path):
    """Sit down at a terminal where chat runs."""
    with terminal(*KOALA, "--plain", home=tmp_path) as program:
        program.expect_exact("Ctrl-D leaves.")
        program.expect_exact("> ")
        yield program


def say(person, line, answer):
    person.sendline(line)
    person.expect_exact(answer)
    person.expect_exact("> ")


def left(person):
    person.expect(pexpect.EOF)
    person.close()
    return person.exitstatus


def test_a_person_talks_and_leaves_with_ctrl_d(person, tmp_path):
    say(person, "Hello", said("Hello").strip())
    say(person, "And now?", said("And now?", "2 turns").strip())
    person.sendline('"""one')
    person.expect_exact("... ")
    say(person, 'two"""', said("one\ntwo", "4 turns").strip())
    say(person, "/model gpt-4o", "Model: koala/gpt-4o")
    say(person, "/reset", "Forgotten.")
    say(person, "/help", "/exit ")
    say(person, "/ext", "There is no /ext; /help lists what there is")
    say(person, "Again", said("Again").strip())
    person.sendeof()
    assert left(person) == 0
    lines = ["Hello", "And now?", '"""one', 'two"""', "/model gpt-4o", "/reset", "/help", "/ext", "Again"]
    assert history_of(tmp_path) == lines
    assert stat.S_IMODE((tmp_path / "providerkit" / "history").stat().st_mode) == 0o600


def test_a_person_leaves_with_a_command(person):
    person.sendline("/exit")
    assert left(person) == 0


def test_ctrl_c_at_the_prompt_drops_the_line_and_stays(person):
    person.send("half a line")
    person.expect_exact("half a line")
    person.sendintr()
    person.expect_exact("> ")
    say(person, "Hello", said("Hello").strip())
    person.sendeof()
    assert left(person) == 0


def test_earlier_lines_can_be_had_again_and_edited(person, tmp_path):
    say(person, "Hello", said("Hello").strip())
    person.sendeof()
    assert left(person) == 0
    with terminal(*KOALA, "--plain", home=tmp_path) as again:
        again.expect_exact("> ")
        again.send("\x10")  # up
        again.expect_exact("Hello")
        say(again, "\x7f\x7fp!", said("Help!").strip())


async def stall(request, writer):
    """Begin an answer and never end it, but where it is asked to go on."""
    if b"Go on" in request.body:
        writer.write(chunked(b'data: "done"\n\n'))
        return
    writer.write(chunked(b'data: "one"\n\n', end=False))


async def test_ctrl_c_stops_the_answer_and_not_the_program(tmp_path):
    def talk():
        with terminal("chat", "-p", "koala", "--plain", "--base-url", server.base_url, home=tmp_path) as person:
            person.expect_exact("> ")
            person.sendline("Begin")
            person.expect_exact("one")
            person.sendintr()
            person.expect_exact("Stopped; neither the message nor the answer is remembered.")
            person.expect_exact("> ")
            say(person, "Go on", "done")
            person.sendeof()
            return left(person)

    async with serve(stall) as server:
        assert await asyncio.to_thread(talk) == 0
    bodies = [json.loads(request.body) for request in server.requests]
    assert [(body["input"], body["inputHistory"]) for body in bodies] == [("Begin", []), ("Go on", [])]


async def test_markdown_is_drawn_where_rich_is_there(tmp_path):
    def talk():
        with terminal("chat", "-p", "koala", "--base-url", server.base_url, home=tmp_path, NO_COLOR="1") as person:
            person.expect_exact("> ")
            person.sendline("Hello")
            person.expect_exact("\x1b[1mbold\x1b[0m")
            person.expect_exact("> ")
            person.sendeof()
            return left(person)

    async with serve(http(b'data: "some **bold** text"\n\n')) as server:
        assert await asyncio.to_thread(talk) == 0


def test_a_pipe_talks_line_by_line():
    assert typed("Hello", "", "What did I say?") == (0, said("Hello") + said("What did I say?", "2 turns"), "")


async def test_python_has_no_complaint_about_a_conversation_through_a_pipe():
    assert await finished(*KOALA, stdin=b"Hello\n/exit\nnever") == (0, said("Hello"), "")


def test_a_message_may_have_several_lines_or_begin_with_a_slash():
    asked = typed('"""a', "", 'b"""', '"""c"""', "//etc")
    assert asked == (0, said("a\n\nb") + said("c", "2 turns") + said("/etc", "4 turns"), "")


def test_a_message_that_is_never_ended_is_not_sent_which_is_told():
    told = 'Error: the input ended within a message that """ began; it was not sent. See: providerkit chat --help\n'
    assert typed("Hello", '"""a', "b") == (2, said("Hello"), told)


def test_lines_that_are_not_utf8_are_reported():
    code, output, errors = call(*KOALA, stdin=b"\xef\xbb\xbfa\r\nb\xe9\n")
    assert (code, output) == (0, said("a") + said("b\ufffd", "2 turns"))
    assert errors.startswith("Note: the input is not UTF-8 at byte 1; ")


def test_a_failure_does_not_end_the_conversation_but_a_script_learns_of_it(mocked):
    address = "https://koala.sh/api/gpt/"
    mocked.post(address, status=503)
    mocked.post(address, body='data: "ok"\n\n')
    code, output, errors = call("chat", "-p", "koala", "--attempts", "1", stdin="Hello\nHello\n")
    assert (code, output, errors) == (1, "ok\n", "Error: koala: 503: Service Unavailable\n")


def test_the_system_text_is_set_shown_and_dropped(mocked):
    address = "https://koala.sh/api/gpt/"
    mocked.post(address, body='data: "ok"\n\n', repeat=True)
    lines = ("/system", "/system Be brief.", "Hello", "/system -", "Hello")
    code, output, errors = call("chat", "-p", "koala", "-s", "Shout.", stdin="".join(f"{line}\n" for line in lines))
    assert (code, errors) == (0, "")
    assert output == "System: Shout.\nSystem: Be brief.\nok\nSystem: nothing\nok\n"
    (sent,) = mocked.requests.values()
    assert [json.loads(request.kwargs["data"])["input"] for request in sent] == ["Hello Be brief.", "Hello"]


def test_the_model_is_shown_and_changed():
    code, output, errors = typed("/model", "/model gpt-4o", "/model koala/x/y", "/model koala/", "Hello")
    assert (code, errors) == (0, "")
    models = ("koala/gpt-4o-mini", "koala/gpt-4o", "koala/x/y", "koala/gpt-4o-mini")
    assert output == "".join(f"Model: {model}\n" for model in models) + said("Hello")


def test_a_model_of_a_provider_that_is_not_there_is_an_error_with_a_way_out():
    code, output, errors = typed("/model nope/x", "/model koala/nope/x", "/model")
    assert (code, output) == (1, "Model: koala/nope/x\n" * 2)
    assert errors.startswith("Error: there is no provider 'nope'; installed are: ")
    assert errors.endswith("; if it is a model of koala: /model koala/nope/x\n")


def test_a_model_whose_name_has_a_slash_is_found_among_those_of_its_provider(install):
    class Aviary(Parrot):
        @hookimpl
        def describe(self):
            return attrs.evolve(super().describe(), models=("birds/grey",))

    install("parrot", Aviary)
    assert call("chat", "-p", "parrot", stdin="/model birds/grey\n") == (0, "Model: parrot/birds/grey\n", "")


@pytest.mark.parametrize("arguments", [("-m", "koala/gpt-4o"), ("-p", "koala", "-m", "gpt-4o")])
def test_a_chat_begins_with_the_model_that_is_named(arguments):
    assert call("chat", *arguments, "--sandbox", stdin="/model\n") == (0, "Model: koala/gpt-4o\n", "")


class Fussy(Parrot):
    """Serve no system texts."""

    supports = frozenset({"history"})


def test_another_provider_goes_on_with_the_conversation(install, mocked):
    install("parrot", Parrot)
    mocked.post("https://koala.sh/api/gpt/", body='data: "ok"\n\n')
    mocked.post("http://parrot.invalid/say", body='data: "craah"\n\n')
    asked = call("chat", "-p", "koala", stdin="Hello\n/model parrot/green\nHello\n")
    assert asked == (0, "ok\nModel: parrot/green\ncraah\n", "")


@pytest.mark.parametrize(
    "options", [("--sandbox",), ("--base-url", "http://127.0.0.1:1"), ("--header", "X-Key: 1"), ("--option", "a=1")]
)
def test_what_was_given_for_one_provider_is_not_shown_to_another(install, options):
    install("parrot", Parrot)
    code, output, errors = call("chat", "-p", "koala", *options, stdin="/model parrot/green\n/model\n")
    assert (code, output) == (0, "Model: koala/gpt-4o-mini\n")
    assert errors == f"{options[0]} is for koala alone; try: providerkit chat -m parrot/green\n"


def test_a_change_that_can_not_work_is_refused_and_changes_nothing(install):
    install("parrot", Fussy)
    lines = "/system Be brief.\n/system\n"
    code, output, errors = call("chat", "-p", "parrot", stdin=lines)
    assert (code, output) == (1, "System: nothing\n")
    assert errors.startswith("Error: parrot does not serve -s; see who does: providerkit providers")


def test_a_chat_that_can_not_work_is_refused_at_once():
    code, output, errors = call("chat", "-p", "koala", "--temperature", "0.5", stdin="Hello\n")
    assert (code, output) == (2, "")
    assert errors.startswith("Error: koala does not serve --temperature")


def test_what_was_said_is_saved(tmp_path):
    lines = ("/system Be brief.", "Hi é", f"/save {tmp_path}/chat.json", f"/save {tmp_path}/chat.md")
    code, output, errors = typed(*lines)
    assert (code, errors) == (0, "")
    assert output.endswith(f"Saved: {tmp_path}/chat.json\nSaved: {tmp_path}/chat.md\n")
    answer = said("Hi é Be brief.").strip()
    assert json.loads((tmp_path / "chat.json").read_text("utf-8")) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi é"},
        {"role": "assistant", "content": answer},
    ]
    markdown = (tmp_path / "chat.md").read_text("utf-8")
    assert markdown == f"## system\n\nBe brief.\n\n## user\n\nHi é\n\n## assistant\n\n{answer}\n"


def test_nothing_is_overwritten_and_what_can_not_be_saved_is_told(tmp_path):
    (tmp_path / "there").write_text("kept")
    names = ("", f"{tmp_path}/there", f"{tmp_path}/no/folder", "~nobody-of-this-name/chat", f"{tmp_path}/a\0b")
    code, output, errors = typed(*(f"/save {name}" for name in names), "Hello")
    assert (code, output) == (0, said("Hello"))
    assert errors.splitlines() == [
        "/save needs the name of a file, as in /save chat.md",
        f"{tmp_path}/there is there already; choose another name.",
        f"{tmp_path}/no/folder can't be written: No such file or directory",
        "~nobody-of-this-name/chat can't be written: Could not determine home directory.",
        f"{tmp_path}/ab can't be written: embedded null byte",
    ]
    assert (tmp_path / "there").read_text() == "kept"


@pytest.fixture
def dialogue(monkeypatch, tmp_path):
    """Talk in this process, at a terminal; give what was shown, and what errors were."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def dialogue(*lines, options=("--plain",)):
        mine, theirs = os.openpty()
        typed = iter(lines)

        def type_line(prompt):
            line = next(typed, EOFError)
            if line in (EOFError, KeyboardInterrupt):
                raise line
            return line

        monkeypatch.setattr("builtins.input", type_line)
        with os.fdopen(mine, "rb", buffering=0) as screen:
            with os.fdopen(theirs, "w") as output, os.fdopen(os.dup(theirs)) as keys:
                monkeypatch.setattr(sys, "stdin", keys)
                monkeypatch.setattr(sys, "stdout", output)
                with pytest.raises(SystemExit) as caught:
                    main([*KOALA, *options], prog_name="providerkit")
            return caught.value.code or 0, _all_of(screen).decode().replace("\r", "")

    return dialogue


def _all_of(screen):
    """Read a terminal to its end; the system hands over in pieces, and ends with an error."""
    pieces = []
    with suppress(OSError):
        while piece := screen.read(65536):
            pieces.append(piece)
    return b"".join(pieces)


def test_a_dialogue_goes_on_until_it_is_left(dialogue):
    code, shown = dialogue("Hello", KeyboardInterrupt, "Again", "/exit")
    assert (code, shown) == (0, FIRST + said("Hello") + "\n" + said("Again", "2 turns") + "\n")


def test_what_is_typed_that_is_not_utf8_ends_no_dialogue(dialogue, capsys):
    assert dialogue("caf\udce9") == (0, FIRST + said("caf\ufffd") + "\n")
    assert capsys.readouterr().err.startswith("Note: the input is not UTF-8 at byte 3; ")


def test_an_interrupted_answer_is_told(dialogue, monkeypatch, capsys):
    def interrupted(self, number, event):
        if isinstance(event, providerkit.Finish):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    monkeypatch.setattr("providerkit.cli.answers.Text.event", interrupted)
    assert dialogue("Hello") == (0, FIRST + "\n")
    assert capsys.readouterr().err == "Stopped; neither the message nor the answer is remembered.\n"


def test_a_dialogue_needs_no_readline(dialogue, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "readline", None)
    assert dialogue() == (0, FIRST + "\n")
    assert not (tmp_path / "state").exists()


def test_a_dialogue_needs_no_place_for_its_history(dialogue, monkeypatch, tmp_path):
    (tmp_path / "state").write_text("a file, and no folder")
    assert dialogue() == (0, FIRST + "\n")


def test_the_history_is_private_even_where_its_file_was_not(dialogue, tmp_path):
    file = tmp_path / "state" / "providerkit" / "history"
    file.parent.mkdir(parents=True)
    file.write_text("")
    file.chmod(0o644)
    dialogue()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_history_is_private_while_the_chat_goes_on(tmp_path):
    file = tmp_path / "providerkit" / "history"
    file.parent.mkdir(parents=True)
    file.write_text("before\n")
    file.chmod(0o644)
    with terminal(*KOALA, "--plain", home=tmp_path) as person:
        person.expect_exact("> ")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_chats_at_once_keep_both_histories_even_if_they_are_killed(tmp_path):
    with terminal(*KOALA, "--plain", home=tmp_path) as one, terminal(*KOALA, "--plain", home=tmp_path) as two:
        for person in (one, two):
            person.expect_exact("> ")
        say(one, "first", said("first").strip())
        say(two, "second", said("second").strip())
        say(one, "third", said("third", "2 turns").strip())
        one.kill(signal.SIGKILL)
        two.kill(signal.SIGKILL)
    assert history_of(tmp_path) == ["first", "second", "third"]


@pytest.mark.parametrize(("before", "after"), [("abcd", "abcd"), ("abcde", "de")])
def test_a_history_is_shortened_once_it_is_long(monkeypatch, tmp_path, before, after):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(history, "LENGTH", 2)
    with history.line_editing() as remember:
        assert [remember(line) for line in (*before, " ")] == [*before, " "]
    assert history_of(tmp_path) == list(before)
    with history.line_editing():
        assert history_of(tmp_path) == list(after)


@pytest.mark.parametrize("value", ["", "relative"])
def test_the_history_is_below_the_home_where_the_environment_names_no_place(monkeypatch, tmp_path, value):
    monkeypatch.setenv("XDG_STATE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert history.history_file() == tmp_path / ".local" / "state" / "providerkit" / "history"


def test_a_chat_without_any_input_ends(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(EOFError):
        chat._read_line("> ")


def test_an_answer_that_fails_ends_no_dialogue(dialogue, monkeypatch, capsys):
    monkeypatch.setattr("providerkit_koala.sandbox.PATH", "/elsewhere")
    code, shown = dialogue("Hello", "/model")
    assert (code, shown) == (0, f"{FIRST}Model: koala/gpt-4o-mini\n\n")
    assert capsys.readouterr().err.startswith("Error: koala: 404: Not Found (at http://127.0.0.1:")


def test_a_dialogue_draws_where_rich_is_there(dialogue, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    code, shown = dialogue("**Hello**", options=())
    assert code == 0
    assert "\x1b[1mHello\x1b[0m" in shown


def test_another_provider_goes_on_with_its_default_model(install):
    install("parrot", Parrot)
    assert call("chat", "-p", "koala", stdin="/model parrot/\n") == (0, "Model: parrot/grey\n", "")


def test_commands_do_what_their_help_says():
    code, output, errors = typed("Hello", "/reset", "Hello", "/help", "/ext", "/exit", "never")
    assert (code, errors) == (0, "There is no /ext; /help lists what there is, and // begins a message with a slash.\n")
    assert output == f"{said('Hello')}Forgotten.\n{said('Hello')}{session.HELP}\n"
    assert set(re.findall(r"^/\w+", session.HELP, re.MULTILINE)) == set(session._COMMANDS)
