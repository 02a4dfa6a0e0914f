"""The transport: the only module that opens connections, and the only client of aiohttp's.

aiohttp's traps are closed here: no total timeout, no reading by line, no redirects, no
cookies, no compressed streams, and none of its exceptions gets out (their reprs hold the
Authorization header). Sessions belong to their event loop and close with it. aiohttp is
imported where it is used: it takes a third of a second, and only who sends needs it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from .errors import (
    Argument,
    ConfigurationError,
    ConnectError,
    Disconnected,
    InvalidOption,
    ProviderKitError,
    StreamMalformed,
    StreamTruncated,
    TransportError,
)
from .policy import timed_out
from .wire import Headers, Request, ResponseHead

if TYPE_CHECKING:
    from aiohttp import AddrInfoType, BaseConnector, ClientResponse, ClientSession, TCPConnector
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from .policy import Limits

LARGE = 2**20  # bytes of a request's body


class Response(Protocol):
    """Hold the answer to one request: its head, its body as it arrives, and where it came from."""

    @property
    def head(self) -> ResponseHead:
        """Give status and headers."""
        ...

    @property
    def source(self) -> str:
        """Say where the answer came from: "network", "cache" or "cassette"."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the body, cut anywhere, never empty; raises StreamTruncated where it was cut short."""
        ...


class Transport(Protocol):
    """Send one request; leaving the context closes what is not read to its end.

    Leaving it without an exception says that the answer is complete, with one that the
    rest is not wanted.
    """

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Give the response as soon as its head is there, whatever its status; raises TransportError."""
        ...


class Connections:
    """Keep one pool of connections for each event loop.

    A pool is held by an async generator, so whatever shuts down the loop's async generators
    (asyncio.run, Runner, frameworks) closes it, and so does the end of these Connections.
    """

    def __init__(self, limits: Limits) -> None:
        self.closed = False
        self._limits = limits
        self._pools: dict[asyncio.AbstractEventLoop, tuple[ClientSession, AsyncGenerator[ClientSession]]] = {}
        # The finalizer keeps the pools out of any garbage that this is part of: in there, sessions
        # would complain of being unclosed before their generators could close them.
        weakref.finalize(self, self._pools.clear).atexit = False

    async def session(self) -> ClientSession:
        """Give the session of the running loop; raises ConfigurationError once closed."""
        if self.closed:
            raise _closed_early()
        loop = asyncio.get_running_loop()
        if loop not in self._pools or self._pools[loop][0].closed:
            self._forget_closed_loops()
            pool = _pool(self._limits.connections)
            self._pools[loop] = (await anext(pool), pool)
        return self._pools[loop][0]

    async def close(self) -> None:
        """Close the connections of the running loop, and open no more."""
        self.closed = True
        _, pool = self._pools.pop(asyncio.get_running_loop(), (None, None))
        if pool is not None:
            await pool.aclose()

    def _forget_closed_loops(self) -> None:
        for loop in list(self._pools):  # other threads have loops, too
            if loop.is_closed():
                self._pools.pop(loop, None)


async def _pool(connections: int) -> AsyncGenerator[ClientSession]:
    session = _session(_connector_class()(limit=connections, socket_factory=_socket), owned=True)
    try:
        yield session
    finally:
        await session.close()


@cache
def _connector_class() -> type[TCPConnector]:
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        """Use no connection again on which came what nobody asked for.

        aiohttp would take it for the answer to the next request.
        """

        async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
            idle = self._conns.get(key)
            while idle and idle[0][0].should_close:
                idle.popleft()[0].close()
            return await super()._get(key, traces)

    return Connector


_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _socket(address: AddrInfoType) -> socket.socket:
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


def _session(connector: BaseConnector, *, owned: bool) -> ClientSession:
    import aiohttp

    return aiohttp.ClientSession(connector=connector, connector_owner=owned, cookie_jar=aiohttp.DummyCookieJar())


class NetworkTransport:
    """Send requests over the network.

    `connect` is how long a connection may take, in seconds, the wait for the pool
    included. A `connector` that is passed is used for this alone and never closed.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        connect: float | None = None,
        proxy: str | None = None,
        connector: BaseConnector | None = None,
    ) -> None:
        import aiohttp  # here, in the caller's thread, rather than on the event loop of blocking calls

        if connector is not None and not isinstance(connector, aiohttp.BaseConnector):
            raise InvalidOption(f"connector is {connector!r}; it takes a connector of aiohttp's", option="connector")
        self._connections = connections
        self._connect = connect
        self._proxy = proxy
        self._connector = connector

    def send(self, request: Request) -> _Sending:
        """Give the response as soon as its head is there; leaving closes what is unread."""
        return _Sending(self, request)

    async def _shared_session(self) -> ClientSession | None:
        return None if self._connector or _is_socks(self._proxy) else await self._connections.session()

    def _own_session(self) -> ClientSession:
        """Make a session for one request: over the caller's connector, or a SOCKS proxy."""
        if self._connector is None:
            return _session(_socks_connector(str(self._proxy)), owned=True)
        _check_connector(self._connector)
        return _session(self._connector, owned=False)

    async def _request(self, session: ClientSession, request: Request) -> ClientResponse:
        import aiohttp

        failure: ProviderKitError
        try:
            return await session.request(
                request.method,
                request.url,
                headers=dict(request.headers.items()),
                data=_payload(request.body),
                proxy=None if _is_socks(self._proxy) else self._proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect),
            )
        except asyncio.CancelledError:
            if not session.closed or _is_cancelled():
                raise
            failure = _closed_early()  # so aiohttp tells those who wait for a place in the pool
        except Exception as error:  # noqa: BLE001 - whatever it is, its repr may hold the key
            failure = _send_failure(error, request.url, self._connect)
        raise failure


