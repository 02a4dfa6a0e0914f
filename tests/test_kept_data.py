"""What a provider wants back unchanged survives a conversation, in its place, and no other provider sees it.

The stub wires here refuse an answer of theirs that comes back with anything missing, moved or added.
"""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from loopback import Received, http, serve

import providerkit
from providerkit import (
    EventStream,
    Finish,
    Message,
    Model,
    ProviderData,
    ProviderInfo,
    ReasoningDelta,
    ReasoningPart,
    Request,
    TextDelta,
    TextPart,
    ToolCall,
    ToolCallDelta,
    hookimpl,
    loads,
)


class Thinker:
    """A provider that signs its thoughts, between texts and calls, and wants them back where they were."""

    name = "thinker"

    @hookimpl
    def describe(self) -> ProviderInfo:
        supports = {"history", "tools", "provider_data", "images"}
        return ProviderInfo(self.name, default_base_url="http://127.0.0.1:9", default_model="deep", supports=supports)

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        return Model(name or "deep")

    @hookimpl
    def build_request(self, chat: providerkit.Chat, endpoint: providerkit.Endpoint) -> Request:
        turns = [[turn.role, *filter(None, map(self._part, turn.parts))] for turn in chat.turns]
        return Request.json(endpoint.url("/think"), {"turns": turns, "tools": len(chat.tools)})

    def _part(self, part: providerkit.Part) -> Any:
        match part:
            case TextPart():
                return {"text": part.text}
            case ToolCall():
                return {"call": part.id, "name": part.name, "arguments": part.arguments}
            case ProviderData():
                return {"signed": part.value, "by": part.provider}
        return None

    @hookimpl
    def parse_stream(self) -> EventStream:
        return EventStream(lambda data, event: self._events(loads(data)))

    def _events(self, value: dict[str, Any]) -> list[providerkit.Event]:
        match value:
            case {"thought": text}:
                return [ReasoningDelta(text)]
            case {"signed": signature}:
                return [ProviderData(signature, keep=True)]
            case {"text": text}:
                return [TextDelta(text)]
            case {"call": id, "name": name, "arguments": arguments, "index": index}:
                return [ToolCallDelta(index, id, name, arguments)]
        return [Finish("stop")]


class Plain(Thinker):
    """A provider that knows nothing of parts."""

    name = "plain"

    @hookimpl
    def describe(self) -> ProviderInfo:
        supports = {"history", "tools"}
        return ProviderInfo(self.name, default_base_url="http://127.0.0.1:9", default_model="flat", supports=supports)

    @hookimpl
    def build_request(self, chat: providerkit.Chat, endpoint: providerkit.Endpoint) -> Request:
        turns = [[turn.role, turn.content, [call.id for call in turn.tool_calls]] for turn in chat.turns]
        return Request.json(endpoint.url("/say"), {"turns": turns})


def stream(*values: dict[str, Any]) -> bytes:
    return http(b"".join(f"data: {json.dumps(value)}\n\n".encode() for value in (*values, {"end": 1})))


def asks(number: int) -> list[dict[str, Any]]:
    """Think, speak, call twice with a signed thought between the calls, and sign the whole."""
    return [
        {"thought": "Hm "},
        {"signed": {"thinking": "Hm ", "signature": f"s{number}a"}},
        {"text": f"Let me look ({number}). "},
        {"call": f"c{number}a", "name": "look", "arguments": '{"city": "Rome"}', "index": 0},
        {"signed": {"thinking": "", "signature": f"s{number}b"}},
        {"call": f"c{number}b", "name": "look", "arguments": '{"city": "Oslo"}', "index": 1},
        {"signed": {"redacted": f"r{number}"}},
    ]


def sent_back(number: int) -> list[Any]:
    """How that answer must come back."""
    parts = []
    for value in asks(number):
        if "thought" not in value:
            parts.append({name: item for name, item in value.items() if name != "index"})
            if "signed" in value:
                parts[-1]["by"] = "thinker"
    return ["assistant", *parts]


