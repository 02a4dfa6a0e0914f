"""A run: one call, taken from its start to its end, async or blocking.

A Run is prepared when it is made, so a mistake in the call is told there; nothing is sent
before it is iterated, awaited or asked for its result.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import closing
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Protocol, Self, TypeVar

import attrs

from .chat.events import Event, TextDelta
from .chat.messages import Message
from .chat.replies import Reply, Transcript
from .engine import blocking
from .engine.plan import Plan
from .engine.run_state import RunState
from .engine.tool_loop import ToolLoop
from .errors import ProviderKitError, RunConsumed

T = TypeVar("T")
G = TypeVar("G", AsyncGenerator[Any], Generator[Any])


class Turns(Protocol):
    """The history that a run begins with, and adds to: how a conversation and its runs know each other."""

    def peek(self) -> tuple[Message, ...]:
        """Return the turns that a run begins with."""
        ...

    def begin(self, run: Run) -> None:
        """Note that a run has started; raises RunConsumed if it can't."""
        ...

    def commit(self, run: Run, turns: tuple[Message, ...]) -> None:
        """Take in the turns of a run whose answer the caller has had, and its answer."""
        ...

    def release(self, run: Run) -> None:
        """Note that the caller has left a run, at its end or before."""
        ...


class NoTurns:
    """The history of a run that stands alone."""

    def peek(self) -> tuple[Message, ...]:
        """Return no turns."""
        return ()

    def begin(self, run: Run) -> None:
        """Let every run start."""

    def commit(self, run: Run, turns: tuple[Message, ...]) -> None:
        """Forget the turns."""

    def release(self, run: Run) -> None:
        """Do nothing."""


_NO_TURNS = NoTurns()


