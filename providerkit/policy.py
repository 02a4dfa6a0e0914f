"""Decisions as pure functions of values: how long to wait, how much to take. No clock in here.

Whoever keeps time passes it in, in seconds of one monotonic clock (`retry_after` alone
wants the time of day).
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import attrs

from .errors import InvalidOption, TimedOut
from .wire import Headers

_ADVICE = {
    "connect": "no connection within {seconds} s; is the address right, and is the pool large enough?",
    "first_event": "no content within {seconds} s of the start of the attempt",
    "idle": "no content for {seconds} s in mid-answer",
    "total": "the whole call took longer than {seconds} s",
}


def timed_out(clock: str, seconds: float) -> TimedOut:
    """Make the error that names the clock that fired."""
    advice = _ADVICE[clock].format(seconds=f"{seconds:g}")
    return TimedOut(f"{advice} (timeouts=Timeouts({clock}=...))", clock=clock, seconds=seconds)


def _checked_seconds(timeouts: Timeouts, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise InvalidOption(
            f"Timeouts({attribute.name}={value!r}): it takes seconds above 0, or None for no limit",
            option="timeouts",
        )


@attrs.frozen(kw_only=True)
class Timeouts:
    """Limit how long a run may wait, in seconds; None is no limit.

    `connect`: for a connection, the wait for the pool included. `first_event`: from the
    start of an attempt to its first content. `idle`: between pieces of content (comments
    and keep-alives do not count). Both run only while the network is waited for, never
    while the caller works on what it was given. `total`: the whole call.
    """

    connect: float | None = attrs.field(default=10.0, validator=_checked_seconds)
    first_event: float | None = attrs.field(default=60.0, validator=_checked_seconds)
    idle: float | None = attrs.field(default=60.0, validator=_checked_seconds)
    total: float | None = attrs.field(default=None, validator=_checked_seconds)


def _checked_count(limits: Limits, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidOption(f"Limits({attribute.name}={value!r}): it takes a whole number, 0 or above", option="limits")


@attrs.frozen(kw_only=True)
class Limits:
    """Limit what a Client takes in.

    `event`: bytes that may arrive without making an event. `error_body`: bytes that are
    read of an answer that is none. `connections`: open at once on one event loop, 0 for
    no limit.
    """

    event: int = attrs.field(default=64 * 2**20, validator=_checked_count)
    error_body: int = attrs.field(default=2**20, validator=_checked_count)
    connections: int = attrs.field(default=0, validator=_checked_count)


@attrs.define
class Waiting:
    """Know which clock fires next, from stamps that the exchange makes.

    `started` is the start of the call, `since` that of the present wait for the network
    (None while the caller has its turn), `waited` the seconds of waiting before it, `clock`
    that which counts until the next content (None where none is awaited any more).
    """

    timeouts: Timeouts
    started: float
    since: float | None = None
    waited: float = 0.0
    clock: str | None = "first_event"

    def begin(self, now: float) -> None:
        """Note that the network is waited for."""
        self.since = now

    def end(self, now: float) -> None:
        """Note that the wait is over."""
        if self.since is not None:
            self.waited += now - self.since
            self.since = None

    def content(self) -> None:
        """Note that content has come, which ends the wait: from the next one on the idle clock counts."""
        self.clock = "idle"
        self.since = None
        self.waited = 0.0

    def next(self) -> tuple[str, float] | None:
        """Give the clock that fires first and the moment it does; None where none is running."""
        moments = []
        limit: float | None = getattr(self.timeouts, self.clock) if self.clock else None
        if self.clock and self.since is not None and limit is not None:
            moments.append((self.since + limit - self.waited, self.clock))
        if self.timeouts.total is not None:
            moments.append((self.started + self.timeouts.total, "total"))
        if not moments:
            return None
        moment, clock = min(moments)
        return clock, moment


def retry_after(headers: Headers, now: float) -> float | None:
    """Read how many seconds a provider asks to wait, never less than 0; None where it does not say.

    `retry-after-ms` wins over Retry-After as seconds, as a float, or as an HTTP date
    (RFC 9110, section 10.2.3), which is held against the answer's own Date, else against
    `now` (seconds since 1970).
    """
    for text, unit in ((headers.get("retry-after-ms"), 0.001), (headers.get("retry-after"), 1.0)):
        if text is not None and (seconds := _number(text)) is not None:
            return max(0.0, seconds * unit)
    moment = _date(headers.get("retry-after"))
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
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
