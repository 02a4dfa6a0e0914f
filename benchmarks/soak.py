"""What is left after much traffic that goes wrong: nothing, or a leak.

    python -m benchmarks.soak --seconds 60 --at-once 500

Callers of every kind ask a server, in a process of its own, that answers well or breaks in
one of many ways, drawn at random. Each run must end as an answer that is whole, as an error
of providerkit's, or as its caller ended it; afterwards no socket and no task is left, and
memory has stopped to grow.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import attrs

import providerkit
from providerkit import Retry, Timeouts
from providerkit.testing import faults
from providerkit.testing.faults import Fault, FaultServer, Recording, Visit
from tests.chat_completions import ChatCompletions, answer, words

TOKENS = 60
CHAT = ChatCompletions(tokens=TOKENS)
ANSWER = Recording(answer(*({"content": word} for word in words(CHAT.name, TOKENS))))
LIMITS = Timeouts(connect=30, first_event=5, idle=5, total=60)
RETRY = Retry(attempts=2, base=0.05, cap=0.1, retry_after_cap=0.1)


def draw(visit: Visit) -> Fault:
    """Draw what becomes of a request: half are well."""
    after = random.randrange(TOKENS)  # noqa: S311 - what breaks is no secret
    return random.choice(  # noqa: S311 - as above
        [
            *[faults.healthy()] * 16,
            faults.close_unanswered(),
            faults.reset_unanswered(),
            faults.silence(),
            faults.status(429, retry_after="0.05"),
            faults.status(500),
            faults.status(503, body=b"<html>" * 1000),
            faults.page(),
            faults.close(after),
            faults.reset(after),
            faults.stall(after),
            faults.garble(after),
            faults.without(-1),
            faults.unframed(after),
            faults.comments(after, seconds=0.2),
            faults.says(),
            faults.bad_chunk(after=after),
        ]
    )


def serve(pipe: Connection) -> None:
    """Serve faults until the pipe closes, in a process of its own."""

    async def main() -> None:
        server = FaultServer(draw, answer=ANSWER)
        async with server as url:
            pipe.send(url)
            with suppress(EOFError):
                while not await asyncio.to_thread(pipe.poll, 1.0):
                    server.log.clear()  # a minute of visits is much to remember
                pipe.recv()

    asyncio.run(main())


@attrs.define
class Tally:
    """Count how runs ended."""

    ends: Counter[str] = attrs.field(factory=Counter)
    repaired: int = 0
    untyped: list[str] = attrs.field(factory=list)

    @property
    def runs(self) -> int:
        """Return how many runs have ended."""
        return sum(self.ends.values())

    def end(self, run: providerkit.Run, how: str) -> None:
        """Count one."""
        self.ends[how] += 1
        self.repaired += how == "answered" and len(run.reply.attempts) > 1


async def collect(run: providerkit.Run) -> None:
    """Await the whole reply."""
    check((await run).text)


async def stream(run: providerkit.Run) -> None:
    """Read the whole answer piece by piece."""
    check("".join([text async for text in run]))


async def leave(run: providerkit.Run) -> None:
    """Read a piece and leave."""
    async for _ in run:
        raise Left


async def cancel(run: providerkit.Run) -> None:
    """Return up somewhere in between."""
    try:
        async with asyncio.timeout(random.random() / 10):  # noqa: S311 - when is no secret
            await collect(run)
    except providerkit.TimedOut:
        raise
    except TimeoutError:
        raise Left from None


KINDS: list[Callable[[providerkit.Run], Awaitable[None]]] = [collect, stream, leave, cancel]


class Left(Exception):
    """Say that the caller has had enough."""


def check(text: str) -> None:
    """See that an answer is whole."""
    if text != CHAT.text:
        raise AssertionError(f"a false success: {text[-40:]!r}")


async def ask(client: providerkit.Client, url: str, tally: Tally) -> None:
    """Make one run, as a caller of any kind, and count how it ends."""
    run = client.run("Count.", provider=CHAT, base_url=url)
    try:
        await random.choice(KINDS)(run)  # noqa: S311 - as above
    except Left:
        tally.end(run, "left by its caller")
    except providerkit.ProviderKitError as error:
        tally.end(run, type(error).__name__)
    except Exception as error:  # noqa: BLE001 - these are what is looked for
        tally.end(run, "untyped")
        tally.untyped.append(repr(error))
    else:
        tally.end(run, "answered")


@attrs.frozen
class Report:
    """What a soak has found; `grown` is in bytes, from a third of the time to its end."""

    tally: Tally
    sockets: int
    tasks: int
    grown: int

    @property
    def is_clean(self) -> bool:
        """Return whether nothing was lost, leaked or untyped."""
        return not (self.tally.untyped or self.sockets or self.tasks or self.grown > 20 * 2**20)

    def __str__(self) -> str:
        lines = [f"{count:8} {how}" for how, count in self.tally.ends.most_common()]
        return "\n".join(
            [
                f"{self.tally.runs} runs, {self.tally.repaired} answered after a repair",
                *lines,
                f"left over: {self.sockets} sockets, {self.tasks} tasks; memory grew by {self.grown / 2**20:.1f} MB",
                *self.tally.untyped[:10],
            ]
        )


def sockets() -> int:
    """Count the sockets of this process."""
    count = 0
    for descriptor in Path("/dev/fd").iterdir():
        with suppress(OSError):  # closed since it was listed
            count += descriptor.is_socket()
    return count


def memory() -> int:
    """Return the bytes of memory that this process holds (Linux)."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def soak(url: str, at_once: int, goes_on: Callable[[Tally], bool], settled: Callable[[Tally], bool]) -> Report:
    """Keep so many runs going while `goes_on`; memory is compared from when it has `settled`."""
    tally, before, held = Tally(), sockets(), 0

    async def caller() -> None:
        nonlocal held
        while goes_on(tally):
            await ask(client, url, tally)
            held = held or (memory() if settled(tally) else 0)

    async with providerkit.Client(timeouts=LIMITS, retry=RETRY) as client:
        await asyncio.gather(*(caller() for _ in range(at_once)))
    for _ in range(10):  # for connections that are being closed
        await asyncio.sleep(0)
    gc.collect()
    return Report(tally, sockets() - before, len(asyncio.all_tasks()) - 1, memory() - held)


def run(at_once: int, goes_on: Callable[[Tally], bool], settled: Callable[[Tally], bool]) -> Report:
    """Soak against a server in another process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        return asyncio.run(soak(here.recv(), at_once, goes_on, settled))
    finally:
        here.send(None)
        server.join()


def main() -> None:
    """Soak for some time, and fail where something was lost, leaked or untyped."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--at-once", type=int, default=500)
    given = parser.parse_args()
    started = time.monotonic()
    report = run(
        given.at_once,
        lambda tally: time.monotonic() - started < given.seconds,
        lambda tally: time.monotonic() - started > given.seconds / 3,
    )
    print(report)
    sys.exit(not report.is_clean)


if __name__ == "__main__":
    main()
