"""The one door between blocking callers and the event loop.

Blocking calls run on one event loop in a background thread, started on first use and
stopped at exit, so they work in scripts, threads, notebooks and under a running loop, and
share pooled connections. Batches of events are handed over whole, and the loop waits
where the caller does not keep up.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
from collections.abc import Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from .errors import RunConsumed

T = TypeVar("T")
B = TypeVar("B", covariant=True)

AHEAD = 32  # batches that may wait for the caller before the loop stops reading


_process = os.getpid()


def _note_fork() -> None:
    global _process  # the one number of this process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):  # pragma: no branch - only Windows has none, where nothing forks
    os.register_at_fork(after_in_child=_note_fork)


def process() -> int:
    """Give the number of this process, as it was when it began: a run asks for every event, and the system is slow."""
    return _process


class LoopThread:
    """Run an event loop in a daemon thread."""

    def __init__(self) -> None:
        self.pid = process()
        self.loop = asyncio.new_event_loop()
        self.is_stopping = False
        self.tasks: set[asyncio.Task[Any]] = set()  # the loop itself would let the garbage collector have them
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="providerkit", daemon=True)
        atexit.register(self.stop)
        self._thread.start()

    def _run(self) -> None:
        """Run the loop until it is stopped; no Runner, which ends a loop by a thread that Python 3.12 lacks at exit."""
        executor = ThreadPoolExecutor(thread_name_prefix="providerkit")
        self.loop.set_default_executor(executor)
        try:
            self.loop.run_until_complete(self._stop.wait())
            self.loop.run_until_complete(_cancel_all())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            executor.shutdown()
            self.loop.close()

    def stop(self) -> None:
        """Cancel what runs, close what is open, and wait for it."""
        if self.is_alive() and self.pid == process():
            self.is_stopping = True
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def is_alive(self) -> bool:
        """Tell whether the loop still runs."""
        return self._thread.is_alive()

    def is_current(self) -> bool:
        """Tell whether the caller is on the loop's own thread."""
        return threading.current_thread() is self._thread


async def _cancel_all() -> None:
    """End all other tasks of the loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


_thread: LoopThread | None = None
_locks: dict[int, threading.Lock] = {}  # by process: in a fork another thread of the parent's may hold its own


def loop_thread() -> LoopThread:
    """Give the background thread, started where it is not running in this process."""
    global _thread  # the one thread of the process
    with _locks.setdefault(process(), threading.Lock()):
        if _thread is None or _thread.pid != process() or not _thread.is_alive():
            _thread = LoopThread()
        return _thread


def check_process(pid: int) -> None:
    """Raise RunConsumed for what another process has made: its event loop did not come along in the fork."""
    if pid != _process:
        raise RunConsumed("this Run was made before a fork; make it anew in this process")


class _Job(Generic[T]):
    """Run a coroutine on the background loop, and wait for it from another thread.

    Who waits takes from a SimpleQueue, because an interrupt can't leave one locked; an
    Event it can, and the loop's thread would stand still at it for ever.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._home = loop_thread()
        if self._home.is_current():
            coroutine.close()
            raise RunConsumed("a blocking call on the event loop's own thread would wait for itself; await it there")
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self._has_ended = False
        self._ends: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the coroutine; whoever calls this ends the job where it is interrupted."""
        self._home.loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._home.tasks.add(self._task)
        self._task.add_done_callback(self._retrieve)

    def _retrieve(self, task: asyncio.Task[T]) -> None:
        self._home.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio complains of one that nobody looks at, and the caller may have left
        self._note_end()

    def _note_end(self) -> None:
        self._has_ended = True
        self._ends.put(None)

    def _wait(self) -> None:
        while not self._has_ended:
            self._ends.get()
        self._ends.put(None)  # another thread may wait, too

    def check_process(self) -> None:
        """Raise RunConsumed where this is a fork, in which nothing will ever come."""
        check_process(self._home.pid)

    def result(self) -> T:
        """Wait for the result; raises SystemExit, which ends a thread in silence, where the interpreter exits."""
        self._wait()
        assert self._task is not None  # it has ended, so it was started
        if self._task.cancelled() and self._home.is_stopping:
            raise SystemExit
        return self._task.result()

    def cancel(self) -> None:
        """Ask for the end of the coroutine; a fork has nothing to end, what it inherits is its parent's."""
        if not self._has_ended and self._home.pid == process():
            self._home.loop.call_soon_threadsafe(self._cancel)

    def end(self) -> None:
        """Cancel the coroutine and wait until it has cleaned up."""
        self.cancel()
        if self._home.pid == process() and not self._home.is_current():
            self._wait()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # interrupted before it was started
            self._coroutine.close()
            self._note_end()


def call(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its result; an interrupt cancels it."""
    job = _Job(coroutine)
    try:
        job.start()
        return job.result()
    finally:
        job.end()


class Batches(Protocol[B]):
    """What hands out batches on an event loop: one after the other, then None."""

    async def next(self) -> B | None:
        """Give the next batch."""
        ...

    async def aclose(self) -> None:
        """End it, whether it is at its end or not."""
        ...


class Iteration(Generic[T]):
    """Iterate batches from a blocking caller, once.

    Dropping the iterator ends the source and waits for nothing: the garbage collector may
    drop it, on any thread and whatever locks that holds. `close` waits.
    """

    def __init__(self, source: Batches[T]) -> None:
        self._handover = _Handover[T]()
        self._job = _Job(self._handover.run(source))

    def __iter__(self) -> Generator[T]:
        try:
            self._job.start()
            while batches := self._handover.take():
                for batch in batches:
                    yield batch
                    self._job.check_process()
            self._job.result()
        except GeneratorExit:
            self._job.cancel()
            raise
        except BaseException:  # an interrupt of the caller's, too, ends the source before it goes on
            self._job.end()
            raise

    def close(self) -> None:
        """End the source, and wait until it has cleaned up."""
        self._job.end()


class _Handover(Generic[T]):
    """Pass batches from the loop to the one thread that takes them.

    Each counter has one writer, so neither side needs a lock.
    """

    def __init__(self) -> None:
        self._batches: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._given = 0
        self._taken = 0
        self._full = False
        self._room = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    async def run(self, source: Batches[T]) -> None:
        """Give batches as they come; the end is a None."""
        self._loop = asyncio.get_running_loop()
        try:
            while (batch := await source.next()) is not None:
                self._given += 1
                self._batches.put(batch)
                await self._wait_for_room()
        finally:
            try:
                await source.aclose()
            finally:
                self._batches.put(None)

    async def _wait_for_room(self) -> None:
        if self._given - self._taken > AHEAD:
            self._full = True  # before the caller's counter is read again: it reads the flag after it counts
            while self._given - self._taken > AHEAD:
                self._room.clear()
                await self._room.wait()
            self._full = False

    def take(self) -> list[T]:
        """Wait for batches and give all that are there; an empty list at the end."""
        batches: list[T] = []
        batch = self._batches.get()
        while batch is not None:
            batches.append(batch)
            self._taken += 1
            if self._batches.empty():
                break
            batch = self._batches.get()
        else:
            self._batches.put(None)
        if self._full:
            self._loop.call_soon_threadsafe(self._room.set)
        return batches
