"""A run: one call, taken from its start to its end, async or blocking.

A Run is prepared when it is made, so a mistake in the call is told there; nothing is sent
before it is iterated, awaited or asked for its result.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import closing
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from . import sync
from .errors import RunConsumed
from .events import Event, Reply, TextDelta, Transcript
from .exchange import Exchange, Observers
from .messages import Message

if TYPE_CHECKING:
    from .calls import PreparedCall
    from .conversation import Conversation

T = TypeVar("T")
G = TypeVar("G", AsyncGenerator[Any], Generator[Any])


class Run:
    """Hold one call; iterate it for text, await it or call `result()` for the Reply.

    `async for` and `for` both give pieces of text; `events()` gives typed events in both
    ways. Nothing is sent before one of them starts, and a Run is started once. Leaving a
    loop early closes the connection. It can be awaited, but is no coroutine: a task is made
    of it by asyncio.ensure_future. Blocking calls hold up the thread they are made in, so
    code on an event loop awaits instead.
    """

    def __init__(
        self,
        prepare: Callable[[tuple[Message, ...], PreparedCall | None], PreparedCall],
        messages: tuple[Message, ...],
        conversation: Conversation | None = None,
    ) -> None:
        self._prepare = prepare
        self._messages = messages
        self._conversation = conversation
        self._pid = os.getpid()
        self._started = False
        self._iterated = False
        # Weakly, so that leaving a loop early ends the iterator while the Run is kept.
        self._iterator: Callable[[], object] = lambda: None
        self._course: Callable[[], _Course | None] = lambda: None
        self._transcript = Transcript()
        self._prepared = prepare(self._history(), None)

    @property
    def reply(self) -> Reply:
        """Give the Reply so far; complete once the run has ended."""
        return self._transcript.reply()

    def __repr__(self) -> str:
        """Say where it stands: in a notebook this is all that is seen of a Run that nobody started."""
        reply = self.reply
        state = reply.finish_reason or ("ended" if reply.attempts else "started" if self._started else "not started")
        return f"<Run {self._prepared.call.route}: {state}>"

    def __aiter__(self) -> AsyncIterator[str]:
        return self._iterate(_each(self._start(), _texts))

    def __iter__(self) -> Iterator[str]:
        return self._iterate(_each_blocking(self._start(), _texts))

    def events(self) -> Events:
        """Give the typed events, async or blocking by how they are iterated."""
        return Events(self)

    def __await__(self) -> Generator[Any, None, Reply]:
        return self._collect(self._start()).__await__()

    def result(self) -> Reply:
        """Wait for the whole answer."""
        return sync.call(self._collect(self._start()))

    def close(self) -> None:
        """End a blocking iteration and close its connection; the Run can't be started any more."""
        self._started = True
        self._check_nobody_waits()
        iterator = self._iterator()
        if isinstance(iterator, AsyncGeneratorType):
            raise RunConsumed("this Run is iterated by async code; close it there with `await run.aclose()`")
        if isinstance(iterator, GeneratorType):
            iterator.close()

    async def aclose(self) -> None:
        """End the iteration and close its connection; the Run can't be started any more."""
        self._check_nobody_waits()
        iterator = self._iterator()
        if isinstance(iterator, AsyncGeneratorType):
            await iterator.aclose()
        else:
            self.close()
            course = self._course()
            if course is not None:  # of a loop that was left, and that its event loop has not closed yet
                await course.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()

    def _check_nobody_waits(self) -> None:
        iterator, course = self._iterator(), self._course()
        match iterator:
            case AsyncGeneratorType():
                waits = iterator.ag_running
            case GeneratorType():
                waits = iterator.gi_running
            case _:
                waits = course is not None and course.is_waiting
        if waits:
            raise RunConsumed("another task or thread waits for this Run; cancel that one to end it")

    def _history(self) -> tuple[Message, ...]:
        return self._messages if self._conversation is None else (*self._conversation.messages, *self._messages)

    def _start(self) -> _Course:
        if self._started:
            raise RunConsumed("this Run has been started already; call run() again for another answer")
        if self._pid != os.getpid():
            raise RunConsumed("this Run was made before a fork; make it anew in this process")
        if self._conversation is not None:
            self._conversation._begin(self)
        self._prepared = self._prepare(self._history(), self._prepared)
        course = _Course(self, self._prepared)
        self._course = weakref.ref(course)
        self._started = True
        return course

    async def _collect(self, course: _Course) -> Reply:
        try:
            while await course.next() is not None:
                pass
            course.commit()
        finally:
            await course.aclose()
            course.release()
        return self.reply

    def _iterate(self, iterator: G) -> G:
        self._iterator = weakref.ref(iterator)
        self._iterated = True
        return iterator

    def _is_abandoned(self) -> bool:
        """Tell whether nothing goes on with this, though its event loop may not have closed it yet."""
        return self._course() is None or (self._iterated and self._iterator() is None)


class _Course:
    """Take a run from its start to its end, batch by batch."""

    def __init__(self, run: Run, prepared: PreparedCall) -> None:
        self._run = run
        self._call = prepared.call
        self._transcript = run._transcript
        hooks, chat, model = self._call.hooks, self._call.chat, self._call.model
        self._transcript.provider, self._transcript.model = hooks.info.name, model.name
        self._observers = Observers(hooks.observe(chat, model))
        self._transport = hooks.wrap_transport(prepared.transport)
        self._exchange: Exchange | None = None
        self._ended = False
        self.is_waiting = False

    async def next(self) -> list[Event] | None:
        """Give the next batch of events; None at the end."""
        if self._exchange is None:
            self._exchange = Exchange(self._call, self._transport, self._observers, self._transcript)
        self.is_waiting = True
        try:
            return await self._exchange.next()
        finally:
            self.is_waiting = False

    async def aclose(self) -> None:
        """End the run, whether it is at its end or not."""
        if self._ended or self._exchange is None:
            return
        self._ended = True
        await self._exchange.aclose()
        reply = self._transcript.reply()
        finished = self._transcript.finished
        if finished:
            self._observers.tell("finish", reply)
        else:
            self._observers.tell("error", reply.attempts[-1].error)

    def commit(self) -> None:
        """Note that the caller has had all of it."""
        if self._run._conversation is not None:
            self._run._conversation._commit(self._run)

    def release(self) -> None:
        """Note that the caller has left, at the end or before."""
        if self._run._conversation is not None:
            self._run._conversation._release(self._run)


@attrs.frozen
class Events:
    """Hold the events of a Run, to be iterated once, async or blocking."""

    _run: Run

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._run._iterate(_each(self._run._start(), _all))

    def __iter__(self) -> Iterator[Event]:
        return self._run._iterate(_each_blocking(self._run._start(), _all))


def _texts(batch: list[Event]) -> list[str]:
    return [event.text for event in batch if type(event) is TextDelta and event.text]


def _all(batch: list[Event]) -> list[Event]:
    return batch


async def _each(course: _Course, pick: Callable[[list[Event]], list[T]]) -> AsyncGenerator[T]:
    try:
        while (batch := await course.next()) is not None:
            for item in pick(batch):
                yield item
        course.commit()
    finally:
        await course.aclose()
        course.release()


def _each_blocking(course: _Course, pick: Callable[[list[Event]], list[T]]) -> Generator[T]:
    try:
        with closing(sync.iterate(course)) as batches:
            for batch in batches:
                yield from pick(batch)
        course.commit()
    finally:
        course.release()
