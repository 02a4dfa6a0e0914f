"""Decoders: events with exactly one Finish, last, over every cut; an error after what precedes it."""

from __future__ import annotations

from typing import Any

import pytest
from cuts import cut_at, unhurried, whatever_the_cut
from hypothesis import given, strategies as st

from providerkit import (
    ByContent,
    ContentFiltered,
    Decoder,
    Event,
    EventStream,
    Finish,
    JSONBody,
    JSONLines,
    ProviderError,
    ResponseHead,
    StreamError,
    StreamMalformed,
    StreamTruncated,
    TextDelta,
    ToolCallDelta,
    UnexpectedContent,
    Usage,
    loads,
)

BOM = b"\xef\xbb\xbf"
STOP = Finish("stop")
CALL = ToolCallDelta(0, "1", "f", "{}")


def parse_value(value: Any) -> list[Event]:
    """Speak a small wire: a string is text, a number of tokens usage, {"finish": ...} the end."""
    match value:
        case {"finish": reason}:
            return [Finish(reason)]
        case {"refusal": words}:
            raise ContentFiltered(words)
        case {"bug": words}:
            raise LookupError(words)
        case {"call": _}:
            return [CALL]
        case [*values]:
            return [event for value in values for event in parse_value(value)]
        case bool() | None:
            return []
        case int(tokens):
            return [Usage(output_tokens=tokens)]
    return [TextDelta(str(value))]


def stream(end: Finish | None = None, **options: Any) -> EventStream:
    return EventStream(lambda data, event: parse_value(loads(data)), end, **options)


def lines(end: Finish | None = None) -> JSONLines:
    return JSONLines(parse_value, end)


def decode(decoder: Decoder, pieces: list[bytes]) -> tuple[list[Event], type[Exception] | None]:
    """Return all events, and the kind of error that follows them; the laws of every decoder hold meanwhile."""
    events: list[Event] = []
    error = None
    try:
        for piece in pieces:
            events += decoder.feed(piece)
            assert decoder.ended or not _finishes(events)
        if not _finishes(events):
            events += decoder.close()
    except Exception as raised:
        error = type(raised)
    assert _finishes(events) == ([] if error else events[-1:])
    return events, error


def _finishes(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, Finish)]


def texts(*words: str) -> list[Event]:
    return [TextDelta(word) for word in words]


def sse(*data: str) -> bytes:
    return "".join(f"data: {line}\n\n" for line in data).encode()


def jsonl(*values: str) -> bytes:
    return "".join(f"{value}\n" for value in values).encode()


FINISHED = '{"finish":"length"}'
UNPROVEN = Finish("length", proven=False)  # content has followed it, and then the body just ended

# Records that either wire can carry: what is said, what comes of it.
COMMON = {
    "the wire's finish": (['"a"', FINISHED], [*texts("a"), Finish("length")], None),
    "the finish waits for usage": (
        ['"a"', FINISHED, "7"],
        [*texts("a"), Usage(output_tokens=7), Finish("length")],
        None,
    ),
    "deltas after the finish precede it": ([FINISHED, '"a"', '"b"'], [*texts("a", "b"), UNPROVEN], None),
    "deltas between two finishes": ([FINISHED, '"a"', '{"finish":"stop"}'], [*texts("a"), Finish("length")], None),
    "deltas around a finish": (['"a"', FINISHED, '"b"'], [*texts("a", "b"), UNPROVEN], None),
    "an empty delta after the finish": (['"a"', FINISHED, '""'], [*texts("a", ""), Finish("length")], None),
    "the first reason wins": (['"a"', FINISHED, '{"finish":"stop"}'], [*texts("a"), Finish("length")], None),
    "a finish among other events": ([f'["a",{FINISHED},"b"]'], [*texts("a", "b"), Finish("length")], None),
    "no events are fine": (["null", FINISHED], [Finish("length")], None),
    "no proof of the end": (['"a"', '"b"'], texts("a", "b"), StreamTruncated),
    "no JSON": (['"a"', "oops", '"b"'], texts("a"), StreamMalformed),
    "no JSON after the finish": (['"a"', FINISHED, "{"], texts("a"), StreamMalformed),
    "a refusal after text": (['"a"', '{"refusal":"no"}', '"b"'], texts("a"), ContentFiltered),
    "a plugin's bug after text": (['"a"', '{"bug":"no"}', '"b"'], texts("a"), LookupError),
    "a body of nothing": ([], [], StreamTruncated),
}


