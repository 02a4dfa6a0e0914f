"""Server-sent events from bytes, cut anywhere.

The algorithm is the standard's (html.spec.whatwg.org, 9.2.5 and 9.2.6, November 2026), in
time linear in the bytes. It departs from it where real servers do, and only there:

* an event without its closing blank line at the end is given, flagged `unterminated`
  (llama.cpp ends so); the standard drops it;
* a field named `error` makes an event of type "error" (llama.cpp before September 2025);
* after an empty `data:` line, a line that starts with a space and then JSON continues it.

What arrived and makes no event yet is kept: whoever feeds a decoder caps that.
"""

from __future__ import annotations

from io import BytesIO
from typing import TypeAlias

import attrs

_BOM = b"\xef\xbb\xbf"
_MANY = 1000  # lines of one event that are kept apart


@attrs.frozen
class ServerSentEvent:
    """One event: its type, its data, and what the server said of reconnecting.

    `data` is bytes, the lines joined by LF; `id` is the last event id at that point (empty
    where none was set), `retry` milliseconds where this event set it; `unterminated` says
    that the bytes ended before its blank line.
    """

    event: str
    data: bytes
    id: str = ""
    retry: int | None = None
    unterminated: bool = False

    @property
    def text(self) -> str:
        """Return the data as text; bytes that are not UTF-8 become U+FFFD."""
        return self.data.decode("utf-8", "replace")


# Data, type, id, retry and unterminated of an event: a tuple takes a fifth of the time of a ServerSentEvent.
Record: TypeAlias = tuple[bytes, str, str, int | None, bool]


class SSEDecoder:
    r"""Cut server-sent events out of bytes, as html.spec.whatwg.org, 9.2, has them (November 2026).

    It takes a little more than the standard, where real servers send it: an event that
    lacks its closing blank line, flagged `unterminated`; a field `error`, which makes an
    event of that type; JSON that goes on in a line of its own. It never raises.

    >>> decoder = SSEDecoder()
    >>> decoder.feed(b"event: greeting\ndata: Hel"), decoder.feed(b"lo\n\n")
    ([], [ServerSentEvent(event='greeting', data=b'Hello', id='', retry=None, unterminated=False)])
    """

    def __init__(self) -> None:
        self._tail = BytesIO()  # the line that has no end yet: joined pieces would lie in memory twice
        self._at_start = True  # a byte order mark may still come
        self._between = False  # no event is begun, and nothing is waited for but the next one
        self._skip_newline = False  # the last line ended with CR, an LF belongs to it
        self._data: list[bytes] = []
        self._packed = 0  # the first so many items of it are many lines each
        self._event = b""
        self._id = ""
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take bytes, cut anywhere; give the events they complete."""
        return [_event(*record) for record in self.records(data)]

    def close(self) -> list[ServerSentEvent]:
        """Take the end of the bytes; give the event that lacks its blank line, if any."""
        return [_event(*record) for record in self.last_records()]

    def records(self, data: bytes) -> list[Record]:
        """Do what `feed` does, and give the fields of the events: decoders need no more."""
        if self._between:
            return self._read_blocks(data)
        return self._read_lines(self._trim(data))

    def last_records(self) -> list[Record]:
        """Do what `close` does, and give the fields of the event."""
        self._at_start = False
        rest = self._take_tail(b"")
        records = self._read([rest] if rest else [])
        if self._data:
            records.append(self._dispatch(unterminated=True))
        return records

    def _read_blocks(self, data: bytes) -> list[Record]:
        """Read whole events of one line of data, ended by LF, as most are; give the others to `_read_lines`."""
        whole = data.endswith(b"\n\n")
        if not whole or self._tail.tell():
            if b"\n" not in data:
                return self._read_lines(data)
            data = self._take_tail(data)
        end = len(data) if whole else data.rfind(b"\n\n") + 2
        if data.startswith(b"data: ") and end > 1 and b"\r" not in data:
            texts = data[6 : end - 2].split(b"\n\ndata: ")
            if b"\n" not in b"".join(texts):
                last_id = self._id
                if not whole:
                    self._read_lines(data[end:])  # the beginning of an event, at most
                return [(text, "message", last_id, None, False) for text in texts]
        return self._read_lines(data)

    def _read_lines(self, data: bytes) -> list[Record]:
        """Read line by line, which is right for everything."""
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not end:
            self._tail.write(data)
            return []
        lines = self._take_tail(data[:end]).splitlines()
        self._skip_newline = data.endswith(b"\r")
        if end < len(data):
            self._tail.write(data[end:])
        records = self._read(lines)
        if self._data and len(self._data) - self._packed > _MANY:
            self._pack()
        self._between = not (self._data or self._event or self._retry is not None or self._skip_newline)
        return records

    def _trim(self, data: bytes) -> bytes:
        """Take away what belongs to no line: a byte order mark, and the LF of a line that ended with CR."""
        if self._at_start:
            data = self._take_tail(data)
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._tail.write(data)
                return b""
            self._at_start = False
            data = data.removeprefix(_BOM)
        if self._skip_newline and data:
            self._skip_newline = False
            data = data.removeprefix(b"\n")
        return data

    def _take_tail(self, data: bytes) -> bytes:
        if self._tail.tell():
            self._tail.write(data)
            data = self._tail.getvalue()
            self._tail = BytesIO()
        return data

    def _read(self, lines: list[bytes]) -> list[Record]:
        records = []
        for line in lines:
            if not line:
                if self._data:
                    records.append(self._dispatch())
                else:
                    self._event, self._retry = b"", None
            elif line.startswith(b"data: "):
                self._data.append(line[6:])
            else:
                self._read_field(line)
        return records

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry":
            if value.isdigit() and len(value) < 19:
                self._retry = int(value)
        elif name == b"error":
            self._event = name
            self._data.append(value)
        elif self._data and not self._data[-1] and line.startswith((b" {", b" [", b' "')):
            self._data[-1] = line[1:]

    def _pack(self) -> None:
        """Join lines of an event that has many: a line in a list takes eighteen times a short one's bytes."""
        self._data[self._packed : -1] = [b"\n".join(self._data[self._packed : -1])]  # the last may be continued
        self._packed += 1

    def _dispatch(self, *, unterminated: bool = False) -> Record:
        event = self._event.decode("utf-8", "replace") or "message"
        record = b"\n".join(self._data), event, self._id, self._retry, unterminated
        self._data, self._packed, self._event, self._retry = [], 0, b"", None
        return record


def _event(data: bytes, kind: str, last_id: str, retry: int | None, unterminated: bool) -> ServerSentEvent:
    return ServerSentEvent(kind, data, last_id, retry, unterminated)
