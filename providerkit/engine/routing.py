"""Routing: attempts over routes. The one loop that tries again, falls back and begins anew.

An answer is committed once a batch with content has gone to a caller who streams it. Until
then a failure is repaired out of sight; after it, it is the caller's, unless the run was
asked to begin again. Who collects the whole answer has seen none of it, so nothing is
committed before its end. What is decided is in policy.py; here it is done.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..chat.events import Event, Restart
from ..chat.replies import Transcript
from ..errors import PluginError, ProviderKitError
from ..plugins.boundary import claim, describe
from . import blocking as sync
from .exchange import Exchange
from .observers import Observers
from .policy import Remedy, remedy, speaks_against
from .targets import told

if TYPE_CHECKING:
    from ..chat.messages import Message
    from .plan import PreparedCall

logger = logging.getLogger("providerkit")


class RunState:
    """What one run keeps over all its rounds and attempts.

    `prepared` is what is asked now, `said` the turns of the model and of tools before the
    present round, `started` when the first attempt began, by the clock of the call, and
    `error` what ended the run (None if nothing did). Observers and the transport are asked
    for once.
    """

    def __init__(self, prepared: PreparedCall, transcript: Transcript, *, collected: bool) -> None:
        first = prepared.first
        self.pid = sync.process()
        self.prepared = prepared
        self.transcript = transcript
        self.collected = collected
        self.clock = prepared.clock
        self.said: tuple[Message, ...] = ()
        self.started: float | None = None
        self.error: ProviderKitError | None = None
        self._ended = False
        try:
            self.observers = Observers(first.hooks.observe(first.chat, first.model))
            self.transport = first.hooks.wrap_transport(prepared.transport)
        except ProviderKitError as error:
            raise told(error, first) from None

    def go_on(self, said: Iterable[Message]) -> None:
        """Ask the same with more turns: those that the model and its tools have added."""
        added = tuple(said)
        self.said += added
        self.prepared = self.prepared.extend(added)

    def broken(self, error: BaseException) -> PluginError:
        """Return the error of what neither a plugin nor a tool has raised; the caller's own is raised again."""
        return PluginError(f"the run broke, in the Client's clock if that is not the default: {describe(claim(error))}")

    def end(self) -> None:
        """Tell the observers how the run has ended, once."""
        if self._ended or self.started is None:
            return
        self._ended = True
        if self.error is None and self.transcript.finished:
            if self.observers:  # a Reply takes time to make
                self.observers.tell("finish", self.transcript.reply())
        else:
            self.observers.tell("error", self.error)


