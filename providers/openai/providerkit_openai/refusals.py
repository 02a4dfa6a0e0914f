"""What went wrong: errors in every shape that services of this wire give them, typed.

They are told by codes, types and status, never by words. There are two exceptions, since
some services have no code for it: that a chat is too long, and how long to wait.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from providerkit import (
    BadRequest,
    ContentFiltered,
    ContextLengthExceeded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ResponseHead,
    ServerError,
    StreamMalformed,
    loads,
)

from .waits import wait

KINDS: dict[str, type[ProviderError]] = {
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "credit_balance_exhausted": QuotaExhausted,
    "enforced_spend_limit_reached": QuotaExhausted,
    "exceeded_current_quota_error": QuotaExhausted,  # Moonshot
    "insufficient_balance": QuotaExhausted,
    "insufficient_credits": QuotaExhausted,
    "insufficient_quota": QuotaExhausted,
    "organization_spend_limit_exceeded": QuotaExhausted,
    "organization_usage_limit_exceeded": QuotaExhausted,
    "project_spend_limit_exceeded": QuotaExhausted,
    "arrearage": QuotaExhausted,  # Alibaba
    "1113": QuotaExhausted,  # Zhipu
    "context_length_exceeded": ContextLengthExceeded,
    "context_window_exceeded": ContextLengthExceeded,
    "contextwindowexceedederror": ContextLengthExceeded,  # LiteLLM
    "exceed_context_size_error": ContextLengthExceeded,  # llama.cpp
    "model_context_window_exceeded": ContextLengthExceeded,
    "1261": ContextLengthExceeded,  # Zhipu
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "data_inspection_failed": ContentFiltered,  # Alibaba
    "datainspectionfailed": ContentFiltered,
    "1301": ContentFiltered,  # Zhipu
}
# Which status the words of an error inside an answer stand for, whose own status is 200.
STATUSES = {
    "badrequesterror": 400,  # names of this form are vLLM's and LiteLLM's
    "invalid_argument": 400,  # Google's, as others of google.rpc
    "invalid_request_error": 400,
    "unprocessableentityerror": 422,
    "authentication_error": 401,
    "authenticationerror": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "permission_denied": 403,
    "permissiondeniederror": 403,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found": 404,
    "not_found_error": 404,
    "notfounderror": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_reached_error": 429,  # Moonshot
    "ratelimiterror": 429,
    "resource_exhausted": 429,
    "slow_down": 429,
    "api_error": 500,
    "internal_error": 500,
    "internal": 500,
    "internal_server_error": 500,
    "internalservererror": 500,
    "server_error": 500,
    "service_unavailable": 503,
    "serviceunavailableerror": 503,
    "unavailable": 503,
    "capacity_exceeded": 529,  # Groq, with a status of its own
    "overloaded": 529,
    "overloaded_error": 529,
}
CAPACITY_EXCEEDED = 498
# MiniMax says why it refuses by a number, at status 200: platform.minimax.io/docs, November 2026.
BASE_RESP = {
    1001: "server_error",
    1002: "rate_limit_exceeded",
    1004: "invalid_api_key",
    1008: "insufficient_balance",
    1013: "server_error",
    1024: "server_error",
    1026: "content_filter",
    1027: "content_filter",
    1033: "server_error",
    1039: "rate_limit_exceeded",
    1041: "rate_limit_exceeded",
    2013: "invalid_request_error",
    2049: "invalid_api_key",
    2056: "rate_limit_exceeded",
}
# What services say of a chat that is too long, in lower case; any of them may stand behind any address.
TOO_LONG = {
    "openai": ("context window of this model", "input tokens exceed the configured limit"),
    "openai, and most that imitate it": ("maximum context length", "reduce the length of the messages"),
    "xai": ("maximum prompt length",),
    "together": ("`inputs` tokens + `max_new_tokens` must be",),
    "fireworks, and Anthropic behind a gateway": ("prompt is too long",),
    "vllm": ("longer than the maximum model length", "exceeds the maximum model length"),
    "llamacpp": ("exceeds the available context size", "exceed context size"),
    "lmstudio": ("when context the overflows", "greater than the context length", "context size has been exceeded"),
    "ollama": ("exceeds the context length", "prompt too long; exceeded"),
    "Moonshot": ("exceeded model token limit",),
    "MiniMax": ("context window exceeds limit",),
    "Zhipu": ("prompt exceeds max length",),
    "Alibaba": ("range of input length should be",),
    "Gemini behind a gateway": ("exceeds the maximum number of tokens allowed",),
    "Bedrock behind a gateway": ("input is too long for requested model",),
}
_TOO_LONG = tuple(words for told in TOO_LONG.values() for words in told)
SUCCESS = (None, "", 0, "0", 200, "200", "ok", "OK", "success", "Success")  # codes of what is no error
FIELDS = ("message", "detail", "error_message", "error_msg", "msg")  # that hold the words of an error
_ERROR = re.compile(rb'\{\s*"(?:error|object|type|code|message|detail|error_message|error_type)"')
ATTEMPTS = 8  # to find an error in an event that is no JSON


def refusal(head: ResponseHead, body: bytes, name: str) -> ProviderError | None:
    """Return the error that a body says; None if it says none."""
    try:
        said = said_in(loads(body))
    except StreamMalformed:
        plain = head.status >= 400 and head.content_type == "text/plain"
        said = said_in(body.decode("utf-8", "replace").strip()) if plain else None
    return None if said is None else typed(said, head, name)


def is_error(value: Mapping[str, Any]) -> bool:
    """Return whether an object of an answer is, or holds, an error."""
    if value.get("error") or "error" in (value.get("object"), value.get("type")):  # vLLM's, Mistral's, Anthropic's
        return True
    if _base_resp(value) is not None or any(_text(value.get(name)) for name in ("error_message", "error_msg")):
        return True
    if value.get("choices"):
        return False
    if "choices" not in value and value.get("error") is not None:
        return True
    return bool(_text(value)) and _has_bad_code(value)


def _has_bad_code(value: Mapping[str, Any]) -> bool:
    if value.get("code") not in SUCCESS or str(value.get("type")).lower().endswith("error"):
        return True
    return re.fullmatch("[45][0-9][0-9]|error", str(value.get("status", value.get("status_code")))) is not None


def error_within(data: bytes) -> dict[str, Any] | None:
    """Return the error that a server has written into an event that it had not finished; None if there is none."""
    starts = [match.start() for match in _ERROR.finditer(data)]
    for start in islice(reversed(starts), ATTEMPTS):
        try:
            value = loads(data[start:])
        except StreamMalformed:
            continue
        if is_error(value):
            return said_in(value)
    return None


def said_in(value: Any) -> dict[str, Any] | None:
    """Find what a JSON value says of an error: an object with its words and codes; None if it says nothing."""
    match value:
        case [first, *_] | {"errors": [first, *_]}:
            return said_in(first)
        case str():
            return {"message": value} if value else None
        case {"error": dict(inner)}:
            return inner
        case {"error": str(words)} if words:
            return dict(value, message=words)
        case {"error_type": _} | {"error_code": _}:
            codes = {"code": value.get("error_code"), "type": value.get("error_type")}
            return {**value, **{name: code for name, code in codes.items() if code is not None}}
    if not isinstance(value, dict):
        return None
    return _base_resp(value) or (None if value.keys().isdisjoint(FIELDS) else value)


def _base_resp(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what MiniMax says of an error; it says also that there is none."""
    match value.get("base_resp"):
        case {"status_code": int(code), **said} if code:
            return {"message": said.get("status_msg"), "code": code, "type": BASE_RESP.get(code)}
    return None


