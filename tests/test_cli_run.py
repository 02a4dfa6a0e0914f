"""`providerkit run`: one question, and the answers in every form."""

import asyncio
import errno
import json
import os
import signal
import sys
from types import SimpleNamespace

import attrs
import pytest
from commands import call, finished, interrupt, said, start
from loopback import chunked, http, serve
from parrots import Parrot
from yarl import URL

import providerkit
from providerkit import EventStream, Finish, ProviderInfo, Request, hookimpl
from providerkit.cli import answers, json_form, options, standard_input, terminal
from providerkit.cli.main import main
from providerkit.discovery import EXTENSIONS
from providerkit.messages import FEATURES, OPTIONS

ADDRESS = "https://koala.sh/api/gpt/"
FULL = "koala: 503: Service Unavailable; it asks to wait for 0.001 s"
NO_PROMPT = 'Error: There is no PROMPT; try: providerkit run -p koala --sandbox "Hello". See: providerkit run --help\n'


def body_sent(mocked):
    (sent,) = mocked.requests["POST", URL(ADDRESS)]
    return json.loads(sent.kwargs["data"])


@pytest.mark.parametrize("arguments", [("-p", "koala"), ("--provider", "koala", "-m", "x"), ("-m", "koala/x")])
def test_run_asks_the_sandbox_of_the_provider_that_is_named(arguments):
    assert call("run", *arguments, "--sandbox", "hi") == (0, said("hi"), "")


def test_a_provider_that_is_named_twice_is_remarked_on():
    told = "Note: koala is asked for a model 'koala/gpt-4o'; its 'gpt-4o' is -m koala/gpt-4o without -p\n"
    assert call("run", "-p", "koala", "-m", "koala/gpt-4o", "--sandbox", "hi") == (0, said("hi"), told)
    assert call("run", "-p", "koala", "-m", "openai/gpt-4o", "--sandbox", "hi") == (0, said("hi"), "")


def test_a_model_whose_name_begins_as_its_provider_does_is_not(install, mocked):
    class Auto(Parrot):
        @hookimpl
        def describe(self):
            return ProviderInfo("parrot", default_base_url="http://parrot.invalid", models=["parrot/auto"])

    install("parrot", Auto)
    mocked.post("http://parrot.invalid/say", body='data: "ok"\n\n')
    assert call("run", "-p", "parrot", "-m", "parrot/auto", "hi") == (0, "ok\n", "")


def test_runs_options_reach_the_provider(mocked):
    mocked.post(ADDRESS, body='data: "ok"\n\n')
    assert call("run", "-p", "koala", "-m", "claude-3.7-sonnet", "-s", "Be brief.", "hi") == (0, "ok\n", "")
    assert (body_sent(mocked)["model"], body_sent(mocked)["input"]) == ("claude-3.7-sonnet", "hi Be brief.")


def test_run_asks_at_a_base_url(mocked):
    mocked.post("http://127.0.0.1:1/api/gpt/", body='data: "ok"\n\n')
    assert call("run", "-p", "koala", "--base-url", "http://127.0.0.1:1", "hi") == (0, "ok\n", "")


@pytest.mark.parametrize("prompt", [(), ("-",), ("",)], ids=["no prompt", "a dash", "nothing"])
def test_run_reads_the_question_from_a_pipe(prompt):
    assert call("run", "-p", "koala", "--sandbox", *prompt, stdin="two\nlines 🐨\n") == (0, said("two\nlines 🐨\n"), "")


@pytest.mark.parametrize(
    ("stdin", "asked"),
    [
        ("one\ntwo\n", "one\ntwo\n\nhi"),
        ("  indented\r\n\n", "  indented\n\nhi"),
        ("\ufeffa mark", "a mark\n\nhi"),
        ("", "hi"),
        (" \n", "hi"),
    ],
    ids=repr,
)
def test_the_input_is_asked_before_the_prompt(stdin, asked):
    assert call("run", "-p", "koala", "--sandbox", "hi", stdin=stdin) == (0, said(asked), "")


async def test_the_prompt_waits_for_the_end_of_the_input():
    process = await start("run", "-p", "koala", "--sandbox", "hi", stdin=asyncio.subprocess.PIPE)
    assert await process.communicate(b"slow") == (said("slow\n\nhi").encode(), b"")


