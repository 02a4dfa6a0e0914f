"""The bottom rows of a terminal, which are drawn again and again below what stays.

No thread draws: rows change when the caller says so, and each change is one write. What others print meanwhile
(a note, a warning, a plugin's `print`) goes above the rows, in whichever thread it is printed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from threading import RLock, current_thread, main_thread
from typing import TYPE_CHECKING, Any, Self, TextIO

from rich.cells import get_character_cell_size

if TYPE_CHECKING:
    from rich.console import Console

# A row is one row even if the terminal takes a character for wider than it was counted (DEC private mode 7).
_UNWRAPPED, _WRAPPED = "\x1b[?7l", "\x1b[?7h"
_ECHO = 3  # columns that are left free, for what the terminal itself writes: "^C"


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off an interrupt until the end, so that nothing is drawn by halves; a second one does not wait."""
    handler = signal.getsignal(signal.SIGINT)  # the command line has one of its own
    if current_thread() is not main_thread() or not callable(handler):
        yield
        return
    interrupts = []

    def put_off(number: int, frame: object) -> None:
        interrupts.append(number)
        signal.signal(signal.SIGINT, handler)

    signal.signal(signal.SIGINT, put_off)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    for number in interrupts:
        handler(number, None)


class Screen:
    """Rows at the bottom of a terminal; leaving it removes them."""

    def __init__(self, console: Console) -> None:
        self._file = console.file
        self._console = console
        self._lock = RLock()
        self._rows: list[str] | None = []  # None if a write was interrupted, so that nobody knows
        self._others = ExitStack()

    def __enter__(self) -> Self:
        for stream, redirect in ((sys.stdout, redirect_stdout), (sys.stderr, redirect_stderr)):
            if stream is not None and stream.isatty():
                above = self._others.enter_context(_Above(stream, self.step_aside))
                self._others.enter_context(redirect(above))
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            self.show([])
        finally:
            self._others.close()

    @property
    def width(self) -> int:
        """The columns of a row."""
        return max(1, self._console.width - _ECHO)

    @property
    def height(self) -> int:
        """The rows that can be removed again: those that are still on the screen."""
        lines = 0
        with suppress(OSError):  # not a terminal, as in a test
            lines = os.get_terminal_size(self._file.fileno()).lines  # whatever LINES says
        return max(1, (lines or self._console.height) - 1)

    def show(self, rows: Sequence[str], above: str = "") -> None:
        """Print whole lines, which stay, and draw rows below them in place of the earlier ones."""
        with self._lock:
            earlier, rows = self._rows, rows[-self.height :] if self._console.is_terminal else []
            if above or rows != earlier:
                self._rows = None
                self._file.write(_change(earlier, rows, above))
                self._file.flush()
                self._rows = list(rows)

    def step_aside(self, write: Callable[[], object]) -> None:
        """Remove the rows while something else is written."""
        with self._lock:
            rows = self._rows or []
            self.show([])
            write()
            self.show(rows)


def _change(earlier: Sequence[str] | None, rows: Sequence[str], above: str) -> str:
    """Return what turns the earlier rows into these; the cursor stands behind the last of them."""
    if earlier is None:
        back, same = "\n", 0
    elif not earlier:
        back, same = "", 0
    else:
        same = 0 if above else _count_same(earlier, rows)
        up = len(earlier) - 1 - same
        back = f"\r\x1b[{up}A\x1b[J" if up else "\r\x1b[J"
    below = "\n".join(rows[same:])
    return f"{back}{above}{_UNWRAPPED}{below}{_WRAPPED}" if below else f"{back}{above}"


def _count_same(earlier: Sequence[str], rows: Sequence[str]) -> int:
    """Count the first rows that stay as they are; the last one never does, since the cursor stands in it."""
    same = 0
    for one, other in zip(earlier[:-1], rows[:-1], strict=False):
        if one != other:
            break
        same += 1
    return same


class _Above:
    """A stream whose lines are printed above the rows."""

    def __init__(self, stream: TextIO, step_aside: Callable[[Callable[[], object]], None]) -> None:
        self._stream = stream
        self._step_aside = step_aside
        self._line = ""  # that is not whole

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._stream.write(self._line)

    def write(self, text: str) -> int:
        """Print the lines that this completes."""
        lines, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            self._step_aside(lambda: self._print(lines + newline))
        return len(text)

    def _print(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def flush(self) -> None:
        """Wait for the end of the line."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def last_rows(text: str, width: int, height: int) -> list[str]:
    """Return the last rows that a text fills; each line is broken wherever the width ends."""
    rows: list[str] = []
    for line in reversed(text.rsplit("\n", height)[-height:]):
        rows[:0] = _break(line, width, height)
        if len(rows) >= height:
            break
    return rows[-height:]


def _break(line: str, width: int, height: int) -> list[str]:
    hidden = max(0, len(line) // width - height) * width  # what can't be among the last rows, however wide it is
    line = line[hidden:].expandtabs()
    if line.isascii():
        return [line[start : start + width] for start in range(0, len(line), width)] or [""]
    rows, column = [""], 0
    for character in line:
        size = get_character_cell_size(character)
        if column + size > width:
            rows.append("")
            column = 0
        rows[-1] += character
        column += size
    return rows
