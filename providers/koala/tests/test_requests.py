"""What Koala is asked: bodies and headers of the three dialects, and chats that can't be asked."""

import json
from importlib.metadata import version

import pytest
from cuts import unhurried
from hypothesis import given, strategies as st
from providerkit_koala import Koala
from yarl import URL

import providerkit
from providerkit import Chat, Endpoint, Message, Model

ADDRESS = "https://koala.sh/api/gpt/"
KEY = "koala-key-0123456789"
AGENT = f"providerkit/{version('providerkit-core')}"

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A koala."},
    {"role": "user", "content": "What do you eat?"},
]
HISTORIES = {
    "input": "What do you eat? Be brief.",
    "inputHistory": ["Who are you?"],
    "outputHistory": ["A koala."],
}


async def sent(mocked, messages=CHAT, provider="koala", **options):
    """Ask, and give the headers and the body that went out."""
    mocked.post(ADDRESS, body='{"output": "Leaves."}')
    await providerkit.run(messages, provider=provider, **options)
    (call,) = mocked.requests.pop(("POST", URL(ADDRESS)))
    return call.kwargs["headers"], json.loads(call.kwargs["data"])


def body_of(*turns, dialect=None, **options):
    chat = Chat(tuple(Message(role, text) for role, text in turns), **options)
    return json.loads(Koala(dialect).build_request(chat, Model("gpt-4o"), Endpoint("https://koala.sh")).body)


async def test_the_website_is_asked_without_a_key(mocked):
    headers, body = await sent(mocked)
    assert len(headers.pop("Visitor-ID")) == 20
    assert headers == {
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Flag-Real-Time-Data": "false",
        "Origin": "https://koala.sh",
        "Referer": "https://koala.sh/chat",
        "User-Agent": AGENT,
    }
    assert body == {**HISTORIES, "model": "gpt-4o-mini"}


async def test_the_api_is_asked_with_a_key(mocked):
    headers, body = await sent(mocked, api_key=KEY)
    assert headers == {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "User-Agent": AGENT}
    assert body == {**HISTORIES, "model": "gpt-4o-mini", "realTimeData": False}


async def test_a_key_of_the_environment_is_a_key(mocked, monkeypatch):
    monkeypatch.setenv("KOALA_API_KEY", KEY)
    headers, _ = await sent(mocked)
    assert headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [None, KEY])
async def test_messages_are_sent_as_they_are_in_the_dialect_of_that_name(mocked, key):
    headers, body = await sent(mocked, provider=Koala(dialect="messages"), api_key=key)
    assert headers == {
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Flag-Real-Time-Data": "false",
        "User-Agent": AGENT,
    }
    assert body == {"messages": [{**message, "attachments": []} for message in CHAT], "model": "gpt-4o-mini"}


async def test_a_dialect_that_is_named_is_spoken_whether_or_not_there_is_a_key(mocked):
    headers, _ = await sent(mocked, provider=Koala(dialect="website"), api_key=KEY)
    assert "Visitor-ID" in headers
    assert "Authorization" not in headers


async def test_a_visitor_is_new_with_every_request(mocked):
    names = {(await sent(mocked))[0]["Visitor-ID"] for _ in range(20)}
    assert len(names) == 20
    assert set("".join(names)) <= set("abcdefghijklmnopqrstuvwxyz0123456789")


@pytest.mark.parametrize("dialect", ["website", "messages"])
async def test_real_time_data_is_a_header_of_the_unofficial_dialects(mocked, dialect):
    headers, body = await sent(mocked, provider=Koala(dialect), extra={"realTimeData": True})
    assert headers["Flag-Real-Time-Data"] == "true"
    assert "realTimeData" not in body


async def test_real_time_data_is_a_field_of_the_api(mocked):
    headers, body = await sent(mocked, api_key=KEY, extra={"realTimeData": True})
    assert body["realTimeData"] is True
    assert "Flag-Real-Time-Data" not in headers


@pytest.mark.parametrize("dialect", ["api", "website", "messages"])
async def test_extra_fields_join_the_body(mocked, dialect):
    _, body = await sent(mocked, provider=Koala(dialect), api_key=KEY, extra={"tone": "dry", "model": "other"})
    assert (body["tone"], body["model"]) == ("dry", "other")


@pytest.mark.parametrize(
    "name", ["user-agent", "Accept", "REFERER", "Visitor-ID", "Flag-Real-Time-Data", "Accept-Encoding"]
)
async def test_a_header_of_the_callers_wins_in_any_case(mocked, name):
    headers, _ = await sent(mocked, headers={name: "mine"})
    assert [value for key, value in headers.items() if key.lower() == name.lower()] == ["mine"]


@pytest.mark.parametrize(
    ("named", "meant"),
    [(None, "gpt-4o-mini"), ("", "gpt-4o-mini"), ("claude-3.7-sonnet", "claude-3.7-sonnet"), ("new/x", "new/x")],
)
async def test_any_model_is_passed_through_and_none_is_the_default(mocked, named, meant):
    _, body = await sent(mocked, model=named)
    assert body["model"] == meant


