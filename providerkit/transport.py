"""The transport: the only module that opens connections, and the only client of aiohttp's.

aiohttp's traps are closed here: no total timeout, no reading by line, no redirects, no
cookies, no compressed streams, and none of its exceptions gets out (their reprs hold the
Authorization header). Sessions belong to their event loop and close with it. aiohttp is
imported where it is used: it takes a third of a second, and only who sends needs it.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import sys
import weakref
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from .boundary import is_cancelled
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
from .secrets import Mask, secrets_of_proxy
from .threads import in_thread
from .wire import Headers, Request, ResponseHead

if TYPE_CHECKING:
    from aiohttp import (
        AddrInfoType,
        BaseConnector,
        ClientRequest,
        ClientResponse,
        ClientResponseError,
        ClientSession,
        ClientTimeout,
        TCPConnector,
    )
    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from .policy import Limits

LARGE = 2**20  # bytes of a request's body
NO_LIMIT = 1e8  # seconds; None would be a minute, to aiohttp-socks


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
    connector = _connector_class()(limit=connections, socket_factory=_socket, resolver=_resolver())
    session = _session(connector, owned=True)
    try:
        yield session
    finally:
        await session.close()


@cache
def _connector_class() -> type[TCPConnector]:
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
            with _connecting():
                return await super()._create_proxy_connection(req, traces, timeout)

        async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
            idle = self._conns.get(key)
            while idle and idle[0][0].should_close:
                idle.popleft()[0].close()
            return await super()._get(key, traces)

    return Connector


class _Unconnected(Exception):
    """What failed before there was a connection through a proxy; it is the cause of this."""


@contextmanager
def _connecting() -> Iterator[None]:
    """Mark an error as one of making a connection: afterwards aiohttp raises the same ones for what the host does."""
    try:
        yield
    except Exception as error:
        raise _Unconnected from error


class _Names:
    """What aiohttp's resolver asks of an event loop, on threads that the end of the program does not wait for.

    A loop asks on its executor, whose threads asyncio.run and the interpreter join: a name
    server that is silent would hold up the end for as long as the system is patient.
    """

    async def getaddrinfo(self, host: str, port: int, **hints: int) -> list[Any]:
        return await in_thread(lambda: socket.getaddrinfo(host, port, **hints))

    async def getnameinfo(self, address: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        return await in_thread(lambda: socket.getnameinfo(address, flags))


def _resolver() -> AbstractResolver:
    import aiohttp

    return aiohttp.ThreadedResolver(_Names())  # type: ignore[arg-type]  # it asks for nothing else


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

    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=owned,
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_response_class(),
    )


@cache
def _response_class() -> type[ClientResponse]:
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


class _HeadFirst:
    """A parser of HTTP that hands on the head, whatever comes behind it in the same packet.

    aiohttp's own reads all that has come, and when it fails, it drops the head, and with
    it the status, or a whole answer that has garbage behind it. This one stands in for it
    until the head is complete, and takes it line by line. A fault in what follows is
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
        start = 0
        while start < len(data):
            end = data.find(b"\n", start) + 1 or len(data)
            messages, upgraded, tail = self._parser.feed_data(data[start:end])
            found += messages
            start = end
            if upgraded:
                return found, True, tail + data[end:]
            if any(message.code >= 200 for message, _ in messages):
                self._protocol._parser = self._parser
                return found + self._feed_body(data[end:]), False, b""
        return found, False, b""

    def _feed_body(self, data: bytes) -> list[Any]:
        try:
            messages, _, _ = self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, aiohttp itself handles it
            self._failure = error
            self._protocol._parser = self  # type: ignore[assignment]  # to raise it
            asyncio.get_running_loop().call_soon(self._protocol.data_received, b"")
            return []
        return list(messages)

    def feed_eof(self) -> Any:
        """Take the end of the connection."""
        return self._parser.feed_eof()


