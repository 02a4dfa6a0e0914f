"""Faults, by name: what a provider, or the network before it, can do wrong.

    from providerkit.testing import faults

    async with faults.FaultServer([faults.reset(after=3), faults.healthy()], answer="koala") as url:
        await providerkit.run("hi", provider="koala", base_url=url)  # StreamTruncated: .partial has three words

A function of this module makes a fault for the script of a FaultServer, or a place to
call in its stead, a context manager of a URL. FAULTS is the table of both: what each does
(its docstring) and what who calls providerkit gets, without any retry.

`after` counts pieces of the body as slices do: 0 is none of them, -1 all but the last,
None all. `seconds` None is for ever, or without a pause. Times are the server's own
`sleep`.
"""

from __future__ import annotations

import inspect
import re
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import attrs

from ..errors import ConfigurationError
from .faultserver import (
    Act,
    Fault as Fault,  # the names that a script needs, in one place
    FaultServer as FaultServer,
    Pause,
    Step,
    Visit as Visit,
)
from .recordings import Recording as Recording, record as record

if TYPE_CHECKING:
    from trustme import CA

P = ParamSpec("P")
Place = TypeVar("Place")


@attrs.frozen
class Row:
    """Describe one fault: its name, what it does, what the caller gets, and the function that makes it."""

    name: str
    does: str
    gets: str
    make: Callable[..., Any]


FAULTS: dict[str, Row] = {}


def named(name: str, **arguments: Any) -> Any:
    """Make the fault, or the place, of this name."""
    if name not in FAULTS:
        raise ConfigurationError(f"no fault is called {name!r}; there are {', '.join(FAULTS)}")
    return FAULTS[name].make(**arguments)


def _enter(make: Callable[..., Any], gets: str) -> None:
    name = make.__name__
    FAULTS[name] = Row(name, inspect.getdoc(make) or "", gets, make)


def _fault(
    gets: str, *, early: bool = False
) -> Callable[[Callable[Concatenate[Recording, P], Iterable[Step]]], Callable[P, Fault]]:
    """Make a function of an answer one that makes a Fault, and enter it into the table."""

    def entered(steps: Callable[Concatenate[Recording, P], Iterable[Step]]) -> Callable[P, Fault]:
        signature = inspect.signature(steps)

        @wraps(steps)
        def make(*args: P.args, **kwargs: P.kwargs) -> Fault:
            _, *bound = signature.bind(Recording(), *args, **kwargs).arguments.items()
            return Fault(steps.__name__, lambda answer: steps(answer, *args, **kwargs), dict(bound), early)

        _, *parameters = signature.parameters.values()
        make.__signature__ = signature.replace(parameters=parameters, return_annotation=Fault)  # type: ignore[attr-defined]  # for help()
        _enter(make, gets)
        return make

    return entered


def _place(gets: str) -> Callable[[Callable[P, Place]], Callable[P, Place]]:
    """Enter a function that makes a place to call into the table."""

    def entered(make: Callable[P, Place]) -> Callable[P, Place]:
        _enter(make, gets)
        return make

    return entered


def _whole(answer: Recording) -> Iterator[Step]:
    yield from _begun(answer, None)
    yield from _ended(answer)


def _ended(answer: Recording) -> Iterator[Step]:
    yield Act.CLOSE if answer.framing == "end" else answer.end


def _begun(answer: Recording, after: int | None) -> Iterator[Step]:
    yield answer.head()
    yield from map(answer.frame, answer.pieces[:after])


def _gap(seconds: float | None) -> Step:
    return Act.TURN if seconds is None else Pause(seconds)


def _with(answer: Recording, *pieces: bytes) -> Iterator[Step]:
    return _whole(attrs.evolve(answer, pieces=pieces))


@_fault("the answer")
def healthy(answer: Recording) -> Iterable[Step]:
    """Answer as the provider does."""
    return _whole(answer)


# Before the answer