def typed(said: Mapping[str, Any], head: ResponseHead, name: str) -> ProviderError:
    """Make the error of its kind."""
    told = (said.get(name) for name in ("code", "type", "status", "status_code"))
    names = [str(word) for word in told if word not in (None, "")]
    words = _words(said) or "an error without words"
    code = next(iter(names), None)
    names = [word.lower() for word in names]
    kind = _kind(said, names)
    error = kind(words, code=code) if kind else ProviderError.from_status(_meant(head.status, names), words, code=code)
    if type(error) in (BadRequest, ProviderError, ServerError) and _is_too_long(words):
        error = ContextLengthExceeded(words, code=code)
    error.status, error.provider = head.status, name
    error.request_id = head.request_id or _request_id(said, head)
    if isinstance(error, (RateLimited, ServerError)):
        error.retry_after, error.retry_at = wait(head, said, words)
    return error


def _is_too_long(words: str) -> bool:
    told = words.lower()
    return any(phrase in told for phrase in _TOO_LONG)


def _kind(said: Mapping[str, Any], names: list[str]) -> type[ProviderError] | None:
    metadata = said.get("metadata")
    if isinstance(metadata, dict) and "flagged_input" in metadata:
        return ContentFiltered  # openrouter.ai/docs/api-reference/errors
    return next((KINDS[word] for word in names if word in KINDS), None)


def _meant(status: int, names: list[str]) -> int:
    """Return the status that an error stands for: its own, unless that says nothing, or less than its words."""
    told = next((STATUSES[word] for word in names if word in STATUSES), None)
    told = told or next((int(word) for word in names if re.fullmatch("[45][0-9][0-9]", word)), None)
    silent = status < 400 or status == CAPACITY_EXCEEDED or (status >= 500 and told == STATUSES["overloaded"])
    return (told or status) if silent else status


def _words(said: Mapping[str, Any]) -> str:
    """Return the words of an error, and those of the service behind it where that is a router."""
    metadata = said.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return ": ".join(filter(None, (_text(said), raw if isinstance(raw, str) else None)))


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case {"loc": [*place], "msg": str(words)}:  # FastAPI's, so Mistral's and vLLM's
            return f"{'.'.join(map(str, place))}: {words}"
        case dict():
            return next(filter(None, (_text(value.get(name)) for name in FIELDS)), "")
        case [*items]:
            return "; ".join(filter(None, map(_text, items)))
    return ""


def _request_id(said: Mapping[str, Any], head: ResponseHead) -> str | None:
    found = (said.get("request_id"), head.headers.get("x-generation-id"))
    return next((name for name in found if isinstance(name, str) and name), None)
