"""The examples, each used as its docstring says."""

import asyncio
import importlib.util
import json
import re
import runpy
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from loopback import chunked, http, serve
from parrots import Parrot

import providerkit
from providerkit import hookimpl

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AddHeader = example("add_header").AddHeader
RedactEmails = example("redact_emails").RedactEmails
own_hook = example("own_hook")


def said(*texts):
    return http(b"".join(b"data: %s\n\n" % json.dumps(text).encode() for text in texts))


def sent_text(request):
    return json.loads(request.body)["text"]


async def echo(request, writer):
    """Return what was asked, a character an event."""
    writer.write(said(*sent_text(request)))


async def ask(server, text, *extensions, provider=Parrot):
    return (await providerkit.run(text, provider=provider, base_url=server.base_url, extensions=extensions)).text


async def test_a_header_is_added_by_each_and_those_of_the_provider_stay():
    async with serve(said("hi")) as server:
        await ask(server, "hello", AddHeader("X-Team", "blue"), AddHeader("X-Trip", "7"))
    [request] = server.requests
    assert (request.headers["x-team"], request.headers["x-trip"]) == ("blue", "7")
    assert request.headers["content-type"] == "application/json"


async def test_the_first_of_two_headers_is_outermost_and_the_callers_wins():
    both = [AddHeader("X-Team", "first"), AddHeader("X-Team", "second")]
    async with serve(said("hi")) as server:
        await ask(server, "hello", *both)
        await providerkit.run(
            "hello", provider=Parrot, base_url=server.base_url, extensions=both, headers={"X-Team": "mine"}
        )
    assert [request.headers["x-team"] for request in server.requests] == ["first", "mine"]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("no address", "no address"),
        ("to ann@example.org.", "to <email-1>."),
        ("a@b.de, c@d.fr and a@b.de", "<email-1>, <email-2> and <email-1>"),
        ('quote "\\\nann@example.org\tñ@ñ.org', 'quote "\\\n<email-1>\t<email-2>'),
        ("first.last+tag@mail.example.co.uk", "<email-1>"),
        ("not @one, nor a@b", "not @one, nor a@b"),
        (" ".join(f"u{n}@x.org" for n in range(1, 12)), " ".join(f"<email-{n}>" for n in range(1, 12))),
    ],
)
async def test_addresses_never_leave_and_are_back_in_the_answer(text, seen):
    async with serve(echo) as server:
        assert await ask(server, text, RedactEmails) == text
    assert [sent_text(request) for request in server.requests] == [seen]


async def test_what_only_looks_like_a_name_is_given_as_it_came():
    answer = said("<email-", "7> <b>x</b> <email", "-1", "> 1 < 2, <", "email-")
    async with serve(answer) as server:
        assert await ask(server, "ann@example.org", RedactEmails) == "<email-7> <b>x</b> ann@example.org 1 < 2, <email-"


async def test_text_is_held_back_no_longer_than_it_may_be_a_name():
    async with serve(said("a", "<ema", "le", "-1", "b <email-1", ">")) as server:
        run = providerkit.run("ann@x.org", provider=Parrot, base_url=server.base_url, extensions=[RedactEmails])
        assert [text async for text in run] == ["a", "<emale-1b ", "ann@x.org"]


async def test_runs_at_the_same_time_keep_their_addresses_apart():
    asked = [f"write to user{n}@example.org" for n in range(20)]
    async with serve(echo) as server:
        assert await asyncio.gather(*(ask(server, text, RedactEmails) for text in asked)) == asked
    assert {sent_text(request) for request in server.requests} == {"write to <email-1>"}


async def test_runs_that_take_turns_in_one_task_keep_their_addresses_apart():
    async with serve(echo) as server:
        runs = [
            providerkit.run(text, provider=Parrot, base_url=server.base_url, extensions=[RedactEmails])
            for text in ("ann@x.org", "bob@y.org")
        ]
        iterators = [aiter(run) for run in runs]
        texts = ["", ""]
        while any(pieces := [await anext(iterator, "") for iterator in iterators]):
            texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
    assert texts == ["ann@x.org", "bob@y.org"]


def test_addresses_stay_apart_for_blocking_callers():
    with providerkit.sandbox("koala") as base_url:
        chat = providerkit.run(provider="koala", base_url=base_url, extensions=[RedactEmails])
        assert "'ann@x.org'" in chat.send("ann@x.org").result().text
        assert "'bob@y.org'" in chat.send("bob@y.org").result().text


