"""One attempt, end to end: the path of the data, top to bottom.

build_request → send → parse_stream → feed … close → events. Every error that leaves is
one of providerkit's, knows the text that was delivered before it, and shows no key.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, closing

from ..chat.events import Event, size_of
from ..chat.models import Model
from ..chat.replies import Attempt, Transcript
from ..errors import (
    ProviderKitError,
    StreamMalformed,
)
from ..plugins.boundary import claim
from ..wire.requests import Request, ResponseHead
from ..wire.transport import Response, Transport
from .answer import Answer, read_refusal, read_whole
from .clocks import Watch
from .observers import Observers, logger
from .refusals import add_address
from .targets import Call, dressed, told


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
        self._answer: Answer | None = None
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
            add_address(error, self._call, self._request)
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
                f"the events before the first content take {self._held} bytes; "
                f"the cap is {cap} (Client(limits=Limits(event=...)))"
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

    async def _send(self, watch: Watch) -> Answer:
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
        self._answer = Answer(self._call, response, watch)
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
    add_address(error, call, request)
    raise told(error, call)


async def _fetch(call: Call, request: Request, transport: Transport) -> tuple[ResponseHead, bytes]:
    """Get an answer that comes whole; raises the provider's error for one that is none."""
    with Watch(call.clock, call.timeouts, call.clock.now()) as watch, closing(watch), watch.present():
        async with transport.send(dressed(request, call.endpoint)) as response:
            if not 200 <= response.head.status < 300:
                watch.settle()
                raise await read_refusal(call, response.head, response.chunks())
            return response.head, await read_whole(response.chunks(), call.limits.event)
