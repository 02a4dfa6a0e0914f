"""Cassettes: requests and their answers in a file of JSON lines, to be read by people too.

For each exchange one line has the request, one the head of its answer, one each piece of the
body and one how it ended:

    {"cassette": 1, "request": {"method": "POST", "url": "...", "headers": {...}, "json": {...}}}
    {"head": {"status": 200, "headers": {...}}, "at": 0.01}
    {"text": "data: ...", "at": 0.02}
    {"end": "complete", "at": 0.02}

Bytes are under "json" (the body of a request only), "text" or "base64", whichever they are
first. "at" counts seconds since the request was sent. An answer that its reader left ends
with "left", one that broke with an "error", which has the name and the fields of its class.
The lines of one exchange are together, in the order in which exchanges ended.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import orjson

from ..errors import (
    CassetteError,
    ConnectError,
    Disconnected,
    ProviderKitError,
    StreamError,
    StreamMalformed,
    StreamTruncated,
    TimedOut,
    TransportError,
)
from ..wire import Headers, Request, ResponseHead, loads
from .files import check_file, open_private
from .redaction import Redaction

VERSION = 1

_BREAKS: dict[str, type[ProviderKitError]] = {
    kind.__name__: kind
    for kind in (ConnectError, Disconnected, TimedOut, TransportError, StreamTruncated, StreamMalformed, StreamError)
}


@attrs.define
class RecordedExchange:
    """Hold one request, as its line has it, and what came of it; `line` says where that is.

    `end` is "complete", "left" (by who read it) or "error"; without a `head`, nothing came
    before that.
    """

    request: dict[str, Any]
    line: int = 0
    head: ResponseHead | None = None
    head_at: float = 0.0
    pieces: list[tuple[float, bytes]] = attrs.field(factory=list)
    end: str = "left"
    error: ProviderKitError | None = None
    end_at: float = 0.0

    def lines(self, redaction: Redaction) -> Iterator[dict[str, Any]]:
        """Give the lines of the file, redacted; the request already is."""
        yield {"cassette": VERSION, "request": self.request}
        if self.head is not None:
            headers = dict(redaction.response_headers(self.head.headers))
            yield {"head": {"status": self.head.status, "headers": headers}, "at": _rounded(self.head_at)}
        redacted = redaction.pieces([piece for _, piece in self.pieces])
        for (at, _), piece in zip(self.pieces, redacted, strict=True):
            if piece:
                yield _shown(piece) | {"at": _rounded(at)}
        end = {"error": _described(self.error, redaction)} if self.error else {"end": self.end}
        yield end | {"at": _rounded(self.end_at)}


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


def _shown(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _described(error: ProviderKitError, redaction: Redaction) -> dict[str, Any]:
    fields = {name: value for name, value in vars(error).items() if name != "partial"}
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _BREAKS)
    message = "".join(map(str, error.args))  # str(error) also has what its class adds from the fields
    described: dict[str, Any] = redaction.value({"class": name, "message": message, **fields})
    return described


def describe_request(request: Request, redaction: Redaction) -> dict[str, Any]:
    """Put a request into the form of its line, redacted."""
    described = {
        "method": request.method,
        "url": redaction.url(request.url),
        "headers": redaction.request_headers(request.headers),
    }
    return described | (_described_body(request, redaction) if request.body is not None else {})


def _described_body(request: Request, redaction: Redaction) -> dict[str, Any]:
    body = request.body or b""
    try:
        return {"json": redaction.value(loads(body))}
    except StreamMalformed:
        pass
    shown = _shown(redaction.pieces([body])[0])
    if "text" in shown and request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return {"text": redaction.query(shown["text"])}
    return shown


class Cassette:
    """Write a cassette: begun anew, then appended to, whole exchanges at a time, from any thread.

    Its owner alone may read the file, which holds what was asked and answered, also if it was
    there before. `path` is where it was when this was made, whatever the working directory is
    later. `failure` is the CassetteError of an exchange that could not be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.failure: CassetteError | None = None
        self._begun = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Empty the file, or make it and its folder, the first time; raises CassetteError."""
        with self._lock:
            if not self._begun:
                try:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    open_private(self.path, "wb").close()
                except OSError as error:
                    raise _unusable(self.path, "can't be written", error) from None
                self._begun = True

    def append(self, exchange: RecordedExchange, redaction: Redaction) -> None:
        """Write one exchange."""
        data = b"".join(map(_line, exchange.lines(redaction)))
        with self._lock:
            try:
                with open_private(self.path, "ab") as file:
                    file.write(data)
            except OSError as error:
                self.failure = _unusable(self.path, "lacks an exchange that can't be written", error)


def _line(value: dict[str, Any]) -> bytes:
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS  # the names that aiohttp gives are of a kind of str
    return orjson.dumps(value, default=_plain, option=options)


def _plain(value: object) -> float | str:
    """Give what JSON has for a value of a class of its own, such as a field of an error."""
    return float(value) if isinstance(value, float) else repr(value)


def _unusable(path: Path, what: str, error: OSError) -> CassetteError:
    return CassetteError(f"the cassette {path} {what}: {error.strerror}", path=str(path))


def read(path: str | os.PathLike[str]) -> list[RecordedExchange]:
    """Read a cassette; raises CassetteError, with the number of the line, where it is none."""
    path = Path(path)
    try:
        check_file(path)
        data = path.read_bytes()
    except FileNotFoundError:
        words = f"there is no cassette {path}; record it first: with providerkit.record({str(path)!r})"
        raise CassetteError(words, path=str(path)) from None
    except OSError as error:
        raise _unusable(path, "can't be read", error) from None
    return _Reader(path).read(data)


class _Reader:
    """Read line by line, each of which says by its members what it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 0
        self._exchanges: list[RecordedExchange] = []
        self._open: RecordedExchange | None = None

    def read(self, data: bytes) -> list[RecordedExchange]:
        for number, line in enumerate(data.splitlines(), 1):
            self._line = number
            if line.strip():
                self._take(line)
        if self._open is not None:
            raise self._refused("the file stops in the middle of an exchange")
        return self._exchanges

    def _take(self, line: bytes) -> None:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise self._refused(f"it is no JSON: {error.msg}") from None
        kind = next((name for name in _KINDS if isinstance(value, dict) and name in value), None)
        if kind is None:
            raise self._refused(f"it has none of {', '.join(_KINDS)}")
        try:
            found = _KINDS[kind](value)
        except (KeyError, TypeError, ValueError, AttributeError, ProviderKitError) as error:
            raise self._refused(f"its {kind} can't be read: {type(error).__name__}: {error}") from None
        self._add(kind, found, value.get("at", 0.0))

    def _add(self, kind: str, found: Any, at: float) -> None:
        exchange = self._open
        if kind == "request":
            if exchange is not None:
                raise self._refused(f"the exchange of line {exchange.line} has no end")
            self._open = RecordedExchange(found, self._line)
            return
        if exchange is None:
            raise self._refused("no request precedes it")
        if (kind in ("text", "base64")) != (exchange.head is not None) and kind not in ("end", "error"):
            raise self._refused(f"{kind} is out of place")
        match kind:
            case "head":
                exchange.head, exchange.head_at = found, at
            case "text" | "base64":
                exchange.pieces.append((at, found))
            case _:
                exchange.end, exchange.error = found
                exchange.end_at = at
                self._exchanges.append(exchange)
                self._open = None

    def _refused(self, reason: str) -> CassetteError:
        return CassetteError(f"{self._path}:{self._line}: {reason}", path=str(self._path), line=self._line)


