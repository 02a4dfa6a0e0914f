"""A clock that goes on by hand, so no test waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs


@attrs.define(eq=False)
class Alarm:
    """Ring once, unless cancelled."""

    due: float
    ring: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@attrs.define
class HandClock:
    """Keep time by hand; who sleeps moves it on, and `slept` says how long each slept."""

    seconds: float = 0.0
    random: float = 0.5
    slept: list[float] = attrs.field(factory=list)
    alarms: list[Alarm] = attrs.field(factory=list)

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)

    def jitter(self) -> float:
        return self.random

    def call_later(self, seconds: float, ring: Callable[[], None]) -> Alarm:
        alarm = Alarm(self.seconds + seconds, ring)
        self.alarms.append(alarm)
        return alarm

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due rings on the next turn of the loop, in order."""
        self.seconds += seconds
        due = sorted((alarm for alarm in self.alarms if alarm.due <= self.seconds), key=lambda alarm: alarm.due)
        self.alarms = [alarm for alarm in self.alarms if alarm not in due]
        for alarm in due:
            asyncio.get_running_loop().call_soon(lambda alarm=alarm: None if alarm.cancelled else alarm.ring())
