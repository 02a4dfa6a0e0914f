"""Rounds: tools are run for the model, and it is asked again, until it needs no more."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from asking import ONCE, Told
from chat_completions import ChatCompletions, answer, tool_call
from clocks import HandClock

import providerkit
from providerkit import Message, Tool, ToolCall, ToolResult, Usage, hookimpl, loads
from providerkit.engine import blocking as sync
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
        """Return the messages of a request."""
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
        Message("tool", "sun in Rome", tool_call_id="call-0", name="weather"),
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
        (("weather", '{"city"'), "StreamMalformed: the model's arguments for the tool 'weather' are not a JSON object"),
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


@pytest.mark.parametrize("rounds", [-1, 1.5, True, "3"])
def test_rounds_are_a_whole_number(rounds: object):
    chat = providerkit.run(provider=CHAT)
    send: Callable[..., object] = chat.send
    with pytest.raises(providerkit.InvalidOption, match="rounds is") as caught:
        send("?", rounds=rounds)
    assert caught.value.option == "rounds"


# What a tool raises, and what it returns.

OTHER_KINDS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "CancelledError of a thread": concurrent.futures.CancelledError,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "Failed": lambda: pytest.fail.Exception("no"),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("two", [SystemExit(3)]),
}


def failing_tools(make: Callable[[], BaseException]) -> dict[str, Callable[..., Any]]:
    """Return tools of each kind that fail: in a thread, on the loop, and while what they return is awaited or read."""

    def plain() -> str:
        raise make()

    async def asynchronous() -> str:
        raise make()

    def awaitable() -> Any:
        return asynchronous()

    def generator() -> Any:
        yield "a"
        raise make()

    async def asynchronous_generator() -> Any:
        yield "a"
        raise make()

    class Unshown:
        def __str__(self) -> str:
            raise make()

    def unshown() -> Any:
        return Unshown()

    async def unshown_on_the_loop() -> Any:
        return Unshown()

    tools = (plain, asynchronous, awaitable, generator, asynchronous_generator, unshown, unshown_on_the_loop)
    return {function.__name__: function for function in tools}


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("way", failing_tools(RuntimeError))
async def test_whatever_a_tool_raises_is_told_to_the_model(way: str, kind: str):
    tool = Tool("fail", function=failing_tools(OTHER_KINDS[kind])[way])
    async with talk(asks(("fail", "{}"), ROME), says("I see."), tools=[tool, *TOOLS]) as rome:
        events = [event async for event in rome.chat.send("?").events()]
    results = [event for event in events if isinstance(event, ToolResult)]
    assert [result.failed for result in results] == [True, False]
    assert results[0].content.startswith((kind.partition(" ")[0], "RuntimeError", "TypeError"))


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_whatever_a_tool_raises_is_told_to_the_model_of_blocking_callers_too(kind: str):
    home = sync.loop_thread()
    tools = [Tool(name, function=function) for name, function in failing_tools(OTHER_KINDS[kind]).items()]
    server = FaultServer([asks(*((tool.name, "{}") for tool in tools)), says("I see.")])
    with server as url, providerkit.Client() as client:
        assert client.run(provider=CHAT, base_url=url, tools=tools).send("?").result().text == "I see."
    assert sync.loop_thread() is home


async def test_a_tool_that_cancels_its_task_ends_itself_alone():
    async def leave() -> str:
        """Leave."""
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return ""

    async with talk(asks(("leave", "{}"), ROME), says("I see."), tools=[Tool.from_function(leave), *TOOLS]) as rome:
        assert (await rome.chat.send("?")).text == "I see."
        assert [message["content"] for message in rome.asked(1)[2:]] == [
            "CancelledError: the tool was cancelled",
            "sun in Rome",
        ]


class Weather:
    """Look outside."""

    __name__ = "look"

    async def __call__(self, city: str) -> str:
        return await distance_word(city)


async def distance_word(city: str) -> str:
    await asyncio.sleep(0)
    return f"sun in {city}"


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


async def pieces(city: str) -> AsyncIterator[str]:
    yield "sun"
    yield city


def listed(city: str) -> Any:
    yield from ("sun", city)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (weather, "sun in Rome"),
        (distance_word, "sun in Rome"),
        (Weather(), "sun in Rome"),
        (Weather().__call__, "sun in Rome"),
        (functools.partial(distance_word), "sun in Rome"),
        (functools.partial(Weather()), "sun in Rome"),
        (traced(distance_word), "sun in Rome"),
        (traced(Weather()), "sun in Rome"),
        (lambda city: asyncio.run(distance_word(city)), "sun in Rome"),
        (pieces, '["sun","Rome"]'),
        (listed, '["sun","Rome"]'),
        (lambda city: {city}, "{'Rome'}"),
        (lambda city: "half a pair: \ud800", "half a pair: ?"),
    ],
)
async def test_what_a_tool_returns_is_waited_for(function: Callable[..., Any], told: str):
    async with talk(asks(("look", ROME[1])), says("Sunny."), tools=[Tool("look", function=function)]) as rome:
        await rome.chat.send("?")
        assert rome.asked(1)[-1]["content"] in (told, f'"{told}"')


# All rounds are one run.


class Witness:
    """An extension that counts what it is asked and told."""

    def __init__(self) -> None:
        self.told = Told()
        self.wrapped = 0

    @hookimpl
    def observe(self) -> Told:
        self.told.facts.append(("observe",))
        return self.told

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Iterator[None]:
        self.wrapped += 1
        return (yield)

    def ends(self) -> list[str]:
        return [str(fact[0]) for fact in self.told.facts if fact[0] in ("observe", "finish", "error")]


async def test_observers_are_asked_once_and_told_one_end():
    witness = Witness()
    async with talk(asks(ROME), asks(ROME), says("Sunny."), extensions=[witness]) as rome:
        reply = await rome.chat.send("?")
    assert (witness.ends(), witness.wrapped) == (["observe", "finish"], 1)
    assert witness.told.facts[-1] == ("finish", reply)
    assert len(reply.attempts) == 3


async def test_usage_is_that_of_all_rounds():
    async with talk(asks(ROME), asks(ROME, ROME), says("Sunny.")) as rome:
        reply = await rome.chat.send("?")
    assert reply.usage == Usage(input_tokens=21, output_tokens=4 + 7 + 1)


async def test_usage_is_of_the_rounds_that_say_it():
    async with talk(asks(ROME), faults.says(*answer({"content": "a"})[:-2], b"data: [DONE]\n\n")) as rome:
        assert (await rome.chat.send("?")).usage == Usage(input_tokens=7, output_tokens=4)


async def test_a_round_that_answered_is_not_called_left():
    async with talk(asks(ROME), faults.status(404)) as rome:
        with pytest.raises(providerkit.NotFound) as caught:
            await rome.chat.send("?")
    assert caught.value.__notes__[0].splitlines()[:2] == ["After 2 attempts:", "chat/model: answered"]


async def test_a_run_that_fails_in_a_later_round_is_told_as_failed():
    witness = Witness()
    async with talk(asks(ROME), faults.status(404), extensions=[witness]) as rome:
        with pytest.raises(providerkit.NotFound) as caught:
            await rome.chat.send("?")
    assert witness.ends() == ["observe", "error"]
    assert witness.told.facts[-1] == ("error", caught.value)


@pytest.mark.parametrize("way", ["async", "in a thread"])
async def test_total_ends_a_run_while_a_tool_works(way: str):
    witness, clock = Witness(), HandClock()
    released = threading.Event()

    async def waits() -> str:
        clock.advance(10)
        await asyncio.Event().wait()
        return ""

    loop = asyncio.get_running_loop()

    def blocks() -> str:
        loop.call_soon_threadsafe(clock.advance, 10)
        released.wait()
        return ""

    tool = Tool("work", function=waits if way == "async" else blocks)
    server = FaultServer([asks(("work", "{}"))])
    timeouts = providerkit.Timeouts(first_event=None, idle=None, total=5)
    async with server as url, providerkit.Client(clock=clock, timeouts=timeouts) as client:
        chat = client.run(provider=CHAT, base_url=url, tools=[tool], extensions=[witness])
        with pytest.raises(providerkit.TimedOut) as caught:
            await chat.send("?")
    released.set()
    assert (caught.value.clock, witness.ends(), chat.messages) == ("total", ["observe", "error"], ())


async def test_total_is_over_all_rounds():
    clock = HandClock()

    def takes_its_time(city: str) -> str:
        """Take four seconds."""
        clock.seconds += 4
        return city

    tool = Tool("weather", function=takes_its_time)
    server = FaultServer([asks(ROME)])
    async with server as url, providerkit.Client(clock=clock, timeouts=providerkit.Timeouts(total=10)) as client:
        with pytest.raises(providerkit.TimedOut) as caught:
            await client.run(provider=CHAT, base_url=url, tools=[tool]).send("?")
        assert (caught.value.clock, len(server.log)) == ("total", 3)


async def test_a_run_that_is_left_while_a_tool_works_is_told_as_left():
    witness, started = Witness(), asyncio.Event()

    async def waits() -> str:
        started.set()
        await asyncio.Event().wait()
        return ""

    async with talk(asks(("work", "{}")), tools=[Tool("work", function=waits)], extensions=[witness]) as rome:
        task = asyncio.ensure_future(rome.chat.send("?"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (witness.ends(), witness.told.facts[-1]) == (["observe", "error"], ("error", None))


async def test_a_clock_that_breaks_while_tools_work_ends_the_run():
    class Breaking(HandClock):
        broken = False

        def now(self) -> float:
            if self.broken:
                raise SystemExit(3)
            return super().now()

    clock = Breaking()

    def work() -> str:
        clock.broken = True
        return ""

    server = FaultServer([asks(("work", "{}"))])
    async with server as url, providerkit.Client(clock=clock) as client:
        with pytest.raises(providerkit.PluginError, match="the Client's clock"):
            await client.run(provider=CHAT, base_url=url, tools=[Tool("work", function=work)]).send("?")


async def test_a_provider_that_serves_no_history_says_so_after_the_tools():
    class Forgetful(ChatCompletions):
        @hookimpl
        def describe(self) -> providerkit.ProviderInfo:
            info = ChatCompletions.describe(self)
            return attrs.evolve(info, supports=info.supports - {"history"})

    server = FaultServer([asks(ROME)])
    async with server as url, providerkit.Client() as client:
        with pytest.raises(providerkit.UnsupportedFeature, match="history"):
            await client.run(provider=Forgetful("chat"), base_url=url, tools=TOOLS).send("?")