def _request(value: dict[str, Any]) -> dict[str, Any]:
    if value["cassette"] != VERSION:
        raise ValueError(f"this is version {value['cassette']!r} of the format; {VERSION} is known")
    request = value["request"]
    if not isinstance(request["method"], str) or not isinstance(request["url"], str):
        raise TypeError("method and url must be texts")
    return request  # type: ignore[no-any-return]  # it has been looked at


def _head(value: dict[str, Any]) -> ResponseHead:
    head = value["head"]
    _number(value)
    return ResponseHead(int(head["status"]), Headers({str(name): str(text) for name, text in head["headers"].items()}))


def _text(value: dict[str, Any]) -> bytes:
    _number(value)
    data: bytes = value["text"].encode()
    return data


def _base64(value: dict[str, Any]) -> bytes:
    _number(value)
    try:
        return base64.b64decode(value["base64"], validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _end(value: dict[str, Any]) -> tuple[str, None]:
    _number(value)
    if value["end"] not in ("complete", "left"):
        raise ValueError("it is 'complete' or 'left'")
    return value["end"], None


def _error(value: dict[str, Any]) -> tuple[str, ProviderKitError]:
    _number(value)
    told = value["error"]
    error = _BREAKS[told["class"]](str(told["message"]))
    for name in vars(error).keys() & told.keys():
        setattr(error, name, told[name])
    return "error", error


def _number(value: dict[str, Any]) -> None:
    if not isinstance(value["at"], int | float):
        raise TypeError("at is no number of seconds")


_KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "request": _request,
    "head": _head,
    "text": _text,
    "base64": _base64,
    "end": _end,
    "error": _error,
}
