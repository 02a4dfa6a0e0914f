"""Files that their owner alone may read, whoever made them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_file(path: Path) -> os.stat_result | None:
    """Return the status of a file, None if there is none; raises OSError if it is something else than a file.

    It is not opened: that would wait for whoever writes to a pipe.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}; expected a file")
    return status


def make_private(path: Path) -> bool:
    """Take a file from all but its owner; returns whether there is one. Raises OSError."""
    status = check_file(path)
    if status is not None and stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(PRIVATE)
    return status is not None


def open_private(path: Path, mode: str) -> BinaryIO:
    """Open a file for writing bytes, and make it if there is none. Raises OSError."""
    make_private(path)
    return open(path, mode, opener=_create)  # type: ignore[return-value]  # the mode is one of bytes


def _create(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)