class Run:
    """One call; iterate it for text, await it or call `result()` for the Reply.

    `async for` and `for` both give pieces of text; `events()` gives typed events in both
    ways. Nothing is sent before one of them starts, and a Run is started once. Leaving a
    loop early closes the connection. It can be awaited, but is not a coroutine: a task is
    made of `collect()`. Blocking calls hold up the thread they are made in, so code on an
    event loop awaits instead.
    """

    def __init__(self, plan: Plan, messages: tuple[Message, ...], turns: Turns = _NO_TURNS) -> None:
        self._plan = plan
        self._messages = messages
        self._turns = turns
        self._process = blocking.process()
        self._started = False
        self._iterated = False
        # Weakly, so that leaving a loop early ends the iterator while the Run is kept.
        self._iterator: Callable[[], object] = lambda: None
        self._loop: Callable[[], ToolLoop | None] = lambda: None
        self._blocking: blocking.Iteration[list[Event]] | None = None
        self._transcript = Transcript()
        self._bound = plan.bind()
        self._question = plan.ask(self._bound, self._history(), messages)

    @property
    def reply(self) -> Reply:
        """Give the Reply so far; complete once the run has ended."""
        return self._transcript.reply()

    def __repr__(self) -> str:
        """Say where it stands: in a notebook this is all that is seen of a Run that nobody started."""
        reply = self.reply
        state = reply.finish_reason or ("ended" if reply.attempts else "started" if self._started else "not started")
        return f"<Run {self._bound.first.route}: {state}>"

    def _repr_markdown_(self) -> str:
        """Show in a notebook where it stands and the text so far; this starts nothing."""
        hint = "" if self._started else "Nothing is sent before it is iterated, awaited or asked for its `result()`."
        return "\n\n".join(filter(None, (f"`{self!r}`", hint, self._transcript.text)))

    def __aiter__(self) -> AsyncIterator[str]:
        return self._iterate(_each(self, self._start(), _texts))

    def __iter__(self) -> Iterator[str]:
        return self._iterate(_each_blocking(self, self._start(), _texts))

    def events(self) -> Events:
        """Give the typed events, async or blocking by how they are iterated."""
        return Events(self)

    def __await__(self) -> Generator[Any, None, Reply]:
        return self._collect(self._start(collected=True)).__await__()

    async def collect(self) -> Reply:
        """Return the whole answer, as awaiting the Run does; a coroutine, so that a task can be made of it."""
        return await self

    def result(self) -> Reply:
        """Wait for the whole answer; raises ProviderError, TransportError or StreamError where none comes."""
        return blocking.call(self._collect(self._start(collected=True)))

    def close(self) -> None:
        """End a blocking iteration and close its connection; the Run can't be started any more."""
        if self._is_inherited():
            return
        self._started = True
        self._check_nobody_waits()
        iterator = self._iterator()
        if isinstance(iterator, AsyncGeneratorType):
            raise RunConsumed("this Run is iterated by async code; close it there with `await run.aclose()`")
        if isinstance(iterator, GeneratorType):
            iterator.close()
        if self._blocking is not None:
            self._blocking.close()

    async def aclose(self) -> None:
        """End the iteration and close its connection; the Run can't be started any more."""
        if self._is_inherited():
            return
        self._check_nobody_waits()
        iterator = self._iterator()
        if isinstance(iterator, AsyncGeneratorType):
            await iterator.aclose()
        else:
            self.close()
            loop = self._loop()
            if loop is not None:  # of a loop that was left, and that its event loop has not closed yet
                await loop.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()

    def _check_nobody_waits(self) -> None:
        iterator, loop = self._iterator(), self._loop()
        match iterator:
            case AsyncGeneratorType():
                waits = iterator.ag_running
            case GeneratorType():
                waits = iterator.gi_running
            case _:  # a blocking loop that was left is about to end
                waits = loop is not None and loop.is_waiting and self._blocking is None
        if waits:
            raise RunConsumed("another task or thread waits for this Run; cancel that one to end it")

    def _is_inherited(self) -> bool:
        """Tell whether this is a fork, and the Run its parent's, where it goes on."""
        return self._process != blocking.process()

    def _history(self) -> tuple[Message, ...]:
        return (*self._turns.peek(), *self._messages)

    def _start(self, *, collected: bool = False) -> ToolLoop:
        if self._started:
            raise RunConsumed("this Run has been started already; call run() again for another answer")
        blocking.check_process(self._process)
        self._turns.begin(self)
        self._ask_again()
        state = RunState(self._bound, "chat", self._question.chat(self._bound.first), self._transcript.attempts)
        loop = ToolLoop(state, self._question, self._transcript, self._plan.rounds, collected=collected)
        self._loop = weakref.ref(loop)
        self._started = True
        return loop

    def _ask_again(self) -> None:
        """Ask with the history and the extensions of now, if they are others than when the Run was made."""
        bound, history = self._plan.bind(), self._history()
        if bound is not self._bound or history != self._question.messages:
            self._bound = bound
            self._question = self._plan.ask(bound, history, self._messages)

    async def _collect(self, loop: ToolLoop) -> Reply:
        try:
            while not self._transcript.finished and await loop.next() is not None:
                pass
            self._commit(loop)
        finally:
            self._turns.release(self)  # first, for closing may be cancelled
            await loop.aclose()
        return self.reply

    def _commit(self, loop: ToolLoop) -> None:
        """Note that the caller has had all of it; raises StreamMalformed if it is not of the type asked for."""
        if self._plan.typed is not None and not (reply := self.reply).tool_calls:
            self._transcript.parsed = self._parsed(loop, reply.text)
        self._turns.commit(self, (*self._messages, *loop.turns))

    def _parsed(self, loop: ToolLoop, text: str) -> Any:
        assert self._plan.typed is not None  # its caller has seen it
        try:
            return self._plan.typed.parse(text)
        except ProviderKitError as error:
            raise loop.fail(error) from None

    def _iterate(self, iterator: G) -> G:
        self._iterator = weakref.ref(iterator)
        self._iterated = True
        return iterator

    def is_abandoned(self) -> bool:
        """Tell whether nothing goes on with this here, though its event loop may not have closed it yet."""
        if self._is_inherited():
            return True
        return self._loop() is None or (self._iterated and self._iterator() is None)


@attrs.frozen
class Events:
    """Hold the events of a Run, to be iterated once, async or blocking."""

    _run: Run

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._run._iterate(_each(self._run, self._run._start(), _all))

    def __iter__(self) -> Iterator[Event]:
        return self._run._iterate(_each_blocking(self._run, self._run._start(), _all))


def _texts(batch: list[Event]) -> list[str]:
    return [event.text for event in batch if type(event) is TextDelta and event.text]


def _all(batch: list[Event]) -> list[Event]:
    return batch


async def _each(run: Run, loop: ToolLoop, pick: Callable[[list[Event]], list[T]]) -> AsyncGenerator[T]:
    try:
        while (batch := await loop.next()) is not None:
            for item in pick(batch):
                yield item
        run._commit(loop)
    finally:
        run._turns.release(run)  # first, for closing may be cancelled
        await loop.aclose()


def _each_blocking(run: Run, loop: ToolLoop, pick: Callable[[list[Event]], list[T]]) -> Generator[T]:
    try:
        run._blocking = blocking.Iteration(loop)
        with closing(iter(run._blocking)) as batches:
            for batch in batches:
                yield from pick(batch)
        run._commit(loop)
    finally:
        run._turns.release(run)
