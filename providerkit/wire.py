"""What crosses the wire, as values: requests, response heads, endpoints, secrets, decoders, JSON.

Nothing here does any input or output. The reprs show no header value, no query and no key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from functools import lru_cache
from typing import Any, Protocol, TypeVar, overload, runtime_checkable
from urllib.parse import urlsplit

import attrs
import orjson

from .errors import Argument, InvalidOption, PluginError, StreamMalformed
from .events import Event
from .secrets import Mask

T = TypeVar("T")

mask_of = Mask  # what a module of the core asks for that has secrets and a text


class Headers(Mapping[str, str]):
    """Hold HTTP headers: names in any case, values never shown in a repr.

    Several values of one name are joined by ", " (RFC 9110, section 5.3). `|` lays other
    headers over these, and makes new ones.

    >>> headers = Headers({"Accept": "*/*"}) | {"X-Team": "blue"}
    >>> headers, headers["accept"]
    (<Headers Accept, X-Team>, '*/*')
    """

    __slots__ = ("_items", "_sendable")

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._items: dict[str, tuple[str, str]] = {}
        self._sendable = False  # True once they have been checked
        for name, value in headers.items() if isinstance(headers, (dict, Mapping)) else headers:
            key = name.lower()
            seen = self._items.get(key)
            self._items[key] = (name, f"{seen[1]}, {value}" if seen else value)

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __or__(self, other: Mapping[str, str]) -> Headers:
        if not other:
            return self
        over = other if isinstance(other, Headers) else Headers(other)
        joined = Headers()
        joined._items = {**self._items, **over._items}
        joined._sendable = self._sendable and over._sendable
        return joined

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: T) -> str | T: ...
    def get(self, name: str, default: T | None = None) -> str | T | None:  # Mapping's own catches an error
        """Give the value of a header, or `default`."""
        found = self._items.get(name.lower())
        return default if found is None else found[1]

    def items(self) -> ValuesView[tuple[str, str]]:  # type: ignore[override]  # a view of pairs, too, and far cheaper
        """Give the pairs of names and values."""
        return self._items.values()

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self)}>"


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN = re.compile(r"[^\t\x20-\x7e]")


def _checked_headers(headers: Mapping[str, str] | None) -> Headers:
    if headers is None:
        return NO_HEADERS
    if isinstance(headers, Headers) and headers._sendable:
        return headers
    if not isinstance(headers, (dict, Mapping)):
        raise InvalidOption(
            Argument("headers"),
            f" is {type(headers).__name__}; it takes a mapping of names to values",
            option="headers",
        )
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise InvalidOption(f"{name!r} is not the name of a header", option="headers")
        if not isinstance(value, str) or _FORBIDDEN.search(value):
            raise InvalidOption(
                f"the value of the header {name!r} must be printable ASCII text without line breaks",
                option="headers",
            )
    checked = Headers(headers)
    checked._sendable = True
    return checked


NO_HEADERS = _checked_headers({})
_JSON = _checked_headers({"Content-Type": "application/json"})


class Secret:
    """A key that shows nowhere; `reveal()` returns it to the code that must send it.

    A pickle of it holds the key, as a pickle is made on purpose: keep it as you would the key.

    Raises InvalidOption for a blank key, for one with a blank at an end, which a header
    loses on its way, and for one that no header can carry.

    >>> key = Secret("sk-0123")
    >>> key, key.reveal()
    (Secret('***'), 'sk-0123')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value.strip():
            raise InvalidOption("the key must be a string that is not blank", option="api_key")
        if _FORBIDDEN.search(value) or value != value.strip():
            raise InvalidOption(
                "the key has a line break or a character beyond ASCII, or a blank at an end; "
                "was it read from a file without .strip()?",
                option="api_key",
            )
        self._value = value

    def reveal(self) -> str:
        """Give the key itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __format__(self, spec: str) -> str:
        raise TypeError("a Secret is no text; its reveal() gives the key to who must send it")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def shown_url(url: str) -> str:
    """Return an address without what may be secret in it: user and password, query, fragment."""
    before, slashes, rest = re.split("[?#]", url, maxsplit=1)[0].partition("//")
    authority, slash, path = rest.partition("/")
    return f"{before}{slashes}{authority.rpartition('@')[2] if slashes else authority}{slash}{path}"


def _shown_value(value: object) -> str:
    """Return the repr of what should have been an address, without what may be secret in it."""
    shown = repr(value)
    quotes = [at for at, character in enumerate(shown) if character in "'\""]
    if len(quotes) < 2:
        return shown
    first, last = quotes[0] + 1, quotes[-1]
    words = shown[first:last]
    words = f"{'***' if '@' in words else ''}{words.rpartition('@')[2]}"
    address = re.split("[?#]", words, maxsplit=1)
    return f"{shown[:first]}{address[0]}{'***' if len(address) > 1 else ''}{shown[last:]}"


def _shown_url_value(url: str) -> str:
    return repr(shown_url(url))


def _checked_base_url(url: str) -> str:
    if not isinstance(url, str):
        raise _not_a_base_url(url)
    return _parsed_base_url(url)


@lru_cache(maxsize=256)  # it takes as long as all other checks of a call, and calls of a program have few
def _parsed_base_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable or _FORBIDDEN.search(url) or " " in url or "\t" in url:
        raise _not_a_base_url(url)
    if parts.username is not None or parts.password is not None:
        raise InvalidOption(
            Argument("base_url"),
            " holds a user name or password; send them in ",
            Argument("headers", ...),
            option="base_url",
        )
    if "?" in url or "#" in url:  # also where nothing follows: what is appended would be a query
        raise InvalidOption(
            Argument("base_url"),
            f" is {shown_url(url)!r} with a query or fragment; provider paths can't be appended to it",
            option="base_url",
        )
    return url.rstrip("/")


def _not_a_base_url(url: object) -> InvalidOption:
    return InvalidOption(
        Argument("base_url"), f" is {_shown_value(url)}; it must look like 'https://host/path'", option="base_url"
    )


@attrs.frozen
class Endpoint:
    """Say where a provider is reached and as whom.

    `base_url` has no trailing slash; `api_key` is None where none was given; `headers` are
    the caller's, which the core lays over those of every request: plugins need not.
    Raises InvalidOption for a base_url that is not http(s) and for headers that can't be sent.
    """

    base_url: str = attrs.field(converter=_checked_base_url)
    api_key: Secret | None = None
    headers: Headers = attrs.field(default=None, converter=_checked_headers)

    def url(self, path: str) -> str:
        """Append a path of the provider's to the base URL.

        >>> Endpoint("https://parrot.example/v1/").url("/say")
        'https://parrot.example/v1/say'
        """
        return f"{self.base_url}/{path.lstrip('/')}"


def _checked_url(url: str) -> str:
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        raise PluginError(
            f"a request goes to an http or https address, not {_shown_value(url)}; make it by endpoint.url(path)"
        )
    return url


@attrs.frozen(repr=False)
class Request:
    """Hold one HTTP request; a `body` of None is none.

    `stream` is False where the answer comes whole. Raises InvalidOption for headers that
    can't be sent, and PluginError for a `url` that is no http(s) address.
    """

    method: str
    # The fields are shown by rich, too, which asks for their reprs alone.
    url: str = attrs.field(converter=_checked_url, repr=_shown_url_value)
    headers: Headers = attrs.field(default=None, converter=_checked_headers)
    body: bytes | None = attrs.field(default=None, repr=False)
    stream: bool = True

    @classmethod
    def json(cls, url: str, data: Any, headers: Mapping[str, str] | None = None, *, stream: bool = True) -> Request:
        """Make a POST request with a JSON body.

        Raises InvalidOption where `data` holds what JSON can't: what a caller put into
        `extra`, most likely.

        >>> request = Request.json("https://parrot.example/say?key=1", {"text": "Hello"})
        >>> request
        <Request POST https://parrot.example/say <Headers Content-Type>>
        >>> request.body
        b'{"text":"Hello"}'
        """
        try:
            body = orjson.dumps(data)
        except TypeError as error:
            raise InvalidOption(f"the request can't be written as JSON: {error}", option="extra") from None
        return cls("POST", url, _JSON | _checked_headers(headers), body, stream)

    def __repr__(self) -> str:
        return f"<Request {self.method} {shown_url(self.url)} {self.headers!r}>"


def _as_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Headers:
    return headers if isinstance(headers, Headers) else Headers(headers)


@attrs.frozen
class ResponseHead:
    """Hold the head of an HTTP response: its status, and its headers as they came."""

    status: int
    headers: Headers = attrs.field(factory=Headers, converter=_as_headers)

    @property
    def content_type(self) -> str:
        """Give the media type in lower case, without parameters; empty where there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def delimited(self) -> bool:
        """Return whether HTTP says where the body ends: it is chunked or has a length (RFC 9112, section 6.3).

        Chunked is what has "chunked" for its last coding; with any other last coding the
        body goes on until the connection ends, whatever length is announced.
        """
        codings = self.headers.get("Transfer-Encoding")
        if codings is None:
            return "Content-Length" in self.headers
        return codings.rpartition(",")[2].strip(" \t").lower() == "chunked"

    @property
    def framed(self) -> bool:
        """Return whether HTTP itself proves the end of the body: it is delimited, and not compressed.

        A cut gzip body ends cleanly.
        """
        return self.delimited and self.headers.get("Content-Encoding", "identity").lower() == "identity"

    @property
    def request_id(self) -> str | None:
        """Give the provider's name for the request, from the headers in use for it."""
        return self.headers.get("x-request-id") or self.headers.get("request-id")


