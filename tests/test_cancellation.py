"""Cancelled, timed out or left at every await point: the connection closes, nothing is left, all are told.

A run is driven step by step, and cut off where it waits for the first time, the second, the
third ... until it comes to its end before that. The server is on another thread's loop, so
every task on this one is a run's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from itertools import count
from types import coroutine
from typing import Any, TypeVar

import attrs
import pytest
from asking import Told
from clocks import HandClock
from loopback import UNHURRIED, Received, Server, http, serve_elsewhere, until
from parrots import Macaw

import providerkit
from providerkit import Request, Retry, Route, hookimpl
from providerkit.engine import blocking as sync
from providerkit.wire.transport import Response, Transport

T = TypeVar("T")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = [HEAD, *(b"%x\r\n%s\r\n" % (len(event), event) for event in (b'data: "a"\n\n', b'data: "b"\n\n'))]
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
WHOLE = http(b'data: "well"\n\ndata: [DONE]\n\n')
TEXT = "ab"


class Throttled(Macaw):
    """A first route that is always throttled."""

    @hookimpl
    def build_request(self, endpoint):
        return Request.json(endpoint.url("/throttled"), {})


class Healthy(Macaw):
    """Answer at once."""

    @hookimpl
    def build_request(self, endpoint):
        return Request.json(endpoint.url("/healthy"), {})


@attrs.define
class Witness:
    """An observer of each run."""

    told: Told = attrs.field(factory=Told)

    @hookimpl
    def observe(self):
        return self.told


class Slow:
    """Wrap the transport as an extension may: in generators that wait on the way in and on the way out."""

    @hookimpl(wrapper=True)
    def wrap_transport(self):
        return SlowTransport((yield))


@attrs.frozen
class SlowTransport:
    inner: Transport

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Response]:
        await asyncio.sleep(0)
        try:
            async with self.inner.send(request) as response:
                yield SlowResponse(response)
        finally:
            await asyncio.sleep(0)


@attrs.frozen
class SlowResponse:
    inner: Response
    source: str = "network"

    @property
    def head(self) -> providerkit.ResponseHead:
        return self.inner.head

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self.inner.chunks():
            await asyncio.sleep(0)
            yield chunk


class Pace:
    """Let a server go on each time that its client waits, so that the client waits for every piece."""

    def __init__(self) -> None:
        self._loop = sync.loop_thread().loop
        self._waits = asyncio.Event()

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._waits.set)

    async def answer(self, received: Received, writer: asyncio.StreamWriter) -> None:
        match received.path:
            case "/throttled":
                writer.write(http(b"no", status=429))
            case "/healthy":
                writer.write(WHOLE)
            case _:
                for piece in (*PIECES, END):
                    await self._waits.wait()
                    self._waits.clear()
                    writer.write(piece)
                    await writer.drain()


@coroutine
def stepped(running: Coroutine[Any, Any, T], waits: Callable[[int], None]) -> Generator[Any, Any, T]:
    """Drive a coroutine, and call `waits` each time that it waits, with the number of times."""
    thrown: BaseException | None = None
    for number in count(1):
        try:
            waited = running.send(None) if thrown is None else running.throw(thrown)
        except StopIteration as stop:
            return stop.value
        waits(number)
        thrown = None
        try:
            yield waited
        except BaseException as error:
            thrown = error
    raise AssertionError


async def streamed(run: providerkit.Run) -> str:
    return "".join([text async for text in run])


async def collected(run: providerkit.Run) -> str:
    return (await run).text


async def within(run: providerkit.Run) -> str:
    async with run:
        return "".join([event.text async for event in run.events() if isinstance(event, providerkit.TextDelta)])


def connections(client: providerkit.Client) -> tuple[int, int]:
    """Count the client's connections that are in use, and those in its pool that wait for another run."""
    connectors = [session.connector for session, _ in client._settings.connections._pools.values()]
    pooled = (connector._conns.values() for connector in connectors)
    return sum(len(connector._acquired) for connector in connectors), sum(len(kept) for pool in pooled for kept in pool)


async def settled(client: providerkit.Client, server: Server) -> None:
    """Wait until nothing is left but what waits in the pool."""
    await asyncio.sleep(0)  # the loop closes an iterator that was dropped in a task that it makes now
    await until(lambda: len(asyncio.all_tasks()) == 1 and connections(client) == (0, server.open))