@pytest.mark.parametrize(
    ("make", "write"), [pytest.param(stream, sse, id="EventStream"), pytest.param(lines, jsonl, id="JSONLines")]
)
@pytest.mark.parametrize(("said", "events", "error"), COMMON.values(), ids=COMMON)
def test_one_finish_comes_last_and_an_error_after_what_precedes_it(make, write, said, events, error):
    assert whatever_the_cut(lambda pieces: decode(make(), pieces), write(*said)) == (events, error)


@pytest.mark.parametrize(
    ("make", "data", "events", "error"),
    [
        pytest.param(stream, sse('"a"', "[DONE]"), [*texts("a"), STOP], None, id="done"),
        pytest.param(
            stream, sse('"a"', "[DONE]") + b"data: oops\n\n{", [*texts("a"), STOP], None, id="data after done"
        ),
        pytest.param(
            stream, sse('{"call":1}', "[DONE]"), [CALL, Finish("tool_calls")], None, id="done after a tool call"
        ),
        pytest.param(stream, sse(FINISHED, "7", "[DONE]"), [Usage(output_tokens=7), Finish("length")], None, id="held"),
        pytest.param(
            lambda: stream(Finish("other")),
            sse('{"call":1}', "[DONE]"),
            [CALL, Finish("other")],
            None,
            id="done means end",
        ),
        pytest.param(
            lambda: stream(Finish("other")),
            sse(FINISHED, "[DONE]"),
            [Finish("length")],
            None,
            id="held rather than end",
        ),
        pytest.param(stream, sse("[DONE]"), [STOP], None, id="done alone"),
        pytest.param(stream, b'data: "a"\n\ndata: [DONE]', [*texts("a"), STOP], None, id="done unterminated (D6)"),
        pytest.param(stream, sse('"a"', "[DONE] "), texts("a"), StreamMalformed, id="done is exact: space after"),
        pytest.param(stream, sse('"a"', " [DONE]"), texts("a"), StreamMalformed, id="done is exact: space before"),
        pytest.param(stream, sse('"a"', '"[DONE]"'), texts("a", "[DONE]"), StreamTruncated, id="done is exact: quoted"),
        pytest.param(stream, sse('"a"', "[done]"), texts("a"), StreamMalformed, id="done is exact: case"),
        pytest.param(
            lambda: stream(done=b'"bye"'), sse('"a"', '"bye"', '"b"'), [*texts("a"), STOP], None, id="another done"
        ),
        pytest.param(lambda: stream(done=None), sse('"a"', "[DONE]"), texts("a"), StreamMalformed, id="no done"),
        pytest.param(lambda: stream(STOP), sse('"a"', '"b"'), [*texts("a", "b"), STOP], None, id="end"),
        pytest.param(
            lambda: stream(STOP), sse('"a"', FINISHED), [*texts("a"), Finish("length")], None, id="held, then end"
        ),
        pytest.param(lambda: stream(STOP), b"", [], StreamTruncated, id="end of an empty body"),
        pytest.param(lambda: stream(STOP), b": ping\n\nid: 1\n\n", [], StreamTruncated, id="end without an event"),
        pytest.param(
            lambda: stream(STOP), b'data: "a"\n\ndata: "b"', [*texts("a", "b"), STOP], None, id="unterminated"
        ),
        pytest.param(stream, b'data: "a"\n\ndata: null', texts("a"), StreamTruncated, id="unterminated, no end"),
        pytest.param(lambda: stream(STOP), b'data: "a"\n\ndata: "b', texts("a"), StreamTruncated, id="cut in an event"),
        pytest.param(
            lambda: stream(STOP), b'data: "a"\n\ndata: {"x":\n', texts("a"), StreamTruncated, id="cut in a value"
        ),
        pytest.param(lambda: stream(STOP), b'data: "a"\n\nda', [*texts("a"), STOP], None, id="cut in a field's name"),
        pytest.param(
            stream, b'data: "a"\n\ndata: {"refusal":1}', texts("a"), ContentFiltered, id="unterminated refusal"
        ),
        pytest.param(
            stream,
            sse('"a"', FINISHED) + b'data: {"us',
            [*texts("a"), UNPROVEN],
            None,
            id="a cut tail takes nothing from an answer whose end was said",
        ),
        pytest.param(
            stream, sse(FINISHED) + b'data: "a', [], StreamTruncated, id="a cut tail behind a finish that was early"
        ),
        pytest.param(
            stream,
            sse(FINISHED, '"a"') + b'data: "b',
            texts("a"),
            StreamTruncated,
            id="a cut tail behind content that followed the finish",
        ),
        pytest.param(
            stream,
            sse(FINISHED, '"a"', "[DONE]"),
            [*texts("a"), Finish("length")],
            None,
            id="done after an early finish",
        ),
        pytest.param(
            lambda: stream(STOP), b'data:\n\ndata: "a"\n\ndata\n\n', [*texts("a"), STOP], None, id="empty frames (D12)"
        ),
        pytest.param(lambda: stream(STOP), b"data:\n\n", [], StreamTruncated, id="end after an empty frame"),
        pytest.param(lambda: lines(STOP), b'"a"\n"b"\n', [*texts("a", "b"), STOP], None, id="lines: end"),
        pytest.param(lambda: lines(STOP), b'"a"\n"b"', [*texts("a", "b"), STOP], None, id="lines: unterminated"),
        pytest.param(lambda: lines(STOP), b'"a"\n{"fin', texts("a"), StreamTruncated, id="lines: cut in a value"),
        pytest.param(lambda: lines(STOP), b"\n \r\n", [], StreamTruncated, id="lines: end without a value"),
        pytest.param(lines, b'"a"\n{"finish":"stop"}', [*texts("a"), STOP], None, id="lines: finish unterminated"),
    ],
)
def test_the_end_is_what_the_wire_says(make, data, events, error):
    assert whatever_the_cut(lambda pieces: decode(make(), pieces), data) == (events, error)