NOT_UTF8 = (
    "Note: the input is not UTF-8 at byte 3; such bytes are read as U+FFFD. "
    "Convert it first, with iconv for instance.\n"
)


def test_a_note_says_what_is_waited_for_and_the_input_is_read(monkeypatch):
    reading, writing = os.pipe()
    notes = []

    def write(note):
        notes.append(note)
        os.write(writing, b"Read this.")
        os.close(writing)

    monkeypatch.setattr(standard_input, "PATIENCE", 0)
    monkeypatch.setattr(standard_input, "complain", write)
    with os.fdopen(reading) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        assert (standard_input.read_all(), len(notes)) == ("Read this.", 1)


async def test_a_pipe_that_nobody_closes_is_waited_for_and_a_note_says_so():
    process = await start("run", "-p", "koala", "--sandbox", "Hello", stdin=asyncio.subprocess.PIPE)
    said = await process.stderr.readline()
    assert said == b"Waiting for the standard input to end; if there is none to come, add < /dev/null.\n"
    output, errors = await process.communicate(b"Read this.")
    assert (process.returncode, errors) == (0, b"")
    assert b"Read this.\\n\\nHello" in output


def test_bytes_that_are_not_utf8_are_reported():
    asked = call("run", "-p", "koala", "--sandbox", "hi", stdin=b"caf\xe9")
    assert asked == (0, said("caf\ufffd\n\nhi"), NOT_UTF8)


async def test_an_input_that_is_not_open_for_reading_is_none():
    """As `nohup` leaves it."""
    unreadable = os.open(os.devnull, os.O_WRONLY)
    process = await start("run", "-p", "koala", "--sandbox", "hi", stdin=unreadable)
    os.close(unreadable)
    assert await process.communicate() == (said("hi").encode(), b"")


@attrs.define
class Failing:
    """An input of which the system can't read."""

    number: int
    buffer = property(lambda self: self)

    def isatty(self):
        return False

    def read(self):
        raise OSError(self.number, os.strerror(self.number))


def test_such_an_input_is_empty_to_whoever_reads_it(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Failing(errno.EBADF))
    assert standard_input.read_all() == ""


def test_an_input_that_can_not_be_read_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Failing(errno.EIO))
    with pytest.raises(SystemExit) as caught:
        main(["run", "-p", "koala", "hi"], prog_name="providerkit")
    told = "Error: the standard input can't be read: Input/output error. See: providerkit run --help\n"
    assert (caught.value.code, capsys.readouterr().err) == (2, told)


@pytest.mark.parametrize("command", ["run", "chat"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("-m", "koala/"),
            "'koala/' names no model after the slash; name one, or ask for the default model with -p koala.",
        ),
        (("-p", "koala", "-m", ""), "-m is empty; name a model, or leave -m out for the default model."),
        (("-p", "koala", "--fallback", "koala/"), "ask for the default model with --fallback koala."),
    ],
    ids=str,
)
def test_an_empty_model_is_an_error_with_a_way_out(command, arguments, words):
    code, output, errors = call(command, *arguments, "--sandbox", stdin="hi\n")
    assert (code, output, words in errors) == (2, "", True)


def test_a_model_may_end_with_a_slash(mocked):
    mocked.post(ADDRESS, body='data: "ok"\n\n')
    assert call("run", "-m", "koala/a/", "--fallback", "koala/b/", "hi") == (0, "ok\n", "")
    assert body_sent(mocked)["model"] == "a/"


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


async def test_text_that_the_output_can_not_hold_is_printed_with_question_marks():
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    process = await start("run", "-p", "koala", "--sandbox", "\u00e9 \U0001f428", env=environment)
    assert await process.communicate() == (said("\u00e9 ?").encode("latin-1"), b"")


