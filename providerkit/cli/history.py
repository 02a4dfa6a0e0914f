"""Line editing, and the file that remembers the lines: the standard library's readline, where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

LENGTH = 1000  # lines that are kept, at least


def history_file() -> Path:
    """Return where the lines are kept (XDG Base Directory Specification 0.8: state)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    state = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return state / "providerkit" / "history"


@contextmanager
def line_editing() -> Iterator[Callable[[str], str]]:
    """Edit lines, with those of earlier times at hand; yields what remembers a line, and returns it.

    A file that can't be used doesn't stop the chat.
    """
    try:
        import readline  # Windows has none
    except ImportError:
        yield str
        return
    readline.clear_history()
    with _optional(), _opened(history_file()) as file:
        for line in _shorten(file):
            readline.add_history(line)
    yield _remember


def _remember(line: str) -> str:
    """Append a line at once: other chats use the file, too, and no chat knows how it will end."""
    if line.strip():
        with _optional(), _opened(history_file()) as file:
            file.seek(0, os.SEEK_END)
            file.write(line.encode() + b"\n")
    return line


def _shorten(file: BinaryIO) -> list[str]:
    """Return the last lines; leave no others in the file once they are many."""
    lines = file.read().splitlines(keepends=True)
    if len(lines) > 2 * LENGTH:
        file.seek(0)
        file.writelines(lines[-LENGTH:])
        file.truncate()
    return [line.decode("utf-8", "replace").rstrip("\n") for line in lines[-LENGTH:]]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file for one chat at a time, and for its owner alone, whoever made it."""
    import fcntl  # wherever readline is

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        os.fchmod(file.fileno(), 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _optional() -> AbstractContextManager[None]:
    return suppress(OSError, RuntimeError)  # the latter if there is no home
