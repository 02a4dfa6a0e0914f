"""Decisions as pure functions of values: how long to wait, what to try again, how much to take.

No clock in here: whoever keeps time passes it in, in seconds of one monotonic clock
(`retry_after` alone wants the time of day).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from enum import Enum
from math import isfinite
from typing import Any, Protocol

import attrs

from ..errors import (
    BadRequest,
    ConfigurationError,
    ConnectError,
    ContentFiltered,
    ContextLengthExceeded,
    Disconnected,
    InvalidOption,
    PluginError,
    ProviderError,
    ProviderKitError,
    QuotaExhausted,
    RateLimited,
    ServerError,
    StreamError,
    TimedOut,
    TransportError,
    UnexpectedContent,
    is_finite_number,
    short_repr,
)
from ..wire.headers import Headers


class Clock(Protocol):
    """Keep time for a Client, in seconds; a test passes one of its own, and waits for nothing."""

    def now(self) -> float:
        """Return the time, from any origin; it never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait before the next attempt."""
        ...

    def jitter(self) -> float:
        """Return a random number from 0 up to 1, to spread what waits."""
        ...

    def call_later(self, seconds: float, ring: Callable[[], None]) -> Alarm:
        """Have `ring` called on the event loop after so many seconds, unless it is cancelled."""
        ...


class Alarm(Protocol):
    """A call that is to come, as asyncio.TimerHandle does."""

    def cancel(self) -> None:
        """Let it not come."""
        ...


_ADVICE = {
    "connect": "no connection within {seconds} s; is the address right?",
    "first_event": "no content within {seconds} s of the start of the attempt",
    "idle": "no content for {seconds} s in mid-answer",
    "total": "the whole call took longer than {seconds} s",
}


def timed_out(clock: str, seconds: float) -> TimedOut:
    """Make the error that names the clock that fired."""
    return TimedOut(_ADVICE[clock].format(seconds=f"{seconds:g}"), clock=clock, seconds=seconds)


def _checked_seconds(timeouts: Timeouts, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (is_finite_number(value) and value > 0):
        raise InvalidOption(
            f"Timeouts({attribute.name}={short_repr(value)}): it takes seconds above 0, or None for no limit",
            option="timeouts",
        )


class _Unchosen(float):
    """A limit that nobody has chosen, so a shorter one may stand in for it."""


FIRST_EVENT = _Unchosen(60.0)
HURRIED = 10.0  # seconds to the first event where nobody chose a limit and another route remains


@attrs.frozen(kw_only=True)
class Timeouts:
    """Limit how long a run may wait, in seconds; None is no limit.

    `connect`: for a connection, the wait for the pool included. `first_event`: from the
    start of an attempt to its first content; 10 where another route remains and none was
    chosen, but for answers that come whole and models that reason. `idle`: between pieces
    of content (comments and keep-alives do not count). Both run only while the network is
    waited for, never while the caller works on what it was given. `total`: the whole call,
    all its attempts, rounds and tools. Raises InvalidOption for a value that is not None or a
    finite number above 0.
    """

    connect: float | None = attrs.field(default=10.0, validator=_checked_seconds)
    first_event: float | None = attrs.field(default=FIRST_EVENT, validator=_checked_seconds)
    idle: float | None = attrs.field(default=60.0, validator=_checked_seconds)
    total: float | None = attrs.field(default=None, validator=_checked_seconds)

    def hurried(self) -> Timeouts:
        """Return the limits of an attempt after which another route remains."""
        return attrs.evolve(self, first_event=HURRIED) if isinstance(self.first_event, _Unchosen) else self


def _checked_count(limits: Limits, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or not is_finite_number(value) or value < 0:
        raise InvalidOption(
            f"Limits({attribute.name}={short_repr(value)}): it takes a whole number, 0 or above", option="limits"
        )


@attrs.frozen(kw_only=True)
class Limits:
    """Limit what a Client takes in.

    `event`: bytes that may arrive without making an event, and that the events before the
    first content may take in memory. `error_body`: bytes that are
    read of an answer that is none. `connections`: open at once on one event loop, 0 for
    no limit. Raises InvalidOption for what is no whole number, or below 0.
    """

    event: int = attrs.field(default=64 * 2**20, validator=_checked_count)
    error_body: int = attrs.field(default=2**20, validator=_checked_count)
    connections: int = attrs.field(default=0, validator=_checked_count)


@attrs.define
class Waiting:
    """Know which clock fires next, from stamps that the exchange makes.

    `started` is the start of the call, `since` that of the present wait for the network
    (None while the caller has its turn), `waited` the seconds of waiting before it, `clock`
    that which counts until the next content (None if the answer is known: what still
    follows is bounded elsewhere, and no clock takes it away).
    """

    timeouts: Timeouts
    started: float
    since: float | None = None
    waited: float = 0.0
    clock: str | None = "first_event"

    def begin(self, now: float) -> None:
        """Note that the network is waited for; raises TimedOut if the whole call has taken too long."""
        total = self.timeouts.total
        if total is not None and self.clock is not None and now >= self.started + total:
            raise timed_out("total", total)
        self.since = now

    def end(self, now: float) -> None:
        """Note that the wait is over."""
        if self.since is not None:
            self.waited += now - self.since
            self.since = None

    def content(self) -> bool:
        """Note that content has come, which ends the wait: from the next one on the idle clock counts.

        Tell whether that may fire before a timer that is set for the one before.
        """
        before, self.clock = self.clock, "idle"
        self.since = None
        self.waited = 0.0
        if before == "idle":
            return False
        first_event, idle = self.timeouts.first_event, self.timeouts.idle
        return idle is not None and (first_event is None or idle < first_event)

    def next(self) -> tuple[str, float] | None:
        """Return the clock that fires first and the moment it does; None if none is running."""
        if self.clock is None:
            return None
        moments = []
        limit: float | None = getattr(self.timeouts, self.clock)
        if self.since is not None and limit is not None:
            moments.append((self.since + limit - self.waited, self.clock))
        if self.timeouts.total is not None:
            moments.append((self.started + self.timeouts.total, "total"))
        if not moments:
            return None
        moment, clock = min(moments)
        return clock, moment


DOUBLINGS = 64  # of the wait at most, lest it overflow; no base that is worth waiting for is not at its cap by then


def _checked_retry(retry: Retry, attribute: attrs.Attribute[Any], value: Any) -> None:
    whole = attribute.name == "attempts"
    least = 1 if whole else 0
    if not is_finite_number(value) or not value >= least or (whole and not isinstance(value, int)):
        wanted = "a whole number, 1 or above" if whole else "seconds, 0 or above"
        raise InvalidOption(f"Retry({attribute.name}={short_repr(value)}): it takes {wanted}", option="retry")


@attrs.frozen(kw_only=True)
class Retry:
    """Say how often one route is tried, and how long to wait in between.

    `attempts`: how many on one route, the first included. The wait before the next is
    random, up to `base` seconds, twice that before the one after, and never over `cap`
    ("full jitter"). Where the provider says how long to wait, that is done instead, if it
    is at most `retry_after_cap` seconds (at most `cap` where another route remains). Raises
    InvalidOption for `attempts` below 1 and for waits that are not finite numbers from 0.
    """

    attempts: int = attrs.field(default=3, validator=_checked_retry)
    base: float = attrs.field(default=0.5, validator=_checked_retry)
    cap: float = attrs.field(default=8.0, validator=_checked_retry)
    retry_after_cap: float = attrs.field(default=120.0, validator=_checked_retry)

    def delay(self, failed: int, asked: float | None, jitter: float, *, others: bool) -> float | None:
        """Return the seconds to wait after so many failed attempts on a route; None if it is not tried again.

        `asked` is what the provider asks for, `jitter` a number from 0 up to 1, `others`
        whether another route remains.
        """
        if failed >= self.attempts:
            return None
        if asked is None:
            return float(jitter * min(self.cap, self.base * 2.0 ** min(failed - 1, DOUBLINGS)))
        return asked if asked <= (self.cap if others else self.retry_after_cap) else None


class Remedy(Enum):
    """What can be done about a failed attempt."""

    RETRY = "the same route may answer"
    NEXT = "this route will not answer, another may"
    NONE = "no route will answer otherwise"


def remedy(error: ProviderKitError) -> Remedy:
    """Return what can be done about a failed attempt.

    The provider's own word (`x-should-retry`) wins. A route on which a clock fired is not
    tried again: it is silent, and would be again.
    """
    match error:
        case ProviderError(should_retry=bool(wanted)):
            return Remedy.RETRY if wanted else Remedy.NEXT
        case ContentFiltered() | TimedOut(clock="total"):
            return Remedy.NONE
        case ContextLengthExceeded() | QuotaExhausted() | TimedOut() | PluginError():
            return Remedy.NEXT
        case RateLimited() | ServerError() | ConnectError() | Disconnected() | StreamError():
            return Remedy.RETRY
        case ProviderError(status=408 | 409 | 429):
            return Remedy.RETRY
        case BadRequest() | ConfigurationError():
            return Remedy.NONE
    return Remedy.NEXT


def is_route_failure(error: ProviderKitError) -> bool:
    """Return whether a failure says that its route is down, rather than that this call can't be served."""
    if isinstance(error, TimedOut):
        return error.clock != "total"
    return isinstance(error, TransportError | StreamError | ServerError | RateLimited | UnexpectedContent)


