"""What all tests stand on."""

import signal
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from keyrings import any_backend, memory
from packages import flock, install, site

from providerkit.testing.mocking import mocked

__all__ = ["any_backend", "flock", "install", "memory", "mocked", "site"]

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


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """Take interrupts as a terminal would give them: what starts programs in the background ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep out what a developer may have set."""
    for variable in ("KOALA_API_KEY", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "PROVIDERKIT_EXTENSIONS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
