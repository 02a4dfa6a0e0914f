"""What does it cost to begin? Import time and memory, what is installed, and the command line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

from .bench import Bench, Peer, run
from .results import Figure, compare, derive

NEEDED = "import attrs, pluggy, orjson, asyncio"
FIRST_USE = "import providerkit; providerkit.run"
SENDING = "import aiohttp"
# In the environment of a developer; peers have one of their own, with nothing else in it.
ROOTS = {"bare": ["aiohttp", "orjson"], "providerkit": ["providerkit-core", "providerkit-koala"]}
BEGIN = """
import json, sys, time
def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 if sys.platform == "linux" else 0
before, modules, started = held(), len(sys.modules), time.perf_counter()
{}
seconds = time.perf_counter() - started
print(json.dumps(dict(seconds=seconds, memory=held() - before, modules=len(sys.modules) - modules)))
"""


def figures(bench: Bench) -> Iterator[Figure]:
    """Measure the beginning of new processes, then weigh what is installed."""
    imports = {peer.name: partial(begin, peer.python, f"import {_imported(peer)}") for peer in bench.peers}
    yield from _begun(bench, "import over bare Python", imports, "bare")
    lines = {line: partial(begin, sys.executable, line) for line in (NEEDED, FIRST_USE)}
    yield from _begun(bench, "first use over bare Python", lines, NEEDED)
    lines = {line: partial(begin, sys.executable, line) for line in (SENDING, f"{FIRST_USE}; {SENDING}")}
    yield from _begun(bench, "ready to send over bare Python", lines, SENDING)
    tool = str(Path(sys.executable).with_name("providerkit"))
    click = 'python -c "import click"'
    commands: dict[str, Callable[[], float]] = {
        click: partial(seconds, [sys.executable, "-c", "import click"]),
        "providerkit --help": partial(seconds, [tool, "--help"]),
        "providerkit providers": partial(seconds, [tool, "providers"]),
    }
    bench.say(f"commands: {', '.join(commands)}")
    taken = {name: [1e3 * each for each in runs] for name, runs in bench.in_turn(commands).items()}
    yield from compare("startup", "commands, from start to end", "time", "ms", taken, to=click)
    those = {peer.name: installed(peer) for peer in bench.peers}
    counts = {name: [len(each)] for name, each in those.items()}
    yield from compare("startup", "installed, with all that it requires", "distributions", "", counts)
    sizes = {name: [sum(map(size, each)) / 1e6] for name, each in those.items()}
    yield from compare("startup", "installed, with all that it requires", "without bytecode", "MB", sizes)


def _begun(
    bench: Bench, case: str, measures: Mapping[str, Callable[[], dict[str, float] | None]], to: str
) -> Iterator[Figure]:
    bench.say(f"{case}: {', '.join(measures)}")
    yield from derive(
        "startup",
        case,
        bench.in_turn(measures),
        ("time", "ms", lambda result: 1e3 * result["seconds"]),
        ("memory", "MB", lambda result: result["memory"] / 1e6),
        ("modules", "", lambda result: result["modules"]),
        to=to,
    )


def begin(python: str, line: str) -> dict[str, float] | None:
    """Run a line in a new process; give its seconds, bytes and modules, None if it fails."""
    done = run([python, "-c", BEGIN.format(line)])
    result: dict[str, float] | None = None if done.returncode else json.loads(done.stdout)
    return result


def seconds(command: Sequence[str]) -> float:
    """Return what a command takes, from its start to its end."""
    started = time.perf_counter()
    run(command).check_returncode()
    return time.perf_counter() - started


def installed(peer: Peer) -> list[Distribution]:
    """List what a client brings with it: all of an environment of its own, or the closure of its requirements."""
    if peer.name in ROOTS:
        return list(closure(ROOTS[peer.name]).values())
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = run([peer.python, "-c", code]).stdout.strip()
    return [each for each in distributions(path=[folder]) if each.name not in ("pip", "setuptools")]


def closure(names: Sequence[str]) -> dict[str, Distribution]:
    """Return these distributions and all that they require here, without extras."""
    found: dict[str, Distribution] = {}
    names = list(names)
    while names:
        name = names.pop().replace("_", "-").lower()
        if name not in found:
            found[name] = Distribution.from_name(name)
            required = map(Requirement, found[name].requires or ())
            names += [each.name for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def size(distribution: Distribution) -> int:
    """Return the bytes of a distribution's files; of one installed from a checkout, of its packages there."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        names = (distribution.read_text("top_level.txt") or "").split()
        folders = [Path(origin["url"].removeprefix("file://"), name) for name in names]
        files = [file for folder in folders for file in folder.rglob("*")]
    else:
        files = [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")


def _imported(peer: Peer) -> str:
    code = f"from benchmarks.clients import {peer.name} as client; print(client.IMPORT)"
    return run([peer.python, "-c", code]).stdout.strip()
