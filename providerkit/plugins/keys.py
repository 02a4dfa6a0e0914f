"""Keys: what a call is given, else what the environment holds, else what the keyring of the system keeps.

The keyring is the extra `keyring`, and is asked last, on a thread of its own: one that waits
for D-Bus, or for a person to unlock it, may never answer. What it said is remembered as long
as the process lives, and so is that it failed. No key shows in what is raised here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConfigurationError
from ..wire import mask_of
from ..wire.secrets import Secret

if TYPE_CHECKING:
    from ..chat.models import ProviderInfo

T = TypeVar("T")

SERVICE = "providerkit"  # whose keys these are, to the keyring; the user's name is the provider's
PATIENCE = 2.0  # seconds that a call waits for a keyring, once
UNLOCKING = 60.0  # seconds that a person may take to unlock it

logger = logging.getLogger("providerkit")


class Keyring:
    """Ask the keyring of the system; `trouble` says why it is asked no more, None while it is."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.trouble: str | None = None
        self._patience = patience
        self._said: dict[str, str | None] = {}

    def get(self, name: str) -> str | None:
        """Return the key that is kept under a name; None if there is none, or no keyring that answers."""
        if name not in self._said:
            self._said[name] = _unless_blank(self._ask_if_it_works(lambda keyring: keyring.get_password(SERVICE, name)))
        return self._said[name]

    def backend(self) -> str | None:
        """Name what keeps the keys; None if nothing does that answers."""
        return self._ask_if_it_works(_name_backend)

    def check(self) -> None:
        """Raise ConfigurationError unless something keeps keys; a person may be asked to unlock it."""
        self._insist(_name_backend)

    def set(self, name: str, key: Secret) -> str:
        """Keep a key, and name what keeps it; raises ConfigurationError if nothing does."""

        def keep(keyring: Any) -> tuple[str, bool]:
            keyring.set_password(SERVICE, name, key.reveal())
            return keyring.get_keyring().name, keyring.get_password(SERVICE, name) == key.reveal()

        where, kept = self._insist(keep, hidden=key.reveal())
        self._forget(name)
        if not kept:  # as the null backend, which takes everything and keeps nothing
            raise ConfigurationError(f"the keyring ({where}) took the key but did not keep it")
        return where

    def remove(self, name: str) -> bool:
        """Remove a key; False if there was none. Raises ConfigurationError if no keyring answers."""

        def remove(keyring: Any) -> bool:
            found = keyring.get_password(SERVICE, name) is not None
            if found:
                keyring.delete_password(SERVICE, name)
            return found

        found = self._insist(remove)
        self._forget(name)
        return found

    def _forget(self, name: str) -> None:
        self._said.pop(name, None)
        self.trouble = None

    def _ask_if_it_works(self, question: Callable[[Any], T]) -> T | None:
        if self.trouble is not None or not is_installed():
            return None
        try:
            return _ask(question, self._patience)
        except ConfigurationError as error:
            self.trouble = str(error)
            logger.info("%s; going on without it", error)
            return None

    def _insist(self, question: Callable[[Any], T], hidden: str = "") -> T:
        if not is_installed():
            raise ConfigurationError("keyring is not installed; run: pip install keyring")
        try:
            return _ask(question, UNLOCKING)
        except ConfigurationError as error:
            error.redact(mask_of((hidden,) if hidden else ()))
            raise


def _name_backend(keyring: Any) -> str:
    keyring.get_password(SERVICE, "")  # a backend that can't be used has a name all the same
    found: str = keyring.get_keyring().name
    return found


def is_installed() -> bool:
    """Return whether the extra `keyring` is installed, without importing it."""
    return find_spec("keyring") is not None


def _ask(question: Callable[[Any], T], seconds: float) -> T:
    """Ask on a thread, which is left behind where no answer comes; raises ConfigurationError then."""
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(question(import_module("keyring")))
        except BaseException as error:  # noqa: BLE001 - a backend may raise anything, and the thread ends with it
            answer.set_exception(error)

    thread = Thread(target=work, name="providerkit-keyring", daemon=True)
    thread.start()
    thread.join(seconds)
    if not answer.done():
        raise ConfigurationError(f"the keyring did not answer within {seconds:g} s")
    error = answer.exception()
    if error is None:
        return answer.result()
    first_sentence, _, _ = str(error).partition(". ")  # what follows is advice on keyring itself
    raise ConfigurationError(f"the keyring can't be used: {type(error).__name__}: {first_sentence}")


system_keyring = Keyring()


def find_key(info: ProviderInfo, given: str | None = None) -> Secret | None:
    """Return the key for a provider, None if there is none.

    A blank one in the environment or the keyring counts as none: it is what a line of an
    .env file leaves that has nothing behind its "=". Raises InvalidOption for one that
    can't be sent, and for a blank one that was given.
    """
    key = given if given is not None else _in_environment(info) or _in_keyring(info)
    return None if key is None else Secret(key)


def key_source(info: ProviderInfo) -> str | None:
    """Return where a key is found by a call that is given none: "environment", "keyring" or None."""
    if _in_environment(info):
        return "environment"
    return "keyring" if _in_keyring(info) else None


def _in_environment(info: ProviderInfo) -> str | None:
    return next(filter(None, (_unless_blank(os.environ.get(name)) for name in info.key_variables)), None)


def _unless_blank(key: str | None) -> str | None:
    return key if key and key.strip() else None


def _in_keyring(info: ProviderInfo) -> str | None:
    """Ask for the keys of those alone who name a variable: others take none."""
    return system_keyring.get(info.name) if info.key_variables else None
