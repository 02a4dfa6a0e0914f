"""What went wrong: errors in every shape that services of this wire give them, typed.

They are told by codes, types and status, never by words; only how long to wait is read out
of a sentence, where no header says it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providerkit import (
    ContentFiltered,
    ContextLengthExceeded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ResponseHead,
    StreamMalformed,
    loads,
)

KINDS: dict[str, type[ProviderError]] = {
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "credit_balance_exhausted": QuotaExhausted,
    "enforced_spend_limit_reached": QuotaExhausted,
    "insufficient_quota": QuotaExhausted,
    "organization_spend_limit_exceeded": QuotaExhausted,
    "organization_usage_limit_exceeded": QuotaExhausted,
    "project_spend_limit_exceeded": QuotaExhausted,
    "context_length_exceeded": ContextLengthExceeded,
    "exceed_context_size_error": ContextLengthExceeded,  # llama.cpp
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
}
# Which status the words of an error inside an answer stand for, whose own status is 200.
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "slow_down": 429,
    "api_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "server_error": 500,
    "service_unavailable": 503,
    "capacity_exceeded": 529,  # Groq, with a status of its own
    "overloaded": 529,
    "overloaded_error": 529,
}
CAPACITY_EXCEEDED = 498


def refusal(head: ResponseHead, body: bytes, name: str) -> ProviderError | None:
    """Make the error that a body says; None where it says none."""
    try:
        said = said_in(loads(body))
    except StreamMalformed:
        plain = head.status >= 400 and head.content_type == "text/plain"
        said = said_in(body.decode("utf-8", "replace").strip()) if plain else None
    return None if said is None else typed(said, head, name)


def said_in(value: Any) -> dict[str, Any] | None:
    """Find what a JSON value says of an error: an object with its words and codes; None where it says nothing."""
    match value:
        case [first, *_]:
            return said_in(first)
        case str():
            return {"message": value} if value else None
        case {"error": dict(inner)}:
            return inner
        case {"error": str(words)} if words:
            return dict(value, message=words)
    return value if isinstance(value, dict) and not value.keys().isdisjoint({"message", "detail"}) else None


def typed(said: Mapping[str, Any], head: ResponseHead, name: str) -> ProviderError:
    """Make the error of its kind."""
    names = [str(word) for word in (said.get("code"), said.get("type")) if word not in (None, "")]
    words = _words(said) or "an error without words"
    code = next(iter(names), None)
    kind = _kind(said, names)
    if kind is None:
        error = ProviderError.from_status(_meant(head.status, names), words, code=code)
    else:
        error = kind(words, code=code)
    error.status, error.provider = head.status, name
    error.request_id = head.request_id or _request_id(said, head)
    if isinstance(error, RateLimited):
        error.retry_after = _wait(head, words)
    return error


def _kind(said: Mapping[str, Any], names: list[str]) -> type[ProviderError] | None:
    metadata = said.get("metadata")
    if isinstance(metadata, dict) and "flagged_input" in metadata:
        return ContentFiltered  # openrouter.ai/docs/api-reference/errors
    return next((KINDS[word] for word in names if word in KINDS), None)


def _meant(status: int, names: list[str]) -> int:
    """Give the status that an error stands for: its own, unless that says nothing, or less than its words."""
    told = next((STATUSES[word] for word in names if word in STATUSES), None)
    told = told or next((int(word) for word in names if re.fullmatch("[45][0-9][0-9]", word)), None)
    silent = status < 400 or status == CAPACITY_EXCEEDED or (status >= 500 and told == STATUSES["overloaded"])
    return (told or status) if silent else status


def _words(said: Mapping[str, Any]) -> str:
    """Give the words of an error, and those of the service behind it where that is a router."""
    metadata = said.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return ": ".join(filter(None, (_text(said), raw if isinstance(raw, str) else None)))


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case {"loc": [*place], "msg": str(words)}:  # FastAPI's, so Mistral's and vLLM's
            return f"{'.'.join(map(str, place))}: {words}"
        case {"message": inner} | {"detail": inner}:
            return _text(inner)
        case [*items]:
            return "; ".join(filter(None, map(_text, items)))
    return ""


def _request_id(said: Mapping[str, Any], head: ResponseHead) -> str | None:
    found = (said.get("request_id"), head.headers.get("x-generation-id"))
    return next((name for name in found if isinstance(name, str) and name), None)


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[hms])")
_DURATIONS = re.compile(rf"(?:{_DURATION.pattern})+")
_TRY_AGAIN = re.compile(rf"try again in ({_DURATIONS.pattern})")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _wait(head: ResponseHead, words: str) -> float | None:
    """Say how long to wait, in seconds; None where the headers do, which the core reads, or nothing does."""
    if "Retry-After" in head.headers or "Retry-After-Ms" in head.headers:
        return None
    resets = [
        _seconds(head.headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if head.headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    sentence = _TRY_AGAIN.search(words)
    return max(resets, default=0.0) or (_seconds(sentence[1]) if sentence else 0.0) or None


def _seconds(duration: str) -> float:
    """Read a duration as Go writes it, "6m0s"; 0 where it is none."""
    if not _DURATIONS.fullmatch(duration):
        return 0.0
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration))
