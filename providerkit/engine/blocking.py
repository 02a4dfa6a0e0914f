"""The one door between blocking callers and the event loop.

Blocking calls run on one event loop in a background thread, started on first use and
stopped at exit, so they work in scripts, threads, notebooks and under a running loop, and
share pooled connections. Batches of events are handed over whole, and the loop waits
where the caller does not keep up.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import queue
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from ..errors import PluginError, ProviderKitError, RunConsumed
from ..plugins.boundary import describe
from .threads import DaemonExecutor

logger = logging.getLogger("providerkit")

T = TypeVar("T")
B = TypeVar("B", covariant=True)

AHEAD = 32  # batches that may wait for the caller before the loop stops reading
EXIT_TIMEOUT = 2.0  # seconds that the end of the program waits for what runs to clean up


_process = os.getpid()


def _note_fork() -> None:
    global _process  # the one number of this process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):  # pragma: no branch - only Windows has none, where nothing forks
    os.register_at_fork(after_in_child=_note_fork)


def process() -> int:
    """Return the number of this process, as it was when it began: runs ask for every event, the system is slow."""
    return _process


class LoopThread:
    """An event loop in a daemon thread.

    Only `stop` ends it: a callback or a task of others that raises SystemExit or
    KeyboardInterrupt, and one that stops the loop, ends nothing but itself. Should the loop
    break all the same, every caller that waits gets a PluginError, and the next call starts
    another loop.
    """

    def __init__(self) -> None:
        self.pid = process()
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(DaemonExecutor())
        self.is_stopping = False
        self.failure: str | None = None  # what broke the loop
        self.jobs: set[_Job[Any]] = set()  # that a caller waits for; the loop itself keeps no task alive
        self._thread = threading.Thread(target=self._run, name="providerkit", daemon=True)
        atexit.register(self.stop)
        self._thread.start()

    def _run(self) -> None:
        """Run the loop until it is stopped; no Runner, which ends a loop by a thread that Python 3.12 lacks at exit."""
        try:
            while not self.is_stopping:
                self._run_until_disturbed()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for this thread for ever
            self.failure = describe(error)
        try:
            self.loop.run_until_complete(_cancel_all())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        except BaseException as error:  # noqa: BLE001 - as above
            logger.warning("the event loop of blocking calls did not end in order: %s", describe(error))
        finally:
            with suppress(Exception):
                self.loop.close()
            for job in self.jobs.copy():
                job.abandon()

    def _run_until_disturbed(self) -> None:
        try:
            self.loop.run_forever()
        except Exception:
            raise  # the loop itself is broken: what callbacks raise of this kind, it reports and goes on
        except BaseException as error:  # noqa: BLE001 - no signal comes to this thread, so it is code of others
            logger.warning("a callback on the event loop of blocking calls raised %s", type(error).__name__)

    def stop(self) -> None:
        """Cancel what runs, close what is open, and wait for it as long as EXIT_TIMEOUT."""
        if self.is_alive() and self.pid == process():
            self.is_stopping = True
            with suppress(RuntimeError):  # it has closed by itself
                self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(EXIT_TIMEOUT)

    def is_alive(self) -> bool:
        """Return whether the loop still runs."""
        return self._thread.is_alive()

    def is_current(self) -> bool:
        """Return whether the caller is on the loop's own thread."""
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
    """Return the background thread, started where it is not running in this process."""
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

    def __init__(self, coroutine: Coroutine[Any, Any, T], note_end: Callable[[], None] = lambda: None) -> None:
        self._home = loop_thread()
        if self._home.is_current():
            coroutine.close()
            raise RunConsumed("a blocking call on the event loop's own thread would wait for itself; await it there")
        self._coroutine = coroutine
        self._note = note_end
        self._task: asyncio.Task[T] | None = None
        self._failure: ProviderKitError | None = None
        self._is_cancelled = False
        self._has_ended = False
        self._ends: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the coroutine; whoever calls this ends the job where it is interrupted."""
        self._home.jobs.add(self)
        self._ask(self._start)

    def _ask(self, callback: Callable[[], None]) -> None:
        try:
            self._home.loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop has closed since
            self.abandon()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._retrieve)

    def _retrieve(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # asyncio complains of one that nobody looks at, and the caller may have left
        elif not self._is_cancelled:
            self._failure = self._explanation()
        self._note_end()

    def _explanation(self) -> PluginError:
        if self._home.failure is None:
            return PluginError("other code cancelled this call on the event loop of blocking calls; call again")
        return PluginError(f"the event loop of blocking calls broke: {self._home.failure}; call again")

    def abandon(self) -> None:
        """Let the caller go with an error: the loop has ended, and the coroutine will not."""
        self._failure = self._explanation()
        if self._task is None:
            self._coroutine.close()
        self._note_end()

    def _note_end(self) -> None:
        self._home.jobs.discard(self)
        self._has_ended = True
        self._ends.put(None)
        self._note()

    def _wait(self) -> None:
        while not self._has_ended:
            self._ends.get()
        self._ends.put(None)  # another thread may wait, too

    def check_process(self) -> None:
        """Raise RunConsumed if this is a fork, in which nothing will ever come."""
        check_process(self._home.pid)

    def result(self) -> T:
        """Wait for the result; raises SystemExit, which ends a thread in silence, where the interpreter exits."""
        self._wait()
        if self._failure is not None:
            if self._home.is_stopping:
                raise SystemExit
            raise self._failure
        assert self._task is not None  # it has ended, so it was started
        return self._task.result()

    def cancel(self) -> None:
        """Ask for the end of the coroutine; a fork has nothing to end, what it inherits is its parent's."""
        if not self._has_ended and self._home.pid == process():
            self._ask(self._cancel)

    def end(self) -> None:
        """Cancel the coroutine and wait until it has cleaned up."""
        self.cancel()
        if self._home.pid == process() and not self._home.is_current():
            self._wait()

    def _cancel(self) -> None:
        self._is_cancelled = True
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
        """Return the next batch."""
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
        self._job = _Job(self._handover.run(source), self._handover.end)

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
        """Return batches as they come."""
        self._loop = asyncio.get_running_loop()
        try:
            while (batch := await source.next()) is not None:
                self._given += 1
                self._batches.put(batch)
                await self._wait_for_room()
        finally:
            await source.aclose()

    def end(self) -> None:
        """Let the thread know that no batch follows."""
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
            with suppress(RuntimeError):  # the loop has closed, which the job tells
                self._loop.call_soon_threadsafe(self._room.set)
        return batches
