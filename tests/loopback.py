"""Servers on loopback that send exactly the bytes a test wants, and say what they saw."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import attrs

from providerkit import Timeouts
from providerkit.engine import blocking as sync

# For what many do at once, which takes as long as the machine takes.
UNHURRIED = Timeouts(connect=None, first_event=None, idle=None)
Handler: TypeAlias = "Callable[[Received, asyncio.StreamWriter], Awaitable[None]]"


@attrs.frozen
class Received:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@attrs.define
class Server:
    """Say if a server is and what it has seen."""

    base_url: str = ""
    connections: int = 0
    requests: list[Received] = attrs.field(factory=list)
    closed: asyncio.Queue[None] = attrs.field(factory=asyncio.Queue)  # an item for each connection that ended
    open: int = 0  # connections that have not ended
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)  # set when one of these has, or a handler says so

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, in peace: what is waited for may need the processor."""
        while not holds():
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def serve(answer: bytes | Handler, **listening: object) -> AsyncIterator[Server]:
    """Answer every request with these bytes, or as the handler does; `listening` goes to asyncio's server.

    After bytes the connection closes unless they frame themselves; a handler that returns
    keeps it open for the next request, and closes it by `writer.close()`.
    """
    server = Server()
    tasks = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        server.connections += 1
        server.open += 1
        try:
            while not writer.is_closing() and (request := await _receive(reader)) is not None:
                server.requests.append(request)
                if isinstance(answer, bytes):
                    writer.write(answer)
                    if not _framed(answer):
                        writer.close()
                else:
                    await _while_connected(reader, answer(request, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            server.closed.put_nowait(None)
            server.open -= 1
            server.changed.set()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0, **listening)  # type: ignore[arg-type]
    scheme = "https" if listening.get("ssl") else "http"
    server.base_url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def serve_elsewhere(answer: bytes | Handler) -> Iterator[Server]:
    """Serve from another thread, the one that blocking calls run in, so that whoever asks may block."""
    serving = serve(answer)
    server = sync.call(serving.__aenter__())
    try:
        yield server
    finally:
        sync.call(serving.__aexit__(None, None, None))


async def until(holds: Callable[[], bool], *tasks: asyncio.Future[object]) -> None:
    """Let others work until something holds; raise what a task raises that works on it and ends before.

    There is no limit but that of each test: one of its own would be the time of a machine.
    """
    while not holds():
        for task in tasks:
            if task.done():
                raise AssertionError("a task has ended that was waited for") from task.exception()
        await asyncio.sleep(0)


async def _while_connected(reader: asyncio.StreamReader, answering: Awaitable[None]) -> None:
    """Let a handler answer, and cancel it where the client has gone."""
    tasks = {asyncio.ensure_future(answering), asyncio.ensure_future(reader.read(1))}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)  # of all: asyncio complains of a failure that nobody sees
    for task in done:
        task.result()


async def _receive(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *fields = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = line.split(" ")
    return Received(method, path, headers, body)


def _framed(answer: bytes) -> bool:
    head = answer.partition(b"\r\n\r\n")[0].lower()
    return b"content-length" in head or b"chunked" in head


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection with an RST in place of the usual FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def http(
    body: bytes = b"",
    *,
    status: int = 200,
    content_type: str = "text/event-stream",
    framed: bool = True,
    **headers: str,
) -> bytes:
    """Make a response; where it is not `framed`, only the end of the connection ends it."""
    fields = {"Content-Type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if framed:
        fields["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Words\r\n{lines}\r\n".encode() + body


def chunked(*pieces: bytes, end: bool = True, content_type: str = "text/event-stream") -> bytes:
    """Make a chunked response; without `end`, its last chunk is missing."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + chunks + (b"0\r\n\r\n" if end else b"")
