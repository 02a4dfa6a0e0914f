"""The official `openai` package asks our sandbox, and what it makes of an answer is what we make of it.

It is installed in a tox environment of its own: tox -e openai.
"""

import json

import openai
import pytest
from providerkit_openai import OpenAI

import providerkit
from providerkit import ToolCall
from providerkit.chat.replies import Transcript

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Look outside.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SAID = "You said: 'Hello'. 0 turns came before. This is a sandbox."


@pytest.fixture
def base_url():
    with providerkit.sandbox("openai") as base_url:
        yield f"{base_url}/v1"


@pytest.fixture
def client(base_url):
    with openai.OpenAI(base_url=base_url, api_key="sk-none", max_retries=0) as client:
        yield client


def ask(client, content="Hello", **options):
    messages = [{"role": "user", "content": content}]
    return client.chat.completions.create(model="sandbox", messages=messages, **options)


def test_it_completes(client):
    completion = ask(client)
    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == (SAID, "stop")
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (1, 11)
    assert (completion.object, completion.model, completion._request_id) == (
        "chat.completion",
        "sandbox",
        "req-sandbox",
    )


def test_it_streams(client):
    *chunks, last = ask(client, stream=True, stream_options={"include_usage": True})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]
    assert (last.choices, last.usage.total_tokens) == ([], 12)


async def test_it_streams_without_blocking(base_url):
    async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-none", max_retries=0) as client:
        stream = await ask(client, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == SAID


def test_its_helper_for_streams_is_satisfied(client):
    with client.chat.completions.stream(
        model="sandbox", messages=[{"role": "user", "content": "weather"}], tools=[TOOL]
    ) as stream:
        completion = stream.get_final_completion()
    [call] = completion.choices[0].message.tool_calls
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == (
        "call_0",
        "weather",
        {"city": "weather"},
    )


def test_it_calls_a_tool_and_gives_its_result(client):
    message = ask(client, "weather?", tools=[TOOL]).choices[0].message
    [call] = message.tool_calls
    history = [
        {"role": "user", "content": "weather?"},
        message,
        {"role": "tool", "tool_call_id": call.id, "content": "Sun"},
    ]
    completion = client.chat.completions.create(model="sandbox", messages=history, tools=[TOOL])
    assert completion.choices[0].message.content == "The tools say: Sun. This is a sandbox."


def test_it_lists_models_and_shows_one(client):
    assert [model.id for model in client.models.list()] == ["sandbox", "sandbox-reasoning"]
    assert client.models.retrieve("sandbox").owned_by == "providerkit"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gone")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_it_reads_the_errors(client, status, kind):
    with pytest.raises(kind, match="refuses") as caught:
        client.chat.completions.create(model=f"error-{status}", messages=[{"role": "user", "content": "hi"}])
    assert (caught.value.status_code, caught.value.request_id) == (status, "req-sandbox")


@pytest.mark.parametrize("content", ["Hello", "weather?"])
def test_both_make_the_same_of_an_answer(client, base_url, content):
    theirs = ask(client, content, tools=[TOOL]).choices[0]
    tool = providerkit.Tool(**TOOL["function"])
    ours = providerkit.run(content, provider="openai", model="sandbox", base_url=base_url, tools=[tool]).result()
    calls = [ToolCall(call.id, call.function.name, call.function.arguments) for call in theirs.message.tool_calls or ()]
    assert (theirs.message.content or "", theirs.finish_reason, tuple(calls)) == (
        ours.text,
        ours.finish_reason,
        ours.tool_calls,
    )


@pytest.mark.parametrize("content", ["Hello", "weather?"])
def test_what_its_own_types_write_is_read(client, content):
    chunks = [chunk.model_dump_json() for chunk in ask(client, content, tools=[TOOL], stream=True)]
    stream = "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"])
    whole = ask(client, content, tools=[TOOL]).model_dump_json()
    assert (decoded(stream).text, decoded(stream).tool_calls) == (decoded(whole).text, decoded(whole).tool_calls)
    assert decoded(whole).finish_reason == decoded(stream).finish_reason == ("tool_calls" if "?" in content else "stop")


def decoded(body):
    """Join the events that our decoder makes of a body."""
    decoder = OpenAI().parse_stream(providerkit.ResponseHead(200))
    transcript = Transcript()
    transcript.add(decoder.feed(body.encode()))
    if not transcript.finished:
        transcript.add(decoder.close())
    return transcript.reply()


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}])
def test_it_embeds(client, base_url, form):
    """The package asks for base64, and decodes it, unless it is told otherwise."""
    theirs = client.embeddings.create(model="sandbox", input=["Hello", "you"], **form)
    ours = providerkit.embed(["Hello", "you"], provider="openai", model="sandbox", base_url=base_url).result()
    assert [pytest.approx(row.embedding) for row in theirs.data] == list(ours.vectors)
    assert (theirs.usage.prompt_tokens, theirs.model) == (ours.usage.input_tokens, ours.model)
