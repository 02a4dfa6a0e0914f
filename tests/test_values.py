"""Values are values: everything public that holds data is compared, copied and pickled, with all that it holds."""

import copy
import inspect
import pickle

import attrs
import pytest

import providerkit
from providerkit import (
    Answered,
    Argument,
    Attempt,
    Chat,
    Embeddings,
    Endpoint,
    FilePart,
    Finish,
    Headers,
    ImagePart,
    Limits,
    Message,
    Model,
    Page,
    Phrase,
    ProviderData,
    ProviderInfo,
    ReasoningDelta,
    ReasoningPart,
    Reply,
    Request,
    ResponseHead,
    Restart,
    Retry,
    Route,
    Secret,
    ServerSentEvent,
    TextDelta,
    TextPart,
    Timeouts,
    Token,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)


def look(city: str, days: int = 1) -> str:
    """Look outside."""
    return f"{city}: rain for {days} days"


def error_of(kind):
    """Make an error with all facts that its kind has."""
    facts = {
        "status": 429,
        "code": "slow",
        "request_id": "r-1",
        "retry_after": 2.5,
        "should_retry": True,
        "provider": "koala",
        "name": "koalla",
        "installed": ("koala",),
        "plugin": "koala",
        "distribution": "providerkit-koala 0.1",
        "hook": "describe",
        "option": "tools",
        "index": 3,
        "path": "a.jsonl",
        "line": 7,
        "difference": "- a\n+ b",
        "clock": "idle",
        "seconds": 60.0,
        "incomplete": True,
        "url": "https://koala.example/chat",
        "missing_path": "/v1",
        "variable": "KOALA_API_KEY",
        "retry_at": 1e9,
    }
    taken = [name for name, one in inspect.signature(kind).parameters.items() if one.kind is one.KEYWORD_ONLY]
    error = kind(
        "what happened",
        providerkit.Argument("tools"),
        providerkit.Phrase("here", "there"),
        **{name: facts[name] for name in taken},
    )
    error.partial = "Hello"
    error.add_note("seen on the way")
    return error


ERRORS = [kind for name in providerkit.__all__ if isinstance(kind := getattr(providerkit, name), type)]
ERRORS = [kind for kind in ERRORS if issubclass(kind, BaseException)]
CALL = ToolCall("call_1", "look", '{"city": "Rome"}')
MESSAGE = Message(
    "assistant",
    [TextPart("Look: "), ImagePart("https://birds.example/a.png", detail="low")],
    tool_calls=[CALL],
    tool_call_id="call_0",
    name="polly",
    failed=True,
)
ATTEMPT = Attempt("koala/gpt-4o", error_of(providerkit.RateLimited), 0.5, "network")
USAGE = Usage(1, 2, 3, 4, 5)
VALUES = [
    Argument("tools", "x"),
    Phrase("here", "there"),
    ATTEMPT,
    Chat(
        (MESSAGE,),
        system="Be brief.",
        tools=[Tool.from_function(look)],
        tool_choice="look",
        parallel_tool_calls=True,
        reasoning="low",
        response_format={"type": "json_object"},
        temperature=0.5,
        top_p=0.9,
        max_tokens=5,
        stop=["."],
        seed=1,
        extra={"a": {"b": [1]}},
    ),
    Endpoint("https://parrot.example/v1", Secret("sk-0123"), {"X-Team": "blue"}),
    Finish("length", proven=False, raw="MAX_TOKENS"),
    Headers({"X-Team": "blue"}),
    ImagePart("https://birds.example/a.png", detail="low"),
    Limits(event=1, error_body=2, connections=3),
    MESSAGE,
    Model("gpt-4o", reasoning=True, supports=["tools"], max_output_tokens=100),
    ProviderInfo(
        "parrot",
        url="https://parrot.example",
        default_base_url="https://parrot.example/v1",
        base_path="/v1",
        default_model="grey",
        models=["grey"],
        supports={"system"},
        api_key_env="PARROT_API_KEY",
        working=False,
    ),
    ReasoningDelta("Hm."),
    ProviderData({"a": [1]}, keep=True, provider="koala"),
    Reply(
        "Hello",
        "Hm.",
        (CALL,),
        data=(ProviderData({"a": 1}),),
        parsed={"a": 1},
        finish_reason="stop",
        proven=True,
        usage=USAGE,
        model="gpt-4o",
        provider="koala",
        request_id="r-1",
        attempts=(ATTEMPT,),
    ),
    ReasoningPart("Hm."),
    FilePart(b"%PDF", media_type="application/pdf", name="a.pdf"),
    Page([providerkit.Model("grey")], "2"),
    Embeddings([[0.5, 1.0]], USAGE, model="grey", provider="koala"),
    Token(Secret("token"), 60.0),
    Request("POST", "https://parrot.example/say", {"X-Team": "blue"}, b"{}", stream=False),
    ResponseHead(200, {"Content-Type": "application/json"}),
    Restart("koala/gpt-4o", error_of(providerkit.StreamTruncated)),
    Retry(attempts=1, base=2, cap=3, retry_after_cap=4),
    Route("koala", "gpt-4o", api_key="sk", base_url="https://a", headers={"X-Team": "blue"}, extra={"a": 1}),
    Secret("sk-0123"),
    ServerSentEvent("event", b"data", "7", 5, unterminated=True),
    TextDelta("Hello"),
    Answered("gpt-4o-2026", "id-1"),
    TextPart("Hello"),
    Timeouts(connect=1, first_event=2, idle=3, total=4),
    Tool.from_function(look),
    CALL,
    ToolCallDelta(1, "call_1", "look", "{}"),
    ToolResult(CALL, "rain", failed=True),
    USAGE,
    *map(error_of, ERRORS),
]
# What is held by reference, acts, or is only a type; everything else that is public is a value.
OTHERS = """
ByContent Client Clock Conversation Decoder DecoderWrapper EventStream JSONBody JSONLines JSONLinesDecoder Lookup Mask
Observer Provider Response Run SSEDecoder Transport TransportWrapper
""".split()  # noqa: SIM905 - a list would be a screen long

