"""Tool calls: which pieces belong to one call, though servers set ids, indices and names as they like.

The arguments decide first. As long as they are the beginning of a JSON value, a piece goes
on with them; once they are a complete one, more of them are of another call. Ids, indices
and names decide when there are no arguments yet, and which of several open calls is meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from providerkit import ProviderData, ToolCallDelta


@attrs.frozen
class _Piece:
    """One piece of a call; `is_beside` says that the piece before it, in the same chunk, is of the same call."""

    index: int | None
    id: str
    name: str
    arguments: str
    kept: dict[str, Any] = attrs.field(factory=dict)
    is_beside: bool = False

    @property
    def is_blank(self) -> bool:
        return not self.arguments.strip()

    @classmethod
    def of(cls, entry: dict[str, Any], kept: frozenset[str]) -> _Piece:
        function = entry.get("function")
        function = function if isinstance(function, dict) else {}
        index = entry.get("index")
        return cls(
            index if type(index) is int else None,
            _string(entry.get("id")),
            _string(function.get("name")),
            _arguments(function.get("arguments")),
            {name: entry[name] for name in kept & entry.keys() if entry[name]},
        )


class _Arguments:
    """The arguments so far, and whether they are one complete JSON value: found out as they come, in linear time."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._depth = 0
        self._is_quoted = False
        self._is_escaped = False
        self._last = ""  # character that is not blank

    def add(self, text: str) -> None:
        self._pieces.append(text)
        for character in text:
            if self._is_escaped:
                self._is_escaped = False
            elif self._is_quoted:
                self._is_escaped = character == "\\"
                self._is_quoted = character != '"'
            elif character == '"':
                self._is_quoted = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
        self._last = text.rstrip()[-1:] or self._last

    @property
    def text(self) -> str:
        return "".join(self._pieces).strip()

    @property
    def is_blank(self) -> bool:
        return not self._last

    @property
    def is_complete(self) -> bool:
        if self._is_quoted or self._depth > 0:
            return False
        return self._last in ("}", "]", '"') or (self._last == "l" and self.text == "null")


class _Call:
    def __init__(self, position: int, name: str = "") -> None:
        self.position = position
        self.id = ""
        self.name = name
        self.arguments = _Arguments()
        self.kept: dict[str, Any] = {}  # that is not given yet
        self._told: set[str] = set()  # of "id" and "name"
        self.is_untold = True
        self._is_repeated = False  # its name has come again, after its arguments

    def is_followed_by(self, piece: _Piece) -> bool:
        """Return whether a piece that may be this call's begins another one."""
        if self.arguments.is_blank:
            return self._is_another_head(piece)
        if not self.arguments.is_complete:
            if self._has_other_name(piece):
                return not piece.id or piece.id != self.id
            return piece.index is None and bool(piece.name) and self.has_other_id(piece)
        if piece.is_blank:
            by_id = self.has_other_id(piece) and (bool(piece.name) or piece.index is None)
            return by_id or self._has_other_name(piece) or (piece.is_beside and bool(piece.name))
        return bool(piece.name) or piece.arguments.lstrip().startswith("{")

    def _is_another_head(self, piece: _Piece) -> bool:
        if self.has_other_id(piece):
            return bool(piece.name) or (piece.index is None and piece.is_blank)
        if self._has_other_name(piece):  # or the rest of a name that comes in pieces
            return piece.index is None and not self.id
        return piece.is_beside and bool(piece.name and self.name)

    def has_other_id(self, piece: _Piece) -> bool:
        return bool(piece.id and self.id) and piece.id != self.id

    def _has_other_name(self, piece: _Piece) -> bool:
        return bool(piece.name and self.name) and piece.name != self.name

    def repeats(self, piece: _Piece) -> bool:
        """Return whether a piece says all of the arguments once more, as some servers do at the end."""
        said_twice = (
            not piece.is_blank and self.arguments.is_complete and piece.arguments.strip() == self.arguments.text
        )
        return said_twice and not (piece.name or self._is_repeated or self.has_other_id(piece))

    def take(self, piece: _Piece) -> None:
        self._is_repeated = self._is_repeated or (bool(piece.name) and self.arguments.is_complete)
        self.id = self.id or piece.id
        if self.arguments.is_blank:
            self.name = _joined(self.name, piece.name)
        self.name = self.name or piece.name
        self.arguments.add(piece.arguments)
        self.kept |= piece.kept

    def tell(self, arguments: str = "") -> ToolCallDelta:
        """Make the event of a piece, with what has not been told of the call."""
        self.is_untold = False
        call_id, name = ("" if what in self._told else getattr(self, what) for what in ("id", "name"))
        self._told |= {what for what in ("id", "name") if getattr(self, what)}
        return ToolCallDelta(self.position, call_id, name, arguments)

    @property
    def has_news(self) -> bool:
        """Return whether its id or its name has not been told."""
        return any(getattr(self, what) and what not in self._told for what in ("id", "name"))