@runtime_checkable
class Decoder(Protocol):
    """Turn the bytes of one answer, cut anywhere, into events.

    `feed` and `close` together give exactly one Finish, last. `ended` turns True when no
    more is needed: the wire has said the end, though a Finish may still be held back
    because usage can follow; content that follows is part of the answer, and turns it
    False again until the wire repeats the end. `close` is called at most once, at a clean end of the body
    or a moment after `ended`; it raises StreamTruncated where the end is not proven.
    """

    @property
    def ended(self) -> bool:
        """Tell whether the wire has said the end."""
        ...

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, cut anywhere; give the events they complete."""
        ...

    def close(self) -> list[Event]:
        """Take the end of the body; give what was held back."""
        ...


class DecoderWrapper:
    """Change the events of another decoder; subclasses override `transform`.

    The Finish is the last event of the last batch: what a `transform` holds back must be
    given out before it. What `transform` raises ends the run.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    @property
    def ended(self) -> bool:
        """Tell whether the wire has said the end."""
        return self.decoder.ended

    def feed(self, data: bytes) -> list[Event]:
        """Transform the events that `data` completes."""
        return self.transform(self.decoder.feed(data))

    def close(self) -> list[Event]:
        """Transform the events that the end of the body gives."""
        return self.transform(self.decoder.close())

    def transform(self, events: list[Event]) -> list[Event]:
        """Give the events to deliver in place of `events`, which may be empty."""
        return events


def loads(data: bytes) -> Any:
    """Parse strict JSON.

    Bytes that are not UTF-8, and halves of surrogate pairs (which servers that cut text
    by UTF-16 units do send), become U+FFFD. Raises StreamMalformed for anything else
    that RFC 8259 does not allow.

    >>> loads(b'{"text": "Hello"}')
    {'text': 'Hello'}
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    text = _mended(data.decode("utf-8", "replace"))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        incomplete = error.pos >= len(text)
        raise StreamMalformed(f"expected JSON, got {data[:60]!r}: {error.msg}", incomplete=incomplete) from None


_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _mended(text: str) -> str:
    """Put U+FFFD in place of every half of a pair; a substitution would keep each escape, at thirty times its size."""
    pieces: list[str] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        if match["half"]:
            pieces += text[end : match.start()], "\\ufffd"
            end = match.end()
    return "".join((*pieces, text[end:]))
