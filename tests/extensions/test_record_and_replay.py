"""What was recorded is replayed as it was: bytes, errors, attempts, for every kind of caller."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import attrs
import pytest
from asking import KEY, ONCE
from chat_completions import ChatCompletions
from clocks import HandClock
from loopback import http, serve
from parrots import Macaw, Parrot
from test_faults import CASES, Case, late

import providerkit
from providerkit import Request, Timeouts, hookimpl
from providerkit.testing import faults
from providerkit.testing.faults import FaultServer, Recording, healthy

NOWHERE = "http://127.0.0.1:9"
SQUAWK = http(b'data: "squawk"\n\n')


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def rewrite(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def move_away(path: Path) -> None:
    path.replace(path.with_suffix(".old"))


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return tmp_path / "tapes" / "tape.jsonl"


async def outcome(asked: Awaitable[providerkit.Reply]) -> dict[str, Any]:
    """Return what a run came to: its reply, or all that its error says."""
    try:
        reply = await asked
    except providerkit.ProviderKitError as error:
        return {"class": type(error), "message": str(error)} | vars(error)
    facts = ("text", "tool_calls", "finish_reason", "proven", "usage", "model", "request_id")
    return {name: getattr(reply, name) for name in facts}


@pytest.mark.parametrize("case", CASES, ids=[f"{case.fault!r:.60}" for case in CASES])
async def test_every_fault_is_replayed_as_what_it_was(case: Case, tape: Path):
    server, clock = FaultServer([case.fault, healthy()], answer=case.answer), HandClock()
    options: dict[str, Any] = {"provider": case.provider, "api_key": KEY}
    async with providerkit.Client(retry=ONCE, limits=case.limits, clock=clock) as client:
        async with server as url:
            with providerkit.record(tape):
                run = client.run("hello", base_url=url, **options)
                recorded = await outcome(late(run, case.gets, case.text, server, clock) if case.gets else run)
        with providerkit.replay(tape):
            run = client.run("hello", base_url=url, **options)
            assert await outcome(run) == recorded
    assert recorded.get("class") == case.gets
    (attempt,) = run.reply.attempts
    (answered,) = ["head" in line for line in lines(tape)[1:2]]
    assert attempt.source == ("cassette" if answered else None)
    assert KEY[:12] not in text_of(tape)


# Callers


def test_blocking_calls_and_conversations_are_recorded_and_replayed(tape: Path):
    def talk(base_url: str) -> tuple[object, ...]:
        chat = providerkit.run(provider="koala", base_url=base_url)
        first = chat.send("One?").result()
        return first.text, list(chat.send("Two?")), list(chat.send("Three?").events())

    with providerkit.sandbox("koala") as base_url, providerkit.record(tape):
        recorded = talk(base_url)
    with providerkit.replay(tape):
        assert talk(NOWHERE) == recorded
    assert "".join(recorded[1]).startswith("You said: 'Two?'. 2 turns")


@pytest.mark.parametrize("name", providerkit.providers())
async def test_every_installed_provider_is_recorded_and_replayed(tape: Path, name: str):
    async def ask(base_url: str) -> tuple[object, ...]:
        options: dict[str, Any] = {"base_url": base_url, "api_key": KEY}
        streamed = [event async for event in providerkit.run("hello", model=f"{name}/one", **options).events()]
        models = await providerkit.provider(name).models(**options)
        return streamed, await providerkit.run("bye", model=f"{name}/one", **options), models

    async with providerkit.sandbox(name) as base_url:
        with providerkit.record(tape):
            streamed, reply, models = await ask(base_url)
    with providerkit.replay(tape):
        again = await ask(NOWHERE)
    assert again == (streamed, attrs.evolve(reply, attempts=again[1].attempts), models)
    assert KEY[:12] not in text_of(tape)


async def test_extensions_named_by_a_client_record_and_replay(tape: Path):
    async with serve(SQUAWK) as server, providerkit.Client(extensions=[providerkit.record(tape)]) as client:
        await client.run("hello", provider=Parrot, base_url=server.base_url)
    async with providerkit.Client(extensions=[providerkit.replay(tape)]) as client:
        assert (await client.run("hello", provider=Parrot, base_url=NOWHERE)).text == "squawk"


async def test_models_are_recorded_and_replayed(tape: Path):
    class Listing(Parrot):
        @hookimpl
        def build_models_request(self, endpoint: providerkit.Endpoint) -> Request:
            return Request("GET", endpoint.url(f"/models?key={endpoint.api_key.reveal()}"))

        @hookimpl
        def parse_models(self, body: bytes) -> list[providerkit.Model]:
            return [providerkit.Model(body.decode())]

    listing = providerkit.provider(Listing)
    async with serve(http(b"grey")) as server:
        with providerkit.record(tape):
            recorded = await listing.models(base_url=server.base_url, api_key=KEY)
    with providerkit.replay(tape):
        assert await listing.models(base_url=NOWHERE, api_key="another-key-0000") == recorded
    assert KEY not in text_of(tape)
    assert lines(tape)[0]["request"]["url"] == f"{server.base_url}/models?key=***"


async def test_a_silent_list_of_models_is_recorded_as_left(tape: Path):
    class Listing(Parrot):
        @hookimpl
        def build_models_request(self, endpoint: providerkit.Endpoint) -> Request:
            return Request("GET", endpoint.url("/models"))

        @hookimpl
        def parse_models(self, body: bytes) -> list[providerkit.Model]:
            raise NotImplementedError

    listing = providerkit.provider(Listing)
    async with FaultServer(faults.silence(), answer=Recording([])) as url:
        with providerkit.record(tape), pytest.raises(providerkit.TimedOut):
            await listing.models(base_url=url, timeouts=Timeouts(first_event=0.02))
    with providerkit.replay(tape), pytest.raises(providerkit.CassetteError, match=r":1: whoever recorded"):
        await listing.models(base_url=url)


async def test_runs_side_by_side_each_get_their_own_answer(tape: Path):
    async def echo(request, writer):
        text = json.dumps(json.loads(request.body)["text"]).encode()
        writer.write(http(b"data: " + text + b"\n\n"))

    async def ask(number: int, base_url: str) -> None:
        assert (await providerkit.run(str(number), provider=Parrot, base_url=base_url)).text == str(number)

    async with serve(echo) as server:
        with providerkit.record(tape):
            await asyncio.gather(*(ask(number, server.base_url) for number in range(50)))
    written = lines(tape)
    assert ["request" in line for line in written] == [True, False, False, False] * 50
    with providerkit.replay(tape):
        await asyncio.gather(*(ask(number, NOWHERE) for number in reversed(range(50))))


def test_threads_share_a_recorder_and_a_player(tape: Path):
    def ask_all(base_url: str, extension: object) -> list[str]:
        texts: list[str] = []

        def ask(number: int) -> None:
            run = providerkit.run(str(number), provider="koala", base_url=base_url, extensions=[extension])
            texts.append(run.result().text)

        threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(texts)

    with providerkit.sandbox("koala") as base_url:
        recorded = ask_all(base_url, providerkit.record(tape))
    assert len(recorded) == 8
    assert ask_all(NOWHERE, providerkit.replay(tape)) == recorded


# Attempts


async def test_retries_and_fallbacks_are_replayed_attempt_by_attempt(tape: Path):
    chat, other = ChatCompletions("chat", tokens=3), ChatCompletions("other", tokens=3)

    async def ask(url: str, other_url: str, clock: HandClock) -> tuple[list[tuple[object, ...]], list[str | None]]:
        fallback = [providerkit.Route(other, base_url=other_url)]
        async with providerkit.Client(clock=clock) as client:
            reply = await client.run("hello", provider=chat, base_url=url, fallback=fallback)
        assert reply.text == other.text
        attempts = [(attempt.route, type(attempt.error), str(attempt.error)) for attempt in reply.attempts]
        return attempts, [attempt.source for attempt in reply.attempts]

    script = [faults.status(429), faults.reset(), faults.silence()]
    clock = HandClock()
    server = FaultServer(script, answer=chat)
    async with server as url, FaultServer(healthy(), answer=other) as other_url:
        with providerkit.record(tape):
            asking = asyncio.ensure_future(ask(url, other_url, clock))
        await server.asked(3)
        clock.advance(61)
        recorded, _ = await asking
    kinds = [providerkit.RateLimited, providerkit.StreamTruncated, providerkit.TimedOut, type(None)]
    assert [kind for _, kind, _ in recorded] == kinds
    with providerkit.replay(tape):
        assert await ask(url, other_url, HandClock()) == (recorded, ["cassette", "cassette", None, "cassette"])


async def test_a_run_that_was_left_is_replayed_until_there(tape: Path):
    async def ask(url: str, *, further: bool) -> list[str]:
        texts = []
        async with providerkit.run("hello", provider=Macaw, base_url=url) as run:
            async for text in run:
                texts.append(text)
                if not further:
                    break
        return texts

    answer = Recording([b'data: "a"\n\n', b'data: "b"\n\n'])
    async with FaultServer(faults.stall(after=1), answer=answer) as url:
        for _ in range(2):
            with providerkit.record(tape):
                assert await ask(url, further=False) == ["a"]
    assert lines(tape)[-1].keys() == {"end", "at"}
    assert lines(tape)[-1]["end"] == "left"
    with providerkit.replay(tape):
        assert await ask(url, further=False) == ["a"]
    with providerkit.replay(tape), pytest.raises(providerkit.CassetteError, match="left it here") as caught:
        await ask(url, further=True)
    assert (caught.value.path, caught.value.line, caught.value.partial) == (str(tape), 1, "a")


async def test_a_run_that_reads_no_further_than_the_end_is_complete(tape: Path):
    answer = Recording([b'data: "a"\n\n', b"data: [DONE]\n\n"])
    async with FaultServer(faults.stall(after=None), answer=answer) as url:
        with providerkit.record(tape):
            await providerkit.run("hello", provider=Macaw, base_url=url)
    assert lines(tape)[-1]["end"] == "complete"


async def test_a_task_that_is_cancelled_before_the_answer_is_recorded_as_left(tape: Path):
    asked = asyncio.Event()

    async def silent(request, writer):
        asked.set()
        await asyncio.Event().wait()

    async with serve(silent) as server:
        with providerkit.record(tape):
            task = asyncio.ensure_future(providerkit.run("hello", provider=Macaw, base_url=server.base_url))
            await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [line.get("end") for line in lines(tape)] == [None, "left"]


async def test_the_body_of_a_refusal_that_does_not_end_is_replayed_as_such(tape: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("providerkit.engine.answer.ERROR_BODY", 0.02)
    refusal = Recording([b'{"error": {"message": "no"}}', b"more"], status=403)
    async with FaultServer(faults.stall(after=1), answer=refusal) as url:
        with providerkit.record(tape):
            recorded = await outcome(providerkit.run("hello", provider=ChatCompletions(), base_url=url))
    assert recorded["class"] is providerkit.AuthenticationError
    assert lines(tape)[-1]["error"]["class"] == "StreamTruncated"
    with providerkit.replay(tape):
        assert await outcome(providerkit.run("hello", provider=ChatCompletions(), base_url=url)) == recorded


# Matching


class Bodies(Parrot):
    """Send the text of the chat as the body, as it is."""

    def __init__(self, method: str = "POST", path: str = "/say", **headers: str) -> None:
        self.method, self.path, self.headers = method, path, headers

    @hookimpl
    def build_request(self, chat: providerkit.Chat, endpoint: providerkit.Endpoint) -> Request:
        return Request(self.method, endpoint.url(self.path), self.headers, chat.messages[-1].text.encode())


async def recorded(tape: Path, *texts: str, provider: object = None) -> str:
    """Record one request for each text."""
    async with serve(SQUAWK) as server:
        with providerkit.record(tape):
            for text in texts:
                await providerkit.run(text, provider=provider or Bodies(), base_url=server.base_url)
    return server.base_url


async def replayed(tape: Path, text: str, *, provider: object = None, base_url: str = NOWHERE, **options: Any) -> str:
    with providerkit.replay(tape, **options):
        return (await providerkit.run(text, provider=provider or Bodies(), base_url=base_url)).text


@pytest.mark.parametrize(
    ("recorded_text", "asked"),
    [('{"a": 1, "b": [null]}', '{"b":[null],"a":1}'), ("a=1", "a=1"), ('{"a": 1.0}', '{"a":1.0}')],
    ids=["JSON as a value", "text", "numbers"],
)
async def test_equal_requests_match(tape: Path, recorded_text: str, asked: str):
    await recorded(tape, recorded_text)
    assert await replayed(tape, asked) == "squawk"


LONG = "the same beginning of a long text "


@pytest.mark.parametrize(
    ("recorded_text", "asked", "difference"),
    [
        ('{"a": 1}', '{"a": 2}', "json.a: recorded 1, asked 2"),
        ('{"a": 1}', '{"a": true}', "json.a: recorded 1, asked True"),
        ('{"a": 1}', '{"a": 1.0}', "json.a: recorded 1, asked 1.0"),
        ('{"a": 1}', '{"b": 1}', "json.a: recorded 1, asked without it\njson.b: recorded without it, asked 1"),
        ('{"a": [1, 2]}', '{"a": [1, 3]}', "json.a[1]: recorded 2, asked 3"),
        ('{"a": [1]}', '{"a": [1, 2]}', "json.a: recorded [1], asked [1, 2]"),
        ('{"a": "b"}', '{"a": "bc"}', "json.a: recorded 'b', asked 'bc'"),
        (
            f"{LONG}a{LONG}{LONG}",
            f"{LONG}b",
            f"text: recorded ...{LONG[14:] + 'a' + LONG + 'the s'!r}..., asked ...{LONG[14:] + 'b'!r}",
        ),
        (f'{{"a": {[1] * 50}}}', '{"a": 1}', f"json.a: recorded {str([1] * 50)[:60]}..., asked 1"),
        ("a", '{"a": 1}', "text: recorded 'a', asked without it\njson: recorded without it, asked {'a': 1}"),
    ],
)
async def test_a_request_that_differs_is_refused_with_the_difference(
    tape: Path, recorded_text: str, asked: str, difference: str
):
    await recorded(tape, recorded_text)
    with pytest.raises(providerkit.UnmatchedRequest) as caught:
        await replayed(tape, asked)
    error = caught.value
    assert (error.path, error.line, error.difference) == (str(tape), 1, difference)
    assert str(error) == (
        f"{tape} has no answer to POST http://127.0.0.1/say; "
        f"the nearest recorded request, of line 1, differs:\n{difference}"
    )


async def test_method_and_url_are_compared_and_headers_are_not(tape: Path):
    await recorded(tape, "a", provider=Bodies(team="blue"))
    assert await replayed(tape, "a", provider=Bodies(team="red")) == "squawk"
    for provider in (Bodies("PUT"), Bodies(path="/other"), Bodies(path="/say?a=1")):
        with pytest.raises(providerkit.UnmatchedRequest):
            await replayed(tape, "a", provider=provider)
    for base_url in ("http://127.0.0.2:80", "http://parrot.invalid", "https://127.0.0.1"):
        with pytest.raises(providerkit.UnmatchedRequest, match="url: recorded"):
            await replayed(tape, "a", base_url=base_url)


@pytest.mark.parametrize(("host", "port_counts"), [("[::1]", False), ("localhost", False), ("parrot.invalid", True)])
async def test_a_port_counts_but_on_loopback(tape: Path, host: str, port_counts: bool):
    base_url = await recorded(tape, "a")
    rewrite(tape, text_of(tape).replace(base_url, f"http://{host}:1"))
    assert await replayed(tape, "a", base_url=f"http://{host}:1") == "squawk"
    if port_counts:
        with pytest.raises(providerkit.UnmatchedRequest):
            await replayed(tape, "a", base_url=f"http://{host}:2")
    else:
        assert await replayed(tape, "a", base_url=f"http://{host}:2") == "squawk"


async def test_the_nearest_request_is_one_to_the_same_place(tape: Path):
    base_url = await recorded(tape, '{"a": 1, "b": 2}')
    kept = text_of(tape)
    await recorded(tape, '{"a": 3, "b": 2}', provider=Bodies(path="/other"))
    rewrite(tape, text_of(tape) + kept)
    with pytest.raises(providerkit.UnmatchedRequest) as caught:
        await replayed(tape, '{"a": 3, "b": 4}', base_url=base_url)
    assert caught.value.line == 5


async def test_what_is_ignored_is_not_compared(tape: Path):
    await recorded(tape, '{"id": 1, "in": [{"id": "a", "text": "hi"}]}')
    assert await replayed(tape, '{"id": 2, "in": [{"text": "hi"}]}', ignore=["id"]) == "squawk"
    with pytest.raises(providerkit.UnmatchedRequest, match="text: recorded 'hi'"):
        await replayed(tape, '{"id": 2, "in": [{"text": "ho"}]}', ignore="id")


async def test_each_answer_is_given_once_in_the_order_of_the_file(tape: Path):
    numbers = iter(range(9))

    async def count(request, writer):
        writer.write(http(f'data: "{next(numbers)}"\n\n'.encode()))

    async def ask(base_url: str) -> str:
        return (await providerkit.run("a", provider=Bodies(), base_url=base_url)).text

    async with serve(count) as server:
        with providerkit.record(tape):
            assert [await ask(server.base_url), await ask(server.base_url)] == ["0", "1"]
    with providerkit.replay(tape):
        assert [await ask(NOWHERE), await ask(NOWHERE)] == ["0", "1"]
        with pytest.raises(
            providerkit.UnmatchedRequest, match=r"left to POST .*: what was recorded, at line 1 and 5, has"
        ) as caught:
            await ask(NOWHERE)
        assert (caught.value.line, caught.value.difference) == (None, "")
        with pytest.raises(
            providerkit.UnmatchedRequest, match=r"no answer to POST .*; all that were recorded have been given"
        ):
            await providerkit.run("b", provider=Bodies(), base_url=NOWHERE)


async def test_what_is_not_recorded_is_never_sent(tape: Path):
    await recorded(tape, "a")
    async with serve(SQUAWK) as server:
        with pytest.raises(providerkit.UnmatchedRequest):
            await replayed(tape, "b", base_url=server.base_url)
    assert server.connections == 0


async def test_an_unmatched_request_is_not_tried_elsewhere(tape: Path):
    await recorded(tape, "a")
    with providerkit.replay(tape):
        run = providerkit.run("b", provider=Bodies(), base_url=NOWHERE, fallback=[(Parrot, None)])
        with pytest.raises(providerkit.UnmatchedRequest):
            await run
    assert len(run.reply.attempts) == 1


# The block, and the file


async def test_a_block_holds_for_the_runs_that_start_in_it(tape: Path):
    async with serve(SQUAWK) as server:
        before = providerkit.run("before", provider=Bodies(), base_url=server.base_url)
        with providerkit.record(tape):
            await before
            late = providerkit.run("late", provider=Bodies(), base_url=server.base_url)
        await late
    assert [line["request"]["text"] for line in lines(tape) if "request" in line] == ["before"]


def test_one_recorder_or_player_is_active_in_one_block(tape: Path):
    recorder = providerkit.record(tape)
    with recorder, pytest.raises(providerkit.ConfigurationError, match="this Recorder is active in a block already"):
        recorder.__enter__()
    with recorder:
        assert not tape.exists()


async def test_replaying_into_another_cassette_copies(tape: Path, tmp_path: Path):
    await recorded(tape, "a", "b")
    copy = tmp_path / "copy.jsonl"
    with providerkit.record(copy), providerkit.replay(tape):
        for text in ("a", "b"):
            await providerkit.run(text, provider=Bodies(), base_url=NOWHERE)
    assert await replayed(copy, "b") == "squawk"


async def test_a_request_that_could_not_be_asked_is_not_recorded(tape: Path, tmp_path: Path):
    """Here the replay refuses it: that says nothing of a provider."""
    await recorded(tape, "a")
    copy = tmp_path / "copy.jsonl"
    with providerkit.record(copy), providerkit.replay(tape), pytest.raises(providerkit.UnmatchedRequest):
        await providerkit.run("b", provider=Bodies(), base_url=NOWHERE)
    assert [line for line in lines(copy) if "request" in line] == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
async def test_the_file_is_its_owners_alone_and_is_begun_anew(tape: Path):
    await recorded(tape, "a", "b")
    assert mode_of(tape) == 0o600
    set_mode(tape, 0o644)
    await recorded(tape, "c")
    assert [line["request"]["text"] for line in lines(tape) if "request" in line] == ["c"]
    assert mode_of(tape) == 0o600


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
async def test_a_cassette_that_was_moved_away_goes_on_in_a_file_that_is_its_owners_alone(tape: Path):
    async def move(request, writer):
        move_away(tape)
        writer.write(SQUAWK)

    async with serve(move) as server:
        with providerkit.record(tape):
            await providerkit.run("a", provider=Bodies(), base_url=server.base_url)
            set_mode(tape, 0o666)
            await providerkit.run("b", provider=Bodies(), base_url=server.base_url)
    assert [line["request"]["text"] for line in lines(tape) if "request" in line] == ["b"]
    assert mode_of(tape.with_suffix(".old")) == 0o666
    assert mode_of(tape) == 0o600


async def test_a_cassette_is_where_it_was_when_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    recorder = providerkit.record("tape.jsonl")
    async with serve(SQUAWK) as server:
        for folder in (second, first):
            monkeypatch.chdir(folder)
            with recorder:
                await providerkit.run("a", provider=Bodies(), base_url=server.base_url)
    assert sum("cassette" in line for line in lines(first / "tape.jsonl")) == 2
    assert list(second.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
async def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with serve(SQUAWK) as server:
        with providerkit.record(pipe), pytest.raises(providerkit.CassetteError, match="it is a named pipe; expected a"):
            await providerkit.run("a", provider=Bodies(), base_url=server.base_url)
    assert server.connections == 0
    with pytest.raises(providerkit.CassetteError, match="can't be read: it is a named pipe; expected a file"):
        providerkit.replay(pipe)


async def test_a_file_that_cant_be_written_is_told_before_anything_is_sent(tmp_path: Path):
    async with serve(SQUAWK) as server:
        with providerkit.record(tmp_path), pytest.raises(providerkit.CassetteError, match="can't be written: Is a dir"):
            await providerkit.run("a", provider=Bodies(), base_url=server.base_url)
    assert server.connections == 0


async def test_an_exchange_that_cant_be_written_is_told_at_the_end_of_the_block(tape: Path):
    async def lose(request, writer):
        put_a_folder_there(next(tapes))
        writer.write(SQUAWK)

    async def ask(tape: Path, error: Exception | None = None) -> None:
        with providerkit.record(tape):
            reply = await providerkit.run("a", provider=Bodies(), base_url=server.base_url)
            assert reply.text == "squawk"
            if error:
                raise error

    another = tape.with_name("another.jsonl")
    tapes = iter([tape, another])
    async with serve(lose) as server:
        with pytest.raises(providerkit.CassetteError, match="lacks an exchange"):
            await ask(tape)
        with pytest.raises(KeyError):  # what the block itself raises is not hidden
            await ask(another, KeyError())


# Time


async def test_a_pace_lets_the_recorded_time_pass(tape: Path, monkeypatch: pytest.MonkeyPatch):
    await recorded(tape, "a")
    slept = []
    for line, at in zip((written := lines(tape)), [None, 2.0, 3.0, 3.5], strict=True):
        if at is not None:
            line["at"] = at
    rewrite(tape, "\n".join(map(json.dumps, written)))
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr("providerkit.extensions.player.asyncio.sleep", note)
    await replayed(tape, "a", pace=0.5)
    await replayed(tape, "a")
    assert slept == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("pace", [-1, float("nan"), float("inf"), "fast", True])
def test_a_pace_is_a_factor(tape: Path, pace: Any):
    with pytest.raises(providerkit.InvalidOption) as caught:
        providerkit.replay(tape, pace=pace)
    assert caught.value.option == "pace"
