"""Replay a cassette: every answer comes from the file, and nothing is ever sent.

A request is answered by the first recorded one that equals it and was not given yet. Equal
are method, URL (but for the port of a server on loopback), and body: where it is JSON, as a
value, so neither spaces nor the order of members count. Headers are not compared.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Collection, Generator, Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import attrs

from ..errors import CassetteError, InvalidOption, UnmatchedRequest
from ..plugins.hookspecs import hookimpl
from ..wire.requests import Request, ResponseHead
from ..wire.transport import Transport, TransportWrapper
from .blocks import BlockExtension
from .cassettes import RecordedExchange, describe_request, read
from .redaction import Redaction

BEFORE, AFTER = 20, 40  # characters that are shown around the first that differs


class Player(BlockExtension):
    """Be the extension that replays; as a context manager, be active for the runs that start within."""

    def __init__(self, path: str | os.PathLike[str], *, pace: float = 0.0, ignore: Collection[str] = ()) -> None:
        super().__init__()
        if isinstance(pace, bool) or not isinstance(pace, int | float) or not 0 <= pace < float("inf"):
            raise InvalidOption(
                f"pace is {pace!r}; it takes 0 (at once), 1 (as recorded) or another factor", option="pace"
            )
        self._path = os.fspath(path)
        self._pace = pace
        self._ignore = frozenset([ignore] if isinstance(ignore, str) else ignore)
        self._left = read(path)
        self._given: list[RecordedExchange] = []
        self._lock = threading.Lock()

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Generator[None, Transport, Transport]:
        """Stand in for every transport within."""
        return ReplayingTransport((yield), self)

    def take(self, request: Request) -> RecordedExchange:
        """Give the recorded exchange of a request, each once; raises UnmatchedRequest where none is left."""
        redactions = (Redaction.of(request, self._secrets), Redaction())  # a made-up key may be a word of the chat
        forms = [self._comparable(describe_request(request, redaction)) for redaction in redactions]
        with self._lock:
            for exchange in self._left:
                if self._comparable(exchange.request) in forms:
                    self._left.remove(exchange)
                    self._given.append(exchange)
                    return exchange
            raise self._unmatched(forms[0])

    async def wait(self, seconds: float) -> None:
        """Let as much time pass as the pace says; at once still means to let others have a turn."""
        await asyncio.sleep(max(seconds, 0.0) * self._pace)

    def left_here(self, exchange: RecordedExchange) -> CassetteError:
        """Make the error of a run that wants to know more than was recorded."""
        return CassetteError(
            f"{self._path}:{exchange.line}: whoever recorded this answer left it here, and the run asks for more",
            path=self._path,
            line=exchange.line,
        )

    def _comparable(self, described: dict[str, Any]) -> _Canonical:
        kept = {name: value for name, value in described.items() if name != "headers"}
        return _Canonical(_without(kept | {"url": _place(kept["url"])}, self._ignore))

    def _unmatched(self, asked: _Canonical) -> UnmatchedRequest:
        what = f"{asked.value['method']} {asked.value['url'].partition('?')[0]}"
        given = [exchange.line for exchange in self._given if self._comparable(exchange.request) == asked]
        if given:
            lines = " and ".join(map(str, given))
            return UnmatchedRequest(
                f"{self._path} has no answer left to {what}: what was recorded, at line {lines}, has been given",
                path=self._path,
            )
        if not self._left:
            words = f"{self._path} has no answer to {what}; all that were recorded have been given"
            return UnmatchedRequest(words, path=self._path)
        nearest, differing = min(
            ((exchange, list(self._comparable(exchange.request).differences(asked))) for exchange in self._left),
            key=lambda pair: (any(line.startswith(("method", "url")) for line in pair[1]), len(pair[1])),
        )
        difference = "\n".join(differing)
        return UnmatchedRequest(
            f"{self._path} has no answer to {what}; the nearest recorded request, of line {nearest.line}, differs:\n"
            f"{difference}",
            path=self._path,
            line=nearest.line,
            difference=difference,
        )


def _without(value: Any, names: Collection[str]) -> Any:
    """Leave out members of objects by name."""
    match value:
        case dict():
            return {name: _without(member, names) for name, member in value.items() if name not in names}
        case list():
            return [_without(item, names) for item in value]
    return value


def _place(url: str) -> str:
    """Give a URL without its port where that is chance: on loopback."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        local = False
    return parts._replace(netloc=f"[{host}]" if ":" in host else host).geturl() if local else url


