"""Keyrings of the tests' own, in the place of the system's."""

import keyring
import pytest
from keyring.backend import KeyringBackend

from providerkit import keys


class Memory(KeyringBackend):
    """Keep keys as long as the test lasts, and count how often it was asked."""

    priority = 0  # never chosen by itself
    name = "memory of the tests"

    def __init__(self):
        super().__init__()
        self.kept = {}
        self.asked = []

    def get_password(self, service, username):
        self.asked.append((service, username))
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


def use(backend, monkeypatch, patience=30.0):
    """Put a backend in the place of the system's, before a Keyring that remembers nothing."""
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    monkeypatch.setattr(keys, "system_keyring", keys.Keyring(patience))
    return before


@pytest.fixture
def memory(monkeypatch):
    """Give the keyring that keeps keys in this test."""
    backend = Memory()
    before = use(backend, monkeypatch)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture
def any_backend(monkeypatch):
    """Give a function that uses a backend in this test."""
    before = []
    yield lambda backend, **options: before.append(use(backend, monkeypatch, **options))
    for backend in reversed(before):
        keyring.set_keyring(backend)
