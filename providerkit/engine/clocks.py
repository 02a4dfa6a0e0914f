"""The clocks of one attempt: one timer, which reads only stamp.

A timer for each read would cost four times as much as a stamp. When the timer rings, it
asks what is due: nothing yet, then it is set again; or a clock has run out, then the task
that waits is cancelled and gets TimedOut in place of the CancelledError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Self, TypeVar

from .policy import Alarm, Clock, Timeouts, Waiting, timed_out

T = TypeVar("T")

_present: ContextVar[Watch | None] = ContextVar("providerkit_watch", default=None)


@contextmanager
def pause_clocks() -> Iterator[None]:
    """Stop the clocks that bound the network, while a Transport's `send` waits for something else.

    `first_event` does not run within the block, and goes on after it; `total` never stops.
    A rate limit waits so: the provider is not silent, it was not asked yet. Where no run
    waits, this does nothing.
    """
    watch = _present.get()
    if watch is None:
        yield
        return
    with watch.paused():
        yield


class LoopClock:
    """Keep the time of the running event loop, which may have a clock of its own."""

    def now(self) -> float:
        """Return the loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        """Return a random number from 0 up to 1."""
        import random  # only who waits needs it

        return random.random()  # noqa: S311 - it spreads what waits, and guards nothing

    def call_later(self, seconds: float, ring: Callable[[], None]) -> asyncio.TimerHandle:
        """Have the loop call `ring`."""
        return asyncio.get_running_loop().call_later(seconds, ring)


class Watch:
    """Bound the waits of one attempt.

    `started` is the start of the whole call. Entered for each wait for the network; between
    them, while the caller works on what it was given, only `total` goes on, and is looked at
    on entering. `content` says that the answer has begun, or goes on. Raises TimedOut on
    leaving, where a clock has run out.
    """

    def __init__(self, clock: Clock, timeouts: Timeouts, started: float) -> None:
        self._clock = clock
        self._waiting = Waiting(timeouts, started)
        self._loop = asyncio.get_running_loop()  # to find it anew asks the system for the process, each time
        self._timer: Alarm | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._fired: str | None = None

    def __enter__(self) -> Self:
        now = self._clock.now()
        self._waiting.begin(now)
        self._task = task = asyncio.current_task(self._loop)
        assert task is not None  # whoever awaits is a task
        self._cancelling = task.cancelling()
        if self._timer is None:
            self._arm(now)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._waiting.since is not None:  # nothing has come
            self._waiting.end(self._clock.now())
        task, self._task = self._task, None
        fired, self._fired = self._fired, None
        if fired and task and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise timed_out(fired, getattr(self._waiting.timeouts, fired)) from None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def send(self, sending: AbstractAsyncContextManager[T]) -> T:
        """Enter the sending of a request, which extensions may hold up: `pause_clocks` finds this watch."""
        token = _present.set(self)
        try:
            return await sending.__aenter__()
        finally:
            _present.reset(token)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let only `total` go on, though the task waits."""
        self._waiting.end(self._clock.now())
        try:
            yield
        finally:
            self._waiting.since = now = self._clock.now()
            self.close()  # the timer may be that of `total`, and the next to fire another
            self._arm(now)

    def settle(self) -> None:
        """Stop the clocks: what the answer is, is known, and the rest is bounded elsewhere."""
        self._waiting.clock = None

    def content(self) -> None:
        """Content has come."""
        if self._waiting.content():
            self.close()  # entering sets it anew

    def _arm(self, now: float) -> None:
        due = self._waiting.next()
        if due is not None:
            self._timer = self._clock.call_later(due[1] - now, self._ring)

    def _ring(self) -> None:
        self._timer = None
        due = self._waiting.next()
        if self._task is None or due is None:
            return
        now = self._clock.now()
        if due[1] > now:
            self._arm(now)
        else:
            self._fired = due[0]
            self._task.cancel()
