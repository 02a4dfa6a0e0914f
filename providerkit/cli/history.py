"""Line editing, and the file that remembers the lines: the standard library's readline, where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

LENGTH = 1000  # lines that are kept


def history_file() -> Path:
    """Say where the lines are kept (XDG Base Directory Specification 0.8: state)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    state = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return state / "providerkit" / "history"


@contextmanager
def line_editing() -> Iterator[None]:
    """Edit lines, with those of earlier times at hand; a file that can't be used is no reason not to talk."""
    try:
        import readline  # Windows has none
    except ImportError:
        yield
        return
    readline.clear_history()
    with _optional():
        readline.read_history_file(history_file())
    try:
        yield
    finally:
        with _optional():
            _create(history_file())
            readline.set_history_length(LENGTH)
            readline.write_history_file(history_file())


def _optional() -> AbstractContextManager[None]:
    return suppress(OSError, RuntimeError)  # the latter where there is no home


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)  # it may be older, and libedit leaves its mode as it is
