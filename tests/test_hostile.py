"""Input that means harm: whatever arrives is an answer or a typed error, in linear time and bounded memory.

What is counted are bytes and calls, never seconds: twice as much input may cost twice as
much, and a bit; what is quadratic costs four times as much.
"""

from __future__ import annotations

import asyncio
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from math import isfinite
from typing import Any

import pytest
from asking import ONCE, ask
from clocks import HandClock
from costs import calls_of, cost_of
from cuts import cut_at, unhurried
from hypothesis import given, strategies as st
from loopback import Handler, Received, http, serve
from parrots import Macaw, Parrot
from providerkit_koala import Koala

import providerkit
from providerkit import (
    ByContent,
    Decoder,
    Event,
    EventStream,
    Finish,
    Headers,
    InvalidMessages,
    JSONBody,
    JSONLines,
    JSONLinesDecoder,
    Limits,
    Message,
    ProviderError,
    ResponseHead,
    SSEDecoder,
    StreamError,
    StreamMalformed,
    TextDelta,
    Timeouts,
    loads,
)
from providerkit.chat.openai_form import parse_messages
from providerkit.engine.policy import Retry, retry_after
from providerkit.plugins.assembly import assemble
from providerkit.plugins.loading import find_provider

MIB = 2**20
BOM = b"\xef\xbb\xbf"
DEEP = 100_000

# Any bytes


def say(value: Any) -> list[Event]:
    return [TextDelta(value)] if isinstance(value, str) else []


def stream() -> EventStream:
    return EventStream(lambda data, event: say(loads(data)), end=Finish("stop"))


def by_content(content_type: str) -> ByContent:
    return ByContent(head(content_type), stream=stream(), lines=JSONLines(say, Finish("stop")), body=JSONBody(say))


def head(content_type: str = "text/event-stream", status: int = 200) -> ResponseHead:
    return ResponseHead(status, {"Content-Type": content_type})


def koala(dialect: str, content_type: str) -> Decoder:
    return Koala(dialect).parse_stream(head(content_type))


TYPES = ("text/event-stream", "application/json", "application/x-ndjson", "text/html", "")
DECODERS: dict[str, Callable[[], Decoder]] = {
    "EventStream": stream,
    "EventStream without an end": lambda: EventStream(lambda data, event: say(loads(data))),
    "JSONLines": lambda: JSONLines(say, Finish("stop")),
    "JSONBody": lambda: JSONBody(say),
    **{f"ByContent {kind}": partial(by_content, kind) for kind in TYPES},
    **{f"koala {way} {kind}": partial(koala, way, kind) for way in ("api", "website", "messages") for kind in TYPES},
}
WORDS = (
    *(
        b"data: ",
        b"data:",
        b"event: error\n",
        b"error: ",
        b"id: ",
        b"retry: ",
        b":",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n\r\n",
    ),
    *(b'"a"', b'" \\ud83d"', b'"\xed\xa0\x80"', '"\u2028\x85\0"'.encode(), b'"\\u0000"', b"\0", b"\xff", BOM, BOM[:2]),
    *(b"[DONE]", b"\n[DONE]", b"data: [DONE]\n\n", b'{"output": "a"}', b'{"error": "no"}', b'{"message": {}}'),
    *(b'{"output": 1, "output": "b"}', b"1e999", b"-1e-999", b"9" * 400, b"NaN", b"null", b"<html>", b"{", b"[", b'"'),
    *(
        b"[" * 1100,
        b'{"error": ' + b"[" * 1015 + b"]" * 1015 + b"}",
        b'{"error": {"code": {"a": []}}}',
        b"[]",
        b"{}",
        b"}",
    ),
)
hostile = st.binary(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=16).map(b"".join)
offsets = st.lists(st.integers(0, 200), max_size=12)


