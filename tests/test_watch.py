"""The clocks of an attempt, whose time goes on by hand."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import attrs
import pytest
from asking import KEY, ONCE, ask, failure
from clocks import HandClock
from loopback import Handler, Received, chunked, serve
from parrots import Macaw

import providerkit
from providerkit import Timeouts, hookimpl, pause_clocks
from providerkit.watch import Watch

A, EMPTY, COMMENT, DONE = b'data: "a"\n\n', b'data: ""\n\n', b": ping\n\n", b"data: [DONE]\n\n"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def watch_of(clock: HandClock, timeouts: Timeouts) -> Watch:
    return Watch(clock, timeouts, clock.now())


async def turns() -> None:
    """Let all that is under way on loopback arrive."""
    for _ in range(10):
        await asyncio.sleep(0)


def script(clock: HandClock, *steps: bytes | float) -> Handler:
    """Write the bytes, each alone, and let the seconds pass; the connection stays open."""

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
            else:
                clock.advance(step)
            await turns()

    return answer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


HEAD = chunked(end=False)


@pytest.mark.parametrize(
    ("fired", "steps"),
    [
        ("first_event", (61.0,)),
        ("first_event", (HEAD, 61.0)),
        ("first_event", (40.0, HEAD, 21.0)),
        ("first_event", (HEAD, chunk(COMMENT), 40.0, chunk(EMPTY), 21.0)),
        ("idle", (HEAD, chunk(A), 61.0)),
        ("idle", (HEAD, 40.0, chunk(A), 40.0, chunk(A), 61.0)),
        ("idle", (HEAD, chunk(A), 40.0, chunk(COMMENT), 21.0)),
        ("idle", (HEAD, chunk(A), 40.0, chunk(EMPTY), 21.0)),
        ("idle", (HEAD, chunk(A), 40.0, chunk(A[:5]), 21.0)),
        ("total", (HEAD, chunk(A), 40.0, chunk(A), 40.0)),
        ("total", (61.0,)),
    ],
)
async def test_the_clock_that_fires_is_named(clock: HandClock, fired: str, steps: tuple[bytes | float, ...]):
    timeouts = Timeouts(**{"first_event": None, "idle": None, fired: 60.0})
    async with serve(script(clock, *steps, chunk(A + DONE), b"0\r\n\r\n")) as server:
        error = await failure(providerkit.TimedOut, ask(server.base_url, Macaw, timeouts=timeouts, clock=clock))
        await server.closed.get()
    assert (error.clock, error.seconds, error.partial) == (fired, 60.0, "a" * steps.count(chunk(A)))
    assert f"Timeouts({fired}=...)" in str(error)


@pytest.mark.parametrize(
    ("timeouts", "steps"),
    [
        (Timeouts(first_event=60, idle=60), (59.0, HEAD, chunk(A), 59.0, chunk(A), 59.0, chunk(A), 59.0)),
        (Timeouts(first_event=60, idle=10), (HEAD, 59.0, chunk(A), 9.0, chunk(A), 9.0)),
        (Timeouts(first_event=10, idle=60), (HEAD, chunk(A), 59.0, chunk(A), 59.0)),
        (Timeouts(first_event=None, idle=None), (HEAD, 9999.0, chunk(A), 9999.0)),
        (Timeouts(total=60, idle=None), (HEAD, 29.0, chunk(A), 29.0)),
    ],
)
async def test_content_that_comes_in_time_fires_nothing(
    clock: HandClock, timeouts: Timeouts, steps: tuple[bytes | float, ...]
):
    async with serve(script(clock, *steps, chunk(A + DONE), b"0\r\n\r\n")) as server:
        reply = await ask(server.base_url, Macaw, timeouts=timeouts, clock=clock)
    assert reply.text == "a" * (steps.count(chunk(A)) + 1)


@attrs.frozen
class Delayed:
    """Let time pass before each request, as a rate limit does; in the middle of it, with the clocks paused."""

    clock: HandClock
    before: float
    paused: float

    @hookimpl(wrapper=True)
    def wrap_transport(self):
        inner = yield
        return Delaying(inner, self)


class Delaying:
    def __init__(self, inner: providerkit.Transport, delayed: Delayed) -> None:
        self.inner, self.delayed = inner, delayed

    def send(self, request: providerkit.Request) -> Delaying:
        self.sending = self.inner.send(request)
        return self

    async def __aenter__(self) -> providerkit.Response:
        self.delayed.clock.advance(self.delayed.before)
        await turns()
        with pause_clocks():
            self.delayed.clock.advance(self.delayed.paused)
            await turns()
        return await self.sending.__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        await self.sending.__aexit__(*failure)


ANSWER = (HEAD, chunk(A + DONE), b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("timeouts", "before", "paused", "steps"),
    [
        (Timeouts(first_event=60), 0.0, 9999.0, ANSWER),
        (Timeouts(first_event=60), 29.0, 9999.0, (30.0, *ANSWER)),
        (Timeouts(first_event=None, idle=None, total=60), 0.0, 59.0, ANSWER),
        (Timeouts(first_event=None, idle=None), 0.0, 9999.0, ANSWER),
    ],
)
async def test_a_wait_for_no_network_is_not_the_networks(
    clock: HandClock, timeouts: Timeouts, before: float, paused: float, steps: tuple[bytes | float, ...]
):
    async with serve(script(clock, *steps)) as server:
        extensions = [Delayed(clock, before, paused)]
        reply = await ask(server.base_url, Macaw, timeouts=timeouts, clock=clock, extensions=extensions)
    assert reply.text == "a"


async def test_nor_is_it_where_models_are_listed(clock: HandClock):
    class Listing(Macaw):
        @hookimpl
        def build_models_request(self, endpoint):
            return providerkit.Request("GET", endpoint.url("/models"), {})

        @hookimpl
        def parse_models(self, head, body):
            return [providerkit.Model(body.decode())]

    async with (
        serve(script(clock, HEAD, chunk(b"grey"), b"0\r\n\r\n")) as server,
        providerkit.Client(clock=clock) as client,
    ):
        extensions = [Delayed(clock, 0.0, 61.0)]
        models = await client.provider(Listing).models(base_url=server.base_url, extensions=extensions)
    assert [model.name for model in models] == ["grey"]


@pytest.mark.parametrize(
    ("fired", "before", "paused", "steps"),
    [
        ("total", 0.0, 61.0, ANSWER),
        ("total", 0.0, 59.0, (2.0, *ANSWER)),
        ("first_event", 61.0, 0.0, ANSWER),
        ("first_event", 30.0, 9999.0, (31.0, *ANSWER)),
    ],
)
async def test_a_pause_ends_no_clock(
    clock: HandClock, fired: str, before: float, paused: float, steps: tuple[bytes | float, ...]
):
    timeouts = Timeouts(**{"first_event": None, "idle": None, fired: 60.0})
    async with serve(script(clock, *steps)) as server:
        extensions = [Delayed(clock, before, paused)]
        asked = ask(server.base_url, Macaw, timeouts=timeouts, clock=clock, extensions=extensions)
        error = await failure(providerkit.TimedOut, asked)
    assert (error.clock, error.seconds) == (fired, 60.0)


async def test_where_nothing_is_asked_no_clock_is_paused():
    with pause_clocks():
        await asyncio.sleep(0)


async def test_the_consumers_pauses_count_for_total_alone(clock: HandClock):
    async def consume(timeouts: Timeouts) -> str:
        run = client.run("hello", provider=Macaw, base_url=server.base_url, api_key=KEY, timeouts=timeouts)
        async for _ in run:
            clock.advance(1000)
            await turns()
        return run.reply.text

    steps = (HEAD, chunk(A), 1.0, chunk(A), 1.0, chunk(A + DONE), b"0\r\n\r\n")
    async with serve(script(clock, *steps)) as server, providerkit.Client(clock=clock, retry=ONCE) as client:
        assert await consume(Timeouts(first_event=60, idle=60)) == "aaa"
        error = await failure(providerkit.TimedOut, consume(Timeouts(total=60)))
    assert (error.clock, error.partial) == ("total", "a")


async def test_a_status_that_is_known_outlives_the_clocks_of_content(clock: HandClock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("providerkit.exchange.ERROR_BODY", 0.01)
    head = b"HTTP/1.1 503 Words\r\nContent-Length: 9\r\n\r\n"
    async with serve(script(clock, head, 100.0)) as server:
        await failure(providerkit.ServerError, ask(server.base_url, clock=clock))


async def test_an_answer_that_is_whole_outlives_total(clock: HandClock, monkeypatch: pytest.MonkeyPatch):
    class Wren(Macaw):
        @hookimpl
        def parse_stream(self) -> providerkit.Decoder:
            return providerkit.EventStream(lambda data, event: [providerkit.TextDelta("a"), providerkit.Finish("stop")])

    monkeypatch.setattr("providerkit.exchange.AFTER_END", 0.01)
    async with serve(script(clock, HEAD, chunk(A), 61.0)) as server:
        reply = await ask(server.base_url, Wren, timeouts=Timeouts(total=60), clock=clock)
    assert reply.finish_reason == "stop"


async def test_total_fires_where_no_wait_gives_the_timer_a_turn(clock: HandClock):
    watch = watch_of(clock, Timeouts(total=1))
    with watch:
        clock.advance(2)
    with pytest.raises(providerkit.TimedOut) as caught, watch:
        pass
    assert caught.value.clock == "total"
    watch.close()


async def test_a_run_that_timed_out_leaves_its_task_uncancelled(clock: HandClock):
    async with serve(script(clock, 61.0)) as server:
        await failure(providerkit.TimedOut, ask(server.base_url, clock=clock))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def silence(watch: Watch) -> None:
    with watch:
        await asyncio.Event().wait()


@pytest.mark.parametrize("at", [59.0, 60.5], ids=["before the clock", "after the clock"])
async def test_a_cancellation_of_the_callers_wins_over_a_clock(clock: HandClock, at: float):
    task = asyncio.create_task(silence(watch_of(clock, Timeouts(first_event=60))))
    await asyncio.sleep(0)
    clock.call_later(at, task.cancel)
    clock.advance(61)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_error_that_comes_with_the_clock_is_told(clock: HandClock):
    async def fail() -> None:
        with watch_of(clock, Timeouts(first_event=60)):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise KeyError("its own") from None

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    clock.advance(61)
    with pytest.raises(KeyError):
        await task
    assert task.cancelling() == 0


async def test_a_clock_rings_again_after_one_that_was_survived(clock: HandClock):
    async def survive() -> None:
        watch = watch_of(clock, Timeouts(first_event=60))
        with watch, suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        watch.content()
        await silence(watch)

    rung, cancelled = asyncio.create_task(survive()), asyncio.create_task(survive())
    await asyncio.sleep(0)
    clock.advance(61)
    await turns()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    clock.advance(61)
    with pytest.raises(providerkit.TimedOut):
        await rung


async def test_a_watch_that_is_closed_has_no_timer(clock: HandClock):
    watch = watch_of(clock, Timeouts())
    with watch:
        pass
    watch.close()
    watch.close()
    clock.advance(1000)
    await turns()
    with watch_of(clock, Timeouts(first_event=None, idle=None)) as idle:
        idle.content()
        clock.advance(1000)
        await turns()


@pytest.mark.parametrize(("first_event", "idle", "timers"), [(60, 60, 1), (10, 60, 1), (60, None, 1), (60, 59, 2)])
async def test_a_timer_for_each_attempt_and_none_for_each_read(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch, first_event: float, idle: float | None, timers: int
):
    """One that is set for the first event serves the idle clock, too, unless that is the shorter one."""
    call_later = HandClock.call_later
    armed: list[float] = []
    monkeypatch.setattr(HandClock, "call_later", lambda *when: armed.append(when[1]) or call_later(*when))
    watch = watch_of(clock, Timeouts(first_event=first_event, idle=idle))
    for _ in range(100):
        with watch:
            watch.content()
    assert len(armed) == timers
    watch.close()
