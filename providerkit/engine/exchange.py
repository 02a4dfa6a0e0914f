"""One attempt, end to end: the path of the data, top to bottom.

build_request → send → parse_stream → feed … close → events. Every error that leaves is
one of providerkit's, knows the text that was delivered before it, and shows no key.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager

from ..chat.events import Event, size_of
from ..chat.replies import Attempt
from ..errors import Phrase, ProviderKitError, StreamMalformed
from ..plugins.boundary import claim
from ..wire.requests import Request
from ..wire.transport import Response
from .answer import Answer
from .clocks import Watch
from .observers import logger
from .operations import Collector, Operation
from .refusals import add_address
from .run_state import RunState
from .targets import Target, finalize_error, merge_headers


class Exchange:
    """One attempt, batch by batch.

    `hurried` says that another route remains. It is not an async generator: those nest badly
    when an event loop closes all of them at once.
    """

    def __init__(
        self, state: RunState, target: Target, question: Operation, collector: Collector, *, hurried: bool = False
    ) -> None:
        self._state = state
        self._target = target
        self._question = question
        self._collector = collector
        self._observers = state.observers
        self._is_observed = bool(state.observers)
        self._hurried = hurried
        self._clock = state.bound.clock
        self._started = self._clock.now()
        self._request: Request | None = None
        self._watch: Watch | None = None
        self._sending: AbstractAsyncContextManager[Response] | None = None
        self._answer: Answer | None = None
        self._ended = False
        self._held = 0  # bytes of the events before the first content

    async def next(self) -> list[Event] | None:
        """Return the next events, the last of which is the Finish; None after it.

        The collector has taken them in before they are given.
        """
        if self._ended:
            return None
        try:
            with self._watch or self._begin() as watch:
                answer = self._answer or await self._send(watch)
                events: list[Event] = []
                while not events and not answer.finish:
                    events = await answer.next()
                    if self._collector.add(events):
                        watch.content()
                    elif events and not self._collector.has_content:
                        self._weigh(events)
                if answer.finish:
                    events = [*events[:-1], *self._collector.make_ids(self._question.messages), events[-1]]
            if self._is_observed and events:
                self._observers.tell("events", tuple(events))
            if answer.finish:
                await self.aclose()
        except ProviderKitError as raised:
            error = raised
            add_address(error, self._target, self._request)
        except BaseException as raised:  # noqa: BLE001 - the plugin boundary: a decoder may raise anything
            error = self._target.hooks.failed("it broke in mid-answer", raised)
        else:
            return events or None
        await self.aclose(error)
        raise finalize_error(error, self._target, self._collector.text)

    def _weigh(self, events: list[Event]) -> None:
        """Count what is held because content has not come; raises StreamMalformed if it is too much."""
        cap = self._state.bound.limits.event
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
            logger.warning("%s: closing raised %s", self._target.route, type(claim(raised)).__name__)

    def _note_end(self, error: ProviderKitError | None) -> None:
        seconds = self._clock.now() - self._started
        self._state.attempts.append(Attempt(self._target.route, error, seconds, self._collector.source))
        logger.info("%s: %s in %.3f s", self._target.route, type(error).__name__ if error else "ended", seconds)
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
        self._request = merge_headers(self._question.build_request(self._target), self._target.endpoint)
        hurried = self._hurried and self._request.stream and not self._target.model.reasoning
        timeouts = self._state.bound.timeouts
        self._watch = Watch(self._clock, timeouts.hurried() if hurried else timeouts, self._state.start())
        return self._watch

    async def _send(self, watch: Watch) -> Answer:
        request = self._request
        assert request is not None  # _begin has made it
        if self._is_observed:
            self._observers.tell("attempt", self._target.route, request)
        sending = self._state.transport.send(request)
        response = await watch.send(sending)
        self._sending = sending
        self._collector.source = response.source
        request_id = response.head.request_id
        self._collector.request_id = self._target.secrets.mask(request_id) if request_id else None
        if logger.isEnabledFor(logging.DEBUG):
            shown = self._target.secrets.mask(repr(request))  # a path may hold the key
            logger.debug("%s: %d from %s", self._target.route, response.head.status, shown)
        if self._is_observed:
            self._observers.tell("head", self._target.secrets.mask_head(response.head))
        self._answer = Answer(self._target, self._question, response, watch, self._state.bound.limits)
        await self._answer.begin()
        return self._answer
