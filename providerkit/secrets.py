r"""Secrets in texts, and *** in their place, however they are spelled. Nothing here does any input or output.

A text is searched as it stands, and with one, two and three layers of escapes taken off:
those of URLs, JSON, Python's repr and HTML. So a spelling need not be foreseen, only its
escapes, and one in which only some characters are escaped is found as well. ASCII letters of
either case are equal, and so are + and a blank, which are one in a query.

The time is linear in the length of the text, whatever the text and the secrets are: the
only patterns here have no quantifier, or a possessive one at their end.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits
from urllib.parse import unquote, urlsplit

MARK = "***"
MIN_LENGTH = 6  # characters; a shorter secret could be a part of any word
PREFIX_LENGTH = 12  # characters by which a secret is known that is cut short
LAYERS = 3

_NAME = re.compile(
    r"(?:^|[-_.])(?:authorization|auth|bearer|cookies?|cookie2|api[-_]?keys?|key|token|jwt|secrets?|session"
    r"|passw(?:or)?ds?|passphrase|pwd|credentials?|sig(?:nature)?)$",
    re.IGNORECASE,
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# RFC 3986, 2.1; RFC 8259, 7, and Python's repr; HTML 13.5
_ESCAPE = re.compile(
    r"""(?:%|\\u00|\\x)([0-9A-Fa-f]{2})|&\#x([0-9A-Fa-f]{1,2});|&\#([0-9]{1,3});|\\([\\"'/t])|&(amp|lt|gt|quot|apos);"""
)
_NAMED = {"t": "\t", "amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_FOLDED = str.maketrans(ascii_uppercase + "+", ascii_lowercase + " ")
_REST = re.compile(r"[\w.~+/=-]*+")
_BASE64 = frozenset(ascii_letters + digits + "+/_-")
_BEARER = "bearer "

Span = tuple[int, int]


class Mask:
    """A function that puts `***` in place of secrets in a text.

    A secret is found in either case, escaped as in URLs, JSON, HTML and a repr, cut short
    after twelve characters, and within base64 at any place, as Basic authentication has it.
    One of fewer than six characters could be a part of any word: it is only hidden as a
    whole word after "Bearer ".

    >>> mask = Mask(["sk-0123/4567"])
    >>> mask("no such key: sk-0123%2F4567")
    'no such key: ***'
    """

    __slots__ = ("_needles", "_tokens")

    def __init__(self, secrets: Iterable[str]) -> None:
        self._needles: dict[tuple[str, str], None] = {}  # in order, each once
        self._tokens: dict[str, None] = {}
        for secret in dict.fromkeys(secrets):
            bare = secret.strip("\"' ")  # as a key is pasted with its quotes, which a service may take off
            if len(bare) >= MIN_LENGTH:
                self._needles |= dict.fromkeys(_needles(bare))
            elif bare:
                self._tokens[_BEARER + bare.translate(_FOLDED)] = None

    def __call__(self, text: str) -> str:
        """Return the text with `***` in place of every secret."""
        pieces: list[str] = []
        start = 0
        for first, end in self.spans(text):
            pieces += text[start:first], MARK
            start = end
        return "".join((*pieces, text[start:])) if pieces else text

    def __repr__(self) -> str:
        return "<Mask>"

    @staticmethod
    def is_secret(name: str) -> bool:
        """Return whether what has this name is secret: a header, a parameter, a member of an object.

        >>> [Mask.is_secret(name) for name in ("X-Api-Key", "accessToken", "max_tokens", "Set-Cookie")]
        [True, True, False, True]
        """
        return _NAME.search(_HUMP.sub("_", name)) is not None

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the secrets are, in order: the place of the first character, and of the one after the last."""
        found = sorted(self._found(text)) if self._needles or self._tokens else []
        merged: list[Span] = []
        for first, end in found:
            if merged and first < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((first, end))
        return merged

    def _found(self, text: str) -> Iterator[Span]:
        layers: list[_Layer] = []
        while True:
            for span in self._found_as_it_stands(text):
                for layer in reversed(layers):
                    span = layer.below(*span)
                yield span
            if len(layers) == LAYERS:
                return
            layer = _Layer(text)
            if layer.text == text:
                return
            layers.append(layer)
            text = layer.text

    def _found_as_it_stands(self, text: str) -> Iterator[Span]:
        folded = text.translate(_FOLDED)
        for start, whole in self._needles:
            yield from _occurrences(text, folded, start, whole)
        for token in self._tokens:
            yield from _tokens(text, folded, token)


def secrets_in(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield what is secret in headers: the values of those whose names say so."""
    for name, value in headers.items():
        if Mask.is_secret(name):
            yield from _credentials(value)


def secrets_of_proxy(address: str | None) -> Iterator[str]:
    """Yield the password in the address of a proxy, also as it is sent (RFC 7617)."""
    parts = urlsplit(address or "")
    if parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password)
        yield password
        yield b64encode(f"{user}:{password}".encode("latin-1", "replace")).decode()


