"""The exchange, over real sockets: what an answer, good or bad, becomes, and what the caller learns of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import attrs
import pytest
from asking import KEY, ONCE, Told, ask, failure, on_the_wire
from clocks import HandClock
from loopback import Handler, Received, chunked, http, reset, serve
from parrots import Macaw, Parrot

import providerkit
from providerkit import (
    ByContent,
    EventStream,
    Finish,
    JSONBody,
    Limits,
    Model,
    ProviderError,
    Request,
    ResponseHead,
    TextDelta,
    Usage,
    hookimpl,
    loads,
)
from providerkit.engine import answer as answers

A, B, DONE = b'data: "a"\n\n', b'data: "b"\n\n', b"data: [DONE]\n\n"


STATUSES = {
    300: ProviderError,
    304: ProviderError,
    400: providerkit.BadRequest,
    401: providerkit.AuthenticationError,
    402: providerkit.QuotaExhausted,
    403: providerkit.AuthenticationError,
    404: providerkit.NotFound,
    405: ProviderError,
    408: ProviderError,
    409: ProviderError,
    413: ProviderError,
    418: ProviderError,
    422: providerkit.BadRequest,
    429: providerkit.RateLimited,
    498: ProviderError,
    500: providerkit.ServerError,
    502: providerkit.ServerError,
    503: providerkit.ServerError,
    504: providerkit.ServerError,
    520: providerkit.ServerError,
    529: providerkit.Overloaded,
}
BODIES = {
    "empty": b"",
    "html": f"<html><h1>Sorry</h1>{KEY}</html>".encode(),
    "list": b'[{"error": {"code": 429, "message": "Quota exceeded"}}]',
    "truncated": b'{"error": {"message": "Quota exc',
    "2 MiB": b"x" * 2**21,
}


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
async def test_every_status_is_its_error_whatever_the_body(status: int, kind: type[ProviderError]):
    for body in BODIES.values():
        if status == 304 and body:
            continue  # it has none
        seen: list[tuple[int, bytes]] = []
        mute = on_the_wire(Parrot, parse_error=hookimpl(lambda self, head, body, s=seen: s.append((head.status, body))))
        async with serve(http(body, status=status)) as server:
            error = await failure(kind, ask(server.base_url, mute))
        assert (error.status, error.provider, str(status) in str(error)) == (status, "parrot", True)
        assert seen == [(status, body[: 2**20])]


def placed(base_path=None, default=None):
    """Describe a Parrot whose base URLs usually end in some path."""
    info = providerkit.ProviderInfo("parrot", base_path=base_path, default_base_url=default)
    return lambda: on_the_wire(Census, describe=hookimpl(lambda self: info))


@pytest.mark.parametrize(
    ("provider", "path", "lacks"),
    [
        (placed(), "", None),
        (placed(default="https://parrot.example/api"), "", None),
        (placed("/v1"), "", "/v1"),
        (placed("/v1"), "/v2/", None),
        (placed(default="https://parrot.example/api/v1"), "/api", "/api/v1"),
        (placed(default="https://parrot.example/api/v1"), "/v1beta", None),
        (placed(default="https://parrot.example/api/v1"), "/vendor", "/api/v1"),
    ],
)
async def test_a_404_names_the_address_and_what_the_base_url_may_lack(provider, path, lacks):
    async with serve(http(b"", status=404)) as server:
        url = f"{server.base_url}{path}"
        error = await failure(providerkit.NotFound, ask(url, provider()))
        listing = await failure(providerkit.NotFound, models(url, provider()))
    hint = f"; does base_url lack {lacks} at its end?" if lacks else ""
    assert str(error) == f"parrot: 404: Not Found (at {url.rstrip('/')}/say){hint}"
    assert str(listing) == f"parrot: 404: Not Found (at {url.rstrip('/')}/models){hint}"


async def test_the_provider_knows_its_errors_and_the_core_fills_in_what_it_leaves_open():
    def parse_error(self: object, head: ResponseHead, body: bytes) -> ProviderError:
        (item,) = loads(body)
        return providerkit.QuotaExhausted(item["error"]["message"] + KEY, code=KEY)

    answer = http(BODIES["list"], status=429, Retry_After="1.5", X_Request_ID="r-1")
    async with serve(answer) as server:
        error = await failure(
            providerkit.QuotaExhausted, ask(server.base_url, on_the_wire(Parrot, parse_error=hookimpl(parse_error)))
        )
    assert str(error) == "parrot: 429: Quota exceeded***"
    assert (error.status, error.provider, error.request_id, error.retry_after) == (429, "parrot", "r-1", 1.5)


@pytest.mark.parametrize(("status", "kind"), [(400, providerkit.BadRequest), (503, providerkit.ServerError)])
@pytest.mark.parametrize(
    "body", [b"<html>", b"", b'{"error": "no', b"\xff", b"[" * 100_000], ids=lambda body: repr(body[:12])
)
async def test_an_error_body_that_the_provider_cant_read_leaves_the_error_of_its_status(
    body: bytes, status: int, kind: type[ProviderError]
):
    careless = on_the_wire(Parrot, parse_error=hookimpl(lambda self, body: ProviderError(loads(body)["error"])))
    async with serve(http(body, status=status, Retry_After="9")) as server:
        error = await failure(kind, ask(server.base_url, careless))
    assert (error.status, error.retry_after) == (status, 9)


def sink(value: Any) -> ProviderError:
    return sink(value)


@pytest.mark.parametrize(
    ("parse_error", "body"),
    [
        (lambda self, body: ProviderError(json.loads(body)["error"]), b"<html>"),
        (lambda self, body: ProviderError(json.loads(body)["error"]), b"[" * 100_000),
        (lambda self, body: ProviderError(body.decode()), b"\xff"),
        (lambda self, body: sink(loads(body)), b"[" * 900 + b"]" * 900),
    ],
    ids=["no JSON", "deep JSON", "no UTF-8", "deep values"],
)
async def test_no_body_that_a_plugin_cant_read_hides_a_status(parse_error: Any, body: bytes):
    careless = on_the_wire(Parrot, parse_error=hookimpl(parse_error))
    async with serve(http(body, status=401)) as server:
        error = await failure(providerkit.AuthenticationError, ask(server.base_url, careless))
    assert error.status == 401


async def test_an_error_that_parse_error_raises_is_completed_as_one_that_it_returns():
    def parse_error(self: object, body: bytes) -> ProviderError:
        raise providerkit.QuotaExhausted("no more")

    async with serve(http(b"no", status=429, Retry_After="7", X_Request_ID="r-1")) as server:
        error = await failure(
            providerkit.QuotaExhausted, ask(server.base_url, on_the_wire(Parrot, parse_error=hookimpl(parse_error)))
        )
    assert (error.status, error.provider, error.request_id, error.retry_after) == (429, "parrot", "r-1", 7.0)


def refused(rest: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 401 No", *headers, b"", rest))


CHUNKS, GZIP = b"Transfer-Encoding: chunked", b"Content-Encoding: gzip"
BROKEN = {
    "no size of a chunk": refused(b"what\r\n", CHUNKS),
    "a chunk cut short": refused(b"9\r\nno", CHUNKS),
    "no last chunk": refused(b"2\r\nno\r\n", CHUNKS),
    "a huge chunk": refused(b"f" * 20 + b"\r\nno", CHUNKS),
    "a length not reached": refused(b"no", b"Content-Length: 9"),
    "no gzip": refused(b"no gzip at all", GZIP, b"Content-Length: 14"),
    "no gzip, in chunks": refused(b"2\r\nno\r\n0\r\n\r\n", GZIP, CHUNKS),
    "no end": refused(b"no"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("packets", [1, 2])
@pytest.mark.parametrize("end", ["FIN", "RST", "silence"])
@pytest.mark.parametrize("asks", ["chat", "models"])
async def test_no_fault_of_its_body_hides_a_status(
    answer: bytes, packets: int, end: str, asks: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answers, "ERROR_BODY", 0.01 if end == "silence" else 60.0)
    head, blank, rest = answer.partition(b"\r\n\r\n")

    async def refuse(received: Received, writer: asyncio.StreamWriter) -> None:
        for packet in [head + blank, rest] if packets == 2 else [answer]:
            writer.write(packet)
            for _ in range(5):
                await asyncio.sleep(0)
        if end == "RST":
            reset(writer)
        elif end == "FIN":
            writer.close()

    async with serve(refuse) as server, providerkit.Client() as client:
        if asks == "chat":
            asked: Any = client.run("hi", provider=Census, base_url=server.base_url)
        else:
            asked = client.provider(Census).models(base_url=server.base_url)
        error = await failure(providerkit.AuthenticationError, asked)
    assert (error.status, error.provider, len(server.requests)) == (401, "parrot", 1)


async def test_a_clock_that_fires_while_the_body_of_an_error_comes_hides_no_status():
    clock = HandClock()

    async def stall(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(refused(b"n", b"Content-Length: 9"))
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(3600)
        writer.write(b"o")
        await asyncio.sleep(0)
        writer.close()

    timeouts = providerkit.Timeouts(first_event=1, idle=1, total=2)
    async with serve(stall) as server, providerkit.Client(clock=clock, timeouts=timeouts) as client:
        await failure(providerkit.AuthenticationError, client.run("hi", provider=Census, base_url=server.base_url))
        await failure(providerkit.AuthenticationError, client.provider(Census).models(base_url=server.base_url))


async def test_a_page_at_200_that_the_provider_cant_read_is_what_its_decoder_says_of_it():
    careless = on_the_wire(Chooser, parse_error=hookimpl(lambda self, body: ProviderError(loads(body)["error"])))
    async with serve(http(b"<html>", content_type="text/html")) as server:
        error = await failure(providerkit.UnexpectedContent, ask(server.base_url, careless))
    assert "<html>" in str(error)


async def test_what_the_provider_says_of_its_error_stands():
    said = providerkit.RateLimited(
        "no", status=418, request_id="own", retry_after=0.0, should_retry=False, provider="flock"
    )
    own = on_the_wire(Parrot, parse_error=hookimpl(lambda self: said))
    answer = http(status=429, Retry_After="9", X_Request_ID="r-1", X_Should_Retry="true")
    async with serve(answer) as server:
        error = await failure(providerkit.RateLimited, ask(server.base_url, own))
    assert error is said
    assert (error.status, error.request_id, error.retry_after, error.provider) == (418, "own", 0.0, "flock")
    assert error.should_retry is False


async def test_words_that_are_too_many_to_read_are_cut_after_the_key_is_hidden():
    words = "x" * 9_997 + KEY + "x" * 2**19
    wordy = on_the_wire(Parrot, parse_error=hookimpl(lambda self, body: providerkit.BadRequest(body.decode())))
    async with serve(http(words.encode(), status=400)) as server:
        error = await failure(providerkit.BadRequest, ask(server.base_url, wordy))
    assert str(error) == f"parrot: 400: {'x' * 9_997}*** …"


@pytest.mark.parametrize(
    ("headers", "request_id", "wait"),
    [
        ({}, None, None),
        ({"request-id": "r-2", "retry-after-ms": "250", "retry-after": "9"}, "r-2", 0.25),
        ({"retry-after": "soon"}, None, None),
    ],
)
async def test_an_error_has_request_id_and_waiting_time_from_its_headers(
    headers: dict[str, str], request_id: str | None, wait: float | None
):
    async with serve(http(status=503, **headers)) as server:
        error = await failure(providerkit.ServerError, ask(server.base_url))
    assert (error.request_id, error.retry_after) == (request_id, wait)


@pytest.mark.parametrize("end", ["stalls", "is cut", "is reset"])
async def test_an_error_whose_body_has_no_end_is_told_all_the_same(end: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answers, "ERROR_BODY", 0.01 if end == "stalls" else 60)
    seen: list[bytes] = []
    mute = on_the_wire(Parrot, parse_error=hookimpl(lambda self, body: seen.append(body)))

    async def refuse(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"busy", status=503).replace(b"Length: 4", b"Length: 9"))
        if end == "is cut":
            writer.close()
        elif end == "is reset":
            await asyncio.sleep(0)
            reset(writer)

    async with serve(refuse) as server:
        error = await failure(providerkit.ServerError, ask(server.base_url, mute))
        await server.closed.get()
    assert (error.status, seen) == (503, [b"busy"])


class Chooser(Parrot):
    """Take an event stream or JSON, and know the error object."""

    @hookimpl
    def parse_stream(self, head: ResponseHead) -> ByContent:
        stream = EventStream(lambda data, event: [TextDelta(loads(data))], end=Finish("stop"))
        return ByContent(head, stream=stream, body=JSONBody(self.parse))

    def parse(self, value: Any) -> list[TextDelta]:
        if "error" in value:
            raise ProviderError(value["error"] + KEY)
        return [TextDelta(value["text"])]


Typed = on_the_wire(Chooser, parse_error=hookimpl(lambda self, head, body: ProviderError(body.decode())))
TypedStream = on_the_wire(Parrot, parse_error=hookimpl(lambda self, head, body: ProviderError(body.decode())))


@pytest.mark.parametrize(
    ("provider", "body", "kind"),
    [
        pytest.param(Chooser, b"<html>", providerkit.UnexpectedContent, id="html, choosing"),
        pytest.param(Chooser, b"", providerkit.StreamTruncated, id="empty, choosing"),
        pytest.param(Chooser, b'{"error": "no"}', ProviderError, id="an error object"),
        pytest.param(Chooser, b'{"error": "n', providerkit.StreamTruncated, id="half an error object"),
        pytest.param(Chooser, b'{"error": ]}', providerkit.StreamMalformed, id="no JSON"),
        pytest.param(Parrot, b"<html>", providerkit.StreamTruncated, id="html, streaming"),
        pytest.param(Parrot, b"", providerkit.StreamTruncated, id="empty, streaming"),
        pytest.param(Parrot, b'{"error": "no"}', providerkit.StreamTruncated, id="an error object, streaming"),
        pytest.param(Parrot, b": ping\n\n", providerkit.StreamTruncated, id="comments alone"),
        pytest.param(Typed, b"<html>", ProviderError, id="html, typed"),
        pytest.param(Typed, b"", ProviderError, id="empty, typed"),
        pytest.param(TypedStream, b"<html>", ProviderError, id="html, streaming, typed"),
        pytest.param(TypedStream, b'{"error": "no"}', ProviderError, id="an error object, streaming, typed"),
    ],
)
@pytest.mark.parametrize("framed", [True, False])
async def test_a_good_status_is_no_success_of_its_own(
    provider: Any, body: bytes, kind: type[providerkit.ProviderKitError], framed: bool
):
    answer = http(body, content_type="text/html", framed=framed, X_Request_ID="r-1")
    async with serve(answer) as server:
        error = await failure(kind, ask(server.base_url, provider))
    assert error.partial == ""
    if kind in (ProviderError, providerkit.UnexpectedContent) and provider is not Chooser:
        assert (error.args, error.status, error.request_id) == ((body.decode(),), 200, "r-1")


async def test_no_content_is_no_answer():
    async with serve(b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        await failure(providerkit.StreamTruncated, ask(server.base_url))


@pytest.mark.parametrize("size", [1, 99, 100, 101, 2**20])
async def test_the_provider_sees_a_body_that_is_no_answer_up_to_the_cap(size: int):
    seen: list[bytes] = []
    mute = on_the_wire(Chooser, parse_error=hookimpl(lambda self, body: seen.append(body)))
    body = b"<" + b"x" * (size - 1)
    async with serve(http(body)) as server:
        await failure(providerkit.UnexpectedContent, ask(server.base_url, mute, limits=Limits(error_body=100)))
    assert seen == [body[:100]]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(A + b'data: "b', providerkit.StreamTruncated, id="in mid-event"),
        pytest.param(A + 'data: "ü'.encode()[:-1], providerkit.StreamTruncated, id="in mid-character"),
        pytest.param(A + b'data: {"', providerkit.StreamTruncated, id="in mid-JSON"),
        pytest.param(A + b"data: [DONE", providerkit.StreamTruncated, id="in the mark of the end"),
        pytest.param(A, providerkit.StreamTruncated, id="after a whole event"),
        pytest.param(A + b"data: what\n\n" + B + DONE, providerkit.StreamMalformed, id="no JSON"),
        pytest.param(A + b"data: \xff\n\n" + B + DONE, providerkit.StreamMalformed, id="no UTF-8"),
    ],
)
@pytest.mark.parametrize("framed", [True, False])
async def test_a_fault_after_good_events_is_an_error_that_holds_their_text(
    body: bytes, kind: type[providerkit.ProviderKitError], framed: bool
):
    texts = []
    async with serve(http(body, framed=framed)) as server, providerkit.Client() as client:
        run = client.run("hello", provider=Macaw, api_key=KEY, base_url=server.base_url)

        async def consume() -> None:
            async for text in run:
                texts.append(text)

        error = await failure(kind, consume())
    assert (texts, error.partial, run.reply.text, run.reply.finish_reason) == (["a"], "a", "a", None)


async def test_the_clean_end_of_a_body_ends_a_wire_without_a_mark():
    async with serve(http(A + b'data: "b"')) as server:
        reply = await ask(server.base_url)
    assert (reply.text, reply.finish_reason, reply.proven) == ("ab", "stop", True)


async def test_bytes_that_are_no_utf8_inside_a_string_become_replacement_characters():
    async with serve(http(b'data: "a\xffb"\n\n')) as server:
        assert (await ask(server.base_url)).text == "a\ufffdb"


@pytest.mark.parametrize("line", [b"x" * 1000, b": ping\n\n", b'data: ""\n'], ids=["line", "comments", "event"])
async def test_what_makes_no_event_is_capped(line: bytes):
    async def flood(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(A, end=False))
        while not writer.is_closing():
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            await writer.drain()
            await asyncio.sleep(0)

    async with serve(flood) as server:
        error = await failure(providerkit.StreamMalformed, ask(server.base_url, limits=Limits(event=10_000)))
        await server.closed.get()
    assert ("10000" in str(error), error.partial) == (True, "a")


async def test_the_cap_is_one_of_single_events():
    async with serve(in_turns(*[A[:5], A[5:]] * 10, end=lambda writer: writer.write(b"0\r\n\r\n"))) as server:
        assert (await ask(server.base_url, limits=Limits(event=len(A)))).text == "a" * 10


def parse_mynah(data: bytes, event: str) -> list[providerkit.Event]:
    match loads(data):
        case {"finish": reason}:
            return [Finish(reason)]
        case {"usage": tokens}:
            return [Usage(output_tokens=tokens)]
        case text:
            return [TextDelta(text)]


class Mynah(Macaw):
    """Say how it ended, and what it cost after that."""

    @hookimpl
    def parse_stream(self) -> EventStream:
        return EventStream(parse_mynah)


FINISH, USAGE = b'data: {"finish": "length"}\n\n', b'data: {"usage": 3}\n\n'


def in_turns(*pieces: bytes, end: Callable[[asyncio.StreamWriter], object] = lambda writer: None) -> Handler:
    """Write chunks so that each arrives alone, do what ends them, and keep the connection open."""

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(end=False))
        for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            for _ in range(5):
                await asyncio.sleep(0)
        end(writer)

    return answer


async def test_a_server_that_keeps_the_connection_open_after_its_mark_delays_nobody():
    async with serve(in_turns(A + DONE)) as server:
        reply = await ask(server.base_url, Macaw)
        await server.closed.get()
    assert (reply.text, reply.finish_reason, reply.proven) == ("a", "stop", True)


@pytest.mark.parametrize("pieces", [(A, FINISH, USAGE + DONE), (A + FINISH + USAGE + DONE,), (A, FINISH, USAGE, DONE)])
async def test_usage_may_follow_the_finish_reason(pieces: tuple[bytes, ...]):
    async with serve(in_turns(*pieces)) as server, providerkit.Client() as client:
        run = client.run("hello", provider=Mynah, base_url=server.base_url)
        events = [event async for event in run.events()]
    assert events == [TextDelta("a"), Usage(output_tokens=3), Finish("length")]
    assert (run.reply.usage, run.reply.finish_reason) == (Usage(output_tokens=3), "length")


ENDS: dict[str, Callable[[asyncio.StreamWriter], object]] = {
    "stalls": lambda writer: None,
    "is cut": lambda writer: writer.close(),
    "is reset": reset,
    "ends": lambda writer: writer.write(b"0\r\n\r\n"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_an_answer_whose_wire_has_said_the_end_is_whole_and_proven_if_its_body_ends(
    end: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(answers, "AFTER_END", 0.01 if end == "stalls" else 60.0)
    async with serve(in_turns(A, FINISH, USAGE, end=ENDS[end])) as server:
        reply = await ask(server.base_url, Mynah)
    assert (reply.text, reply.finish_reason, reply.proven) == ("a", "length", end == "ends")
    assert reply.usage == Usage(output_tokens=3)


async def test_a_finish_reason_before_an_unframed_end_is_not_proven():
    async with serve(http(A + FINISH, framed=False)) as server:
        reply = await ask(server.base_url, Mynah)
    assert (reply.text, reply.finish_reason, reply.proven) == ("a", "length", False)


STOP = b'data: {"finish": "stop"}\n\n'


@pytest.mark.parametrize("collected", [True, False])
@pytest.mark.parametrize(
    "pieces",
    [(FINISH, A, B, STOP + DONE), (FINISH + A, B, DONE), (A + FINISH, B + STOP, DONE), (FINISH, USAGE, A, B + STOP)],
    ids=["said again", "a mark", "between", "no mark"],
)
async def test_content_after_a_finish_reason_is_waited_for_and_given(
    pieces: tuple[bytes, ...], collected: bool, monkeypatch: pytest.MonkeyPatch
):
    end = (lambda writer: None) if DONE in pieces[-1] else ENDS["ends"]
    monkeypatch.setattr(answers, "AFTER_END", 60.0)
    async with serve(in_turns(*pieces, end=end)) as server, providerkit.Client(retry=ONCE) as client:
        run = client.run("hello", provider=Mynah, base_url=server.base_url)
        if collected:
            reply = await run
        else:
            assert [text async for text in run] == ["a", "b"]
            reply = run.reply
    assert (reply.text, reply.finish_reason, reply.proven) == ("ab", "length", True)


@pytest.mark.parametrize("pieces", [(FINISH,), (FINISH, USAGE), (FINISH, A), (A, FINISH, B)], ids=repr)
@pytest.mark.parametrize("end", ENDS)
async def test_an_early_finish_reason_proves_nothing(pieces: tuple[bytes, ...], end: str):
    """What goes on is waited for until a clock fires; what ends in good order is given."""
    clock = HandClock()
    text = b"".join(pieces).count(b'"a"') * "a" + b"".join(pieces).count(b'"b"') * "b"

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        await in_turns(*pieces, end=ENDS[end])(received, writer)
        if end == "stalls":
            for _ in range(20):
                await asyncio.sleep(0)
            clock.advance(61)
            await asyncio.Event().wait()

    async with serve(answer) as server:
        asked = ask(server.base_url, Mynah, clock=clock)
        if end == "ends":
            reply = await asked
            assert (reply.text, reply.finish_reason, reply.proven) == (text, "length", not text)
        else:
            kind = providerkit.TimedOut if end == "stalls" else providerkit.StreamTruncated
            error = await failure(kind, asked)
            assert error.partial == text


class Hasty:
    """A decoder that has ended with the first event, whatever comes."""

    def __init__(self) -> None:
        self._inner = EventStream(parse_mynah, end=Finish("stop"))
        self.ended = False

    def feed(self, data: bytes) -> list[providerkit.Event]:
        self.ended = True
        return self._inner.feed(data)

    def close(self) -> list[providerkit.Event]:
        return self._inner.close()


@pytest.mark.parametrize("end", ENDS)
async def test_the_grace_starts_anew_with_content_though_a_decoder_has_ended(end: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answers, "AFTER_END", 0.05 if end == "stalls" else 60.0)
    hasty = on_the_wire(Macaw, parse_stream=hookimpl(lambda self: Hasty()))
    async with serve(in_turns(A, B, A, end=ENDS[end])) as server:
        reply = await ask(server.base_url, hasty)
    assert (reply.text, reply.proven) == ("aba", end == "ends")


async def test_a_fault_behind_good_events_is_told_without_waiting_for_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answers, "AFTER_END", 60.0)
    async with serve(in_turns(A + b"data: what\n\n")) as server:
        run = ask(server.base_url, Macaw, timeouts=providerkit.Timeouts(idle=1))
        error = await failure(providerkit.StreamMalformed, run)
    assert error.partial == "a"


async def test_late_usage_that_is_no_json_is_an_error():
    async with serve(in_turns(A, FINISH, b"data: what\n\n")) as server:
        error = await failure(providerkit.StreamMalformed, ask(server.base_url, Mynah))
    assert error.partial == "a"


@pytest.mark.parametrize("pieces", [(A + DONE + B + b"data: what\n\n",), (A + DONE, B, b"data: what\n\n")])
async def test_what_follows_the_end_is_dropped(pieces: tuple[bytes, ...]):
    async with serve(in_turns(*pieces)) as server, providerkit.Client() as client:
        events = [event async for event in client.run("hi", provider=Macaw, base_url=server.base_url).events()]
    assert events == [TextDelta("a"), Finish("stop")]


def spill(*facts: object) -> Any:
    raise ValueError(f"it broke on {KEY!r}")


class Spilling:
    """A decoder that shows the key."""

    ended = False
    feed = close = spill


@attrs.define
class Forgetful:
    """A decoder that forgets the Finish."""

    last: list[providerkit.Event]
    ended: bool = False

    def feed(self, data: bytes) -> list[providerkit.Event]:
        return []

    def close(self) -> list[providerkit.Event]:
        return self.last


def no_text(data: bytes, event: str) -> list[TextDelta]:
    return [TextDelta(None)]  # type: ignore[arg-type]  # as plugins do


@pytest.mark.parametrize(
    ("status", "hook", "members"),
    [
        pytest.param(200, "build_request", {"build_request": hookimpl(lambda self: spill())}, id="build_request"),
        pytest.param(200, "parse_stream", {"parse_stream": hookimpl(lambda self: spill())}, id="parse_stream"),
        pytest.param(500, "parse_error", {"parse_error": hookimpl(lambda self: spill())}, id="parse_error"),
        pytest.param(200, None, {"parse_stream": hookimpl(lambda self: Spilling())}, id="a decoder"),
        pytest.param(200, None, {"parse_stream": hookimpl(lambda self: EventStream(spill))}, id="a parser"),
        pytest.param(
            200, None, {"parse_stream": hookimpl(lambda self: EventStream(no_text))}, id="a text that is none"
        ),
    ],
)
async def test_a_plugin_that_raises_is_blamed_and_shows_no_key(status: int, hook: str | None, members: dict[str, Any]):
    async with serve(http(A, status=status)) as server:
        error = await failure(providerkit.PluginError, ask(server.base_url, on_the_wire(Parrot, **members)))
    assert error.hook == hook
    assert error.plugin is not None
    assert "Traceback" in error.__notes__[0]


@pytest.mark.parametrize("last", [[], [TextDelta("a")]])
async def test_a_decoder_that_gives_no_finish_breaks_its_contract(last: list[providerkit.Event]):
    forgetful = on_the_wire(Parrot, parse_stream=hookimpl(lambda self: Forgetful(last)))
    async with serve(http(A)) as server:
        error = await failure(providerkit.PluginError, ask(server.base_url, forgetful))
    assert (error.hook, "Finish" in str(error)) == ("parse_stream", True)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>" + b"x" * 20 + KEY.encode(), providerkit.UnexpectedContent),
        (b"data: " + b"x" * 45 + KEY.encode() + b"\n\n", providerkit.StreamMalformed),
    ],
)
async def test_a_key_that_a_quotation_has_cut_is_not_shown(body: bytes, kind: type[providerkit.ProviderKitError]):
    async with serve(http(body * 2)) as server:
        error = await failure(kind, ask(server.base_url, Chooser))
    assert (KEY[:12] in str(error), "***" in str(error)) == (False, True)


async def test_a_key_in_a_header_of_the_callers_is_not_shown_either():
    async with serve(http(b"<html>other-KEY-0123</html>")) as server:
        run = ask(server.base_url, Chooser, headers={"X-Auth": "Basic other-KEY-0123"})
        await failure(providerkit.UnexpectedContent, run, "other-KEY-0123")


async def test_cancelling_is_a_cancelled_error_and_closes_the_connection():
    async with serve(in_turns(A)) as server, providerkit.Client() as client:
        run = client.run("hello", provider=Parrot, base_url=server.base_url)

        async def consume() -> None:
            async for _ in run:
                started.set()

        started = asyncio.Event()
        task = asyncio.create_task(consume())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.closed.get()
    assert [attempt.error for attempt in run.reply.attempts] == [None]
    assert (run.reply.text, run.reply.finish_reason) == ("a", None)


async def test_cancelling_before_the_head_closes_the_connection_too():
    async def silent(received: Received, writer: asyncio.StreamWriter) -> None:
        task.cancel()

    async with serve(silent) as server:
        task = asyncio.ensure_future(ask(server.base_url))
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.closed.get()


async def test_a_timeout_of_the_callers_around_a_run_is_the_callers():
    async def silent(received: Received, writer: asyncio.StreamWriter) -> None:
        deadline.reschedule(asyncio.get_running_loop().time())

    async with serve(silent) as server:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(None) as deadline:
                await ask(server.base_url)
        await server.closed.get()
    assert type(caught.value) is TimeoutError


class Watching:
    """Lend an observer to every run."""

    def __init__(self, observer: object) -> None:
        self.observer = observer

    @hookimpl
    def observe(self) -> object:
        return self.observer


async def test_an_observer_is_told_of_a_run_in_order():
    told = Told()
    async with serve(in_turns(A, B + DONE)) as server:
        reply = await ask(server.base_url, Macaw, extensions=[Watching(told)])
    (attempt, head, *batches, finish) = told.facts
    assert (attempt[:2], attempt[2].method) == (("attempt", "parrot/grey"), "POST")
    assert (head[0], head[1].status) == ("head", 200)
    assert batches == [("events", (TextDelta("a"),)), ("events", (TextDelta("b"), Finish("stop")))]
    assert finish == ("finish", reply)


async def test_an_observer_is_told_of_a_failure_as_the_caller_is():
    told = Told()
    async with serve(http(A + b"data: what\n\n")) as server:
        error = await failure(providerkit.StreamMalformed, ask(server.base_url, extensions=[Watching(told)]))
    assert [fact[0] for fact in told.facts] == ["attempt", "head", "events", "error"]
    assert told.facts[-1][1] is error


async def test_an_observer_is_told_of_a_run_that_never_got_an_answer():
    told = Told()
    await failure(providerkit.ConnectError, ask("http://nope.invalid", extensions=[Watching(told)]))
    assert [fact[0] for fact in told.facts] == ["attempt", "error"]


async def test_an_observer_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture):
    class Clumsy:
        attempt = head = events = finish = error = staticmethod(spill)

    told = Told()
    async with serve(http(A)) as server:
        reply = await ask(server.base_url, extensions=[Watching(Clumsy()), Watching(object()), Watching(told)])
        assert reply.text == "a"
        order = ["attempt", "head", "events", "events", "finish"]
        assert [fact[0] for fact in told.facts] == order
        assert caplog.messages == [f"observer Clumsy: {what} raised ValueError" for what in order]
        await failure(providerkit.StreamTruncated, ask(server.base_url, Macaw, extensions=[Watching(Clumsy())]))
    assert KEY not in caplog.text


async def test_the_log_says_how_runs_went_and_never_what_was_said(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "providerkit")
    async with serve(http(A)) as server:
        await ask(server.base_url)
    async with serve(http(f"{KEY} hello".encode(), status=500)) as server:
        await failure(providerkit.ServerError, ask(server.base_url))
    assert [message.partition(" in ")[0].partition(" from ")[0] for message in caplog.messages] == [
        "parrot/grey: 200",
        "parrot/grey: ended",
        "parrot/grey: 500",
        "parrot/grey: ServerError",
    ]
    assert [word for word in (KEY, "hello") if word in caplog.text] == []


@attrs.define
class Canned:
    """A transport that answers from memory, and may raise on being left."""

    status: int = 200
    leaving: Exception | None = None
    broken: Exception | None = None
    left: list[type[BaseException] | None] = attrs.field(factory=list)
    source: str = "cassette"

    @property
    def head(self) -> ResponseHead:
        return ResponseHead(self.status)

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            yield A
            if self.broken:
                raise self.broken
        finally:
            self.left.append(GeneratorExit)

    def send(self, request: Request) -> Canned:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        self.left.append(kind)
        if self.leaving:
            raise self.leaving


class Wrapping:
    """Put a transport in place of the network."""

    def __init__(self, transport: object) -> None:
        self.transport = transport

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Iterator[None]:
        yield
        return self.transport


async def test_an_answer_may_come_from_elsewhere_than_the_network():
    canned = Canned()
    reply = await ask("http://nope.invalid", extensions=[Wrapping(canned)])
    assert (reply.text, reply.proven, [attempt.source for attempt in reply.attempts]) == ("a", False, ["cassette"])
    assert canned.left == [GeneratorExit, None]


async def test_a_run_left_early_tells_the_transport_and_ends_its_chunks_at_once():
    canned = Canned()
    texts = aiter(providerkit.run("hello", provider=Parrot, extensions=[Wrapping(canned)]))
    await anext(texts)
    await texts.aclose()
    assert canned.left == [GeneratorExit, asyncio.CancelledError]


async def test_a_failed_run_tells_the_transport_why():
    canned = Canned(status=500)
    await failure(providerkit.ServerError, ask("http://nope.invalid", extensions=[Wrapping(canned)]))
    assert canned.left[-1] is providerkit.ServerError


async def test_a_transport_that_raises_is_an_error_that_shows_no_key():
    canned = Canned(broken=OSError(KEY))
    error = await failure(providerkit.PluginError, ask("http://nope.invalid", extensions=[Wrapping(canned)]))
    assert error.partial == "a"


async def test_a_transport_that_raises_on_leaving_takes_nothing_from_the_answer(caplog: pytest.LogCaptureFixture):
    canned = Canned(leaving=OSError(KEY))
    assert (await ask("http://nope.invalid", extensions=[Wrapping(canned)])).finish_reason == "stop"
    assert caplog.messages == ["parrot/grey: closing raised OSError"]


async def test_a_transport_is_left_though_its_chunks_raise_on_closing():
    canned = Canned()

    class Sticky(Canned):
        async def chunks(self):
            try:
                async for chunk in canned.chunks():
                    yield chunk
            finally:
                raise OSError

    sticky = Sticky()
    texts = aiter(providerkit.run("hello", provider=Parrot, extensions=[Wrapping(sticky)]))
    await anext(texts)
    await texts.aclose()
    assert sticky.left[-1] is asyncio.CancelledError


@pytest.mark.parametrize(
    "given",
    [["text"], "text", [Finish("stop"), TextDelta("late")], [Finish("stop"), Finish("stop")]],
    ids=["no events", "a string", "text after the end", "two ends"],
)
async def test_a_decoder_that_gives_what_is_no_answer_breaks_its_contract(given):
    class Careless:
        ended = False

        def feed(self, data):
            return given

        def close(self):
            return [Finish("stop")]

    provider = on_the_wire(Parrot, parse_stream=hookimpl(lambda self: Careless()))
    async with serve(http(A)) as server:
        error = await failure(providerkit.PluginError, ask(server.base_url, provider))
    assert "a decoder gave" in str(error)


@pytest.mark.parametrize("hook", ["build_request", "parse_stream"])
async def test_a_plugin_that_exits_does_not_take_the_program_with_it(hook):
    def leave(self):
        raise SystemExit(3)

    error = await failure(
        providerkit.PluginError,
        ask("http://nope.invalid", on_the_wire(Parrot, **{hook: hookimpl(leave)}), extensions=[Wrapping(Canned())]),
    )
    assert "SystemExit" in str(error)


async def test_an_observer_that_exits_does_not_take_the_program_with_it():
    class Leaving:
        def __getattr__(self, what):
            raise SystemExit(3)

    async with serve(http(A)) as server:
        assert (await ask(server.base_url, extensions=[Watching(Leaving())])).text == "a"


async def test_a_transport_that_exits_on_leaving_does_not_take_the_program_with_it():
    assert (await ask("http://nope.invalid", extensions=[Wrapping(Canned(leaving=SystemExit(3)))])).text == "a"


async def test_a_decoder_that_exits_does_not_take_the_program_with_it():
    def leave(data, event):
        raise SystemExit(3)

    provider = on_the_wire(Parrot, parse_stream=hookimpl(lambda self: EventStream(leave)))
    async with serve(http(A)) as server:
        await failure(providerkit.PluginError, ask(server.base_url, provider))


async def test_a_parse_that_gives_no_events_is_no_empty_success():
    provider = on_the_wire(Parrot, parse_stream=hookimpl(lambda self: EventStream(lambda data, event: loads(data))))
    async with serve(http(A + DONE)) as server:
        await failure(providerkit.PluginError, ask(server.base_url, provider))


async def test_a_transport_that_raises_on_leaving_hides_no_failure(caplog: pytest.LogCaptureFixture):
    canned = Canned(status=500, leaving=OSError(KEY))
    await failure(providerkit.ServerError, ask("http://nope.invalid", extensions=[Wrapping(canned)]))
    texts = aiter(providerkit.run("hello", provider=Parrot, extensions=[Wrapping(Canned(leaving=OSError(KEY)))]))
    await anext(texts)
    await texts.aclose()
    assert caplog.messages == ["parrot/grey: closing raised OSError"] * 2


class Census(Parrot):
    """List its models."""

    @hookimpl
    def build_models_request(self, endpoint: providerkit.Endpoint) -> Request:
        headers = {"Authorization": f"Bearer {endpoint.api_key.reveal()}"} if endpoint.api_key else {}
        return Request("GET", endpoint.url("/models"), headers, stream=False)

    @hookimpl
    def parse_models(self, body: bytes) -> list[Model]:
        return [Model(name) for name in loads(body)]


async def models(base_url: str, provider: object = Census, **options: Any) -> tuple[Model, ...]:
    limits = options.pop("limits", None)
    async with providerkit.Client(limits=limits) as client:
        return await client.provider(provider).models(base_url=base_url, **{"api_key": KEY, **options})


async def test_models_are_asked_of_the_provider():
    async with serve(http(b'["grey", "green"]')) as server:
        assert await models(server.base_url, headers={"X-New": "1"}) == (Model("grey"), Model("green"))
    (received,) = server.requests
    assert (received.method, received.path, received.headers["x-new"]) == ("GET", "/models", "1")
    assert received.headers["user-agent"].startswith("providerkit/")


async def test_a_refusal_to_list_models_is_the_providers_error():
    async with serve(http(b"no", status=401, X_Request_ID="r-1")) as server:
        error = await failure(providerkit.AuthenticationError, models(server.base_url))
    assert (error.status, error.request_id, error.provider) == (401, "r-1", "parrot")


async def test_an_answer_that_comes_whole_is_capped():
    async with serve(http(b"[" + b" " * 2**20 + b"]")) as server:
        error = await failure(providerkit.StreamMalformed, models(server.base_url, limits=Limits(event=1000)))
        await server.closed.get()
    assert "1000" in str(error)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (chunked(b"[1", end=False), providerkit.StreamTruncated),
        (http(b"<html>" + KEY.encode()), providerkit.StreamMalformed),
        (b"", providerkit.Disconnected),
    ],
)
async def test_a_list_of_models_that_is_none(answer: bytes, kind: type[providerkit.ProviderKitError]):
    async def cut(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with serve(cut) as server:
        await failure(kind, models(server.base_url))


async def test_a_silent_provider_fires_the_clock_for_models_too():
    async with serve(chunked(b"[", end=False)) as server:
        timeouts = providerkit.Timeouts(first_event=0.01)
        error = await failure(providerkit.TimedOut, models(server.base_url, timeouts=timeouts))
    assert error.clock == "first_event"


@pytest.mark.parametrize("hook", ["build_models_request", "parse_models"])
async def test_a_plugin_that_raises_while_models_are_listed_shows_no_key(hook: str):
    spilling = on_the_wire(Census, **{hook: hookimpl(lambda self: spill())})
    async with serve(http(b"[]")) as server:
        error = await failure(providerkit.PluginError, models(server.base_url, spilling))
    assert error.hook == hook


async def test_a_transport_that_raises_while_models_are_listed_shows_no_key():
    canned = Canned(broken=OSError(KEY))
    await failure(providerkit.PluginError, models("http://nope.invalid", extensions=[Wrapping(canned)]))
