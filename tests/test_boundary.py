"""Whatever code of others raises ends its own run, as an error of providerkit, and touches no other run."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import attrs
import pytest
from asking import ONCE
from clocks import HandClock
from loopback import Received, http, serve, serve_elsewhere
from parrots import Macaw, Parrot

import providerkit
from providerkit import Finish, ResponseHead, hookimpl, loads
from providerkit.engine import blocking as sync
from providerkit.plugins.boundary import claim, describe, is_cancelled


class Wordless(BaseException):
    """An error that can't even be shown."""

    def __str__(self) -> str:
        raise SystemExit(4)


KINDS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": StopIteration,
    "RuntimeError": RuntimeError,
    "a failed test": lambda: pytest.fail.Exception("no"),
    "a group": lambda: BaseExceptionGroup("two", [SystemExit(3), KeyboardInterrupt()]),
    "one that can't be shown": Wordless,
}
Fail = Callable[..., Any]


def failing(make: Callable[[], BaseException]) -> Fail:
    def fail(*_: object) -> Any:
        raise make()

    return fail


def provider(**members: Any) -> dict[str, Any]:
    return {"provider": type("Broken", (Parrot,), members)()}


def extension(**members: Any) -> dict[str, Any]:
    return {"extensions": [type("Broken", (), members)()]}


def hook(fail: Fail) -> Any:
    return hookimpl(lambda self: fail())


class Decoder:
    ended = False

    def feed(self, data: bytes) -> list[providerkit.Event]:
        return []

    def close(self) -> list[providerkit.Event]:
        return [Finish("stop")]


def decoder(**members: Any) -> dict[str, Any]:
    return provider(parse_stream=hookimpl(lambda self: type("Broken", (Decoder,), members)()))


class Canned:
    """A transport that answers from memory."""

    source = "cassette"
    head = ResponseHead(200)

    def send(self, request: providerkit.Request) -> Canned:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        pass

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b'data: "a"\n\n'


def transport(**members: Any) -> dict[str, Any]:
    canned = type("Broken", (Canned,), members)()

    def wrap_transport(self: object) -> Any:
        yield
        return canned

    return extension(wrap_transport=hookimpl(wrapper=True)(wrap_transport))


def transport_wrapper(**members: Any) -> dict[str, Any]:
    def wrap_transport(self: object) -> Any:
        return type("Broken", (providerkit.TransportWrapper,), members)((yield))

    return extension(wrap_transport=hookimpl(wrapper=True)(wrap_transport))


def wrapper(fail: Fail) -> Any:
    def wrap(self: object) -> Any:
        yield
        return fail()

    return hookimpl(wrapper=True)(wrap)


def asynchronous(fail: Fail) -> Any:
    async def method(self: object, *_: object) -> Any:
        return fail()

    return method


def chunks(fail: Fail) -> Any:
    async def pieces(self: object) -> AsyncIterator[bytes]:
        yield b'data: "a"\n\n'
        fail()

    return pieces


def observer(name: str) -> Callable[[Fail], dict[str, Any]]:
    def watch(fail: Fail) -> dict[str, Any]:
        watching = type("Broken", (), {name: fail})()
        return extension(observe=hookimpl(lambda self: watching))

    return watch


def clock(**members: Any) -> dict[str, Any]:
    return {"clock": type("Broken", (HandClock,), members)()}


