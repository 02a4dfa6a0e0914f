"""Tool calls find their pieces: the arguments decide more than ids, indices and names."""

import json

import pytest
from cuts import unhurried
from hypothesis import given, strategies as st
from providerkit_openai.calls import Calls

from providerkit import ToolCall, ToolCallDelta
from providerkit.chat.replies import Transcript


def piece(arguments=None, **fields):
    """Make a piece of a tool call; a `name` belongs to its function."""
    function = {"arguments": arguments} | ({"name": fields.pop("name")} if "name" in fields else {})
    return {**fields, "function": function}


def made(*chunks):
    """Return the events of chunks, each a list of pieces."""
    calls = Calls()
    return [event for entries in chunks for event in calls.pieces(entries)] + list(calls.rest())


def joined(events):
    transcript = Transcript()
    transcript.add(events)
    return [(call.id, call.name, call.arguments) for call in transcript.reply().tool_calls]


ONE, OTHER = '{"day":1}', '{"day":2}'
TWICE = [("", "add", ONE), ("", "add", OTHER)]

SEPARATE = {
    "one index, no ids, whole": (
        [[piece(ONE, index=0, id="", name="add")], [piece(OTHER, index=0, name="add")]],
        TWICE,
    ),
    "one index, no ids, in one chunk": ([[piece(ONE, index=0, name="add"), piece(OTHER, index=0, name="add")]], TWICE),
    "no index, no ids": ([[piece(ONE, name="add")], [piece(OTHER, name="add")]], TWICE),
    "one index, no ids, the name first": (
        [
            [piece("", index=0, name="add")],
            [piece('{"day":', index=0)],
            [piece("1}", index=0)],
            [piece("", index=0, name="add")],
            [piece(OTHER, index=0)],
        ],
        TWICE,
    ),
    "one index, no ids, the name said once": ([[piece(ONE, index=0, name="add")], [piece(OTHER, index=0)]], TWICE),
    "one index, no ids, equal arguments": (
        [[piece("{}", index=0, name="roll")], [piece("{}", index=0, name="roll")]],
        [("", "roll", "{}"), ("", "roll", "{}")],
    ),
    "equal arguments, the name first": (
        [[piece("", index=0, name="roll")], [piece("{}", index=0)]] * 2,
        [("", "roll", "{}"), ("", "roll", "{}")],
    ),
    "one index, one id": (
        [[piece(ONE, index=0, id="a", name="add")], [piece(OTHER, index=0, id="a", name="add")]],
        [("a", "add", ONE), ("", "add", OTHER)],
    ),
    "two indices, one id": (
        [[piece(ONE, index=0, id="a", name="add"), piece(OTHER, index=1, id="a", name="add")]],
        [("a", "add", ONE), ("", "add", OTHER)],
    ),
    "one index, two ids, split": (
        [
            [piece("", index=0, id="a", name="add")],
            [piece(ONE, index=0)],
            [piece("", index=0, id="b", name="add")],
            [piece(OTHER, index=0)],
        ],
        [("a", "add", ONE), ("b", "add", OTHER)],
    ),
    "no arguments, two ids": (
        [[piece("", index=0, id="a", name="now")], [piece("", index=0, id="b", name="now")]],
        [("a", "now", ""), ("b", "now", "")],
    ),
    "no arguments, no ids, in one chunk": ([[piece("", name="now"), piece("", name="now")]], [("", "now", "")] * 2),
    "no arguments, no ids, two tools": (
        [[piece("", name="now")], [piece("", name="then")]],
        [("", "now", ""), ("", "then", "")],
    ),
    "null": ([[piece("null", index=0, name="now")], [piece("null", index=0, name="now")]], [("", "now", "null")] * 2),
    "text": (
        [[piece('"a\\"}"', name="say")], [piece('"b"', name="say")]],
        [("", "say", '"a\\"}"'), ("", "say", '"b"')],
    ),
    "another tool after arguments that broke off": (
        [[piece('{"day"', index=0, id="a", name="add")], [piece("{}", index=0, id="b", name="now")]],
        [("a", "add", '{"day"'), ("b", "now", "{}")],
    ),
    "ids without an index, crosswise": (
        [
            [piece('{"day":', id="a", name="add")],
            [piece('{"day":', id="b", name="add")],
            [piece("1}", id="a")],
            [piece("2}", id="b")],
        ],
        [("a", "add", ONE), ("b", "add", OTHER)],
    ),
    "the name after the id, without an index": (
        [[piece(id="a")], [piece("{}", id="a", name="now")], [piece(id="b")], [piece("{}", id="b", name="then")]],
        [("a", "now", "{}"), ("b", "then", "{}")],
    ),
}


@pytest.mark.parametrize("name", SEPARATE)
def test_calls_are_as_many_as_the_model_made(name):
    chunks, expected = SEPARATE[name]
    assert joined(made(*chunks)) == expected


