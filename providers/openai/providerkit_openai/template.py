"""The text of a chunk, without parsing the rest of it, which is the same as before.

To parse the JSON around a word takes ten times as long as to parse the word.
"""

from __future__ import annotations

import json
from typing import Any

from providerkit import StreamMalformed, loads

ATTEMPTS = 8  # to learn: chunks of some services never are the same around their text
# What stands beside the choices and is of the answer, as lists: Perplexity's, OpenRouter's.
DATA = frozenset({"annotations", "citations", "images", "related_questions", "search_results", "videos", "web_search"})
ODD = DATA | {"error", "error_message", "error_msg", "base_resp", "usage", "x_groq", "logprobs", "message"}
LONG = 4096  # bytes of a chunk that is no piece of a stream, and not worth several copies


class Template:
    """Know what stands before and after the text in the chunks of one answer.

    JSON is read from left to right: where data begins and ends as a chunk did that held
    text alone, and has a JSON string in between, it holds that text alone.
    """

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._attempts = 0

    def text_in(self, data: bytes) -> str | None:
        """Return the text; None if the data does not fit, or the text is empty."""
        if not self._before or not data.startswith(self._before) or not data.endswith(self._after):
            return None
        try:
            text = loads(data[len(self._before) : len(data) - len(self._after)])
        except StreamMalformed:
            return None
        return text if type(text) is str and text else None

    def learn(self, data: bytes, text: str) -> None:
        """Take the data of a chunk that holds this text alone for the pattern of those to come."""
        if self._attempts == ATTEMPTS or len(data) > LONG:
            return
        self._attempts += 1
        before, found, after = data.partition(_json(text))
        if found and _comes_out(before, text + "?", after):
            self._before, self._after = before, after


def _comes_out(before: bytes, text: str, after: bytes) -> bool:
    """Return whether a text in this place is the content; its bytes may stand elsewhere, as `","` between fields."""
    try:
        return text_alone(loads(before + _json(text) + after)) == text
    except StreamMalformed:
        return False


def _json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")


def text_alone(chunk: Any) -> str | None:
    """Return the text of a chunk that holds nothing else of note: no second choice, no end, no usage, no error."""
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        text = delta["content"]
    except (LookupError, TypeError, ValueError):
        return None
    if len(delta) > 1 + ("role" in delta) or choice.get("finish_reason") or choice.get("index"):
        return None
    if type(text) is not str or not text or _is_odd(choice) or _is_odd(chunk):
        return None
    return text


def _is_odd(value: dict[str, Any]) -> bool:
    """Return whether an object may hold more than the text, or be an error."""
    return (
        any(value[name] for name in ODD & value.keys())
        or "error" in value
        or "error" in (value.get("object"), value.get("type"))
    )
