"""Server-sent events from bytes: the standard's algorithm, and what real servers make of it.

The first table follows the cases of the web platform tests (eventsource/format-*), written
again from html.spec.whatwg.org, 9.2.5 and 9.2.6; the second those of real servers. A naive
reading of the standard's algorithm stands beside the decoder for everything else.
"""

from __future__ import annotations

import re
import sys

import pytest
from cuts import cut_at, unhurried, whatever_the_cut
from hypothesis import given, strategies as st

from providerkit import ServerSentEvent, SSEDecoder

BOM = b"\xef\xbb\xbf"
LONG = b"x" * 300


def decode(pieces: list[bytes]) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


def message(data: bytes, **fields: object) -> ServerSentEvent:
    return ServerSentEvent("message", data, **fields)


STANDARD = {
    "bom": (BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n", [message(b"1"), message(b"3")]),
    "bom-2": (BOM + BOM + b"data:1\n\ndata:2\n\n", [message(b"2")]),
    "bom-alone": (BOM, []),
    "bom-cut": (BOM[:2], []),
    "bom-cut-before-a-line": (BOM[:2] + b"\ndata:1\n\n", [message(b"1")]),
    "bom-is-content-later": (b"data:" + BOM + b"1\n\n", [message(BOM + b"1")]),
    "comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + LONG + b"\rdata:3\n:data:fail\r:" + LONG + b"\ndata:4\n\n",
        [message(b"1\n2\n3\n4")],
    ),
    "comments-alone": (b":\n\n: ping\n\n:data:x\n\n", []),
    "field-data": (b"data:\n\ndata\ndata\n\ndata:test\n\n", [message(b""), message(b"\n"), message(b"test")]),
    "field-event": (b"event:test\ndata:x\n\ndata:x\n\n", [ServerSentEvent("test", b"x"), message(b"x")]),
    "field-event-empty": (b"event: \ndata:data\n\n", [message(b"data")]),
    "field-event-last-wins": (b"event:a\nevent:b\ndata:x\n\n", [ServerSentEvent("b", b"x")]),
    "field-event-without-data": (b"event:x\n\ndata:1\n\n", [message(b"1")]),
    "field-id": (b"id:1\ndata:a\n\ndata:b\n\n", [message(b"a", id="1"), message(b"b", id="1")]),
    "field-id-reset": (b"id:1\ndata:a\n\nid:\ndata:b\n\n", [message(b"a", id="1"), message(b"b")]),
    "field-id-reset-without-colon": (b"id:1\ndata:a\n\nid\ndata:b\n\n", [message(b"a", id="1"), message(b"b")]),
    "field-id-null": (b"id:1\nid:2\0\ndata:a\n\n", [message(b"a", id="1")]),
    "field-id-without-data": (b"id:1\n\ndata:a\n\n", [message(b"a", id="1")]),
    "field-parsing": (
        (
            b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\n"
            b"da-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n"
        ),
        [message(b"\0\n 2\n1\n3\n\n4")],
    ),
    "field-parsing-colons": (b"data: a: b:\n\ndata::\n\n", [message(b"a: b:"), message(b":")]),
    "field-retry": (b"retry:3000\ndata:x\n\ndata:y\n\n", [message(b"x", retry=3000), message(b"y")]),
    "field-retry-last-wins": (b"retry:1\nretry:02\ndata:x\n\n", [message(b"x", retry=2)]),
    "field-retry-bogus": (
        b"retry:3000\nretry:1000x\nretry:+1\nretry:-1\nretry:1.5\nretry: \nretry\nretry:\xd9\xa3\ndata:x\n\n",
        [message(b"x", retry=3000)],
    ),
    "field-retry-beyond-any-number": (b"retry:" + b"9" * 5000 + b"\ndata:x\n\n", [message(b"x")]),
    "field-retry-without-data": (b"retry:1\n\ndata:x\n\n", [message(b"x")]),
    "field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [message(b"test\n\ntest")],
    ),
    "field-case": (b"DATA:1\nEvent:x\nID:1\ndata:2\n\n", [message(b"2")]),
    "leading-space": (b"data:\ttest\rdata: \ndata:test\n\n", [message(b"\ttest\n\ntest")]),
    "leading-spaces": (b"data:  two\n\n", [message(b" two")]),
    "newlines": (b"data:test\r\ndata\ndata:test\r\n\r", [message(b"test\n\ntest")]),
    "newlines-cr": (b"data:1\r\rdata:2\r\r", [message(b"1"), message(b"2")]),
    "newlines-crlf": (b"data:1\r\n\r\ndata:2\r\n\r\n", [message(b"1"), message(b"2")]),
    "newlines-mixed": (b"data:1\n\rdata:2\r\n\n\n\r\r\ndata:3\r\r\n", [message(b"1"), message(b"2"), message(b"3")]),
    "newlines-are-no-others": (
        "data:a\v\f\x1c\x1d\x1e\x85\u2028\u2029b\n\n".encode(),
        [message("a\v\f\x1c\x1d\x1e\x85\u2028\u2029b".encode())],
    ),
    "null-character": (b"data:\0\n\n\n\n", [message(b"\0")]),
    "utf-8": ("data:ok…\n\n".encode(), [message("ok…".encode())]),
    "empty": (b"", []),
}