class Walk:
    """Ask by way of a throttled route, its retry and a fallback, and be cut off where the run waits."""

    def __init__(self, server: Server, pace: Pace, *extensions: object) -> None:
        self.server = server
        self.pace = pace
        self.extensions = extensions

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[providerkit.Run]:
        """Return a run; after it, see that it has left nothing, and that its client and conversation are well."""
        witness = Witness()
        settings = {"clock": HandClock(), "retry": Retry(attempts=2), "extensions": [witness, *self.extensions]}
        async with providerkit.Client(**settings) as client:
            url = self.server.base_url
            chat = client.run(provider=Throttled, base_url=url, fallback=[Route(Macaw, base_url=url)])
            run = chat.send("hi")
            yield run
            await settled(client, self.server)
            told(witness, run)
            witness.told = Told()
            assert (await chat.send("hi", provider=Healthy, fallback=())).text == "well"
            assert len(chat.messages) in (2, 4)
        await until(lambda: self.server.open == 0)

    async def cut(self, consume: Callable[[providerkit.Run], Coroutine[Any, Any, str]], how: str, number: int) -> bool:
        """Cut a run off where it waits for the given time; tell whether it came so far."""
        came = False

        def waits(times: int) -> None:
            nonlocal came
            self.pace.go_on()
            if times == number or (how == "cancelled again and again" and times > number):
                came = True
                if how == "timed out":
                    limit.reschedule(asyncio.get_running_loop().time())
                else:
                    task.cancel()

        async with self.asking() as run:
            running = consume(run)
            limit = asyncio.timeout(None)

            async def limited() -> str:
                async with limit:
                    return await stepped(running, waits)

            task = asyncio.ensure_future(limited())
            (result,) = await asyncio.gather(task, return_exceptions=True)
            expected = TimeoutError if how == "timed out" else asyncio.CancelledError
            assert type(result) is (expected if came else str)
        return came


def told(witness: Witness, run: providerkit.Run) -> None:
    """See that the observer was told of one end, and of all that had come before it, where that is all."""
    ends = [(what, *facts) for what, *facts in witness.told.facts if what in ("finish", "error")]
    events = [event for what, *facts in witness.told.facts if what == "events" for event in facts[0]]
    assert len(ends) == 1
    assert witness.told.facts[-1] == ends[0]
    if ends[0][0] == "finish":
        assert "".join(event.text for event in events if isinstance(event, providerkit.TextDelta)) == TEXT
        assert isinstance(events[-1], providerkit.Finish)
        assert run.reply.text == TEXT


@pytest.fixture(scope="module")
def pace():
    return Pace()


@pytest.fixture(scope="module")
def server(pace):
    with serve_elsewhere(pace.answer) as server:
        yield server


@pytest.mark.parametrize("extensions", [(), (Slow,)], ids=["the network", "a wrapped transport"])
@pytest.mark.parametrize("consume", [streamed, collected, within])
@pytest.mark.parametrize("how", ["cancelled", "cancelled again and again", "timed out"])
async def test_cut_off_at_every_await_point(server, pace, extensions, consume, how):
    walk = Walk(server, pace, *extensions)
    for number in count(1):
        if not await walk.cut(consume, how, number):
            break
    assert number > 3 + len(PIECES)  # each attempt has waited, and the last one for every piece


async def break_off(run: providerkit.Run, after: int) -> None:
    left = after
    async for _ in run:
        left -= 1
        if not left:
            break


async def close_iterator(run: providerkit.Run, after: int) -> None:
    texts = aiter(run)
    for _ in range(after):
        await anext(texts)
    await texts.aclose()


async def close_run(run: providerkit.Run, after: int) -> None:
    texts = aiter(run)
    for _ in range(after):
        await anext(texts)
    await run.aclose()


async def raise_within(run: providerkit.Run, after: int) -> None:
    with suppress(KeyError):
        async with run:
            await break_off(run, after)
            raise KeyError


@pytest.mark.parametrize("extensions", [(), (Slow,)], ids=["the network", "a wrapped transport"])
@pytest.mark.parametrize("leave", [break_off, close_iterator, close_run, raise_within])
@pytest.mark.parametrize("after", [1, 2])
async def test_left_after_every_piece(server, pace, extensions, leave, after):
    async with Walk(server, pace, *extensions).asking() as run:
        await stepped(leave(run, after), lambda times: pace.go_on())
    assert run.reply.text == TEXT[:after]


async def test_a_thousand_cancelled_at_once_leave_nothing():
    """Each has had its first piece, or waits for a place in the pool."""
    silent = asyncio.Event()

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        if received.path == "/healthy":
            writer.write(WHOLE)
        else:
            writer.write(b"".join(PIECES[:2]))
            await silent.wait()

    with serve_elsewhere(answer) as server:
        limits = providerkit.Limits(connections=800)
        async with providerkit.Client(limits=limits, timeouts=UNHURRIED) as client:
            begun = 0

            async def ask() -> None:
                nonlocal begun
                async for _ in client.run("hi", provider=Macaw, base_url=server.base_url):
                    begun += 1

            tasks = [asyncio.ensure_future(ask()) for _ in range(1000)]
            await until(lambda: begun == 800, *tasks)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(result) for result in results} == {asyncio.CancelledError}
            await settled(client, server)
            assert server.open == 0
            assert (await client.run("hi", provider=Healthy, base_url=server.base_url)).text == "well"
