"""What a user asks: checked when it is made, so that whoever holds one trusts it."""

from __future__ import annotations

import copy
import math
from types import MappingProxyType

import attrs
import pytest

from providerkit import (
    Chat,
    Embeddings,
    FilePart,
    ImagePart,
    InvalidMessages,
    InvalidOption,
    Message,
    Model,
    Page,
    PluginError,
    ProviderInfo,
    StreamMalformed,
    TextPart,
    Tool,
    ToolCall,
)
from providerkit.chat.openai_form import parse_messages
from providerkit.chat.options import FEATURES, OPTIONS

HI = Message("user", "hi")
CALL = ToolCall("1", "f", "{}")
WIRE_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
DUMPED = {  # openai-python 3.54: ChatCompletionMessage.model_dump()
    "role": "assistant",
    "content": None,
    "refusal": None,
    "annotations": None,
    "audio": None,
    "function_call": None,
    "tool_calls": None,
}
PICTURE = ImagePart("https://a/b.png", detail="high")


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        pytest.param("hi", [HI], id="a string"),
        pytest.param(" hi\n", [Message("user", " hi\n")], id="a string, to the letter"),
        pytest.param(HI, [HI], id="a message"),
        pytest.param([HI], [HI], id="a list of messages"),
        pytest.param((message for message in [HI, HI]), [HI, HI], id="an iterator"),
        pytest.param([{"role": "user", "content": "hi"}, HI], [HI, HI], id="mappings among messages"),
        pytest.param([MappingProxyType({"role": "user", "content": "hi"})], [HI], id="any mapping"),
        pytest.param([{"role": "developer", "content": "x"}], [Message("system", "x")], id="developer"),
        pytest.param([{"role": "user", "content": "hi", "refusal": None, "audio": None}], [HI], id="fields left empty"),
        *[
            pytest.param([DUMPED | fields], [Message("assistant", content)], id=f"OpenAI's own, dumped: {name}")
            for name, fields, content in [
                ("a refusal", {"refusal": "No."}, "No."),
                ("a refusal after text", {"content": "Hm.", "refusal": "No."}, [TextPart("Hm."), TextPart("No.")]),
                ("text", {"content": "hi"}, "hi"),
                ("citations", {"content": "hi", "annotations": [{"type": "url_citation"}]}, "hi"),
                ("nothing", {}, ""),
                (
                    "parts",
                    {"content": [{"type": "refusal", "refusal": "No."}], "refusal": "Never."},
                    [TextPart("No."), TextPart("Never.")],
                ),
            ]
        ],
        *[
            pytest.param(
                [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": given}}]}],
                [Message("assistant", "", tool_calls=[ToolCall("1", "f", text)])],
                id=f"arguments that are {given}",
            )
            for given, text in [(None, ""), ({"a": 1}, '{"a":1}')]
        ],
        pytest.param([{"role": "user", "content": "hi", "name": "Bo"}], [Message("user", "hi", name="Bo")], id="name"),
        pytest.param(
            [{"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]}],
            [Message("assistant", "", tool_calls=[CALL])],
            id="tool calls without content",
        ),
        pytest.param(
            [{"role": "assistant", "content": "x", "tool_calls": (CALL,)}],
            [Message("assistant", "x", tool_calls=[CALL])],
            id="tool calls that are values",
        ),
        pytest.param(
            [{"role": "tool", "content": "4", "tool_call_id": "1"}],
            [Message("tool", "4", tool_call_id="1")],
            id="a tool's answer",
        ),
        pytest.param(
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "high"}},
                        TextPart("b"),
                    ],
                }
            ],
            [Message("user", [TextPart("a"), PICTURE, TextPart("b")])],
            id="parts",
        ),
    ],
)
def test_messages_are_read_in_every_form(prompt, messages):
    assert parse_messages(prompt) == tuple(messages)


