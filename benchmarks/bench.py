"""What every question stands on: the upstream, the clients, and rounds in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parent.parent
PATIENCE = 180  # seconds that a client may take for one job
# What a developer may have set, and what would be measured then.
UNWANTED = (
    "KOALA_API_KEY",
    "OPENAI_API_KEY",
    "PROVIDERKIT_EXTENSIONS",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONSTARTUP",
)
MODES = {"stream": "", "stream_blocking": ", blocking", "stream_events": ", events", "collect": ", collected"}


@attrs.frozen
class Peer:
    """Name a client, the Python in whose environment it is installed, and its version where it is another's."""

    name: str
    python: str = sys.executable
    version: str = ""


OURS = (Peer("bare"), Peer("providerkit"))


@attrs.frozen
class Bench:
    """What a question needs: who is measured, how often, against which upstream, on which core."""

    peers: Sequence[Peer] = OURS
    rounds: int = 5
    quick: bool = False
    base_url: str = ""
    core: int | None = None
    say: Callable[[str], None] = lambda words: None

    def sized(self, full: int, quick: int) -> int:
        """Choose a size."""
        return quick if self.quick else full

    def in_turn(self, measures: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
        """Take each measure once a round, A B A B; what gives None once can't do that, and is left out from then."""
        taken: dict[str, list[Any]] = {name: [] for name in measures}
        unable: set[str] = set()
        for _ in range(self.rounds):
            for name, measure in measures.items():
                result = None if name in unable else measure()
                if result is None:
                    unable.add(name)
                else:
                    taken[name].append(result)
        return {name: [] if name in unable else results for name, results in taken.items()}

    def ask(self, peer: Peer, characters: int, *, search: str = "", **job: Any) -> dict[str, Any] | None:
        """Have a client do a job in a process of its own; None if it can't, or gives another text.

        `search` is one more folder for it to find packages in.
        """
        told = json.dumps({"base_url": self.base_url, "core": self.core, **job})
        done = run([peer.python, "-m", "benchmarks.client", peer.name, told], PYTHONPATH=search)
        result: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
        if done.returncode:
            self._complain(peer, done.stderr.strip())
        elif result is not None and result["characters"] != characters:
            self._complain(peer, f"gave {result['characters']} characters of {characters}")
            return None
        return result

    def ask_all(self, modes: Sequence[str], characters: int, **job: Any) -> dict[str, list[dict[str, Any]]]:
        """Have all clients do a job, in turn, in each of these modes that they have; the first is one all should."""
        measures = {
            peer.name + MODES.get(mode, ""): partial(self.ask, peer, characters, mode=mode, **job)
            for peer in self.peers
            if peer in OURS or job["path"].startswith("/openai")  # no peer speaks another wire
            for mode in (modes[:1] if self.quick and peer not in OURS else modes)
        }
        self.say(f"{job['path']} by {len(measures)}, {self.rounds} rounds")
        taken = self.in_turn(measures)
        return {name: results for name, results in taken.items() if results or "," not in name}

    def _complain(self, peer: Peer, words: str) -> None:
        """Tell what went wrong: a peer is left out, but our own clients must not fail."""
        if peer in OURS:
            raise RuntimeError(f"{peer.name}: {words}")
        self.say(f"{peer.name} is left out: {words.splitlines()[-1]}")


def run(command: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program from the checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in UNWANTED} | variables
    try:
        return subprocess.run(  # noqa: S603 - our own words
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"took more than {PATIENCE} s")


def cores() -> tuple[int | None, int | None]:
    """Return a core for the client and another for the upstream; None if processes can't be held on one."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def upstream(core: int | None) -> Iterator[str]:
    """Run the mock provider; give its address."""
    command = [sys.executable, "-m", "benchmarks.upstream", *([] if core is None else [str(core)])]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own words
        assert process.stdout is not None  # a pipe
        assert process.stdin is not None  # as above
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
