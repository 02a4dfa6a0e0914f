"""The transport protocol: what carries a request and gives its response."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from .requests import Request, ResponseHead

if TYPE_CHECKING:
    pass


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
