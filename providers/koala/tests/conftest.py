"""Fixtures of Koala's tests."""

import pytest

import providerkit
from providerkit.testing.mocking import mocked

__all__ = ["mocked", "sandbox", "without_key"]


@pytest.fixture(autouse=True)
def without_key(monkeypatch):
    monkeypatch.delenv("KOALA_API_KEY", raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
async def sandbox():
    async with providerkit.sandbox("koala") as base_url:
        yield base_url