class _Sending:
    """Send a request on entering; no generator, so that nothing but its user closes it."""

    def __init__(self, transport: NetworkTransport, request: Request) -> None:
        self._transport = transport
        self._request = request
        self._own: ClientSession | None = None

    async def __aenter__(self) -> NetworkResponse:
        session = await self._transport._shared_session()
        if session is None:
            session = self._own = self._transport._own_session()
        try:
            self._response = await self._transport._request(session, self._request)
        except BaseException:
            await self._close_own()
            raise
        self._answer = NetworkResponse(self._response)
        return self._answer

    async def __aexit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        try:
            if kind is None:
                await self._settle()
        finally:
            self._answer.let_go()
            self._response.close()
            await self._close_own()

    async def _settle(self) -> None:
        """Let the end of the body in, where it is at the door: only then is the connection used again.

        Two turns of the loop, which is no wait: one to read the socket, one to come back.
        """
        for _ in range(2):
            if not self._response.content.is_eof():
                await asyncio.sleep(0)

    async def _close_own(self) -> None:
        if self._own is not None:
            await self._own.close()


class NetworkResponse:
    """Hold an answer that comes over the network; iterate it once."""

    source = "network"

    def __init__(self, response: ClientResponse) -> None:
        self._content = response.content
        self.head = ResponseHead(
            response.status,
            Headers([(name, value if value.isascii() else _text(value)) for name, value in response.headers.items()]),
        )
        protocol = response.connection.protocol if response.connection else None  # None where all has come already
        self._closed = protocol.closed if protocol is not None else None
        if self._closed:
            self._closed.remove_done_callback(_retrieve)  # one is enough for all that a connection carries
            self._closed.add_done_callback(_retrieve)
            self._closed.add_done_callback(self._wake)

    def _wake(self, closed: asyncio.Future[None]) -> None:
        """End the wait for a body whose connection is gone: after a malformed chunk aiohttp does not."""
        if self._content.exception() is None and not self._content.is_eof():
            self._content.set_exception(ConnectionError())

    def let_go(self) -> None:
        """Stop watching the connection, which may go on to carry another answer."""
        if self._closed:
            self._closed.remove_done_callback(self._wake)

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as the socket gives it."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._content.readany()
        except Exception as error:  # noqa: BLE001 - whatever it is, its repr may hold the key
            data = self._content._read_nowait(-1)  # what came before the break, which aiohttp would drop
            broken = StreamTruncated(f"the connection broke in mid-answer: {_reason(error)}")
        else:
            if data:
                return data
            raise StopAsyncIteration
        if data:
            return data
        raise broken