def test_what_is_passed_is_not_changed():
    prompt = [{"role": "developer", "content": [{"type": "text", "text": "a"}], "tool_calls": [WIRE_CALL]}]
    before = copy.deepcopy(prompt)
    (message,) = parse_messages(prompt)
    assert prompt == before
    prompt[0]["content"].append("more")
    assert message.content == (TextPart("a"),)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "there is no message to send; pass a non-empty string or list"),
        (" \n", "there is no message to send; pass a non-empty string or list"),
        ([], "there is no message to send; pass a non-empty string or list"),
        (range(0), "there is no message to send; pass a non-empty string or list"),
        (None, "messages is NoneType; pass a string, a Message, or a list of messages"),
        (5, "messages is int; pass a string, a Message, or a list of messages"),
        (b"hi", "messages is bytes; pass a string, a Message, or a list of messages"),
        ({"role": "user", "content": "hi"}, "messages is dict; pass a string, a Message, or a list of messages"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_chat_is_refused(prompt, said):
    with pytest.raises(InvalidMessages) as caught:
        parse_messages(prompt)
    assert str(caught.value) == said
    assert caught.value.index is None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("hi", "it is str, not a Message or a mapping with role and content"),
        (None, "it is NoneType, not a Message"),
        ({"content": "x"}, "it has no role; give one of system, user, assistant, tool"),
        ({"role": None, "content": "x"}, "it has no role"),
        ({"role": "robot", "content": "x"}, "the role is 'robot'; expected one of system, user, assistant, tool"),
        ({"role": "", "content": "x"}, "the role is ''; expected one of"),
        ({"role": ["user"], "content": "x"}, "the role is ['user']; expected one of"),
        ({"role": "user"}, "it has no content"),
        ({"role": "user", "content": None}, "it has no content"),
        ({"role": "user", "content": None, "tool_calls": []}, "it has no content"),
        (
            {"role": "user", "content": 5},
            "the content is int; expected a string, or a list of parts",
        ),
        ({"role": "user", "content": b"x"}, "the content is bytes; expected a string"),
        ({"role": "user", "content": {"type": "text"}}, "the content is dict; expected a string"),
        ({"role": "user", "content": ["x"]}, "a part of its content is neither"),
        ({"role": "user", "content": [{"type": "video"}]}, '{"type": "text", "text": ...}'),
        ({"role": "user", "content": [{"type": "text"}]}, "a part of its content is neither"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "a text part is int, not a string"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]},
            "a part of its content is neither",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "b.png"}}]},
            "the url of an ImagePart is 'b.png'; it must be http, https or data",
        ),
        ({"role": "user", "content": "a\ud83d"}, "the content has half a surrogate pair at character 1"),
        ({"role": "user", "content": [{"type": "text", "text": "\ud83d"}]}, "a text part has half a surrogate pair"),
        ({"role": "user", "content": "x", "name": 5}, "name is int, not a string"),
        ({"role": "tool", "content": "x", "tool_call_id": 5}, "tool_call_id is int, not a string"),
        ({"role": "assistant", "content": None, "refusal": 5}, "the content is int"),
        ({"role": "assistant", "content": "x", "refusal": 5}, "a text part is int"),
        ({"role": "assistant"}, "it has no content"),
        ({"role": "assistant", "tool_calls": 5}, 'a tool call is not {"id": ...'),
        ({"role": "assistant", "tool_calls": "x"}, 'a tool call is not {"id": ...'),
        ({"role": "assistant", "tool_calls": WIRE_CALL | {"id": 5}}, 'a tool call is not {"id": ...'),
        ({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}, "a tool call is not"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_a_wrong_message_is_named_by_its_index_with_the_way_out(message, said):
    with pytest.raises(InvalidMessages) as caught:
        parse_messages([HI, message])
    assert str(caught.value).startswith("messages[1]: ")
    assert said in str(caught.value)
    assert caught.value.index == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Message("robot", "x"), "the role is 'robot'; expected one of system, user, assistant, tool"),
        (lambda: Message("user", None), "the content is NoneType"),
        (
            lambda: Message("user", ["x"]),
            "the content holds str; its parts are TextPart, ImagePart, FilePart, ReasoningPart, ToolCall, ProviderData",
        ),
        (lambda: Message("user", "\udc00"), "half a surrogate pair at character 0"),
        (lambda: Message("assistant", "", tool_calls=[WIRE_CALL]), "tool_calls holds dict; each must be a ToolCall"),
        (lambda: Message("assistant", "", tool_calls=5), "tool_calls holds int; each must be a ToolCall"),
        (lambda: Message("user", "x", name="\ud800"), "name has half a surrogate pair"),
        (lambda: TextPart(None), "a text part is NoneType, not a string"),
        (lambda: ImagePart(), "an ImagePart needs exactly one of url, data"),
        (lambda: ImagePart("https://a", b"x", "image/png"), "an ImagePart needs exactly one of url, data"),
        (lambda: ImagePart(data=b"x"), "needs its media_type, as in 'image/png'"),
        (lambda: ImagePart(data="x", media_type="image/png"), "the data of an ImagePart is str; it must be bytes"),
        (lambda: ImagePart("file:///a"), "the url of an ImagePart is 'file:///a'; it must be http, https or data"),
        (lambda: ImagePart(5), "the url of an ImagePart is 5; it must be http, https or data"),
    ],
    ids=range(14),
)
def test_a_value_that_is_wrong_is_not_made(make, said):
    with pytest.raises(InvalidMessages) as caught:
        make()
    assert said in str(caught.value)


