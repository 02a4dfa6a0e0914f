"""JSON lines from bytes, cut anywhere."""

from __future__ import annotations

import json

import pytest
from cuts import cut_at, unhurried, whatever_the_cut
from hypothesis import given, strategies as st

from providerkit import JSONLinesDecoder

BOM = b"\xef\xbb\xbf"


def decode(pieces: list[bytes]) -> list[bytes]:
    decoder = JSONLinesDecoder()
    return [line for piece in pieces for line in decoder.feed(piece)] + decoder.close()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}'], id="lines"),
        pytest.param(b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}'], id="no line end at the end"),
        pytest.param(b"1\r\n2\r\n", [b"1\r", b"2\r"], id="a CR is JSON's white space"),
        pytest.param(b"1\r2\n", [b"1\r2"], id="a CR alone ends no line"),
        pytest.param(b"\n\n \t\r\n1\n\n2\n\n", [b"1", b"2"], id="blank lines (D22)"),
        pytest.param(b" \n ", [], id="nothing but blanks"),
        pytest.param(BOM + b"1\n2\n", [b"1", b"2"], id="a byte order mark (D25)"),
        pytest.param(BOM + b"\n1\n", [b"1"], id="a byte order mark on a line of its own"),
        pytest.param(BOM + b"1", [b"1"], id="a byte order mark and no line end"),
        pytest.param(BOM + BOM + b"1\n" + BOM + b"2\n", [BOM + b"1", BOM + b"2"], id="only one, and only first"),
        pytest.param('"\u2028\u2029\x85\v\f"\n'.encode(), ['"\u2028\u2029\x85\v\f"'.encode()], id="separators (D18)"),
        pytest.param(b"\xff\0\n{", [b"\xff\0", b"{"], id="what is no JSON is the caller's"),
    ],
)
def test_the_lines_are_those_that_hold_something_whatever_the_cut(data, lines):
    assert whatever_the_cut(decode, data) == lines


def test_a_line_is_given_with_the_byte_that_ends_it():
    decoder = JSONLinesDecoder()
    assert decoder.feed(b"1") == []
    assert decoder.feed(b"\n2") == [b"1"]
    assert decoder.close() == [b"2"]


@unhurried
@given(st.binary(max_size=60) | st.text("\ufeff \r\n{1", max_size=20).map(str.encode), st.lists(st.integers(0, 60)))
def test_any_bytes_give_the_same_lines_however_they_are_cut(data, offsets):
    lines = [line for line in data.removeprefix(BOM).split(b"\n") if line.strip()]
    assert decode(cut_at(data, offsets)) == lines


@unhurried
@given(
    st.lists(st.none() | st.integers() | st.text() | st.lists(st.text(), max_size=3), max_size=10),
    st.lists(st.integers(0, 200)),
)
def test_what_a_server_writes_is_what_is_read(values, offsets):
    data = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()
    assert [json.loads(line) for line in decode(cut_at(data, offsets))] == values
