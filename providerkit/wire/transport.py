"""The transport protocol, what carries a request and returns its response, and a base for wrappers of transports."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol

import attrs

from .requests import Request, ResponseHead

logger = logging.getLogger("providerkit")


class Response(Protocol):
    """The answer to one request: its head, its body as it arrives, and where it came from."""

    @property
    def head(self) -> ResponseHead:
        """Return status and headers."""
        ...

    @property
    def source(self) -> str:
        """Return where the answer came from: "network", "cache" or "cassette"."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body, cut anywhere, never empty; raises StreamTruncated if it was cut short."""
        ...


class Transport(Protocol):
    """Send one request; leaving the context closes what is not read to its end.

    Leaving it without an exception says that the answer is complete, with one that the
    rest is not wanted.
    """

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Return the response as soon as its head is there, whatever its status; raises TransportError."""
        ...


class TransportWrapper:
    """A transport around another one; subclasses override `before`, `response` and `after`.

    Requests may go through one wrapper side by side, so it keeps nothing that belongs to one
    of them. State of one request belongs on the Response that `before` or `response` returns:
    `after` receives the same object. If it begins earlier, override `send` to create a
    wrapper for each request.
    """

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Return the context manager that calls the three methods around the inner transport's."""
        return _Sending(self, request)

    async def before(self, request: Request) -> Response | None:
        """Return a response to answer the request without sending it, or None to send it.

        If this raises, nothing is sent and `after` is not called.
        """
        return None

    def response(self, response: Response) -> Response:
        """Return the response to deliver in place of the inner transport's, whose head has arrived."""
        return response

    async def after(self, request: Request, response: Response | None, failure: BaseException | None) -> None:
        """Take note of how the request ended; called once, when the inner transport has been left.

        `response` is the one that was delivered, None if there was none. `failure` is None if
        the answer is complete, CancelledError if the caller left early. An exception that
        this raises is logged and does not replace the failure.
        """


@attrs.define(eq=False)
class _Sending:
    """One request on its way through a wrapper; not a generator, so that only its user closes it."""

    _wrapper: TransportWrapper
    _request: Request
    _response: Response | None = None
    _entered: AbstractAsyncContextManager[Response] | None = None

    async def __aenter__(self) -> Response:
        response = await self._wrapper.before(self._request)
        if response is None:
            try:
                response = await self._enter()
            except BaseException as failure:
                await self.__aexit__(type(failure), failure, failure.__traceback__)
                raise
        self._response = response
        return response

    async def _enter(self) -> Response:
        sending = self._wrapper.inner.send(self._request)
        response = await sending.__aenter__()
        self._entered = sending
        return self._wrapper.response(response)  # awaits nothing, so no cancellation comes between

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._entered.__aexit__(kind, error, trace) if self._entered is not None else None
        finally:
            await self._finish(error)

    async def _finish(self, failure: BaseException | None) -> None:
        try:
            await self._wrapper.after(self._request, self._response, failure)
        except Exception as error:  # noqa: BLE001 - the plugin boundary: it must not hide how the request ended
            logger.warning("%s: after raised %s", type(self._wrapper).__name__, type(error).__name__)
