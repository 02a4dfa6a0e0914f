"""Decoders: the bytes of one answer, cut anywhere, become events with exactly one Finish, last.

EventStream    server-sent events
JSONLines      one JSON value a line
JSONBody       one JSON value in all
ByContent      whichever of them the bytes are

`feed` never raises while it has events to give: the error comes with the next call, and
`ended` is True until then. So what is delivered before an error does not depend on where
the bytes were cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from typing import Any, TypeAlias

import attrs

from ..chat.events import Event, Finish, ToolCallDelta, has_content
from ..errors import StreamMalformed, StreamTruncated, UnexpectedContent
from .decoder import Decoder
from .jsonlines import JSONLinesDecoder
from .requests import ResponseHead
from .sse import SSEDecoder
from .strict_json import loads

ParseEvent: TypeAlias = Callable[[bytes, str], Iterable[Event]]
ParseValue: TypeAlias = Callable[[Any], Iterable[Event]]


_BOM = b"\xef\xbb\xbf"


class _Records:
    """The laws that EventStream and JSONLines share.

    `cut` cuts records out of bytes, and `cut_last` gives those that the end of the bytes
    completes; the first two fields of each are its data and its type. A finish reason is
    held back, since usage may follow it, and content, which is part of the answer. A reason
    that came before all content, or that content has followed, is not the end: only the
    mark, another reason, or the end of the body is, and that last is not proven then.
    """

    def __init__(
        self,
        cut: Callable[[bytes], Sequence[tuple[Any, ...]]],
        cut_last: Callable[[], Sequence[tuple[Any, ...]]],
        parse: ParseEvent,
        end: Finish | None,
        done: bytes | None,
    ) -> None:
        self._cut = cut
        self._cut_last = cut_last
        self._parse = parse
        self._end = end
        self._mark = done
        self._finish: Finish | None = None
        self._is_early = False  # content has followed the finish reason
        self._has_content = False
        self._error: Exception | None = None
        self._seen = False
        self._called_tool = False
        self._done = False
        self.ended = False  # the wire has said the end, or an error waits to be raised

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, cut anywhere; give the events they complete."""
        if self._error is not None:
            raise self._error
        events = self._collect(self._cut(data))
        if not events:
            self._raise_error()
        return events

    def close(self) -> list[Event]:
        """Take the end of the body; give the Finish if it has not gone out.

        Raises StreamTruncated if the last record is cut, or nothing proves the end.
        """
        self._raise_error()
        ended = self.ended
        events = self._collect(self._cut_last())
        is_cut = isinstance(self._error, (StreamMalformed, ValueError))  # a plugin may use another JSON parser
        if is_cut:
            if not ended:
                raise StreamTruncated(f"the answer stopped in the middle of an event: {self._error}")
            self._error = None  # the wire had said the end; usage that is cut takes nothing from the answer
        self._raise_error()
        if not self._done:
            events.append(self._end_of_body(proven=not (is_cut or self._is_early)))
            self.ended = ended  # what the end of the body completes is proven by that end alone
        return events

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _collect(self, records: Sequence[tuple[Any, ...]]) -> list[Event]:
        """Make events of records; all that is done for every one of a stream stands in this loop."""
        events: list[Event] = []
        parse, mark = self._parse, self._mark
        found: Finish | None = None
        examined = 0
        try:
            for record in records:
                data, kind = record[0], record[1]
                if self._done:
                    break
                if data == mark:
                    events.append(self._end_of_wire())
                elif data or kind != "message":
                    self._seen = True
                    for event in parse(data, kind):
                        if type(event) is Finish:
                            found = found or event
                        else:
                            if type(event) is ToolCallDelta:
                                self._called_tool = True
                            events.append(event)
                    if found or self._finish:
                        self._weigh(found, events[examined:])
                        found, examined = None, len(events)
        except Exception as error:  # noqa: BLE001 - the plugin boundary; it is raised by the next call
            self._error = error
            self.ended = True
        if not self._has_content:
            self._has_content = any(map(has_content, events))
        return events

    def _weigh(self, found: Finish | None, events: list[Event]) -> None:
        """Note what a record means that has a finish reason or follows one, and made the last of these events."""
        follows = any(map(has_content, events))
        self._has_content = self._has_content or follows
        if found is not None:
            self._finish = self._finish or found
            self._is_early = False
            self.ended = self._has_content
        elif follows:
            self._is_early = True
            self.ended = False

    def _end_of_wire(self) -> Finish:
        self._done = self.ended = True
        return self._finish or self._end or _default_finish(self._called_tool)

    def _end_of_body(self, *, proven: bool) -> Finish:
        if self._finish is not None:
            return self._finish if proven else attrs.evolve(self._finish, proven=False)
        if not self._seen:
            raise StreamTruncated("the body ended before the first event")
        if self._end is None:
            raise StreamTruncated("the answer stopped before its wire said the end")
        return self._end


def _default_finish(called_tool: bool) -> Finish:
    return Finish("tool_calls" if called_tool else "stop")