def test_parse_gets_data_as_bytes_and_the_type_of_the_event():
    got = []
    decoder = EventStream(lambda data, event: got.append((data, event)) or [])
    decoder.feed(b"data: 1\n\nevent: ping\ndata:\n\ndata: a\ndata: b\n\ndata: [DONE]\n\n")
    assert got == [(b"1", "message"), (b"", "ping"), (b"a\nb", "message")]


def test_ended_tells_that_the_wire_has_said_the_end_though_the_finish_is_held():
    decoder = stream()
    assert not decoder.ended
    assert (decoder.feed(sse('"a"')), decoder.ended) == (texts("a"), False)
    assert (decoder.feed(sse(FINISHED)), decoder.ended) == ([], True)
    assert (decoder.feed(sse("7")), decoder.ended) == ([Usage(output_tokens=7)], True)
    assert (decoder.close(), decoder.ended) == ([Finish("length")], True)


def test_a_finish_is_the_end_only_where_content_precedes_and_does_not_follow_it():
    decoder = stream()
    said = [
        (FINISHED, False),
        ("7", False),
        ('""', False),
        ('"a"', False),
        (FINISHED, True),
        ("7", True),
        ('""', True),
        ('{"call":1}', False),
        (f'["b",{FINISHED}]', True),
        (f'[{FINISHED},"c"]', True),
        ('"d"', False),
    ]
    assert [(data, (decoder.feed(sse(data)), decoder.ended)[1]) for data, _ in said] == said


