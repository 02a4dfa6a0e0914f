"""The standard input: UTF-8, whoever writes it.

Bytes that are not UTF-8 become U+FFFD, and a note says so: silently, a file in another encoding would be sent damaged.
"""

from __future__ import annotations

import errno
import select
import sys
from contextlib import suppress

import click

from .terminal import complain

PATIENCE = 1.0  # seconds that nothing may come before a note says what is waited for


def is_typed() -> bool:
    """Return whether a person types the input."""
    return sys.stdin is not None and sys.stdin.isatty()


def read_all() -> str:
    """Return all of the input; "" if there is none, or if it is not open for reading, as `nohup` leaves it."""
    try:
        _note_a_wait()
        return _decode(sys.stdin.buffer.read() if sys.stdin is not None else b"")
    except OSError as error:
        if error.errno == errno.EBADF:
            return ""
        raise click.UsageError(f"the standard input can't be read: {error.strerror}") from None


def _note_a_wait() -> None:
    """Say that the input is waited for if none has come for a while: a pipe that nobody closes never ends."""
    try:
        ready, _, _ = select.select([sys.stdin], [], [], PATIENCE)
    except (OSError, ValueError, TypeError):  # it is not a file of the system, or the system can't be asked
        return
    if not ready:
        complain("Waiting for the standard input to end; if there is none to come, add < /dev/null.")


def read_line() -> str:
    """Return the next line; raises EOFError at the end."""
    line = sys.stdin.buffer.readline() if sys.stdin is not None else b""
    if not line:
        raise EOFError
    return _decode(line).removesuffix("\n").removesuffix("\r")


def type_line(prompt: str) -> str:
    """Let a person type a line, and return it; raises EOFError at the end."""
    with suppress(AttributeError):  # it may be no TextIOWrapper
        sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    return _decode(input(prompt).encode("utf-8", "surrogateescape"))


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        complain(
            f"Note: the input is not UTF-8 at byte {error.start}; such bytes are read as U+FFFD. "
            "Convert it first, with iconv for instance."
        )
        return data.decode("utf-8-sig", "replace")