def decode(decoder: Decoder, pieces: list[bytes]) -> tuple[list[Event], type[Exception] | None]:
    """Return the events, and the kind of error after them; one of the two ends it."""
    events: list[Event] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
            if events and isinstance(events[-1], Finish):
                break
        else:
            events += decoder.close()
    except (StreamError, ProviderError) as error:
        assert not any(isinstance(event, Finish) for event in events)
        json.dumps(str(error), ensure_ascii=False).encode()  # any log can take it
        return events, type(error)
    assert [index for index, event in enumerate(events) if isinstance(event, Finish)] == [len(events) - 1]
    return events, None


@pytest.mark.parametrize("make", DECODERS.values(), ids=DECODERS)
@unhurried
@given(data=hostile, where=offsets)
def test_any_bytes_give_one_finish_or_a_typed_error_the_same_for_every_cut(make, data, where):
    assert decode(make(), cut_at(data, where)) == decode(make(), [data])


@unhurried
@given(hostile, st.sampled_from([200, 302, 400, 404, 429, 500, 529, 799]))
def test_no_error_body_breaks_the_plugin(body, status):
    error = assemble(find_provider(Koala)).parse_error(head(status=status), body)
    assert error is None or (error.status == status and json.dumps(str(error), ensure_ascii=False).encode())


@pytest.mark.parametrize(
    "body",
    [b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP, b'[{"a":' * DEEP],
    ids=["open", "lists", "objects", "both"],
)
@pytest.mark.parametrize("make", DECODERS.values(), ids=DECODERS)
def test_json_a_hundred_thousand_deep_is_a_typed_error(make, body):
    for data in (body, b"data: " + body + b"\n\n", body + b"\n"):
        events, error = decode(make(), [data])
        # What is no JSON is text in one of Koala's dialects.
        assert error is not None or events == [TextDelta(body.decode()), Finish("stop")]
    with pytest.raises(StreamMalformed):
        loads(body)


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["a", "A", "x-request-id", "Content-Type"]) | st.text(), st.text())))
def test_any_headers_can_be_read(pairs):
    found = ResponseHead(200, pairs)
    assert len(found.headers) == len({name.lower() for name, _ in pairs})
    assert isinstance(found.content_type, str)
    assert found.framed in (True, False)
    assert all(value in found.headers[name.lower()] for name, value in pairs)


numbers = st.integers() | st.floats() | st.text("0123456789.-+eE_ ", max_size=400)
dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    *(st.sampled_from(["Mon", "", "Xyz"]), numbers, st.sampled_from(["Jan", "Feb", "dec", "13", ""]), numbers),
    *(numbers, numbers, numbers, st.sampled_from(["GMT", "+9999", "-2400", "+0000", "EST", "x", ""]) | numbers),
)
waits = st.text(max_size=40) | numbers.map(str) | dates


@unhurried
@given(waits, waits, waits, st.booleans())
def test_any_wait_that_is_asked_for_is_none_or_a_finite_number(after, milliseconds, date, both):
    headers = {"Retry-After": after, "Date": date} | ({"Retry-After-Ms": milliseconds} if both else {})
    seconds = retry_after(Headers(headers), 1.8e9)
    assert seconds is None or (seconds >= 0 and isfinite(seconds))
    delay = Retry().delay(1, seconds, 0.5, others=False)
    assert delay is None or 0 <= delay <= 120


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4) | st.characters()
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.fixed_dictionaries(
            {},
            optional={
                "role": st.sampled_from(["system", "user", "assistant", "tool", "developer"]) | inner,
                **dict.fromkeys(("content", "tool_calls", "tool_call_id", "name", "type", "text", "function"), inner),
                "image_url": inner | st.fixed_dictionaries({"url": inner}),
            },
        )
    ),
    max_leaves=12,
)


@unhurried
@given(anything)
def test_whatever_is_passed_as_messages_is_some_or_invalid(prompt):
    try:
        messages = parse_messages(prompt)
    except InvalidMessages:
        return
    assert all(isinstance(message, Message) for message in messages)
    assert "".join(message.text for message in messages).encode() is not None


# Much of it