def test_an_interrupted_command_exits_130(monkeypatch):
    monkeypatch.setattr("providerkit.cli.run._question", interrupt)
    assert call("run")[:2] == (130, "")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 401, "body": '{"error": "who\\nare you?"}'}, "koala: 401: who are you?"),
        ({"status": 503}, "koala: 503: Service Unavailable"),
        ({"body": "<html>"}, "expected a chat answer"),
        ({"body": ""}, "the body is empty"),
        ({"timeout": True}, "no connection within 10 s; is the address right?\n"),
        ({"exception": ConnectionResetError()}, "koala.sh closed the connection"),
    ],
    ids=["a refusal", "a status", "a page", "nothing", "a timeout", "a reset"],
)
def test_what_the_provider_or_the_network_fails_at_is_told_in_one_line_and_exits_1(mocked, answer, words):
    mocked.post(ADDRESS, **answer)
    code, output, errors = call("run", "-p", "koala", "--attempts", "1", "hi")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("Error: ")
    assert words in errors


def test_a_fallback_answers_where_the_first_route_can_not(mocked):
    mocked.post(ADDRESS, status=404)
    mocked.post(ADDRESS, body='data: "ok"\n\n')
    code, output, errors = call("run", "-m", "koala/first", "--fallback", "koala/second", "--json", "hi")
    found = json.loads(output)
    assert (code, errors, found["text"], found["model"]) == (0, "", "ok", "second")
    assert [attempt["route"] for attempt in found["attempts"]] == ["koala/first", "koala/second"]


async def test_a_refused_connection_shows_no_traceback():
    code, output, errors = await finished("run", "-p", "koala", "--base-url", "http://127.0.0.1:1", "hi")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("Error: can't connect to 127.0.0.1:1")


class Generous(Parrot):
    """Serve every option."""

    supports = FEATURES

    @hookimpl
    def build_request(self, chat, model, endpoint):
        given = {option: getattr(chat, option) for option in OPTIONS}
        return Request.json(endpoint.url("/say"), {**given, "extra": dict(chat.extra)})


def test_options_have_the_names_and_values_of_run(install, mocked):
    install("parrot", Generous)
    mocked.post("http://127.0.0.1:1/say", body='data: "ok"\n\n')
    numbers = ("--temperature", "0.5", "--top-p", "1", "--max-tokens", "9", "--seed", "7", "--stop", "a", "--stop", "b")
    extra = ('list=[1, "x"]', "text=a=b", "number=1.5", "nan=NaN", "empty=", "flag=true")
    options = [word for pair in extra for word in ("--option", pair)]
    reach = ("--base-url", "http://127.0.0.1:1", "--header", "X-Team: blue: green", "--header", "x-empty:")
    assert call("run", "-p", "parrot", *numbers, *options, *reach, "hi") == (0, "ok\n", "")
    (sent,) = mocked.requests["POST", URL("http://127.0.0.1:1/say")]
    body = json.loads(sent.kwargs["data"])
    assert [body[name] for name in ("temperature", "top_p", "max_tokens", "seed", "stop")] == [0.5, 1, 9, 7, ["a", "b"]]
    extra = {"list": [1, "x"], "text": "a=b", "number": 1.5, "nan": "NaN", "empty": "", "flag": True}
    assert body["extra"] == extra
    headers = sent.kwargs["headers"]
    assert (headers["X-Team"], headers["x-empty"]) == ("blue: green", "")


async def test_an_answer_is_given_up_after_the_timeout():
    async def answer(request, writer):
        writer.write(chunked(b'data: "one"\n\n', end=False))

    async with serve(answer) as server:
        arguments = ("run", "-p", "koala", "--base-url", server.base_url, "--timeout", "0.2", "hi")
        code, output, errors = await finished(*arguments)
    assert (code, output, errors.count("\n")) == (1, "one\n", 1)
    assert errors.endswith("; to wait longer: --timeout SECONDS\n")


def test_the_timeout_stands_in_for_every_clock_but_that_of_connecting():
    assert options._timeouts(None, None, 300.0) == providerkit.Timeouts(first_event=300, idle=300, total=300)


async def test_a_run_goes_through_a_proxy():
    async with serve(http(b'data: "ok"\n\n')) as proxy:
        arguments = ("run", "-p", "koala", "--base-url", "http://nowhere.invalid", "--proxy", proxy.base_url, "hi")
        assert await finished(*arguments) == (0, "ok\n", "")
    assert [request.path for request in proxy.requests] == ["http://nowhere.invalid/api/gpt/"]