def test_text_with_half_a_pair_can_be_repaired_as_the_error_says():
    text = "a\ud83d"
    with pytest.raises(InvalidMessages, match="repair it") as caught:
        Message("user", text)
    assert "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')" in str(caught.value)
    assert Message("user", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")).text == "a\ufffd"


def test_the_text_of_a_message_joins_its_text_parts():
    assert Message("user", [TextPart("a"), PICTURE, TextPart("b")]).text == "ab"
    assert HI.text == "hi"


def test_a_chat_knows_whether_it_has_an_image():
    assert "images" in Chat((Message("user", [TextPart("a"), PICTURE]),)).features()
    assert "images" not in Chat((Message("user", [TextPart("a")]), HI)).features()


def test_the_data_of_an_image_shows_in_no_repr():
    image = ImagePart(data=b"MARKED", media_type="image/png")
    assert repr(image) == "ImagePart(url=None, media_type='image/png', detail=None)"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"system": 5}, "system is 5, of type int; it takes str"),
        ({"temperature": "hot"}, "temperature is 'hot', of type str; it takes float or int"),
        ({"temperature": True}, "temperature is True, of type bool; it takes float or int"),
        ({"temperature": [0.5]}, "temperature is [0.5], of type list; it takes float or int"),
        (
            {"temperature": math.nan},
            "temperature is nan, of type float; it takes float or int, finite and of at most 64 bits",
        ),
        ({"top_p": math.inf}, "top_p is inf, of type float; it takes float or int, finite and of at most 64 bits"),
        (
            {"temperature": 10**5000},
            "temperature is <int>, of type int; it takes float or int, finite and of at most 64 bits",
        ),
        ({"seed": 2**64}, "seed is 18446744073709551616, of type int; it takes int, finite and of at most 64 bits"),
        (
            {"seed": -(2**63) - 1},
            "seed is -9223372036854775809, of type int; it takes int, finite and of at most 64 bits",
        ),
        ({"max_tokens": 1.5}, "max_tokens is 1.5, of type float; it takes int"),
        ({"max_tokens": False}, "max_tokens is False, of type bool; it takes int"),
        ({"seed": "1"}, "seed is '1', of type str; it takes int"),
        ({"stop": 5}, "stop is 5, of type int; it takes str"),
        ({"stop": ["a", None]}, "stop is None, of type NoneType; it takes str"),
        ({"stop": b"a"}, "stop is b'a', of type bytes; it takes str"),
        ({"tools": [{"name": "f"}]}, "tools holds {'name': 'f'}; expected Tool objects and functions"),
        ({"tools": "f"}, "tools holds 'f'; expected Tool objects and functions"),
        ({"extra": 5}, "extra is int; expected a mapping of body fields"),
        ({"extra": [("a", 1)]}, "extra is list; expected a mapping of body fields"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_option_of_a_wrong_type_is_named_with_its_value(options, said):
    with pytest.raises(InvalidOption) as caught:
        Chat((HI,), **options)
    assert str(caught.value) == said
    assert [caught.value.option] == list(options)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Tool(""), "the name of a Tool is ''; it must be a non-empty string"),
        (lambda: Tool(5), "the name of a Tool is 5; it must be a non-empty string"),
        (lambda: Tool("f", parameters=[]), "the parameters of Tool 'f' are list; they must be a mapping"),
    ],
    ids=range(3),
)
def test_a_wrong_tool_is_not_made(make, said):
    with pytest.raises(InvalidOption) as caught:
        make()
    assert said in str(caught.value)
    assert caught.value.option == "tools"