@attrs.define
class Breaker:
    """Keep calls from a route that is down: a circuit breaker.

    It opens after 3 failures in a row; then one call in 10 seconds probes the route, and
    the first success closes it.
    """

    failures: int = 0
    tried: float = 0.0

    THRESHOLD = 3
    PROBE = 10.0

    @property
    def is_open(self) -> bool:
        """Return whether the route is taken to be down."""
        return self.failures >= self.THRESHOLD

    def allows(self, now: float) -> bool:
        """Return whether the route may be tried."""
        return not self.is_open or now - self.tried >= self.PROBE


@attrs.define
class Budget:
    """Stop retry storms: a bucket of tokens that retries empty and answers fill.

    The numbers are those of the AWS SDKs' standard mode (November 2026): 500 tokens, 14 for
    a retry, 5 where the provider throttles; an answer gives back what its last retry took,
    else 1.
    """

    tokens: int = 500

    FULL = 500

    def spend(self, error: ProviderKitError) -> int:
        """Take the tokens for one retry and say how many; 0 where too few are left."""
        cost = 5 if isinstance(error, RateLimited) else 14
        if cost > self.tokens:
            return 0
        self.tokens -= cost
        return cost

    def refill(self, tokens: int) -> bool:
        """Return tokens back, and tell whether it is full again."""
        self.tokens = min(self.FULL, self.tokens + tokens)
        return self.tokens == self.FULL


