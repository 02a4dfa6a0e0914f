"""The process that is measured: one client, one job, one line of JSON.

    python -m benchmarks.client NAME JOB

It runs in the environment of the client it is told, so it imports the standard library and
`benchmarks.clients.NAME`, nothing else.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import os
import platform
import resource
import sys
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any


@dataclass(frozen=True)
class Job:
    """Say what a client does: `mode` is the method of its Client, `path` tells the upstream what to answer.

    So many calls are open `at_once`, each of them so many `times` in turn. Before that,
    `warm` calls ask `warm_path` at once, twice, so that what is measured finds modules
    imported and, where it opens no more, connections open. So many streams are left
    (`leaving`) after a few pieces instead.
    """

    base_url: str
    path: str
    mode: str = "stream"
    at_once: int = 1
    times: int = 1
    warm_path: str = ""
    warm: int = 1
    leaving: int = 0
    options: dict[str, Any] = field(default_factory=dict)  # attributes to set on the Client
    core: int | None = None


@dataclass
class Result:
    """What came of a job: seconds, bytes, characters of text; how late stamped text was, in seconds."""

    version: str
    cpu: float = 0.0
    wall: float = 0.0
    memory: int = 0
    calls: int = 0
    characters: int = 0
    late: list[float] = field(default_factory=list)  # p50, p99 and the latest
    upstream: dict[str, Any] = field(default_factory=dict)


class Reader:
    """Read answers with a client, and count what it gives."""

    def __init__(self, client: Any, job: Job, *, stamped: bool = False) -> None:
        self._client = client
        self._job = job
        self._stamped = stamped
        self.late = array("d")
        self.characters = 0
        kinds = {"stream": self._stream, "stream_events": self._stream, "stream_blocking": self._block}
        self.read: Callable[[str], Awaitable[None]] = kinds.get(job.mode, self._await)
        self._threads = ThreadPoolExecutor(max(job.at_once, job.warm))

    async def work(self) -> None:
        """Do the job."""
        await asyncio.gather(*(self._repeat(self._job.times) for _ in range(self._job.at_once)))

    async def _repeat(self, times: int) -> None:
        for _ in range(times):
            await self.read(self._job.path)

    async def _stream(self, path: str) -> None:
        pieces: AsyncIterator[str] = getattr(self._client, self._job.mode)(path)
        async for text in pieces:
            self._note(text)

    async def _await(self, path: str) -> None:
        self._note(await getattr(self._client, self._job.mode)(path))

    async def _block(self, path: str) -> None:
        loop = asyncio.get_running_loop()
        characters = await loop.run_in_executor(self._threads, self._count, path)
        self.characters += characters

    def _count(self, path: str) -> int:
        return sum(map(len, self._client.stream_blocking(path)))

    def _note(self, text: str) -> None:
        self.characters += len(text)
        if self._stamped:
            now = time.monotonic()
            self.late.extend(now - float(stamp) for stamp in text.split())


def pin(core: int | None) -> None:
    """Stay on one core, where the system can hold a process there."""
    if core is not None:
        os.sched_setaffinity(0, [core])


def peak_memory() -> int:
    """Return the most bytes of memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins with that of the process that started this one
        return 1024 * int(status.read_text("ascii").split("VmHWM:")[1].split()[0])
    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def upstream_stats(base_url: str) -> dict[str, Any]:
    """Ask the upstream what has happened since it was last asked."""
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"))
    connection.request("GET", "/stats")
    stats: dict[str, Any] = json.load(connection.getresponse())
    connection.close()
    return stats


def allow_files() -> None:
    """Raise the limit of open files as far as it may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def measure(module: Any, job: Job) -> Result:
    """Do a job after a warm-up in the same process, and tell what it took."""
    result = Result(version(module.DISTRIBUTION), calls=job.at_once * job.times)
    async with module.Client(job.base_url) as client:
        for name, value in job.options.items():
            setattr(client, name, value)
        warm = Reader(client, job)
        for _ in range(2):
            await asyncio.gather(*(warm.read(job.warm_path or job.path) for _ in range(job.warm)))
        reader = Reader(client, job, stamped="-due/" in job.path or "-sent/" in job.path)
        gc.collect()
        upstream_stats(job.base_url)
        before, cpu, wall = peak_memory(), time.process_time(), time.monotonic()
        if job.leaving:
            reader.late.extend([await leave(client, job) for _ in range(job.leaving)])
        else:
            await reader.work()
        result.wall, result.cpu = time.monotonic() - wall, time.process_time() - cpu
        result.memory = peak_memory() - before
        result.upstream = upstream_stats(job.base_url)
    result.characters = reader.characters
    if len(reader.late) > 1:
        late = quantiles(reader.late, n=100, method="inclusive")
        result.late = [late[49], late[98], max(reader.late)]
    return result


async def leave(client: Any, job: Job) -> float:
    """Leave a stream after three pieces; give the seconds until the upstream sees its connection closed."""
    upstream_stats(job.base_url)
    count = 0
    async for _ in client.stream(job.path):
        count += 1
        if count == 3:
            left = time.monotonic()
            break
    while not (seen := (await asyncio.to_thread(upstream_stats, job.base_url))["left"]):
        pass
    return float(seen[0]) - left


def run(name: str, job: Job) -> Result | None:
    """Do a job with the client of this name; None if it can't do that."""
    module = import_module(f"benchmarks.clients.{name}")
    wires = getattr(module, "WIRES", ("openai",))
    if not hasattr(module.Client, job.mode) or not job.path.startswith(tuple(f"/{wire}" for wire in wires)):
        return None
    return asyncio.run(measure(module, job))


if __name__ == "__main__":
    job = Job(**json.loads(sys.argv[2]))
    pin(job.core)
    allow_files()
    done = run(sys.argv[1], job)
    print(json.dumps(done and asdict(done)))
