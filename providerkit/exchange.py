"""One attempt, end to end: the path of the data, top to bottom.

build_request → send → parse_stream → feed … close → events. Every error that leaves is
one of providerkit's, knows the text that was delivered before it, and shows no key.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, closing
from functools import cache, lru_cache
from http import HTTPStatus
from urllib.parse import urlsplit

import attrs

from .boundary import claim
from .errors import (
    Argument,
    Phrase,
    PluginError,
    ProviderError,
    ProviderKitError,
    StreamMalformed,
    StreamTruncated,
    UnexpectedContent,
)
from .events import Attempt, Event, Finish, Transcript, has_content, size_of
from .hookspecs import Observer
from .messages import Chat, Model, ProviderInfo
from .plugins import Hooks
from .policy import Clock, Limits, Timeouts, retry_after
from .secrets import Mask
from .transport import Response, Transport
from .watch import Watch
from .wire import Decoder, Endpoint, Headers, Request, ResponseHead, shown_url

logger = logging.getLogger("providerkit")
logger.addHandler(logging.NullHandler())

AFTER_END = 1.0  # seconds that usage may take to follow the end of an answer
LEGIBLE = 10_000  # characters of what a provider says of an error
MARGIN = 1_000  # characters more that are masked, so that a secret at the cut is seen whole
ERROR_BODY = 5.0  # seconds that the body of an error may take once its head is there


@attrs.frozen
class Call:
    """Hold what the attempts on one route need, all of it resolved."""

    hooks: Hooks
    chat: Chat
    model: Model
    endpoint: Endpoint
    timeouts: Timeouts
    limits: Limits
    clock: Clock
    secrets: Callable[[], Iterable[str]] = attrs.field(default=tuple, repr=False)

    @property
    def route(self) -> str:
        """Name provider and model."""
        return f"{self.hooks.info.name}/{self.model.name}"

    @property
    def host(self) -> str:
        """Name the host that is called."""
        return urlsplit(self.endpoint.base_url).netloc

    @property
    def place(self) -> str:
        """Name the route and where it is called: what can be down."""
        return f"{self.route} at {self.endpoint.base_url}"

    def mask(self, text: str) -> str:
        """Put *** in place of every secret in a text that somebody else wrote, and cut it where nobody reads on."""
        masked = _mask(tuple(self.secrets()))(text[: LEGIBLE + MARGIN])
        return masked[:LEGIBLE] + " …" if len(masked) > LEGIBLE or len(text) > LEGIBLE + MARGIN else masked

    def mask_head(self, head: ResponseHead) -> ResponseHead:
        """Return a head whose headers repeat no secret, for those who may log it."""
        headers = Headers([(name, self.mask(value)) for name, value in head.headers.items()])
        return ResponseHead(head.status, headers)

    def request(self) -> Request:
        """Build the request, with the caller's headers laid over it."""
        return dressed(self.hooks.build_request(self.chat, self.model, self.endpoint), self.endpoint)


@lru_cache(maxsize=64)  # to make one takes longer than to use it, and a program has few keys
def _mask(secrets: tuple[str, ...]) -> Mask:
    return Mask(secrets)