REAL = {
    "D1 no space": (b'data:{"a":1}\n\n', [message(b'{"a":1}')]),
    "D2 an object on the next line": (b'data:\n {"a":1}\n\n', [message(b'{"a":1}')]),
    "D2 a list on the next line": (b"data: \n [1]\n\n", [message(b"[1]")]),
    "D2 a string on the next line": (b'data\n "a"\n\n', [message(b'"a"')]),
    "D2 only a space is the sign": (b'data:\n{"a":1}\n\n', [message(b"")]),
    "D2 only after an empty line": (b'data:1\n {"a":1}\n\n', [message(b"1")]),
    "D2 only within an event": (b'data:1\n\n {"a":1}\n\ndata:2\n\n', [message(b"1"), message(b"2")]),
    "D3 comments keep alive": (b": OPENROUTER PROCESSING\n\n: keep-alive\n\ndata:1\n\n: ping\n\n", [message(b"1")]),
    "D4 comments before the end": (
        b"data:1\n\n: cost 0\n: time 1\ndata: [DONE]\n\n",
        [message(b"1"), message(b"[DONE]")],
    ),
    "D5 CRLF": (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [message(b"1"), message(b"2")]),
    "D6 no blank line at the end": (
        b"data:1\n\ndata: [DONE]\n",
        [message(b"1"), message(b"[DONE]", unterminated=True)],
    ),
    "D6 no line end at the end": (b"id:7\nretry:1\ndata: a", [message(b"a", id="7", retry=1, unterminated=True)]),
    "D6 nothing but a name at the end": (b"data:1\n\nevent: x\nid:1\n", [message(b"1")]),
    "D8 an error field": (
        b'error: {"code":500}\n\ndata: [DONE]\n\n',
        [ServerSentEvent("error", b'{"code":500}'), message(b"[DONE]")],
    ),
    "D11 an error event": (b"event: error\ndata: {}\n\n", [ServerSentEvent("error", b"{}")]),
    "D12 empty frames": (
        b"event: ping\ndata:\n\ndata:\n\ndata: 1\n\n",
        [ServerSentEvent("ping", b""), message(b""), message(b"1")],
    ),
    "D18 separators that are text": ('data: "\u2028\u2029\x85"\n\n'.encode(), [message('"\u2028\u2029\x85"'.encode())]),
    "D25 a byte order mark": (BOM + b"data: 1\n\n", [message(b"1")]),
}


@pytest.mark.parametrize(("data", "events"), [*STANDARD.values(), *REAL.values()], ids=[*STANDARD, *REAL])
def test_the_events_are_those_of_the_standard_and_of_real_servers_whatever_the_cut(data, events):
    assert whatever_the_cut(decode, data) == events


def test_an_unfinished_event_is_flagged_and_no_other():
    data = b"retry:1000\ndata:test1\n\nid:test\ndata:test2"
    assert [
        message(b"test1", retry=1000),
        message(b"test2", id="test", unterminated=True),
    ] == decode([data])


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\r", b"\r\n\r"], ids=repr)
def test_an_event_is_given_with_the_first_byte_that_ends_it(blank):
    decoder = SSEDecoder()
    assert decoder.feed(b"data:1" + blank[:-1]) == []
    assert decoder.feed(blank[-1:]) == [message(b"1")]