# Each place where code of others runs, and what comes of the run: an error, or its answer.
ERROR = providerkit.PluginError
PLACES: dict[str, tuple[Callable[[Fail], dict[str, Any]], object]] = {
    "describe": (lambda fail: provider(describe=hook(fail)), ERROR),
    "resolve_model": (lambda fail: provider(resolve_model=hook(fail)), ERROR),
    "build_request": (lambda fail: provider(build_request=hook(fail)), ERROR),
    "parse_stream": (lambda fail: provider(parse_stream=hook(fail)), ERROR),
    "parse_error": (lambda fail: provider(parse_error=hook(fail)) | {"base_url": "/refused"}, ERROR),
    "a wrapper": (lambda fail: extension(build_request=wrapper(fail)), ERROR),
    "feed": (lambda fail: decoder(feed=fail), ERROR),
    "close": (lambda fail: decoder(close=fail), ERROR),
    "ended": (lambda fail: decoder(ended=property(fail)), ERROR),
    "parse": (
        lambda fail: provider(parse_stream=hookimpl(lambda self: providerkit.EventStream(fail))),
        ERROR,
    ),
    "observe": (lambda fail: extension(observe=hook(fail)), ERROR),
    "wrap_transport": (lambda fail: extension(wrap_transport=wrapper(fail)), ERROR),
    "send": (lambda fail: transport(send=fail), ERROR),
    "send, looked up": (lambda fail: transport(send=property(fail)), ERROR),
    "entering": (lambda fail: transport(__aenter__=asynchronous(fail)), ERROR),
    "leaving": (lambda fail: transport(__aexit__=asynchronous(fail)), "a"),
    "head": (lambda fail: transport(head=property(fail)), ERROR),
    "source": (lambda fail: transport(source=property(fail)), ERROR),
    "chunks": (lambda fail: transport(chunks=fail), ERROR),
    "a chunk": (lambda fail: transport(chunks=chunks(fail)), ERROR),
    "before": (lambda fail: transport_wrapper(before=asynchronous(fail)), ERROR),
    "response": (lambda fail: transport_wrapper(response=fail), ERROR),
    "after": (lambda fail: transport_wrapper(after=asynchronous(fail)), "a"),
    "after a refusal": (
        lambda fail: transport_wrapper(after=asynchronous(fail)) | {"base_url": "/refused"},
        providerkit.BadRequest,
    ),
    "now": (lambda fail: clock(now=fail), ERROR),
    "call_later": (lambda fail: clock(call_later=fail), ERROR),
    "sleep": (lambda fail: clock(sleep=asynchronous(fail)) | {"base_url": "/overloaded"}, ERROR),
    "jitter": (lambda fail: clock(jitter=fail) | {"base_url": "/overloaded"}, ERROR),
    **{f"observer's {name}": (observer(name), "a") for name in ("attempt", "head", "events", "finish", "__getattr__")},
    "observer's retry": (lambda fail: observer("retry")(fail) | {"base_url": "/sometimes"}, "a"),
    "observer's error": (
        lambda fail: observer("error")(fail) | {"base_url": "/refused"},
        providerkit.BadRequest,
    ),
}
ALL = [pytest.param(place, kind, id=f"{place} raises {kind}") for place in PLACES for kind in KINDS]


@attrs.define
class Birds:
    """A server: one run streams until `let_go`, others are answered by their path."""

    let_go: asyncio.Event = attrs.field(factory=asyncio.Event)
    refusals: int = 0

    async def answer(self, received: Received, writer: asyncio.StreamWriter) -> None:
        text = loads(received.body)["text"]
        if text == "innocent":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + b'data: "one"\n\n')
            await self.let_go.wait()
            writer.write(b'data: "two"\n\ndata: [DONE]\n\n')
            writer.close()
        elif received.path.startswith("/refused"):
            writer.write(http(b"no", status=400))
        elif received.path.startswith("/overloaded") or (received.path.startswith("/sometimes") and not self.refusals):
            self.refusals += 1
            writer.write(http(b"no", status=529))
        else:
            writer.write(http(b'data: "a"\n\n'))


def prepare(place: str, kind: str, base_url: str) -> tuple[providerkit.Client, dict[str, Any], object]:
    arrange, outcome = PLACES[place]
    options = {"provider": Parrot} | arrange(failing(KINDS[kind]))
    tries = place in {"sleep", "jitter", "observer's retry"}
    settings = {"clock": options.pop("clock", None) or HandClock(), "retry": None if tries else ONCE}
    return providerkit.Client(**settings), options | {"base_url": base_url + options.get("base_url", "")}, outcome


def see(outcome: object, kind: str, result: object) -> None:
    if isinstance(outcome, str):
        assert result == outcome
        return
    assert type(result) is outcome
    assert isinstance(result, providerkit.ProviderKitError)
    assert (result.__cause__, result.__context__) == (None, None)
    if outcome is ERROR:
        names = {type(KINDS[kind]()).__name__, "RuntimeError"}  # of a coroutine that raises StopIteration
        assert [name for name in names if name in str(result)] != []


@asynccontextmanager
async def bystander() -> AsyncIterator[str]:
    birds = Birds()
    async with serve(birds.answer) as server:
        texts = aiter(providerkit.run("innocent", provider=Macaw, base_url=server.base_url))
        assert await anext(texts) == "one"
        yield server.base_url
        birds.let_go.set()
        assert [text async for text in texts] == ["two"]


@pytest.mark.parametrize(("place", "kind"), ALL)
async def test_what_code_of_others_raises_ends_its_own_run_alone(place: str, kind: str):
    async with bystander() as base_url:
        client, options, outcome = prepare(place, kind, base_url)
        async with client:
            try:
                result: object = (await client.run("broken", **options)).text
            except providerkit.ProviderKitError as error:
                result = error
    see(outcome, kind, result)


