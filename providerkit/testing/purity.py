"""Purity: what a function calls that gives another answer each time: clocks, chance, asyncio."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import FrameType
from typing import Any

_CLOCKS = frozenset(
    f"{name}{unit}"
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
    for unit in ("", "_ns")
) | {"sleep"}
_TODAY = frozenset({"now", "utcnow", "today"})
_CHANCE = frozenset({"urandom", "getrandom", "generate_time_safe"})


@contextmanager
def watch_calls() -> Iterator[list[str]]:
    """Collect the names of the calls that are not pure, as they are made in this thread, however they were imported."""
    found: list[str] = []

    def look(frame: FrameType, event: str, argument: Any) -> None:  # pragma: no cover - nothing is traced in it
        name = name_of_builtin(argument) if event == "c_call" else name_of_frame(frame)
        if name is not None and name not in found:
            found.append(name)

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # or the finalizers of others, those of asyncio among them, run in between
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)
        (gc.enable if collects else gc.disable)()


def name_of_builtin(function: Any) -> str | None:
    """Return the name of a built-in function that reads a clock or draws a number; None of any other."""
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    module = getattr(function, "__module__", None)
    if module == "time" and name in _CLOCKS:
        return f"time.{name}"
    if name in _TODAY and isinstance(owner, type) and issubclass(owner, date):
        return f"{owner.__name__}.{name}"
    if name in _CHANCE:
        return f"os.{name}"
    if owner is random._inst:  # the generator that the functions of the module share
        return f"random.{name}"
    return f"asyncio.{name}" if module == "_asyncio" else None


def name_of_frame(frame: FrameType) -> str | None:
    """Return the name of a function of asyncio that is entered; None of any other."""
    module = str(frame.f_globals.get("__name__"))
    return f"asyncio.{frame.f_code.co_name}" if module.partition(".")[0] == "asyncio" else None
