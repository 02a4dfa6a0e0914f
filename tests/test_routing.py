"""Routing: what is tried again, where a call goes next, and what the caller sees of it. No test waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import pytest
from asking import KEY, Told
from clocks import HandClock
from loopback import Received, Server, chunked, http, reset, serve
from parrots import Macaw, Parrot

import providerkit
from providerkit import Restart, Retry, Route, TextDelta, Timeouts, hookimpl
from providerkit.engine import blocking as sync

DOWN = http(b"", status=503)
WHOLE = http(b'data: "squawk"\n\ndata: [DONE]\n\n')
CUT = chunked(b'data: "squ"\n\n', end=False)
GARBLED = http(b'data: "squ"\n\ndata: {"\n\ndata: [DONE]\n\n')
SILENT = b""


@attrs.define
class Host:
    """A server that answers each request with the next of its answers, then with the last again and again."""

    server: Server
    silences: asyncio.Queue[None]  # an item for each request that it leaves without an answer

    @property
    def base_url(self) -> str:
        return self.server.base_url

    @property
    def requests(self) -> list[Received]:
        return self.server.requests


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[Host]:
    left, silences = list(answers), asyncio.Queue[None]()

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        data = left.pop(0) if len(left) > 1 else left[0]
        writer.write(data)
        await writer.drain()
        if data == CUT:
            reset(writer)
        if data == SILENT:
            silences.put_nowait(None)
            await asyncio.Event().wait()

    async with serve(answer) as server:
        yield Host(server, silences)


@attrs.define
class Flock:
    """A client with a clock of its own, and the servers that its routes lead to."""

    client: providerkit.Client
    clock: HandClock
    servers: list[Host]

    def run(self, provider: object = Macaw, **options: object) -> providerkit.Run:
        first, *others = self.servers
        fallback = [Route(provider, "green", base_url=server.base_url) for server in others]
        return self.client.run(
            "hi", provider=provider, base_url=first.base_url, api_key=KEY, **({"fallback": fallback} | options)
        )

    @property
    def asked(self) -> list[int]:
        return [len(server.requests) for server in self.servers]


@asynccontextmanager
async def flock(*hosts: tuple[bytes, ...], **settings: object) -> AsyncIterator[Flock]:
    clock = HandClock()
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(answering(*answers)) for answers in hosts]
        client = await stack.enter_async_context(providerkit.Client(clock=clock, **settings))
        yield Flock(client, clock, servers)


async def texts(run: providerkit.Run) -> list[str]:
    return [text async for text in run]


async def gather(run: providerkit.Run, got: list[str]) -> None:
    async for text in run:
        got.append(text)


def story(reply: providerkit.Reply) -> list[tuple[str, str | None]]:
    """Tell the attempts: route, and the name of the error."""
    return [(attempt.route, attempt.error and type(attempt.error).__name__) for attempt in reply.attempts]


async def test_a_failure_before_the_first_content_is_repaired_out_of_sight():
    async with flock((DOWN, WHOLE)) as birds:
        run = birds.run()
        assert await texts(run) == ["squawk"]
    assert birds.asked == [2]
    assert birds.clock.slept == [0.25]  # half of the base
    assert story(run.reply) == [("parrot/grey", "ServerError"), ("parrot/grey", None)]


async def test_the_wait_doubles_and_ends_with_the_attempts():
    async with flock((DOWN,), retry=Retry(attempts=4)) as birds:
        with pytest.raises(providerkit.ServerError) as caught:
            await birds.run()
    assert birds.asked == [4]
    assert birds.clock.slept == [0.25, 0.5, 1.0]
    (note,) = caught.value.__notes__
    assert note.startswith("After 4 attempts:\nparrot/grey: parrot: 503: ")


async def test_a_call_may_have_its_own_retry():
    async with flock((DOWN,)) as birds:
        with pytest.raises(providerkit.ServerError) as caught:
            await birds.run(retry=Retry(attempts=1))
    assert birds.asked == [1]
    assert not hasattr(caught.value, "__notes__")


async def test_what_the_provider_asks_for_is_waited():
    throttled = http(b"", status=429, Retry_After="2")
    async with flock((throttled, WHOLE)) as birds:
        assert (await birds.run()).text == "squawk"
    assert birds.clock.slept == [2.0]


async def test_a_wait_over_the_cap_fails_fast_and_says_how_long():
    async with flock((http(b"", status=429, Retry_After="121"), WHOLE)) as birds:
        with pytest.raises(providerkit.RateLimited) as caught:
            await birds.run()
    assert (birds.asked, caught.value.retry_after) == ([1], 121)


async def test_a_long_wait_goes_to_the_next_route_where_there_is_one():
    async with flock((http(b"", status=429, Retry_After="9"),), (WHOLE,)) as birds:
        assert (await birds.run()).text == "squawk"
    assert (birds.asked, birds.clock.slept) == ([1, 1], [])


async def test_a_wait_that_the_total_clock_does_not_allow_is_not_begun():
    throttled = http(b"", status=429, Retry_After="20")
    async with flock((throttled, WHOLE)) as birds:
        with pytest.raises(providerkit.RateLimited):
            await birds.run(timeouts=Timeouts(total=10))
    assert (birds.asked, birds.clock.slept) == ([1], [])


async def test_total_spans_all_attempts():
    throttled = http(b"", status=429, Retry_After="6")
    async with flock((throttled, throttled, throttled), retry=Retry(attempts=9)) as birds:
        with pytest.raises(providerkit.RateLimited):
            await birds.run(timeouts=Timeouts(total=10))
    assert birds.clock.slept == [6.0]


async def test_a_route_that_stays_down_gives_way_to_the_next_one():
    async with flock((DOWN,), (WHOLE,)) as birds:
        reply = await birds.run()
    assert birds.asked == [3, 1]
    assert (reply.model, reply.text) == ("green", "squawk")
    assert story(reply) == [*[("parrot/grey", "ServerError")] * 3, ("parrot/green", None)]


async def test_every_route_is_tried_before_the_last_error_is_told():
    async with flock((DOWN,), (http(b"", status=404),)) as birds:
        with pytest.raises(providerkit.NotFound):
            await birds.run()
    assert birds.asked == [3, 1]


@pytest.mark.parametrize(("status", "kind"), [(400, providerkit.BadRequest), (422, providerkit.BadRequest)])
async def test_a_call_that_is_wrong_is_told_at_once(status: int, kind: type[Exception]):
    async with flock((http(b"", status=status),), (WHOLE,)) as birds:
        with pytest.raises(kind):
            await birds.run()
    assert birds.asked == [1, 0]


async def test_the_providers_own_word_on_retries_wins():
    again = http(b"", status=400, x_should_retry="true")
    never = http(b"", status=503, x_should_retry="false")
    async with flock((again, never), (WHOLE,)) as birds:
        assert (await birds.run()).text == "squawk"
    assert birds.asked == [2, 1]


async def silent_after(birds: Flock, *seconds: float) -> None:
    """Let the time pass while the first server is silent."""
    for passed in seconds:
        await birds.servers[0].silences.get()
        birds.clock.advance(passed)


async def test_a_silent_route_is_left_after_ten_seconds_where_another_remains():
    async with flock((SILENT,), (WHOLE,)) as birds, asyncio.TaskGroup() as group:
        group.create_task(silent_after(birds, 10))
        reply = await birds.run()
    assert birds.asked == [1, 1]
    assert story(reply) == [("parrot/grey", "TimedOut"), ("parrot/green", None)]
    assert reply.attempts[0].error.clock == "first_event"
    assert reply.attempts[0].error.seconds == 10


class Thinker(Macaw):
    @hookimpl
    def resolve_model(self, name):
        return providerkit.Model(name or "grey", reasoning=True)


class Whole(Macaw):
    @hookimpl
    def build_request(self, endpoint):
        return providerkit.Request.json(endpoint.url("/say"), {}, stream=False)


@pytest.mark.parametrize(
    ("provider", "timeouts", "seconds"),
    [
        (Macaw, Timeouts(), 10),
        (Macaw, Timeouts(total=500), 10),
        (Macaw, Timeouts(first_event=60.0), 60),
        (Macaw, Timeouts(first_event=30), 30),
        (Thinker, Timeouts(), 60),
        (Whole, Timeouts(), 60),
    ],
)
async def test_only_a_limit_that_nobody_chose_is_shortened(provider: object, timeouts: Timeouts, seconds: float):
    async with flock((SILENT,), (WHOLE,)) as birds, asyncio.TaskGroup() as group:
        group.create_task(silent_after(birds, seconds))
        reply = await birds.run(provider, timeouts=timeouts)
    assert reply.attempts[0].error.seconds == seconds


async def test_the_only_route_is_given_its_full_time():
    async with flock((SILENT,)) as birds, asyncio.TaskGroup() as group:
        group.create_task(silent_after(birds, 60))
        with pytest.raises(providerkit.TimedOut, match="within 60 s"):
            await birds.run()
    assert birds.asked == [1]


@pytest.mark.parametrize("broken", [CUT, GARBLED])
async def test_an_answer_that_breaks_off_is_the_streaming_callers_error(broken: bytes):
    async with flock((broken,), (WHOLE,)) as birds:
        got: list[str] = []
        with pytest.raises(providerkit.StreamError) as caught:
            await gather(birds.run(), got)
    assert (got, caught.value.partial) == (["squ"], "squ")
    assert birds.asked == [1, 0]


@pytest.mark.parametrize("broken", [CUT, GARBLED])
async def test_who_collects_gets_the_whole_answer_all_the_same(broken: bytes):
    async with flock((broken, WHOLE)) as birds:
        assert (await birds.run()).text == "squawk"
    assert birds.asked == [2]


@pytest.mark.parametrize("broken", [CUT, GARBLED])
async def test_a_run_that_restarts_says_so_and_begins_again_on_the_next_route(broken: bytes):
    async with flock((broken,), (WHOLE,)) as birds:
        run = birds.run(on_interrupt="restart")
        events = [event async for event in run.events()]
    assert birds.asked == [1, 1]
    assert events[:1] == [TextDelta("squ")]
    restart = events[1]
    assert (type(restart), restart.route) == (Restart, "parrot/green")
    assert isinstance(restart.error, providerkit.StreamError)
    assert events[2:] == [TextDelta("squawk"), providerkit.Finish("stop")]
    assert (run.reply.text, run.reply.model) == ("squawk", "green")


async def test_a_run_that_restarts_does_so_on_its_only_route_where_there_is_no_other():
    async with flock((CUT, DOWN, WHOLE)) as birds:
        run = birds.run(on_interrupt="restart")
        events = [event async for event in run.events()]
    assert [type(event).__name__ for event in events] == ["TextDelta", "Restart", "TextDelta", "Finish"]
    assert birds.asked == [3]


async def test_a_restart_that_fails_holds_only_what_came_since():
    async with flock((CUT, DOWN), retry=Retry(attempts=2)) as birds:
        with pytest.raises(providerkit.ServerError) as caught:
            await texts(birds.run(on_interrupt="restart"))
    assert caught.value.partial == ""


def test_restarting_works_for_blocking_callers_too():
    async def serve_both(ready, done):
        async with answering(CUT, WHOLE) as server:
            ready.set_result(server.base_url)
            await done.wait()

    async def begin():
        loop = asyncio.get_running_loop()
        ready, done = loop.create_future(), asyncio.Event()
        task = loop.create_task(serve_both(ready, done))
        return await ready, done, task

    async def end(done, task):
        done.set()
        await task

    base_url, done, task = sync.call(begin())
    with providerkit.Client(clock=HandClock()) as client:
        run = client.run("hi", provider=Macaw, base_url=base_url, on_interrupt="restart")
        assert [type(event).__name__ for event in run.events()] == ["TextDelta", "Restart", "TextDelta", "Finish"]
    sync.call(end(done, task))


async def test_events_without_content_wait_for_the_first_that_has_some():
    class Chatty(Macaw):
        @hookimpl
        def parse_stream(self):
            def parse(data, event):
                value = providerkit.loads(data)
                return [TextDelta(value) if isinstance(value, str) else providerkit.ProviderData(value)]

            return providerkit.EventStream(parse)

    began = chunked(b"data: 1\n\n", b'data: ""\n\n', end=False)
    whole = chunked(b"data: 2\n\n", b'data: "a"\n\n', b"data: [DONE]\n\n")
    left = [began, whole]

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        data = left.pop(0)
        writer.write(data)
        await writer.drain()
        if data is began:
            writer.close()

    async with serve(answer) as server, providerkit.Client(clock=HandClock()) as client:
        run = client.run("hi", provider=Chatty, base_url=server.base_url)
        events = [event async for event in run.events()]
    assert events == [providerkit.ProviderData(2), TextDelta("a"), providerkit.Finish("stop")]


async def test_a_route_that_is_down_is_passed_by_and_probed_and_returned_to():
    """S15: the primary is down for 60 s; twenty calls, 4 s apart."""
    down = [True]

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(DOWN if down[0] else WHOLE)
        await writer.drain()

    async with serve(answer) as primary, flock((WHOLE,)) as birds:
        birds.servers.insert(0, Host(primary, asyncio.Queue()))
        models = []
        for number in range(20):
            down[0] = birds.clock.now() < 60
            models.append((await birds.run()).model)
            birds.clock.seconds = (number + 1) * 4.0
        first_back = models.index("grey")
        assert models == ["green"] * first_back + ["grey"] * (20 - first_back)
        assert 60 <= first_back * 4 <= 72
        assert birds.asked[0] == 3 + 4 + (20 - first_back)  # the first call's, one probe each 12 s, and the answers


async def test_a_single_route_is_tried_even_where_it_is_down():
    async with flock((DOWN, DOWN, DOWN, DOWN, WHOLE)) as birds:
        with pytest.raises(providerkit.ServerError):
            await birds.run()
        assert (await birds.run()).text == "squawk"
    assert birds.asked == [5]


async def test_where_all_routes_are_down_they_are_tried_in_their_order():
    async with flock((*[DOWN] * 3, WHOLE), (DOWN,)) as birds:
        with pytest.raises(providerkit.ServerError):
            await birds.run()
        assert (await birds.run()).model == "grey"


async def test_the_budget_of_a_host_stops_a_storm_of_retries():
    async with flock((DOWN,), retry=Retry(attempts=50)) as birds:
        with pytest.raises(providerkit.ServerError):
            await birds.run()
    assert birds.asked == [1 + 500 // 14]


async def test_an_answer_gives_back_what_its_retry_took():
    async with flock((*[DOWN] * 3, WHOLE), retry=Retry(attempts=4)) as birds:
        await birds.run()
        health = birds.client._settings.health
        assert [budget.tokens for budget in health._budgets.values()] == [500 - 3 * 14 + 14]
        for _ in range(28):
            await birds.run()
        assert not health._budgets
        assert not health._breakers


async def test_an_observer_is_told_of_each_attempt_and_of_the_wait_between():
    told = Told()

    class Witness:
        @hookimpl
        def observe(self):
            return told

    async with flock((DOWN, WHOLE)) as birds:
        await birds.run(extensions=[Witness])
    assert [what for what, *_ in told.facts] == ["attempt", "head", "retry", "attempt", "head", "events", "finish"]
    _, error, delay = told.facts[2]
    assert (type(error), delay) == (providerkit.ServerError, 0.25)


async def test_a_run_left_while_it_waits_for_its_next_attempt_is_ended():
    told, sleeping = Told(), asyncio.Event()

    class Sleeper(HandClock):
        async def sleep(self, seconds):
            sleeping.set()
            await asyncio.Event().wait()

    class Witness:
        @hookimpl
        def observe(self):
            return told

    async with answering(DOWN) as server, providerkit.Client(clock=Sleeper()) as client:
        run = client.run("hi", provider=Macaw, base_url=server.base_url, extensions=[Witness])
        task = asyncio.ensure_future(texts(run))
        await sleeping.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert told.facts[-1] == ("error", None)
    assert story(run.reply) == [("parrot/grey", "ServerError")]


@pytest.mark.parametrize("answer", [chunked(b'data: "squawk"\n\n', end=False), WHOLE], ids=["open", "whole"])
async def test_a_fork_can_not_go_on_with_a_run_and_tells_nobody(answer: bytes, monkeypatch: pytest.MonkeyPatch):
    told = Told()

    class Witness:
        @hookimpl
        def observe(self):
            return told

    async with flock((answer,)) as birds:
        run = birds.run(extensions=[Witness])
        texts = aiter(run)
        assert await anext(texts) == "squawk"
        monkeypatch.setattr(sync, "_process", -1)
        with pytest.raises(providerkit.RunConsumed, match="before a fork"):
            await anext(texts)
    assert told.facts[-1][0] == "events"


async def test_a_fork_that_ends_while_its_parent_waits_to_try_again_tells_nobody(monkeypatch: pytest.MonkeyPatch):
    told = Told()

    class Witness:
        @hookimpl
        def observe(self):
            return told

    class Forked(HandClock):
        async def sleep(self, seconds):
            monkeypatch.setattr(sync, "_process", -1)
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

    async with answering(DOWN) as server, providerkit.Client(clock=Forked()) as client:
        with pytest.raises(asyncio.CancelledError):
            await client.run("hi", provider=Macaw, base_url=server.base_url, extensions=[Witness])
    assert told.facts[-1][0] == "retry"


class Choosy(Parrot):
    """Take a chat with a seed, and only with a key."""

    supports = frozenset({"seed", "extra"})

    @hookimpl
    def describe(self):
        return providerkit.ProviderInfo(
            name="choosy", default_base_url="http://choosy.invalid", supports=self.supports, api_key_env="CHOOSY_KEY"
        )

    @hookimpl
    def build_request(self, chat, model, endpoint):
        if endpoint.api_key is None:
            raise providerkit.MissingAPIKey("choosy needs a key")
        body = {"extra": dict(chat.extra), "key": endpoint.api_key.reveal()}
        return providerkit.Request.json(endpoint.url("/say"), body)


async def test_every_route_must_be_able_to_serve_the_call_before_a_byte_is_sent():
    async with flock((WHOLE,)) as birds:
        with pytest.raises(providerkit.UnsupportedFeature, match="parrot does not serve seed"):
            birds.run(Choosy, seed=1, fallback=[Route(Parrot)])
        with pytest.raises(providerkit.MissingAPIKey):
            await birds.run(fallback=[(Choosy, None)])
        with pytest.raises(providerkit.UnknownProvider):
            birds.run(fallback="koalla/gpt-4o")
    assert birds.asked == [0]


async def test_no_other_provider_is_given_what_was_meant_for_the_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHOOSY_KEY", "its-own-key")
    async with flock((DOWN,), (WHOLE,)) as birds:
        second = birds.servers[1]
        fallback = [Route(Choosy, base_url=second.base_url)]
        await birds.run(headers={"X-Team": "blue"}, fallback=fallback, retry=Retry(attempts=1))
    (request,) = second.requests
    assert request.body == b'{"extra":{},"key":"its-own-key"}'
    assert "x-team" not in request.headers
    assert KEY not in repr(request)


async def test_a_route_of_the_same_provider_has_what_it_does_not_say_itself():
    async with flock((DOWN,), (WHOLE,)) as birds:
        first, second = birds.servers
        await birds.client.run(
            "hi",
            provider=Choosy,
            api_key="key-of-the-call",
            base_url=first.base_url,
            headers={"X-Team": "blue"},
            extra={"a": 1},
            retry=Retry(attempts=1),
            fallback=[Route(Choosy, base_url=second.base_url, extra={"b": 2})],
        )
    (request,) = second.requests
    assert request.body == b'{"extra":{"b":2},"key":"key-of-the-call"}'
    assert request.headers["x-team"] == "blue"


@pytest.mark.parametrize(
    ("fallback", "routes"),
    [
        ("koala", ["koala/gpt-4o-mini"]),
        ("koala/gpt-4o", ["koala/gpt-4o"]),
        (["koala/a/b", ("koala", "c"), ("koala", None)], ["koala/a/b", "koala/c", "koala/gpt-4o-mini"]),
        ([Route("koala", "a/b"), (Parrot, "green")], ["koala/a/b", "parrot/green"]),
        ({Route("koala"): 1, Route("koala", "a"): 2}.keys(), ["koala/gpt-4o-mini", "koala/a"]),
        (Route(Parrot), ["parrot/grey"]),
        ([], []),
    ],
    ids=str,
)
def test_a_route_is_named_in_several_ways(fallback: object, routes: list[str]):
    run = providerkit.run("hi", provider=Parrot, fallback=fallback)
    assert [target.route for target in run._bound.targets[1:]] == routes


@pytest.mark.parametrize("fallback", [5, [None], [5], [("koala", 5)], [("koala", "a", "b")], [{"provider": "koala"}]])
def test_what_names_no_route_is_refused(fallback: object):
    with pytest.raises(providerkit.InvalidOption, match="fallback") as caught:
        providerkit.run("hi", provider=Parrot, fallback=fallback)
    assert caught.value.option == "fallback"


@pytest.mark.parametrize("value", ["resume", "", True])
def test_what_to_do_on_an_interrupt_is_one_of_two_words(value: object):
    with pytest.raises(providerkit.InvalidOption, match="on_interrupt"):
        providerkit.run("hi", provider=Parrot, on_interrupt=value)


@pytest.mark.parametrize("value", [3, "3", Timeouts()])
def test_a_retry_is_a_retry(value: object):
    with pytest.raises(providerkit.InvalidOption, match=r"retry is .*providerkit\.Retry"):
        providerkit.run("hi", provider=Parrot, retry=value)


def test_the_repr_of_a_route_shows_no_secret():
    shown = repr(Route("koala", api_key=KEY, headers={"X-Key": KEY}))
    assert KEY not in shown
    assert "X-Key" in shown
    assert "headers=None" in repr(Route("koala"))


async def test_the_keys_of_all_routes_are_kept_out_of_every_error():
    other = "sk-OTHER-0123456789abcdef"
    async with flock((DOWN,), (http(f"{KEY} {other}".encode(), status=401),)) as birds:

        class Echo(Macaw):
            @hookimpl
            def parse_error(self, body):
                return providerkit.AuthenticationError(body.decode())

        fallback = [Route(Echo, base_url=birds.servers[1].base_url, api_key=other)]
        with pytest.raises(providerkit.AuthenticationError) as caught:
            await birds.run(fallback=fallback)
    assert str(caught.value) == "parrot: 401: *** ***"


async def test_a_plugin_that_breaks_gives_way_to_the_next_route():
    class Clumsy(Macaw):
        @hookimpl
        def parse_stream(self):
            raise KeyError("clumsy")

    async with flock((WHOLE,), (WHOLE,)) as birds:
        reply = await birds.run(Clumsy, fallback=[Route(Macaw, base_url=birds.servers[1].base_url)])
    assert story(reply) == [("parrot/grey", "PluginError"), ("parrot/grey", None)]