class Observers:
    """Tell the observers of a run what happens; one that raises is logged and does no harm."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, what: str, *facts: object) -> None:
        """Call the method `what` of every observer that has it."""
        for observer in self._observers:
            try:
                getattr(observer, what, _ignore)(*facts)
            except BaseException as error:  # noqa: BLE001 - the plugin boundary: watching a call must not break it
                kind = type(claim(error)).__name__
                logger.warning("observer %s: %s raised %s", type(observer).__name__, what, kind)


def _ignore(*facts: object) -> None:
    """Take what an observer has no method for."""


class Exchange:
    """Run one attempt, batch by batch.

    `started` is when the whole call started; `hurried` says that another route remains. No
    async generator: those nest badly where an event loop closes all of them at once.
    """

    def __init__(
        self,
        call: Call,
        transport: Transport,
        observers: Observers,
        transcript: Transcript,
        *,
        started: float,
        hurried: bool = False,
    ) -> None:
        self._call = call
        self._transport = transport
        self._observers = observers
        self._is_observed = bool(observers)
        self._transcript = transcript
        self._call_started = started
        self._hurried = hurried
        self._started = call.clock.now()
        self._request: Request | None = None
        self._watch: Watch | None = None
        self._sending: AbstractAsyncContextManager[Response] | None = None
        self._answer: _Answer | None = None
        self._ended = False
        self._held = 0  # bytes of the events before the first content

    async def next(self) -> list[Event] | None:
        """Give the next events, the last of which is the Finish; None after it.

        The transcript has taken them in before they are given.
        """
        if self._ended:
            return None
        try:
            with self._watch or self._begin() as watch:
                answer = self._answer or await self._send(watch)
                events: list[Event] = []
                while not events and not answer.finish:
                    events = await answer.next()
                    if self._transcript.add(events):
                        watch.content()
                    elif not self._transcript.has_content:
                        self._weigh(events)
                if answer.finish:
                    events = [*events[:-1], *self._transcript.make_ids(self._call.chat), events[-1]]
            if self._is_observed and events:
                self._observers.tell("events", tuple(events))
            if answer.finish:
                await self.aclose()
        except ProviderKitError as raised:
            error = raised
            _add_address(error, self._call, self._request)
        except BaseException as raised:  # noqa: BLE001 - the plugin boundary: a decoder may raise anything
            error = self._call.hooks.failed("it broke in mid-answer", raised)
        else:
            return events or None
        await self.aclose(error)
        raise told(error, self._call, self._transcript.text)

    def _weigh(self, events: list[Event]) -> None:
        """Count what is held because content has not come; raises StreamMalformed if it is too much."""
        cap = self._call.limits.event
        self._held += sum(size_of(event, cap) for event in events)
        if self._held > cap:
            raise StreamMalformed(
                f"the events before the first content take {self._held} bytes; the cap is {cap}",
                Phrase(" (Client(limits=Limits(event=...)))", ""),
            )

    async def aclose(self, error: ProviderKitError | None = None) -> None:
        """End the attempt; what is unread is not drained, its connection is closed."""
        if self._ended:
            return
        self._ended = True
        missing = self._answer.missing if self._answer else asyncio.CancelledError()
        try:
            try:
                self._note_end(error)
            finally:
                await self._leave(error or missing)
        except BaseException as raised:  # noqa: BLE001 - the plugin boundary: what was answered stands
            logger.warning("%s: closing raised %s", self._call.route, type(claim(raised)).__name__)

    def _note_end(self, error: ProviderKitError | None) -> None:
        seconds = self._call.clock.now() - self._started
        self._transcript.attempts.append(Attempt(self._call.route, error, seconds, self._transcript.source))
        logger.info("%s: %s in %.3f s", self._call.route, type(error).__name__ if error else "ended", seconds)
        if self._watch is not None:
            self._watch.close()

    async def abandon(self) -> None:
        """Let go of what a fork has inherited; this may be under no event loop, so there is no time to tell."""
        if not self._ended:
            self._ended = True
            await self._leave(asyncio.CancelledError())

    async def _leave(self, failure: BaseException | None) -> None:
        try:
            if self._answer is not None:
                await self._answer.aclose()
        finally:
            if self._sending is not None:
                await self._sending.__aexit__(type(failure) if failure else None, failure, None)

    def _begin(self) -> Watch:
        self._request = self._call.request()
        hurried = self._hurried and self._request.stream and not self._call.model.reasoning
        timeouts = self._call.timeouts.hurried() if hurried else self._call.timeouts
        self._watch = Watch(self._call.clock, timeouts, self._call_started)
        return self._watch

    async def _send(self, watch: Watch) -> _Answer:
        request = self._request
        assert request is not None  # _begin has made it
        self._observers.tell("attempt", self._call.route, request)
        sending = self._transport.send(request)
        with watch.present():
            response = await sending.__aenter__()
        self._sending = sending
        self._transcript.source = response.source
        request_id = response.head.request_id
        self._transcript.request_id = self._call.mask(request_id) if request_id else None
        if logger.isEnabledFor(logging.DEBUG):
            shown = self._call.mask(repr(request))  # a path may hold the key
            logger.debug("%s: %d from %s", self._call.route, response.head.status, shown)
        if self._is_observed:
            self._observers.tell("head", self._call.mask_head(response.head))
        self._answer = _Answer(self._call, response, watch)
        await self._answer.begin()
        return self._answer


async def list_models(call: Call, transport: Transport) -> tuple[Model, ...]:
    """Ask the provider for its models; where it can't be asked, give those that its plugin knows."""
    request = None
    try:
        request = call.hooks.build_models_request(call.endpoint)
        if request is None:
            return tuple(Model(name) for name in call.hooks.info.models)
        head, body = await _fetch(call, request, call.hooks.wrap_transport(transport))
        return call.hooks.parse_models(head, body)
    except ProviderKitError as raised:
        error = raised
    except BaseException as raised:  # noqa: BLE001 - the plugin boundary: a wrapped transport may, too
        error = call.hooks.failed("it broke in mid-answer", raised)
    _add_address(error, call, request)
    raise told(error, call)


