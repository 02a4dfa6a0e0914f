"""How long to wait before another attempt, in every form that services say it.

Retry-After         in the metadata of a router's error; that of the answer itself is read by the core
RetryInfo           of google.rpc, in the details of an error: {"retryDelay": "36.5s"}
X-RateLimit-Reset   a duration as Go writes it ("6m0s"), seconds, or a moment: in ISO 8601, in seconds or
                    milliseconds since 1970; and the same for requests, tokens and the like
a sentence          "Please try again in 5.289s", "retry after 26 seconds"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from providerkit import ResponseHead

LEAST_SECONDS_SINCE_1970 = 1e9  # of September 2001; a smaller number is a duration
LEAST_MILLISECONDS_SINCE_1970 = 1e11

_UNITS = {
    0.001: "ms|msecs?|millis|milliseconds?",
    1.0: "s|secs?|seconds?",
    60.0: "m|mins?|minutes?",
    3600.0: "h|hrs?|hours?",
    86400.0: "d|days?",
}
_NUMBER = r"\d{1,15}(?:\.\d{1,15})?"
_PIECE = rf"{_NUMBER}\s?(?:{'|'.join(_UNITS.values())})(?![a-z])"
_DURATION = re.compile(rf"{_PIECE}(?:,?\s?(?:and\s)?{_PIECE})*", re.IGNORECASE)
_PIECES = [(unit, re.compile(rf"({_NUMBER})\s?(?:{names})(?![a-z])", re.IGNORECASE)) for unit, names in _UNITS.items()]
_SENTENCE = re.compile(
    rf"\b(?:try again|retry|wait|reset)[a-z]*(?:[ ,:]{{1,3}}[a-z]{{1,20}}){{0,4}}[ ,:]{{1,3}}({_DURATION.pattern})",
    re.IGNORECASE,
)
_RESET = re.compile(r"(?:x-)?rate-?limit-reset(?:-.*)?")


def wait(head: ResponseHead, said: Mapping[str, Any], words: str) -> tuple[float | None, float | None]:
    """Return how many seconds to wait, or until when, in seconds since 1970: one of them, or neither.

    Neither is also for headers that the core reads.
    """
    if "Retry-After-Ms" in head.headers or _is_read_by_core(head.headers.get("Retry-After", "")):
        return None, None
    headers = {name.lower(): value for name, value in (*_headers_in(said), *head.headers.items())}
    sentence = _SENTENCE.search(words)
    for told in (
        [headers.get("retry-after", "")],
        _delays_in(said),
        _resets(headers),
        sentence.groups() if sentence else (),
    ):
        numbers = list(map(_seconds, told))
        if moment := max((number for number in numbers if number >= LEAST_SECONDS_SINCE_1970), default=None):
            return None, moment
        if seconds := max(numbers, default=0.0):
            return seconds, None
    return None, None


def _is_read_by_core(text: str) -> bool:
    return bool(re.fullmatch(rf"\s*{_NUMBER}\s*", text)) or "GMT" in text


def _headers_in(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the headers that OpenRouter puts into an error's metadata."""
    metadata = said.get("metadata")
    headers = metadata.get("headers") if isinstance(metadata, dict) else None
    for name, value in headers.items() if isinstance(headers, dict) else ():
        yield name, str(value)


def _delays_in(said: Mapping[str, Any]) -> Iterator[str]:
    details = said.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and "retryDelay" in detail:
            yield str(detail["retryDelay"])


def _resets(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield when the limits end that are used up; a limit that does not say what remains is the only one."""
    for name, value in headers.items():
        if _RESET.fullmatch(name):
            remaining = headers.get(name.replace("reset", "remaining"), "0" if name.endswith("-reset") else "")
            if remaining.strip() in ("0", "0.0"):
                yield value


def _seconds(text: str) -> float:
    """Return how long a duration is, or when a moment is, in seconds since 1970; 0 if the text is neither."""
    text = text.strip()
    if re.fullmatch(_NUMBER, text):
        number = float(text)
        return number if number < LEAST_MILLISECONDS_SINCE_1970 else number / 1000
    if _DURATION.fullmatch(text):
        return sum(unit * float(number) for unit, pattern in _PIECES for number in pattern.findall(text))
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0