class Calls:
    """The tool calls of one answer, counted from 0.

    A name may come in pieces, and events give it whole: so a call is told with its first
    arguments, and one without any at the end.
    """

    def __init__(self, kept: frozenset[str] = frozenset()) -> None:
        self._kept = kept
        self._last_told: _Call | None = None
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def pieces(self, entries: list[dict[str, Any]]) -> Iterator[ToolCallDelta | ProviderData]:
        """Make the events of the pieces in one chunk."""
        before = None
        for entry in entries:
            piece = _Piece.of(entry, self._kept)
            call = self._find(piece)
            if call is not None and call.repeats(piece):
                continue
            if call is None or call.is_followed_by(attrs.evolve(piece, is_beside=before is call)):
                call = self._begin(piece, call)
            before = call
            yield from self._take(call, piece)

    def whole(self, entries: list[dict[str, Any]]) -> Iterator[ToolCallDelta | ProviderData]:
        """Make the events of calls that came whole: each entry is one."""
        for entry in entries:
            piece = _Piece.of(entry, self._kept)
            yield from self._take(self._begin(piece), piece)

    def rest(self) -> Iterator[ToolCallDelta | ProviderData]:
        """Make the events of the calls that ended without arguments."""
        for call in self._calls:
            if call.arguments.is_blank:
                yield from self._tell(call)

    def _find(self, piece: _Piece) -> _Call | None:
        """Return the call that a piece goes on with, or is the next to; None if it begins one for certain."""
        found = self._by_index.get(piece.index) if piece.index is not None else None
        found = found or self._by_id.get(piece.id)
        if found is not None or not self._calls:
            return found
        last = self._calls[-1]
        counts_pieces = not (piece.id or piece.name or piece.is_blank or last.arguments.is_complete)
        return last if piece.index is None or counts_pieces else None

    def _begin(self, piece: _Piece, before: _Call | None = None) -> _Call:
        """Begin a call; one that has neither a name nor an id is of the same tool as the one before."""
        name = before.name if before and not piece.name and not before.has_other_id(piece) else ""
        call = _Call(len(self._calls), name)
        self._calls.append(call)
        return call

    def _take(self, call: _Call, piece: _Piece) -> Iterator[ToolCallDelta | ProviderData]:
        has_own_id = self._by_id.get(piece.id, call) is call  # else the core makes one: no two calls have the same
        if piece.index is not None:
            self._by_index[piece.index] = call
        if piece.id:
            self._by_id[piece.id] = call
        call.take(piece if has_own_id else attrs.evolve(piece, id=""))
        if not call.arguments.is_blank and (piece.arguments or call.has_news or call.kept):
            yield from self._tell(call, piece.arguments)

    def _tell(self, call: _Call, arguments: str = "") -> Iterator[ToolCallDelta | ProviderData]:
        """Make the event of a piece, and that of what the service wants back of the call, which names a call before."""
        is_news = call.is_untold
        if is_news or arguments or call.has_news:
            yield call.tell(arguments)
        self._last_told = call if is_news else self._last_told
        if call.kept:
            which = {} if call is self._last_told else {"id": call.id}
            yield ProviderData({"tool_call": call.kept, **which}, keep=True)
            call.kept = {}


def _joined(name: str, piece: str) -> str:
    """Return a name with its next piece; some servers repeat the name, or what has come of it."""
    return piece if piece.startswith(name) else name if name == piece or not piece else name + piece


def _arguments(given: Any) -> str:
    if isinstance(given, str):
        return given
    return "" if given is None else json.dumps(given, ensure_ascii=False, separators=(",", ":"))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
