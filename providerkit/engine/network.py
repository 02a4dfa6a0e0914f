"""The transport: the only module that opens connections, and the only client of aiohttp's.

aiohttp's traps are closed here: no total timeout, no reading by line, no redirects, no
cookies, no compressed streams, and none of its exceptions gets out (their reprs hold the
Authorization header). Sessions belong to their event loop and close with it. aiohttp is
imported where it is used: it takes a third of a second, and only who sends needs it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InvalidOption, ProviderKitError, StreamTruncated
from ..plugins.boundary import is_cancelled
from ..wire.headers import Headers
from ..wire.masks import Mask, secrets_of_proxy
from ..wire.requests import Request, ResponseHead
from .aiohttp_seams import close_response, connector_class, make_session, make_socket, resolver
from .failures import closed_early, readable, reason_of, send_failure
from .proxies import is_socks, socks_connector, split_credentials

if TYPE_CHECKING:
    from aiohttp import BaseConnector, ClientResponse, ClientSession

    from .policy import Limits

Connector: TypeAlias = "BaseConnector"  # of aiohttp; what `run` takes as its connector
LARGE = 2**20  # bytes of a request's body
NO_LIMIT = 1e8  # seconds; None would be a minute, to aiohttp-socks


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
        """Return the session of the running loop; raises ConfigurationError once closed."""
        if self.closed:
            raise closed_early()
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
    connector = connector_class()(limit=connections, socket_factory=make_socket, resolver=resolver())
    session = make_session(connector, owned=True)
    try:
        yield session
    finally:
        await session.close()


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
        self._proxy_address, self._proxy_headers = split_credentials(None if is_socks(proxy) else proxy)
        self._connector = connector
        self._is_shared = connector is None and not is_socks(proxy)
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=connect, sock_connect=NO_LIMIT if is_socks(proxy) else None
        )

    def send(self, request: Request) -> _Sending:
        """Return the response as soon as its head is there; leaving closes what is unread."""
        return _Sending(self, request)

    def _own_session(self) -> ClientSession:
        """Make a session for one request: over the caller's connector, or a SOCKS proxy."""
        if self._connector is None:
            return make_session(socks_connector(str(self._proxy)), owned=True)
        _check_connector(self._connector)
        return make_session(self._connector, owned=False)

    async def _request(self, session: ClientSession, request: Request) -> ClientResponse:
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
                timeout=self._timeout,
            )
        except asyncio.CancelledError as cancelled:
            if not session.closed or is_cancelled():
                raise cancelled.with_traceback(None)  # noqa: B904 - aiohttp's frames hold the headers
            failure = closed_early()  # so aiohttp tells those who wait for a place in the pool
        except Exception as error:  # noqa: BLE001 - whatever it is, its repr may hold the key
            failure = send_failure(error, request.url, self._connect, self._proxy)
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
            close_response(self._response)
        else:
            self._loop.call_soon_threadsafe(close_response, self._response)

    async def __aenter__(self) -> NetworkResponse:
        if self._transport._is_shared:
            session = await self._transport._connections.session()
        else:
            session = self._own = self._transport._own_session()
        try:
            response = await self._transport._request(session, self._request)
        except BaseException:
            if self._own is not None:
                await self._own.close()
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
                close_response(response)
            if self._own is not None:
                await self._own.close()

    async def _settle(self) -> None:
        """Let the end of the body in, where it is at the door: only then is the connection used again.

        Two turns of the loop, which is no wait: one to read the socket, one to come back.
        """
        for _ in range(2):
            if not self._answer.is_complete:
                await asyncio.sleep(0)


class NetworkResponse:
    """An answer that comes over the network; iterate it once."""

    source = "network"

    def __init__(self, response: ClientResponse) -> None:
        self._content = response.content
        self.head = ResponseHead(
            response.status,
            Headers(
                [(name, value if value.isascii() else readable(value)) for name, value in response.headers.items()]
            ),
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
        """Return the body as the socket gives it."""
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
        raise StreamTruncated(f"the connection broke in mid-answer: {reason_of(reason)}")

    def _reset(self) -> BaseException | None:
        """Return what broke the connection; None if it is open, or was closed in good order."""
        return self._lost.exception() if self._lost and self._lost.done() else None


def _retrieve(closed: asyncio.Future[None]) -> None:
    closed.exception()  # asyncio complains of one that nobody looks at


def _check_connector(connector: BaseConnector) -> None:
    if connector.closed:
        raise InvalidOption("connector is closed; pass one that is open", option="connector")
    if connector._loop is not asyncio.get_running_loop():
        raise InvalidOption(
            "connector belongs to another event loop; blocking calls run on a loop of their own, "
            "so pass a connector to async calls only",
            option="connector",
        )


def _payload(body: bytes | None) -> bytes | BytesIO | None:
    """Return a large body as a file, which aiohttp sends in pieces; it warns of large bytes."""
    return BytesIO(body) if body and len(body) > LARGE else body
