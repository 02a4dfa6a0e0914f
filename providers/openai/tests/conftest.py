"""Fixtures of the tests of the chat-completions wire."""

import os

import pytest

import providerkit
from providerkit.testing.mocking import mocked

__all__ = ["mocked", "sandbox", "without_keys"]


@pytest.fixture(autouse=True)
def without_keys(monkeypatch):
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
async def sandbox():
    async with providerkit.sandbox("openai") as base_url:
        yield base_url
