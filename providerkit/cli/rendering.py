"""Views that draw with rich on a terminal: Markdown, and answers side by side.

rich is an extra, so this module is imported only where it is there and can be used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

import providerkit

from . import answers
from .options import told
from .terminal import Cleaner, one_line

if TYPE_CHECKING:
    from ..errors import ProviderKitError
    from ..events import Event, Reply

_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
# A line that is indented, or an item, may belong to the list above it.
_BETWEEN_BLOCKS = re.compile(r"\n[ \t]*\n(?=\*\*|[^\s*+\-\d])")
_NARROWEST = 20  # columns of text that can still be read


def view(labels: Sequence[str]) -> answers.View:
    """Give what draws one answer, or several side by side; below each other where the terminal is too narrow."""
    console = Console(highlight=False)
    if len(labels) == 1:
        return Page(console)
    return Columns(labels, console) if console.width // len(labels) >= _NARROWEST else answers.Sections(labels)


class Page:
    """Draw one answer as Markdown, each block once it is complete; the last one is plain text until then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._cleaner = Cleaner()
        self._text = ""  # of the last block
        self._live = Live(console=console, get_renderable=self._last_lines, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        text, self._text = self._text, ""
        self._live.stop()
        if text.strip():
            self._console.print(_markdown(text))

    def event(self, number: int, event: Event) -> None:
        """Draw the blocks that this completes."""
        if not isinstance(event, providerkit.TextDelta):
            return
        self._text += self._cleaner.feed(event.text)
        end = _end_of_blocks(self._text)
        if end:
            done, self._text = self._text[:end], self._text[end:]
            self._console.print(_markdown(done), "")

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Leave it to the caller to tell of an error."""

    def _last_lines(self) -> RenderableType:
        return _last_lines(self._text, self._console, self._console.width, self._console.height - 1)


def _markdown(text: str) -> Markdown:
    return Markdown(text.strip("\n"), hyperlinks=False)  # the reader sees where a link leads


def _end_of_blocks(text: str) -> int:
    """Say how much of a text is complete blocks; a blank line within a fence ends none."""
    ends = [match.end() for match in _BETWEEN_BLOCKS.finditer(text)]
    fences = [match.start() for match in _FENCE.finditer(text)]
    if len(fences) % 2:
        ends = [end for end in ends if end <= fences[-1]]
    return next((end for end in reversed(ends) if sum(fence < end for fence in fences) % 2 == 0), 0)


def _last_lines(text: str, console: Console, width: int, height: int) -> Text:
    """Give what fits of the end of a text."""
    lines = Text(text[-width * height :]).wrap(console, width)
    return Text("\n").join(lines[-height:])


class Columns:
    """Draw answers side by side while they come, as far as the screen reaches; at the end, all of each."""

    def __init__(self, labels: Sequence[str], console: Console) -> None:
        self._labels = labels
        self._console = console
        self._cleaners = [Cleaner() for _ in labels]
        self._texts = ["" for _ in labels]
        self._states = ["…" for _ in labels]
        self._ended = False
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended = True
        self._live.stop()

    def event(self, number: int, event: Event) -> None:
        """Take in text; it is drawn when the time has come."""
        if isinstance(event, providerkit.TextDelta):
            self._texts[number] += self._cleaners[number].feed(event.text)

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Say below it how an answer has ended."""
        seconds = sum(attempt.seconds for attempt in reply.attempts)
        self._states[number] = f"Error: {one_line(told(error))}" if error else f"{reply.finish_reason}, {seconds:.1f} s"

    def _table(self) -> RenderableType:
        table = Table(show_footer=True, expand=True)
        width = self._console.width // len(self._labels) - 4  # the lines between columns, and the air
        for label, state in zip(self._labels, self._states, strict=True):
            table.add_column(Text(one_line(label)), Text(state), ratio=1)
        height = max(1, self._console.height - 8)
        table.add_row(
            *(Text(text) if self._ended else _last_lines(text, self._console, width, height) for text in self._texts)
        )
        return table
