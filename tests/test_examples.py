"""The examples, each used as its docstring says."""

import asyncio
import importlib.util
import json
import runpy
from pathlib import Path

import pytest
from loopback import http, serve
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
    """Say what was asked, a character an event."""
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