@_place("ConnectError, at once")
@contextmanager
def refused() -> Iterator[str]:
    """Refuse connections: nobody listens on a port that nobody else can take."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield _url(held)


@_place("ConnectError, which names the host")
@contextmanager
def unknown_host() -> Iterator[str]:
    """Name a host that does not exist (RFC 2606)."""
    yield "http://provider.invalid"


@_place("TimedOut by the connect clock")
@contextmanager
def full_backlog() -> Iterator[str]:
    """Take no more connections, and refuse none: a black hole (where the system is Linux)."""
    with socket.socket() as listener, socket.socket() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting.connect(listener.getsockname())
        yield _url(listener)


def _url(bound: socket.socket) -> str:
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


@_fault("Disconnected", early=True)
def close_on_accept(answer: Recording) -> Iterable[Step]:
    """Accept the connection and close it with a FIN before a byte is read."""
    return [Act.CLOSE]


@_fault("Disconnected", early=True)
def reset_on_accept(answer: Recording) -> Iterable[Step]:
    """Accept the connection and break it with an RST before a byte is read."""
    return [Act.RESET]


@_fault("TimedOut by the connect clock for a https provider, by the first_event clock for a http one", early=True)
def hold_on_accept(answer: Recording) -> Iterable[Step]:
    """Accept the connection and do nothing more, not even a TLS handshake."""
    return [Act.HOLD]


@_fault("Disconnected")
def close_unanswered(answer: Recording) -> Iterable[Step]:
    """Read the request and close with a FIN; on a connection that was kept alive, it is lost to the race."""
    return [Act.CLOSE]


@_fault("Disconnected")
def reset_unanswered(answer: Recording) -> Iterable[Step]:
    """Read the request and break the connection with an RST."""
    return [Act.RESET]


@_fault("TimedOut by the first_event clock; the answer, where it comes in time")
def silence(answer: Recording, seconds: float | None = None) -> Iterator[Step]:
    """Read the request and send no byte, for ever or for so long."""
    yield Act.HOLD if seconds is None else Pause(seconds)
    yield from _whole(answer)


@_fault("TimedOut by the first_event clock; the answer, where it comes in time")
def drip_head(answer: Recording, seconds: float | None = None) -> Iterator[Step]:
    """Send status line and headers byte by byte."""
    for byte in answer.head():
        yield bytes([byte])
        yield _gap(seconds)
    yield from map(answer.frame, answer.pieces)
    yield from _ended(answer)


# TLS and proxies


@_place("ConnectError")
def tls_to_plain() -> FaultServer:
    """Answer a client that begins with TLS by a plain 400, as plain servers do."""
    return FaultServer(healthy(), scheme="https")


@_place("ConnectError, which says what is wrong with it")
def bad_certificate(wrong: str = "issuer", authority: CA | None = None) -> FaultServer:
    """Show a certificate that is wrong by its "issuer", its "date" or its "host".

    `authority` issues it, else one that nobody trusts. Needs trustme.
    """
    return FaultServer(healthy(), tls=certified(wrong, authority))


def certified(wrong: str | None = None, authority: CA | None = None) -> SSLContext:
    """Make the context of a TLS server whose certificate is right, or wrong as said."""
    try:
        import trustme  # optional: only certificates need it
    except ImportError:
        raise ConfigurationError("certificates need trustme: pip install trustme") from None
    past = datetime.now(UTC) - timedelta(days=1)
    issued = (authority or trustme.CA()).issue_cert(
        "provider.invalid" if wrong == "host" else "127.0.0.1",
        not_before=past - timedelta(days=1),
        not_after=past if wrong == "date" else None,
    )
    context = SSLContext(PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


@_fault("ConnectError", early=True)
def cut_handshake(answer: Recording) -> Iterable[Step]:
    """Read the first byte of a TLS handshake and break the connection (FaultServer(..., scheme="https"))."""
    return [Act.READ, Act.RESET]


@_place("ConnectError for a https provider; for a http one the error of the status, which looks like the provider's")
def refusing_proxy(code: int = 407) -> FaultServer:
    """Be a proxy (`proxy=`) that answers every request by this status."""
    return FaultServer(status(code))


@_place("TimedOut: by the connect clock for a https provider, by the first_event clock for a http one")
def silent_proxy() -> FaultServer:
    """Be a proxy (`proxy=`) that never answers."""
    return FaultServer(silence())


# The head


@_fault("StreamMalformed")
def bad_status_line(answer: Recording, line: bytes = b"HTTP/9.9 abc") -> Iterable[Step]:
    """Begin with a status line that is none."""
    return [line + b"\r\n\r\n", Act.CLOSE]


@_fault("StreamMalformed over 8190 bytes")
def long_header(answer: Recording, size: int = 20 * 1024) -> Iterable[Step]:
    """Send a header of so many bytes."""
    return _whole(attrs.evolve(answer, headers=[*answer.headers, ("X-Long", "x" * size)]))


@_fault("StreamMalformed")
def many_headers(answer: Recording, count: int = 200) -> Iterable[Step]:
    """Send so many headers."""
    many = [(f"X-Header-{number}", "x") for number in range(count)]
    return _whole(attrs.evolve(answer, headers=[*answer.headers, *many]))


@_fault("StreamMalformed")
def two_framings(answer: Recording) -> Iterator[Step]:
    """Send chunks under a Content-Length."""
    chunked = attrs.evolve(answer, framing="chunks")
    yield chunked.head(("Content-Length", str(len(answer.body))))
    yield b"".join(map(chunked.frame, answer.pieces)) + chunked.end


@_fault("StreamMalformed")
def two_lengths(answer: Recording) -> Iterator[Step]:
    """Send two Content-Lengths that differ."""
    framed = attrs.evolve(answer, framing="length")
    yield framed.head(("Content-Length", str(len(answer.body) + 1)))
    yield answer.body


@_fault("the answer where it follows, else TimedOut by the first_event clock")
def interim(answer: Recording, code: int = 103, *, only: bool = False) -> Iterator[Step]:
    """Send an interim status first: 100 (Continue), 103 (Early Hints); maybe nothing else."""
    yield f"HTTP/1.1 {code} Interim\r\n\r\n".encode()
    yield from [Act.HOLD] if only else _whole(answer)


@_fault("StreamTruncated at 204 and 205; ProviderError at 304")
def no_content(answer: Recording, code: int = 204) -> Iterable[Step]:
    """Answer by a status that has no body: 204, 205, 304."""
    return [f"HTTP/1.1 {code} Without\r\nContent-Length: 0\r\n\r\n".encode()]


@_fault("ProviderError with the status; redirects are not followed")
def redirect(answer: Recording, to: str = "/", code: int = 307) -> Iterable[Step]:
    """Redirect: to itself, to another host, to file:///."""
    return _status(code, headers={"Location": to})