def test_a_finish_that_only_the_end_of_the_bytes_completes_is_not_said_before():
    decoder = stream()
    decoder.feed(b'data: "a"\n\ndata: {"finish":"length"}')
    assert (decoder.close(), decoder.ended) == ([Finish("length")], False)


@pytest.mark.parametrize(("body", "ended"), [(b"12", False), (b"1.5", False), (b"[1]", True), (b"true", True)])
def test_a_body_of_json_proves_itself_unless_its_beginning_is_a_value_too(body: bytes, ended: bool):
    decoder = JSONBody(lambda value: [])
    decoder.feed(body)
    assert (decoder.close(), decoder.ended) == ([STOP], ended)


def test_ended_is_true_with_the_finish_that_done_brings_and_nothing_follows():
    decoder = stream()
    assert (decoder.feed(sse('"a"', "[DONE]", '"b"')), decoder.ended) == ([*texts("a"), STOP], True)
    assert decoder.feed(sse('"c"')) == []
    assert decoder.close() == []


def test_ended_stays_false_where_only_the_end_of_the_body_says_so():
    decoder = stream(STOP)
    decoder.feed(sse('"a"'))
    assert (decoder.close(), decoder.ended) == ([STOP], False)


def test_an_error_waits_for_the_next_call_and_ended_tells_of_it():
    decoder = stream()
    assert (decoder.feed(sse('"a"', "oops")), decoder.ended) == (texts("a"), True)
    for call in (decoder.close, lambda: decoder.feed(b""), lambda: decoder.feed(sse('"b"'))):
        with pytest.raises(StreamMalformed, match="oops"):
            call()


def test_an_error_without_events_before_it_is_raised_at_once():
    with pytest.raises(StreamMalformed, match="oops"):
        stream().feed(sse("oops"))


def test_a_parse_without_a_return_ends_no_stream():
    decoder = EventStream(lambda data, event: None)
    with pytest.raises(TypeError):
        decoder.feed(sse("1"))


BODIES = {
    "a string": (b'"a"', [*texts("a"), STOP], None),
    "white space around": (b'\r\n\n "a"\n', [*texts("a"), STOP], None),
    "a byte order mark": (b'\xef\xbb\xbf"a"', [*texts("a"), STOP], None),
    "a finish of its own": (
        f'["a",{FINISHED},7]'.encode(),
        [*texts("a"), Usage(output_tokens=7), Finish("length")],
        None,
    ),
    "two finishes": (f'[{FINISHED},"a",{{"finish":"stop"}}]'.encode(), [*texts("a"), Finish("length")], None),
    "a tool call": (b'{"call":1}', [CALL, Finish("tool_calls")], None),
    "empty": (b"", [], StreamTruncated),
    "blank": (b" \n", [], StreamTruncated),
    "cut": (b'{"call":', [], StreamTruncated),
    "cut in a string": (b'{"call', [], StreamTruncated),
    "cut in a character": (b'"\xe2\x82', [], StreamTruncated),
    "no JSON": (b"oops", [], StreamMalformed),
    "more than one value": (b'"a""b"', [], StreamMalformed),
    "a refusal": (b'{"refusal":"no"}', [], ContentFiltered),
}


@pytest.mark.parametrize(("data", "events", "error"), BODIES.values(), ids=BODIES)
def test_a_complete_json_value_proves_itself(data, events, error):
    def take(pieces: list[bytes]) -> tuple[list[Event], type[Exception] | None]:
        decoder = JSONBody(parse_value)
        taken = decode(decoder, pieces)
        assert decoder.ended == (error is None)
        return taken

    assert whatever_the_cut(take, data) == (events, error)


def test_every_beginning_of_a_json_body_is_truncated():
    body = '{"call": [1, -2.5e+3, true, false, null, "\\u00e9\\ud83d\\ude00 😀", {}]}'.encode()
    assert decode(JSONBody(parse_value), [body]) == ([CALL, Finish("tool_calls")], None)
    for end in range(len(body)):
        assert decode(JSONBody(parse_value), [body[:end]]) == ([], StreamTruncated), body[:end]