MAX_KEPT = 256  # routes, and hosts: what is called may be named by those whom a service serves


class Health:
    """The routes that are down and the hosts that had too many retries, for one Client.

    Only those that are not well are kept, and of them no more than 256 routes and 256
    hosts. One too many pushes out the route that failed the longest ago and is not taken to
    be down, else the one that has been down the longest, and the host with the most tokens.
    """

    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}  # in the order of their last failure
        self._budgets: dict[str, Budget] = {}

    def is_down(self, route: str) -> bool:
        """Return whether the breaker of a route is open."""
        return route in self._breakers and self._breakers[route].is_open

    def allows(self, route: str, now: float) -> bool:
        """Return whether a route may be tried: it is not down, or due for a probe."""
        return route not in self._breakers or self._breakers[route].allows(now)

    def attempt(self, route: str, now: float) -> None:
        """Note that a route is being tried, so that no other call probes it at once."""
        if route in self._breakers:
            self._breakers[route].tried = now

    def fail(self, route: str) -> None:
        """Note a failure."""
        breaker = self._breakers.pop(route, None) or Breaker()
        if len(self._breakers) >= MAX_KEPT:
            kept = self._breakers.items()
            del self._breakers[next((name for name, other in kept if not other.is_open), next(iter(self._breakers)))]
        breaker.failures += 1
        self._breakers[route] = breaker

    def succeed(self, route: str, host: str, spent: int = 0) -> None:
        """Note an answer, the last retry before which took so many tokens."""
        self._breakers.pop(route, None)
        budget = self._budgets.get(host)
        if budget is not None and budget.refill(spent or 1):
            self._budgets.pop(host, None)

    def spend(self, host: str, error: ProviderKitError) -> int:
        """Take the tokens for one retry and return how many; 0 if too few are left."""
        if host not in self._budgets and len(self._budgets) >= MAX_KEPT:
            del self._budgets[max(self._budgets, key=lambda name: self._budgets[name].tokens)]
        return self._budgets.setdefault(host, Budget()).spend(error)


def retry_after(headers: Headers, now: float, until: float | None = None) -> float | None:
    """Read how many seconds a provider asks to wait, never less than 0; None if it does not say.

    `retry-after-ms` wins over Retry-After as seconds, as a float, or as an HTTP date
    (RFC 9110, section 10.2.3). A date, or the moment `until` which something else has said,
    is held against the answer's own Date, else against `now` (both in seconds since 1970).
    """
    for text, unit in ((headers.get("retry-after-ms"), 0.001), (headers.get("retry-after"), 1.0)):
        if text is not None and (seconds := _number(text)) is not None:
            return max(0.0, seconds * unit)
    moment = _date(headers.get("retry-after")) or until
    if moment is None:
        return None
    return max(0.0, moment - (_date(headers.get("date")) or now))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _date(text: str | None) -> float | None:
    from email.utils import parsedate_to_datetime  # it brings half of `email`, for a header that is rare

    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
