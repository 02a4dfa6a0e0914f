"""Views that draw with rich on a terminal: Markdown, and answers side by side.

rich is an extra, so this module is imported only if it is installed and can be used. What is drawn at the end says all
that came: what Markdown would hide is printed as it came.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from markdown_it import MarkdownIt
from rich.console import Console, RenderableType
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

import providerkit

from . import answers
from .options import told
from .screen import Screen, last_rows, uninterrupted
from .terminal import Cleaner, one_line

if TYPE_CHECKING:
    from ..chat.events import Event
    from ..chat.replies import Reply
    from ..errors import ProviderKitError

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)")
# A line that is indented, or an item, may belong to the list above it.
_BEGINS_BLOCK = re.compile(r"\*\*|[^\s*+\-\d]")
_NARROWEST = 20  # columns of text that can still be read
_REDRAW_INTERVAL = 0.125  # seconds
# What a drawing may leave out: the number of an item, the language of code; and what styles the rest.
_UNDRAWN = re.compile(r"^[ \t]*(?:\d+[.)]|(?:`{3,}|~{3,}).*$)", re.MULTILINE)
_STYLES = re.compile(r"\x1b\[[\d;]*m")


def view(labels: Sequence[str]) -> answers.View:
    """Return what draws one answer, or several side by side; one below the other if the terminal is too narrow."""
    console = Console(file=sys.stdout, highlight=False)
    if len(labels) == 1:
        return Page(console)
    return Columns(labels, console) if console.width // len(labels) >= _NARROWEST else answers.Sections(labels)


class Page:
    """Draw one answer as Markdown, each block once it is complete; the last one is plain text until then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._screen = Screen(console)
        self._cleaner = Cleaner()
        self._blocks = Blocks()
        self._begun = False

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            self._end_block()
        finally:
            self._screen.__exit__()

    def event(self, number: int, event: Event) -> None:
        """Draw the blocks that this completes, and what has come of the next."""
        if isinstance(event, providerkit.TextDelta):
            self._blocks.feed(self._cleaner.feed(event.text))
            self._draw()
        elif isinstance(event, providerkit.Restart):
            self._end_block()

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Leave it to the caller to report an error."""

    def _draw(self) -> None:
        rest = self._blocks.rest
        rows = last_rows(rest, self._screen.width, self._screen.height) if rest and not rest.isspace() else []
        with uninterrupted():
            self._screen.show(rows, self._draw_blocks(self._blocks.done))
            self._blocks.done.clear()

    def _end_block(self) -> None:
        with uninterrupted():
            self._screen.show([], self._draw_blocks([*self._blocks.done, self._blocks.rest]))
            self._blocks = Blocks()

    def _draw_blocks(self, blocks: Sequence[str]) -> str:
        """Return what a terminal shows as these blocks, with an empty line before each but the first."""
        drawn = ""
        for block in filter(str.strip, blocks):
            drawn += "\n" * self._begun + _draw_block(self._console, block.strip("\n"))
            self._begun = True
        return drawn


class Blocks:
    """Markdown that comes in pieces, cut between blocks that nothing that follows can change.

    `done` are those that are complete, until the caller takes them out, and `rest` is what follows.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.rest = ""
        self._line = 0  # where the line begins in `rest` that is not complete
        self._fence = ""  # of the code that the line is in
        self._after_blank = False

    def feed(self, piece: str) -> None:
        """Take in the next piece of the text."""
        self.rest += piece
        begin = 0
        while True:
            if self._after_blank and _BEGINS_BLOCK.match(self.rest, self._line):
                self.done.append(self.rest[begin : self._line])
                begin = self._line
                self._after_blank = False
            newline = self.rest.find("\n", self._line)
            if newline < 0:
                break
            self._read(self.rest[self._line : newline])
            self._line = newline + 1
        self.rest = self.rest[begin:]
        self._line -= begin

    def _read(self, line: str) -> None:
        fence = _FENCE.match(line)
        if self._fence:
            if fence and fence[1].startswith(self._fence) and not fence[2].strip():
                self._fence = ""
        elif fence:
            self._fence = fence[1]
        self._after_blank = not (self._fence or line.strip())


def _draw_block(console: Console, text: str) -> str:
    """Return what a terminal shows as this Markdown; as the text itself if something of it would not be seen."""
    drawn = _print(console, _markdown(text))
    hidden = _visible(_UNDRAWN.sub("", text)) - _visible(_STYLES.sub("", drawn))
    return f"{text}\n" if hidden else drawn


def _print(console: Console, drawing: RenderableType) -> str:
    with console.capture() as capture:
        console.print(drawing)
    return capture.get()


def _markdown(text: str) -> Markdown:
    """Read Markdown without what says less than it holds: tags, entities, pictures, and addresses named elsewhere."""
    markdown = Markdown(text, hyperlinks=False)  # the reader sees where a link leads
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    parser.disable(["reference", "entity", "image"])
    markdown.parsed = parser.parse(text)
    return markdown


def _visible(text: str) -> Counter[str]:
    """Count the characters that aren't markup."""
    return Counter(character for character in text if character.isalnum() or character > "\x7f")


class Columns:
    """Draw answers side by side while they come, as far as the screen reaches; at the end, all of each.

    It is used on one event loop, which draws.
    """

    def __init__(self, labels: Sequence[str], console: Console) -> None:
        self._labels = labels
        self._console = console
        self._screen = Screen(console)
        self._cleaners = [Cleaner() for _ in labels]
        self._texts = ["" for _ in labels]
        self._states = ["…" for _ in labels]
        self._next: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._screen.__enter__()
        self._draw()
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            if self._next is not None:
                self._next.cancel()
            self._screen.show([], _print(self._console, self._table(self._texts)))
        finally:
            self._screen.__exit__()

    def event(self, number: int, event: Event) -> None:
        """Take in text; it is drawn soon."""
        if isinstance(event, providerkit.TextDelta):
            self._texts[number] += self._cleaners[number].feed(event.text)
            self._draw_soon()
        elif isinstance(event, providerkit.Restart):
            self._texts[number] += "\n\n"

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Show below it how an answer has ended."""
        seconds = sum(attempt.seconds for attempt in reply.attempts)
        self._states[number] = f"Error: {one_line(told(error))}" if error else f"{reply.finish_reason}, {seconds:.1f} s"
        self._draw_soon()

    def _draw_soon(self) -> None:
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(_REDRAW_INTERVAL, self._draw)

    def _draw(self) -> None:
        self._next = None
        width = self._console.width // len(self._labels) - 4  # the lines between columns, and the air
        height = max(1, self._screen.height - 8)
        table = self._table(["\n".join(last_rows(text, width, height)) for text in self._texts])
        self._screen.show(_print(self._console, table).split("\n"))  # the last row is empty

    def _table(self, texts: Sequence[str]) -> RenderableType:
        table = Table(show_footer=True, expand=True)
        for label, state in zip(self._labels, self._states, strict=True):
            table.add_column(Text(one_line(label)), Text(state), ratio=1, overflow="fold")
        table.add_row(*map(Text, texts))
        return table
