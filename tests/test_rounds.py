"""Rounds: tools are run for the model, and it is asked again, until it needs no more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from asking import ONCE
from chat_completions import ChatCompletions, answer, tool_call

import providerkit
from providerkit import Message, Tool, ToolCall, ToolResult, loads
from providerkit.testing import faults
from providerkit.testing.faults import Fault, FaultServer

CHAT = ChatCompletions()


def weather(city: str) -> str:
    """Look outside."""
    return f"sun in {city}"


async def distance(start: str, end: str) -> dict[str, int]:
    """Measure."""
    await asyncio.sleep(0)
    return {"km": len(start) * len(end)}


def fails(city: str) -> str:
    """Fail."""
    raise KeyError(city)


TOOLS = [Tool.from_function(function) for function in (weather, distance, fails)]


def asks(*calls: tuple[str, str]) -> Fault:
    """Answer by calls of tools, after a word."""
    pieces = [tool_call(arguments, index=index, name=name) for index, (name, arguments) in enumerate(calls)]
    deltas = [{"content": "Let me see. "}, *(delta for piece in pieces for delta in piece)]
    return faults.says(*answer(*deltas, reason="tool_calls"))


def says(text: str) -> Fault:
    return faults.says(*answer({"content": text}))


@attrs.frozen
class Talk:
    server: FaultServer
    chat: providerkit.Conversation

    def asked(self, number: int) -> list[dict[str, Any]]:
        """Give the messages of a request."""
        messages: list[dict[str, Any]] = loads(self.server.log[number].body)["messages"]
        return messages


@asynccontextmanager
async def talk(*script: Fault, **options: Any) -> AsyncIterator[Talk]:
    server = FaultServer(list(script))
    async with server as url, providerkit.Client(retry=ONCE) as client:
        yield Talk(server, client.run(provider=CHAT, base_url=url, **({"tools": TOOLS} | options)))


ROME = ("weather", '{"city": "Rome"}')


async def test_a_tool_is_run_and_the_model_is_told_what_it_said():
    async with talk(asks(ROME), says("Sunny.")) as rome:
        reply = await rome.chat.send("How is the weather?")
        assert (reply.text, reply.finish_reason, reply.tool_calls) == ("Sunny.", "stop", ())
        assert rome.asked(1)[1:] == [
            {
                "role": "assistant",
                "content": "Let me see. ",
                "tool_calls": [
                    {"id": "call-0", "type": "function", "function": {"name": "weather", "arguments": ROME[1]}}
                ],
            },
            {"role": "tool", "content": "sun in Rome", "tool_call_id": "call-0"},
        ]
    call = ToolCall("call-0", *ROME)
    assert rome.chat.messages == (
        Message("user", "How is the weather?"),
        Message("assistant", "Let me see. ", tool_calls=(call,)),
        Message("tool", "sun in Rome", tool_call_id="call-0"),
        Message("assistant", "Sunny."),
    )
    assert [attempt.error for attempt in reply.attempts] == [None, None]


async def test_the_next_send_remembers_the_tools():
    async with talk(asks(ROME), says("Sunny."), says("Yes.")) as rome:
        await rome.chat.send("How is the weather?")
        assert (await rome.chat.send("Really?")).text == "Yes."
        assert [message["role"] for message in rome.asked(2)] == ["user", "assistant", "tool", "assistant", "user"]


async def test_ids_that_the_wire_leaves_out_are_unique_in_all_rounds_and_sends():
    """The message that answers a call names it, and strict services refuse an id that comes twice."""
    function = {"name": "weather", "arguments": '{"city": "Rome"}'}
    calls = [{"index": index, "function": function} for index in (0, 1)]
    unnamed = faults.says(*answer({"tool_calls": calls}, reason="tool_calls"))
    async with talk(unnamed, unnamed, says("Sunny."), unnamed, says("Still sunny.")) as rome:
        events = [event async for event in rome.chat.send("?").events()]
        await rome.chat.send("And now?")
        sent = rome.asked(4)
    called = [call["id"] for message in sent for call in message.get("tool_calls", ())]
    assert called == ["call_0", "call_1", "call_2", "call_3", "call_4", "call_5"]
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == called
    results = [event for event in events if isinstance(event, ToolResult)]
    assert [result.call.id for result in results] == called[:4]
    named = {event.id for event in events if isinstance(event, providerkit.ToolCallDelta) and event.id}
    assert named == set(called[:4])


async def test_events_show_the_rounds_and_one_finish():
    async with talk(asks(ROME, ("fails", '{"city": "x"}')), says("Sunny.")) as rome:
        events = [event async for event in rome.chat.send("?").events()]
    results = [event for event in events if isinstance(event, ToolResult)]
    assert results == [
        ToolResult(ToolCall("call-0", *ROME), "sun in Rome"),
        ToolResult(ToolCall("call-1", "fails", '{"city": "x"}'), "KeyError: 'x'", failed=True),
    ]
    assert [type(event) for event in events].count(providerkit.Finish) == 1
    assert events[-1] == providerkit.Finish("stop")
    assert events.index(results[0]) > events.index(providerkit.TextDelta("Let me see. "))
    assert events.index(providerkit.TextDelta("Sunny.")) > events.index(results[1])


async def test_tools_of_one_answer_run_side_by_side():
    together = threading.Barrier(2, timeout=60)  # each waits for the other

    def meet(name: str) -> str:
        together.wait()
        return name

    calls = [("meet", '{"name": "a"}'), ("meet", '{"name": "b"}')]
    async with talk(asks(*calls), says("Met."), tools=[Tool.from_function(meet)]) as both:
        assert (await both.chat.send("Meet.")).text == "Met."
        assert [message["content"] for message in both.asked(1)[2:]] == ["a", "b"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("distance", '{"start": "ab", "end": "cde"}'), '{"km":6}'),
        (("fails", '{"city": "Rome"}'), "KeyError: 'Rome'"),
        (("weather", "{}"), "TypeError: weather() missing 1 required positional argument: 'city'"),
        (("weather", '{"city"'), "StreamMalformed: the model's arguments for the tool 'weather' are no JSON object"),
        (("wether", "{}"), "LookupError: there is no tool 'wether'; there are: weather, distance, fails"),
    ],
    ids=["async", "it raises", "a missing argument", "no JSON", "no such tool"],
)
async def test_the_model_is_told_what_comes_of_its_call(call: tuple[str, str], told: str):
    async with talk(asks(call), says("I see.")) as rome:
        assert (await rome.chat.send("?")).text == "I see."
        assert rome.asked(1)[-1]["content"].startswith(told)


@pytest.mark.parametrize("nothing", ["", "null", " "])
async def test_a_tool_without_parameters_is_run_whatever_stands_for_none(nothing: str):
    def now() -> str:
        return "noon"

    async with talk(asks(("now", nothing)), says("Noon."), tools=[Tool.from_function(now)]) as clock:
        await clock.chat.send("?")
        assert clock.asked(1)[-1]["content"] == "noon"


async def test_an_answer_without_text_and_calls_is_no_turn():
    """Services refuse an assistant's message that is empty, and with it all that is asked later."""
    thoughts = faults.says(*answer({"reasoning_content": "Let me see"}, reason="length"))
    async with talk(thoughts, says("Hello.")) as chat:
        reply = await chat.chat.send("hi")
        assert (reply.text, reply.reasoning, reply.finish_reason) == ("", "Let me see", "length")
        assert chat.chat.messages == (Message("user", "hi"),)
        await chat.chat.send("and now?")
        assert [turn.text for turn in chat.chat.messages] == ["hi", "and now?", "Hello."]


