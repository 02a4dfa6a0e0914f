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
from typing import Any, Generic, Protocol, TypeVar

from .errors import RunConsumed

T = TypeVar("T")
B = TypeVar("B", covariant=True)

AHEAD = 32  # batches that may wait for the caller before the loop stops reading


class LoopThread:
    """Run an event loop in a daemon thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="providerkit", daemon=True)
        self._thread.start()
        self._started.wait()
        atexit.register(self.stop)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._started.set()
        await self._stopping.wait()

    def stop(self) -> None:
        """Cancel what runs, close what is open, and wait for it."""
        if self._thread.is_alive() and self.pid == os.getpid():
            self.loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def is_alive(self) -> bool:
        """Tell whether the loop still runs."""
        return self._thread.is_alive()

    def is_current(self) -> bool:
        """Tell whether the caller is on the loop's own thread."""
        return threading.current_thread() is self._thread


_thread: LoopThread | None = None
_lock = threading.Lock()


def loop_thread() -> LoopThread:
    """Give the background thread, started where it is not running in this process."""
    global _thread  # the one thread of the process
    with _lock:
        if _thread is None or _thread.pid != os.getpid() or not _thread.is_alive():
            _thread = LoopThread()
        return _thread


class _Job(Generic[T]):
    """Run a coroutine on the background loop, and wait for it from another thread."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._home = loop_thread()
        if self._home.is_current():
            coroutine.close()
            raise RunConsumed("a blocking call on the event loop's own thread would wait for itself; await it there")
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        """Start the coroutine; whoever calls this cancels the job where it is interrupted."""
        self._home.loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # asyncio complains of one that nobody looks at, and the caller may have left
        self._ended.set()

    def result(self) -> T:
        """Wait for the result."""
        self._ended.wait()
        assert self._task is not None  # it has ended, so it was started
        return self._task.result()

    def cancel(self) -> None:
        """Cancel the coroutine and wait until it has cleaned up."""
        if self._ended.is_set():
            return
        self._home.loop.call_soon_threadsafe(self._cancel)
        if not self._home.is_current():  # the garbage collector may call from there
            self._ended.wait()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # interrupted before it was started
            self._coroutine.close()
            self._ended.set()


def call(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its result; an interrupt cancels it."""
    job = _Job(coroutine)
    try:
        job.start()
        return job.result()
    finally:
        job.cancel()


class Batches(Protocol[B]):
    """What hands out batches on an event loop: one after the other, then None."""

    async def next(self) -> B | None:
        """Give the next batch."""
        ...

    async def aclose(self) -> None:
        """End it, whether it is at its end or not."""
        ...


def iterate(source: Batches[T]) -> Generator[T]:
    """Iterate batches from a blocking caller; closing this closes the source, and waits for it."""
    handover = _Handover(source)
    job = _Job(handover.run())
    try:
        job.start()
        while batches := handover.take():
            yield from batches
        job.result()
    finally:
        job.cancel()


class _Handover(Generic[T]):
    """Pass batches from the loop to the one thread that takes them.

    Each counter has one writer, so neither side needs a lock.
    """

    def __init__(self, source: Batches[T]) -> None:
        self._source = source
        self._batches: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._given = 0
        self._taken = 0
        self._full = False
        self._room = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    async def run(self) -> None:
        """Give batches as they come; the end is a None."""
        self._loop = asyncio.get_running_loop()
        try:
            while (batch := await self._source.next()) is not None:
                self._given += 1
                self._batches.put(batch)
                await self._wait_for_room()
        finally:
            try:
                await self._source.aclose()
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