def test_one_item_stands_for_a_list_of_one_and_none_for_an_empty_one():
    tool = Tool("f")
    assert Chat((HI,), stop="a", tools=tool) == Chat((HI,), stop=["a"], tools=[tool])
    assert Chat((HI,), stop=None, tools=None, extra=None) == Chat((HI,), stop=(), tools=(), extra={})


def test_extra_is_a_copy_that_no_one_can_change():
    given = {"a": 1}
    chat = Chat((HI,), extra=given)
    given["a"] = 2
    assert chat.extra == {"a": 1}
    with pytest.raises(TypeError):
        chat.extra["a"] = 3


def test_a_system_text_that_no_wire_can_carry_is_refused():
    with pytest.raises(InvalidMessages, match="system has half a surrogate pair"):
        Chat((HI,), system="\ud800")


def test_system_texts_are_the_option_and_then_those_of_the_messages():
    system = Message("system", "b")
    chat = Chat((system, HI, attrs.evolve(system, content="c")), system="a")
    assert chat.system_texts == ("a", "b", "c")
    assert chat.turns == (HI,)
    assert Chat((HI,)).system_texts == ()


@pytest.mark.parametrize(
    ("chat", "features"),
    [
        (Chat((HI,)), set()),
        (Chat((HI,), system="x"), {"system"}),
        (Chat((Message("system", "x"), HI)), {"system"}),
        (Chat((HI, Message("assistant", "a"), HI)), {"history"}),
        (Chat((HI, Message("assistant", "a"))), {"history", "prefill"}),
        (Chat((Message("user", [PICTURE]),)), {"images"}),
        (Chat((Message("assistant", "", tool_calls=[CALL]), Message("tool", "4"))), {"tools", "history"}),
        (Chat((Message("tool", "4"),)), {"tools"}),
        (Chat((HI,), tools=[Tool("f")]), {"tools"}),
        (Chat((HI,), temperature=0, top_p=0.0, max_tokens=1, seed=0), {"temperature", "top_p", "max_tokens", "seed"}),
        (Chat((HI,), stop="x", extra={"a": 1}, response_format="json"), {"stop", "extra", "response_format"}),
        (Chat(()), set()),
    ],
    ids=range(12),
)
def test_a_chat_names_what_a_provider_must_support(chat, features):
    assert set(chat.features()) == features <= FEATURES


def test_every_option_is_a_feature_and_a_field_of_a_chat():
    assert {field.name for field in attrs.fields(Chat)} == {"messages", *OPTIONS}
    assert set(OPTIONS) < FEATURES


def test_a_provider_is_described_by_lists_of_words():
    info = ProviderInfo("koala", models=["a", "b"], supports=["system", "history"])
    assert info == ProviderInfo("koala", models=("a", "b"), supports=frozenset({"system", "history"}))
    assert ProviderInfo("koala", supports="system").supports == {"system"}
    assert (ProviderInfo("koala").supports, ProviderInfo("koala").models) == (frozenset(), ())


