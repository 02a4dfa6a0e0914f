"""Feed broken answers to every decoder and parser, at random, for as long as is wanted.

    python -m benchmarks.fuzz --seconds 60

Answers in the form of real wires are mutated and cut anywhere. What comes of the pieces must be
what comes of the whole: the same events and one Finish, or the same typed error after
them. Anything else is printed with what makes it again, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, pairwise
from math import isfinite
from typing import Any

from providerkit_koala import Koala

from providerkit import (
    ByContent,
    Decoder,
    Event,
    EventStream,
    Finish,
    JSONBody,
    JSONLines,
    JSONLinesDecoder,
    ProviderError,
    ProviderKitError,
    ResponseHead,
    SSEDecoder,
    StreamError,
    StreamMalformed,
    TextDelta,
    loads,
)
from providerkit.engine.policy import retry_after

# Answers as the services that are named give them (November 2026), shortened.
SAMPLES = (
    # OpenAI's, as most speak it
    (
        b': OPENROUTER PROCESSING\n\ndata: {"choices":[{"delta":{"role":"assistant","content":"H\\u00e9"}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"content":"llo \xf0\x9f\xa6\x9c"}}]}\n\n'
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: {"choices":[],"usage":{"tokens":9}}\n\n'
        b"data: [DONE]\n\n"
    ),
    # Anthropic's
    (
        b'event: message_start\ndata: {"type":"message_start"}\n\nevent: ping\ndata: {"type": "ping"}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"Hi"}}\n\n'
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    ),
    # llama.cpp's, before September 2025 and after
    b'data: {"content":"a","stop":false}\r\n\r\nerror: {"code":500,"message":"no"}\r\n\r\n',
    # Koala's, in three dialects
    b'data: "Why"\n\ndata: " is"\n\ndata: " \\ud83d\\udc28"\n\n',
    b'data: "I eat: "\n\ndata: Leaves.\n\ndata: [DONE]\n\n',
    b'{"output": "Leaves and \\"bark\\"."}',
    # Ollama's
    b'{"message":{"content":"a"},"done":false}\n{"message":{"content":""},"done":true,"eval_count":7}\n',
    # What is no answer
    b'{"error": {"message": "no more leaves", "code": "tree_empty"}}',
    b"<!doctype html><html><title>502 Bad Gateway</title></html>",
    b"Wed, 21 Oct 2026 07:28:00 GMT",
    b"1.5",
    b"",
)
WORDS = (
    *(b"data: ", b"data:", b"\ndata\n", b"event: error\n", b"error:", b"id: ", b"retry: 1\n", b":", b" {", b"[DONE]"),
    *(
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"\t",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xed\xa0\x80",
    ),
    *(b'"', b"\\", b"\\u", b"\\ud83d", b"{", b"}", b"[", b"]", b",", b"null", b"NaN", b"1e999", b"-0", b"9" * 400),
    *(b"<", b"\xff", b"[" * 1100, b"[" * 1015 + b"]" * 1015, b'{"error":', b'{"output":', b'{"message":', b"GMT", b"-"),
)


def mutate(dice: random.Random) -> bytes:
    """Make an answer that nobody sends, out of those that somebody does."""
    data = bytearray(dice.choice(SAMPLES))
    for _ in range(dice.randrange(6)):
        start = dice.randint(0, len(data))
        end = min(len(data), start + dice.choice((0, 1, 2, 8, 64)))
        dice.choice((_insert, _replace, _remove, _repeat, _splice, _truncate))(dice, data, start, end)
    return bytes(data)


def _insert(dice: random.Random, data: bytearray, start: int, end: int) -> None:
    data[start:start] = dice.choice(WORDS)


def _replace(dice: random.Random, data: bytearray, start: int, end: int) -> None:
    data[start:end] = dice.randbytes(end - start)


def _remove(dice: random.Random, data: bytearray, start: int, end: int) -> None:
    del data[start:end]


def _repeat(dice: random.Random, data: bytearray, start: int, end: int) -> None:
    data[start:end] = bytes(data[start:end]) * dice.choice((2, 3, 40))


def _splice(dice: random.Random, data: bytearray, start: int, end: int) -> None:
    data[start:] = dice.choice(SAMPLES)[dice.randint(0, 60) :]


def _truncate(dice: random.Random, data: bytearray, start: int, end: int) -> None:
    del data[start:]


def cut(dice: random.Random, data: bytes) -> list[bytes]:
    """Cut bytes in a few places, or after each."""
    if dice.random() < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    inner = sorted(dice.randint(0, len(data)) for _ in range(dice.randrange(8)))
    return [data[start:end] for start, end in pairwise([0, *inner, len(data)])]


def decoded(make: Callable[[], Decoder], pieces: list[bytes]) -> tuple[list[Event], str]:
    """Return the events of an answer, and how it ended: the name of its error, or of its Finish."""
    decoder = make()
    events: list[Event] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
            if events and isinstance(events[-1], Finish):
                break
        else:
            events += decoder.close()
    except (StreamError, ProviderError) as error:
        _check(error)
        end = type(error).__name__
    else:
        end = "Finish"
    finishes = sum(isinstance(event, Finish) for event in events)
    if finishes != (end == "Finish") or (finishes and not isinstance(events[-1], Finish)):
        raise AssertionError(f"{finishes} Finish among {events}, and then {end}")
    return events, end


def _check(error: ProviderKitError) -> None:
    """See that an error can be logged."""
    if len(str(error).encode()) > 100_000:
        raise AssertionError("an error of a hundred thousand bytes")


def cutting(make: Callable[[], Any], pieces: list[bytes]) -> tuple[list[Any], str]:
    """Return the records of what cuts, which takes any bytes."""
    cutter = make()
    return [record for piece in pieces for record in cutter.feed(piece)] + cutter.close(), "records"


def parsed(parse: Callable[[bytes], Any], pieces: list[bytes]) -> tuple[Any, str]:
    """Return what a parser of whole bodies makes of one."""
    try:
        value = parse(b"".join(pieces))
    except StreamMalformed as error:
        _check(error)
        return None, "StreamMalformed"
    if isinstance(value, ProviderKitError):
        _check(value)
        return None, type(value).__name__
    return repr(value) if isinstance(value, float) else None, type(value).__name__


def read_wait(data: bytes) -> float | None:
    """Read bytes as headers that say how long to wait."""
    text = data.decode("utf-8", "replace")
    head = ResponseHead(503, {"Retry-After": text, "Date": text[1:], "Content-Type": text, "Content-Encoding": text})
    assert isinstance((head.framed, head.content_type, head.request_id), tuple)
    seconds = retry_after(head.headers, 1.8e9)
    if seconds is not None and not (seconds >= 0 and isfinite(seconds)):
        raise AssertionError(f"a wait of {seconds} s")
    return seconds


def say(value: Any) -> list[Event]:
    """Take strings for text; a number ends the answer."""
    return [Finish("length")] if isinstance(value, int) else [TextDelta(value)] if isinstance(value, str) else []


def _stream(end: Finish | None) -> EventStream:
    return EventStream(lambda data, event: say(loads(data)), end)


def _by_content(content_type: str) -> ByContent:
    head = ResponseHead(200, {"Content-Type": content_type})
    return ByContent(head, stream=_stream(None), lines=JSONLines(say), body=JSONBody(say))


def _koala(dialect: str) -> Decoder:
    decoder: Decoder = Koala(dialect).parse_stream(ResponseHead(200, {"Content-Type": "text/event-stream"}))
    return decoder


STOP = Finish("stop")
TARGETS: dict[str, Callable[[list[bytes]], tuple[Any, str]]] = {
    "SSEDecoder": partial(cutting, SSEDecoder),
    "JSONLinesDecoder": partial(cutting, JSONLinesDecoder),
    "EventStream": partial(decoded, lambda: _stream(None)),
    "EventStream, end": partial(decoded, lambda: _stream(STOP)),
    "JSONLines": partial(decoded, lambda: JSONLines(say)),
    "JSONLines, end": partial(decoded, lambda: JSONLines(say, STOP)),
    "JSONBody": partial(decoded, lambda: JSONBody(say)),
    **{
        f"ByContent {kind}": partial(decoded, partial(_by_content, kind))
        for kind in ("text/event-stream", "application/json", "application/x-ndjson", "text/html")
    },
    **{f"koala {dialect}": partial(decoded, partial(_koala, dialect)) for dialect in ("api", "website", "messages")},
    "koala parse_error": partial(parsed, lambda body: Koala().parse_error(ResponseHead(500), body)),
    "loads": partial(parsed, loads),
    "headers": partial(parsed, read_wait),
}


def seeds(first: int, examples: int | None, seconds: float) -> Iterator[int]:
    """Count seeds: so many, or until the time is over."""
    until = time.monotonic() + seconds
    for seed in range(first, first + examples) if examples is not None else count(first):
        if examples is None and time.monotonic() > until:
            return
        yield seed


def fault(name: str, seed: int, ends: Counter[str]) -> str | None:
    """Try one example; say what is wrong with what comes of it."""
    dice = random.Random(seed)  # noqa: S311 - an example has to be made again, not to be guessed
    data = mutate(dice)
    pieces = cut(dice, data)
    try:
        whole = TARGETS[name]([data])
        if TARGETS[name](pieces) == whole:
            ends[whole[1]] += 1
            return None
        what = f"cut as {pieces!r}, it gives {TARGETS[name](pieces)!r}, and whole {whole!r}"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        what = f"{type(error).__name__}: {error}"
    return f"{name}, --seed {seed} --examples 1: {data!r}\n  {what}"


def main(arguments: list[str] | None = None) -> int:
    """Run the examples; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--examples", type=int, help="how many, however long that takes")
    parser.add_argument("--seed", type=int, default=0, help="the first example (default: 0)")
    given = parser.parse_args(arguments)
    ends = {name: Counter[str]() for name in TARGETS}
    done = 0
    for seed in seeds(given.seed, given.examples, given.seconds):
        for name in TARGETS:
            if found := fault(name, seed, ends[name]):
                print(found, file=sys.stderr)
                return 1
        done += 1
    for name, counted in ends.items():
        print(f"{name:30}", ", ".join(f"{end} {times}" for end, times in counted.most_common()))
    print(f"{done} answers, each whole and cut, through {len(TARGETS)} decoders and parsers: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