class Shouting:
    @hookimpl(wrapper=True)
    def build_request(self):
        request = yield
        return attrs.evolve(request, body=request.body.upper())


def test_an_extension_is_used_where_it_is_named(install, mocked):
    install("shout", Shouting, group=EXTENSIONS)
    mocked.post(ADDRESS, body='data: "ok"\n\n')
    assert call("run", "-p", "koala", "--extension", "shout", "hi") == (0, "ok\n", "")
    assert body_sent(mocked)["INPUT"] == "HI"


def test_json_is_one_object_that_holds_all_of_the_reply():
    code, output, errors = call("run", "-p", "koala", "--sandbox", "--json", "hi é")
    assert (code, errors, output.count("\n")) == (0, "", 1)
    found = json.loads(output)
    (attempt,) = found.pop("attempts")
    assert attempt.pop("seconds") > 0
    assert attempt == {"route": "koala/gpt-4o-mini", "error": None, "source": "network"}
    assert found == {
        "text": said("hi é").strip(),
        "reasoning": "",
        "tool_calls": [],
        "finish_reason": "stop",
        "proven": True,
        "usage": None,
        "model": "gpt-4o-mini",
        "provider": "koala",
        "request_id": None,
        "error": None,
    }
    assert "é" in output


async def test_json_holds_what_came_and_why_it_ended():
    async def answer(request, writer):
        writer.write(chunked(b'data: "one"\n\n', end=False))
        writer.close()

    async with serve(answer) as server:
        code, output, errors = await finished("run", "-p", "koala", "--base-url", server.base_url, "--json", "hi")
    found = json.loads(output)
    assert (code, found["text"], found["finish_reason"]) == (1, "one", None)
    assert (found["error"]["type"], set(found["error"])) == ("StreamTruncated", {"type", "message"})
    assert found["attempts"][0]["error"] == found["error"]
    assert errors == f"Error: {found['error']['message']}\n"


def test_an_error_in_json_has_its_fields(mocked):
    mocked.post(ADDRESS, status=429, headers={"Retry-After": "7"}, body='{"error": "slow down"}')
    code, output, _ = call("run", "-p", "koala", "--json", "--attempts", "1", "hi")
    error = json.loads(output)["error"]
    assert (code, error["type"], error["status"], error["retry_after"]) == (1, "RateLimited", 429, 7)


def test_json_fits_an_output_that_is_not_utf8(monkeypatch):
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(encoding="latin-1"))
    assert json_form.dumps("é") == '"\\u00e9"'


def test_each_event_is_one_line_of_json_with_its_type():
    code, output, errors = call("run", "-p", "koala", "--sandbox", "--events", "hi")
    assert (code, errors) == (0, "")
    *deltas, finish = map(json.loads, output.splitlines())
    assert {event["type"] for event in deltas} == {"text_delta"}
    assert "".join(event["text"] for event in deltas) == said("hi").strip()
    assert finish == {"type": "finish", "reason": "stop", "proven": True}


async def test_an_error_is_the_last_event():
    async def answer(request, writer):
        writer.write(chunked(b'data: "one"\n\n', b"data: {]\n\n", end=False))

    async with serve(answer) as server:
        code, output, errors = await finished("run", "-p", "koala", "--base-url", server.base_url, "--events", "hi")
    text, error = map(json.loads, output.splitlines())
    assert (code, text, error["type"]) == (1, {"type": "text_delta", "text": "one"}, "error")
    assert error["error"]["type"] == "StreamMalformed"
    assert errors == f"Error: {error['error']['message']}\n"


class Talkative(Parrot):
    """Say everything that an answer can hold."""

    @hookimpl
    def parse_stream(self, head):
        call = providerkit.ToolCallDelta(0, "id", "name", "{}")
        data = providerkit.ProviderData({"odd": [1]})
        events = [providerkit.ReasoningDelta("hm"), call, data, providerkit.Usage(input_tokens=3)]
        return EventStream(lambda value, event: events, end=Finish("length"))


