"""What may be written to a terminal: text alone, since a terminal obeys what it is sent.

Control characters but tab and newline, the sequences that ESC or a C1 character begins
(ECMA-48, section 5), and characters that turn the direction of writing are left out. In a
pipe nothing is.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import click

# A control string ends at its terminator, or with the line: a broken one must not swallow the rest of an answer.
_UNSEEN = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*(?P<csi>[@-~])?"
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\n\x07\x1b\x9c]*(?P<string>\x07|\x1b\\|\x9c|\x1b\Z)?"
    r"|\x1b[ -/]*(?P<escape>[0-~])?"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
_STRINGS = frozenset("\x90\x98\x9d\x9e\x9f")


class Cleaner:
    """Clean text that comes in pieces, cut anywhere."""

    def __init__(self) -> None:
        self._open = ""  # how the sequence begins that the last piece has left open

    def feed(self, piece: str) -> str:
        """Return what may be seen of the next piece."""
        text, self._open = self._open + piece, ""
        return _UNSEEN.sub(self._drop, text)

    def _drop(self, match: re.Match[str]) -> str:
        if match.end() == len(match.string):
            self._open = _opening(match)
        return ""


def _opening(match: re.Match[str]) -> str:
    """Return the shortest text that leaves a terminal where this one does; empty if it is complete."""
    found = match[0]
    if match["csi"] or match["escape"]:
        return ""
    between = found[-1] if " " <= found[-1] <= "/" else ""
    if found[0] == "\x9b" or found[:2] == "\x1b[":
        return f"\x1b[{between}"
    if found[0] in _STRINGS or found[1:2] in tuple("]PX^_"):
        return {None: "\x1b]", "\x1b": "\x1b]\x1b"}.get(match["string"], "")
    return f"\x1b{between}" if found[0] == "\x1b" else ""


def clean(text: str) -> str:
    """Return what may be seen of a whole text."""
    return Cleaner().feed(text)


def one_line(text: str) -> str:
    """Return what may be seen of a text, in one line."""
    return " ".join(clean(text).split())


def is_terminal() -> bool:
    """Return whether a person reads the output."""
    return sys.stdout is not None and sys.stdout.isatty()


def is_watched() -> bool:
    """Return whether a person reads the standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def drawing() -> ModuleType | None:
    """Return the module that draws with rich; None if rich is not installed, or nothing can be drawn on the output."""
    if not is_terminal() or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    try:
        return import_module(".rendering", __package__)
    except ImportError:
        return None


def say(text: str) -> None:
    """Print a whole text and a newline."""
    click.echo(clean(text) if is_terminal() else text)


def say_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells, each column as wide as it needs to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    say("\n".join(lines))


def complain(text: str) -> None:
    """Print a line to the standard error."""
    click.echo(one_line(text), err=True)