class Named:
    """Tell, as a decoder, that it was chosen, and what it was fed."""

    ended = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.fed = b""

    def feed(self, data: bytes) -> list[Event]:
        self.fed += data
        return []

    def close(self) -> list[Event]:
        return [TextDelta(f"{self.name} {self.fed!r}"), STOP]


def by_content(content_type: str | None, *names: str) -> ByContent:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return ByContent(ResponseHead(200, headers), **{name: Named(name) for name in names})


ALL = ("stream", "lines", "body")
EVENTS, JSON, NDJSON, HTML = "text/event-stream; charset=utf-8", "application/json", "application/x-ndjson", "text/html"


@pytest.mark.parametrize(
    ("content_type", "names", "data", "chosen"),
    [
        *(
            pytest.param(
                JSON, ALL, start + b" x", f"stream {start + b' x'!r}", id=f"{start!r} whatever the header says"
            )
            for start in (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")
        ),
        pytest.param(EVENTS, ALL, b'{"error":1}', "body b'{\"error\":1}'", id="an object as a stream (D14)"),
        pytest.param(EVENTS, ("stream", "lines"), b"[1]", "lines b'[1]'", id="lines where there is no body"),
        pytest.param(NDJSON, ALL, b'"a"\n', "lines b'\"a\"\\n'", id="ndjson"),
        pytest.param("application/jsonl", ALL, b"{}", "lines b'{}'", id="jsonl"),
        pytest.param(NDJSON, ("stream", "body"), b"{}", "body b'{}'", id="a body where there are no lines"),
        pytest.param(None, ALL, b"{}", "body b'{}'", id="no content type"),
        pytest.param(HTML, ALL, b"{}", "body b'{}'", id="JSON that says it is HTML"),
        pytest.param(EVENTS, ALL, b"foo: 1", "stream b'foo: 1'", id="an unknown field of a stream"),
        pytest.param(EVENTS, ALL, b"dat", "stream b'dat'", id="the beginning of a field"),
        pytest.param(EVENTS, ALL, b"data\n", "stream b'data\\n'", id="a field without a colon"),
        pytest.param(EVENTS, ALL, BOM[:2], f"stream {BOM[:2]!r}", id="the beginning of a byte order mark"),
        pytest.param(JSON, ALL, b"\r\n \n\t{}", "body b'{}'", id="blanks first (D22)"),
        pytest.param(JSON, ALL, BOM + b"{}", "body b'{}'", id="a byte order mark first (D25)"),
        pytest.param(JSON, ALL, BOM + BOM + b"\n" + BOM + b"{}", "body b'{}'", id="marks and blanks in any order"),
        pytest.param(JSON, ALL, b"\n" + BOM + b"data:", "stream b'data:'", id="blanks, then a mark"),
    ],
)
def test_the_first_bytes_choose_then_the_content_type(content_type, names, data, chosen):
    events = whatever_the_cut(lambda pieces: decode(by_content(content_type, *names), pieces), data)
    assert events == ([TextDelta(chosen), STOP], None)


@pytest.mark.parametrize(
    ("content_type", "names", "data", "error"),
    [
        pytest.param(HTML, ALL, b"<!doctype html><p>Log in", UnexpectedContent, id="an HTML page"),
        pytest.param(JSON, ALL, b"<html>", UnexpectedContent, id="an HTML page that says it is JSON"),
        pytest.param(EVENTS, ALL, b"\n <html>", UnexpectedContent, id="an HTML page that says it is a stream (D14)"),
        pytest.param("text/plain", ALL, b"hello", UnexpectedContent, id="plain text"),
        pytest.param("text/plain", ALL, b"d", UnexpectedContent, id="one letter"),
        pytest.param(None, ALL, b"\xff\xfe", UnexpectedContent, id="bytes"),
        pytest.param(JSON, ("stream",), b"{}", UnexpectedContent, id="JSON where only a stream will do"),
        pytest.param(EVENTS, ("lines", "body"), b"data: 1\n\n", UnexpectedContent, id="a stream where none will do"),
        pytest.param(JSON, (), b"{}", UnexpectedContent, id="nothing will do"),
        pytest.param(JSON, ALL, b"", StreamTruncated, id="empty"),
        pytest.param(EVENTS, ALL, BOM + b"\r\n\t ", StreamTruncated, id="blank"),
    ],
)
def test_a_body_that_is_no_answer_is_an_error_whatever_the_cut(content_type, names, data, error):
    assert whatever_the_cut(lambda pieces: decode(by_content(content_type, *names), pieces), data) == ([], error)


def test_unexpected_content_names_what_came_and_its_status():
    with pytest.raises(UnexpectedContent, match=r"got text/html that starts with b'<html>'") as caught:
        by_content(HTML, *ALL).feed(b"<html>")
    assert caught.value.status == 200
    with pytest.raises(UnexpectedContent, match="got something that starts with"):
        by_content(None, *ALL).feed(b"<html>")


def real(content_type: str) -> ByContent:
    head = ResponseHead(200, {"Content-Type": content_type})
    return ByContent(head, stream=stream(), lines=lines(), body=JSONBody(parse_value))


@pytest.mark.parametrize(
    ("content_type", "data", "events", "error"),
    [
        pytest.param(JSON, sse('"a"', "[DONE]", '"b"'), [*texts("a"), STOP], None, id="stream"),
        pytest.param(JSON, sse('"a"', '{"refusal":1}'), texts("a"), ContentFiltered, id="stream with an error"),
        pytest.param(EVENTS, b'{"call":1}', [CALL, Finish("tool_calls")], None, id="body"),
        pytest.param(NDJSON, jsonl('"a"', FINISHED), [*texts("a"), Finish("length")], None, id="lines"),
    ],
)
def test_the_chosen_decoder_keeps_its_laws(content_type, data, events, error):
    assert whatever_the_cut(lambda pieces: decode(real(content_type), pieces), data) == (events, error)


def test_a_choice_has_ended_when_the_chosen_has():
    decoder = real(JSON)
    assert not decoder.ended
    decoder.feed(b"data: ")
    assert not decoder.ended
    decoder.feed(b"[DONE]\n\n")
    assert decoder.ended


DECODERS = (
    *(stream, lambda: stream(STOP), lines, lambda: lines(STOP), lambda: JSONBody(parse_value)),
    *(lambda: real(EVENTS), lambda: real(JSON), lambda: real(NDJSON), lambda: real(HTML)),
)
WORDS = (
    *(
        b"data: ",
        b"\n",
        b"\n\n",
        b"\r\n",
        b'"a"',
        b"7",
        b"[DONE]",
        FINISHED.encode(),
        b'{"call":1}',
        b'{"refusal":"x"}',
    ),
    *(BOM, BOM[:1], b"{", b"[", b"]", b'"', b"<", b" ", b"event: error", b"\xff", b"\0", b"null", b"d", b":"),
)
hostile = st.binary(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=20).map(b"".join)


@unhurried
@given(st.sampled_from(DECODERS), hostile, st.lists(st.integers(0, 120), max_size=12))
def test_any_bytes_cut_anywhere_give_the_same_and_raise_nothing_but_what_they_may(make, data, offsets):
    events, error = decode(make(), [data])
    assert decode(make(), cut_at(data, offsets)) == (events, error)
    assert error is None or issubclass(error, StreamError | ProviderError)


@unhurried
@given(st.lists(st.text(min_size=1)), st.sampled_from([sse, jsonl]), st.lists(st.integers(0, 200)))
def test_text_comes_through_as_it_was_said(words, write, offsets):
    import orjson

    data = write(*(orjson.dumps(word).decode() for word in words), FINISHED)
    decoder = stream() if write is sse else lines()
    assert decode(decoder, cut_at(data, offsets)) == ([*texts(*words), Finish("length")], None)
