"""The file: what is no cassette is refused, with the line that is to blame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import providerkit
from providerkit.errors import Argument, Phrase
from providerkit.extensions import cassettes

REQUEST = {"cassette": 1, "request": {"method": "GET", "url": "http://a.example/", "headers": {}}}
HEAD = {"head": {"status": 200, "headers": {"Content-Type": "text/plain"}}, "at": 0.1}
TEXT = {"text": "a", "at": 0.2}
END = {"end": "complete", "at": 0.3}
BROKEN = {"error": {"class": "TimedOut", "message": "too late", "clock": "idle", "seconds": 2.0}, "at": 0.4}
LATE = "too late (timeouts=Timeouts(idle=...))"  # the class adds what to do


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return tmp_path / "tape.jsonl"


def write(path: Path, *lines: Any) -> None:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")


def test_a_cassette_is_read(tape: Path):
    write(tape, REQUEST, HEAD, TEXT, {"base64": "/w==", "at": 1}, END, "", REQUEST, BROKEN, REQUEST, END)
    whole, broken, left = cassettes.read(tape)
    assert (whole.line, whole.head.status, whole.head_at, whole.end) == (1, 200, 0.1, "complete")
    assert (whole.pieces, whole.end_at) == ([(0.2, b"a"), (1, b"\xff")], 0.3)
    assert (broken.line, broken.head, broken.end, str(broken.error)) == (7, None, "error", LATE)
    assert (broken.error.clock, broken.error.seconds, broken.error.partial) == ("idle", 2.0, "")
    assert (left.line, left.end, left.error) == (9, "complete", None)


def changed(line: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {name: value for name, value in {**line, **members}.items() if value is not None}


@pytest.mark.parametrize(
    ("lines", "number", "reason"),
    [
        (["{"], 1, "it is no JSON: unexpected end of data"),
        (["5"], 1, "it has none of request, head, text, base64, end, error"),
        ([{"at": 1}], 1, "it has none of request"),
        ([changed(REQUEST, cassette=2)], 1, "this is version 2 of the format; 1 is known"),
        ([changed(REQUEST, cassette=None)], 1, "its request can't be read: KeyError: 'cassette'"),
        ([changed(REQUEST, request={"method": 1, "url": ""})], 1, "method and url must be texts"),
        ([changed(REQUEST, request=["GET"])], 1, "its request can't be read: TypeError"),
        ([HEAD], 1, "no request precedes it"),
        ([REQUEST, REQUEST], 2, "the exchange of line 1 has no end"),
        ([REQUEST, TEXT], 2, "text is out of place"),
        ([REQUEST, HEAD, HEAD], 3, "head is out of place"),
        ([REQUEST, HEAD, TEXT], 3, "the file stops in the middle of an exchange"),
        ([REQUEST, changed(HEAD, at=None)], 2, "its head can't be read: KeyError: 'at'"),
        ([REQUEST, changed(HEAD, at="soon")], 2, "at is no number of seconds"),
        ([REQUEST, changed(HEAD, head={"status": "good", "headers": {}})], 2, "its head can't be read: ValueError"),
        ([REQUEST, changed(HEAD, head={"status": 200, "headers": []})], 2, "its head can't be read: AttributeError"),
        ([REQUEST, HEAD, changed(TEXT, text=5)], 3, "its text can't be read: AttributeError"),
        ([REQUEST, HEAD, {"base64": "?", "at": 1}], 3, "its base64 can't be read: ValueError"),
        ([REQUEST, HEAD, changed(END, end="soon")], 3, "it is 'complete' or 'left'"),
        ([REQUEST, changed(BROKEN, error={"class": "KeyError", "message": ""})], 2, "KeyError: 'KeyError'"),
    ],
)
def test_a_line_that_is_wrong_is_named(tape: Path, lines: list[Any], number: int, reason: str):
    write(tape, *lines)
    with pytest.raises(providerkit.CassetteError) as caught:
        providerkit.replay(tape)
    assert (caught.value.path, caught.value.line) == (str(tape), number)
    assert str(caught.value).startswith(f"{tape}:{number}: ")
    assert reason in str(caught.value)


def test_a_cassette_that_is_not_there_is_told(tape: Path):
    with pytest.raises(providerkit.CassetteError, match=r"there is no cassette .*; record it first") as caught:
        providerkit.replay(tape)
    assert (caught.value.path, caught.value.line) == (str(tape), None)


def test_a_cassette_that_cant_be_read_is_told(tmp_path: Path):
    with pytest.raises(providerkit.CassetteError, match="can't be read"):
        providerkit.replay(tmp_path)


def test_an_error_of_a_class_of_its_own_is_recorded_as_the_one_it_is_kind_of(tape: Path):
    class Late(providerkit.TimedOut):
        pass

    class Seconds(float):
        pass

    error = Late("late", clock="idle", seconds=Seconds(2.5))
    error.reason = ValueError("slow")
    cassette = cassettes.Cassette(tape)
    cassette.begin()
    cassette.append(cassettes.RecordedExchange(REQUEST["request"], error=error), cassettes.Redaction())
    written = json.loads(tape.read_bytes().splitlines()[-1])["error"]
    fields = {"clock": "idle", "seconds": 2.5, "reason": "ValueError('slow')"}
    assert written == {"class": "TimedOut", "message": "late", **fields}
    assert cassettes.read(tape)[0].error.seconds == 2.5


@pytest.mark.parametrize(
    "error",
    [
        providerkit.TimedOut("late", clock="idle", seconds=2.5),
        providerkit.TimedOut("late", clock="connect", seconds=2.5),
        providerkit.ConnectError("say another ", Argument("base_url"), Phrase(" here", " there")),
        providerkit.StreamMalformed("half a value", incomplete=True),
        providerkit.StreamTruncated(),
    ],
    ids=repr,
)
def test_an_error_says_the_same_however_often_it_is_recorded(tape: Path, error: providerkit.ProviderKitError):
    again = error
    for _ in range(2):
        cassette = cassettes.Cassette(tape)
        cassette.begin()
        cassette.append(cassettes.RecordedExchange(REQUEST["request"], error=again), cassettes.Redaction())
        again = cassettes.read(tape)[0].error
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_piece_that_holds_nothing_but_the_rest_of_a_secret_is_left_out():
    pieces = [(0.1, b"a my-sec"), (0.2, b"ret"), (0.3, b"-key b")]
    exchange = cassettes.RecordedExchange({}, head=providerkit.ResponseHead(200), pieces=pieces, end="complete")
    *_, first, second, _ = exchange.lines(cassettes.Redaction(frozenset({"my-secret-key"})))
    assert [first, second] == [{"text": "a ***", "at": 0.1}, {"text": " b", "at": 0.3}]
