"""Threads for what blocks: names that are looked up, and tools.

They are daemons, so the end of the program waits for none of them. The threads of a
ThreadPoolExecutor are joined at the end, whatever they wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonExecutor(ThreadPoolExecutor):
    """An executor that runs each call in a daemon thread of its own.

    It is a ThreadPoolExecutor because asyncio takes no other as the default of a loop.
    """

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start the call at once; cancelling its future leaves the thread behind."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it is raised by whoever waits for the result
                future.set_exception(error)

        Thread(target=work, name="providerkit-worker", daemon=True).start()
        return future


_executor = DaemonExecutor()


async def in_thread(function: Callable[[], T]) -> T:
    """Return what a function returns in a daemon thread, which sees the context variables of the caller.

    Raises what the function raises, but RuntimeError in place of StopIteration, which no
    coroutine can raise. A caller that is cancelled leaves the thread behind.
    """
    context = copy_context()

    def work() -> tuple[T | None, BaseException | None]:
        try:
            return context.run(function), None
        except BaseException as error:  # noqa: BLE001 - a future takes no StopIteration, and its waiter would wait on
            return None, error

    result, error = await asyncio.get_running_loop().run_in_executor(_executor, work)
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # there is no error, so this is a T