def feeding(make: Callable[[], Any], unit: bytes, size: int, start: bytes = b"", piece: int = 1024) -> Iterator[Any]:
    """Yield steps that feed `size` bytes made of `unit` in pieces that are new each time, and close."""
    decoder = make()
    block = unit * (piece // len(unit))

    def feed(data: bytes) -> None:
        decoder.feed(bytes(bytearray(data)))

    def close() -> None:
        with suppress(StreamError, ProviderError):
            decoder.close()

    yield partial(feed, start)
    for _ in range(size // len(block)):
        yield partial(feed, block)
    yield close


class Heap(JSONBody):
    """Collect a body, but do not parse it: orjson sets twelve times its size aside, of which it touches little."""

    def close(self) -> list[Event]:
        b"".join(self._body)
        return []


ENDLESS = {
    "a line": (SSEDecoder, b"data: ", b"x"),
    "a comment": (SSEDecoder, b": ", b"x"),
    "a field without a name": (SSEDecoder, b"", b"x"),
    "an event of short lines": (SSEDecoder, b"", b"data:xx\n"),
    "an event of empty lines": (SSEDecoder, b"", b"data\n"),
    "a JSON line": (JSONLinesDecoder, b'"', b"x"),
    "a body": (lambda: Heap(say), b'"', b"x"),
}
FLEETING = {
    "comments": (SSEDecoder, b"", b": x\n"),
    "blank lines": (SSEDecoder, b"", b"\r"),
    "ids": (SSEDecoder, b"", b"id: 7\n"),
    "tiny events": (stream, b"", b"data: 1\n\n"),
    "tiny lines": (lambda: JSONLines(say), b"", b"1\n"),
    "blank JSON lines": (lambda: JSONLines(say), b"", b" \r\n"),
    "blanks before any content": (partial(by_content, ""), b"", b" \n"),
    "byte order marks": (partial(by_content, ""), b"", BOM),
    "events after the end": (stream, b"data: [DONE]\n\n", b"data: 1\n\n"),
}


@pytest.mark.parametrize(("make", "start", "unit"), [*ENDLESS.values(), *FLEETING.values()], ids=[*ENDLESS, *FLEETING])
def test_twice_the_bytes_cost_twice_the_copies_and_calls(make, start, unit):
    once, twice = (cost_of(feeding(make, unit, size, start)).copied for size in (MIB // 16, MIB // 8))
    assert twice < 3 * once + 4096
    once, twice = (calls_of(feeding(make, unit, size, start)) for size in (MIB // 16, MIB // 8))
    assert twice < 3 * once


@pytest.mark.parametrize(("make", "start", "unit"), FLEETING.values(), ids=FLEETING)
def test_what_makes_no_event_or_has_made_one_is_not_kept(make, start, unit):
    assert cost_of(feeding(make, unit, MIB // 4, start)).peak < MIB // 16


@pytest.mark.parametrize(("make", "start", "unit"), ENDLESS.values(), ids=ENDLESS)
def test_an_event_takes_three_times_its_bytes_at_most(make, start, unit):
    assert cost_of(feeding(make, unit, MIB, start)).peak < 3.1 * MIB


def test_an_event_of_64_megabytes_in_pieces_of_a_kilobyte_takes_three_times_its_bytes_at_most():
    assert cost_of(feeding(SSEDecoder, b"x", 64 * MIB, b"data: ")).peak < 192 * MIB


def test_a_hundred_thousand_tiny_events_come_one_by_one():
    decoder = stream()
    count = sum(len(decoder.feed(b'data: ""\n\n' * 1000)) for _ in range(100))
    assert (count, decoder.close()) == (100_000, [Finish("stop")])


@pytest.mark.parametrize("unit", [b" ", BOM, BOM + b"\n"], ids=["blanks", "marks", "both"])
def test_blanks_in_one_piece_take_no_more_than_themselves(unit):
    data = unit * (MIB // len(unit))
    assert cost_of([lambda: by_content("").feed(data)]).peak < 3 * MIB


@pytest.mark.parametrize("unit", [b'\\"', b"\\\\", b"\\n", b"\xff"], ids=ascii)
def test_escapes_that_no_parser_takes_cost_no_more_than_their_parser(unit):
    """A parser sets twelve bytes aside for each; what is fixed before it looks again must not come to more."""
    data = b'"' + unit * (MIB // len(unit))

    def parse() -> None:
        with pytest.raises(StreamMalformed):
            loads(data)

    letters = len(data.decode("utf-8", "replace").encode())
    assert cost_of([parse]).peak < 18 * letters


def test_halves_of_pairs_are_mended_in_linear_time():
    def steps(count: int) -> Iterator[Any]:
        yield lambda: loads(b'"' + b"\\ud83d" * count + b'"')

    once, twice = (cost_of(steps(count)).copied for count in (20_000, 40_000))
    assert twice < 3 * once


@pytest.mark.parametrize("words", ["x" * 10 * MIB, "\0" * MIB], ids=["long", "escaped"])
def test_an_error_body_of_ten_megabytes_is_an_error_that_can_be_read(words):
    error = assemble(find_provider(Koala)).parse_error(head(status=400), json.dumps({"error": words}).encode())
    assert error.status == 400


# Over the wire

CAP = Limits(event=MIB // 4, error_body=MIB // 16)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BARE = b"HTTP/1.1 200 OK\r\n\r\n"


def endless(start: bytes, unit: bytes) -> Handler:
    """Send a start, and then the same again and again, for as long as it is read."""

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(unit * (65536 // len(unit)))
            await writer.drain()

    return answer


def bomb(wbits: int) -> bytes:
    """Compress 256 MiB into a quarter of one."""
    compressor = zlib.compressobj(9, wbits=wbits)
    return b"".join(compressor.compress(bytes(MIB)) for _ in range(256)) + compressor.flush()


BOMBS = {"gzip": bomb(31), "deflate": bomb(15)}

ATTACKS: dict[str, tuple[type[providerkit.ProviderKitError], bytes | Handler]] = {
    "a header of 1 MB": (StreamMalformed, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * MIB + b"\r\n\r\n"),
    "10,000 headers": (StreamMalformed, b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n"),
    "headers without an end": (StreamMalformed, endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")),
    "a header without an end": (StreamMalformed, endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"b")),
    "a status without an end": (StreamMalformed, endless(b"HTTP/1.1 200 ", b"O")),
    "trailers without an end": (StreamError, endless(HEAD + b"3\r\n:\n\n\r\n0\r\n", b"X-A: b\r\n")),
    "a chunk's size without an end": (StreamError, endless(HEAD, b"1")),
    "a chunk of more than can be counted": (StreamError, HEAD + b"f" * 40 + b"\r\nx"),
    "a chunk of less than nothing": (StreamError, HEAD + b"-5\r\nx"),
    "a length of more than can be counted": (
        StreamMalformed,
        BARE[:-2] + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    ),
    "a length of less than nothing": (StreamMalformed, BARE[:-2] + b"Content-Length: -9\r\n\r\n"),
    "a line without an end": (StreamMalformed, endless(BARE + b"data: ", b"x")),
    "an event without an end": (StreamMalformed, endless(BARE, b"data: xx\n")),
    "comments without an end": (StreamMalformed, endless(BARE, b": x\n\n")),
    "a page without an end": (StreamMalformed, endless(BARE + b"<html>", b"x")),
    "an error without an end": (providerkit.ServerError, endless(b"HTTP/1.1 500 No\r\n\r\n", b"x")),
    "an error that is a gzip bomb": (providerkit.ServerError, http(BOMBS["gzip"], status=500, Content_Encoding="gzip")),
    "an error that is a deflate bomb": (
        providerkit.ServerError,
        http(BOMBS["deflate"], status=500, Content_Encoding="deflate"),
    ),
    "a gzip bomb": (StreamError, http(BOMBS["gzip"], Content_Encoding="gzip")),
    "a deflate bomb": (StreamError, http(BOMBS["deflate"], Content_Encoding="deflate")),
    "an encoding that nobody has": (StreamError, http(b"x", Content_Encoding="nonsense")),
}


@pytest.mark.parametrize(("kind", "answer"), ATTACKS.values(), ids=ATTACKS)
async def test_an_attack_is_a_typed_error_that_is_short_and_takes_little(kind, answer):
    async with serve(answer) as server:
        tracemalloc.start()
        try:
            with pytest.raises(kind) as caught:
                await ask(server.base_url, limits=CAP, timeouts=Timeouts(total=None))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(str(caught.value)) < 12_000
    assert peak < 80 * MIB  # the oldest aiohttp inflates 32 MiB at a time


EMPTY = [
    b"data: 1\n\n",
    b"data: null\n\n",
    b'data: {"a":[[],[],[],{}]}\n\n',
    b'data: {"usage": 1}\n\n',
    b'data: ""\n\n',
]


class Contentless(Koala):
    """Make events of everything, and content of nothing."""

    @providerkit.hookimpl
    def parse_stream(self) -> EventStream:
        return EventStream(lambda data, event: [self.event_of(loads(data))])

    @staticmethod
    def event_of(value: Any) -> Event:
        match value:
            case {"usage": int(tokens)}:
                return providerkit.Usage(tokens)
            case str(text):
                return TextDelta(text)
        return providerkit.ProviderData(value)


@pytest.mark.parametrize("unit", EMPTY, ids=repr)
@pytest.mark.parametrize("collected", [True, False])
async def test_events_without_content_take_no_more_than_the_cap_until_content_comes(unit: bytes, collected: bool):
    cap = MIB
    async with serve(endless(BARE, unit)) as server, providerkit.Client(limits=Limits(event=cap), retry=ONCE) as client:
        run = client.run("hello", provider=Contentless, base_url=server.base_url)
        tracemalloc.start()
        try:
            with pytest.raises(StreamMalformed, match=f"the cap is {cap}"):
                await (run if collected else anext(aiter(run.events())))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 16 * MIB  # the wire's own buffers, and one batch of events


@pytest.mark.parametrize("unit", EMPTY, ids=repr)
async def test_events_without_content_are_given_in_order_once_content_comes(unit: bytes):
    answer = http(BOM + unit * 100 + b'data: "a"\n\ndata: [DONE]\n\n')
    async with serve(answer) as server, providerkit.Client(limits=Limits(event=MIB), retry=ONCE) as client:
        events = [event async for event in client.run("hi", provider=Contentless, base_url=server.base_url).events()]
    assert events == [Contentless.event_of(loads(unit[6:]))] * 100 + [TextDelta("a"), Finish("stop")]


@pytest.mark.parametrize(
    ("start", "unit"),
    [(HEAD + b"1;", b"x"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["a chunk extension", "continues"],
)
async def test_what_never_comes_to_the_point_is_ended_by_a_clock(start, unit):
    clock, sent = HandClock(), asyncio.Event()

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        for _ in range(64):
            writer.write(unit * (65536 // len(unit)))
            await writer.drain()
        sent.set()
        await asyncio.Event().wait()

    async with serve(answer) as server:
        asking = asyncio.create_task(ask(server.base_url, clock=clock, timeouts=Timeouts(first_event=9)))
        await sent.wait()
        clock.advance(10)
        with pytest.raises(providerkit.TimedOut) as caught:
            await asking
    assert caught.value.clock == "first_event"


async def test_a_plugin_that_trusts_its_provider_is_blamed_in_one_error_with_a_name():
    """A Parrot takes for text whatever JSON it is given."""
    for data in (b"1", b"null", b"[[]]", b"{}"):
        async with serve(http(b"data: " + data + b"\n\n")) as server:
            for provider in (Parrot, Macaw):
                with pytest.raises(providerkit.PluginError):
                    await ask(server.base_url, provider)
