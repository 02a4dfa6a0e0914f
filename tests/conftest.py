"""What all tests stand on.

Most tests need little of it, and a loop of one file is to be short: what takes time to
import (aiohttp, keyring) is imported by the fixture that needs it.
"""

import logging
import os
import re
import signal
from importlib.util import find_spec

import pytest
from leftovers import Leftovers
from packages import flock, install, site

from providerkit.testing.mocking import mocked

__all__ = ["flock", "install", "mocked", "site"]

# What a developer may have set, and what a test would see of it.
FOREIGN = re.compile(
    r"(?i:.*_API_KEY|.*_PROXY)|(PROVIDERKIT|OTEL)_.*|PYTEST_(ADDOPTS|PLUGINS|THEME.*)"
    r"|PYTHON(?!PATH$|HOME$|PYCACHEPREFIX$|DONTWRITEBYTECODE$).*|NO_COLOR|(FORCE_|CLI)COLOR.*|TTY_.*|COLUMNS|LINES"
)

# Tests with another system are collected where it is installed: in the tox environment of its own.
collect_ignore = [
    folder
    for folder, needed in [
        ("gpt4free", "g4f"),
        ("notebook", "nbclient"),
        ("official", "openai"),
        ("plots", "matplotlib"),
    ]
    if find_spec(needed) is None
]


def pytest_configure(config: pytest.Config) -> None:
    """Keep out what a developer may have set, and take interrupts as a terminal would give them."""
    config.pluginmanager.register(Leftovers(), "leftovers")
    patch = pytest.MonkeyPatch()
    for variable in filter(FOREIGN.fullmatch, list(os.environ)):
        patch.delenv(variable)
    patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    config.add_cleanup(patch.undo)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background ignores them
    config.add_cleanup(lambda: signal.signal(signal.SIGINT, before) and None)
    logging.getLogger("asyncio").addFilter(is_complaint)


def is_complaint(record: logging.LogRecord) -> bool:
    """Return whether a record is more than asyncio's note, in its debug mode, that the machine is slow."""
    return not str(record.msg).startswith("Executing ")


@pytest.fixture
def memory(monkeypatch):
    """Yield the keyring that keeps keys in this test."""
    from keyrings import Memory, used  # here: keyring takes long to import

    with used(monkeypatch) as use:
        yield use(Memory())


@pytest.fixture
def any_backend(monkeypatch):
    """Yield a function that uses a backend in this test."""
    from keyrings import used  # here: keyring takes long to import

    with used(monkeypatch) as use:
        yield use
