"""Record what providers answer into a cassette: bytes, their timing, and how each attempt ended."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import AbstractAsyncContextManager
from typing import Self

import attrs

from ..chat.models import Model
from ..chat.options import Chat
from ..errors import ProviderKitError, StreamError, StreamTruncated, TimedOut, TransportError
from ..plugins.hookspecs import hookimpl
from ..wire.requests import Request, ResponseHead
from ..wire.transport import Response, Transport, TransportWrapper
from .blocks import BlockExtension
from .cassettes import Cassette, RecordedExchange, describe_request
from .redaction import Redaction


class Recorder(BlockExtension):
    """Be the extension that records; as a context manager, be active for the runs that start within."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._cassette = Cassette(path)
        self._latest = threading.local()

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        super().__exit__(kind, *failure)
        if kind is None and self._cassette.failure is not None:
            raise self._cassette.failure

    @hookimpl
    def observe(self, chat: Chat, model: Model) -> Reasons:
        """Watch for the errors of a run that its transport is not told of."""
        self._latest.reasons = Reasons(self)
        return self._latest.reasons  # type: ignore[no-any-return]  # a thread's own attributes have no types

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Generator[None, Transport, Transport]:
        """Record what is sent, and what comes."""
        inner = yield
        self._cassette.begin()
        reasons = self._latest.__dict__.pop("reasons", None)  # observe has just been asked, but where models are listed
        return RecordingTransport(inner, self, reasons)

    def redaction(self, request: Request) -> Redaction:
        """Say what is secret in a request and its answer."""
        return Redaction.of(request, self._secrets)

    def write(self, exchange: RecordedExchange, redaction: Redaction) -> None:
        """Put an exchange onto the cassette."""
        self._cassette.append(exchange, redaction)


class Reasons:
    """Learn, as an observer, why an attempt was given up before anything came: a clock, or its user.

    The transport sees only that it is cancelled.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._unexplained: tuple[RecordedExchange, Redaction] | None = None

    def explain_later(self, exchange: RecordedExchange, redaction: Redaction) -> None:
        """Keep an exchange until the run says how its attempt ended."""
        self._unexplained = (exchange, redaction)

    def retry(self, error: ProviderKitError, delay: float) -> None:
        """Take the reason of an attempt that others follow."""
        self.error(error)

    def error(self, error: ProviderKitError | None) -> None:
        """Take the reason of the last attempt; None where the run was left."""
        if self._unexplained is not None:
            exchange, redaction = self._unexplained
            self._unexplained = None
            exchange.error = error if isinstance(error, TimedOut) else None
            self._recorder.write(exchange, redaction)


@attrs.frozen
class RecordingTransport:
    """A transport that sends through another one, and records."""

    inner: Transport
    recorder: Recorder
    reasons: Reasons | None

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Record one exchange."""
        return _Recording(self, request).send(request)


class _Recording(TransportWrapper):
    """One exchange under way, and its response."""

    def __init__(self, transport: RecordingTransport, request: Request) -> None:
        super().__init__(transport.inner)
        self._transport = transport
        self._redaction = transport.recorder.redaction(request)
        self._exchange = RecordedExchange(describe_request(request, self._redaction))
        self._started = 0.0
        self._waited_in_vain = False
        self._response: Response
        self._pieces: AsyncIterator[bytes]

    async def before(self, request: Request) -> None:
        """Take the time."""
        self._started = asyncio.get_running_loop().time()

    def response(self, response: Response) -> Self:
        """Record the head, and stand in for the response to record its body."""
        self._response = response
        self._exchange.head, self._exchange.head_at = response.head, self._seconds()
        return self

    async def after(self, request: Request, response: Response | None, failure: BaseException | None) -> None:
        """Record how the exchange ended."""
        if response is not None:
            if failure is None:
                self._exchange.end = "complete"
            self._write(self._exchange.error or self._reason(failure))
        elif isinstance(failure, TransportError | StreamError):
            self._write(failure)
        elif isinstance(failure, asyncio.CancelledError):
            self._leave_unanswered()

    @property
    def head(self) -> ResponseHead:
        """Give status and headers."""
        return self._response.head

    @property
    def source(self) -> str:
        """Say where the answer came from."""
        return self._response.source

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it comes."""
        self._pieces = self._response.chunks()
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._waited_in_vain = True
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._waited_in_vain = False
            self._exchange.end = "complete"
            raise
        except (TransportError, StreamError) as error:
            self._exchange.error = error
            raise
        self._waited_in_vain = False
        self._exchange.pieces.append((self._seconds(), piece))
        return piece

    def _reason(self, error: BaseException | None) -> ProviderKitError | None:
        """Say what ended an answer that its reader did not end."""
        if isinstance(error, TimedOut):
            return error
        if self._waited_in_vain and isinstance(error, ProviderKitError):  # of a body that was not waited for any longer
            return StreamTruncated("the rest of the answer did not come in time")
        return None

    def _leave_unanswered(self) -> None:
        if self._transport.reasons is None:
            self._write(None)
        else:
            self._exchange.end_at = self._seconds()
            self._transport.reasons.explain_later(self._exchange, self._redaction)

    def _write(self, error: ProviderKitError | None) -> None:
        self._exchange.error = error
        self._exchange.end_at = self._seconds()
        self._transport.recorder.write(self._exchange, self._redaction)

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started


def record(path: str | os.PathLike[str]) -> Recorder:
    """Record every request and its answer into a cassette, for `replay` to give again.

    As a context manager it records the runs that start within; as one of `extensions=[...]`
    those of a call or a Client. The file is begun anew with the first run, and is its owner's
    alone to read, since what was asked and answered is in it. Keys and cookies are not:
    `***` stands in their place. Raises CassetteError, at the start of a run or at the end of the
    block, where the file can't be written.

        with providerkit.record("cassettes/sky.jsonl"):
            providerkit.run("Why is the sky blue?", provider="koala").result()
    """
    return Recorder(path)
