"""The peers' environments: one virtual environment each, made with pip, once.

A peer is a module in benchmarks/clients that names its REQUIREMENTS. These, and VARIABLES
where it has some, are read as text, since no peer is installed here. An environment is made
again when the requirements have changed; delete its folder to have newer versions.

Whatever runs in one finds its variables set, and a home directory in the environment, so
that a peer neither takes nor leaves anything in the home of whoever measures.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from .bench import ROOT, Peer

CLIENTS = Path(__file__).parent / "clients"
LINE = """
from importlib.metadata import version
from benchmarks.clients import {} as peer
print(version(peer.DISTRIBUTION))
"""
RECORD = "requirements.txt"  # written last: an environment without it is not whole


@attrs.frozen
class Recipe:
    """Say what an environment is made of; `line` is what must run in it afterwards, and print the peer's version."""

    name: str
    requirements: tuple[str, ...]
    variables: Mapping[str, str] = attrs.field(factory=dict)
    line: str = ""


def recipes(clients: Path = CLIENTS) -> Iterator[Recipe]:
    """Read the recipes of all peers, by name."""
    for module in sorted(clients.glob("*.py")):
        told = constants(module.read_text("utf-8"))
        if requirements := told.get("REQUIREMENTS"):
            yield Recipe(module.stem, tuple(requirements), told.get("VARIABLES", {}), LINE.format(module.stem))


def constants(source: str) -> dict[str, Any]:
    """Return the literals that a module's names stand for, without running it."""
    found: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            for name in (each for target in statement.targets for each in names(target, statement.value)):
                found.update([name])
    return found


def names(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Any]]:
    """Yield each name in a target with its literal."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for each, its in zip(target.elts, value.elts, strict=True):
            yield from names(each, its)
    elif isinstance(target, ast.Name):
        try:
            yield target.id, ast.literal_eval(value)
        except ValueError:  # made by a call, say
            return


def make(recipes: Iterable[Recipe], folder: Path, say: Callable[[str], None]) -> list[Peer]:
    """Make what environments are missing in a folder; give the peers, without those that can't be had."""
    peers = []
    for recipe in recipes:
        try:
            peers.append(provide(recipe, folder / recipe.name, say))
        except subprocess.CalledProcessError as error:
            lines = f"{error.stderr}".strip().splitlines() or [f"{error}"]
            say(f"{recipe.name} is left out: {lines[-1]}")
    return peers


def provide(recipe: Recipe, folder: Path, say: Callable[[str], None]) -> Peer:
    """Return a peer in its environment, which is made where it is not there as it has to be.

    What fails raises CalledProcessError.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    record = folder / RECORD
    wanted = "".join(f"{requirement}\n" for requirement in recipe.requirements)
    if not record.exists() or record.read_text("utf-8") != wanted:
        say(f"{recipe.name}: pip install {' '.join(recipe.requirements)}, into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", folder)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *recipe.requirements)
        record.write_text(wanted, "utf-8")
    settle(recipe, folder)
    return Peer(recipe.name, str(python), run(python, "-c", recipe.line).strip())


def settle(recipe: Recipe, folder: Path) -> None:
    """Have every process of an environment begin with the variables of its peer, and with a home of its own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    variables = {"HOME": str(home), "USERPROFILE": str(home), **recipe.variables}
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    (packages / "sitecustomize.py").write_text(f"import os\nos.environ.update({variables!r})\n", "utf-8")


def run(*command: str | Path) -> str:
    """Run a program from the checkout, and give what it prints; what it complains of goes with the error."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    return done.stdout