class NetworkTransport:
    """Send requests over the network.

    `connect` is how long a connection may take, in seconds, the wait for the pool
    included. `proxy` is an address from `parse_proxy`. A `connector` that is passed is used
    for this alone and never closed.
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
        self._proxy_address, self._proxy_headers = _split_credentials(None if _is_socks(proxy) else proxy)
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
        # Over TLS the proxy is asked to connect, by a request of its own.
        is_tunnelled = request.url.lower().startswith("https:")
        headers = {} if is_tunnelled else self._proxy_headers
        try:
            return await session.request(
                request.method,
                request.url,
                headers={**headers, **dict(request.headers.items())},
                data=_payload(request.body),
                proxy=self._proxy_address,
                proxy_headers=(self._proxy_headers or None) if is_tunnelled else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self._connect, sock_connect=NO_LIMIT if _is_socks(self._proxy) else None
                ),
            )
        except asyncio.CancelledError as cancelled:
            if not session.closed or is_cancelled():
                raise cancelled.with_traceback(None)  # noqa: B904 - aiohttp's frames hold the headers
            failure = _closed_early()  # so aiohttp tells those who wait for a place in the pool
        except Exception as error:  # noqa: BLE001 - whatever it is, its repr may hold the key
            failure = _send_failure(error, request.url, self._connect, self._proxy)
            failure.redact(Mask(secrets_of_proxy(self._proxy)))  # which nobody above knows of
        raise failure


class _Sending:
    """Send a request on entering; no generator, so that nothing but its user closes it."""

    def __init__(self, transport: NetworkTransport, request: Request) -> None:
        self._transport = transport
        self._request = request
        self._own: ClientSession | None = None
        self._response: ClientResponse | None = None

    def __del__(self) -> None:
        """Close what nobody left: its event loop was closed in mid-answer, and closes no generator any more."""
        if self._response is None:
            return
        if self._loop.is_closed():
            _close(self._response)
        else:
            self._loop.call_soon_threadsafe(_close, self._response)

    async def __aenter__(self) -> NetworkResponse:
        session = await self._transport._shared_session()
        if session is None:
            session = self._own = self._transport._own_session()
        try:
            response = await self._transport._request(session, self._request)
        except BaseException:
            await self._close_own()
            raise
        self._loop = asyncio.get_running_loop()
        self._response = response
        self._answer = NetworkResponse(response)
        return self._answer

    async def __aexit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        try:
            if kind is None:
                await self._settle()
        finally:
            response, self._response = self._response, None
            self._answer.let_go()
            if response is not None:
                _close(response)
            await self._close_own()

    async def _settle(self) -> None:
        """Let the end of the body in, where it is at the door: only then is the connection used again.

        Two turns of the loop, which is no wait: one to read the socket, one to come back.
        """
        for _ in range(2):
            if not self._answer.is_complete:
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
        self._lost: asyncio.Future[None] | None = getattr(response, "lost", None)  # None if a test's mock made it
        if self._lost:
            self._lost.remove_done_callback(_retrieve)  # one is enough for all that a connection carries
            self._lost.add_done_callback(_retrieve)
            self._lost.add_done_callback(self._wake)

    def _wake(self, closed: asyncio.Future[None]) -> None:
        """End the wait for a body whose connection is gone: after a malformed chunk aiohttp does not."""
        if self._content.exception() is None and not self._content.is_eof():
            self._content.set_exception(ConnectionError())

    @property
    def is_complete(self) -> bool:
        """Return whether the end of the body has come."""
        return self._content.is_eof()

    def let_go(self) -> None:
        """Stop watching the connection, which may go on to carry another answer."""
        if self._lost:
            self._lost.remove_done_callback(self._wake)

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
            reason: BaseException | None = error
        else:
            reason = None if data or self.head.delimited else self._reset()
        if data:
            return data
        if reason is None:
            raise StopAsyncIteration
        raise StreamTruncated(f"the connection broke in mid-answer: {_reason(reason)}")

    def _reset(self) -> BaseException | None:
        """Return what broke the connection; None if it is open, or was closed in good order."""
        return self._lost.exception() if self._lost and self._lost.done() else None


def _close(response: ClientResponse) -> None:
    """Close a response, also if its event loop is closed.

    Then aiohttp leaves the connection open, and complains of it later with all that it
    knows, the password of a proxy included. So the connection is taken from it; asyncio
    closes the socket together with the transport.
    """
    response.close()
    if response.connection is not None:
        response.connection._protocol = None


def _text(words: str) -> str:
    """Put U+FFFD for bytes that are no UTF-8: aiohttp's halves of pairs for them can't be printed."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _retrieve(closed: asyncio.Future[None]) -> None:
    closed.exception()  # asyncio complains of one that nobody looks at


