"""Koala's imitation, asked over loopback in all three dialects."""

import aiohttp
import pytest
from providerkit_koala import Koala

import providerkit

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A koala."},
    {"role": "user", "content": "What is a koala?"},
]
DIALECTS = ("api", "website", "messages")


@pytest.mark.parametrize(
    ("dialect", "asked"),
    [
        ("api", "What is a koala? Be brief."),
        ("website", "What is a koala? Be brief."),
        ("messages", "What is a koala?"),
    ],
)
@pytest.mark.parametrize(
    ("messages", "turns"),
    [(CHAT, "2 turns"), (CHAT[1:2] + CHAT[3:], "1 turn"), ([CHAT[0], CHAT[3]], "0 turns")],
    ids=["two", "one", "none"],
)
async def test_the_sandbox_repeats_what_it_was_asked_and_counts_the_turns(sandbox, dialect, asked, messages, turns):
    messages = [CHAT[0], *(message for message in messages if message["role"] != "system")]
    for _ in range(2):  # it remembers nothing
        reply = await providerkit.run(messages, provider=Koala(dialect), api_key="koala-key", base_url=sandbox)
        said = f"You said: '{asked}'. {turns} came before. This is Koala's sandbox."
        assert (reply.text, reply.finish_reason, reply.proven) == (said, "stop", True)


def test_blocking_callers_ask_it_too():
    with providerkit.sandbox("koala") as base_url:
        assert "".join(providerkit.run("hi", provider="koala", base_url=base_url)).startswith("You said: 'hi'.")


@pytest.mark.parametrize("dialect", ["website", "messages"])
async def test_an_answer_comes_word_by_word(sandbox, dialect):
    run = providerkit.run("You and You", provider=Koala(dialect), base_url=sandbox)
    words = "You| said:| 'You| and| You'.| 0| turns| came| before.| This| is| Koala's| sandbox."
    assert [text async for text in run] == words.split("|")


@pytest.mark.parametrize(
    ("body", "done"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, True),
        ({"input": "hi", "inputHistory": [], "outputHistory": []}, False),
    ],
    ids=["messages", "website"],
)
async def test_the_end_is_said_in_the_messages_dialect_alone(sandbox, body, done):
    async with aiohttp.ClientSession() as session, session.post(f"{sandbox}/api/gpt/", json=body) as response:
        assert response.content_type == "text/event-stream"
        assert (await response.text()).endswith("data: [DONE]\n\n") is done


async def test_the_answer_of_the_api_comes_whole(sandbox):
    run = providerkit.run("You and You", provider="koala", api_key="koala-key", base_url=sandbox)
    assert [text async for text in run] == [
        "You said: 'You and You'. 0 turns came before. This is Koala's sandbox.",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"input": "hi", "inputHistory": ["a"], "outputHistory": []},
        {"input": "hi", "inputHistory": []},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": "hi"},
        ["hi"],
        None,
    ],
)
async def test_what_is_no_request_of_koalas_is_a_bad_request(sandbox, body):
    async with aiohttp.ClientSession() as session, session.post(f"{sandbox}/api/gpt/", json=body) as response:
        assert response.status == 400
        assert "not a request of Koala's" in (await response.json())["error"]


async def test_extra_fields_that_break_the_request_are_a_bad_request_with_the_sandboxs_words(sandbox):
    extra = {"inputHistory": ["one more"]}
    with pytest.raises(providerkit.BadRequest, match="differ in length"):
        await providerkit.run("hi", provider="koala", base_url=sandbox, extra=extra)
