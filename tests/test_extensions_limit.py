"""How requests wait for their turn; time goes on by hand."""

from __future__ import annotations

import asyncio
import sys
import threading

import attrs
import pytest
from asking import ONCE, ask, failure
from chat_completions import ChatCompletions, answer, chunk, usage
from clocks import HandClock
from loopback import chunked, http, serve
from parrots import Macaw

import providerkit
from providerkit import InvalidOption, Request, Timeouts, hookimpl
from providerkit.extensions.limit import Limit

WORDS = chunked(b'data: "a"\n\n', b"data: [DONE]\n\n")
CHAT = ChatCompletions("chat")
ANSWER = chunked(*answer({"content": "a"}, {"content": "b"}))  # 7 tokens in, 2 out


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def ask_often(server, limit: Limit, times: int, provider: object = Macaw, **options) -> None:
    for _ in range(times):
        await ask(server.base_url, provider, extensions=[limit], **options)


async def test_a_minutes_worth_goes_at_once_then_as_much_as_leaks(clock: HandClock):
    async with serve(WORDS) as server:
        await ask_often(server, Limit(requests=3, clock=clock), 5)
    assert clock.slept == [20, 20]


async def test_time_that_passes_makes_room(clock: HandClock):
    limit = Limit(requests=3, clock=clock)
    async with serve(WORDS) as server:
        await ask_often(server, limit, 3)
        clock.advance(40)
        await ask_often(server, limit, 2)
        assert clock.slept == []
        clock.advance(9999)
        await ask_often(server, limit, 3)
        assert clock.slept == []
        await ask_often(server, limit, 1)
        assert clock.slept == [20]


async def test_each_host_has_its_own(clock: HandClock):
    limit = Limit(requests=1, clock=clock)
    async with serve(WORDS) as one, serve(WORDS) as other:
        await ask_often(one, limit, 1)
        await ask_often(other, limit, 1)
        assert clock.slept == []
        await ask_often(one, limit, 1)
    assert clock.slept == [60]


async def test_each_attempt_counts(clock: HandClock):
    async with serve(http(status=500)) as server:
        asked = ask_often(server, Limit(requests=2, clock=clock), 1, retry=providerkit.Retry(attempts=3, base=0))
        await failure(providerkit.ServerError, asked)
    assert clock.slept == [30]


@pytest.mark.parametrize("counted", [True, False])
async def test_tokens_are_guessed_by_size_until_the_provider_has_counted(clock: HandClock, counted: bool):
    whole = ANSWER if counted else chunked(b'data: "a"\n\n', b"data: [DONE]\n\n")
    async with serve(whole) as server:
        await ask_often(server, Limit(tokens=60, clock=clock), 12, CHAT if counted else Macaw)
    guess = len(server.requests[0].body) / 4
    spent = 9 if counted else guess
    before = next(times for times in range(12) if times * spent + guess > 60)
    assert clock.slept[0] == pytest.approx(before * spent + guess - 60)


@pytest.mark.parametrize("counts", [(None, 3), (None, None)])
async def test_half_a_count_is_none(clock: HandClock, counts):
    class Counting(Macaw):
        @hookimpl
        def parse_stream(self, head):
            return providerkit.EventStream(lambda data, event: [providerkit.Usage(*counts)])

    async with serve(WORDS) as server:
        await ask_often(server, Limit(tokens=10, clock=clock), 2, Counting)
        guess = len(server.requests[0].body) / 4
    assert clock.slept == [pytest.approx(60 * (2 * guess - 10) / 10)]


async def test_what_came_from_elsewhere_counts_for_nothing(clock: HandClock):
    @attrs.frozen
    class Elsewhere:
        """Answer as a cache does, without asking further."""

        @hookimpl(wrapper=True)
        def wrap_transport(self):
            yield
            return self

        def send(self, request):
            return self

        async def __aenter__(self):
            return self

        async def __aexit__(self, *failure):
            return None

        source = "cache"
        head = providerkit.ResponseHead(200, {"content-type": "text/event-stream", "content-length": "1"})

        async def chunks(self):
            yield chunk({"content": "a"}, finish_reason="stop") + chunk(usage=usage(7000, 1))

    limit = Limit(requests=1, tokens=1, clock=clock)
    for _ in range(3):
        await ask("http://127.0.0.1:1", CHAT, extensions=[Elsewhere(), limit])
    assert clock.slept == []
    await limit._wait(Request("POST", "http://127.0.0.1:1/say", {}, b"1234"))
    assert clock.slept == []


async def test_what_is_larger_than_the_limit_waits_its_share(clock: HandClock):
    await Limit(tokens=10, clock=clock)._wait(request(30))
    assert clock.slept == [120]


