"""JSON lines from bytes, cut anywhere (jsonlines.org; RFC 8259 for each line).

Lines end with LF; a CR before it is JSON white space. Blank lines are skipped, and a byte
order mark. Nothing else ends a line: U+2028 and its kin are text.
What arrived and makes no line yet is kept: whoever feeds a decoder caps that.
"""

from __future__ import annotations

from io import BytesIO

_BOM = b"\xef\xbb\xbf"


class JSONLinesDecoder:
    r"""Cut the lines that hold JSON out of bytes (jsonlines.org, November 2026); parsing them is the caller's.

    >>> decoder = JSONLinesDecoder()
    >>> decoder.feed(b'{"a": 1}\n{"b"'), decoder.feed(b": 2}"), decoder.close()
    ([b'{"a": 1}'], [], [b'{"b": 2}'])
    """

    def __init__(self) -> None:
        self._tail = BytesIO()  # the line that has no end yet
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, cut anywhere; give the lines they complete."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._tail.write(data)
            return []
        lines = self._take_tail(data[:end]).split(b"\n")
        self._tail.write(data[end:])
        return self._filled(lines)

    def close(self) -> list[bytes]:
        """Take the end of the bytes; give the line that lacks its line end, if any."""
        return self._filled([self._take_tail(b"")])

    def _take_tail(self, data: bytes) -> bytes:
        if self._tail.tell():
            self._tail.write(data)
            data = self._tail.getvalue()
            self._tail = BytesIO()
        return data

    def _filled(self, lines: list[bytes]) -> list[bytes]:
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        return [line for line in lines if line.strip()]