def test_data_is_bytes_and_its_text_replaces_what_is_not_utf_8():
    (event,) = decode([b"data:\xff\xe2\x82\ndata:\xe2\x82\xac\n\n"])
    assert event.data == b"\xff\xe2\x82\n\xe2\x82\xac"
    assert event.text == "\ufffd\ufffd\n€"


def test_names_and_ids_that_are_not_utf_8_are_replaced():
    assert decode([b"event:\xff\nid:\xff\ndata:\n\n"]) == [ServerSentEvent("\ufffd", b"", "\ufffd")]


def read_naively(data: bytes) -> list[tuple[str, str, str, int | None, bool]]:
    """Follow the standard word by word, on text, in any time it takes; then the three departures."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    events = []
    last_id = ""
    buffer, kind, retry = "", "", None

    *lines, rest = re.split("\r\n|\n|\r", text)
    for line in [*lines, rest] if rest else lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if buffer:
                events.append((kind or "message", buffer[:-1], last_id, retry, False))
            buffer, kind, retry = "", "", None
        elif name == "event":
            kind = value
        elif name == "data":
            buffer += value + "\n"
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "retry" and re.fullmatch("[0-9]{1,18}", value):  # more digits are no time
            retry = int(value)
        elif name == "error":  # the first departure
            kind = "error"
            buffer += value + "\n"
        elif re.match(r' [{\["]', line) and re.search(r"(^|\n)\n\Z", buffer):  # the second
            buffer = buffer[:-1] + line[1:] + "\n"
    if buffer:  # the third
        events.append((kind or "message", buffer[:-1], last_id, retry, True))
    return events


WORDS = (
    *(b"data", b"event", b"id", b"retry", b"error", b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n"),
    *(b"\0", BOM, BOM[:2], b"\xe2\x82", b"\xff", "\u2028\x85".encode(), b"7", b"x", b'{"a":1}', b' "', b" [", b"\t"),
)
streams = st.one_of(st.lists(st.sampled_from(WORDS), max_size=40).map(b"".join), st.binary(max_size=60))
offsets = st.lists(st.integers(0, 200), max_size=12)


@unhurried
@given(streams, offsets)
def test_any_bytes_cut_anywhere_give_the_events_of_the_naive_reading(data, offsets):
    events = decode(cut_at(data, offsets))
    shown = [(event.event, event.text, event.id, event.retry, event.unterminated) for event in events]
    assert shown == read_naively(data)


@unhurried
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"))), offsets)
def test_what_a_server_writes_is_what_is_read(texts, offsets):
    data = "".join(f"data: {text}\n\n" for text in texts).encode()
    assert [event.text for event in decode(cut_at(data, offsets))] == texts


@pytest.mark.parametrize("piece", [1, 1024], ids=["byte by byte", "in kilobytes"])
def test_a_long_line_is_joined_once_however_many_its_pieces(piece):
    data = b"data: " + b"x" * 50_000 + b"\n\n"
    joins = []

    def count(frame, event, function):
        if event == "c_call" and function.__name__ == "join":
            joins.append(frame.f_code.co_name)

    sys.setprofile(count)
    try:
        events = decode([data[at : at + piece] for at in range(0, len(data), piece)])
    finally:
        sys.setprofile(None)
    assert events == [message(b"x" * 50_000)]
    assert len(joins) <= 2, joins  # the pieces of the line, then the lines of the event


@pytest.mark.parametrize("lines", [999, 1000, 1001, 1002, 2002, 5000])
def test_an_event_of_many_lines_is_the_same_whatever_the_cut(lines):
    data = b"data: ab\n" * lines + b'data:\n {"a":1}\n\ndata: c\n\n'
    events = [message(b"ab\n" * lines + b'{"a":1}'), message(b"c")]
    for piece in (1, 9, 1024, len(data)):
        assert decode([data[at : at + piece] for at in range(0, len(data), piece)]) == events