def parse_proxy(proxy: str | None) -> str | None:
    """Return a proxy's address with its scheme in lower case, as schemes know no case (RFC 3986, section 3.1).

    Raises InvalidOption for one that can't be used, never showing its password.
    """
    if proxy is None:
        return None
    try:
        usable = _PRINTABLE.fullmatch(proxy) and _is_address_of_proxy(urlsplit(proxy))
    except (ValueError, TypeError):
        usable = False
    if not usable:
        raise InvalidOption(
            Argument("proxy"), " must look like 'http://host:port' or 'socks5://host:port'", option="proxy"
        )
    scheme, colon, rest = proxy.partition(":")
    return scheme.lower() + colon + rest


def _split_credentials(proxy: str | None) -> tuple[str | None, dict[str, str]]:
    """Return a proxy's address without user and password, and the header that says them (RFC 7617).

    aiohttp would keep them in the key of each connection, and show that in its warnings.
    """
    parts = urlsplit(proxy or "")
    if proxy is None or parts.username is None:
        return proxy, {}
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    basic = b64encode(credentials.encode("latin-1", "replace")).decode()
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=place).geturl(), {"Proxy-Authorization": f"Basic {basic}"}


_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def _is_address_of_proxy(parts: SplitResult) -> bool:
    """Return whether these are scheme, host and port of a proxy; raise ValueError for a host that is none."""
    host = (parts.hostname or "").encode("idna")
    if parts.scheme in SOCKS:
        return bool(host and parts.port)  # aiohttp-socks wants one
    return parts.scheme in ("http", "https") and bool(host) and parts.port != 0


# The scheme that aiohttp-socks takes, and whether the proxy is given names rather than the addresses they have here.
SOCKS = {
    "socks4": ("socks4", False),
    "socks4a": ("socks4", True),
    "socks5": ("socks5", True),
    "socks5h": ("socks5", True),
}


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

    class Connector(ProxyConnector):
        """Name what failed before there was a connection."""

        async def _create_connection(
            self,
            req: ClientRequest,
            traces: list[Trace],
            timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
        ) -> ResponseHandler:
            with _connecting():
                return await super()._create_connection(req, traces, timeout)

    named, _, rest = proxy.partition(":")
    scheme, by_name = SOCKS[named]
    connector: BaseConnector = Connector.from_url(f"{scheme}:{rest}", rdns=by_name)
    return connector


def _socks_errors() -> tuple[type[Exception], ...]:
    """Give what a SOCKS connector raises; nothing where none can have been made."""
    socks = sys.modules.get("aiohttp_socks")
    return (socks.ProxyError, socks.ProxyConnectionError, socks.ProxyTimeoutError) if socks else ()


def _closed_early() -> ConfigurationError:
    return ConfigurationError("the Client, or the connector, is closed; a run needs an open one")


def _payload(body: bytes | None) -> bytes | BytesIO | None:
    """Give a large body as a file, which aiohttp sends in pieces; it warns of large bytes."""
    return BytesIO(body) if body and len(body) > LARGE else body


