"""A server on loopback that breaks as it is told to, and keeps a log of what it saw.

    server = FaultServer([status(429, retry_after="2"), healthy()], answer="koala")
    async with server as url:
        await providerkit.run("hi", provider="koala", base_url=url)
    server.log[0].fault

It stands on sockets, with no web framework between: so it can reset before the head, end
a chunked body without its last chunk, and stall with the connection open. What it waits
for is its client, never a fixed time, unless the script says so; then it waits by the
`sleep` it was given.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TypeAlias

import attrs

from ..engine import blocking as sync
from ..errors import ConfigurationError
from ..sandboxes import Sandbox
from ..wire.headers import Headers
from .recordings import LONGEST_HEAD, Recording, read_body, read_head, record

TURNS = 5  # of the event loop, in which a client on the same loop takes what was sent


class Act(Enum):
    """Name what a server does beside sending bytes."""

    READ = "wait for bytes of the client"
    TURN = "let what was sent arrive before more is sent, where the client shares the event loop"
    CLOSE = "close the connection with a FIN"
    RESET = "close the connection with an RST, with which goes what the client's machine had no room for (megabytes)"
    HOLD = "keep the connection open, silent, until the client leaves"


@attrs.frozen
class Pause:
    """Wait for so many seconds."""

    seconds: float


Step: TypeAlias = bytes | Pause | Act


@attrs.frozen(repr=False)
class Fault:
    """Say how an answer goes over the wire: which bytes, and what happens between and after them.

    `steps` makes the steps of an answer, maybe without end; where they end, the connection
    waits for its next request. An `early` fault acts on a new connection before any
    request is read.
    """

    name: str
    steps: Callable[[Recording], Iterable[Step]] = attrs.field(eq=False)
    arguments: Mapping[str, object] = attrs.field(factory=dict)
    early: bool = False

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


@attrs.define
class Visit:
    """Tell what the server saw of one request, or of a connection that it broke before any.

    `number` counts from 0, `connection` too, times are in seconds since the server started.
    `sent` counts bytes, `complete` says that the fault has run to its end (the whole answer
    of a healthy one). `closed` says who ended the connection: "FIN" or "RST" of the
    client's, or "server"; None while it is open.
    """

    number: int
    connection: int
    at: float
    method: str = ""
    path: str = ""
    headers: Headers = attrs.field(factory=Headers)
    body: bytes = attrs.field(default=b"", repr=False)
    fault: Fault | None = None
    sent: int = 0
    complete: bool = False
    closed: str | None = None
    closed_at: float | None = None


Script: TypeAlias = Fault | Sequence[Fault] | Callable[[Visit], Fault]


class FaultServer:
    """Serve faults while the context lasts, async or blocking; entering gives the base URL.

    `script`: one fault for all requests; several, one a request, the last of which
    repeats; or a function of the Visit. `answer`: what is broken: a Recording, or a
    provider (its name or plugin) whose sandbox answers each request. `tls` serves by TLS,
    `scheme` is that of the URL if it is to promise what is not kept. `clock` and
    `sleep` keep the time.

    Leaving raises what the script or the sandbox raised.
    """

    def __init__(
        self,
        script: Script,
        *,
        answer: Recording | str | object = Recording(),  # noqa: B008 - a value, frozen
        tls: ssl.SSLContext | None = None,
        scheme: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if isinstance(script, Sequence) and not script:
            raise ConfigurationError("the script is empty; healthy() answers as the provider does")
        self.log: list[Visit] = []
        self.connections = 0
        self._script = script
        self._answer = answer
        self._sandbox = None if isinstance(answer, Recording) else Sandbox(answer)
        self._tls = tls
        self._scheme = scheme or ("https" if tls else "http")
        self._clock = clock
        self._sleep = sleep
        self._listener: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._failures: list[Exception] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> str:
        if self._listener is not None:
            raise ConfigurationError("this server is running already; make another one")
        if self._sandbox is not None:
            self._origin = await self._sandbox.__aenter__()
        self._started = self._clock()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=self._tls)
        return f"{self._scheme}://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *failure: object) -> None:
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        listener.close()
        talks = [connection.abort() for connection in list(self._open)]
        while self._open:
            await self._change()
        await asyncio.gather(*talks, return_exceptions=True)
        if self._sandbox is not None:
            await self._sandbox.__aexit__()
        if self._failures and failure[:1] in ((), (None,)):
            raise self._failures[0]

    def __enter__(self) -> str:
        if self._sandbox is not None:
            import aiohttp.web  # noqa: F401 - here, rather than on the event loop of blocking calls

        return sync.call(self.__aenter__())

    def __exit__(self, *failure: object) -> None:
        sync.call(self.__aexit__(*failure))

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._started

    async def asked(self, count: int = 1) -> Visit:
        """Wait until there have been so many visits; give the last of these."""
        while len(self.log) < count:
            await self._change()
        return self.log[count - 1]

    async def closed(self, count: int = 1) -> Visit:
        """Wait until the connections of so many visits have ended; give that which ended last of these."""
        while len(ended := [visit for visit in self.log if visit.closed]) < count:
            await self._change()
        return sorted(ended, key=lambda visit: visit.closed_at or 0.0)[count - 1]

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _visit(self, connection: int) -> Visit:
        visit = Visit(len(self.log), connection, self.seconds)
        self.log.append(visit)
        return visit

    def _early(self) -> Fault | None:
        """Return the fault that acts before the next request is read, where the script has one in that place."""
        if callable(self._script):
            return None
        fault = self._fault(len(self.log))
        return fault if fault.early else None

    def _fault(self, number: int) -> Fault:
        if isinstance(self._script, Fault):
            return self._script
        assert not callable(self._script)  # the caller has looked
        return self._script[min(number, len(self._script) - 1)]

    def _told(self, visit: Visit) -> Fault:
        return self._script(visit) if callable(self._script) else self._fault(visit.number)

    async def _answered(self, visit: Visit) -> Recording:
        if isinstance(self._answer, Recording):
            return self._answer
        url = self._origin + visit.path
        return await record(url, method=visit.method, headers=visit.headers, body=visit.body)


class _Connection(asyncio.Protocol):
    """Talk on one connection, request after request."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self._reader = asyncio.StreamReader(limit=LONGEST_HEAD)
        self._visits: list[Visit] = []
        self._closed: str | None = None
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # a stream of bytes
        # So that to have room is to have sent everything; asyncio's TLS never has room for more than 0.
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("ssl_object") else 0, low=0)
        self._transport = transport
        self._number = self._server.connections
        self._server.connections += 1
        self._server._open.add(self)
        self._task = asyncio.get_running_loop().create_task(self._talk())

    def data_received(self, data: bytes) -> None:
        self._reader.feed_data(data)

    def eof_received(self) -> None:
        self._closed = self._closed or "FIN"
        self._reader.feed_eof()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = self._closed or ("RST" if error else "server")
        for visit in self._visits:
            visit.closed, visit.closed_at = self._closed, self._server.seconds
        self._task.cancel()
        self._server._open.discard(self)
        self._server._changed.set()

    def abort(self) -> asyncio.Task[None]:
        """Close the connection at once; give the task that talks on it, which ends with it."""
        self._closed = self._closed or "server"
        self._transport.abort()
        return self._task

    async def _talk(self) -> None:
        try:
            if fault := self._server._early():
                await self._play(self._visit(), fault, Recording())
            while not self._transport.is_closing():
                await self._take_request()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.abort()  # the client left, or never came to the point
        except Exception as error:  # noqa: BLE001 - the script's own, or the sandbox's: it is raised on leaving the server
            self._server._failures.append(error)
            self.abort()

    async def _take_request(self) -> None:
        first = await self._reader.readexactly(1)
        if not first.isalpha():  # no HTTP: a client that begins with TLS, say
            await self._play(self._visit(), _NO_HTTP, Recording(status=400, framing="length"))
            return
        line, fields = await read_head(self._reader)
        headers = Headers(fields)
        body = b"".join(await read_body(self._reader, headers))
        visit = self._visit()
        visit.method, visit.path, _ = (first.decode() + line).split(" ")
        visit.headers, visit.body = headers, body
        await self._play(visit, self._server._told(visit), await self._server._answered(visit))

    def _visit(self) -> Visit:
        visit = self._server._visit(self._number)
        self._visits.append(visit)
        return visit

    async def _play(self, visit: Visit, fault: Fault, answer: Recording) -> None:
        visit.fault = fault
        self._server._changed.set()
        for step in fault.steps(answer):
            if isinstance(step, bytes):
                self._transport.write(step)
                await self._room.wait()
                visit.sent += len(step)
                await asyncio.sleep(0)  # others have their turn, however much there is to send
            elif isinstance(step, Pause):
                await self._server._sleep(step.seconds)
            else:
                await self._act(step)
        visit.complete = True

    async def _act(self, act: Act) -> None:
        match act:
            case Act.READ:
                await self._reader.readexactly(1)
            case Act.TURN:
                for _ in range(TURNS):
                    await asyncio.sleep(0)
            case Act.CLOSE:
                self._closed = self._closed or "server"
                self._transport.close()
            case Act.RESET:
                linger = struct.pack("ii", 1, 0)
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.abort()
            case _:
                await asyncio.get_running_loop().create_future()


_NO_HTTP = Fault("no HTTP", lambda answer: [*answer.wire(), Act.CLOSE])
