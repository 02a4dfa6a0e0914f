"""What a service wants back: collected in pieces, and given as kept ProviderData when it is complete."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, groupby
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
        self._fields: dict[str, list[Any]] = {}  # in pieces: to join each as it comes would take a square of time
        self._part: list[dict[str, Any]] = []
        self._is_whole = False
        self._blank: set[str] = set()  # fields that have come, and said nothing
        self._told: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Return whether something has come that is not given yet."""
        return bool(self._fields or self._part)

    def wants(self, kind: Any) -> bool:
        """Return whether the service wants parts of this type back."""
        return isinstance(kind, str) and kind in self._kept.content

    def is_other(self, part: dict[str, Any]) -> bool:
        """Return whether a part is not the next piece of the one that is open."""
        return bool(self._part) and self._part[0]["type"] != part["type"]

    def add(self, delta: dict[str, Any], *, is_whole: bool = False) -> None:
        """Add what a delta or a message has of the wanted fields."""
        self._is_whole = is_whole
        for name in self._kept.message & delta.keys():
            value = delta[name]
            if value:
                self._fields.setdefault(name, []).append(value)
            elif value == "":
                self._blank.add(name)

    def add_part(self, part: dict[str, Any]) -> None:
        """Add a part of the content, or a piece of one."""
        self._part.append(part)

    def complete(self, *, is_end: bool = False, called_tool: bool = False) -> list[ProviderData]:
        """Return what has come; at the end also the fields that said nothing, if the answer called a tool.

        DeepSeek wants `reasoning_content` with every such answer, also if it is empty.
        """
        if not (self.is_open or is_end):
            return []
        fields = {name: self._field(pieces) for name, pieces in self._fields.items()}
        self._told |= fields.keys()
        if is_end and called_tool:
            fields = {**dict.fromkeys(sorted(self._blank - self._told), ""), **fields}
        values = [{"message": fields}] if fields else []
        values += [{"content": _part(self._part)}] if self._part else []
        self._fields, self._part = {}, []
        return [ProviderData(value, keep=True) for value in values]

    def _field(self, pieces: list[Any]) -> Any:
        """Return a field; of anything but text and lists the last piece is all."""
        last = pieces[-1]
        pieces = [piece for piece in pieces if type(piece) is type(last)]
        if isinstance(last, str):
            return "".join(pieces)
        return last if self._is_whole or not isinstance(last, list) else _details(chain.from_iterable(pieces))


def _details(pieces: Iterable[Any]) -> list[Any]:
    """Return the details, each with all of its pieces."""
    details: list[list[Any]] = []
    for piece in pieces:
        if details and _goes_on(details[-1], piece):
            details[-1].append(piece)
        else:
            details.append([piece])
    return [detail[0] if len(detail) == 1 else _detail(detail) for detail in details]


def _goes_on(before: list[Any], piece: Any) -> bool:
    """Return whether a piece is the next one of a detail; a signature is the last."""
    first, last = before[0], before[-1]
    return (
        isinstance(first, dict)
        and isinstance(piece, dict)
        and piece.get("type") in GROWING
        and all(first.get(name) == piece.get(name) for name in ("type", "index"))
        and not last.get("signature")
    )


def _detail(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    name = GROWING[pieces[0]["type"]]
    fields = {key: value for piece in pieces for key, value in piece.items() if value is not None}
    return {**fields, name: "".join(piece.get(name) or "" for piece in pieces)}


def _part(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a part with all of its pieces: text within it is joined, everything else is what came last."""
    if len(pieces) == 1:
        return pieces[0]
    kind = pieces[0]["type"]
    thoughts = chain.from_iterable(_list(piece.get(kind)) for piece in pieces)
    joined: list[Any] = []
    for is_text, group in groupby(thoughts, _is_text):
        found = list(group)
        texts = [{**found[0], "text": "".join(thought["text"] for thought in found)}] if is_text else found
        joined += texts
    return {**{name: value for piece in pieces for name, value in piece.items()}, kind: joined}


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [{"type": "text", "text": value}] if value else []
    return value if isinstance(value, list) else []


def _is_text(thought: Any) -> bool:
    return isinstance(thought, dict) and thought.get("type") == "text" and isinstance(thought.get("text"), str)
