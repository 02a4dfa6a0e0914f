"""Keyrings of the tests' own, in the place of the system's."""

from contextlib import contextmanager

import keyring
from keyring.backend import KeyringBackend

from providerkit.plugins import keys


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


@contextmanager
def used(monkeypatch):
    """Yield a function that puts a backend in the place of the system's, before a Keyring that remembers nothing."""
    before = keyring.get_keyring()

    def use(backend, patience=30.0):
        keyring.set_keyring(backend)
        monkeypatch.setattr(keys, "system_keyring", keys.Keyring(patience))
        return backend

    yield use
    keyring.set_keyring(before)
