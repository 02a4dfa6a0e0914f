"""What a person sees at the end: an emulated terminal, with all that has scrolled out of it."""

from __future__ import annotations

import pyte


class Terminal:
    """A terminal that remembers every line."""

    def __init__(self, width: int, height: int) -> None:
        self._screen = pyte.HistoryScreen(width, height, history=100_000)
        self._stream = pyte.Stream(self._screen)

    def feed(self, text: str) -> None:
        self._stream.feed(text)

    def resize(self, width: int, height: int) -> None:
        self._screen.resize(height, width)

    @property
    def lines(self) -> list[str]:
        """All lines, without the blanks at their ends and the empty lines at the end."""
        scrolled = (
            "".join(line[column].data for column in range(self._screen.columns)) for line in self._screen.history.top
        )
        return "\n".join(line.rstrip() for line in (*scrolled, *self._screen.display)).rstrip("\n").split("\n")


def seen(text: str, width: int = 80, height: int = 24) -> list[str]:
    """Return the lines that a person sees after a program has written `text`."""
    terminal = Terminal(width, height)
    terminal.feed(text)
    return terminal.lines
