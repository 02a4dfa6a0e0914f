"""Every value has a form in JSON, whatever a provider, a plugin or a user has put into it."""

import copy
import enum
import json
import pickle
import typing
from dataclasses import dataclass

import attrs
import orjson
import pydantic
import pytest
from cuts import unhurried
from hypothesis import given, strategies as st

import providerkit
from providerkit.chat.json_form import MAX_DEPTH, dumps, plain_value
from providerkit.chat.parts import Part
from providerkit.chat.replies import Transcript


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


@dataclass
class City:
    name: str
    twins: set


class Weather(pydantic.BaseModel):
    city: City
    degrees: float


@attrs.frozen
class Bird:
    kind: enum.Enum


class Kind(enum.Enum):
    GREY = 1


class Word(str):
    __slots__ = ()


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
    "bytes": (b"koala \xff", "a29hbGEg/w=="),
    "a bytearray": (bytearray(b"koala"), "a29hbGE="),
    "other keys": (
        {1: 1, None: 2, False: 3, 1.5: 4, (1, 2): 5},
        {"1": 1, "null": 2, "false": 3, "1.5": 4, "(1, 2)": 5},
    ),
    "a set": ({2, 1}, [1, 2]),
    "a frozenset": (frozenset("ab"), ["a", "b"]),
    "an enum": (Kind.GREY, 1),
    "a string of another class": (Word("koala"), "koala"),
    "a class": (City, str(City)),
    "a dataclass": (City("Rome", {"Paris"}), {"name": "Rome", "twins": ["Paris"]}),
    "a model of pydantic": (
        Weather(city=City("Rome", set()), degrees=20),
        {"city": {"name": "Rome", "twins": []}, "degrees": 20.0},
    ),
    "a value of attrs": (Bird(Kind.GREY), {"kind": 1}),
    "an image": (
        providerkit.ImagePart(data=b"koala", media_type="image/png"),
        {"type": "image_part", "url": None, "data": "a29hbGE=", "media_type": "image/png", "detail": None},
    ),
    "an exception": (ValueError("oh"), "oh"),
    "an error": (providerkit.NotFound("gone", status=404), {"type": "NotFound", "message": "404: gone", "status": 404}),
    "a part": (
        providerkit.ToolCall("i", "n", "{}"),
        {"type": "tool_call", "id": "i", "name": "n", "arguments": "{}"},
    ),
    "a secret": (providerkit.Secret("sk-1"), str(providerkit.Secret("sk-1"))),
    "empty": ([{}, [], ""], [{}, [], ""]),
    "deep": (nested(150), nested(150)),
    "too deep": (nested(MAX_DEPTH + 3), nested(MAX_DEPTH, "[[[1]]]")),
    "twice": ([[1]] * 2, [[1], [1]]),
    "ends of lines": ("\x85\u2028\u2029\x0b\x0c", "\x85\u2028\u2029\x0b\x0c"),
    "control": ("\x9d0;title\x9c\x7f\u202e", "\x9d0;title\x9c\x7f\u202e"),
}


each_case = pytest.mark.parametrize(("value", "read"), CASES.values(), ids=CASES)


@each_case
def test_a_value_is_plain_as_a_value_and_as_text(value, read):
    plain = plain_value(value)
    assert (plain, json.loads(dumps(value)), orjson.loads(orjson.dumps(plain_value(str(plain))))) == (
        read,
        read,
        str(plain),
    )
    assert {type(part) for part in every(plain)} <= {dict, list, str, int, float, bool, type(None)}


def every(value):
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from every(part)


def test_a_plain_value_can_be_written_copied_and_pickled_however_deep_it_was():
    plain = plain_value(nested(2000))
    assert json.loads(json.dumps(plain)) == orjson.loads(orjson.dumps(plain)) == plain
    assert copy.deepcopy(plain) == pickle.loads(pickle.dumps(plain)) == plain  # noqa: S301 - our own


@pytest.mark.parametrize("kind", typing.get_args(Part))
def test_a_part_says_which_it_is(kind):
    sample = {"ImagePart": {"url": "https://koala.sh/a.png"}, "FilePart": {"id": "file-1"}}.get(kind.__name__)
    fields = sample or {field.name: "x" for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    plain = plain_value(kind(**fields))
    assert plain.pop("type").replace("_", "") == kind.__name__.lower()
    assert list(plain) == [field.name for field in attrs.fields(kind)]


def test_a_reply_has_all_its_fields_and_views_once():
    usage, call_of_tool = providerkit.Usage(3), providerkit.ToolCall("i", "n", "{}")
    data = providerkit.ProviderData({"signature": b"\xff"}, keep=True, provider="koala")
    error = providerkit.RateLimited("slow down", status=429)
    reply = providerkit.Reply(
        parts=(providerkit.ReasoningPart("hm"), data, providerkit.TextPart("ok"), call_of_tool),
        data=(data,),
        parsed=City("Rome", set()),
        finish_reason="stop",
        usage=usage,
        attempts=(providerkit.Attempt("koala/x", error, 0.5, None),),
    )
    plain = reply.to_dict()
    call_read = {"type": "tool_call", "id": "i", "name": "n", "arguments": "{}"}
    data_read = {"type": "provider_data", "value": {"signature": "/w=="}, "keep": True, "provider": "koala"}
    error_read = {"type": "RateLimited", "message": str(error), "status": 429}
    assert plain == {
        "text": "ok",
        "reasoning": "hm",
        "tool_calls": [call_read],
        "parts": [
            {"type": "reasoning_part", "text": "hm"},
            data_read,
            {"type": "text_part", "text": "ok"},
            call_read,
        ],
        "data": [data_read],
        "parsed": {"name": "Rome", "twins": []},
        "finish_reason": "stop",
        "proven": False,
        "usage": attrs.asdict(usage),
        "model": None,
        "provider": None,
        "request_id": None,
        "attempts": [{"route": "koala/x", "error": error_read, "seconds": 0.5, "source": None}],
    }
    assert json.loads(dumps(reply.to_dict())) == plain


def test_what_holds_itself_is_text_within():
    read = json.loads(dumps(circular()))
    assert (read["a"], type(read["itself"][0])) == (1, str)


def test_what_has_no_words_is_named_by_its_type():
    assert "Mute object" in json.loads(dumps(Mute()))


def test_depth_has_no_end():
    assert json.loads(dumps(nested(100_000)))
    value = loop = []
    for _ in range(2000):
        loop.append([])
        loop = loop[0]
    loop.append(value)
    assert json.loads(dumps(value))


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
    text = dumps(value)
    json.loads(text, parse_constant=pytest.fail)
    orjson.loads(text)
    assert "\n" not in text
    plain_value(value)


def test_half_a_pair_in_an_answer_does_not_break_its_reply():
    transcript = Transcript()
    transcript.add([providerkit.TextDelta("a\ud83d"), providerkit.TextDelta("\udc28 \udc28")])
    transcript.add([providerkit.ReasoningDelta("\ud83d")])
    reply = transcript.reply()
    assert (reply.text, reply.reasoning) == ("a🐨 \ufffd", "\ufffd")