def test_every_event_has_a_form_in_json(install, mocked):
    install("parrot", Talkative)
    mocked.post("http://parrot.invalid/say", body="data: 1\n\n", repeat=True)
    code, output, errors = call("run", "-p", "parrot", "--events", "hi")
    assert (code, errors) == (0, "")
    reasoning, tool_call, data, usage, finish = map(json.loads, output.splitlines())
    assert reasoning == {"type": "reasoning_delta", "text": "hm"}
    assert tool_call == {"type": "tool_call_delta", "index": 0, "id": "id", "name": "name", "arguments": "{}"}
    assert data == {"type": "provider_data", "value": {"odd": [1]}}
    assert (usage["type"], usage["input_tokens"], usage["output_tokens"]) == ("usage", 3, None)
    assert finish["reason"] == "length"
    reply = json.loads(call("run", "-p", "parrot", "--json", "hi")[1])
    assert reply["tool_calls"] == [{"id": "id", "name": "name", "arguments": "{}"}]
    assert (reply["usage"]["input_tokens"], reply["reasoning"]) == (3, "hm")


def test_an_answer_that_is_not_whole_is_told(install, mocked):
    install("parrot", Talkative)
    mocked.post("http://parrot.invalid/say", body="data: 1\n\n")
    note = "Note: the answer of parrot is not whole; it finished with 'length'\n"
    assert call("run", "-p", "parrot", "hi") == (0, "", note)


def section(label, text):
    return f"== {label} ==\n{text}"


def test_answers_are_compared_in_sections():
    code, output, errors = call("run", "-m", "koala/one", "-m", "koala/two", "--sandbox", "hi")
    assert (code, errors) == (0, "")
    assert output == section("koala/one", said("hi")) + "\n" + section("koala/two", said("hi"))


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [
        (("-p", "koala", "-m", "one", "-m", "two"), ["koala/one", "koala/two"]),
        (("-p", "koala", "-p", "parrot"), ["koala", "parrot"]),
        (("-p", "koala", "-p", "parrot", "-m", "x"), ["koala/x", "parrot/x"]),
        (("-p", "koala", "-p", "koala"), ["koala", "koala"]),
    ],
    ids=str,
)
def test_every_model_is_asked_of_every_provider(install, mocked, arguments, labels):
    install("parrot", Parrot)
    mocked.post(ADDRESS, body='data: "ok"\n\n', repeat=True)
    mocked.post("http://parrot.invalid/say", body='data: "ok"\n\n', repeat=True)
    assert call("run", *arguments, "hi") == (0, "\n".join(section(label, "ok\n") for label in labels), "")


async def test_the_first_section_comes_as_it_arrives_and_the_others_in_their_turn():
    second = asyncio.Event()

    async def answer(request, writer):
        if b'"two"' in request.body:
            writer.write(chunked(b'data: "2a"\n\n', b'data: "2b"\n\n'))
            second.set()
            return
        await second.wait()
        writer.write(chunked(b'data: "1a"\n\n', end=False))
        await seen.wait()
        writer.write(b'e\r\ndata: "1b"  \n\n\r\n0\r\n\r\n')

    seen = asyncio.Event()
    async with serve(answer) as server:
        arguments = ("run", "-p", "koala", "-m", "one", "-m", "two", "--base-url", server.base_url, "hi")
        process = await start(*arguments)
        first = section("koala/one", "1a").encode()
        assert await process.stdout.readexactly(len(first)) == first
        seen.set()
        rest = f"1b\n\n{section('koala/two', '2a2b')}\n".encode()
        assert await process.communicate() == (rest, b"")


async def fail_one(request, writer):
    if b'"one"' in request.body:
        writer.write(http(b"{}", status=503))
    else:
        writer.write(http(b'data: "ok"\n\n'))


@pytest.mark.parametrize("labels", [["one", "two"], ["two", "one"]], ids=str)
async def test_one_that_fails_does_not_stop_the_others(labels):
    async with serve(fail_one) as server:
        arguments = ("run", "-p", "koala", "-m", labels[0], "-m", labels[1], "--base-url", server.base_url, "hi")
        code, output, errors = await finished(*arguments)
    expected = [section(f"koala/{label}", "ok\n" if label == "two" else "") for label in labels]
    assert (code, output) == (1, "\n".join(expected))
    assert errors == "Error: koala/one: koala: 503: Service Unavailable\n"


