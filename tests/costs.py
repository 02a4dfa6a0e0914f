"""Count what code costs in memory and in calls, which is the same on every machine; seconds are not."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from types import FrameType

import attrs


@attrs.define
class Cost:
    """Sum up: `peak` bytes in use at once, `copied` bytes that each of the steps took for itself, one by one."""

    peak: int = 0
    copied: int = 0


def cost_of(steps: Iterable[Callable[[], object]]) -> Cost:
    """Take steps one after the other, forget what they give, and say what they cost."""
    cost = Cost()
    gc.collect()
    gc.disable()  # when it works depends on all that came before
    tracemalloc.start()
    try:
        begun = tracemalloc.get_traced_memory()[0]
        for step in steps:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            step()
            peak = tracemalloc.get_traced_memory()[1]
            cost.copied += peak - before
            cost.peak = max(cost.peak, peak - begun)
    finally:
        tracemalloc.stop()
        gc.enable()
    return cost


def calls_of(steps: Iterable[Callable[[], object]]) -> int:
    """Count the functions that some steps call, those of C among them."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    todo = list(steps)
    gc.disable()  # it calls what is to be told of its work
    sys.setprofile(note)
    try:
        for step in todo:
            step()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count