def test_an_unknown_word_of_supports_is_refused_with_the_words_there_are():
    with pytest.raises(PluginError, match="supports has 'telepathy'; its words are extra, files, history, images"):
        ProviderInfo("koala", supports={"system", "telepathy"})


def test_the_name_of_a_model_is_a_string():
    with pytest.raises(TypeError, match="'name' must be <class 'str'>"):
        Model(None)
    with pytest.raises(PluginError, match="models holds names, not 5"):
        ProviderInfo("koala", models=["grey", 5])


@pytest.mark.parametrize("name", ["", "a/b", None, 5], ids=repr)
def test_the_name_of_a_provider_is_a_word_without_a_slash(name):
    with pytest.raises(PluginError, match="a provider's name is a non-empty string without a slash, not"):
        ProviderInfo(name)


@pytest.mark.parametrize(
    "value", [HI, TextPart("a"), PICTURE, Tool("f"), CALL, Chat((HI,)), Model("m"), ProviderInfo("koala")], ids=repr
)
def test_values_are_frozen(value):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.name = "other"


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ('{"city": "Rome", "days": [1, null]}', {"city": "Rome", "days": [1, None]}),
        ("{}", {}),
        ("", {}),
        (" \n", {}),
        ("null", {}),
    ],
)
def test_the_arguments_of_a_call_are_parsed(written, parsed):
    assert ToolCall("1", "weather", written).parsed == parsed


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ('{"city": "Ro', "unexpected end of data"),
        ("[1]", "it is list"),
        ("0", "it is int"),
        ("Rome", "unexpected"),
    ],
)
def test_arguments_that_are_no_object_are_malformed(written, fault):
    with pytest.raises(StreamMalformed, match=f"arguments for the tool 'weather' are not a JSON object: .*{fault}"):
        _ = ToolCall("1", "weather", written).parsed


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: ImagePart(data=b"x", media_type="png"),
            "the media_type of an ImagePart is 'png'; expected a type and",
        ),
        (lambda: ImagePart(data=b"x", media_type="text/plain"), "other files than images are FileParts"),
        (lambda: FilePart(b"x"), "a FilePart with data needs its media_type, as in 'application/pdf'"),
        (lambda: FilePart(b"x", media_type=5), "the media_type of a FilePart is 5; expected a type and a subtype"),
        (lambda: FilePart(), "a FilePart needs exactly one of data, url, id; it was given none of them"),
        (lambda: FilePart(b"x", id="f", media_type="a/b"), "it was given data and id"),
        (lambda: FilePart(id=5), "the id of a FilePart is int, not a string"),
    ],
)
def test_a_part_that_is_wrong_is_not_made(make, said):
    with pytest.raises(InvalidMessages) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reasoning": "much"}, "reasoning is 'much'; expected one of none, low, medium, high"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls is 'yes'; expected True or False"),
        ({"tool_choice": "look"}, "tool_choice is 'look'; expected one of 'auto', 'none', 'required'"),
        ({"tool_choice": "x", "tools": [Tool("look")]}, "expected one of 'auto', 'none', 'required', 'look'"),
    ],
)
def test_a_choice_that_there_is_not_is_refused(options, said):
    with pytest.raises(InvalidOption) as caught:
        Chat((HI,), **options)
    assert said in str(caught.value)
    assert caught.value.option == next(iter(options))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Model("a", max_output_tokens=0), "max_output_tokens is 0; expected a whole number of tokens"),
        (lambda: Model("a", supports=["telepathy"]), "supports has 'telepathy'"),
        (lambda: Page(["a"]), "a Page holds Models, not str"),
        (lambda: Embeddings([["a"]]), "Embeddings hold vectors of numbers"),
        (lambda: ProviderInfo("a", api_key_env=["A", 5]), "api_key_env holds names, not 5"),
    ],
)
def test_what_a_plugin_says_wrongly_is_told(make, said):
    with pytest.raises(PluginError, match=said):
        make()
