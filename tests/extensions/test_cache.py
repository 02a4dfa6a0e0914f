"""What was answered well is not asked again, and nobody is given what is not theirs."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import logging
import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from asking import KEY, ONCE
from chat_completions import ChatCompletions
from loopback import Received, chunked, http, serve
from parrots import Macaw, Parrot

import providerkit
from providerkit import Request, hookimpl
from providerkit.engine import answer
from providerkit.extensions import cache as module
from providerkit.extensions.cache import PIECE, Cache
from providerkit.plugins.discovery import EXTENSIONS
from providerkit.plugins.loading import load
from providerkit.testing import faults
from providerkit.testing.faults import FaultServer, Recording, healthy

SQUAWK = http(b'data: "squawk"\n\n')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "caches" / "answers.sqlite"


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT count(*) FROM answers").fetchone()[0]


def edit(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


def contents(path: Path) -> bytes:
    return path.read_bytes()


def overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


async def counting(request: Received, writer: asyncio.StreamWriter, numbers: Any = itertools.count()) -> None:  # noqa: B008 - one for all
    """Answer with another number each time."""
    writer.write(http(f'data: "{next(numbers)}"\n\n'.encode(), Set_Cookie="session=secret"))


async def ask(
    server: Any, cache: object, text: str = "hello", provider: object = Parrot, **options: Any
) -> tuple[Any, ...]:
    """Ask once; give the text and where it came from."""
    url = server if isinstance(server, str) else server.base_url
    async with providerkit.Client(retry=ONCE, extensions=[cache]) as client:
        reply = await client.run(text, provider=provider, base_url=url, **options)
    return reply.text, reply.attempts[-1].source


async def test_the_second_run_is_answered_from_the_cache(path: Path):
    async with serve(counting) as server, providerkit.Client(extensions=[Cache(path)]) as client:
        first = await client.run("hello", provider=Parrot, base_url=server.base_url)
        again = client.run("hello", provider=Parrot, base_url=server.base_url)
        texts = [text async for text in again]
        third = await client.run("hello", provider=Parrot, base_url=server.base_url, extensions=[Cache(path)])
        other = await client.run("bye", provider=Parrot, base_url=server.base_url)
    assert (texts, again.reply.proven, again.reply.finish_reason) == ([first.text], True, "stop")
    assert [reply.attempts[0].source for reply in (first, again.reply, third, other)] == [
        "network",
        "cache",
        "cache",
        "network",
    ]
    assert len(server.requests) == 2


def test_blocking_calls_in_threads_share_a_cache(path: Path):
    cache = Cache(path)
    sources: list[str | None] = []

    def talk() -> None:
        run = providerkit.run("hello", provider="koala", base_url=base_url, extensions=[cache])
        sources.append(run.result().attempts[0].source)

    with providerkit.sandbox("koala") as base_url:
        talk()
        threads = [threading.Thread(target=talk) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(asyncio.wait_for(ask(base_url, cache, provider="koala"), None))
    assert sources == ["network", *["cache"] * 8]
    assert count(path) == 1


async def test_many_runs_at_once_are_kept_and_found(path: Path):
    async def echo(request: Received, writer: asyncio.StreamWriter) -> None:
        text = json.dumps(json.loads(request.body)["text"]).encode()
        writer.write(http(b"data: " + text + b"\n\n"))

    cache = Cache(path)
    async with serve(echo) as server:
        for source in ("network", "cache"):
            found = await asyncio.gather(*(ask(server, cache, str(number)) for number in range(30)))
            assert found == [(str(number), source) for number in range(30)]


@pytest.mark.parametrize("name", providerkit.providers())
async def test_every_installed_provider_is_answered_from_a_cache(path: Path, name: str):
    async with providerkit.sandbox(name) as url:
        told = await ask(url, Cache(path), provider=name, model="one", api_key=KEY)
        assert await ask(url, Cache(path), provider=name, model="one", api_key=KEY) == (told[0], "cache")


# Whose answer


class Plain(Parrot):
    """Send what it is told to."""

    def __init__(self, body: bytes = b"{}", path: str = "/say", method: str = "POST", **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.request, self.path = Request(method, "http://parrot.invalid", fields, body), path

    @hookimpl
    def build_request(self, endpoint: providerkit.Endpoint) -> Request:
        return attrs.evolve(self.request, url=endpoint.url(self.path))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (Plain(b'{"a": 1, "b": 2}'), Plain(b'{"b":2,"a":1}'), True),
        (Plain(b'{"a": 1}'), Plain(b'{"a": 1.0}'), False),
        (Plain(b"a=1"), Plain(b"a=1"), True),
        (Plain(b"a=1"), Plain(b"a=2"), False),
        (Plain(method="PUT"), Plain(), False),
        (Plain(path="/other"), Plain(), False),
        (Plain(path="/say?key=1"), Plain(path="/say?key=2"), False),
        (Plain(Authorization="Bearer a"), Plain(Authorization="Bearer b"), False),
        (Plain(Authorization="Bearer a"), Plain(), False),
        (Plain(X_Api_Key="a"), Plain(X_Api_Key="b"), False),
        (Plain(Cookie="a"), Plain(Cookie="b"), False),
        (Plain(OpenAI_Organization="a"), Plain(OpenAI_Organization="b"), False),
        (Plain(Flag="true"), Plain(Flag="false"), False),
        (Plain(FLAG="true"), Plain(flag="true"), True),
        (Plain(Visitor_ID="a"), Plain(Visitor_ID="b"), True),
        (Plain(X_Request_ID="a"), Plain(X_Request_ID="b"), True),
        (Plain(Idempotency_Key="a"), Plain(Idempotency_Key="b"), True),
        (Plain(User_Agent="a"), Plain(User_Agent="b"), True),
        (Plain(X_User_ID="a"), Plain(X_User_ID="b"), False),
    ],
)
async def test_a_request_is_known_by_all_that_is_meant(path: Path, first: Plain, second: Plain, same: bool):
    async with serve(SQUAWK) as server:
        await ask(server, Cache(path), provider=first)
        _, source = await ask(server, Cache(path), provider=second)
    assert source == ("cache" if same else "network")


async def test_a_caller_is_never_given_the_answer_to_another(path: Path):
    cache = Cache(path)
    async with serve(counting) as server:
        answers = [
            await ask(server, cache, **options)
            for options in (
                {"api_key": "of-one"},
                {"api_key": "of-another"},
                {},
                {"headers": {"Session-ID": "one"}},
                {"headers": {"Session-ID": "another"}},
            )
        ]
        assert {source for _, source in answers} == {"network"}
        assert (await ask(server, cache, api_key="of-another")) == (answers[1][0], "cache")
        assert (await ask(server, cache, headers={"session-id": "one"})) == (answers[3][0], "cache")


async def test_the_file_holds_no_request_and_no_key_and_is_its_owners_alone(path: Path):
    async with serve(counting) as server:
        await ask(server, Cache(path), "a prompt", api_key=KEY, headers={"X-Team": "in-blue"})
    data = contents(path)
    assert [word for word in (b"prompt", KEY.encode(), b"in-blue", b"secret", b"/say") if word in data] == []
    if os.name != "nt":
        assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# What is kept

COMPLETION = b'{"choices": [{"message": {"content": "squawk"}, "finish_reason": "stop"}]}'
COMPRESSED = http(gzip.compress(COMPLETION), content_type="application/json", Content_Encoding="gzip")


@pytest.mark.parametrize(
    ("provider", "answer", "kept"),
    [
        (Parrot, SQUAWK, True),
        (Parrot, chunked(b'data: "sq', b'uawk"\n\n'), True),
        (Parrot, http(b'data: "squawk"\n\n', framed=False), False),
        (Macaw, http(b'data: "squawk"\n\ndata: [DONE]\n\n', framed=False), True),
        (ChatCompletions(), COMPRESSED, True),
    ],
    ids=["a length", "chunks", "no frame", "no frame, but a mark of the end", "compressed, but whole JSON"],
)
async def test_an_answer_is_kept_where_its_end_is_proven(path: Path, provider: object, answer: bytes, kept: bool):
    async with serve(answer) as server:
        assert await ask(server, Cache(path), provider=provider) == ("squawk", "network")
        assert await ask(server, Cache(path), provider=provider) == ("squawk", "cache" if kept else "network")


@pytest.mark.parametrize(
    "fault",
    [faults.close(after=-1), faults.reset(after=-1), faults.stall(after=-1), faults.unframed(after=-1)],
    ids=str,
)
async def test_an_answer_that_has_a_finish_reason_and_no_end_is_not_kept(
    path: Path, fault: faults.Fault, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answer, "AFTER_END", 0.01 if fault.name == "stall" else 60.0)
    chat = ChatCompletions()
    async with FaultServer([fault, healthy()], answer=chat) as url:
        for source in ("network", "network", "cache"):
            assert await ask(url, Cache(path), provider=chat) == (chat.text, source)


async def test_an_answer_whose_finish_reason_was_early_and_not_repeated_is_not_kept(path: Path):
    chunk = '{"choices": [{"delta": {"content": "%s"}, "finish_reason": %s}]}'
    early = "".join(f"data: {chunk % said}\n\n" for said in (("", '"stop"'), ("squawk", "null")))
    async with serve(http(early.encode())) as server:
        for _ in range(2):
            assert await ask(server, Cache(path), provider=ChatCompletions()) == ("squawk", "network")


@pytest.mark.parametrize("fault", [faults.status(429), faults.close(after=1), faults.garble(1), faults.page()], ids=str)
async def test_what_failed_is_not_kept(path: Path, fault: faults.Fault):
    answer = Recording([b'data: "squ"\n\n', b'data: "awk"\n\n', b"data: [DONE]\n\n"])
    async with FaultServer([fault, healthy()], answer=answer) as url:
        with pytest.raises(providerkit.ProviderKitError):
            await ask(url, Cache(path), provider=Macaw)
        assert await ask(url, Cache(path), provider=Macaw) == ("squawk", "network")


async def test_what_was_left_is_not_kept_and_a_hit_that_was_left_stays(path: Path):
    async def leave(url: str) -> str:
        async with providerkit.run("hello", provider=Macaw, base_url=url, extensions=[Cache(path)]) as run:
            return await anext(aiter(run))

    long = "squ" * PIECE  # so that a hit comes in several pieces, too
    answer = Recording([b'data: "a"\n\n', b'data: "%s"\n\n' % long.encode(), b"data: [DONE]\n\n"])
    async with FaultServer([faults.stall(after=1), healthy()], answer=answer) as url:
        assert await leave(url) == "a"
        assert await ask(url, Cache(path), provider=Macaw) == (f"a{long}", "network")
        assert await leave(url) == "a"
        assert await ask(url, Cache(path), provider=Macaw) == (f"a{long}", "cache")


async def test_lists_of_models_are_not_kept(path: Path):
    class Listing(Parrot):
        @hookimpl
        def build_models_request(self, endpoint: providerkit.Endpoint) -> Request:
            return Request("GET", endpoint.url("/models"))

        @hookimpl
        def parse_models(self, body: bytes) -> list[providerkit.Model]:
            return [providerkit.Model(body.decode())]

    async with serve(http(b"grey")) as server:
        for _ in range(2):
            await providerkit.provider(Listing).models(base_url=server.base_url, extensions=[Cache(path)])
    assert len(server.requests) == 2


async def test_an_answer_that_cant_be_read_any_more_is_asked_for_anew(path: Path):
    async with serve(SQUAWK) as server, providerkit.Client(retry=providerkit.Retry(base=0)) as client:
        await ask(server, Cache(path))
        edit(path, "UPDATE answers SET body = ?", b"data: {\n\n")
        reply = await client.run("hello", provider=Parrot, base_url=server.base_url, extensions=[Cache(path)])
        assert [attempt.source for attempt in reply.attempts] == ["cache", "network"]
        assert await ask(server, Cache(path)) == ("squawk", "cache")


async def test_a_long_answer_comes_in_pieces(path: Path):
    text = "squawk " * 20_000
    async with serve(http(f"data: {json.dumps(text)}\n\n".encode())) as server:
        assert await ask(server, Cache(path)) == (text, "network")
        assert await ask(server, Cache(path)) == (text, "cache")


async def test_two_caches_of_one_run_each_keep_the_answer(path: Path, tmp_path: Path):
    first, second = Cache(path), Cache(tmp_path / "second.sqlite")
    async with serve(SQUAWK) as server:
        run = providerkit.run("hello", provider=Parrot, base_url=server.base_url, extensions=[first, second])
        assert (await run).attempts[0].source == "network"
    assert (count(path), count(tmp_path / "second.sqlite")) == (1, 1)


async def test_what_the_cache_answers_is_not_recorded(path: Path, tmp_path: Path):
    tape = tmp_path / "tape.jsonl"
    async with serve(SQUAWK) as server:
        for source, recorded in (("network", True), ("cache", False)):
            with providerkit.record(tape):
                assert await ask(server, Cache(path)) == ("squawk", source)
            assert bool(contents(tape)) is recorded


# How long


async def test_an_answer_is_good_for_max_age(path: Path):
    async with serve(counting) as server:
        first, _ = await ask(server, Cache(path))
        edit(path, "UPDATE answers SET saved = ?", time.time() - 1_000)
        assert await ask(server, Cache(path, max_age=2_000)) == (first, "cache")
        assert await ask(server, Cache(path, max_age=None)) == (first, "cache")
        second, source = await ask(server, Cache(path, max_age=500))
        assert (second != first, source) == (True, "network")
        assert await ask(server, Cache(path, max_age=500)) == (second, "cache")


async def test_what_is_too_old_is_forgotten_when_something_new_comes(path: Path):
    async with serve(SQUAWK) as server:
        for text in "abc":
            await ask(server, Cache(path), text)
        edit(path, "UPDATE answers SET saved = 5")
        await ask(server, Cache(path, max_age=None), "d")
        assert count(path) == 4
        await ask(server, Cache(path), "e")
        assert count(path) == 2


@pytest.mark.parametrize("max_age", [-1, float("nan"), "long", True])
def test_max_age_is_in_seconds(max_age: Any):
    with pytest.raises(providerkit.InvalidOption) as caught:
        Cache("answers.sqlite", max_age=max_age)
    assert caught.value.option == "max_age"


# The file


def spoil(path: Path, kind: str) -> None:
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    else:
        overwrite(path, b"no database")


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_a_file_that_cant_be_used_is_told_before_anything_is_sent(path: Path, kind: str):
    spoil(path, kind)
    async with serve(SQUAWK) as server:
        with pytest.raises(providerkit.ConfigurationError, match=r"the cache .* can't be used: "):
            await ask(server, Cache(path))
    assert server.connections == 0


async def test_a_file_that_breaks_is_passed_over(path: Path, caplog: pytest.LogCaptureFixture):
    async with serve(SQUAWK) as server:
        await ask(server, Cache(path))
        overwrite(path, b"SQLite format 3\0" + b"broken" * 1_000)
        with caplog.at_level(logging.WARNING, "providerkit"):
            assert await ask(server, Cache(path)) == ("squawk", "network")
    assert [record.message for record in caplog.records] == [
        f"the cache {path} is passed over: file is not a database"
    ] * 2


async def test_another_process_that_writes_keeps_nobody_waiting_for_long(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BUSY", 0.01)
    async with serve(counting) as server:
        first, _ = await ask(server, Cache(path))
        with closing(sqlite3.connect(path)) as database:
            database.execute("BEGIN EXCLUSIVE")
            _, source = await ask(server, Cache(path))
        assert source == "network"
        assert await ask(server, Cache(path)) == (first, "cache")


async def test_the_cache_has_a_name_and_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert isinstance(load(EXTENSIONS, "cache").implementation, Cache)
    async with serve(SQUAWK) as server:
        assert await ask(server, "cache") == ("squawk", "network")
        assert await ask(server, "cache") == ("squawk", "cache")
    assert count(tmp_path / "providerkit" / "answers.sqlite") == 1


@pytest.mark.parametrize(
    ("platform", "environment", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, Path("/xdg")),
        ("linux", {"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache"),
        ("linux", {"XDG_CACHE_HOME": ""}, Path.home() / ".cache"),
        ("win32", {"XDG_CACHE_HOME": " ", "LOCALAPPDATA": "/local"}, Path("/local")),
        ("linux", {"LOCALAPPDATA": "/local"}, Path.home() / ".cache"),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local")),
        ("win32", {}, Path.home() / ".cache"),
    ],
)
def test_the_place_is_the_systems(monkeypatch: pytest.MonkeyPatch, platform: str, environment: Any, folder: Path):
    monkeypatch.setattr("sys.platform", platform)
    assert module._default_folder(environment) == folder


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


async def test_a_user_without_a_home_is_told_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    async with serve(SQUAWK) as server:
        with pytest.raises(providerkit.ConfigurationError, match=r"no home directory; name a file, as in Cache\("):
            await ask(server, "cache")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert await ask(server, "cache") == ("squawk", "network")


async def test_a_home_that_takes_nothing_is_told_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "file")
    async with serve(SQUAWK) as server:
        with pytest.raises(providerkit.ConfigurationError, match=r"can't be used: .*; name a file, as in Cache"):
            await ask(server, "cache")


# The file


def set_mode(path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
async def test_a_file_that_is_there_becomes_its_owners_alone(path: Path):
    path.parent.mkdir()
    set_mode(path, 0o644)
    async with serve(SQUAWK) as server:
        assert await ask(server, Cache(path)) == ("squawk", "network")
        set_mode(path, 0o666)
        assert await ask(server, Cache(path)) == ("squawk", "cache")
    assert mode_of(path) == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
async def test_what_is_no_file_is_refused_without_waiting_for_it(path: Path):
    path.parent.mkdir()
    os.mkfifo(path)
    async with serve(SQUAWK) as server:
        with pytest.raises(providerkit.ConfigurationError, match="can't be used: it is a named pipe; expected a file"):
            await ask(server, Cache(path))
    assert server.connections == 0


async def test_a_cache_is_where_it_was_when_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    cache = Cache("answers.sqlite")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with serve(SQUAWK) as server:
        assert await ask(server, cache) == ("squawk", "network")
    assert cache.path == tmp_path / "answers.sqlite"
    assert count(tmp_path / "answers.sqlite") == 1


ROWS = {
    "another status": "status = 'ok'",
    "no status": "status = x''",
    "headers as text": "headers = '{}'",
    "headers that are no JSON": "headers = x'00'",
    "headers that are no object": "headers = cast('[]' as blob)",
    "headers that are no texts": "headers = cast('{\"a\": 1}' as blob)",
    "a body as text": "body = 'data: \"a\"'",
    "a body as a number": "body = 1",
    "a text that is not UTF-8": "body = cast(x'ff' as text)",
    "another time": "saved = 'today'",
}


@pytest.mark.parametrize("change", ROWS.values(), ids=ROWS)
async def test_a_row_of_another_type_is_forgotten(path: Path, change: str, caplog: pytest.LogCaptureFixture):
    async with serve(counting) as server:
        first, _ = await ask(server, Cache(path))
        edit(path, f"UPDATE answers SET {change}")  # noqa: S608 - of this file
        second, source = await ask(server, Cache(path))
        assert (source, second != first) == ("network", True)
        assert await ask(server, Cache(path)) == (second, "cache")
    assert count(path) == 1
    assert caplog.records == []


async def test_a_table_of_another_version_is_begun_again(path: Path, caplog: pytest.LogCaptureFixture):
    path.parent.mkdir()
    edit(path, "CREATE TABLE answers (request, answer)")
    async with serve(SQUAWK) as server:
        assert await ask(server, Cache(path)) == ("squawk", "network")
        assert await ask(server, Cache(path)) == ("squawk", "cache")
    assert caplog.records == []


async def test_the_database_of_another_program_is_passed_over(path: Path, caplog: pytest.LogCaptureFixture):
    path.parent.mkdir()
    edit(path, "CREATE TABLE answers (question, answer)")
    edit(path, "CREATE TABLE questions (text)")
    edit(path, "INSERT INTO answers VALUES ('why', 'because')")
    async with serve(SQUAWK) as server:
        assert await ask(server, Cache(path)) == ("squawk", "network")
    assert count(path) == 1
    assert {record.message for record in caplog.records} == {
        f"the cache {path} is passed over: it is the database of another program"
    }


@pytest.mark.parametrize("statement", [module.FIND, module.FORGET, module.FORGET_OLD])
async def test_no_work_grows_with_the_number_of_answers(path: Path, statement: str):
    """No statement reads the table from its start: SQLite plans to search in an index."""
    async with serve(SQUAWK) as server:
        await ask(server, Cache(path))
    with closing(sqlite3.connect(path)) as database:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", (b"",))]
    assert [step.partition("(")[0].split(" USING ")[0] for step in plan] == ["SEARCH answers"]
    assert all("INDEX" in step for step in plan)


async def test_an_older_file_gets_the_index(path: Path):
    async with serve(SQUAWK) as server:
        await ask(server, Cache(path))
        edit(path, "DROP INDEX answers_by_age")
        assert await ask(server, Cache(path)) == ("squawk", "cache")
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    assert found == [("answers_by_age",)]


async def test_the_check_of_a_file_waits_for_nobody_who_writes(path: Path):
    async with serve(SQUAWK) as server:
        await ask(server, Cache(path))
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN EXCLUSIVE")
        module.Store(path).check()