@_fault("the error class of the status, with retry_after where the provider says it")
def status(
    answer: Recording,
    code: int,
    *,
    body: bytes = b"",
    retry_after: str | None = None,
    headers: dict[str, str] | None = None,
) -> Iterable[Step]:
    """Answer by this status, with this body; `retry_after` is the header, in any form."""
    waiting = {} if retry_after is None else {"Retry-After": retry_after}
    return _status(code, body, waiting | (headers or {}))


def _status(code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Iterator[Step]:
    return _whole(Recording([body], code, {"Content-Type": "application/json", **(headers or {})}, "length"))


@_fault("the answer, where the plugin goes by the bytes")
def mislabelled(answer: Recording, content_type: str = "text/html; charset=utf-16") -> Iterable[Step]:
    """Answer under a content type that is not that of the body."""
    others = [(name, value) for name, value in answer.headers if name.lower() != "content-type"]
    return _whole(attrs.evolve(answer, headers=[*others, ("Content-Type", content_type)]))


@_fault("what the plugin makes of it: a ProviderError or a StreamError, no empty success")
def page(answer: Recording, body: bytes = b"<!doctype html><title>Log in</title>") -> Iterable[Step]:
    """Answer by a page of HTML at status 200."""
    return _whole(Recording([body], 200, {"Content-Type": "text/html"}, "length"))


# The end of the body


@_fault("StreamTruncated with the text of these pieces; the answer where its wire has said the end in them")
def close(answer: Recording, after: int | None = 1) -> Iterator[Step]:
    """Close with a FIN after some pieces of the body; after all of them, only the last chunk is missing."""
    yield from _begun(answer, after)
    yield Act.CLOSE


@_fault("StreamTruncated with the text of these pieces; the answer where its wire has said the end in them")
def reset(answer: Recording, after: int | None = 1) -> Iterator[Step]:
    """Break the connection with an RST after some pieces of the body."""
    yield from _begun(answer, after)
    yield Act.RESET


@_fault(
    "TimedOut by the first_event clock, after content by the idle clock, with the text of these pieces; "
    "the answer where it goes on in time, or its wire has said the end"
)
def stall(answer: Recording, after: int | None = 1, seconds: float | None = None) -> Iterator[Step]:
    """Fall silent after some pieces of the body, the connection open, for ever or for so long."""
    yield from _begun(answer, after)
    yield Act.HOLD if seconds is None else Pause(seconds)
    yield from map(answer.frame, [] if after is None else answer.pieces[after:])
    yield from _ended(answer)


@_fault("Disconnected within the head, then StreamTruncated with the whole text; the answer once its end is said")
def close_at(answer: Recording, offset: int) -> Iterable[Step]:
    """Close with a FIN after so many bytes, the head's among them: in mid-event, in mid-character."""
    return [b"".join(answer.wire())[:offset], Act.CLOSE]


@_fault("Disconnected within the head, then StreamTruncated with the whole text; the answer once its end is said")
def reset_at(answer: Recording, offset: int) -> Iterable[Step]:
    """Break the connection with an RST after so many bytes, the head's among them."""
    return [b"".join(answer.wire())[:offset], Act.RESET]


@_fault("StreamTruncated with the text that came; if more comes than was announced, what was announced is the answer")
def wrong_length(answer: Recording, by: int = 10) -> Iterator[Step]:
    """Announce a Content-Length that is wrong by so many bytes, and close."""
    framed = attrs.evolve(answer, pieces=[bytes(len(answer.body) + by)], framing="length")
    yield framed.head()
    yield answer.body
    yield Act.CLOSE


@_fault("StreamTruncated, or the answer with `proven` False on a wire whose end is the end of the body")
def unframed(answer: Recording, after: int | None = None) -> Iterator[Step]:
    """Answer without a frame, so that only the end of the connection ends the body, maybe after some pieces."""
    yield from _begun(attrs.evolve(answer, framing="end"), after)
    yield Act.CLOSE


@_fault("StreamTruncated with the text that came")
def bad_chunk(answer: Recording, size: bytes = b"what", after: int = 1) -> Iterator[Step]:
    """Send a chunk whose size is none (b"what"), too large for any number, or under a long extension."""
    yield from _begun(attrs.evolve(answer, framing="chunks"), after)
    yield Act.TURN
    yield size + b"\r\n"
    yield Act.CLOSE


@_fault("the answer; Disconnected where the next request is sent before the client has noticed")
def close_idle(answer: Recording) -> Iterator[Step]:
    """Answer, keep the connection alive for a moment, and close it while it is idle."""
    yield from _whole(answer)
    yield Act.TURN
    yield Act.CLOSE


@_fault("the answer; the next request goes out on another connection")
def garbage_after(answer: Recording, data: bytes = b"HTTP/1.1 200 OK\r\nX-Unasked: yes\r\n\r\n") -> Iterator[Step]:
    """Answer, and send bytes behind the end of it that nobody asked for."""
    *rest, end = _whole(answer)
    yield from rest
    assert isinstance(end, bytes)  # an answer that has a frame
    yield end + data


# The pace of the body


@_fault("the answer; TimedOut by the first_event or the idle clock where no content comes in time")
def drip(answer: Recording, seconds: float | None = None, most: int | None = None) -> Iterator[Step]:
    """Send the body byte by byte, or so many bytes of it, and then the rest."""
    yield answer.head()
    for byte in answer.body[:most]:
        yield answer.frame(bytes([byte]))
        yield _gap(seconds)
    if most is not None:
        yield answer.frame(answer.body[most:])
    yield from _ended(answer)


@_fault("the answer")
def split(answer: Recording, at: int) -> Iterator[Step]:
    """Cut the body in two at this byte: within a character, a line end, a BOM."""
    yield answer.head()
    yield answer.frame(answer.body[:at])
    yield Act.TURN
    yield answer.frame(answer.body[at:])
    yield from _ended(answer)


@_fault("TimedOut by the first_event or the idle clock; StreamMalformed over Limits.event")
def comments(
    answer: Recording, after: int | None = 1, seconds: float | None = None, line: bytes = b": ping\n\n"
) -> Iterator[Step]:
    """Send comments without end after some pieces of the body."""
    yield from _begun(answer, after)
    while True:
        yield answer.frame(line)
        yield _gap(seconds)


@_fault("StreamMalformed over Limits.event")
def endless_line(answer: Recording, after: int | None = 1, start: bytes = b'data: "') -> Iterator[Step]:
    """Begin a line after some pieces of the body, and never end it."""
    yield from _begun(attrs.evolve(answer, framing="chunks"), after)
    yield answer.frame(start)
    while True:
        yield answer.frame(b"x" * 2**16)


# What is in the body


@_fault("what the plugin makes of it")
def says(answer: Recording, *pieces: bytes) -> Iterable[Step]:
    """Answer by these pieces in place of the provider's; by none, the body is empty."""
    return _with(answer, *pieces)


@_fault("what the plugin makes of it")
def insert(answer: Recording, before: int, data: bytes) -> Iterable[Step]:
    """Put bytes before this piece of the body."""
    return _with(answer, *answer.pieces[:before], data, *answer.pieces[before:])


@_fault("StreamMalformed where it is no JSON, with the text before it")
def replace(answer: Recording, piece: int, data: bytes) -> Iterable[Step]:
    """Put bytes in place of this piece of the body."""
    return _with(answer, *answer.pieces[:piece], data, *answer.pieces[piece:][1:])


@_fault("StreamMalformed with the text before it")
def garble(answer: Recording, piece: int = 0) -> Iterable[Step]:
    """Take the last character off this piece of the body, which makes its JSON invalid."""
    data = re.sub(rb"\S(?=\s*\Z)", b"", answer.pieces[piece])
    return _with(answer, *answer.pieces[:piece], data, *answer.pieces[piece:][1:])


@_fault("what the plugin makes of it")
def rewrite(answer: Recording, old: bytes, new: bytes) -> Iterable[Step]:
    """Put `new` in place of each `old` in the pieces of the body: other line ends, no space after the colon."""
    return _with(answer, *(piece.replace(old, new) for piece in answer.pieces))


@_fault("all of the text")
def repeat(answer: Recording, piece: int = 0, times: int = 2) -> Iterator[Step]:
    """Send this piece of the body so many times."""
    yield from _begun(answer, piece)
    frame = answer.frame(answer.pieces[piece])
    for start in range(0, times, 1000):
        yield frame * min(1000, times - start)
    yield from map(answer.frame, answer.pieces[piece:][1:])
    yield from _ended(answer)


@_fault("the text in the order in which it came")
def swap(answer: Recording, piece: int = 0) -> Iterable[Step]:
    """Exchange this piece of the body and the next."""
    one, other = answer.pieces[piece : piece + 2]
    return _with(answer, *answer.pieces[:piece], other, one, *answer.pieces[piece + 2 :])


@_fault("the answer, where its wire had said the end")
def append(answer: Recording, data: bytes) -> Iterable[Step]:
    """Send more events after the end of the answer."""
    return _with(answer, *answer.pieces, data)


@_fault("StreamTruncated where what is left does not prove the end, else the answer")
def without(answer: Recording, start: int, stop: int | None = None) -> Iterable[Step]:
    """Leave out the pieces of the body from `start` to `stop`: from -1 its last, from 0 to -1 all others."""
    pieces = list(answer.pieces)
    del pieces[start:stop]
    return _with(answer, *pieces)


@_fault("StreamMalformed")
def nested(answer: Recording, depth: int = 100_000, before: int = 0, start: bytes = b"data: ") -> Iterable[Step]:
    """Send JSON that is nested this deep before a piece of the body."""
    data = start + b"[" * depth + b"]" * depth + b"\n\n"
    return _with(answer, *answer.pieces[:before], data, *answer.pieces[before:])


@_fault("the answer, its end proven only by what its wire says; StreamTruncated where it is cut or corrupt")
def compressed(answer: Recording, *, keep: int | None = None, corrupt: int | None = None) -> Iterable[Step]:
    """Compress the body (gzip) though nobody asked for it; maybe `keep` only its first bytes, or `corrupt` one.

    Its last 10 hold no text; nor do its first 10.
    """
    data = bytearray(_gzip(answer.body))
    if corrupt is not None:
        data[corrupt] ^= 0xFF
    return _encoded(answer, "gzip", bytes(data[:keep]))


@_fault("StreamMalformed over Limits.event")
def gzip_bomb(answer: Recording, size: int = 64 * 2**20) -> Iterable[Step]:
    """Send one line of so many bytes in a gzip body a thousand times smaller."""
    return _encoded(answer, "gzip", _gzip(b'data: "' + bytes(size)))


@_fault("StreamMalformed where it can't be decoded (br); the answer where it is no known encoding")
def mystery_encoding(answer: Recording, encoding: str = "br") -> Iterable[Step]:
    """Say that the body has an encoding that it does not have."""
    return _encoded(answer, encoding, answer.body)


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH) + compressor.flush()


def _encoded(answer: Recording, encoding: str, body: bytes) -> Iterator[Step]:
    headers = [*answer.headers, ("Content-Encoding", encoding)]
    return _whole(attrs.evolve(answer, pieces=[body], headers=headers))