def _credentials(value: str) -> Iterator[str]:
    """Yield the secrets of one header: its value, or what follows its scheme (RFC 9110, section 11.4)."""
    scheme, blank, rest = value.partition(" ")
    token = rest.strip() if blank and scheme.replace("-", "").isalnum() else value
    yield token
    if scheme.lower() == "basic":
        yield _password(token)
    for parameter in re.split("[;,]", token):  # the values of cookies, of parameters
        yield parameter.partition("=")[2]


def _password(token: str) -> str:
    try:
        return b64decode(token).decode("latin-1").partition(":")[2]  # RFC 7617
    except ValueError:
        return ""


def _needles(secret: str) -> Iterator[tuple[str, str]]:
    """Yield pairs of what to find of a secret, and what it is the start of: nothing if it is a part of base64."""
    for form in dict.fromkeys(_forms(secret)):
        folded = form.translate(_FOLDED)
        yield folded[:PREFIX_LENGTH], folded
        for code in _encodings(form[:PREFIX_LENGTH].encode("latin-1", "replace")):
            yield code.translate(_FOLDED), ""


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it stands, each character of which is a byte of its UTF-8, and without its own escapes."""
    yield secret
    yield secret.encode("utf-8", "surrogatepass").decode("latin-1")
    for _ in range(LAYERS):
        secret = _Layer(secret).text
        if len(secret) >= MIN_LENGTH:
            yield secret


def _encodings(secret: bytes) -> Iterator[str]:
    """Yield the base64 of a secret, after no, one and two bytes of something else, as far as these don't matter."""
    for offset in range(3):
        first, end = (offset * 8 + 5) // 6, (offset + len(secret)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(bytes(offset) + secret)[first:end].decode()


def _occurrences(text: str, folded: str, start: str, whole: str) -> Iterator[Span]:
    """Yield where a secret is: whole, else to the end of its word. No place is looked at twice."""
    end = 0
    while (first := folded.find(start, end)) >= 0:
        if whole and folded.startswith(whole, first):
            here, end = first, first + len(whole)
        else:
            here = first if whole else _word_start(text, first, end)
            end = _end(text, first + len(start))
        yield here, end


def _word_start(text: str, first: int, least: int) -> int:
    while first > least and text[first - 1] in _BASE64:
        first -= 1
    return first


def _end(text: str, first: int) -> int:
    match = _REST.match(text, first)
    return match.end() if match else first


def _tokens(text: str, folded: str, token: str) -> Iterator[Span]:
    end = 0
    while (first := folded.find(token, end)) >= 0:
        end = first + len(token)
        if _end(text, end) == end:
            yield first + len(_BEARER), end


class _Layer:
    """A text with one layer of escapes taken off, that knows where each character came from."""

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        # Where parts begin, here and below; every second part is a character that was escaped.
        self._here, self._below = [0], [0]
        length = end = 0
        for match in _ESCAPE.finditer(text):
            plain = text[end : match.start()]
            pieces += plain, _meant(match)
            length, end = length + len(plain) + 1, match.end()
            self._here += length - 1, length
            self._below += match.start(), end
        self.text = "".join((*pieces, text[end:]))

    def below(self, first: int, end: int) -> Span:
        """Return which part of the text below a part of this one is."""
        start, last = bisect_right(self._here, first) - 1, bisect_right(self._here, end - 1) - 1
        return (
            self._below[start] + first - self._here[start],
            self._below[last + 1] if last % 2 else self._below[last] + end - self._here[last],
        )


def _meant(escape: re.Match[str]) -> str:
    kind = escape.lastindex or 0
    word = escape[kind]
    match kind:
        case 1 | 2:
            return chr(int(word, 16))
        case 3:
            return chr(int(word))
    return _NAMED.get(word, word)
