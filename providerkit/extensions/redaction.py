"""What is secret in a request and its answer, with *** in its place.

A secret is known by its name (a header, a parameter of the query, a member of the body), by
its looks (the header of a request), or because the caller gave it as a key. What a provider
takes as a key under an innocent name, and was never told to the core, can't be known.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from ..wire.headers import Headers
from ..wire.masks import Mask
from ..wire.requests import Endpoint, Request

MARK = "***"

_KEY_LIKE = re.compile(r"(?:\w+ )?(?=\S*\d)(?=\S*[A-Za-z])[\w.~+/=-]{16,}")
_PLAIN_NAME = re.compile(r"accept|content-|user-agent$|host$|origin$|referer$", re.IGNORECASE)


def secrets_of(endpoint: Endpoint) -> set[str]:
    """Give what the caller said that is secret: the key, and headers that are secret by name or looks."""
    key = {endpoint.api_key.reveal()} if endpoint.api_key else set()
    return key | _secrets_in(endpoint.headers)


def _secrets_in(headers: Mapping[str, str]) -> set[str]:
    return {value.rpartition(" ")[2] for name, value in headers.items() if _is_secret_header(name, value)}


def _is_secret_header(name: str, value: str) -> bool:
    looks = not _PLAIN_NAME.match(name) and _KEY_LIKE.fullmatch(value) is not None
    return Mask.is_secret(name) or looks


@attrs.frozen
class Redaction:
    """Redact one request and its answer; `secrets` are those known from elsewhere."""

    secrets: frozenset[str] = attrs.field(default=frozenset(), repr=False)
    _mask: Mask = attrs.field(init=False, repr=False, eq=False)

    @_mask.default
    def _mask_all(self) -> Mask:
        return Mask(self.secrets)

    @classmethod
    def of(cls, request: Request, secrets: Iterable[str] = ()) -> Redaction:
        """Know also what the headers of a request give away: an answer may repeat it."""
        return cls(frozenset(secrets) | _secrets_in(request.headers))

    def text(self, text: str) -> str:
        """Redact a text: what is secret by its value."""
        return self._mask(text)

    def value(self, value: Any) -> Any:
        """Redact a JSON value: what is secret by name, too, with all the texts in it."""
        return self._value(value, hidden=False)

    def _value(self, value: Any, *, hidden: bool) -> Any:
        match value:
            case dict():
                return {
                    self.text(name): self._value(member, hidden=hidden or Mask.is_secret(name))
                    for name, member in value.items()
                }
            case list():
                return [self._value(item, hidden=hidden) for item in value]
            case str():
                return MARK if hidden else self.text(value)
        return value

    def query(self, query: str) -> str:
        """Redact a query, or a form: what is secret by name, too."""
        pairs = (pair.partition("=") for pair in query.split("&"))
        redacted = (
            name + (f"={MARK}" if Mask.is_secret(unquote(name)) else sign + value) for name, sign, value in pairs
        )
        return self.text("&".join(redacted))

    def url(self, url: str) -> str:
        """Redact a URL, a user and password among it."""
        parts = urlsplit(url)
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        return self.text(shown) + (f"?{self.query(parts.query)}" if parts.query else "")

    def request_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Redact the headers of a request: what is secret by name, or looks like a key."""
        return {name: MARK if _is_secret_header(name, value) else self.text(value) for name, value in headers.items()}

    def response_headers(self, headers: Mapping[str, str]) -> Headers:
        """Redact the headers of an answer, where an id that looks like a key is worth keeping."""
        return Headers((name, MARK if Mask.is_secret(name) else self.text(value)) for name, value in headers.items())

    def pieces(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Redact a body that came in pieces, cut anywhere; the piece in which a secret begins gets its mark."""
        body = b"".join(pieces)
        spans = deque(self._mask.spans(body.decode("latin-1")))
        redacted, start = [], 0
        for piece in pieces:
            end = start + len(piece)
            redacted.append(_marked(body, start, end, spans))
            start = end
        return redacted


def _marked(body: bytes, start: int, end: int, spans: deque[tuple[int, int]]) -> bytes:
    """Leave out of a part of the body what lies in the spans; those that end in it are taken from them."""
    kept, at = [], start
    while spans and spans[0][0] < end:
        first, last = spans[0]
        kept += [body[at:first], MARK.encode()] if first >= start else []
        at = last
        if last > end:
            break
        spans.popleft()
    return b"".join([*kept, body[at:end]])
