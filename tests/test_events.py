"""What comes back: a transcript takes in events, and joins them to the reply at any moment."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import attrs
import pytest

from providerkit import (
    Answered,
    Attempt,
    Chat,
    Finish,
    Message,
    ProviderData,
    ReasoningDelta,
    ReasoningPart,
    Reply,
    TextDelta,
    TextPart,
    ToolCall,
    ToolCallDelta,
    Usage,
    loads,
)
from providerkit.chat.events import size_of
from providerkit.chat.replies import Transcript


def test_a_reply_joins_all_events():
    transcript = Transcript()
    transcript.begin("koala", "grey")
    transcript.request_id = "r1"
    transcript.attempts.append(attempt := Attempt("koala/grey", None, 0.5, "network"))
    transcript.add([ReasoningDelta("h"), TextDelta("Hel"), ReasoningDelta("m")])
    transcript.add([TextDelta("lo"), ToolCallDelta(0, "1", "f", "{"), ProviderData({"x": 1})])
    transcript.add([ToolCallDelta(0, arguments="}"), Usage(1, 2), Finish("tool_calls")])
    assert transcript.finished
    assert transcript.reply() == Reply(
        parts=(
            ReasoningPart("h"),
            TextPart("Hel"),
            ReasoningPart("m"),
            TextPart("lo"),
            ToolCall("1", "f", "{}"),
        ),
        data=(ProviderData({"x": 1}, provider="koala"),),
        finish_reason="tool_calls",
        proven=True,
        usage=Usage(input_tokens=1, output_tokens=2),
        model="grey",
        provider="koala",
        request_id="r1",
        attempts=(attempt,),
    )
    reply = transcript.reply()
    assert (reply.text, reply.reasoning, reply.tool_calls) == ("Hello", "hm", (ToolCall("1", "f", "{}"),))


def test_the_model_of_a_reply_is_the_one_that_answered():
    """And the one that was asked for, if the wire names none."""
    transcript = Transcript()
    transcript.begin("koala", "auto")
    models = [transcript.reply().model]
    for event in (Answered(id="a-1"), Answered("grey"), Answered(model="brown", id="a-1"), Answered()):
        transcript.add([event])
        models.append(transcript.reply().model)
    assert models == ["auto", "auto", "grey", "brown", "brown"]
    transcript.begin("koala", "auto")
    assert transcript.reply() == Reply(provider="koala", model="auto")


def test_ids_that_a_wire_leaves_out_are_made_unique_within_the_chat():
    said = Message("assistant", "", tool_calls=[ToolCall("call_0", "f", "{}"), ToolCall("call_2", "f", "{}")])
    transcript = Transcript()
    transcript.add([ToolCallDelta(2), ToolCallDelta(1, "call_3"), ToolCallDelta(0)])
    chat = Chat((Message("user", "?"), said))
    assert transcript.make_ids(chat.messages) == [ToolCallDelta(0, "call_1"), ToolCallDelta(2, "call_4")]
    assert [call.id for call in transcript.reply().tool_calls] == ["call_1", "call_3", "call_4"]
    assert transcript.make_ids(chat.messages) == []


def test_a_reply_may_be_asked_for_before_the_end():
    transcript = Transcript()
    assert transcript.reply() == Reply()
    transcript.add([TextDelta("Hel")])
    assert transcript.reply() == Reply(text="Hel")
    assert transcript.text == "Hel"
    assert not transcript.finished
    assert transcript.reply().finish_reason is None


LONG = 'say "a" ' * 30


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (
            Reply(text="*Hello*, <b>you</b>\n\n- $x$", finish_reason="stop", model="grey", usage=Usage(12, 30)),
            "*Hello*, <b>you</b>\n\n- $x$\n\n<small>stop · grey · 12 tokens in, 30 tokens out</small>",
        ),
        (Reply(text="Hel", model="grey"), "Hel\n\n<small>unfinished · grey</small>"),
        (Reply(usage=Usage(output_tokens=0)), "<small>unfinished · 0 tokens out</small>"),
        (Reply(usage=Usage()), "<small>unfinished</small>"),
        (
            Reply(
                reasoning="First\n\nthis,\n# then that.",
                tool_calls=(ToolCall("1", "look", '{\n "up": "`sky`"}'), ToolCall("2", "fly", "")),
                finish_reason="tool_calls",
            ),
            '> First this, # then that.\n\n- `` look({ "up": "`sky`"}) ``\n- `` fly() ``\n\n<small>tool_calls</small>',
        ),
        (Reply(text="a", reasoning=LONG), f"> {LONG[:200]} …\n\na\n\n<small>unfinished</small>"),
    ],
    ids=["whole", "partial", "no text", "nothing", "reasoning and tool calls", "long reasoning"],
)
def test_a_reply_shows_the_models_markdown_as_it_is_and_the_rest_in_brief(reply, shown):
    assert reply._repr_markdown_() == shown


@pytest.mark.parametrize(
    "unit", ["[]", "{}", '"x"', "1.5", '{"a":[1]}', '"' + "x" * 999 + '"', '"\u20ac"', "[[[[0]]]]"]
)
def test_the_size_of_an_event_is_what_its_value_takes(unit: str):
    body = f"[{','.join([unit] * 5000)}]".encode()
    tracemalloc.start()
    event = ProviderData(loads(body))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.9 * taken <= size_of(event, 10**9) <= 3 * taken


def test_the_size_of_every_kind_of_event_counts():
    events = [
        TextDelta(""),
        ReasoningDelta(""),
        ToolCallDelta(0),
        Usage(1000, 1000),
        ProviderData(None),
        Finish("stop"),
    ]
    assert [40 <= size_of(event, 10**9) <= 1000 for event in events] == [True] * len(events)


def test_the_size_of_an_event_is_not_counted_far_beyond_the_cap():
    looked_at = []

    class Counting(dict[str, int]):
        def values(self) -> Any:
            looked_at.append(self)
            return super().values()

    event = ProviderData([Counting(a=1) for _ in range(1000)])
    assert (size_of(event, 5000) > 5000, looked_at) == (True, [])
    assert (size_of(event, 10_000) > 10_000, 0 < len(looked_at) < 20) == (True, True)


def test_an_unproven_finish_makes_an_unproven_reply():
    transcript = Transcript()
    transcript.add([Finish("stop", proven=False)])
    assert transcript.reply() == Reply(finish_reason="stop", proven=False)


def test_the_last_usage_is_the_usage():
    transcript = Transcript()
    transcript.add([Usage(1, 1), Usage(1, 9)])
    assert transcript.reply().usage == Usage(1, 9)


def test_tool_calls_are_joined_by_index_and_keep_the_first_id_and_name():
    transcript = Transcript()
    transcript.add(
        [
            ToolCallDelta(1, "b", "g"),
            ToolCallDelta(0, arguments="[1"),
            ToolCallDelta(1, "b", "g", "{}"),
            ToolCallDelta(0, "a", "f", ",2"),
            ToolCallDelta(0, "other", "other", "]"),
        ]
    )
    assert transcript.reply().tool_calls == (ToolCall("a", "f", "[1,2]"), ToolCall("b", "g", "{}"))


@pytest.mark.parametrize("text", ["a\r\nb\rc\n", "\u2028\0\x85"], ids=ascii)
def test_text_is_kept_to_the_letter(text):
    transcript = Transcript()
    transcript.add([TextDelta(text), ReasoningDelta(text), ToolCallDelta(0, arguments=text)])
    reply = transcript.reply()
    assert [reply.text, reply.reasoning, reply.tool_calls[0].arguments] == [text] * 3


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([], False),
        ([TextDelta("")], False),
        ([ReasoningDelta("")], False),
        ([Usage(1, 2), Answered("grey"), ProviderData(1), Finish("stop")], False),
        ([TextDelta("a")], True),
        ([ReasoningDelta("a")], True),
        ([ToolCallDelta(0)], True),
        ([TextDelta("a"), TextDelta(""), Usage()], True),
    ],
    ids=repr,
)
def test_text_reasoning_and_pieces_of_tool_calls_are_content(events, content):
    assert Transcript().add(events) is content


def test_the_message_of_a_reply_goes_on_the_history():
    call = ToolCall("1", "f", "{}")
    assert Reply(text="Hello", tool_calls=(call,)).message == Message("assistant", "Hello", tool_calls=[call])


@pytest.mark.parametrize(
    "value",
    [
        TextDelta("a"),
        ReasoningDelta("a"),
        ToolCallDelta(0),
        Usage(),
        Answered(),
        ProviderData(1),
        Finish("stop"),
        Reply(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_frozen_and_equal_by_what_they_hold(value):
    assert value == attrs.evolve(value)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.text = "b"


@pytest.mark.parametrize(
    ("told", "count"),
    [
        (0, 0),
        (7, 7),
        (7.0, 7),
        (2**53, 2**53),
        (None, None),
        *((nonsense, None) for nonsense in (-1, 7.5, -1.0, math.nan, math.inf, 2**53 + 1, 10**400, 1e300)),
        *((nonsense, None) for nonsense in (True, "7", b"7", [7], {"n": 7})),
    ],
    ids=lambda value: repr(value)[:9],
)
def test_a_count_is_a_whole_number_of_tokens_or_was_not_told(told, count):
    """Whatever a wire tells and a plugin passes on, so that whoever counts with it need not look."""
    assert Usage(*[told] * 5) == Usage(*[count] * 5)
    assert {type(value) for value in attrs.astuple(Usage(*[told] * 5))} == {type(count)}
