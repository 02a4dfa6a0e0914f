"""Limit how much is asked of each host, in requests and in tokens a minute, over all threads and event loops.

A leaky bucket for each host: a minute's worth may go at once, then as much as leaks. Who
asks first goes first, and large requests are not overtaken by small ones. Waiting does not
count as the provider's silence: of a run's clocks only `total` goes on.

aiolimiter, the package for this, serves the smallest amount first, and each of its
limiters belongs to one event loop: blocking calls, async calls and the next asyncio.run
would each have had a limit of their own (1.3.0, November 2026).
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Generator
from typing import Protocol
from urllib.parse import urlsplit

import attrs

from .. import (
    Event,
    Finish,
    InvalidOption,
    Phrase,
    Reply,
    Request,
    Transport,
    TransportWrapper,
    hookimpl,
    pause_clocks,
)

MINUTE = 60.0
HOSTS = 256  # that are kept before those are forgotten for which nothing waits
LONGEST = 10  # minutes that one answer may keep a host shut: a wire that counts nonsense must not shut it for good
BYTES = 4  # of a request's body, for each token that it is taken for until the provider has counted


class Timekeeper(Protocol):
    """Keep time, as a providerkit.Clock does."""

    def now(self) -> float:
        """Give the time in seconds, the same for all threads."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Limit:
    """Wait before a request where one more would be too many for its host; both limits are for one minute.

    Tokens are guessed from the size of a request before it is sent, and set right by the
    provider's count when it has answered. None is no limit; without any argument the limits
    are those of PROVIDERKIT_LIMIT_REQUESTS and PROVIDERKIT_LIMIT_TOKENS. `clock` keeps its
    time; tests pass their own. Raises InvalidOption where nothing is limited, or by what is
    no number above 0.
    """

    def __init__(
        self, requests: float | None = None, tokens: float | None = None, *, clock: Timekeeper | None = None
    ) -> None:
        if requests is None and tokens is None:
            requests, tokens = _from_environment("requests"), _from_environment("tokens")
        if requests is None and tokens is None:
            raise InvalidOption(
                "limit has nothing to limit; ",
                Phrase("pass Limit(requests=...) or set", "set"),
                " PROVIDERKIT_LIMIT_REQUESTS or PROVIDERKIT_LIMIT_TOKENS",
                option="extensions",
            )
        self._rates = (
            _checked("Limit(requests=...)", requests, requests),
            _checked("Limit(tokens=...)", tokens, tokens),
        )
        self._clock = clock or _Monotonic()
        self._buckets: dict[str, tuple[_Bucket, _Bucket]] = {}
        self._next_sweep = HOSTS
        self._lock = threading.Lock()

    @hookimpl
    def observe(self) -> object:
        """Follow one run, for what it costs in the end."""
        return _Correction(self)

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Generator[None, Transport, Transport]:
        """Let requests wait."""
        inner = yield
        return _Limited(inner, self)

    async def _wait(self, request: Request) -> None:
        """Take what a request needs, and wait until it is there; who leaves gives it back."""
        guess = _guess(request)
        seconds = self._take(request.url, 1, guess)
        if seconds <= 0:
            return
        try:
            with pause_clocks():
                await self._clock.sleep(seconds)
        except BaseException:  # cancelled, as a rule: what was not sent must not count
            self._take(request.url, -1, -guess)
            raise

    def _take(self, url: str, requests: float, tokens: float) -> float:
        host = urlsplit(url).netloc.rpartition("@")[2]
        with self._lock:
            now = self._clock.now()
            if host not in self._buckets:
                self._forget_empty(now)
                self._buckets[host] = _Bucket(self._rates[0]), _Bucket(self._rates[1])
            ours = self._buckets[host]
            return max(bucket.take(amount, now) for bucket, amount in zip(ours, (requests, tokens), strict=True))

    def _forget_empty(self, now: float) -> None:
        """Forget the hosts whose buckets have leaked out: they are as if they had never been asked."""
        if len(self._buckets) >= self._next_sweep:
            kept = {host: pair for host, pair in self._buckets.items() if any(bucket.empty_at > now for bucket in pair)}
            self._buckets = kept
            self._next_sweep = max(HOSTS, 2 * len(kept))

    @property
    def _most_tokens(self) -> float:
        """The tokens that one answer can count for: ten minutes' worth, whatever a wire says."""
        return LONGEST * (self._rates[1] or 0.0)


def _guess(request: Request) -> float:
    return len(request.body or b"") / BYTES


def _from_environment(what: str) -> float | None:
    name = f"PROVIDERKIT_LIMIT_{what.upper()}"
    value = os.environ.get(name, "").strip()
    try:
        return _checked(name, float(value), value) if value else None
    except ValueError:
        raise _not_a_limit(name, value) from None


def _checked(name: str, rate: float | None, shown: object) -> float | None:
    if rate is not None and not _is_rate(rate):
        raise _not_a_limit(name, shown)
    return rate


def _is_rate(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= sys.float_info.max


def _not_a_limit(name: str, value: object) -> InvalidOption:
    shown = "an int" if isinstance(value, int) and value > sys.float_info.max else repr(value)  # it may have no repr
    return InvalidOption(f"{name} is {shown}; expected a finite number above 0", option="extensions")


class _Monotonic:
    """Keep the time that all event loops of a process share."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@attrs.define
class _Bucket:
    """Know when what was put in will have leaked out: that one number is the level, and the queue too.

    `rate` is a minute's worth, and what it holds; None is a bucket without a bottom.
    """

    rate: float | None
    empty_at: float = float("-inf")

    def take(self, amount: float, now: float) -> float:
        """Put in an amount, also one below 0, and say how many seconds to wait until it has room; 0 or less is none.

        What is larger than the bucket waits until it would have leaked down to a full one.
        """
        if self.rate is None:
            return 0.0
        self.empty_at = max(self.empty_at, now) + amount * MINUTE / self.rate
        return self.empty_at - now - MINUTE


class _Limited(TransportWrapper):
    """A transport that sends requests in their turn."""

    def __init__(self, inner: Transport, limit: Limit) -> None:
        super().__init__(inner)
        self._limit = limit

    async def before(self, request: Request) -> None:
        """Wait for the turn of a request."""
        await self._limit._wait(request)


class _Correction:
    """Observe one run, and set its guess right."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._request: Request | None = None
        self._answered: list[Request] = []  # one in each round

    def attempt(self, route: str, request: Request) -> None:
        """Note what is asked."""
        self._request = request

    def events(self, batch: tuple[Event, ...]) -> None:
        """Note that it was answered; for an attempt that fails, the guess stands."""
        if self._request is not None and isinstance(batch[-1], Finish):
            self._answered.append(self._request)

    def finish(self, reply: Reply) -> None:
        """Put the provider's count in place of the guess."""
        usage, requests = reply.usage, self._answered
        if usage is None or not requests or reply.attempts[-1].source != "network":
            return
        counts = [count for count in (usage.input_tokens, usage.output_tokens) if count is not None]
        if usage.input_tokens is not None:
            guessed = sum(map(_guess, requests))
            counted = min(sum(counts), max(self._limit._most_tokens, guessed))
            self._limit._take(requests[-1].url, 0, counted - guessed)
