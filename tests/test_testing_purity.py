"""Calls that give another answer each time are seen, however they were imported."""

import asyncio
import os
import random
import secrets
import sys
import time
import uuid
from datetime import UTC, date, datetime

import pytest

from providerkit.testing.purity import name_of_builtin, name_of_frame, watch_calls

IMPURE = {
    "time.time": time.time,
    "time.monotonic_ns": time.monotonic_ns,
    "time.perf_counter": time.perf_counter,
    "datetime.now": datetime.now,
    "datetime.utcnow": lambda: datetime.now(UTC),
    "date.today": date.today,
    "random.random": random.random,
    "random.getrandbits": lambda: random.randint(1, 6),  # noqa: S311 - no secret
    "os.urandom": lambda: secrets.token_hex(4),
    "asyncio.iscoroutine": lambda: asyncio.iscoroutine(None),
}
PURE = [
    lambda: time.gmtime(0),
    lambda: datetime.fromtimestamp(0, UTC),
    lambda: random.Random(7).random(),  # noqa: S311 - no secret
    lambda: uuid.UUID(int=7),
    lambda: sorted([2, 1]),
]


@pytest.mark.parametrize(("name", "call"), IMPURE.items(), ids=IMPURE)
def test_what_is_not_pure_is_named(name, call):
    with watch_calls() as found:
        call()
    assert {"datetime.utcnow": "datetime.now"}.get(name, name) in found


@pytest.mark.parametrize("call", PURE)
def test_what_is_pure_is_not(call):
    with watch_calls() as found:
        call()
    assert found == []


def test_who_profiled_before_goes_on():
    def profile(frame, event, argument):
        pass

    sys.setprofile(profile)
    try:
        with watch_calls():
            pass
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


def test_a_function_has_its_name():
    assert name_of_builtin(time.sleep) == "time.sleep"
    assert name_of_builtin(datetime.now) == "datetime.now"
    assert name_of_builtin(os.urandom) == "os.urandom"
    assert name_of_builtin(random.random) == "random.random"
    assert name_of_builtin(asyncio.get_running_loop) == "asyncio.get_running_loop"
    assert name_of_builtin(len) is None
    assert name_of_frame(sys._getframe()) is None
