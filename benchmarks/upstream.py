"""A mock provider that is never the bottleneck: bytes rendered once, written by a process of its own.

    python -m benchmarks.upstream [CORE]

prints the port it listens on, and ends with its standard input. What it answers is in the
path, `/WIRE/EVENTS/EVENTS A WRITE/MILLISECONDS BETWEEN WRITES`; the client's own path
comes after it. WIRE is `openai` or `koala`, alone for a stream of so many events, or with

    -full   one as fast as the socket takes it, a hundred chunks in one write
    -padded one whose chunks each have padding of another length, as OpenAI's own have
    -json   one JSON answer that comes whole, its text as long as that of the events
    -due    a stream in which each text is the time at which it had to be written
    -sent   the same, the time at which it was written
    -big    one event of so many megabytes, in writes of 1 KB

Times are those of time.monotonic, one clock for all processes of a machine. `/stats` tells
what happened since it was last asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from functools import cache, lru_cache
from statistics import quantiles

import attrs

from .client import allow_files, pin

TEXT = "token,"  # no blank at an end: some clients strip it
STAMP = "00000000.000000000 "  # the place of a time, in seconds
KILOBYTE = "x" * 1024
BURST = 100  # writes of one stream before the others have their turn
PATH = re.compile(rb"POST /(openai|koala)-?(full|padded|json|due|sent|big|)/(\d+)/(\d+)/(\d+)")
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@attrs.frozen
class Answer:
    """The bytes of an answer: `first` at once, then so many times `chunk`, and `last`."""

    first: bytes
    chunk: bytes = b""
    chunks: int = 0
    last: bytes = b""
    milliseconds: int = 0
    kind: str = ""


@cache
def render(wire: str, kind: str, events: int, together: int, milliseconds: int) -> Answer:
    """Render an answer once, for all that ask for it."""
    if kind == "json":
        return Answer(_head("application/json") + whole(wire, TEXT * events))
    first, last = (b"", b"") if wire == "koala" else (event(wire, ""), event(wire, None) + b"data: [DONE]\n\n")
    head = _head("text/event-stream") + (chunked(first) if first else b"")
    end = chunked(last) + b"0\r\n\r\n" if last else b"0\r\n\r\n"
    if kind == "big":
        before, after = event(wire, KILOBYTE).split(KILOBYTE.encode())
        return Answer(head + chunked(before), chunked(KILOBYTE.encode()), 1024 * events, chunked(after) + end)
    one = event(wire, STAMP if kind in ("due", "sent") else TEXT)
    rest = events % together
    end = chunked(one * rest) + end if rest else end
    several = b"".join(padded(one, length) for length in range(together)) if kind == "padded" else one * together
    return Answer(head, chunked(several), events // together, end, milliseconds, kind)


def event(wire: str, text: str | None) -> bytes:
    """Render one server-sent event; None is the chunk that tells why OpenAI's wire ends."""
    if wire == "koala":
        return f"data: {json.dumps(text)}\n\n".encode()
    delta = {} if text is None else {"content": text} if text else {"role": "assistant", "content": "", "refusal": None}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop" if text is None else None}
    head = {"id": "chatcmpl-CfQm7b3vJ0nQ0aXyqkV2bC8tHw1Ld", "object": "chat.completion.chunk", "created": 1795000000}
    chunk = {**head, "model": "gpt-4o-mini-2024-07-18", "choices": [choice]}
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n".encode()


def padded(event: bytes, length: int) -> bytes:
    """Add the field that hides how long a text is, on OpenAI's wire unless `include_obfuscation` is false."""
    return event.replace(b"}\n\n", b',"usage":null,"obfuscation":"%b"}\n\n' % (b"x" * length))


def whole(wire: str, text: str) -> bytes:
    """Render an answer that comes whole, with its length."""
    message = {"role": "assistant", "content": text, "refusal": None}
    completion = {
        "id": "chatcmpl-CfQm7b3vJ0nQ0aXyqkV2bC8tHw1Ld",
        "object": "chat.completion",
        "created": 1795000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
    }
    body = json.dumps({"output": text} if wire == "koala" else completion).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@lru_cache(maxsize=8)
def stamped(chunk: bytes, at: float) -> bytes:
    """Put a time in its place; kept, for all streams of one pass have the same."""
    return chunk.replace(STAMP.encode(), f"{at:018.9f} ".encode())


