"""`providerkit new`: write the package of a provider, from the template in `providerkit/testing/new-provider`."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

import providerkit

from .options import examples
from .terminal import say

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")


@click.command(
    epilog=examples(
        "providerkit new parrot",
        "providerkit new blue-parrot --into ~/code/blue-parrot",
    )
)
@click.argument("name")
@click.option(
    "--into",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    show_default="providerkit-NAME",
    help="Write it here; the folder must not be there yet.",
)
def new(name: str, into: Path | None) -> None:
    """Write the package of a provider NAME: plugin, sandbox and tests, which pass as they are.

    Its wire is made up; the comments in each file say what to put in its place.
    """
    if not NAME.fullmatch(name):
        raise click.UsageError(
            f"{name!r} can't name a provider; expected small letters, digits and hyphens, as in 'blue-parrot'."
        )
    folder = into or Path(f"providerkit-{name}")
    if folder.exists():
        raise click.UsageError(
            f"{str(folder)!r} is there already, and nothing is overwritten; choose another folder with --into."
        )
    names = _names(name)
    for path, text in _template():
        place = folder / _renamed(path, names)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_renamed(text, names), "utf-8")
    say(
        f"{folder} is a package that passes its tests. Next, in that folder:\n"
        f'  pip install -e ".[dev]"\n'
        f"  providerkit check {name}\n"
        f'  providerkit run -p {name} --sandbox "Hello"'
    )


def _names(name: str) -> dict[str, str]:
    """Return what stands for what in the template, the longest first."""
    word = name.replace("-", "_")
    return {
        "providerkit_parrot": f"providerkit_{word}",
        "PARROT": word.upper(),
        "Parrot": _class_name(name),
        "parrot": name,
    }


def _class_name(name: str) -> str:
    """Write a name as Python writes classes, so that it is no name that the template needs itself."""
    joined = "".join(part.capitalize() for part in name.split("-"))
    taken = (
        keyword.iskeyword(joined) or hasattr(builtins, joined) or joined in {*dir(providerkit), "Any", "Application"}
    )
    return f"{joined}Provider" if taken else joined


def _renamed(text: str, names: dict[str, str]) -> str:
    return re.sub("|".join(names), lambda found: names[found[0]], text)


def _template() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file."""
    folders: list[tuple[str, Traversable]] = [("", files("providerkit") / "testing" / "new-provider")]
    for before, folder in folders:
        for item in sorted(folder.iterdir(), key=lambda item: item.name):
            if item.is_dir():
                folders.append((f"{before}{item.name}/", item))
            elif not item.name.endswith(".pyc"):
                yield f"{before}{item.name}", item.read_text("utf-8")
