"""The imitation of the wire, asked over loopback by our own plugin and by plain HTTP."""

import json

import aiohttp
import pytest

import providerkit
from providerkit import Answered, ReasoningDelta, TextDelta, Tool, ToolCall, Usage

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A model."},
    {"role": "user", "content": "Which?"},
]
WEATHER = Tool(
    "weather",
    "Look outside.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"enum": ["C", "F"]},
            "hours": {"type": "array", "items": {"type": "number"}},
            "wind": {"type": "boolean"},
        },
    },
)
TIME = Tool("time")


async def ask(base_url, messages=CHAT, **options):
    return await providerkit.run(messages, provider="openai", base_url=base_url, **options)


async def post(base_url, body, path="/v1/chat/completions"):
    async with aiohttp.ClientSession() as session, session.post(f"{base_url}{path}", json=body) as response:
        return response.status, response.headers, await response.json()


@pytest.mark.parametrize("extra", [{}, {"stream": False}], ids=["a stream", "whole"])
async def test_it_repeats_what_it_was_asked_and_counts_the_turns(sandbox, extra):
    for _ in range(2):  # it remembers nothing
        reply = await ask(sandbox, extra=extra)
        assert reply.text == "You said: 'Which?'. 2 turns came before. This is a sandbox."
        assert (reply.finish_reason, reply.proven, reply.request_id) == ("stop", True, "req-sandbox")
        assert reply.usage == Usage(8, 11, 0, None, 0)


async def test_an_answer_comes_word_by_word(sandbox):
    run = providerkit.run(CHAT[3:], provider="openai", base_url=sandbox)
    words = "You| said:| 'Which?'.| 0| turns| came| before.| This| is| a| sandbox."
    assert [text async for text in run] == words.split("|")


async def test_one_turn_is_one(sandbox):
    assert "1 turn came" in (await ask(sandbox, CHAT[2:])).text


async def test_usage_is_told_where_it_is_asked_for(sandbox):
    async with aiohttp.ClientSession() as session:
        for options, told in (({}, 0), ({"stream_options": {"include_usage": True}}, 1)):
            body = {"model": "m", "messages": CHAT, "stream": True, **options}
            async with session.post(f"{sandbox}/v1/chat/completions", json=body) as response:
                answer = await response.text()
            assert answer.endswith("data: [DONE]\n\n")
            assert answer.count('"usage"') == told


async def test_it_thinks_where_its_name_says_so(sandbox):
    run = providerkit.run("hi there", provider="openai", model="sandbox-reasoning", base_url=sandbox)
    found = [event async for event in run.events()]
    assert found[:5] == [
        Answered("sandbox-reasoning", "chatcmpl-sandbox"),
        ReasoningDelta("They"),
        ReasoningDelta(" say"),
        ReasoningDelta(" 'hi"),
        ReasoningDelta(" there'."),
    ]
    assert type(found[5]) is TextDelta
    assert run.reply.usage.reasoning_tokens == 4


@pytest.mark.parametrize("provider", ["openai", "openrouter", "deepseek", "together", "ollama"])
@pytest.mark.parametrize(
    ("model", "effort", "thinks"),
    [
        ("sandbox", None, False),
        ("sandbox", "none", False),
        ("sandbox", "high", True),
        ("sandbox-reasoning", None, True),
        ("sandbox-reasoning", "none", False),
        ("sandbox-reasoning", "low", True),
    ],
)
async def test_it_thinks_as_much_as_it_is_asked_in_the_words_of_any_service(sandbox, provider, model, effort, thinks):
    options = {"model": model, "base_url": sandbox, "api_key": "sk-none"}
    reply = await providerkit.run("hi", provider=provider, reasoning=effort, **options)
    assert bool(reply.reasoning) is thinks


async def test_an_image_is_named(sandbox):
    content = [{"type": "text", "text": "What is"}, {"type": "image_url", "image_url": {"url": "data:image/png,x"}}]
    assert "'What is [image_url]'" in (await ask(sandbox, [{"role": "user", "content": content}])).text


async def test_it_calls_the_tools_that_are_named(sandbox):
    arguments = {"city": "weather, time", "days": 1, "unit": "C", "hours": [1], "wind": True}
    expected = (ToolCall("call_0", "weather", json.dumps(arguments)), ToolCall("call_1", "time", "{}"))
    for extra in ({}, {"stream": False}):
        reply = await ask(sandbox, "weather, time", tools=[WEATHER, TIME], extra=extra)
        assert (reply.text, reply.tool_calls, reply.finish_reason) == ("", expected, "tool_calls")


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", []),
        ("none", []),
        ("required", ["weather"]),
        ({"type": "function", "function": {"name": "time"}}, ["time"]),
    ],
    ids=str,
)
async def test_it_calls_the_tools_it_must(sandbox, choice, called):
    reply = await ask(sandbox, "hi", tools=[WEATHER, TIME], extra={"tool_choice": choice})
    assert [call.name for call in reply.tool_calls] == called