class Routing:
    """Take one round of a run from its start to its end, batch by batch."""

    def __init__(self, run: RunState) -> None:
        prepared = run.prepared
        self._run = run
        self._prepared = prepared
        self._retry, self._clock, self._health = prepared.retry, prepared.clock, prepared.health
        self._transcript, self._observers = run.transcript, run.observers
        self._left = list(prepared.routes)  # routes that have not been tried
        self._call = prepared.first
        self._failed = 0  # attempts on the present route
        self._spent = 0  # tokens of the last retry
        self._delay = 0.0  # before the next attempt
        self._exchange: Exchange | None = None
        self._held: list[Event] = []  # events without content, until one with content comes
        self._committed = False
        self._begun = False
        self.is_waiting = False

    async def next(self) -> list[Event] | None:
        """Give the next batch of events; None at the end. Raises RunConsumed in a fork."""
        sync.check_process(self._run.pid)
        self.is_waiting = True
        try:
            while True:
                exchange = self._exchange or await self._begin()
                try:
                    events = await exchange.next()
                except ProviderKitError as failure:
                    if restart := self._recover(failure):
                        return [restart]
                    continue
                if self._transcript.finished and events:
                    self._health.succeed(self._call.place, self._call.host, self._spent)
                if self._committed or events is None:
                    return events
                self._held += events
                if self._transcript.has_content or self._transcript.finished:
                    self._committed = not self._run.collected
                    events, self._held = self._held, []
                    return events
        except ProviderKitError as raised:
            error = raised
        except BaseException as raised:  # noqa: BLE001 - the boundary: a Clock may be anybody's
            error = told(self._run.broken(raised), self._call, self._transcript.text)
        finally:
            self.is_waiting = False
        self._run.error = error
        raise error

    async def aclose(self) -> None:
        """End the run, whether it is at its end or not; in a fork nobody is told, for it goes on in the parent."""
        if self._run.pid != sync.process():
            await self._abandon()
            return
        try:
            if self._exchange is not None:
                await self._exchange.aclose()
        finally:  # it may be cancelled once more
            self._run.end()

    async def _abandon(self) -> None:
        if self._exchange is not None:
            await self._exchange.abandon()

    async def _begin(self) -> Exchange:
        if not self._begun:
            self._begun = True
            if self._run.started is None:
                self._run.started = self._clock.now()
            self._check_fallbacks()
            self._move()
        elif self._delay:
            await self._clock.sleep(self._delay)
        call = self._call
        self._transcript.begin(call.hooks.info.name, call.model.name)
        self._health.attempt(call.place, self._clock.now())
        assert self._run.started is not None  # see above
        self._exchange = Exchange(
            call,
            self._run.transport,
            self._observers,
            self._transcript,
            started=self._run.started,
            hurried=bool(self._left),
        )
        return self._exchange

    def _check_fallbacks(self) -> None:
        """See that every route can serve the call, before the first byte is sent."""
        for call in self._prepared.routes[1:]:
            try:
                call.request()
            except ProviderKitError as error:
                raise told(error, call) from None

    def _move(self) -> None:
        """Go to the next route that may be tried; one that is down waits until no other is left."""
        now = self._clock.now()
        self._call = next((call for call in self._left if self._health.allows(call.place, now)), self._left[0])
        self._left.remove(self._call)
        self._failed = 0
        self._spent = 0

    def _recover(self, error: ProviderKitError) -> Restart | None:
        """Prepare the next attempt, or raise the error where there is none."""
        committed, self._committed = self._committed, False
        self._exchange = None
        self._held = []
        self._failed += 1
        if speaks_against(error):
            self._health.fail(self._call.place)
        if committed and not self._prepared.restarts:
            raise error
        cure = remedy(error)
        delay = None if committed and self._left else self._wait(error, cure)
        if delay is None:
            if cure is Remedy.NONE or not self._left:
                raise _summed_up(error, self._transcript)
            self._move()
        self._delay = delay or 0.0
        logger.info("%s: next after %.3f s", self._call.route, self._delay)
        self._observers.tell("retry", error, self._delay)
        return Restart(self._call.route, error) if committed else None

    def _wait(self, error: ProviderKitError, cure: Remedy) -> float | None:
        """Give the seconds until the same route is tried again; None where it is not."""
        if cure is not Remedy.RETRY or (self._left and self._health.is_down(self._call.place)):
            return None
        asked = getattr(error, "retry_after", None)
        delay = self._retry.delay(self._failed, asked, self._clock.jitter(), others=bool(self._left))
        total = self._call.timeouts.total
        started = self._run.started
        assert started is not None  # an attempt has failed
        if delay is None or (total is not None and self._clock.now() + delay >= started + total):
            return None
        self._spent = self._health.spend(self._call.host, error)
        return delay if self._spent else None


def _summed_up(error: ProviderKitError, transcript: Transcript) -> ProviderKitError:
    """Note on an error how the attempts before it went, which a caller without the Run can't see."""
    if len(transcript.attempts) > 1:
        lines = (f"{attempt.route}: {attempt.error or 'answered'}" for attempt in transcript.attempts)
        error.add_note(f"After {len(transcript.attempts)} attempts:\n" + "\n".join(lines))
    return error
