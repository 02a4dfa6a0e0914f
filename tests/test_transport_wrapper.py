"""The base for wrappers of transports: what is called when, and what is left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import attrs
import pytest
from asking import ask, failure
from loopback import chunked, http, serve
from parrots import Macaw

import providerkit
from providerkit import Request, Response, ResponseHead, Transport, TransportWrapper, hookimpl

REQUEST = Request("POST", "http://parrot.invalid/say", {}, b"{}")
A, DONE = b'data: "a"\n\n', b"data: [DONE]\n\n"


@attrs.define(eq=False)
class Canned:
    """A transport and its response, which notes what happens to it in `course`."""

    course: list[Any]
    entering: BaseException | None = None
    leaving: BaseException | None = None
    handles: bool | None = None
    head: ResponseHead = ResponseHead(200)
    source: str = "cassette"

    def send(self, request: Request) -> Self:
        self.course.append(("send", request))
        return self

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0)
        if self.entering:
            raise self.entering
        self.course.append("entered")
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> bool | None:
        self.course.append(("left", kind, error, trace))
        await asyncio.sleep(0)
        if self.leaving:
            raise self.leaving
        return self.handles

    async def chunks(self) -> AsyncIterator[bytes]:
        yield A + DONE


class Noting(TransportWrapper):
    """A wrapper that notes each call, and answers or raises what it is given."""

    def __init__(self, inner: Canned, **does: Any) -> None:
        super().__init__(inner)
        self.course, self.does = inner.course, does

    async def before(self, request: Request) -> Response | None:
        await asyncio.sleep(0)
        self.course.append(("before", request))
        return self._do("before")

    def response(self, response: Response) -> Response:
        self.course.append(("response", response))
        return self._do("response") or response

    async def after(self, request: Request, response: Response | None, failure: BaseException | None) -> None:
        self.course.append(("after", request, response, failure))
        await asyncio.sleep(0)
        self._do("after")

    def _do(self, method: str) -> Any:
        what = self.does.get(method)
        if isinstance(what, BaseException):
            raise what
        return what


async def test_a_wrapper_that_overrides_nothing_changes_nothing():
    inner = Canned([])
    async with TransportWrapper(inner).send(REQUEST) as response:
        assert response is inner
    assert inner.course == [("send", REQUEST), "entered", ("left", None, None, None)]


async def test_a_complete_answer_goes_through_all_three_methods():
    inner, other = Canned([]), Canned([])
    async with Noting(inner, response=other).send(REQUEST) as response:
        assert response is other
    assert inner.course == [
        ("before", REQUEST),
        ("send", REQUEST),
        "entered",
        ("response", inner),
        ("left", None, None, None),
        ("after", REQUEST, other, None),
    ]


async def test_an_answer_from_before_is_delivered_and_nothing_is_sent():
    inner, kept = Canned([]), Canned([])
    async with Noting(inner, before=kept).send(REQUEST) as response:
        assert response is kept
    assert inner.course == [("before", REQUEST), ("after", REQUEST, kept, None)]
    assert kept.course == []


@pytest.mark.parametrize("answered", [False, True], ids=["sent", "answered"])
async def test_a_failure_of_the_run_reaches_the_inner_transport_and_after(answered: bool):
    inner, kept, broken = Canned([]), Canned([]), providerkit.StreamMalformed("no JSON")
    with pytest.raises(providerkit.StreamMalformed) as raised:
        async with Noting(inner, before=kept if answered else None).send(REQUEST):
            raise broken
    assert raised.value is broken
    left = [step for step in inner.course if step[0] == "left"]
    assert [step[1:3] for step in left] == ([] if answered else [(providerkit.StreamMalformed, broken)])
    assert all(trace is not None for *_, trace in left)
    assert inner.course[-1] == ("after", REQUEST, kept if answered else inner, broken)


async def test_what_before_raises_sends_nothing():
    inner = Canned([])
    with pytest.raises(LookupError):
        await Noting(inner, before=LookupError()).send(REQUEST).__aenter__()
    assert inner.course == [("before", REQUEST)]


async def test_a_request_that_could_not_be_sent_has_no_response():
    refused = providerkit.ConnectError("refused")
    inner = Canned([], entering=refused)
    with pytest.raises(providerkit.ConnectError) as raised:
        await Noting(inner).send(REQUEST).__aenter__()
    assert raised.value is refused
    assert inner.course == [("before", REQUEST), ("send", REQUEST), ("after", REQUEST, None, refused)]


async def test_what_response_raises_leaves_the_inner_transport_once():
    inner, broken = Canned([], handles=True), LookupError()
    with pytest.raises(LookupError):
        await Noting(inner, response=broken).send(REQUEST).__aenter__()
    steps = [step if isinstance(step, str) else step[0] for step in inner.course]
    assert steps == ["before", "send", "entered", "response", "left", "after"]
    assert inner.course[-2][1:3] == (LookupError, broken)
    assert inner.course[-1] == ("after", REQUEST, None, broken)


@pytest.mark.parametrize("turns", range(7))
async def test_a_cancelled_request_leaves_nothing_open(turns: int):
    """Wherever the cancellation comes: each enter has its leave, each request that was sent its `after`."""
    inner = Canned([])

    async def enter() -> None:
        async with Noting(inner).send(REQUEST):
            await asyncio.sleep(0)

    task = asyncio.create_task(enter())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    steps = [step if isinstance(step, str) else step[0] for step in inner.course]
    assert steps.count("entered") == steps.count("left")
    assert steps.count("send") == steps.count("after")


async def test_what_after_raises_hides_no_failure(caplog: pytest.LogCaptureFixture):
    refused, key = providerkit.ConnectError("refused"), ValueError("sk-0123")
    with pytest.raises(providerkit.ConnectError):
        await Noting(Canned([], entering=refused), after=key).send(REQUEST).__aenter__()
    with pytest.raises(LookupError):
        async with Noting(Canned([]), after=key).send(REQUEST):
            raise LookupError
    async with Noting(Canned([]), after=key).send(REQUEST):
        pass
    assert caplog.messages == ["Noting: after raised ValueError"] * 3
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize("failed", [None, LookupError()], ids=["complete", "failed"])
async def test_after_is_called_though_the_inner_transport_breaks_on_leaving(failed: LookupError | None):
    inner = Canned([], leaving=EOFError())
    sending = Noting(inner).send(REQUEST)
    await sending.__aenter__()
    with pytest.raises(EOFError):
        await sending.__aexit__(type(failed) if failed else None, failed, None)
    assert inner.course[-1] == ("after", REQUEST, inner, failed)


async def test_what_the_inner_transport_handles_is_handled():
    inner = Canned([], handles=True)
    async with Noting(inner).send(REQUEST):
        raise LookupError
    assert isinstance(inner.course[-1][-1], LookupError)


async def test_requests_go_through_one_wrapper_side_by_side():
    inner = Canned([])
    wrapper = Noting(inner)
    requests = [attrs.evolve(REQUEST, body=b"%d" % number) for number in range(3)]
    sendings = [wrapper.send(request) for request in requests]
    await asyncio.gather(*(sending.__aenter__() for sending in sendings))
    await asyncio.gather(*(sending.__aexit__(None, None, None) for sending in sendings))
    assert [step[1] for step in inner.course if step[0] == "after"] == requests


# In a run


class Wrapped:
    """An extension whose wrapper notes how each request ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[bool, type[BaseException] | None]] = []

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Iterator[None]:
        inner = yield
        return Ends(inner, self)


class Ends(TransportWrapper):
    def __init__(self, inner: Transport, wrapped: Wrapped) -> None:
        super().__init__(inner)
        self.wrapped = wrapped

    async def after(self, request: Request, response: Response | None, failure: BaseException | None) -> None:
        self.wrapped.ends.append((response is not None, type(failure) if failure else None))


async def test_after_learns_how_a_run_ended():
    wrapped = Wrapped()
    async with serve(chunked(A, DONE)) as server:
        assert (await ask(server.base_url, Macaw, extensions=[wrapped])).text == "a"
    async with serve(chunked(A, end=False)) as server:
        texts = aiter(providerkit.run("Hello", provider=Macaw, base_url=server.base_url, extensions=[wrapped]))
        await anext(texts)
        await texts.aclose()
    await failure(providerkit.ConnectError, ask(server.base_url, Macaw, extensions=[wrapped]))
    async with serve(http(b"{}", status=500)) as server:
        await failure(providerkit.ServerError, ask(server.base_url, Macaw, extensions=[wrapped]))
    assert wrapped.ends == [
        (True, None),
        (True, asyncio.CancelledError),
        (False, providerkit.ConnectError),
        (True, providerkit.ServerError),
    ]
