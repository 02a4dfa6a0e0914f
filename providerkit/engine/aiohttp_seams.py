"""The seams of aiohttp: every private name of its that we need, and its classes with our repairs."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from .threads import in_thread

if TYPE_CHECKING:
    from aiohttp import (
        AddrInfoType,
        BaseConnector,
        ClientRequest,
        ClientResponse,
        ClientSession,
        ClientTimeout,
        TCPConnector,
    )
    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


@cache
def connector_class() -> type[TCPConnector]:
    """Return the class of the connectors that a Client opens connections with."""
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        """Use no connection again on which came what nobody asked for, and name what failed on the way to a proxy.

        aiohttp would take the first for the answer to the next request.
        """

        async def _create_proxy_connection(
            self,
            req: ClientRequest,
            traces: list[Trace],
            timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
        ) -> tuple[asyncio.BaseTransport, ResponseHandler]:
            with connecting():
                return await super()._create_proxy_connection(req, traces, timeout)

        async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
            idle = self._conns.get(key)
            while idle and idle[0][0].should_close:
                idle.popleft()[0].close()
            return await super()._get(key, traces)

    return Connector


class Unconnected(Exception):
    """What failed before there was a connection through a proxy; it is the cause of this."""


@contextmanager
def connecting() -> Iterator[None]:
    """Mark an error as one of making a connection: afterwards aiohttp raises the same ones for what the host does."""
    try:
        yield
    except Exception as error:
        raise Unconnected from error


class _Names:
    """What aiohttp's resolver asks of an event loop, on threads that the end of the program does not wait for.

    A loop asks on its executor, whose threads asyncio.run and the interpreter join: a name
    server that is silent would hold up the end for as long as the system is patient.
    """

    async def getaddrinfo(self, host: str, port: int, **hints: int) -> list[Any]:
        return await in_thread(lambda: socket.getaddrinfo(host, port, **hints))

    async def getnameinfo(self, address: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        return await in_thread(lambda: socket.getnameinfo(address, flags))


def resolver() -> AbstractResolver:
    """Return a resolver of host names whose threads the end of the program does not wait for."""
    import aiohttp

    return aiohttp.ThreadedResolver(_Names())  # type: ignore[arg-type]  # it asks for nothing else


_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def make_socket(address: AddrInfoType) -> socket.socket:
    """Return a socket that a child after a fork lets go of."""
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    _sockets.add(opened)
    return opened


def _let_go_of_sockets() -> None:
    """Put a socket that leads nowhere in place of every inherited one, in a child after a fork.

    While the child has a connection, the parent can't close it. And were the child to close
    or read it, as the end of its event loop does, that would be felt in the parent: they
    share an epoll, and the bytes.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nowhere:
        nowhere.setblocking(False)
        for inherited in _sockets:
            if inherited.fileno() >= 0:
                os.dup2(nowhere.fileno(), inherited.fileno(), inheritable=False)
    _sockets.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch - only Windows has none, where nothing forks
    os.register_at_fork(after_in_child=_let_go_of_sockets)


def make_session(connector: BaseConnector, *, owned: bool) -> ClientSession:
    """Return a session without cookies over a connector, which it closes if it is `owned`."""
    import aiohttp

    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=owned,
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=response_class(),
    )


@cache
def response_class() -> type[ClientResponse]:
    """Return the class of the responses that the sessions give."""
    import aiohttp

    class WatchedResponse(aiohttp.ClientResponse):
        """A response that knows how its connection ends, and whose head outlives garbage behind it.

        `lost` is done when the connection is, with the error that broke it: for a body
        that goes on until the connection ends, aiohttp takes a reset for the end.
        """

        lost: asyncio.Future[None] | None = None

        async def start(self, connection: Connection) -> ClientResponse:
            assert connection.protocol is not None  # it is given back at the end of the answer
            self.lost = connection.protocol.closed
            _HeadFirst(connection.protocol)
            return await super().start(connection)

    return WatchedResponse


_BLANK_LINE = re.compile(rb"(?:\A|\n)\r?\n")  # at the start, if the line before came in another packet


class _HeadFirst:
    """A parser of HTTP that hands on the head, whatever comes behind it in the same packet.

    aiohttp's own reads all that has come, and when it fails, it drops the head, and with
    it the status, or a whole answer that has garbage behind it. This one stands in for it
    until the head is complete, and takes no more than a head at once. A fault in what follows is
    raised on the next turn of the loop, as if it had come in another packet.
    """

    def __init__(self, protocol: ResponseHandler) -> None:
        self._protocol = protocol
        self._parser: Any = protocol._parser
        self._failure: Exception | None = None
        protocol._parser = self  # type: ignore[assignment]  # it does what is asked of one before the body

    def feed_data(self, data: bytes) -> tuple[list[Any], bool, bytes]:
        """Return the messages whose head is complete, as aiohttp's parser does."""
        if self._failure is not None:
            self._protocol._parser = self._parser
            raise self._failure
        found: list[Any] = []
        while data:
            blank = _BLANK_LINE.search(data)  # a head can't end before it
            end = blank.end() if blank else len(data)
            messages, upgraded, tail = self._parser.feed_data(data[:end])
            data = data[end:]
            found += messages
            if upgraded:
                return found, True, tail + data
            if any(message.code >= 200 for message, _ in messages):
                self._protocol._parser = self._parser
                return found + self._feed_body(data), False, b""
        return found, False, b""

    def _feed_body(self, data: bytes) -> list[Any]:
        try:
            messages, _, _ = self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, aiohttp itself handles it
            self._failure = error
            self._protocol._parser = self  # type: ignore[assignment]  # to raise it
            asyncio.get_running_loop().call_soon(self._protocol.data_received, b"\0")  # 3.13 passes over b""
            return []
        return list(messages)

    def feed_eof(self) -> Any:
        """Take the end of the connection."""
        return self._parser.feed_eof()


def close_response(response: ClientResponse) -> None:
    """Close a response, also if its event loop is closed.

    Then aiohttp leaves the connection open, and complains of it later with all that it
    knows, the password of a proxy included. So the connection is taken from it; asyncio
    closes the socket together with the transport.
    """
    response.close()
    if response.connection is not None:
        response.connection._protocol = None