@attrs.frozen(eq=False)
class _Canonical:
    """Compare JSON values strictly: 1, 1.0 and true are three."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Canonical) and next(self.differences(other), None) is None

    __hash__ = None  # type: ignore[assignment]  # its value has none

    def differences(self, asked: _Canonical) -> Iterator[str]:
        """Name what differs, a line each: where, what was recorded, what is asked."""
        return _differences(self.value, asked.value, "")


def _differences(recorded: Any, asked: Any, place: str) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in dict.fromkeys([*recorded, *asked]):
            here = f"{place}.{name}" if place else name
            if name not in asked:
                yield f"{here}: recorded {_brief(recorded[name])}, asked without it"
            elif name not in recorded:
                yield f"{here}: recorded without it, asked {_brief(asked[name])}"
            else:
                yield from _differences(recorded[name], asked[name], here)
    elif isinstance(recorded, list) and isinstance(asked, list) and len(recorded) == len(asked):
        for index, pair in enumerate(zip(recorded, asked, strict=True)):
            yield from _differences(*pair, f"{place}[{index}]")
    elif isinstance(recorded, str) and isinstance(asked, str) and recorded != asked:
        pairs = enumerate(zip(recorded, asked, strict=False))
        same = next((at for at, (one, other) in pairs if one != other), min(len(recorded), len(asked)))
        start = max(same - BEFORE, 0)
        yield f"{place}: recorded {_brief(recorded, start)}, asked {_brief(asked, start)}"
    elif type(recorded) is not type(asked) or recorded != asked:
        yield f"{place}: recorded {_brief(recorded)}, asked {_brief(asked)}"


def _brief(value: Any, start: int = 0) -> str:
    if not isinstance(value, str):
        shown = repr(value)
        return shown if len(shown) <= BEFORE + AFTER else f"{shown[: BEFORE + AFTER]}..."
    end = start + BEFORE + AFTER
    return f"{'...' if start else ''}{value[start:end]!r}{'...' if len(value) > end else ''}"


class ReplayingTransport(TransportWrapper):
    """A transport that answers from a cassette, and sends nothing."""

    def __init__(self, inner: Transport, player: Player) -> None:
        super().__init__(inner)
        self._player = player

    async def before(self, request: Request) -> _Replay:
        """Return the recorded response; raises what was raised when it was recorded."""
        exchange = self._player.take(request)
        if exchange.head is None:
            await self._player.wait(exchange.end_at)
            raise exchange.error or self._player.left_here(exchange)
        await self._player.wait(exchange.head_at)
        return _Replay(exchange.head, exchange, self._player)


@attrs.frozen(eq=False)
class _Replay:
    """A recorded response."""

    head: ResponseHead
    _exchange: RecordedExchange
    _player: Player
    source: str = "cassette"

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the pieces as they were cut, then the end."""
        exchange = self._exchange
        at = exchange.head_at
        for later, piece in exchange.pieces:
            await self._player.wait(later - at)
            at = later
            yield piece
        if exchange.end != "complete":
            await self._player.wait(exchange.end_at - at)
            raise exchange.error or self._player.left_here(exchange)


def replay(path: str | os.PathLike[str], *, pace: float = 0.0, ignore: Collection[str] = ()) -> Player:
    """Answer every request from a cassette that `record` has made; nothing is sent.

    As a context manager it answers the runs that start within; as one of `extensions=[...]`
    those of a call or a Client. Each answer is given once. `pace` says how fast: 0 is at
    once, 1 as it was recorded. `ignore` names members of JSON bodies that are not compared,
    such as ids that a provider makes up. Raises CassetteError, here, where the file can't be
    read; a run raises UnmatchedRequest, with the difference, for a request that was not
    recorded, and CassetteError where it asks for more of an answer than was.

        with providerkit.replay("cassettes/sky.jsonl"):
            providerkit.run("Why is the sky blue?", provider="koala").result()
    """
    return Player(path, pace=pace, ignore=ignore)