def test_one_that_is_broken_does_not_stop_the_others(install):
    install("emu", "raise RuntimeError('oh')")
    arguments = ("-m", "emu/x", "-m", "koala/y", "--proxy", "http://127.0.0.1:1", "--json", "hi")
    code, output, errors = call("run", *arguments)
    emu, koala = json.loads(output)
    assert (code, emu["error"]["type"], koala["error"]["type"]) == (1, "PluginError", "ConnectError")
    assert [line.split()[1] for line in errors.splitlines()] == ["emu/x:", "koala/y:"]


def test_a_wrong_call_stops_all_before_any_is_asked(mocked):
    code, output, errors = call("run", "-p", "koala", "-p", "koal", "hi")
    assert (code, output) == (2, "")
    assert "there is no provider 'koal'" in errors
    assert mocked.requests == {}


async def test_answers_are_compared_in_json_and_by_events():
    async with serve(fail_one) as server:
        arguments = ("run", "-p", "koala", "-m", "one", "-m", "two", "--base-url", server.base_url, "hi")
        code, output, _ = await finished(*arguments, "--json")
        one, two = json.loads(output)
        assert (code, one["route"], two["route"]) == (1, "koala/one", "koala/two")
        assert (one["error"]["status"], two["error"], two["text"]) == (503, None, "ok")
        code, output, _ = await finished(*arguments, "--events")
    events = sorted((event["route"], event["type"]) for event in map(json.loads, output.splitlines()))
    assert (code, events) == (1, [("koala/one", "error"), ("koala/two", "finish"), ("koala/two", "text_delta")])


async def test_a_comparison_that_is_interrupted_closes_all_and_ends_its_line():
    async def answer(request, writer):
        writer.write(chunked(b'data: "one"\n\n', end=False))

    async with serve(answer) as server:
        arguments = ("run", "-p", "koala", "-m", "one", "-m", "two", "--base-url", server.base_url, "hi")
        process = await start(*arguments)
        shown = section("koala/one", "one").encode()
        assert await process.stdout.readexactly(len(shown)) == shown
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
        await server.closed.get()
        await server.closed.get()
    assert (process.returncode, output, errors.strip()) == (130, b"\n", b"")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--json", "--events"], "--json and --events are two forms of one answer; choose one."),
        (["--header", "secret-value"], "Invalid value for '--header': a header is given as 'Name: value'."),
        (["--header", ": x"], "a header is given as 'Name: value'."),
        (["--option", "novalue"], "'novalue' does not look like KEY=VALUE."),
        (["--option", "=1"], "'=1' does not look like KEY=VALUE."),
        (["--timeout", "0"], "Invalid value for '--timeout': 0 is not above 0."),
        (["--timeout", "nan"], "nan is not above 0."),
        (["--timeout", "soon"], "'soon' is not a valid float."),
        (["--temperature", "hot"], "'hot' is not a valid float."),
        (["--temperature", "nan"], "temperature is nan"),
        (["--temperature", "1"], "see who does: providerkit providers --supports temperature"),
        (["--max-tokens", "1.5"], "'1.5' is not a valid integer."),
        (["--seed", "x"], "'x' is not a valid integer."),
        (["--extension", "shuot"], "there is no extension 'shuot'"),
        (["--proxy", "localhost"], "proxy"),
        (
            ["-p", "other", "--base-url", "http://x"],
            "--base-url is the address of one provider, not of koala and other.",
        ),
    ],
    ids=str,
)
def test_a_wrong_option_is_told_in_one_line(options, words):
    code, output, errors = call("run", "-p", "koala", *options, "hi")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert words in errors
    assert "secret" not in errors


def test_what_comes_out_of_turn_is_kept_for_its_turn(capsys):
    one, two, finish = providerkit.TextDelta("one"), providerkit.TextDelta("two"), Finish("stop")
    with answers.Sections(["a", "b"]) as view:
        view.event(1, two)
        view.event(1, finish)
        view.end(1, providerkit.Reply(), None)
        view.event(0, one)
        assert capsys.readouterr().out == section("a", "one")
        view.end(0, providerkit.Reply(), None)
    assert capsys.readouterr().out == "\n\n" + section("b", "two\n")
    with answers.Sections(["a", "b"]) as view:
        view.event(0, one)
    assert capsys.readouterr().out == section("a", "one\n")