class Queueing(HandClock):
    """Let sleepers sleep until time goes on."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.Event()
        self.call_later(seconds, woken.set)
        await woken.wait()


def request(tokens: int) -> Request:
    return Request("POST", "http://h/", {}, b"1234" * tokens)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_first_goes_first_however_large():
    clock, went = Queueing(), []
    limit = Limit(tokens=8, clock=clock)

    async def wait(name: str, tokens: int) -> None:
        await limit._wait(request(tokens))
        went.append((name, clock.now()))

    async with asyncio.TaskGroup() as group:
        for name, tokens in (("first", 8), ("large", 8), ("small", 1), ("last", 1)):
            group.create_task(wait(name, tokens))
        for _ in range(12):
            await turns()
            clock.advance(7.5)
    assert went == [("first", 0), ("large", 60), ("small", 67.5), ("last", 75)]


async def test_who_leaves_the_queue_gives_back_what_it_took():
    clock = Queueing()
    limit = Limit(requests=1, tokens=8, clock=clock)
    await limit._wait(request(8))
    left = asyncio.create_task(limit._wait(request(8)))
    await turns()
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    next_one = asyncio.create_task(limit._wait(request(8)))
    await turns()
    clock.advance(60)
    await next_one
    assert clock.slept == [60, 60]


async def test_a_turn_that_is_waited_for_is_no_silence(clock: HandClock):
    timeouts = Timeouts(connect=1, first_event=1, idle=1)
    async with serve(WORDS) as server, providerkit.Client(clock=clock, retry=ONCE) as client:
        options = {"base_url": server.base_url, "timeouts": timeouts, "fallback": [(Macaw, "green")]}
        limit = Limit(requests=1, clock=clock)
        for _ in range(2):
            reply = await client.run("Hello", provider=Macaw, extensions=[limit], **options)
    assert (clock.slept, [attempt.error for attempt in reply.attempts]) == ([60], [None])


async def test_but_the_whole_call_takes_longer(clock: HandClock):
    limit = Limit(requests=1, clock=clock)
    async with serve(WORDS) as server:
        await ask_often(server, limit, 1)
        late = ask(server.base_url, Macaw, extensions=[limit], timeouts=Timeouts(total=30), clock=clock)
        error = await failure(providerkit.TimedOut, late)
    assert (error.clock, len(server.requests)) == ("total", 1)


def test_event_loops_and_threads_share_it(clock: HandClock):
    limit = Limit(requests=3, clock=clock)
    with providerkit.sandbox("koala") as base_url, providerkit.Client(extensions=[limit]) as client:

        async def whole() -> None:
            await client.run("Hello", provider="koala", base_url=base_url)

        for _ in range(2):
            asyncio.run(whole())
        for _ in range(2):
            client.run("Hello", provider="koala", base_url=base_url).result()
    assert clock.slept == [20]


def test_no_two_threads_get_one_turn(clock: HandClock):
    limit, waits = Limit(requests=60, clock=clock), []

    def take() -> None:
        for _ in range(200):
            waits.append(limit._take("http://h/", 1, 0))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(waits) == [max(turn - 60, 0) for turn in range(1, 801)]


async def test_without_a_clock_of_a_test_it_is_the_systems():
    limit = Limit(requests=60_000)
    limit._take("http://h/", 60_000, 0)
    before = limit._clock.now()
    await limit._wait(request(1))
    assert limit._clock.now() > before


async def test_the_environment_says_the_limits_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InvalidOption, match="PROVIDERKIT_LIMIT_REQUESTS"):
        Limit()
    monkeypatch.setenv("PROVIDERKIT_LIMIT_REQUESTS", "60")
    monkeypatch.setenv("PROVIDERKIT_LIMIT_TOKENS", "1e5")
    assert (Limit()._rates, Limit(requests=5)._rates) == ((60, 100_000), (5, None))
    monkeypatch.setenv("PROVIDERKIT_LIMIT_TOKENS", "many")
    monkeypatch.setenv("PROVIDERKIT_LIMIT_TOKENS", "  ")
    assert Limit()._rates == (60, None)


@pytest.mark.parametrize("value", ["many", "0", "-1", "nan", "inf", "1e999"])
def test_a_limit_of_the_environment_is_a_number_above_0(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("PROVIDERKIT_LIMIT_TOKENS", value)
    with pytest.raises(InvalidOption) as caught:
        Limit()
    assert str(caught.value) == f"PROVIDERKIT_LIMIT_TOKENS is {value!r}; expected a finite number above 0"


@pytest.mark.parametrize(
    "rate", [0, -1, "60", True, float("nan"), float("inf"), 10**400, [1]], ids=lambda rate: repr(rate)[:9]
)
@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_a_limit_is_a_finite_number_above_0(what: str, rate: object):
    with pytest.raises(InvalidOption, match=rf"^Limit\({what}=...\) is .*; expected a finite number above 0$"):
        Limit(**{what: rate})


@pytest.mark.parametrize(
    "count",
    [-5, float("nan"), float("inf"), 10**400, 10**15, "7", True, [7], {"n": 7}],
    ids=lambda count: repr(count)[:9],
)
async def test_nonsense_that_a_wire_counts_breaks_nothing_and_shuts_no_host_for_good(clock: HandClock, count: object):
    class Counting(Macaw):
        @hookimpl
        def parse_stream(self, head):
            return providerkit.EventStream(
                lambda data, event: [providerkit.Usage(count, count), providerkit.TextDelta("a")]
            )

    limit = Limit(tokens=1000, clock=clock)
    async with serve(WORDS) as server:
        await ask_often(server, limit, 3, Counting)
    assert max(clock.slept, default=0.0) <= 10 * 60


def test_a_host_for_which_nothing_waits_is_forgotten_when_there_are_many(clock: HandClock):
    limit = Limit(requests=1, clock=clock)
    limit._take("http://busy/", 1000, 0)
    for number in range(2000):
        limit._take(f"http://host{number}/", 1, 0)
        clock.advance(1)
    assert len(limit._buckets) <= 512
    assert "busy" in limit._buckets


def test_a_password_in_an_address_is_no_part_of_its_host(clock: HandClock):
    limit = Limit(requests=1, clock=clock)
    for url in ("http://user:word@h/a", "http://h/b?c"):
        limit._take(url, 1, 0)
    assert list(limit._buckets) == ["h"]
