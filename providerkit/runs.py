"""A run: one call, taken from its start to its end, async or blocking.

A Run is prepared when it is made, so a mistake in the call is told there; nothing is sent
before it is iterated, awaited or asked for its result.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import closing
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from .chat.events import Event, TextDelta
from .chat.messages import Message
from .chat.replies import Reply, Transcript
from .engine import blocking as sync
from .engine.routing import Routing, RunState
from .engine.tool_loop import Rounds
from .errors import RunConsumed

if TYPE_CHECKING:
    from .conversation import Conversation
    from .engine.plan import PreparedCall

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
        rounds: int = 0,
    ) -> None:
        self._prepare = prepare
        self._messages = messages
        self._conversation = conversation
        self._rounds = rounds
        self._state: RunState | None = None
        self._pid = sync.process()
        self._started = False
        self._iterated = False
        # Weakly, so that leaving a loop early ends the iterator while the Run is kept.
        self._iterator: Callable[[], object] = lambda: None
        self._routing: Callable[[], Routing | Rounds | None] = lambda: None
        self._blocking: sync.Iteration[list[Event]] | None = None
        self._transcript = Transcript()
        self._prepared = prepare(self._history(), None)

    @property
    def _turns(self) -> tuple[Message, ...]:
        """What was asked, what the model and its tools said in between, and the answer."""
        said = self._state.said if self._state else ()
        return (*self._messages, *said, self.reply.message)

    @property
    def reply(self) -> Reply:
        """Give the Reply so far; complete once the run has ended."""
        return self._transcript.reply()

    def __repr__(self) -> str:
        """Say where it stands: in a notebook this is all that is seen of a Run that nobody started."""
        reply = self.reply
        state = reply.finish_reason or ("ended" if reply.attempts else "started" if self._started else "not started")
        return f"<Run {self._prepared.first.route}: {state}>"

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

    def result(self) -> Reply:
        """Wait for the whole answer; raises ProviderError, TransportError or StreamError where none comes."""
        return sync.call(self._collect(self._start(collected=True)))

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
            routing = self._routing()
            if routing is not None:  # of a loop that was left, and that its event loop has not closed yet
                await routing.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()

    def _check_nobody_waits(self) -> None:
        iterator, routing = self._iterator(), self._routing()
        match iterator:
            case AsyncGeneratorType():
                waits = iterator.ag_running
            case GeneratorType():
                waits = iterator.gi_running
            case _:  # a blocking loop that was left is about to end
                waits = routing is not None and routing.is_waiting and self._blocking is None
        if waits:
            raise RunConsumed("another task or thread waits for this Run; cancel that one to end it")

    def _is_inherited(self) -> bool:
        """Tell whether this is a fork, and the Run its parent's, where it goes on."""
        return self._pid != sync.process()

    def _history(self) -> tuple[Message, ...]:
        return self._messages if self._conversation is None else (*self._conversation.messages, *self._messages)

    def _start(self, *, collected: bool = False) -> Routing | Rounds:
        if self._started:
            raise RunConsumed("this Run has been started already; call run() again for another answer")
        sync.check_process(self._pid)
        if self._conversation is not None:
            self._conversation._begin(self)
        self._prepared = self._prepare(self._history(), self._prepared)
        self._state = state = RunState(self._prepared, self._transcript, collected=collected)
        tools = self._prepared.first.chat.tools if self._rounds else ()
        routing = Rounds(state, tools, self._rounds) if tools else Routing(state)
        self._routing = weakref.ref(routing)
        self._started = True
        return routing

    async def _collect(self, routing: Routing | Rounds) -> Reply:
        try:
            while await routing.next() is not None:
                pass
            self._commit()
        finally:
            self._release()  # first, for closing may be cancelled
            await routing.aclose()
        return self.reply

    def _commit(self) -> None:
        """Note that the caller has had all of it."""
        if self._conversation is not None:
            self._conversation._commit(self)

    def _release(self) -> None:
        """Note that the caller has left, at the end or before."""
        if self._conversation is not None:
            self._conversation._release(self)

    def _iterate(self, iterator: G) -> G:
        self._iterator = weakref.ref(iterator)
        self._iterated = True
        return iterator

    def _is_abandoned(self) -> bool:
        """Tell whether nothing goes on with this here, though its event loop may not have closed it yet."""
        if self._is_inherited():
            return True
        return self._routing() is None or (self._iterated and self._iterator() is None)


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


async def _each(run: Run, routing: Routing | Rounds, pick: Callable[[list[Event]], list[T]]) -> AsyncGenerator[T]:
    try:
        while (batch := await routing.next()) is not None:
            for item in pick(batch):
                yield item
        run._commit()
    finally:
        run._release()  # first, for closing may be cancelled
        await routing.aclose()


def _each_blocking(run: Run, routing: Routing | Rounds, pick: Callable[[list[Event]], list[T]]) -> Generator[T]:
    try:
        run._blocking = sync.Iteration(routing)
        with closing(iter(run._blocking)) as batches:
            for batch in batches:
                yield from pick(batch)
        run._commit()
    finally:
        run._release()
