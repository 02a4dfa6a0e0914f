"""Data of one provider in a history: read from mappings, kept in its place, and given to its owner alone."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest

from providerkit import (
    FilePart,
    ImagePart,
    InvalidMessages,
    Message,
    ProviderData,
    ReasoningPart,
    TextPart,
    ToolCall,
)
from providerkit.chat.openai_form import parse_messages
from providerkit.chat.provider_data import own_messages

CALL = ToolCall("1", "f", "{}")
WIRE_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SIGNED = {"google": {"thought_signature": "c2ln"}}
EPHEMERAL = {"type": "ephemeral"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}


def kept(**value):
    return ProviderData(value, keep=True)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        pytest.param(
            {"role": "assistant", "content": "Rain.", "reasoning_content": "Hm."},
            [kept(message={"reasoning_content": "Hm."}), TextPart("Rain.")],
            id="of a message with text",
        ),
        pytest.param(
            {"role": "assistant", "content": None, "reasoning_details": [{"type": "x"}], "tool_calls": [WIRE_CALL]},
            [kept(message={"reasoning_details": [{"type": "x"}]}), CALL],
            id="of a message with calls alone",
        ),
        pytest.param(
            {"role": "assistant", "content": "Rain.", "id": "msg_1", "audio": {"id": "a"}},
            [kept(message={"id": "msg_1", "audio": {"id": "a"}}), TextPart("Rain.")],
            id="several, in one",
        ),
        pytest.param(
            {"role": "user", "content": "hi", "id": "msg_1"},
            [kept(message={"id": "msg_1"}), TextPart("hi")],
            id="of a user's message",
        ),
        pytest.param({"role": "user", "content": "", "id": "1"}, [kept(message={"id": "1"})], id="no text"),
        pytest.param(
            {
                "role": "assistant",
                "content": "Hm.",
                "tool_calls": [WIRE_CALL | {"extra_content": SIGNED, "index": 0}, WIRE_CALL | {"id": "2"}],
            },
            [TextPart("Hm."), CALL, kept(tool_call={"extra_content": SIGNED}), ToolCall("2", "f", "{}")],
            id="of a call, right behind it",
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [WIRE_CALL | {"function": WIRE_CALL["function"] | {"strict": True}}]},
            [CALL, kept(tool_call={"function": {"strict": True}})],
            id="of the function of a call",
        ),
        pytest.param(
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": EPHEMERAL}, IMAGE]},
            [TextPart("a"), kept(part={"cache_control": EPHEMERAL}), ImagePart("https://a/b.png")],
            id="of a part, right behind it",
        ),
        pytest.param(
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png", "format": "png"}}],
            },
            [ImagePart("https://a/b.png"), kept(part={"image_url": {"format": "png"}})],
            id="within a part",
        ),
        pytest.param(
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "a"}]},
            [kept(content={"type": "thinking", "thinking": "Hm."}), TextPart("a")],
            id="a part that is thinking",
        ),
        pytest.param(
            {"role": "user", "content": [kept(part={"a": 1}), ReasoningPart("b"), CALL]},
            [kept(part={"a": 1}), ReasoningPart("b"), CALL],
            id="parts that are values",
        ),
    ],
)
def test_fields_that_are_not_ours_are_kept_in_their_place(given, parts):
    before = copy.deepcopy(given)
    (message,) = parse_messages([given])
    assert message.parts == tuple(parts)
    assert given == before


@pytest.mark.parametrize("nothing", [None, "", [], {}, False, 0], ids=repr)
def test_fields_that_say_nothing_are_not_kept(nothing):
    call = WIRE_CALL | {"extra_content": nothing}
    (message,) = parse_messages(
        [{"role": "assistant", "content": "a", "audio": nothing, "tool_calls": [call], "function_call": nothing}]
    )
    assert message == Message("assistant", "a", tool_calls=[CALL])


def test_what_is_kept_does_not_change_with_what_was_passed():
    given = {"role": "assistant", "content": "a", "reasoning_details": [{"text": "b"}]}
    (message,) = parse_messages([given])
    given["reasoning_details"][0]["text"] = "c"
    assert message.parts[0].value == {"message": {"reasoning_details": [{"text": "b"}]}}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
            [FilePart(b"%PDF", media_type="application/pdf", name="a.pdf")],
        ),
        ({"type": "file", "file": {"file_data": "https://a/b.pdf"}}, [FilePart(url="https://a/b.pdf")]),
        ({"type": "file", "file": {"file_id": "file-1"}}, [FilePart(id="file-1")]),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}, "cache_control": EPHEMERAL},
            [FilePart(b"RIFF", media_type="audio/wav"), kept(part={"cache_control": EPHEMERAL})],
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
            [FilePart(b"ID3", media_type="audio/mpeg")],
        ),
    ],
    ids=["data", "an address", "an id", "audio", "mp3"],
)
def test_files_and_audio_are_files(part, expected):
    (message,) = parse_messages([{"role": "user", "content": [part]}])
    assert message.parts == tuple(expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"role": "user", "content": "a", "id": {1, 2}}, "its field 'id' has no value that JSON can hold"),
        ({"role": "user", "content": "a", "id": "\ud800"}, "its field 'id' has no value that JSON can hold"),
        ({"role": "user", "content": 5, "id": "1"}, "the content is int"),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": ""}}, "it has a function_call"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "a part of its content is neither"),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "JVBERg=="}}]},
            "the url of a FilePart is 'JVBERg=='; it must be http, https or data",
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}}]},
            "the data of a part of its content is not base64",
        ),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_what_can_not_be_kept_is_an_error(given, said):
    with pytest.raises(InvalidMessages) as caught:
        parse_messages([given])
    assert said in str(caught.value)
    assert caught.value.index == 0


OF_A = ProviderData({"a": 1}, keep=True, provider="a")
OF_B = ProviderData({"b": 1}, keep=True, provider="b")
ANYBODYS = kept(message={"id": "1"})
ANSWER = Message(
    "assistant", [ANYBODYS, ReasoningPart("Hm."), OF_A, TextPart("x"), CALL, OF_B], name="Bo", tool_call_id="1"
)


def test_a_provider_is_given_its_own_data_and_that_of_nobody_else():
    (given,) = own_messages((ANSWER,), "a", keeps=True)
    expected = [ANYBODYS, ReasoningPart("Hm."), OF_A, TextPart("x"), CALL]
    assert given == Message("assistant", expected, name="Bo", tool_call_id="1")


def test_a_provider_that_takes_none_is_given_plain_messages():
    plain = Message("user", [TextPart("a"), ImagePart("https://a/b.png")])
    given = own_messages((ANSWER, plain, Message("user", "hi")), "a", keeps=False)
    answer = Message("assistant", "x", tool_calls=[CALL], name="Bo", tool_call_id="1")
    assert given == (answer, plain, Message("user", "hi"))
    assert given[0].content == "x"


def test_messages_without_data_are_given_as_they_are():
    plain = (Message("user", "hi"), Message("user", [TextPart("a")]))
    assert own_messages(plain, "a", keeps=True) == plain
    assert own_messages(plain, "a", keeps=False) == (plain[0], plain[1])


def test_what_is_left_out_is_said_once_and_shows_nothing_of_it(caplog):
    """By the name of the provider, the field, and what it is of; what other providers keep is theirs, and not said."""
    values = [
        {"message": {"x_told_once": "MARKED", "x_second": 1}},
        {"tool_call": {"x_of_a_call": "MARKED"}},
        {"part": {"x_of_a_part": "MARKED"}},
        {"content": {"type": "x_thinking", "thinking": "MARKED"}},
        {"type": "x_block", "text": "MARKED"},
        ["MARKED"],
        {"content": ["MARKED"]},
    ]
    message = Message("assistant", [TextPart("x"), OF_B, *(ProviderData(value, keep=True) for value in values)])
    with caplog.at_level(logging.INFO, "providerkit"):
        for _ in range(2):
            own_messages((message, message), "left-out", keeps=False)
    assert [record.getMessage() for record in caplog.records] == [
        f"left-out is not sent {what}, which it does not take"
        for what in (
            "the field 'x_told_once' of a message",
            "the field 'x_second' of a message",
            "the field 'x_of_a_call' of a tool call",
            "the field 'x_of_a_part' of a part",
            "provider data of type 'x_thinking'",
            "provider data of type 'x_block'",
            "provider data",
        )
    ]


def test_a_message_with_data_is_a_value():
    assert pickle.loads(pickle.dumps(ANSWER)) == ANSWER == copy.deepcopy(ANSWER)  # noqa: S301 - our own
    assert "'a'" in repr(ANSWER)
    assert "{'a': 1}" not in repr(ANSWER)
