"""The boundary to code of others: plugins, tools, observers and clocks.

Such code may raise anything, SystemExit and CancelledError included. That ends its own run
and nothing else, so each place that calls it catches BaseException and claims what it has
caught. What is the caller's own goes on as it is: an interrupt, whatever a signal handler
raises, a cancellation of the task, the closing of a coroutine.
"""

from __future__ import annotations

import asyncio
import dis
import signal
import threading
from collections.abc import Iterator
from functools import partial
from types import CodeType, TracebackType
from typing import Any

_RAISE = dis.opmap["RAISE_VARARGS"]


def claim(error: BaseException) -> BaseException:
    """Return what code of others has raised; raises it again if it is the caller's own."""
    if _is_callers(error):
        raise error
    return error


def describe(error: BaseException) -> str:
    """Return the name of an error and what it says, if it can say it."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException as raised:  # noqa: BLE001 - the boundary: __str__ may raise anything
        claim(raised)
        return f"{type(error).__name__}, which can't be shown"


def is_cancelled() -> bool:
    """Return whether the cancellation of the running task has been asked for."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # there is no event loop here
        return False
    return task is not None and task.cancelling() > 0


def _is_callers(error: BaseException) -> bool:
    match error:
        case asyncio.CancelledError():
            return is_cancelled()
        case GeneratorExit():
            return not _is_raised(error)
        case _:
            return threading.current_thread() is threading.main_thread() and _is_interrupt(error)


def _is_interrupt(error: BaseException) -> bool:
    """Return whether a signal brought the error, which happens on the main thread only."""
    handlers = set(_handlers())
    if any(trace.tb_frame.f_code in handlers for trace in _traces(error)):
        return True
    return isinstance(error, KeyboardInterrupt) and (not _is_raised(error) or _replaces_interrupt(error))


def _replaces_interrupt(error: KeyboardInterrupt) -> bool:
    """Return whether the error was raised in an `except` that had caught an interrupt."""
    return isinstance(error.__context__, KeyboardInterrupt) and _is_interrupt(error.__context__)


def _is_raised(error: BaseException) -> bool:
    """Return whether a `raise` made the error; an interrupt, or the closing of a coroutine, needs none."""
    traces = list(_traces(error))
    return bool(traces) and traces[-1].tb_frame.f_code.co_code[traces[-1].tb_lasti] == _RAISE


def _traces(error: BaseException) -> Iterator[TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _handlers() -> Iterator[CodeType]:
    """Yield the code of each signal handler that is written in Python."""
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, partial):  # asyncio.run has one
            handler = handler.func
        code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
        if code is not None:
            yield code