@pytest.mark.parametrize(("rounds", "requests"), [(0, 1), (1, 2), (3, 4)])
async def test_after_so_many_rounds_the_calls_are_the_callers(rounds: int, requests: int):
    async with talk(asks(ROME)) as rome:
        reply = await rome.chat.send("?", rounds=rounds)
        assert len(rome.server.log) == requests
    assert (reply.finish_reason, [call.name for call in reply.tool_calls]) == ("tool_calls", ["weather"])
    assert len(rome.chat.messages) == 2 + 2 * rounds


async def test_ten_rounds_are_enough():
    async with talk(asks(ROME)) as rome:
        await rome.chat.send("?")
        assert len(rome.server.log) == 11


async def test_a_tool_without_a_function_is_the_callers():
    schema = Tool("weather", parameters={"type": "object"})
    async with talk(asks(ROME), tools=[schema]) as rome:
        reply = await rome.chat.send("?")
    assert [call.name for call in reply.tool_calls] == ["weather"]


async def test_calls_of_tools_that_nobody_gave_are_the_callers():
    async with talk(asks(ROME), tools=[]) as rome:
        reply = await rome.chat.send("?")
        assert len(rome.server.log) == 1
    assert [call.name for call in reply.tool_calls] == ["weather"]


async def test_a_run_without_a_conversation_runs_no_tool():
    server = FaultServer(asks(ROME))
    async with server as url:
        reply = await providerkit.run("?", provider=CHAT, base_url=url, tools=TOOLS)
    assert [call.name for call in reply.tool_calls] == ["weather"]


@pytest.mark.parametrize("fault", [faults.status(404), faults.close(after=0)])
async def test_a_round_that_fails_leaves_the_conversation_as_it_was(fault: Fault):
    async with talk(asks(ROME), fault, says("Hello.")) as rome:
        with pytest.raises(providerkit.ProviderKitError):
            await rome.chat.send("?")
        assert rome.chat.messages == ()
        assert (await rome.chat.send("Hi")).text == "Hello."


async def test_cancelling_while_a_tool_runs_ends_the_tool_and_the_run():
    started, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        """Take for ever."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    async with talk(asks(("slow", "{}")), tools=[Tool.from_function(slow)]) as rome:
        run = rome.chat.send("?")
        task = asyncio.ensure_future(run)
        await started.wait()
        with pytest.raises(providerkit.RunConsumed, match="waits for this Run"):
            await run.aclose()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        assert rome.chat.messages == ()


def test_blocking_callers_have_their_tools_run_too():
    server = FaultServer([asks(ROME), says("Sunny.")])
    with server as url, providerkit.Client() as client:
        chat = client.run(provider=CHAT, base_url=url, tools=TOOLS)
        assert list(chat.send("?")) == ["Let me see. ", "Sunny."]
    assert [message.role for message in chat.messages] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("rounds", [-1, 1.5, None, True, "3"])
def test_rounds_are_a_whole_number(rounds: object):
    chat = providerkit.run(provider=CHAT)
    send: Callable[..., object] = chat.send
    with pytest.raises(providerkit.InvalidOption, match="rounds is") as caught:
        send("?", rounds=rounds)
    assert caught.value.option == "rounds"