def chunked(data: bytes) -> bytes:
    """Frame bytes as one chunk of HTTP/1.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(kind: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-cache\r\nx-request-id: req_1\r\n"
    return head.encode() + (b"Transfer-Encoding: chunked\r\n\r\n" if kind == "text/event-stream" else b"")


@attrs.define
class Stats:
    """Count what the upstream did, and how late it was with what was due."""

    connections: int = 0
    requests: int = 0
    writes: int = 0
    left: list[float] = attrs.field(factory=list)  # when peers closed in the middle of an answer
    late: list[float] = attrs.field(factory=list)  # seconds, the last write of each pass
    started: float = attrs.field(factory=time.monotonic)
    cpu: float = attrs.field(factory=time.process_time)

    def told(self) -> bytes:
        """Return them as JSON."""
        told = attrs.asdict(self, filter=lambda field, value: field.name not in ("late", "started", "cpu"))
        share = (time.process_time() - self.cpu) / (time.monotonic() - self.started)
        late = quantiles(self.late, n=100, method="inclusive") if len(self.late) > 1 else [0.0] * 99
        return json.dumps({**told, "cpu_share": share, "late_p50": late[49], "late_p99": late[98]}).encode()


class Upstream:
    """Serve connections; `stats` begin again whenever they are told."""

    def __init__(self) -> None:
        self.stats = Stats()
        self._paces: dict[int, Pace] = {}

    def tell(self) -> bytes:
        """Return the stats and begin again."""
        told, self.stats = self.stats.told(), Stats()
        return told

    def pace(self, milliseconds: int) -> Pace:
        """Return the timer of all streams of this pace."""
        return self._paces.setdefault(milliseconds, Pace(self, milliseconds / 1000))


class Pace:
    """Write to all streams of one pace, in one pass of one timer."""

    def __init__(self, upstream: Upstream, seconds: float) -> None:
        self._upstream = upstream
        self._seconds = seconds
        self._streams: list[Connection] = []
        self._due = 0.0

    def add(self, stream: Connection) -> None:
        """Write to this one, too, from the next pass on."""
        if not self._streams:
            self._due = time.monotonic()
            self._wait()
        self._streams.append(stream)

    def _wait(self) -> None:
        self._due += self._seconds
        asyncio.get_running_loop().call_at(self._due, self._pass)

    def _pass(self) -> None:
        streams = self._streams
        for stream in streams:
            stream.write_next(due=self._due)
        self._upstream.stats.late.append(time.monotonic() - self._due)
        self._streams = [stream for stream in streams if stream.left]
        if self._streams:
            self._wait()


class Connection(asyncio.Protocol):
    """Answer requests of one connection, one after another."""

    transport: asyncio.Transport
    answer: Answer
    left = 0  # writes of the answer that is under way
    _counted = _paused = False

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have back-pressure begin with the first byte that the socket doesn't take."""
        assert isinstance(transport, asyncio.Transport)  # a socket's
        self.transport = transport
        transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if blank and len(body) >= (int(length[1]) if length else 0):
            self._received.clear()
            self._answer(bytes(head))

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the peer is gone."""
        self._leave()

    def pause_writing(self) -> None:
        """Wait for the peer."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._burst()

    def write_next(self, count: int = 1, due: float = 0.0) -> None:
        """Write the next chunks; the last bytes go with the last of them."""
        if not self.left:
            return
        self.left -= count
        data = self.answer.chunk * count
        if self.answer.kind in ("due", "sent"):
            data = stamped(data, due if self.answer.kind == "due" else time.monotonic())
        self._upstream.stats.writes += 1
        self.transport.write(data if self.left else data + self.answer.last)

    def _leave(self) -> None:
        if self.left:
            self._upstream.stats.left.append(time.monotonic())
            self.left = 0

    def _answer(self, head: bytes) -> None:
        asked = PATH.match(head)
        if asked is None:
            told = self._upstream.tell() if head.startswith(b"GET /stats") else b"{}"
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
            return
        stats = self._upstream.stats
        stats.requests += 1
        stats.connections += not self._counted
        self._counted = True
        self.answer = render(asked[1].decode(), asked[2].decode(), *map(int, asked.groups()[2:]))
        self.left = self.answer.chunks
        self.transport.write(self.answer.first if self.left else self.answer.first + self.answer.last)
        if self.answer.milliseconds:
            self._upstream.pace(self.answer.milliseconds).add(self)
        else:
            self._burst()

    def _burst(self) -> None:
        """Write until the peer's buffer is full, or others have waited for long enough."""
        if self.left and self.answer.milliseconds:  # what is due is due: the transport holds it for a slow peer
            return
        together = BURST if self.answer.kind == "full" else 1
        for _ in range(BURST // together):
            if self._paused:
                return
            self.write_next(min(together, self.left))
        if self.left and not self._paused:
            asyncio.get_running_loop().call_soon(self._burst)


async def serve() -> None:
    """Serve until the standard input ends, as it does with the process that started this one."""
    loop, upstream = asyncio.get_running_loop(), Upstream()
    server = await loop.create_server(lambda: Connection(upstream), "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    pin(int(sys.argv[1]) if sys.argv[1:] else None)
    allow_files()
    asyncio.run(serve())
