"""HTTP requests, endpoints and response heads, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import attrs
import orjson

from ..errors import Argument, InvalidOption, PluginError
from .headers import UNSENDABLE, Headers, checked_headers
from .secrets import Secret, shown_url, shown_url_value, shown_value

_JSON = checked_headers({"Content-Type": "application/json"})


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
    if not usable or UNSENDABLE.search(url) or " " in url or "\t" in url:
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
        Argument("base_url"), f" is {shown_value(url)}; it must look like 'https://host/path'", option="base_url"
    )


@attrs.frozen
class Endpoint:
    """Say if a provider is reached and as whom.

    `base_url` has no trailing slash; `api_key` is None if none was given; `headers` are
    the caller's, which the core lays over those of every request: plugins need not.
    Raises InvalidOption for a base_url that is not http(s) and for headers that can't be sent.
    """

    base_url: str = attrs.field(converter=_checked_base_url)
    api_key: Secret | None = None
    headers: Headers = attrs.field(default=None, converter=checked_headers)

    def url(self, path: str) -> str:
        """Append a path of the provider's to the base URL.

        >>> Endpoint("https://parrot.example/v1/").url("/say")
        'https://parrot.example/v1/say'
        """
        return f"{self.base_url}/{path.lstrip('/')}"


def _checked_url(url: str) -> str:
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        raise PluginError(
            f"a request goes to an http or https address, not {shown_value(url)}; make it by endpoint.url(path)"
        )
    return url


@attrs.frozen(repr=False)
class Request:
    """One HTTP request; a `body` of None is none.

    `stream` is False if the answer comes whole. Raises InvalidOption for headers that
    can't be sent, and PluginError for a `url` that is no http(s) address.
    """

    method: str
    # The fields are shown by rich, too, which asks for their reprs alone.
    url: str = attrs.field(converter=_checked_url, repr=shown_url_value)
    headers: Headers = attrs.field(default=None, converter=checked_headers)
    body: bytes | None = attrs.field(default=None, repr=False)
    stream: bool = True

    @classmethod
    def json(cls, url: str, data: Any, headers: Mapping[str, str] | None = None, *, stream: bool = True) -> Request:
        """Make a POST request with a JSON body.

        Raises InvalidOption if `data` holds what JSON can't: what a caller put into
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
        return cls("POST", url, _JSON | checked_headers(headers), body, stream)

    def __repr__(self) -> str:
        return f"<Request {self.method} {shown_url(self.url)} {self.headers!r}>"


def _as_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Headers:
    return headers if isinstance(headers, Headers) else Headers(headers)


@attrs.frozen
class ResponseHead:
    """The head of an HTTP response: its status, and its headers as they came."""

    status: int
    headers: Headers = attrs.field(factory=Headers, converter=_as_headers)

    @property
    def content_type(self) -> str:
        """Return the media type in lower case, without parameters; empty if there is none."""
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
        """Return the provider's name for the request, from the headers in use for it."""
        return self.headers.get("x-request-id") or self.headers.get("request-id")
