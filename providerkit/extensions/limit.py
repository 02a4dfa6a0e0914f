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
import threading
import time
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import urlsplit

import attrs

from .. import InvalidOption, Phrase, Reply, Request, Response, Transport, hookimpl, pause_clocks

MINUTE = 60.0
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
        self._rates = _checked("requests", requests), _checked("tokens", tokens)
        self._clock = clock or _Monotonic()
        self._buckets: dict[str, tuple[_Bucket, _Bucket]] = {}
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
                self._buckets[host] = _Bucket(self._rates[0]), _Bucket(self._rates[1])
            ours = self._buckets[host]
            return max(bucket.take(amount, now) for bucket, amount in zip(ours, (requests, tokens), strict=True))


def _guess(request: Request) -> float:
    return len(request.body or b"") / BYTES


def _from_environment(what: str) -> float | None:
    value = os.environ.get(f"PROVIDERKIT_LIMIT_{what.upper()}")
    try:
        return float(value) if value else None
    except ValueError:
        raise InvalidOption(f"PROVIDERKIT_LIMIT_{what.upper()} is {value!r}, no number", option="extensions") from None


def _checked(what: str, rate: float | None) -> float | None:
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, (int, float)) or not rate > 0):
        raise InvalidOption(f"Limit({what}={rate!r}): it takes a number above 0", option="extensions")
    return rate


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


@attrs.frozen
class _Limited:
    """Send requests in their turn."""

    inner: Transport
    limit: Limit

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Wait, then send."""
        return _Turn(self.inner.send(request), self.limit, request)


@attrs.frozen
class _Turn:
    """Wait on entering; no generator, so that nothing but its user closes it."""

    sending: AbstractAsyncContextManager[Response]
    limit: Limit
    request: Request

    async def __aenter__(self) -> Response:
        await self.limit._wait(self.request)
        return await self.sending.__aenter__()

    async def __aexit__(self, *failure: object) -> bool | None:
        return await self.sending.__aexit__(*failure)  # type: ignore[arg-type]  # it was given those three


class _Correction:
    """Observe one run, and set its guess right."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._request: Request | None = None

    def attempt(self, route: str, request: Request) -> None:
        """Note what is asked."""
        self._request = request

    def finish(self, reply: Reply) -> None:
        """Put the provider's count in place of the guess."""
        usage, request = reply.usage, self._request
        if usage is None or request is None or reply.attempts[-1].source != "network":
            return
        counts = [count for count in (usage.input_tokens, usage.output_tokens) if count is not None]
        if usage.input_tokens is not None:
            self._limit._take(request.url, 0, sum(counts) - _guess(request))