def _text(words: str) -> str:
    """Put U+FFFD for bytes that are no UTF-8: aiohttp's halves of pairs for them can't be printed."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _retrieve(closed: asyncio.Future[None]) -> None:
    closed.exception()  # asyncio complains of one that nobody looks at


def check_proxy(proxy: str | None) -> None:
    """Raise InvalidOption for a proxy that can't be used, never showing its password."""
    if proxy is None:
        return
    try:
        parts = urlsplit(proxy)
        port = parts.port or not parts.scheme.startswith("socks")  # aiohttp-socks wants one
        usable = parts.scheme in ("http", "https", "socks4", "socks5") and parts.hostname and port
    except (ValueError, AttributeError, TypeError):
        usable = False
    if not usable:
        raise InvalidOption(
            Argument("proxy"), " must look like 'http://host:port' or 'socks5://host:port'", option="proxy"
        )


def _is_socks(proxy: str | None) -> bool:
    return proxy is not None and proxy.startswith("socks")


def _check_connector(connector: BaseConnector) -> None:
    if connector.closed:
        raise InvalidOption("connector is closed; pass one that is open", option="connector")
    if connector._loop is not asyncio.get_running_loop():
        raise InvalidOption(
            "connector belongs to another event loop; blocking calls run on a loop of their own, "
            "so pass a connector to async calls only",
            option="connector",
        )


def _socks_connector(proxy: str) -> BaseConnector:
    try:
        from aiohttp_socks import ProxyConnector  # an extra
    except ImportError:
        raise ConfigurationError("a SOCKS proxy needs aiohttp-socks: pip install aiohttp-socks") from None
    connector: BaseConnector = ProxyConnector.from_url(proxy)
    return connector


def _socks_errors() -> tuple[type[Exception], ...]:
    """Give what a SOCKS connector raises; nothing where none can have been made."""
    socks = sys.modules.get("aiohttp_socks")
    return (socks.ProxyError, socks.ProxyConnectionError, socks.ProxyTimeoutError) if socks else ()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _closed_early() -> ConfigurationError:
    return ConfigurationError("the Client, or the connector, is closed; a run needs an open one")


def _payload(body: bytes | None) -> bytes | BytesIO | None:
    """Give a large body as a file, which aiohttp sends in pieces; it warns of large bytes."""
    return BytesIO(body) if body and len(body) > LARGE else body


def _send_failure(error: Exception, url: str, connect: float | None) -> ProviderKitError:
    import aiohttp

    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    reason = _reason(error)
    match error:
        case TimeoutError():
            return timed_out("connect", connect or 0.0)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | UnicodeError():
            return InvalidOption(f"{place!r} is not a host that can be called", option="base_url")
        case aiohttp.ClientHttpProxyError():
            return ConnectError(f"the proxy refused to connect to {place}: {error.status} {_text(error.message)}")
        case aiohttp.ClientResponseError():
            return StreamMalformed(f"{place} did not answer in HTTP: {' '.join(_text(error.message).split())}")
        case aiohttp.ClientProxyConnectionError():
            return ConnectError(f"can't reach the proxy on the way to {place}: {reason}")
        case aiohttp.ClientConnectorDNSError():
            return ConnectError(f"can't find the host {parts.hostname!r}; is it spelt right, is the network up?")
        case ssl.SSLError():
            return ConnectError(f"no TLS with {place}: {reason}")
        case aiohttp.ClientConnectorError():
            return ConnectError(f"can't connect to {place}: {reason}; is it running there?")
        case aiohttp.ServerDisconnectedError() | OSError():
            return Disconnected(f"{place} closed the connection before it answered: {reason}")
        case aiohttp.ClientConnectionError():
            return _closed_early()
        case _ if isinstance(error, _socks_errors()):
            return ConnectError(f"the SOCKS proxy does not lead to {place}: {error}")
    return TransportError(f"the request to {place} failed: {type(error).__name__}")


def _reason(error: BaseException) -> str:
    """Say why in words that hold no header and no URL: the system's own, else the name of the error."""
    below = error.__cause__ if isinstance(error.__cause__, OSError) else None  # aiohttp's own may name the URL
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or below or error
    words = getattr(cause, "strerror", None) or getattr(cause, "verify_message", None)
    return str(words) if words else type(cause).__name__