@pytest.mark.parametrize(("place", "kind"), ALL)
def test_what_code_of_others_raises_ends_its_own_run_alone_for_blocking_callers(place: str, kind: str):
    birds = Birds()
    home = sync.loop_thread()
    with serve_elsewhere(birds.answer) as server:
        texts = iter(providerkit.run("innocent", provider=Macaw, base_url=server.base_url))
        assert next(texts) == "one"
        client, options, outcome = prepare(place, kind, server.base_url)
        with client:
            try:
                result: object = "".join(client.run("broken", **options))
            except providerkit.ProviderKitError as error:
                result = error
        home.loop.call_soon_threadsafe(birds.let_go.set)
        assert list(texts) == ["two"]
    assert sync.loop_thread() is home
    see(outcome, kind, result)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["build_models_request", "parse_models"])
async def test_what_is_raised_while_models_are_listed_is_an_error_of_the_plugin(place: str, kind: str):
    members: dict[str, Any] = {
        "build_models_request": hookimpl(lambda self, endpoint: providerkit.Request("GET", endpoint.url("/models")))
    }
    broken = provider(**members | {place: hook(failing(KINDS[kind]))})["provider"]
    async with serve(http(b"[]")) as server:
        with pytest.raises(ERROR):
            await providerkit.provider(broken).models(base_url=server.base_url)


# What is the caller's own goes on as it is.


def test_an_interrupt_of_the_user_stays_one():
    def interrupt(self: object) -> Any:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        providerkit.run("hi", **provider(resolve_model=hookimpl(interrupt)))


def test_an_interrupt_that_a_plugin_raises_again_stays_one():
    def interrupt(self: object) -> Any:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("stopped") from None

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        providerkit.run("hi", **provider(resolve_model=hookimpl(interrupt)))


class Leaving:
    def __call__(self, number: int, frame: object) -> None:
        raise SystemExit(number)

    def method(self, number: int, frame: object) -> None:
        raise SystemExit(number)


def leave(number: int, frame: object) -> None:
    raise SystemExit(number)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows lacks this signal")
@pytest.mark.parametrize("handler", [leave, Leaving(), Leaving().method, partial(leave)])
def test_what_a_signal_handler_raises_is_the_users(handler: Any):
    def asked(self: object) -> Any:
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(SystemExit) as caught:
            providerkit.run("hi", **provider(resolve_model=hookimpl(asked)))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert caught.value.code == signal.SIGUSR1


def test_an_interrupt_on_the_loop_of_the_user_stays_one():
    def interrupt(self: object) -> Any:
        signal.raise_signal(signal.SIGINT)

    async def ask() -> None:
        await providerkit.run("hi", **provider(build_request=hookimpl(interrupt)))

    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(ask())
    finally:
        loop.close()


@pytest.mark.parametrize("place", ["entering", "a chunk"])
async def test_a_cancelled_task_stays_cancelled(place: str):
    waits = asyncio.Event()

    async def wait(self: object) -> Any:
        waits.set()
        await asyncio.Event().wait()

    async def wait_for_chunks(self: object) -> AsyncIterator[bytes]:
        yield b'data: "a"\n\n'
        await wait(self)

    members = {"entering": {"__aenter__": wait}, "a chunk": {"chunks": wait_for_chunks}}[place]
    task = asyncio.ensure_future(providerkit.run("hi", provider=Parrot, **transport(**members)))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_coroutine_that_is_closed_is_closed():
    async def wait(self: object) -> Any:
        await asyncio.sleep(0)

    async def ask() -> None:
        await providerkit.run("hi", provider=Parrot, **transport(__aenter__=wait))

    coroutine = ask()
    coroutine.send(None)
    coroutine.close()


def test_on_another_thread_no_interrupt_is_the_users():
    ends: list[object] = []

    def work() -> None:
        try:
            signal.default_int_handler(signal.SIGINT, None)
        except KeyboardInterrupt as error:
            ends.append(claim(error) is error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ends == [True]


async def test_nobody_has_cancelled_a_task_unless_it_was_asked_to_end():
    assert not is_cancelled()
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    assert is_cancelled()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    task.uncancel()


def test_without_a_loop_nothing_is_cancelled():
    assert not is_cancelled()


def test_an_error_is_described_though_it_can_not_be_shown():
    assert (describe(ValueError("no")), describe(Wordless())) == (
        "ValueError: no",
        "Wordless, which can't be shown",
    )