def _send_failure(error: BaseException, url: str, connect: float | None, proxy: str | None) -> ProviderKitError:
    import aiohttp

    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    unconnected = isinstance(error, _Unconnected)
    if unconnected:
        error = error.__cause__ or error
    if isinstance(error, TimeoutError):
        return timed_out("connect", connect or 0.0)
    if proxy and (failure := _proxy_failure(error, urlsplit(proxy), place, unconnected=unconnected)):
        return failure
    reason = _reason(error)
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | UnicodeError():
            return InvalidOption(f"{place!r} is not a host that can be called", option="base_url")
        case aiohttp.ClientResponseError():
            return StreamMalformed(f"{place} did not answer in HTTP: {_words(error)}")
        case aiohttp.ClientConnectorDNSError():
            return ConnectError(f"can't find the host {parts.hostname!r}; is it spelt right, is the network up?")
        case ssl.SSLError():
            return ConnectError(f"no TLS with {place}: {reason}")
        case aiohttp.ClientConnectorError():
            return ConnectError(f"can't connect to {place}: {reason}; is it running there?")
        case _ if isinstance(error, _socks_errors()):  # of the caller's own connector
            return ConnectError(f"the SOCKS proxy does not lead to {place}: {error}")
        case aiohttp.ServerDisconnectedError() | OSError() | EOFError():
            return Disconnected(f"{place} closed the connection before it answered: {reason}")
        case aiohttp.ClientConnectionError():
            return _closed_early()
    return TransportError(f"the request to {place} failed: {type(error).__name__}")


def _proxy_failure(error: BaseException, proxy: SplitResult, place: str, *, unconnected: bool) -> ConnectError | None:
    """Return the error that blames the proxy; None if it is not to blame."""
    import aiohttp

    name = proxy.netloc.rpartition("@")[2]
    root = _root(error)
    reason = _reason(root)
    is_socks = isinstance(error, _socks_errors())
    match error:
        case aiohttp.ClientHttpProxyError():
            said = f"the proxy {name} refused to connect to {place}: {error.status} {_words(error)}"
        case _ if isinstance(root, socket.gaierror):  # a proxy is given the host's name, so this is its own
            said = f"can't find the proxy {name}; is it spelt right, is the network up?"
        case _ if isinstance(error, aiohttp.ClientProxyConnectionError) or (is_socks and isinstance(root, OSError)):
            said = f"can't reach the proxy {name} on the way to {place}: {reason}; is it running there?"
        case _ if is_socks:
            said = f"the proxy {name} does not lead to {place}: {error}"
        case aiohttp.ClientConnectorError() if (error.host, error.port) == (proxy.hostname, proxy.port or 443):
            said = f"no TLS with the proxy {name}: {reason}"
        case aiohttp.ClientConnectorError() | ssl.SSLError():  # of the host, through the proxy
            return None
        case aiohttp.ClientResponseError() if unconnected:
            said = f"the proxy {name} did not answer in HTTP: {_words(error)}"
        case aiohttp.ServerDisconnectedError() | OSError() | EOFError() if unconnected:
            said = f"the proxy {name} closed the connection before it led to {place}: {reason}"
        case _:
            return None
    return ConnectError(said)


def _root(error: BaseException) -> BaseException:
    """Return what is below an error of aiohttp-socks, which wraps several times."""
    while isinstance(error.__cause__, OSError):
        error = error.__cause__
    return error


def _words(error: ClientResponseError) -> str:
    return " ".join(_text(error.message).split())


def _reason(error: BaseException) -> str:
    """Say why in words that hold no header and no URL: the system's own, else the name of the error."""
    below = error.__cause__ if isinstance(error.__cause__, OSError) else None  # aiohttp's own may name the URL
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or below or error
    words = getattr(cause, "strerror", None) or getattr(cause, "verify_message", None)
    return str(words) if words else type(cause).__name__