class EventStream(_Records):
    r"""Decode server-sent events (html.spec.whatwg.org, 9.2, November 2026: see SSEDecoder).

    `parse(data, event)` gives the events of one server-sent event: `data` as bytes, `event`
    its type ("message" where the server named none). Data equal to `done` ends the stream
    and never reaches `parse`, nor does an empty event without a type. `end` is what the end
    of the body means on a wire without a mark of its own; without `end`, a body that ends
    unannounced is StreamTruncated. What `parse` raises is raised once the events before it
    have been given.

    >>> decoder = EventStream(lambda data, event: [TextDelta(loads(data))], end=Finish("stop"))
    >>> decoder.feed(b'data: "Hello"\n\n'), decoder.close()
    ([TextDelta(text='Hello')], [Finish(reason='stop', proven=True, raw=None)])
    """

    def __init__(self, parse: ParseEvent, end: Finish | None = None, done: bytes | None = b"[DONE]") -> None:
        decoder = SSEDecoder()
        super().__init__(decoder.records, decoder.last_records, parse, end, done)


class JSONLines(_Records):
    """Decode JSON lines (jsonlines.org); `parse(value)` gives the events of one line, `end` is as in EventStream.

    A line that is not JSON is StreamMalformed, and StreamTruncated if it is the last and lacks its end.
    """

    def __init__(self, parse: ParseValue, end: Finish | None = None) -> None:
        decoder = JSONLinesDecoder()
        super().__init__(
            lambda data: [(line, "message") for line in decoder.feed(data)],
            lambda: [(line, "message") for line in decoder.close()],
            lambda line, kind: parse(loads(line)),
            end,
            None,
        )


class JSONBody:
    """Decode a body that is one JSON value (RFC 8259), which proves itself by being complete.

    `parse(value)` gives its events; where no Finish is among them, the reason is
    "tool_calls" where one was seen, else "stop". Events come at the end, all at once; a body
    that is no JSON is StreamMalformed, and StreamTruncated if it is empty or cut.
    """

    def __init__(self, parse: ParseValue) -> None:
        self._parse = parse
        self._body = BytesIO()  # a list of pieces would take forty bytes more for each
        self.ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, cut anywhere; nothing is given before the end."""
        self._body.write(data)
        return []

    def close(self) -> list[Event]:
        """Parse the body; raises StreamTruncated if it is only the beginning of a value."""
        value = self._value()
        events = list(self._parse(value))
        finishes = [event for event in events if type(event) is Finish]
        others: list[Event] = [event for event in events if type(event) is not Finish]
        self.ended = type(value) not in (int, float)  # the beginning of a number is a number
        if finishes:
            return [*others, finishes[0]]
        return [*others, _default_finish(ToolCallDelta in map(type, others))]

    def _value(self) -> Any:
        body, self._body = self._body.getvalue().removeprefix(_BOM), BytesIO()
        if not body.strip():
            raise StreamTruncated("the body is empty")
        try:
            return loads(body)
        except StreamMalformed as error:
            if error.incomplete:
                raise StreamTruncated(f"the answer stopped in the middle of its JSON: {error}") from None
            raise


class ByContent:
    """Choose a decoder by the first bytes of the body, then by its content type.

    Raises UnexpectedContent for a body that is none of those given (an HTML page, say);
    the core then shows the body to the provider's `parse_error`.
    """

    def __init__(
        self,
        head: ResponseHead,
        *,
        stream: Decoder | None = None,
        lines: Decoder | None = None,
        body: Decoder | None = None,
    ) -> None:
        self._head = head
        self._stream = stream
        self._lines = lines
        self._body = body
        self._start = b""
        self._chosen: Decoder | None = None

    @property
    def ended(self) -> bool:
        """Return whether the wire has said the end."""
        return self._chosen is not None and self._chosen.ended

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, cut anywhere; give the events they complete."""
        if self._chosen is not None:
            return self._chosen.feed(data)
        self._start = _BLANK.sub(b"", self._start + data)
        return self._choose() if _decides(self._start) else []

    def close(self) -> list[Event]:
        """Take the end of the body, as the chosen decoder does."""
        events: list[Event] = []
        if self._chosen is None:
            if not self._start:
                raise StreamTruncated("the body is empty")
            events = self._choose()
        assert self._chosen is not None  # _choose raises otherwise
        return events + self._chosen.close()

    def _choose(self) -> list[Event]:
        start, self._start = self._start, b""
        self._chosen = self._decoder_for(start)
        if self._chosen is None:
            raise UnexpectedContent(
                f"expected a chat answer, got {self._head.content_type or 'something'} that starts with {start[:40]!r}",
                status=self._head.status,
            )
        return self._chosen.feed(start)

    def _decoder_for(self, start: bytes) -> Decoder | None:
        content_type = self._head.content_type
        if start.startswith(_FIELDS):
            return self._stream
        if start.startswith((b"{", b"[", b'"')):
            as_lines = "ndjson" in content_type or "jsonl" in content_type
            return (self._lines or self._body) if as_lines else (self._body or self._lines)
        return self._stream if content_type == "text/event-stream" and not start.startswith(b"<") else None


_BLANK = re.compile(rb"\A(?:[ \t\r\n]|" + _BOM + rb")++")  # possessive: to go back takes 140 bytes for each
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")
_LONGEST_FIELD = max(map(len, _FIELDS))


def _decides(start: bytes) -> bool:
    if not start or _BOM.startswith(start):
        return False
    return len(start) >= _LONGEST_FIELD or start.startswith(_FIELDS) or not any(f.startswith(start) for f in _FIELDS)
