"""A file that holds what was said is its owner's alone, and is a file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from providerkit.extensions.files import check_file, make_private, open_private

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o640, 0o604, 0o660])
def test_a_file_that_is_there_becomes_its_owners_alone(tmp_path: Path, mode: int):
    path = tmp_path / "file"
    path.write_bytes(b"a")
    path.chmod(mode)
    assert make_private(path)
    assert (mode_of(path), path.read_bytes()) == (0o600, b"a")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_file_is_its_owners_alone(tmp_path: Path, umask: int):
    path = tmp_path / "file"
    before = os.umask(umask)
    try:
        for data in (b"a", b"b"):
            with open_private(path, "ab") as file:
                file.write(data)
    finally:
        os.umask(before)
    assert (mode_of(path), path.read_bytes()) == (0o600, b"ab")


def test_a_link_to_a_file_is_that_file(tmp_path: Path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.touch(0o644)
    link.symlink_to(path)
    with open_private(link, "wb") as file:
        file.write(b"a")
    assert (mode_of(path), path.read_bytes()) == (0o600, b"a")


def test_no_file_is_none(tmp_path: Path):
    assert check_file(tmp_path / "file") is None
    assert not make_private(tmp_path / "file")


def test_what_is_something_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    for name, kind in {"pipe": "a named pipe", "socket": "a socket", os.devnull: "a device"}.items():
        with pytest.raises(OSError, match=f"it is {kind}; expected a file"):
            check_file(Path(name))
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        check_file(tmp_path)