async def test_it_calls_none_where_it_must_not(sandbox):
    assert (await ask(sandbox, "time", tools=[TIME], extra={"tool_choice": "none"})).tool_calls == ()


async def test_it_repeats_what_the_tools_say(sandbox):
    first = await ask(sandbox, "weather and time", tools=[WEATHER, TIME])
    results = [
        {"role": "tool", "content": result, "tool_call_id": call.id}
        for call, result in zip(first.tool_calls, ["Sun", "Noon"], strict=True)
    ]
    history = [providerkit.Message("user", "weather and time"), first.message, *results]
    assert (await ask(sandbox, history, tools=[WEATHER, TIME])).text == "The tools say: Sun, Noon. This is a sandbox."


async def test_a_conversation_takes_the_results_of_several_tools_at_once(sandbox):
    chat = providerkit.run(provider="openai", base_url=sandbox, tools=[WEATHER, TIME])
    reply, rounds = await chat.send("weather and time"), 0
    while reply.tool_calls:
        rounds += 1
        results = [providerkit.Message("tool", call.name, tool_call_id=call.id) for call in reply.tool_calls]
        reply = await chat.send(results)
    assert (rounds, reply.text) == (1, "The tools say: weather, time. This is a sandbox.")
    assert [turn.role for turn in chat.messages] == ["user", "assistant", "tool", "tool", "assistant"]


async def test_it_answers_by_a_schema(sandbox):
    reply = await ask(sandbox, "Rome", response_format=WEATHER.parameters)
    assert json.loads(reply.text) == {"city": "Rome", "days": 1, "unit": "C", "hours": [1], "wind": True}
    reply = await ask(sandbox, "Rome", response_format={"type": "json_object"})
    assert json.loads(reply.text) == {"you_said": "Rome"}


async def test_it_stops_where_it_is_told(sandbox):
    reply = await ask(sandbox, "Rome", max_tokens=2)
    assert (reply.text, reply.finish_reason) == ("You said:", "length")
    for stop in ("turns", ["turns", "said"]):
        reply = await ask(sandbox, "Rome", stop=stop)
        assert (reply.text, reply.finish_reason) == (
            "You " if isinstance(stop, list) else "You said: 'Rome'. 0 ",
            "stop",
        )
    assert (await ask(sandbox, "Rome", stop="You")).text == ""


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, providerkit.BadRequest),
        (401, providerkit.AuthenticationError),
        (429, providerkit.RateLimited),
        (503, providerkit.ServerError),
    ],
)
async def test_it_refuses_where_its_name_says_so(sandbox, status, kind):
    with pytest.raises(kind) as caught:
        await ask(sandbox, model=f"error-{status}", retry=providerkit.Retry(attempts=1))
    assert (caught.value.status, caught.value.request_id) == (status, "req-sandbox")


async def test_it_lists_its_models(sandbox):
    found = await providerkit.provider("openai").models(base_url=sandbox)
    assert [model.name for model in found] == ["sandbox", "sandbox-reasoning"]


@pytest.mark.parametrize("path", ["/v1/models/sandbox", "/openai/v1/models/sandbox", "/models/sandbox"])
async def test_it_shows_one_model_at_any_path(sandbox, path):
    async with aiohttp.ClientSession() as session, session.get(f"{sandbox}{path}") as response:
        assert (response.status, (await response.json())["id"]) == (200, "sandbox")


@pytest.mark.parametrize("path", ["/v1/models/x/y", "/v1/embeddings", "/"])
async def test_what_it_does_not_have_is_not_found(sandbox, path):
    async with aiohttp.ClientSession() as session, session.get(f"{sandbox}{path}") as response:
        assert (response.status, (await response.json())["error"]["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "m"},
        {"model": "m", "messages": []},
        {"model": "m", "messages": [{"role": "user"}]},
        {"model": 5, "messages": CHAT},
        {"model": "m", "messages": CHAT, "response_format": {"type": "json_schema"}},
        ["hi"],
        None,
    ],
    ids=json.dumps,
)
async def test_what_is_no_request_is_a_bad_request(sandbox, body):
    status, headers, answer = await post(sandbox, body)
    assert (status, headers["x-request-id"]) == (400, "req-sandbox")
    assert answer["error"]["message"].startswith("This is not a request of this wire")
    assert answer["error"]["type"] == "invalid_request_error"


def test_blocking_callers_and_the_command_line_ask_it_too():
    with providerkit.sandbox("openai") as base_url:
        assert "".join(providerkit.run("hi", provider="openai", base_url=base_url)).startswith("You said: 'hi'.")
