"""Cache answers in a SQLite file: what was answered well is not asked again for a while.

Kept are answers that were read to an end which is proven, and nothing else: no refusals,
nothing cut, no lists of models. A request is known by a hash of its method, its URL, its
body and its headers, the key among them, so nobody is given what another's key has paid
for, and the file holds no request. It does hold the answers: it is its owner's alone to read.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import attrs
import orjson

from ..chat.events import Event, Finish
from ..errors import ConfigurationError, InvalidOption, ProviderKitError, StreamMalformed
from ..plugins.hookspecs import hookimpl
from ..wire.decoder import Decoder, DecoderWrapper
from ..wire.headers import Headers
from ..wire.masks import Mask
from ..wire.requests import Endpoint, Request, ResponseHead
from ..wire.strict_json import loads
from ..wire.transport import Response, Transport, TransportWrapper
from .files import PRIVATE, make_private

T = TypeVar("T")

logger = logging.getLogger("providerkit")

DAY = 86_400.0
PIECE = 2**16  # bytes
BUSY = 1.0  # seconds to wait for another process that writes

# Names of one request or visit, which the wire demands and nobody means, and of this program's version.
_CHANCE = re.compile(
    r"(?:.*-)?(?:request|correlation|trace|span|visitor|session)-id|(?:x-)?idempotency-key|traceparent|tracestate"
    r"|date|user-agent"
)
_ANY_TEXT = orjson.OPT_NON_STR_KEYS  # the names that aiohttp gives are of a kind of str
_MAGIC = b"SQLite format 3\0"
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_COLUMNS = ["request", "saved", "status", "headers", "body"]
_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS answers (
        request BLOB PRIMARY KEY, saved REAL NOT NULL,
        status INTEGER NOT NULL, headers BLOB NOT NULL, body BLOB NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS answers_by_age ON answers (saved)",
)
FIND = "SELECT saved, status, headers, body FROM answers WHERE request = ?"
FORGET = "DELETE FROM answers WHERE request = ?"
FORGET_OLD = "DELETE FROM answers WHERE saved < ?"
KEEP = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)"


@attrs.frozen
class Answer:
    """Hold an answer that was kept."""

    head: ResponseHead
    body: bytes


class Store:
    """Answers in a file; each call has a connection of its own, so threads, loops and forks share none.

    The work for one answer does not grow with their number. A row that is not of this
    program's making is forgotten, and so is a table of other columns if the file has no
    other. Raises sqlite3.Error and OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        """Make the file where it is missing, and see that it is a store, without waiting for who writes to it."""
        self._make()
        # By SQLite: whoever else opens and closes the file drops the locks of the other threads.
        with closing(sqlite3.connect(self._path, timeout=0)) as database:
            try:
                database.execute("PRAGMA schema_version")
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode not in _PASSING and not self._begins_as_a_database():
                    raise

    def _begins_as_a_database(self) -> bool:
        with self._path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC

    def find(self, request: bytes, since: float) -> Answer | None:
        """Give the answer that was kept for a request, unless it is older."""

        def read(database: sqlite3.Connection) -> Answer | None:
            database.text_factory = _no_column
            row = database.execute(FIND, (request,)).fetchone()
            answer = _answer(row)
            if row is not None and answer is None:
                database.execute(FORGET, (request,))
            return answer if answer and row[0] >= since else None

        return self._do(read)

    def keep(self, request: bytes, answer: Answer, now: float, since: float) -> None:
        """Keep an answer in place of an earlier one, and forget what is too old."""
        headers = orjson.dumps(dict(answer.head.headers), option=_ANY_TEXT)
        row = (request, now, answer.head.status, headers, answer.body)

        def write(database: sqlite3.Connection) -> None:
            database.execute(FORGET_OLD, (since,))
            database.execute(KEEP, row)

        self._do(write)

    def forget(self, request: bytes) -> None:
        """Keep no answer to a request."""
        self._do(lambda database: database.execute(FORGET, (request,)))

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._make()
        with closing(sqlite3.connect(self._path, timeout=BUSY)) as database, database:
            _prepare(database)
            return work(database)

    def _make(self) -> None:
        if not make_private(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, PRIVATE))


