"""A loaded plugin, and the errors that blame it."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import attrs

from ..errors import (
    PluginError,
)
from .boundary import claim, describe

if TYPE_CHECKING:
    pass


@attrs.frozen(eq=False)
class Plugin:
    """Hold a loaded plugin and where it came from; equal where that is the same, too."""

    name: str
    implementation: object
    distribution: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plugin) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return id(self.implementation), self.name, self.distribution


def broken(
    plugin: str,
    what: str,
    error: BaseException,
    *,
    distribution: str | None = None,
    hook: str | None = None,
) -> PluginError:
    """Return the error that blames a plugin for an exception, whose traceback becomes a note.

    It is not chained: a chained traceback can't be redacted. Raises the exception again if
    it is the caller's own, an interrupt or a cancellation.
    """
    claim(error)
    origin = f" ({distribution})" if distribution else ""
    failure = PluginError(
        f"plugin {plugin!r}{origin}: {what}: {describe(error)}",
        plugin=plugin,
        distribution=distribution,
        hook=hook,
    )
    failure.add_note("".join(traceback.format_exception(error)).rstrip())
    return failure


def refused(plugin: Plugin, reason: str) -> PluginError:
    """Return the PluginError that says why a plugin is not used."""
    origin = f" ({plugin.distribution})" if plugin.distribution else ""
    return PluginError(
        f"plugin {plugin.name!r}{origin}: {reason}", plugin=plugin.name, distribution=plugin.distribution
    )