ADD = [("a", "add", ONE)]
TOGETHER = {
    "a name in pieces": (
        [[piece("", index=0, id="a", name="a")], [piece(None, index=0, name="dd")], [piece(ONE, index=0)]],
        ADD,
    ),
    "a name in pieces, the id in each": (
        [[piece("", index=0, id="a", name=letter)] for letter in "add"] + [[piece(ONE, index=0, id="a")]],
        [("a", "add", ONE)],
    ),
    "a name in pieces, without an index": ([[piece(id="a", name="ad")], [piece(name="d")], [piece(ONE)]], ADD),
    "a name that grows": (
        [[piece("", index=0, id="a", name="a")], [piece("", index=0, id="a", name="add")], [piece(ONE, index=0)]],
        ADD,
    ),
    "the name in every piece": (
        [[piece(letter, index=0, id="a", name="add")] for letter in ONE],
        ADD,
    ),
    "the name in every piece, without index and id": (
        [[piece(letter, name="add")] for letter in ONE],
        [("", "add", ONE)],
    ),
    "an id of its own for every piece": (
        [[piece(letter, index=0, id=f"r{number}", name="add")] for number, letter in enumerate(ONE)],
        [("r0", "add", ONE)],
    ),
    "an id of its own for every piece, the name once": (
        [[piece("", id="a", name="add")], *([piece(letter, id=letter)] for letter in ONE)],
        ADD,
    ),
    "an index that counts pieces": (
        [[piece('{"day"', index=0, id="a", name="add")], [piece(":", index=1)], [piece("1}", index=2)]],
        ADD,
    ),
    "an index that counts pieces, and an id": (
        [[piece('{"day"', index=0, id="a", name="add")], [piece(":1}", index=1, id="a")]],
        ADD,
    ),
    "all of it once more at the end, without a name": (
        [[piece(ONE, index=0, id="a", name="add")], [piece(ONE, index=0)]],
        ADD,
    ),
    "empty pieces at the end": (
        [
            [piece(ONE, index=0, id="a", name="add")],
            [piece("", index=0, id="a", name="add")],
            [piece("", index=0, id="z")],
        ],
        ADD,
    ),
    "the id and the name at the end": ([[piece(ONE, index=0)], [piece("", index=0, id="a", name="add")]], ADD),
    "blanks in a string": (
        [[piece('{"say":"', index=0, id="a", name="say")], [piece(" ", index=0)], [piece('x"}', index=0)]],
        [("a", "say", '{"say":" x"}')],
    ),
    "brackets and quotes in a string": (
        [[piece('{"say":"}', id="a", name="say")], [piece('\\"{\\', name="say")], [piece('\\"}', name="say")]],
        [("a", "say", '{"say":"}\\"{\\\\"}')],
    ),
    "a bracket too many": (
        [[piece(ONE, index=0, id="a", name="add")], [piece("}", index=0)]],
        [("a", "add", ONE + "}")],
    ),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_pieces_of_one_call_are_one_call(name):
    chunks, expected = TOGETHER[name]
    assert joined(made(*chunks)) == expected


def test_a_call_is_told_with_its_whole_name():
    chunks = [[piece("", index=0, id="a", name="a")], [piece("", index=0, name="dd")], [piece("{", index=0)]]
    assert made(*chunks, [piece("}", index=0)]) == [ToolCallDelta(0, "a", "add", "{"), ToolCallDelta(0, arguments="}")]
    assert made(*chunks[:2]) == [ToolCallDelta(0, "a", "add")]


@pytest.mark.parametrize("arguments", ["{}", "", '{"cut'])
def test_calls_that_come_whole_are_one_for_each_entry(arguments):
    calls = Calls()
    events = list(calls.whole([piece(arguments, id="a", name="now"), piece(arguments, id="a", name="now")]))
    assert joined([*events, *calls.rest()]) == [("a", "now", arguments), ("", "now", arguments)]


def test_arguments_are_looked_at_once_however_many_pieces_ask():
    """A name in every piece asks each time whether they are complete."""
    calls = Calls()
    text = json.dumps({"text": "{}" * 20_000})
    events = [event for letter in text for event in calls.pieces([piece(letter, index=0, name="say")])]
    assert joined(events) == [("", "say", text)]


arguments = st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.lists(st.integers(), max_size=2), max_size=2)


@unhurried
@given(
    st.lists(st.tuples(st.sampled_from(["add", "now"]), arguments), min_size=1, max_size=4),
    st.data(),
)
def test_calls_come_back_as_they_were_made(wanted, data):
    """Cut anywhere, with the name at the head or in every piece, and without any index or id."""
    repeats = data.draw(st.booleans())
    chunks = []
    for name, value in wanted:
        text = json.dumps(value)
        cut = data.draw(st.integers(1, len(text)))
        chunks += [[piece(text[:cut], name=name)], [piece(text[cut:], **({"name": name} if repeats else {}))]]
    assert joined(made(*chunks)) == [("", name, json.dumps(value)) for name, value in wanted]


def test_a_call_is_what_the_reply_has():
    transcript = Transcript()
    transcript.add(made([piece(ONE, index=3, id="a", name="add")]))
    assert transcript.reply().tool_calls == (ToolCall("a", "add", ONE),)
