"""Rounds: what a model asks of tools is done, and it is asked again with what they said.

Each round is a Routing of its own. It ends with the first answer that asks for no tool, or
for one that is not ours to run, or when there have been enough.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from .events import Event, Finish, ToolResult, Transcript
from .messages import Message, Tool, ToolCall
from .routing import Routing


class Rounds:
    """Take a run over its rounds, batch by batch.

    `begin` starts a round, given all that was said since the run began; `limit` is how often
    tools are run at most.
    """

    def __init__(
        self,
        begin: Callable[[tuple[Message, ...]], Routing],
        transcript: Transcript,
        tools: Iterable[Tool],
        limit: int,
    ) -> None:
        self._begin = begin
        self._transcript = transcript
        self._tools = {tool.name: tool for tool in tools}
        self._left = limit
        self._said: tuple[Message, ...] = ()
        self._is_working = False
        self._routing = begin(())

    @property
    def is_waiting(self) -> bool:
        """Tell whether somebody waits for the next batch."""
        return self._is_working or self._routing.is_waiting

    async def next(self) -> list[Event] | None:
        """Give the next batch of events; None at the end. A Finish that tools follow is held back."""
        events = await self._routing.next()
        if events is None or type(events[-1]) is not Finish or not self._left:
            return events
        answer = self._transcript.reply()
        if not answer.tool_calls or not all(map(self._is_ours, answer.tool_calls)):
            return events
        await self._routing.aclose()
        results = await self._use_all(answer.tool_calls)
        self._said = (*self._said, answer.message, *(result.message for result in results))
        self._left -= 1
        self._routing = self._begin(self._said)
        return [*events[:-1], *results]

    async def aclose(self) -> None:
        """End the run, whether it is at its end or not."""
        await self._routing.aclose()

    def _is_ours(self, call: ToolCall) -> bool:
        """Tell whether there is a function to call, or no such tool, which the model must be told."""
        return call.name not in self._tools or self._tools[call.name].function is not None

    async def _use_all(self, calls: Iterable[ToolCall]) -> list[ToolResult]:
        """Run the tools that were asked for, side by side."""
        self._is_working = True
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._use(call)) for call in calls]
        finally:
            self._is_working = False
        return [task.result() for task in tasks]

    async def _use(self, call: ToolCall) -> ToolResult:
        try:
            if call.name not in self._tools:
                raise LookupError(f"there is no tool {call.name!r}; there are: {', '.join(self._tools)}")
            return ToolResult(call, _text(await _value(self._tools[call.name].function, call.parsed)))
        except Exception as error:  # noqa: BLE001 - the boundary of the tool: the model may do better if it is told
            return ToolResult(call, f"{type(error).__name__}: {error}", failed=True)


async def _value(function: Any, arguments: dict[str, Any]) -> Any:
    """Call a function: one that is async here, another in a thread, where it holds up no other call."""
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    return await asyncio.to_thread(function, **arguments)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
