"""Routing: attempts over routes. The one loop that tries again, falls back and begins again.

An answer is committed once a batch with content has gone to a caller who streams it. Until
then a failure is repaired out of sight; after it, it is the caller's, unless the run was
asked to begin again. Who collects the whole answer has seen none of it, so nothing is
committed before its end. What is decided is in policy.py; here it is done.
"""

from __future__ import annotations

from ..chat.events import Event, Restart
from ..chat.replies import Attempt
from ..errors import AuthenticationError, ProviderKitError
from . import blocking
from .exchange import Exchange
from .observers import logger
from .operations import Collector, Operation, TokenOperation, ValueCollector
from .policy import Remedy, is_route_failure, remedy
from .run_state import RunState
from .targets import Target, finalize_error, with_token


class Routing:
    """One question of a run, from its first attempt to its last, batch by batch."""

    def __init__(self, state: RunState, question: Operation, collector: Collector, *, collected: bool) -> None:
        bound = state.bound
        self._state = state
        self._question = question
        self._collector = collector
        self._collected = collected
        self._retry, self._clock, self._health = bound.retry, bound.clock, bound.health
        self._left = list(bound.targets)  # routes that have not been tried
        self._target = bound.first
        self._failed = 0  # attempts on the present route
        self._spent = 0  # tokens of the last retry
        self._delay = 0.0  # before the next attempt
        self._exchange: Exchange | None = None
        self._held: list[Event] = []  # events without content, until one with content comes
        self._committed = False
        self._started = False
        self._ended = False
        self.is_waiting = False

    async def next(self) -> list[Event] | None:
        """Return the next batch of events, None at the end; raises RunConsumed in a fork."""
        blocking.check_process(self._state.process)
        self.is_waiting = True
        try:
            if not self._started:
                self._start()
            while True:
                try:
                    exchange = self._exchange or await self._begin()
                    events = await exchange.next()
                except ProviderKitError as failure:
                    if restart := self._recover(failure):
                        return [restart]
                    continue
                if self._collector.finished and events:
                    self._health.succeed(self._target.place, self._target.host, self._spent)
                if self._committed or events is None:
                    return events
                self._held += events
                if self._collector.has_content or self._collector.finished:
                    self._committed = not self._collected
                    events, self._held = self._held, []
                    return events
        except ProviderKitError as raised:
            error = raised
        except BaseException as raised:  # noqa: BLE001 - the boundary: a Clock may be anybody's
            error = finalize_error(self._state.broken(raised), self._target, self._collector.text)
        finally:
            self.is_waiting = False
        self._state.error = error
        raise error

    async def aclose(self) -> None:
        """End it, whether it is at its end or not; in a fork it goes on in the parent."""
        if self._ended:
            return
        self._ended = True
        if self._exchange is None:
            return
        if self._state.process != blocking.process():
            await self._exchange.abandon()
        else:
            await self._exchange.aclose()

    def _start(self) -> None:
        self._started = True
        self._state.start()
        self._check_fallbacks()
        self._move()

    async def _begin(self) -> Exchange:
        if self._delay:
            await self._clock.sleep(self._delay)
        target = self._target
        self._collector.begin(target.info.name, target.model.name, keeps_data="provider_data" in target.supports)
        self._health.attempt(target.place, self._clock.now())
        if target.hooks.answers("build_token_request"):
            target = await self._with_token(target)
        self._exchange = Exchange(self._state, target, self._question, self._collector, hurried=bool(self._left))
        return self._exchange

    async def _with_token(self, target: Target) -> Target:
        """Return the target with a token that is still good, which is asked for if there is none."""
        tokens = self._state.bound.tokens
        secret = tokens.get(target, self._clock.now())
        if secret is None:
            collector = ValueCollector()
            exchange = Exchange(self._state, target, TokenOperation(), collector, hurried=bool(self._left))
            while await exchange.next() is not None:
                pass
            secret = tokens.keep(target, collector.value, self._clock.now())
        return with_token(target, secret)

    def _check_fallbacks(self) -> None:
        """See that every route can serve the question, before the first byte is sent."""
        for target in self._state.bound.targets[1:]:
            try:
                self._question.build_request(target)
            except ProviderKitError as error:
                raise finalize_error(error, target) from None

    def _move(self) -> None:
        """Go to the next route that may be tried; one that is down waits until no other is left."""
        now = self._clock.now()
        allowed = (target for target in self._left if self._health.allows(target.place, now))
        self._target = next(allowed, self._left[0])
        self._left.remove(self._target)
        self._failed = 0
        self._spent = 0

    def _recover(self, error: ProviderKitError) -> Restart | None:
        """Prepare the next attempt, or raise the error if there is none."""
        committed, self._committed = self._committed, False
        self._exchange = None
        self._held = []
        self._failed += 1
        if isinstance(error, AuthenticationError):
            self._state.bound.tokens.forget(self._target)
        if is_route_failure(error):
            self._health.fail(self._target.place)
        if committed and not self._state.bound.restarts:
            raise error
        cure = remedy(error)
        delay = None if committed and self._left else self._wait(error, cure)
        if delay is None:
            if cure is Remedy.NONE or not self._left:
                raise _with_attempts(error, self._state.attempts)
            self._move()
        self._delay = delay or 0.0
        logger.info("%s: next after %.3f s", self._target.route, self._delay)
        self._state.observers.tell("retry", error, self._delay)
        return Restart(self._target.route, error) if committed else None

    def _wait(self, error: ProviderKitError, cure: Remedy) -> float | None:
        """Return the seconds until the same route is tried again; None if it is not."""
        if cure is not Remedy.RETRY or (self._left and self._health.is_down(self._target.place)):
            return None
        asked = getattr(error, "retry_after", None)
        delay = self._retry.delay(self._failed, asked, self._clock.jitter(), others=bool(self._left))
        total = self._state.bound.timeouts.total
        if delay is None or (total is not None and self._clock.now() + delay >= self._state.start() + total):
            return None
        self._spent = self._health.spend(self._target.host, error)
        return delay if self._spent else None


def _with_attempts(error: ProviderKitError, attempts: list[Attempt]) -> ProviderKitError:
    """Note on an error how the attempts before it went, which a caller without the Run can't see."""
    if len(attempts) > 1:
        lines = (f"{attempt.route}: {attempt.error or 'answered'}" for attempt in attempts)
        error.add_note(f"After {len(attempts)} attempts:\n" + "\n".join(lines))
    return error
