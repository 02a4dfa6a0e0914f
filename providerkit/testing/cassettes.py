"""A cassette for each test: recorded where it is missing and that is asked for, else replayed.

In the conftest.py of the tests:

    from providerkit.testing.cassettes import cassette

    __all__ = ["cassette"]

A test that takes the fixture `cassette` never reaches a provider, unless the environment
says PROVIDERKIT_RECORD=1 and it has no cassette yet. To record one again, delete it first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from ..errors import CassetteError
from ..extensions.player import Player, replay
from ..extensions.recorder import Recorder, record

RECORD_VARIABLE = "PROVIDERKIT_RECORD"
LONGEST_NAME = 150  # characters; folders take 255 bytes

_UNFIT = re.compile(r"[^\w.\-\[\]]+")


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Be active for the runs of one test, and give the path: cassettes/<file>/<test>.jsonl beside the file."""
    folder = request.path.parent / "cassettes" / request.path.stem
    path = folder / f"{_file_name(request.node.nodeid.partition('::')[2])}.jsonl"
    with _extension(path):
        yield path


def _extension(path: Path) -> Recorder | Player:
    if os.environ.get(RECORD_VARIABLE) and not path.exists():
        return record(path)
    try:
        return replay(path)
    except CassetteError as error:
        error.add_note(f"To record what is missing: {RECORD_VARIABLE}=1 pytest")
        raise


def _file_name(test: str) -> str:
    """Make a file's name of a test's, its own where characters are unfit or too many."""
    name = _UNFIT.sub("-", test.replace("::", "."))
    if name == test.replace("::", ".") and len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}-{sha256(test.encode()).hexdigest()[:8]}"
