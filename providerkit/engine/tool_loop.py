"""Rounds: what a model asks of tools is done, and it is asked again with what they said.

Each round is a Routing of its own, of one RunState. The run ends with the first answer that
asks for no tool, or for one that is not ours to run, or when there have been enough.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import orjson

from ..chat.events import Event, Finish, ToolResult
from ..chat.parts import ToolCall
from ..chat.tools import Tool
from ..errors import ProviderKitError
from ..plugins.boundary import claim, describe
from .clocks import Watch
from .routing import Routing, RunState
from .targets import told
from .threads import in_thread


class Rounds:
    """Take a run over its rounds, batch by batch; `limit` is how often tools are run at most."""

    def __init__(self, run: RunState, tools: Iterable[Tool], limit: int) -> None:
        self._run = run
        self._tools = {tool.name: tool for tool in tools}
        self._left = limit
        self._is_working = False
        self._routing = Routing(run)

    @property
    def is_waiting(self) -> bool:
        """Tell whether somebody waits for the next batch."""
        return self._is_working or self._routing.is_waiting

    async def next(self) -> list[Event] | None:
        """Give the next batch of events; None at the end. A Finish that tools follow is held back."""
        events = await self._routing.next()
        if events is None or type(events[-1]) is not Finish or not self._left:
            return events
        calls = self._run.transcript.reply().tool_calls
        if not calls or not all(map(self._is_ours, calls)):
            return events
        return [*events[:-1], *await self._use_all(calls)]

    async def aclose(self) -> None:
        """End the run, whether it is at its end or not."""
        await self._routing.aclose()

    def _is_ours(self, call: ToolCall) -> bool:
        """Tell whether there is a function to call, or no such tool, which the model must be told."""
        return call.name not in self._tools or self._tools[call.name].function is not None

    async def _use_all(self, calls: tuple[ToolCall, ...]) -> list[ToolResult]:
        """Run the tools that were asked for, side by side, and prepare the next round."""
        run = self._run
        answer = run.transcript.reply().message
        run.transcript.end_round()
        self._left -= 1
        self._is_working = True
        try:
            results = await self._wait(calls)
            run.go_on((answer, *(result.message for result in results)))
            self._routing = Routing(run)
        except ProviderKitError as raised:
            error = raised
        except BaseException as raised:  # noqa: BLE001 - the boundary: a Clock may be anybody's
            error = run.broken(raised)
        else:
            return results
        finally:
            self._is_working = False
        run.error = told(error, run.prepared.first, run.transcript.text)
        raise error

    async def _wait(self, calls: Iterable[ToolCall]) -> list[ToolResult]:
        """Wait for the tools, no longer than `total`; each is a task, which it may cancel."""
        run = self._run
        assert run.started is not None  # a round has ended
        timeouts = attrs.evolve(run.prepared.first.timeouts, first_event=None)  # only `total` holds for tools
        watch = Watch(run.clock, timeouts, run.started)
        tasks: list[asyncio.Task[ToolResult]] = []
        try:
            with watch:
                tasks += [asyncio.create_task(self._use(call)) for call in calls]
                await asyncio.wait(tasks)
        finally:
            watch.close()
            await _end(tasks)
        return [_result(task, call) for task, call in zip(tasks, calls, strict=True)]

    async def _use(self, call: ToolCall) -> ToolResult:
        try:
            if call.name not in self._tools:
                raise LookupError(f"there is no tool {call.name!r}; there are: {', '.join(self._tools)}")
            return ToolResult(call, await _value(self._tools[call.name].function, call.parsed))
        except BaseException as error:  # noqa: BLE001 - the boundary of the tool: the model may do better if it is told
            return ToolResult(call, _encodable(describe(claim(error))), failed=True)


def _result(task: asyncio.Task[ToolResult], call: ToolCall) -> ToolResult:
    """Return the result of a task that is done, of one that its tool has cancelled, too."""
    return (
        ToolResult(call, "CancelledError: the tool was cancelled", failed=True) if task.cancelled() else task.result()
    )


async def _end(tasks: list[asyncio.Task[ToolResult]]) -> None:
    """Cancel what still runs, and wait for it."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)


async def _value(function: Any, arguments: dict[str, Any]) -> str:
    """Call a function, in a thread unless it is async; whatever awaits or iterates in its place is waited for."""
    if _is_async(function):
        value, text = function(**arguments), None
    else:
        value, text = await in_thread(lambda: _called(function, arguments))
    if inspect.isawaitable(value):
        return _text(await value)
    if inspect.isasyncgen(value):
        return _text([item async for item in value])
    return _text(value) if text is None else text


def _is_async(function: Any) -> bool:
    """Return whether a call is known to give a coroutine at once, so that it needs no thread."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _called(function: Callable[..., Any], arguments: dict[str, Any]) -> tuple[Any, str | None]:
    """Return what a function returns, if it is to be awaited, or its text."""
    value = function(**arguments)
    if inspect.isgenerator(value):
        value = list(value)
    if inspect.isawaitable(value) or inspect.isasyncgen(value):
        return value, None
    return None, _text(value)


def _text(value: Any) -> str:
    return _encodable(value if isinstance(value, str) else orjson.dumps(value, default=str).decode())


def _encodable(text: str) -> str:
    """Put a question mark in place of each half of a pair, which no JSON can hold."""
    return text.encode(errors="replace").decode()
