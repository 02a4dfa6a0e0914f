"""The tool loop: the tools that a model asks for are executed, and it is asked again with what they said.

Each round is a Routing of its own, with another chat and nothing else of its own. The run
ends with the first answer that asks for no tool, or for one that is the caller's to execute,
or when there have been enough rounds.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs
import orjson

from ..chat.events import Event, Finish, ToolResult
from ..chat.messages import Message
from ..chat.parts import FilePart, ImagePart, Part, TextPart, ToolCall
from ..chat.replies import Transcript
from ..errors import ProviderKitError
from ..plugins.boundary import claim, describe
from .clocks import Watch
from .operations import ChatOperation
from .routing import Routing
from .run_state import RunState
from .targets import finalize_error
from .threads import in_thread

Content: TypeAlias = str | tuple[Part, ...]


class ToolLoop:
    """The rounds of one run, batch by batch; `limit` is how often tools are executed at most."""

    def __init__(
        self, state: RunState, question: ChatOperation, transcript: Transcript, limit: int, *, collected: bool
    ) -> None:
        self._state = state
        self._question = question
        self._transcript = transcript
        self._tools = {tool.name: tool for tool in question.tools}
        self._left = limit if self._tools else 0
        self._collected = collected
        self._is_working = False
        self._routing = self._ask()
        self.turns: tuple[Message, ...] = ()  # by the model and by tools, before the answer

    @property
    def is_waiting(self) -> bool:
        """Return whether somebody waits for the next batch."""
        return self._is_working or self._routing.is_waiting

    async def next(self) -> list[Event] | None:
        """Return the next batch of events, None at the end; a Finish that tools follow is held back."""
        events = await self._routing.next()
        if events is None or type(events[-1]) is not Finish or not self._left:
            return events
        calls = self._transcript.reply().tool_calls
        if not calls or not all(map(self._is_ours, calls)):
            return events
        return [*events[:-1], *await self._execute_all(calls)]

    async def aclose(self) -> None:
        """End the run, whether it is at its end or not."""
        try:
            await self._routing.aclose()
        finally:  # it may be cancelled once more
            self._state.tell_end(lambda: self._transcript.reply() if self._transcript.finished else None)

    def fail(self, error: ProviderKitError) -> ProviderKitError:
        """Return an error that ends the run, fit to leave it."""
        self._state.error = finalize_error(error, self._state.bound.first, self._transcript.text)
        return error

    def _ask(self) -> Routing:
        return Routing(self._state, self._question, self._transcript, collected=self._collected)

    def _is_ours(self, call: ToolCall) -> bool:
        """Return whether there is a function to call, or no such tool, which the model must be told."""
        return call.name not in self._tools or self._tools[call.name].function is not None

    async def _execute_all(self, calls: tuple[ToolCall, ...]) -> list[ToolResult]:
        """Execute the tools that were asked for, side by side, and prepare the next round."""
        answer = self._transcript.reply().message
        self._transcript.end_round()
        self._left -= 1
        self._is_working = True
        try:
            results = await self._wait(calls)
            self._go_on((answer, *(result.message for result in results)))
        except ProviderKitError as raised:
            error = raised
        except BaseException as raised:  # noqa: BLE001 - the boundary: a Clock may be anybody's
            error = self._state.broken(raised)
        else:
            return results
        finally:
            self._is_working = False
        raise self.fail(error)

    def _go_on(self, turns: tuple[Message, ...]) -> None:
        """Ask the same with more turns; raises UnsupportedFeature if a route can't serve them."""
        self.turns += turns
        self._question = self._question.with_messages((*self._question.messages, *turns))
        self._state.bound.check(self._question)
        self._routing = self._ask()

    async def _wait(self, calls: Iterable[ToolCall]) -> list[ToolResult]:
        """Wait for the tools, no longer than `total`; each is a task, which it may cancel."""
        bound = self._state.bound
        timeouts = attrs.evolve(bound.timeouts, first_event=None)  # only `total` holds for tools
        watch = Watch(bound.clock, timeouts, self._state.start())
        tasks: list[asyncio.Task[ToolResult]] = []
        try:
            with watch:
                tasks += [asyncio.create_task(self._execute(call)) for call in calls]
                await asyncio.wait(tasks)
        finally:
            watch.close()
            await _end(tasks)
        return [_result(task, call) for task, call in zip(tasks, calls, strict=True)]

    async def _execute(self, call: ToolCall) -> ToolResult:
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


async def _value(function: Any, arguments: dict[str, Any]) -> Content:
    """Call a function, in a thread unless it is async; whatever awaits or iterates in its place is waited for."""
    if _is_async(function):
        value, content = function(**arguments), None
    else:
        value, content = await in_thread(lambda: _called(function, arguments))
    if inspect.isawaitable(value):
        return _content(await value)
    if inspect.isasyncgen(value):
        return _content([item async for item in value])
    return _content(value) if content is None else content


def _is_async(function: Any) -> bool:
    """Return whether a call is known to give a coroutine at once, so that it needs no thread."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _called(function: Callable[..., Any], arguments: dict[str, Any]) -> tuple[Any, Content | None]:
    """Return what a function returns, if it is to be awaited, or else what the model is told."""
    value = function(**arguments)
    if inspect.isgenerator(value):
        value = list(value)
    if inspect.isawaitable(value) or inspect.isasyncgen(value):
        return value, None
    return None, _content(value)


def _content(value: Any) -> Content:
    """Return what the model is told: text and parts as they are, anything else as JSON."""
    parts = value if isinstance(value, (list, tuple)) else (value,)
    if parts and all(isinstance(part, (TextPart, ImagePart, FilePart)) for part in parts):
        return tuple(parts)
    return _encodable(value if isinstance(value, str) else orjson.dumps(value, default=str).decode())


def _encodable(text: str) -> str:
    """Put a question mark in place of each half of a pair, which no JSON can hold."""
    return text.encode(errors="replace").decode()
