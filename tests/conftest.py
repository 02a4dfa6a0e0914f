"""What all tests stand on."""

import signal
from collections.abc import Iterator

import pytest
from packages import flock, install, site

from providerkit.testing.mocking import mocked

__all__ = ["flock", "install", "mocked", "site"]


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """Take interrupts as a terminal would give them: what starts programs in the background ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