async def _fetch(call: Call, request: Request, transport: Transport) -> tuple[ResponseHead, bytes]:
    """Get an answer that comes whole; raises the provider's error for one that is none."""
    with Watch(call.clock, call.timeouts, call.clock.now()) as watch, closing(watch), watch.present():
        async with transport.send(dressed(request, call.endpoint)) as response:
            if not 200 <= response.head.status < 300:
                watch.settle()
                raise await _refusal(call, response.head, response.chunks())
            return response.head, await _joined(response.chunks(), call.limits.event)


def told(error: ProviderKitError, call: Call, partial: str = "") -> ProviderKitError:
    """Make an error fit to leave: it knows the partial text, and shows no key, nor does what caused it."""
    error.redact(call.mask)
    error.partial = partial
    return error


def dressed(request: Request, endpoint: Endpoint) -> Request:
    """Lay the caller's headers over the request, and that over our own."""
    headers = _own_headers(request.stream) | request.headers | endpoint.headers
    return Request(request.method, request.url, headers, request.body, request.stream)


@cache
def _own_headers(stream: bool) -> Headers:
    from importlib.metadata import version  # brings zipfile, csv and email, and only who sends needs it

    own = {"User-Agent": f"providerkit/{version('providerkit-core')}"}
    if stream:
        own["Accept-Encoding"] = "identity"  # a cut gzip stream ends cleanly, and says nothing of its end
    return Request("GET", "https://", Headers(own)).headers  # checked, once for all


_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "pause", "error", "other"})


class _Answer:
    """Decode the body of one answer, and hold it to the laws of the stream."""

    def __init__(self, call: Call, response: Response, watch: Watch) -> None:
        self._call = call
        self._watch = watch
        self._head = response.head
        self._chunks = response.chunks()
        self._decoder: Decoder
        self._start: bytearray | None = bytearray()  # the body, until it has made an event
        self._eventless = 0
        self._patience: float | None = None
        self._is_cut = False  # the end was not waited for, or the connection broke before it
        self.finish: Finish | None = None

    async def begin(self) -> None:
        """Ask the plugin for a decoder, or, where this is no answer, for its error."""
        if not 200 <= self._head.status < 300:
            self._watch.settle()
            raise await _refusal(self._call, self._head, self._chunks)
        self._decoder = self._call.hooks.parse_stream(self._head, self._call.model)

    @property
    def missing(self) -> BaseException | None:
        """Return what a transport is left with: None if the answer is complete."""
        if self.finish is None:
            return asyncio.CancelledError()
        return StreamTruncated("the end of the body did not come") if self._is_cut else None

    async def aclose(self) -> None:
        """Close the chunks where they come from a generator, which its loop would close in a task of its own."""
        if isinstance(self._chunks, AsyncGenerator):
            await self._chunks.aclose()

    async def next(self) -> list[Event]:
        """Give the events of the next bytes; those of the end of the body where none come."""
        try:
            if not self._decoder.ended:
                try:
                    chunk = await anext(self._chunks)
                except StopAsyncIteration:
                    chunk = b""
                events = self._feed(chunk) if chunk else self._close()
            else:
                events = await self._next_after_end()
        except ProviderKitError as error:
            failure = await self._explained(error)
        else:
            if self._patience is not None and any(map(has_content, events)):
                self._patience = None  # it was not the end
            if events and type(last := events[-1]) is Finish:
                if last.reason not in _REASONS:  # a server's own word
                    events[-1] = last = attrs.evolve(last, reason=self._call.mask(last.reason))
                self.finish = last
            return events
        raise failure

    async def _next_after_end(self) -> list[Event]:
        if self._patience is None:
            self._watch.settle()
            self._patience = asyncio.get_running_loop().time() + AFTER_END
            return self._decoder.feed(b"")  # an error may wait to be raised
        chunk = await self._late_chunk(self._patience)
        return self._feed(chunk) if chunk else self._close()

    async def _late_chunk(self, until: float) -> bytes:
        try:
            async with asyncio.timeout_at(until):
                return await anext(self._chunks, b"")
        except (TimeoutError, StreamTruncated):
            self._is_cut = True
            return b""

    def _feed(self, chunk: bytes) -> list[Event]:
        if self._start is not None and self._eventless < self._call.limits.error_body:
            self._start += chunk
        events = self._decoder.feed(chunk)
        if events:
            self._start = None
            self._eventless = 0
            return events
        self._eventless += len(chunk)
        if self._eventless > self._call.limits.event:
            raise StreamMalformed(
                f"{self._eventless} bytes have arrived without making an event; the cap is {self._call.limits.event}",
                Phrase(" (Client(limits=Limits(event=...)))", ""),
            )
        return events

    def _close(self) -> list[Event]:
        had_ended = self._decoder.ended
        events = self._decoder.close()
        if not events or type(events[-1]) is not Finish:
            raise PluginError(
                f"plugin {self._call.hooks.info.name!r}: its decoder's close() gave no Finish and did not raise",
                plugin=self._call.hooks.info.name,
                hook="parse_stream",
            )
        if had_ended or not self._decoder.ended:  # then only the end of the body proves that this is all
            shown = self._head.framed and not self._is_cut
            events[-1] = attrs.evolve(events[-1], proven=events[-1].proven and shown)
        return events

    async def _explained(self, error: ProviderKitError) -> ProviderKitError:
        """Complete an error; ask the provider what a body means that is no chat answer, though its status is good."""
        if self._start is None or not isinstance(error, (UnexpectedContent, StreamTruncated)):
            return _completed(error, self._call, self._head)
        self._watch.settle()
        cap = self._call.limits.error_body
        body = bytes(self._start[:cap])
        if len(body) < cap:
            body += await _error_body(self._chunks, cap - len(body))
        typed = self._call.hooks.parse_error(self._head, body) or error
        return _completed(typed, self._call, self._head)