class FrugalParrot(Parrot):
    @hookimpl(optionalhook=True)
    def small_print(self, model):
        return f"{model.name} is a bird"


async def test_a_provider_and_an_extension_answer_the_hook_of_another_extension():
    async with serve(said("hi")) as server:
        text = await ask(server, "hello", own_hook.SmallPrint, own_hook.Lawyer, provider=FrugalParrot)
    assert text == "hi\n(grey may be wrong.)\n(grey is a bird)"


async def test_who_answers_the_hook_works_without_it():
    async with serve(said("hi")) as server:
        assert await ask(server, "hello", own_hook.Lawyer, provider=FrugalParrot) == "hi"
        assert await ask(server, "hello", own_hook.SmallPrint) == "hi"


def test_the_demonstration_runs(capsys):
    runpy.run_path(str(EXAMPLES / "own_hook.py"), run_name="__main__")
    assert capsys.readouterr().out.endswith("\n(gpt-4o-mini may be wrong.)\n")


def script(name, *arguments):
    command = [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_script_asks_blocking_and_async():
    done = script("ask", "Who?", "When?")
    assert (done.stderr, done.returncode) == ("", 0)
    answers = [f"You said: '{text}'. 0 turns came before. This is Koala's sandbox." for text in ("Who?", "When?")]
    assert done.stdout.splitlines() == [answers[0], "(gpt-4o-mini: stop)", *answers]


def test_a_script_that_asks_nothing_says_so_in_a_line():
    done = script("ask", "")
    assert (done.stderr, done.returncode) == (
        "Error: there is no message to send; pass a non-empty string or list\n",
        1,
    )


@asynccontextmanager
async def web_page(*arguments):
    """Start the example as its docstring says, and give its address; it must end without a complaint."""
    process, port = None, 0
    while not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-u", "-W", "error", EXAMPLES / "web_page.py", "--port", str(port)]
        process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=PIPE, stderr=PIPE)
        if b"Running on" not in await process.stdout.readline():
            _, complaints = await process.communicate()
            assert b"address already in use" in complaints, complaints  # another program was given that port since
            port = 0
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()
        assert (complaints.decode(), process.returncode) == ("", 0)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def sent_to_browser(address, prompt):
    """Take what an EventSource would, as pairs of name and value."""
    async with aiohttp.ClientSession() as session, session.get(f"{address}/answer", params={"prompt": prompt}) as got:
        assert (got.status, got.content_type) == (200, "text/event-stream")
        decoder = providerkit.SSEDecoder()
        found = [*decoder.feed(await got.read()), *decoder.close()]
    return [(event.event, json.loads(event.data)) for event in found]


async def test_a_web_page_streams_the_answer_to_a_browser():
    async with web_page() as address:
        async with aiohttp.ClientSession() as session, session.get(address) as got:
            assert (got.content_type, "EventSource" in await got.text()) == ("text/html", True)
        *texts, end = await sent_to_browser(address, "one\ntwo <b>")
    assert {name for name, _ in texts} == {"text"}
    assert len(texts) > 1
    assert "".join(text for _, text in texts).startswith(r"You said: 'one\ntwo <b>'.")
    assert end == ("end", None)


async def test_a_web_page_tells_what_went_wrong():
    answer = http(b'{"message": "enough"}', status=429)
    async with serve(answer) as server, web_page("--base-url", server.base_url) as address:
        [(name, message), end] = await sent_to_browser(address, "hello")
        nothing = await sent_to_browser(address, "")
    assert nothing == [("failure", "there is no message to send; pass a non-empty string or list"), end]
    assert (name, end) == ("failure", ("end", None))
    assert "enough" in message


async def test_closing_the_tab_ends_the_providers_stream():
    async def begin(request, writer):
        writer.write(chunked(b'data: "Well, "\n\n', end=False))
        await asyncio.Event().wait()

    async with serve(begin) as server, web_page("--base-url", server.base_url) as address:
        async with aiohttp.ClientSession() as session:
            got = await session.get(f"{address}/answer?prompt=hello")
            assert await got.content.readline() == b"event: text\n"
            assert server.closed.empty()
            got.close()
        await server.closed.get()


def test_the_list_names_every_example():
    listed = re.findall(r"\]\((\w+\.\w+)\)", (EXAMPLES / "README.md").read_text("utf-8"))
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"})