def _prepare(database: sqlite3.Connection) -> None:
    columns = [name for _, name, *_ in database.execute("PRAGMA table_info(answers)")]
    if columns not in ([], _COLUMNS):  # of another version, or another program
        others = database.execute("SELECT name FROM sqlite_master WHERE tbl_name != 'answers'").fetchone()
        if others is not None:
            raise sqlite3.DatabaseError("it is the database of another program")
        database.execute("DROP TABLE answers")
    for statement in _SCHEMA:
        database.execute(statement)


def _no_column(data: bytes) -> None:
    """Read a text as None: no column is one."""


def _answer(row: object) -> Answer | None:
    """Read a row; returns None unless all of it is as `keep` writes it."""
    match row:
        case (int() | float(), int() as status, bytes() as headers, bytes() as body):
            named = _named(headers)
            return None if named is None else Answer(ResponseHead(status, Headers(named)), body)
    return None


def _named(headers: bytes) -> dict[str, str] | None:
    try:
        named = orjson.loads(headers)
    except orjson.JSONDecodeError:
        return None
    return named if isinstance(named, dict) and all(isinstance(value, str) for value in named.values()) else None


def _is_age(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


class Cache:
    """Be the extension that answers what it has seen answered before.

    `path` is the file, None one in the user's folder for caches; `max_age` says for how many
    seconds an answer is good, None for ever. Raises InvalidOption for a `max_age` that is no
    number of seconds; a run raises ConfigurationError where the file can't be used.

        providerkit.run("Why is the sky blue?", provider="koala", extensions=[Cache("answers.sqlite")])
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, max_age: float | None = DAY) -> None:
        if max_age is not None and not _is_age(max_age):
            shown = repr(max_age) if isinstance(max_age, float) else type(max_age).__name__  # an int may have no repr
            raise InvalidOption(f"max_age is {shown}; expected seconds, 0 or above, or None for ever", option="max_age")
        self._path = None if path is None else Path(path).absolute()
        self._max_age = max_age
        self._told: set[str] = set()
        self._under_way: dict[int, _Miss] = {}

    @property
    def path(self) -> Path:
        """Say where the file is."""
        return self._path or _default_folder() / "providerkit" / "answers.sqlite"

    @hookimpl(wrapper=True)
    def build_request(self, endpoint: Endpoint) -> Generator[None, Request, Request]:
        """Learn which headers callers set: those are meant, whatever their name."""
        self._told |= {name.lower() for name in endpoint.headers}
        return (yield)

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Generator[None, Transport, Transport]:
        """Stand before the transport."""
        inner = yield
        store = Store(self.path)
        try:
            store.check()
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"the cache {self.path} can't be used: {reason}; {_WAY_OUT}") from None
        return CachingTransport(inner, self, store)

    @hookimpl(wrapper=True)
    def parse_stream(self, head: ResponseHead) -> Generator[None, Decoder, Decoder]:
        """Look at who reads an answer that may be kept: it knows whether the wire has said the end."""
        decoder = yield
        miss = self._under_way.get(id(head))
        if miss is not None:
            miss.decoder = decoder = _Noting(decoder)
        return decoder

    def fingerprint(self, request: Request) -> bytes:
        """Give the hash by which a request is known."""
        try:
            body = loads(request.body or b"null")
        except StreamMalformed:
            body = sha256(request.body or b"").hexdigest()
        headers = {name.lower(): value for name, value in request.headers.items()}
        meant = {name: value for name, value in headers.items() if name in self._told or not _CHANCE.fullmatch(name)}
        described = [request.method, request.url, meant, body]
        return sha256(orjson.dumps(described, option=orjson.OPT_SORT_KEYS | _ANY_TEXT)).digest()

    def since(self) -> float:
        """Give the time before which an answer is too old."""
        return 0.0 if self._max_age is None else time.time() - self._max_age

    def watch(self, miss: _Miss) -> None:
        """Expect the decoder of an answer, which is known by its head."""
        self._under_way[id(miss.head)] = miss

    def unwatch(self, miss: _Miss) -> None:
        """Expect it no longer."""
        self._under_way.pop(id(miss.head), None)


def _default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the user's folder for caches (XDG base directories 0.8; on Windows, the local application data).

    Raises ConfigurationError if nothing says where the user is at home.
    """
    folder = environment.get("XDG_CACHE_HOME", "")
    if not Path(folder).is_absolute():  # which the specification has passed over
        folder = environment.get("LOCALAPPDATA", "") if sys.platform == "win32" else ""
    try:
        return Path(folder) if folder else Path.home() / ".cache"
    except RuntimeError:
        raise ConfigurationError(f"the cache has no folder: this user has no home directory; {_WAY_OUT}") from None


_WAY_OUT = "name a file, as in Cache('answers.sqlite'), or set XDG_CACHE_HOME to a folder"


class CachingTransport(TransportWrapper):
    """A transport that answers from the store, and sends through another one what is not in it."""

    def __init__(self, inner: Transport, cache: Cache, store: Store) -> None:
        super().__init__(inner)
        self._cache = cache
        self._store = store

    async def before(self, request: Request) -> _Hit | None:
        """Return the answer that was kept, if there is one."""
        answer = await self._ask(self._store.find, self._cache.fingerprint(request), self._cache.since())
        return None if answer is None else _Hit(answer)

    def response(self, response: Response) -> _Miss:
        """Watch an answer that may be kept."""
        miss = _Miss(response)
        self._cache.watch(miss)
        return miss

    async def after(self, request: Request, response: Response | None, failure: BaseException | None) -> None:
        """Keep an answer whose end is proven; forget one that was kept and can't be read."""
        if isinstance(response, _Miss):
            self._cache.unwatch(response)
            if failure is None and response.is_proven:
                facts = response.answer(), time.time(), self._cache.since()
                await self._ask(self._store.keep, self._cache.fingerprint(request), *facts)
        elif isinstance(response, _Hit) and isinstance(
            failure, ProviderKitError
        ):  # by a plugin of another version, say
            await self._ask(self._store.forget, self._cache.fingerprint(request))

    async def _ask(self, work: Callable[..., T], *facts: object) -> T | None:
        """Ask the store in a thread of its own; a store that fails keeps nobody from an answer."""
        try:
            return await asyncio.to_thread(work, *facts)
        except (OSError, sqlite3.Error, ValueError) as error:
            logger.warning("the cache %s is passed over: %s", self._cache.path, error)
            return None


class _Hit:
    """Be the response that was kept."""

    source = "cache"

    def __init__(self, answer: Answer) -> None:
        self._body = answer.body
        self.head = answer.head

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body, in large pieces."""
        for start in range(0, len(self._body), PIECE):
            yield self._body[start : start + PIECE]


class _Noting(DecoderWrapper):
    """Decode, and note what proves the end."""

    _finish: Finish | None = None
    _waits_for_body = False  # only the end of the body proves that of the answer

    def close(self) -> list[Event]:
        """Take the end of the body, which says the end of the answer unless the last bytes do."""
        had_ended = self.decoder.ended
        events = super().close()
        self._waits_for_body = had_ended or not self.decoder.ended
        return events

    def transform(self, events: list[Event]) -> list[Event]:
        """Look for the Finish."""
        if events and isinstance(last := events[-1], Finish):
            self._finish = last
        return events

    def proves(self, head: ResponseHead) -> bool:
        """Return whether the end is proven of an answer with this head, all of which was read."""
        return self._finish is not None and self._finish.proven and (head.framed or not self._waits_for_body)


class _Miss:
    """Be a response that comes, and may be kept."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._read: list[bytes] = []
        self._pieces: AsyncIterator[bytes]
        self.head = response.head
        self.source = response.source
        self.decoder: _Noting | None = None  # of a chat answer

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it comes."""
        self._pieces = self._response.chunks()
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._pieces)
        self._read.append(piece)
        return piece

    @property
    def is_proven(self) -> bool:
        """Return whether the wire or HTTP has proven the end of a chat answer that was read."""
        return self.decoder is not None and self.decoder.proves(self.head)

    def answer(self) -> Answer:
        """Give what is to be kept."""
        headers = ((name, value) for name, value in self.head.headers.items() if not Mask.is_secret(name))
        return Answer(attrs.evolve(self.head, headers=Headers(headers)), b"".join(self._read))