WAYS = [
    copy.copy,
    copy.deepcopy,
    *(lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol)) for protocol in (2, 4, 5)),  # noqa: S301 - our own
]


def test_every_public_class_is_known_to_be_a_value_or_not():
    public = {name for name in providerkit.__all__ if isinstance(getattr(providerkit, name), type)}
    assert public - set(OTHERS) == {type(value).__name__ for value in VALUES}


@pytest.mark.parametrize("value", [value for value in VALUES if attrs.has(type(value))], ids=lambda v: type(v).__name__)
def test_the_examples_leave_no_field_at_its_default(value):
    """Or a field that is lost on the way would not be missed."""
    forms = {ImagePart: {"data", "media_type"}, FilePart: {"url", "id"}}  # of which another is given
    alike = forms.get(type(value), set())
    for field in attrs.fields(type(value)):
        assert field.name in alike or getattr(value, field.name) != field.default, field.name


@pytest.mark.parametrize("way", WAYS, ids=["copy", "deepcopy", "pickle 2", "pickle 4", "pickle 5"])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_through_copy_and_pickle_whole(value, way):
    other = way(value)
    assert type(other) is type(value)
    assert other == value
    assert repr(other) == repr(value)
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            assert getattr(other, field.name) == getattr(value, field.name)
    if isinstance(value, Tool):
        assert other.function is look
    if isinstance(value, BaseException):
        assert (str(other), vars(other)) == (str(value), vars(value))
        assert len({value, other}) == 1


def test_a_deep_copy_shares_nothing_that_can_change():
    chat = Chat((Message("user", "hi"),), extra={"a": {"b": [1]}})
    copy.deepcopy(chat).extra["a"]["b"].append(2)
    assert chat.extra == {"a": {"b": [1]}}
    with pytest.raises(TypeError):
        copy.deepcopy(chat).extra["a"] = 5


def test_errors_are_equal_where_kind_and_facts_are():
    error = providerkit.RateLimited("slow", status=429)
    assert error == providerkit.RateLimited("slow", status=429)
    assert error != providerkit.RateLimited("slow", status=430)
    assert error != providerkit.RateLimited("slower", status=429)
    assert error != providerkit.ProviderError("slow", status=429)
    assert error != ValueError("slow")


def test_limits_that_nobody_chose_stay_so_in_a_copy():
    hurried = Timeouts().hurried()
    assert hurried != Timeouts()
    assert [way(Timeouts()).hurried() for way in WAYS] == [hurried] * len(WAYS)


@pytest.mark.parametrize(
    "way", [lambda chat: chat.copy(), copy.copy, copy.deepcopy], ids=["method", "copy", "deepcopy"]
)
async def test_a_copy_of_a_conversation_goes_on_by_itself(way):
    async with providerkit.sandbox("koala") as base_url:
        chat = providerkit.run(provider="koala", base_url=base_url, system="Be brief.")
        await chat.send("one")
        other = way(chat)
        assert other.messages == chat.messages
        running = aiter(chat.send("two"))
        await anext(running)
        await other.send("three")  # whether or not the first is asked just now
        await running.aclose()
    said = [message.text for message in other.messages if message.role == "user"]
    assert (said, len(chat.messages)) == (["one", "three"], 2)
    chat.reset()
    assert (len(chat.messages), len(other.messages)) == (0, 4)


def test_a_conversation_says_what_to_pickle_in_its_place():
    with pytest.raises(TypeError, match="pickle its messages"):
        pickle.dumps(providerkit.run(provider="koala"))