async def test_the_path_is_appended_to_a_base_url(mocked):
    mocked.post("http://127.0.0.1:1/proxy/api/gpt/", body='{"output": "ok"}')
    assert (await providerkit.run("hi", provider="koala", base_url="http://127.0.0.1:1/proxy/")).text == "ok"


@pytest.mark.parametrize(
    ("turns", "input_history", "output_history"),
    [
        ("u", [], []),
        ("uau", ["0"], ["1"]),
        ("uauau", ["0", "2"], ["1", "3"]),
        ("uu", ["0"], [""]),
        ("uuu", ["0\n\n1"], [""]),
        ("au", [""], ["0"]),
        ("aau", [""], ["0\n\n1"]),
        ("auau", ["", "1"], ["0", "2"]),
        ("uaauu", ["0", "3"], ["1\n\n2", ""]),
        ("uasau", ["0"], ["1\n\n3"]),
    ],
)
def test_histories_are_pairs(turns, input_history, output_history):
    roles = {"u": "user", "a": "assistant", "s": "system"}
    body = body_of(*((roles[turn], str(index)) for index, turn in enumerate(turns)))
    assert (body["inputHistory"], body["outputHistory"]) == (input_history, output_history)


words = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)


@unhurried
@given(pairs=st.lists(st.tuples(st.text(), st.text())), last=st.text(), systems=st.lists(st.text(), max_size=3))
def test_the_histories_of_a_well_formed_chat_are_the_earlier_texts(pairs, last, systems):
    turns = [turn for user, assistant in pairs for turn in (("user", user), ("assistant", assistant))]
    body = body_of(*(("system", text) for text in systems), *turns, ("user", last))
    assert body == {
        "input": " ".join([last, *systems]),
        "inputHistory": [user for user, _ in pairs],
        "outputHistory": [assistant for _, assistant in pairs],
        "model": "gpt-4o",
    }


@unhurried
@given(earlier=st.lists(st.tuples(st.sampled_from(["user", "assistant"]), words)))
def test_histories_have_equal_length_and_lose_nothing(earlier):
    body = body_of(*earlier, ("user", "last"))
    pairs = list(zip(body["inputHistory"], body["outputHistory"], strict=True))
    halves = [("user", user) for user, _ in pairs], [("assistant", assistant) for _, assistant in pairs]
    told = [half for pair in zip(*halves, strict=True) for half in pair if half[1]]
    assert [(role, text) for role, joined in told for text in joined.split("\n\n")] == earlier


def test_system_texts_follow_the_question_the_options_first():
    turns = [("system", "b"), ("user", "hi"), ("assistant", "ho"), ("system", "c"), ("user", "who?")]
    assert body_of(*turns, system="a")["input"] == "who? a b c"


def test_system_messages_keep_their_place_in_the_messages_dialect():
    turns = [("user", "hi"), ("assistant", "ho"), ("system", "b"), ("user", "who?")]
    sent_turns = [
        (turn["role"], turn["content"]) for turn in body_of(*turns, system="a", dialect="messages")["messages"]
    ]
    assert sent_turns == [("system", "a"), *turns]


@pytest.mark.parametrize("dialect", ["api", "website", "messages"])
@pytest.mark.parametrize(
    ("messages", "options", "option"),
    [
        ([*CHAT, {"role": "assistant", "content": "I eat"}], {}, "prefill"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}], {}, "images"),
        ([{"role": "tool", "content": "5", "tool_call_id": "1"}], {}, "tools"),
        (CHAT, {"tools": [providerkit.Tool("climb")]}, "tools"),
        (CHAT, {"temperature": 0.0}, "temperature"),
        (CHAT, {"top_p": 1}, "top_p"),
        (CHAT, {"max_tokens": 5}, "max_tokens"),
        (CHAT, {"stop": "."}, "stop"),
        (CHAT, {"seed": 0}, "seed"),
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_koala_can_not_serve_is_refused_before_anything_is_sent(mocked, dialect, messages, options, option):
    with pytest.raises(providerkit.UnsupportedFeature, match=f"providerkit providers --supports {option}") as caught:
        providerkit.run(messages, provider=Koala(dialect), api_key=KEY, **options)
    assert (caught.value.option, caught.value.provider) == (option, "koala")
    assert mocked.requests == {}


@pytest.mark.parametrize("dialect", ["api", "website", "messages"])
@pytest.mark.parametrize(
    "messages",
    ["", [], [{"role": "system", "content": "Be brief."}], [{"role": "user"}], [{"content": "hi"}]],
    ids=["no text", "no message", "only a system message", "no content", "no role"],
)
async def test_a_chat_that_is_none_is_refused_before_anything_is_sent(mocked, dialect, messages):
    with pytest.raises(providerkit.InvalidMessages):
        await providerkit.run(messages, provider=Koala(dialect), api_key=KEY)
    assert mocked.requests == {}


async def test_the_api_needs_a_key(mocked):
    with pytest.raises(providerkit.MissingAPIKey, match="KOALA_API_KEY"):
        await providerkit.run("hi", provider=Koala(dialect="api"))
    assert mocked.requests == {}


def test_a_dialect_that_is_none_is_refused_with_those_that_are():
    with pytest.raises(providerkit.InvalidOption, match="'klingon'; it is one of api, website, messages") as caught:
        Koala(dialect="klingon")
    assert caught.value.option == "dialect"