@pytest.mark.parametrize("at_terminal", [True, False])
def test_a_note_in_the_middle_of_a_line_has_a_line_of_its_own_at_a_terminal(monkeypatch, capsys, at_terminal):
    monkeypatch.setattr(answers, "is_terminal", lambda: at_terminal)
    end = "\n" if at_terminal else ""
    with answers.Sections(["a", "b"]) as view:
        view.note("first")
        for text, expected in (("one", f"one{end}"), ("", ""), ("two\n", "two\n"), ("three", f"three{end}")):
            capsys.readouterr()
            view.event(0, providerkit.TextDelta(text))
            view.note("a note")
            assert capsys.readouterr() == (expected, "a note\n")


def test_an_error_names_its_route_where_there_are_several(capsys):
    answers.EventLines(["a", "b"]).end(1, providerkit.Reply(), providerkit.NotFound("gone", status=404))
    error = {"type": "NotFound", "message": "404: gone", "status": 404}
    assert json.loads(capsys.readouterr().out) == {"type": "error", "error": error, "route": "b"}


def test_what_is_no_json_is_shown_as_text():
    assert json_form.dumps({"of": {1}}) == '{"of": "{1}"}'


def test_rich_draws_at_a_terminal(monkeypatch, mocked):
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    mocked.post(ADDRESS, body='data: "**bold**"\n\n', repeat=True)
    code, output, errors = call("run", "-p", "koala", "hi")
    assert (code, output.strip(), errors) == (0, "bold", "")
    assert call("run", "-p", "koala", "--plain", "hi") == (0, "**bold**\n", "")


def test_the_way_out_of_a_timeout_is_told_where_there_is_one():
    assert options.told(providerkit.TimedOut("slow", clock="idle")).endswith("--timeout SECONDS")
    assert options.told(providerkit.TimedOut("slow", clock="connect")) == "slow"


def test_where_nothing_is_installed_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr("providerkit.calls.providers", list)
    code, _, errors = call("run", "hi")
    assert (code, "no provider is named, and none is installed; in a checkout" in errors) == (2, True)


def test_an_error_says_how_long_the_provider_asks_to_wait():
    assert (
        options.told(providerkit.RateLimited("slow down", retry_after=90.5)) == "slow down; it asks to wait for 90.5 s"
    )
    assert options.told(providerkit.RateLimited("slow down")) == "slow down"


def test_a_person_is_told_what_failed_while_something_is_tried_again(monkeypatch, mocked):
    monkeypatch.setattr(answers, "is_watched", lambda: True)
    for route in ("one", "two"):
        mocked.post(ADDRESS, status=503, headers={"Retry-After-Ms": "1"})
        mocked.post(ADDRESS, body='data: "ok"\n\n')
        assert call("run", "-p", "koala", "-m", route, "hi") == (
            0,
            "ok\n",
            f"koala/{route} failed, next attempt at once: {FULL}\n",
        )


def test_several_that_fail_are_told_apart(monkeypatch, mocked):
    monkeypatch.setattr(answers, "is_watched", lambda: True)
    mocked.post(ADDRESS, status=503, headers={"Retry-After-Ms": "1"}, repeat=True)
    code, _, errors = call("run", "-p", "koala", "-m", "one", "-m", "two", "--attempts", "2", "hi")
    told = [line.partition(",")[0] for line in errors.splitlines() if "next attempt" in line]
    assert (code, sorted(told)) == (1, ["koala/one failed", "koala/two failed"])


def test_a_wait_is_told_in_seconds(capsys):
    retries = answers.Retries()
    retries.attempt("koala/one", None)
    retries.retry(providerkit.RateLimited("slow down", retry_after=90.0), 90.0)
    told = "koala/one failed, next attempt in 90.0 s: slow down; it asks to wait for 90 s\n"
    assert capsys.readouterr().err == told