async def _refusal(call: Call, head: ResponseHead, chunks: AsyncIterator[bytes]) -> ProviderKitError:
    body = await _error_body(chunks, call.limits.error_body)
    return _completed(call.hooks.parse_error(head, body) or _default_error(call, head), call, head)


async def _error_body(chunks: AsyncIterator[bytes], cap: int) -> bytes:
    """Read the body of an error as far as it comes: no fault in it may hide the status, which is known."""
    body = bytearray()
    try:
        async with asyncio.timeout(ERROR_BODY):
            async for chunk in chunks:
                body += chunk
                if len(body) >= cap:
                    break
    except (TimeoutError, ProviderKitError):
        pass
    return bytes(body[:cap])


async def _joined(chunks: AsyncIterator[bytes], cap: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > cap:
            raise StreamMalformed(
                f"the answer is longer than the cap of {cap} bytes", Phrase(" (Client(limits=Limits(event=...)))", "")
            )
    return bytes(body)


_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def _default_error(call: Call, head: ResponseHead) -> ProviderError:
    words = _PHRASES.get(head.status, "no reason given")
    if 300 <= head.status < 400:
        advice = ("; redirects are not followed, set ", Argument("base_url", ...), " to where the service is now")
        return ProviderError.from_status(head.status, words, *advice)
    return ProviderError.from_status(head.status, words)


_VERSION = re.compile(r"/v\d\w*(?=/|$)")


def _add_address(error: ProviderKitError, call: Call, request: Request | None) -> None:
    """Tell an error of the provider which address was asked, and what its base URL may lack."""
    if isinstance(error, ProviderError) and request is not None and error.url is None:
        error.url = shown_url(request.url)
        if not _VERSION.search(error.url):
            error.missing_path = _usual_path(call.hooks.info)


def _usual_path(info: ProviderInfo) -> str | None:
    path = urlsplit(info.default_base_url or "").path
    return path if _VERSION.search(path) else info.base_path


_SHOULD_RETRY = {"true": True, "false": False}


def _completed(error: ProviderKitError, call: Call, head: ResponseHead) -> ProviderKitError:
    if isinstance(error, ProviderError):
        error.status = error.status or head.status
        error.provider = error.provider or call.hooks.info.name
        error.request_id = error.request_id or head.request_id
        if error.retry_after is None:
            error.retry_after = retry_after(head.headers, time.time(), error.retry_at)
        if error.should_retry is None:
            error.should_retry = _SHOULD_RETRY.get(head.headers.get("x-should-retry", ""))
    return error
