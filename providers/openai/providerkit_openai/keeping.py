"""What a service wants back: collected in pieces, and given as kept ProviderData when it is complete."""

from __future__ import annotations

from typing import Any

from providerkit import ProviderData

from .dialect import Kept

# The field of one of OpenRouter's reasoning_details that comes in pieces, by the type of the detail.
GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}


class Keeping:
    """The fields of a message, and a part of its content, that a service wants back.

    They are complete when something else of the answer comes. Those that come once more
    after that are another piece, which `requests` joins to the first.
    """

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._fields: dict[str, Any] = {}
        self._blank: set[str] = set()  # fields that have come, and said nothing
        self._told: set[str] = set()
        self._part: dict[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        """Return whether something has come that is not given yet."""
        return bool(self._fields) or self._part is not None

    def wants(self, kind: Any) -> bool:
        """Return whether the service wants parts of this type back."""
        return isinstance(kind, str) and kind in self._kept.content

    def is_other(self, part: dict[str, Any]) -> bool:
        """Return whether a part is not the next piece of the one that is open."""
        return self._part is not None and self._part["type"] != part["type"]

    def add(self, delta: dict[str, Any], *, is_whole: bool = False) -> None:
        """Add what a delta or a message has of the wanted fields."""
        for name in self._kept.message & delta.keys():
            value = delta[name]
            if value:
                self._fields[name] = _grown(self._fields.get(name), value, is_whole=is_whole)
            elif value == "":
                self._blank.add(name)

    def add_part(self, part: dict[str, Any]) -> None:
        """Add a part of the content, or a piece of one."""
        self._part = part if self._part is None else _grown_part(self._part, part)

    def complete(self, *, is_end: bool = False, called_tool: bool = False) -> list[ProviderData]:
        """Return what has come; at the end also the fields that said nothing, if the answer called a tool.

        DeepSeek wants `reasoning_content` with every such answer, also if it is empty.
        """
        fields, part, self._fields, self._part = self._fields, self._part, {}, None
        self._told |= fields.keys()
        if is_end and called_tool:
            fields = {**dict.fromkeys(sorted(self._blank - self._told), ""), **fields}
        values = [{"message": fields}] if fields else []
        values += [{"content": part}] if part is not None else []
        return [ProviderData(value, keep=True) for value in values]


def _grown(before: Any, value: Any, *, is_whole: bool) -> Any:
    """Return a field with the next piece of it; anything but text and lists is replaced."""
    if isinstance(before, str) and isinstance(value, str):
        return before + value
    if not isinstance(value, list) or is_whole:
        return value
    details = list(before) if isinstance(before, list) else []
    for detail in value:
        if details and _goes_on(details[-1], detail):
            details[-1] = _grown_detail(details[-1], detail)
        else:
            details.append(detail)
    return details


def _goes_on(before: Any, detail: Any) -> bool:
    """Return whether a detail is the next piece of the one before it; a signature is the last piece."""
    return (
        isinstance(before, dict)
        and isinstance(detail, dict)
        and detail.get("type") in GROWING
        and all(before.get(name) == detail.get(name) for name in ("type", "index"))
        and not before.get("signature")
    )


def _grown_detail(before: dict[str, Any], detail: dict[str, Any]) -> dict[str, Any]:
    name = GROWING[detail["type"]]
    text = (before.get(name) or "") + (detail.get(name) or "")
    return {**before, **{key: value for key, value in detail.items() if value is not None}, name: text}


def _grown_part(before: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return a part with its next piece: text within it is joined, everything else is what came last."""
    kind = part["type"]
    thoughts = [*_list(before.get(kind)), *_list(part.get(kind))]
    joined: list[Any] = []
    for thought in thoughts:
        if joined and _is_text(thought) and _is_text(joined[-1]):
            joined[-1] = {**joined[-1], **thought, "text": joined[-1]["text"] + thought["text"]}
        else:
            joined.append(thought)
    return {**before, **part, kind: joined}


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [{"type": "text", "text": value}] if value else []
    return value if isinstance(value, list) else []


def _is_text(thought: Any) -> bool:
    return isinstance(thought, dict) and thought.get("type") == "text" and isinstance(thought.get("text"), str)