class Server:
    """Asks for tools in each of the first rounds; refuses an answer that comes back changed."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.turns: list[list[Any]] = []

    async def __call__(self, received: Received, writer: asyncio.StreamWriter) -> None:
        self.turns = json.loads(received.body)["turns"]
        answered = [turn for turn in self.turns if turn[0] == "assistant"]
        asked = [turn for turn in answered if any("call" in part for part in turn[1:])]
        if asked != [sent_back(number) for number in range(len(asked))]:
            writer.write(http(b'{"error": "a signed thought is missing or moved"}', status=400))
        elif len(asked) < self.rounds:
            writer.write(stream(*asks(len(asked))))
        else:
            writer.write(stream({"text": f"Done after {len(asked)}."}))
        await writer.drain()
        writer.close()


def look(city: str) -> str:
    """Look outside."""
    return f"sun in {city}"


@asynccontextmanager
async def thinking(rounds: int = 2) -> AsyncIterator[tuple[Server, providerkit.Conversation]]:
    asked = Server(rounds)
    async with serve(asked) as server, providerkit.Client() as client:
        yield asked, client.run(provider=Thinker, base_url=server.base_url, tools=[look])


async def test_signed_thoughts_come_back_in_their_places_over_two_rounds():
    async with thinking() as (server, chat):
        reply = await chat.send("Sun?")
        assert reply.text == "Done after 2."
        kinds = [type(part).__name__ for part in chat.messages[1].parts]
        assert kinds == [
            "ReasoningPart",
            "ProviderData",
            "TextPart",
            "ToolCall",
            "ProviderData",
            "ToolCall",
            "ProviderData",
        ]
        assert (await chat.send("And now?")).text == "Done after 2."
        assert [turn[0] for turn in server.turns].count("tool") == 4


async def test_streamed_events_and_the_reply_agree():
    async with thinking() as (_, chat):
        events = [event async for event in chat.send("Sun?").events()]
    kept = [event for event in events if isinstance(event, ProviderData)]
    assert [event.value for event in kept if "redacted" in event.value] == [{"redacted": "r0"}, {"redacted": "r1"}]


@pytest.mark.parametrize(
    "way",
    [
        lambda chat: chat.copy(),
        copy.deepcopy,
    ],
    ids=["copy", "deepcopy"],
)
async def test_a_copy_of_a_conversation_keeps_them(way: Any):
    async with thinking() as (_, chat):
        await chat.send("Sun?")
        other = way(chat)
        assert (await other.send("And now?")).text == "Done after 2."
        assert (len(chat.messages), len(other.messages)) == (6 + 2, 8 + 2)


async def test_messages_that_were_pickled_keep_them():
    async with thinking() as (server, chat):
        await chat.send("Sun?")
        messages = pickle.loads(pickle.dumps(chat.messages))  # noqa: S301 - our own
        assert messages == chat.messages
        async with serve(server) as again:
            reply = await providerkit.run(
                [*messages, Message("user", "And now?")], provider=Thinker, base_url=again.base_url, tools=[look]
            )
        assert reply.text == "Done after 2."


async def test_a_fallback_to_another_provider_sees_none_of_them():
    async with thinking() as (_, chat):
        await chat.send("Sun?")
        messages = chat.messages
    seen: list[Any] = []

    async def plain(received: Received, writer: asyncio.StreamWriter) -> None:
        seen.append(json.loads(received.body)["turns"])
        writer.write(stream({"text": "Plainly."}))
        await writer.drain()
        writer.close()

    async with serve(http(status=401)) as refusing, serve(plain) as other:
        reply = await providerkit.run(
            [*messages, Message("user", "And now?")],
            provider=Thinker,
            base_url=refusing.base_url,
            fallback=[providerkit.Route(Plain, base_url=other.base_url)],
        )
    assert (reply.text, reply.provider) == ("Plainly.", "plain")
    assert seen[0][1] == ["assistant", "Let me look (0). ", ["c0a", "c0b"]]
    assert [word for word in ("s0a", "Hm", "r0") if word in json.dumps(seen)] == []


async def test_another_provider_that_keeps_data_is_given_its_own_alone():
    class Other(Thinker):
        name = "other"

        @hookimpl
        def describe(self) -> ProviderInfo:
            return ProviderInfo("other", default_model="deep", supports={"history", "provider_data"})

    history = [
        Message("user", "hi"),
        Message(
            "assistant",
            [
                ProviderData("mine", keep=True, provider="other"),
                ProviderData("not mine", keep=True, provider="thinker"),
                ProviderData("anybody's", keep=True),
                TextPart("Hello."),
            ],
        ),
        Message("user", "again"),
    ]
    async with serve(stream({"text": "Yes."})) as server:
        await providerkit.run(history, provider=Other, base_url=server.base_url)
    (received,) = server.requests
    assert json.loads(received.body)["turns"][1] == [
        "assistant",
        {"signed": "mine", "by": "other"},
        {"signed": "anybody's", "by": None},
        {"text": "Hello."},
    ]


def test_data_that_the_caller_puts_in_for_a_provider_that_takes_none_is_refused():
    message = Message("user", [TextPart("hi"), ProviderData("mark", provider="plain")])
    with pytest.raises(providerkit.UnsupportedFeature, match="provider data for plain, which takes none") as caught:
        providerkit.run([message], provider=Plain)
    assert (caught.value.option, caught.value.provider) == ("provider_data", "plain")


def test_data_that_the_caller_puts_in_for_a_provider_that_is_not_asked_is_refused():
    message = Message("user", [TextPart("hi"), ProviderData("mark", provider="thinker")])
    with pytest.raises(providerkit.InvalidMessages, match="provider data for 'thinker', but this call asks plain"):
        providerkit.run([message], provider=Plain)


async def test_data_that_is_not_to_be_kept_is_in_the_reply_alone():
    class Chatty(Thinker):
        def _events(self, value: dict[str, Any]) -> list[providerkit.Event]:
            return [ProviderData(value["signed"])] if "signed" in value else super()._events(value)

    async with serve(stream({"text": "a"}, {"signed": 1}, {"text": "b"})) as server:
        reply = await providerkit.run("hi", provider=Chatty, base_url=server.base_url)
    assert reply.data == (ProviderData(1, provider="thinker"),)
    assert reply.message == Message("assistant", "ab")


def test_a_message_is_one_storage_with_views():
    call = ToolCall("1", "f", "{}")
    message = Message("assistant", [ReasoningPart("Hm."), TextPart("a"), call, TextPart("b")])
    assert (message.text, message.reasoning, message.tool_calls) == ("ab", "Hm.", (call,))
    assert Message("assistant", "a", tool_calls=[call]) == Message("assistant", [TextPart("a"), call])
    assert hash(Message("user", "a")) == hash(Message("user", [TextPart("a")]))
    assert Message("user", "").parts == ()
    assert "ProviderData(keep=True, provider='x')" in repr(Message("user", [ProviderData("key", True, "x")]))


async def test_a_tool_may_answer_with_an_image():
    picture = providerkit.ImagePart("https://birds.example/a.png")
    seen: list[Any] = []

    class Painter(Thinker):
        @hookimpl
        def build_request(self, chat: providerkit.Chat, endpoint: providerkit.Endpoint) -> Request:
            seen.append(chat.messages[-1])
            return super().build_request(chat, endpoint)

    def paint(city: str) -> Any:
        return picture if city == "Rome" else ["a list", "of words"]

    async with serve(Server(1)) as server:
        run = providerkit.run(
            "Paint",
            provider=Painter,
            base_url=server.base_url,
            tools=[providerkit.Tool.from_function(paint, name="look")],
        )
        reply = await asyncio.create_task(run.collect())
    assert reply.text == "Done after 1."
    assert seen[-1] == Message("tool", '["a list","of words"]', tool_call_id="c0b", name="look")
    results = [part for turn in server.requests[1:] for part in [json.loads(turn.body)["turns"][2:4]]]
    assert results == [[["tool"], ["tool", {"text": '["a list","of words"]'}]]]
