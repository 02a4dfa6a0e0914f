"""What programs read is JSON, whatever a provider or a plugin has sent."""

import io
import json
import sys

import attrs
import orjson
import pytest
from commands import call
from cuts import unhurried
from hypothesis import given
from hypothesis import strategies as st
from parrots import Parrot

import providerkit
from providerkit import EventStream, Finish, hookimpl
from providerkit.cli import json_form
from providerkit.cli.terminal import clean


def nested(depth, inner=1):
    value = inner
    for _ in range(depth):
        value = [value]
    return value


def circular():
    value = {"a": 1}
    value["itself"] = [value]
    return value


class Mute:
    def __str__(self):
        raise RuntimeError("no words")


CASES = {
    "inf": (float("inf"), None),
    "-inf": (float("-inf"), None),
    "nan": ([float("nan")], [None]),
    "a float": (1e300, 1e300),
    "an integer": (2**70, 2**70),
    "a huge integer": (16**5000, "0x1" + "0" * 5000),
    "half a pair": ("a\ud83dz", "a\ufffdz"),
    "a pair": ("\ud83d\udc28", "🐨"),
    "half a pair as a key": ({"\udc28": 1}, {"\ufffd": 1}),
    "bytes": (b"caf\xc3\xa9 \xff", "café \ufffd"),
    "a bytearray": (bytearray(b"a"), "a"),
    "other keys": (
        {1: 1, None: 2, False: 3, 1.5: 4, (1, 2): 5},
        {"1": 1, "null": 2, "false": 3, "1.5": 4, "(1, 2)": 5},
    ),
    "a set": ({1}, "{1}"),
    "an exception": (ValueError("oh"), "oh"),
    "an error": (providerkit.NotFound("gone", status=404), {"type": "NotFound", "message": "404: gone", "status": 404}),
    "a value": (providerkit.ToolCall("i", "n", "{}"), {"id": "i", "name": "n", "arguments": "{}"}),
    "a secret": (providerkit.Secret("sk-1"), str(providerkit.Secret("sk-1"))),
    "empty": ([{}, [], ""], [{}, [], ""]),
    "deep": (nested(500), nested(500)),
    "too deep": (nested(json_form.MAX_DEPTH + 3), nested(json_form.MAX_DEPTH, "[[[1]]]")),
    "twice": ([[1]] * 2, [[1], [1]]),
    "ends of lines": ("\x85\u2028\u2029\x0b\x0c", "\x85\u2028\u2029\x0b\x0c"),
    "control": ("\x9d0;title\x9c\x7f\u202e", "\x9d0;title\x9c\x7f\u202e"),
}


@pytest.mark.parametrize(("value", "read"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_every_value_has_a_form_in_json(value, read, encoding):
    text = json_form.dumps(value, encoding)
    assert json.loads(text) == read
    assert text.splitlines() == [text]
    assert clean(text) == text
    assert text.encode(encoding).decode(encoding) == text


def test_what_holds_itself_is_text_within():
    read = json.loads(json_form.dumps(circular()))
    assert (read["a"], type(read["itself"][0])) == (1, str)


def test_what_has_no_words_is_named_by_its_type():
    assert "Mute object" in json.loads(json_form.dumps(Mute()))


def test_depth_has_no_end():
    assert json.loads(json_form.dumps(nested(100_000)))
    value = loop = []
    for _ in range(2000):
        loop.append([])
        loop = loop[0]
    loop.append(value)
    assert json.loads(json_form.dumps(value))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.text(st.characters(codec=None) | st.sampled_from("\ud800\udfff")),
    lambda values: st.lists(values) | st.dictionaries(st.text() | st.integers() | st.none(), values),
)


@unhurried
@given(ANYTHING)
def test_anything_is_one_line_that_other_readers_take(value):
    text = json_form.dumps(value, "utf-8")
    json.loads(text, parse_constant=pytest.fail)
    orjson.loads(text)
    assert text.splitlines() == [text]


class Odd(Parrot):
    """Send what no wire can bring, but a plugin can make."""

    values = tuple(value for case, (value, _) in CASES.items() if case != "too deep")

    @hookimpl
    def parse_stream(self, head):
        events = [providerkit.ProviderData(value) for value in (*self.values, circular(), Mute())]
        text = providerkit.TextDelta("half \ud83d")
        return EventStream(lambda value, event: [text, *events], end=Finish("stop"))


@pytest.mark.parametrize("routes", [("-p", "parrot"), ("-m", "parrot/one", "-m", "parrot/two")], ids=str)
def test_the_command_line_prints_json_whatever_comes(install, mocked, routes):
    install("parrot", Odd)
    mocked.post("http://parrot.invalid/say", body="data: 1\n\n", repeat=True)
    code, output, errors = call("run", *routes, "--events", "hi")
    found = [json.loads(line) for line in output.splitlines()]
    assert (code, errors) == (0, "")
    expected = [read for case, (_, read) in CASES.items() if case != "too deep"]
    for route in {event.get("route") for event in found}:
        data = [event["value"] for event in found if event["type"] == "provider_data" and event.get("route") == route]
        assert data[: len(expected)] == expected
    code, output, errors = call("run", *routes, "--json", "hi")
    replies = json.loads(output)
    assert (code, errors) == (0, "")
    assert {reply["text"] for reply in ([replies] if isinstance(replies, dict) else replies)} == {"half \ufffd"}


def test_json_fits_an_output_that_is_not_utf8(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert json_form.dumps("é🐨") == '"\\u00e9\\ud83d\\udc28"'
    monkeypatch.setattr(sys, "stdout", None)
    assert json_form.dumps("é") == '"\\u00e9"'


def test_an_event_of_a_tool_has_the_fields_of_its_call():
    call_of_tool = providerkit.ToolCall("i", "n", "{}")
    event = json_form.of_event(providerkit.ToolResult(call_of_tool, "done"))
    read = {"type": "tool_result", "call": attrs.asdict(call_of_tool), "content": "done", "failed": False}
    assert json.loads(json_form.dumps(event)) == read
