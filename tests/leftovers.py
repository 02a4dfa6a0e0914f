"""Each test leaves this process as it found it.

A plugin of pytest, which the conftest registers. It looks after a test and all its fixtures,
so what is left is told of the test that left it, whichever comes next. What ends by itself
(a thread or a task that was told to stop) is waited for.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

import pytest

PATIENCE = 30.0  # seconds; a test that leaves nothing waits for none of them
LOGGERS = ("", "asyncio", "providerkit", "providerkit.log")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def environment() -> dict[str, str]:
    """Return the environment, but for what pytest itself writes there."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def settings() -> dict[str, object]:
    """Return what is set for the whole process, under names that a failure shows."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    return {
        "the environment": environment(),
        "the working directory": Path.cwd(),
        "sys.path": list(sys.path),
        "handlers of signals": [signal.getsignal(number) for number in SIGNALS],
        "levels of loggers": [(each.name, each.level, each.disabled) for each in loggers],
        "the profiler": sys.getprofile(),
        "the collector": gc.isenabled(),
    }


def threads() -> set[object]:
    """Return the threads but those of blocking calls, which serve the whole process."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("providerkit")}


def tasks() -> set[object]:
    """Return the tasks on the event loop of blocking calls."""
    sync = sys.modules.get("providerkit.sync")
    home = sync and sync._thread  # asked for, it would be started
    if not home or not home.is_alive():
        return set()
    return {task for task in asyncio.all_tasks(home.loop) if not task.done()}


def children() -> set[object]:
    """Return the numbers of the processes that this one has started and not waited for (Linux)."""
    found: set[object] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended since
            found.update(path.read_text("ascii").split())
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    return found - {str(tracker._resource_tracker._pid)} if tracker else found  # that one serves the whole process


def modules() -> set[object]:
    """Return the names of modules that lie in a folder of one test."""
    folder = gettempdir()
    files = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
    return {name for name, file in files if isinstance(file, str) and file.startswith(folder) and "pytest-of-" in file}


LIVING: Mapping[str, Callable[[], set[object]]] = {
    "threads": threads,
    "tasks of the loop of blocking calls": tasks,
    "processes": children,
    "modules": modules,
}


def left(before: Mapping[str, set[object]]) -> dict[str, set[object]]:
    """Return what has come since `before`, and is still there when time enough to go is over."""
    end = time.monotonic() + PATIENCE
    while True:
        found = {kind: more for kind, look in LIVING.items() if (more := look() - before[kind])}
        if not found or time.monotonic() > end:
            return found
        gc.collect()  # it may be all that holds a task
        time.sleep(0.001)


def changed(before: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each setting that is not as it was."""
    for kind, now in settings().items():
        was = before[kind]
        if now != was and isinstance(now, dict) and isinstance(was, dict):
            keys = sorted(key for key in now.keys() | was.keys() if now.get(key) != was.get(key))
            yield f"{kind}: " + ", ".join(f"{key} was {was.get(key)!r}, is {now.get(key)!r}" for key in keys)
        elif now != was:
            yield f"{kind}: was {was!r}, is {now!r}"


class Leftovers:
    """The hooks: note what is there before a test, and fail it for what it leaves."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Begin each test with nothing to collect, so a warning of the collector is of the test that caused it."""
        item.stash[BEFORE] = settings(), {kind: look() for kind, look in LIVING.items()}
        result = yield
        gc.freeze()  # what is left now lives on, so the collector need not look at it after each test
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Look when all fixtures are gone."""
        yield
        gc.collect()
        before, living = item.stash[BEFORE]
        lines = [*changed(before), *(f"{kind}: {more}" for kind, more in left(living).items())]
        if lines:
            pytest.fail("this test has left behind:\n  " + "\n  ".join(lines), pytrace=False)


BEFORE = pytest.StashKey[tuple[dict[str, object], dict[str, set[object]]]]()
