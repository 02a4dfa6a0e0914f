"""Plugins, loaded one by one, each behind a fence of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import (
    Argument,
    ConfigurationError,
    InvalidOption,
    ProviderKitError,
    Text,
    UnknownExtension,
    UnknownProvider,
)
from .discovery import (
    EXTENSIONS,
    NONE_INSTALLED,
    PROVIDERS,
    announced,
    distribution,
    installed,
    nearest,
    problem,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

from .plugin import Plugin, broken, refused

EXTENSIONS_VARIABLE = "PROVIDERKIT_EXTENSIONS"

T = TypeVar("T")

_loaded: dict[tuple[str, str], Plugin] = {}
_lock = threading.RLock()
_active: ContextVar[tuple[object, ...]] = ContextVar("providerkit_extensions", default=())


def load(group: str, name: str) -> Plugin:
    """Import the one plugin of that name, once.

    Raises UnknownProvider or UnknownExtension if none is installed, PluginError if it
    can't be loaded, with its distribution and the cause.
    """
    if (group, name) not in _loaded:
        entries = announced(group, name)
        if not entries:
            raise _unknown(group, name)
        _loaded.setdefault((group, name), _load(name, entries))  # another thread may have been faster
    return _loaded[group, name]


def is_loaded(provider: Plugin) -> bool:
    """Return whether a provider is the one that is loaded by its name, or was passed and has no name of that kind."""
    return provider.distribution is None or _loaded.get((PROVIDERS, provider.name)) is provider


def _unknown(group: str, name: str) -> ProviderKitError:
    names = tuple(installed(group))
    what, error = ("provider", UnknownProvider) if group == PROVIDERS else ("extension", UnknownExtension)
    near = nearest(name, names)
    advice: list[Text] = [f"; did you mean {near!r}?"] if near else []
    if group == PROVIDERS and name.partition("/")[0] in names:
        advice = ["; did you mean ", Argument("model", name), "?"]
    found = f"installed are: {', '.join(names)}" if names else NONE_INSTALLED[group]
    return error(f"there is no {what} {name!r}; {found}", *advice, name=name, installed=names)


def _load(name: str, entries: tuple[EntryPoint, ...]) -> Plugin:
    origin = distribution(entries[0])
    fault = problem(entries)
    if fault is not None:
        raise refused(Plugin(name, None, origin), fault)
    try:
        implementation = entries[0].load()
    except BaseException as error:  # noqa: BLE001 - the plugin boundary: an import may raise anything
        failure = broken(name, "it can't be imported", error, distribution=origin)
    else:
        return _plugin(name, implementation, origin)
    raise failure


def _plugin(name: str, implementation: Any, distribution: str | None = None) -> Plugin:
    """Take an instance or a module as it is, and instantiate a class, once."""
    if not isinstance(implementation, type):
        return Plugin(name, implementation, distribution)
    with _lock:
        lock = _lock_of(implementation)  # its own: a slow constructor holds up nobody else
    failure: ConfigurationError
    try:
        with lock:
            return Plugin(name, _instance_of(implementation), distribution)
    except InvalidOption as error:  # it says what it wants to be told
        failure = error
    except BaseException as error:  # noqa: BLE001 - the plugin boundary: a constructor may raise anything
        failure = broken(name, "it can't be instantiated", error, distribution=distribution)
    raise failure


@lru_cache(maxsize=256)
def _lock_of(kind: type) -> threading.RLock:
    return threading.RLock()


@lru_cache(maxsize=256)
def _instance_of(kind: type) -> object:
    return kind()


@contextmanager
def activate(*extensions: str | object) -> Iterator[None]:
    """Make extensions active for every run that starts within the block.

    They are names of installed extensions, or objects; a run sees those named by the call
    or its Client first, then those of the environment, then these: the first is outermost.
    A name that is not installed is an UnknownExtension of the run that would use it.
    """
    token = _active.set((*_active.get(), *extensions))
    try:
        yield
    finally:
        _active.reset(token)


def active_extensions(named: Iterable[str | object]) -> tuple[Plugin, ...]:
    """Load the extensions of a run that names these, outermost first, each of them once."""
    variable = os.environ.get(EXTENSIONS_VARIABLE, "")
    of_environment = [name.strip() for name in variable.split(",") if name.strip()] if variable else ()
    wanted = (named,) if isinstance(named, str) else named
    if not isinstance(wanted, (tuple, Iterable)):
        raise InvalidOption(
            Argument("extensions"), f" is {wanted!r}; it takes a list of names and objects", option="extensions"
        )
    found: dict[int, Plugin] = {}
    for item in (*wanted, *of_environment, *_active.get()):
        plugin = _extension(item)
        found.setdefault(id(plugin.implementation), plugin)
    return tuple(found.values())


def _extension(item: str | object) -> Plugin:
    return load(EXTENSIONS, item) if isinstance(item, str) else _plugin(_name_of(item), item)


def find_provider(provider: str | object) -> Plugin:
    """Load a provider by its installed name, or take the class, instance or module that was passed."""
    if isinstance(provider, Plugin):
        return provider
    return load(PROVIDERS, provider) if isinstance(provider, str) else _plugin(_name_of(provider), provider)


def _name_of(implementation: object) -> str:
    return getattr(implementation, "__name__", type(implementation).__name__)
