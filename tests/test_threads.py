"""Threads that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from providerkit.engine.threads import DaemonExecutor, in_thread

NAME: ContextVar[str] = ContextVar("name", default="nobody")


async def test_a_function_runs_in_a_daemon_thread_in_the_context_of_its_caller():
    NAME.set("Rome")

    def look() -> tuple[bool, bool, str]:
        current = threading.current_thread()
        return current.daemon, current is threading.main_thread(), NAME.get()

    assert await in_thread(look) == (True, False, "Rome")


@pytest.mark.parametrize("error", [KeyError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_it_raises_is_the_callers(error: BaseException):
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await in_thread(fail)
    assert caught.value is error


async def test_its_stop_iteration_ends_the_wait():
    with pytest.raises(RuntimeError, match="StopIteration"):
        await in_thread(lambda: next(iter(())))


async def test_a_caller_that_is_cancelled_leaves_the_thread_behind():
    begun, released = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        released.wait()

    task = asyncio.ensure_future(in_thread(block))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    released.set()


def test_an_executor_gives_what_the_call_returns_or_raises():
    def fail() -> None:
        raise KeyError

    executor = DaemonExecutor()
    assert executor.submit(int, "7", base=8).result() == 7
    assert type(executor.submit(fail).exception()) is KeyError


def test_a_call_that_is_cancelled_before_it_begins_is_not_made(monkeypatch: pytest.MonkeyPatch):
    class Late(threading.Thread):
        def start(self) -> None:
            late.append(self)

    late: list[Any] = []
    called: list[int] = []
    monkeypatch.setattr("providerkit.engine.threads.Thread", Late)
    assert DaemonExecutor().submit(called.append, 1).cancel()
    late[0].run()
    assert called == []
