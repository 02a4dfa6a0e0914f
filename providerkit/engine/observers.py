"""The observers of a run, none of which can break it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..plugins.boundary import claim
from ..plugins.hookspecs import Observer

logger = logging.getLogger("providerkit")
logger.addHandler(logging.NullHandler())


class Observers:
    """Tell the observers of a run what happens; one that raises is logged and does no harm."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, what: str, *facts: object) -> None:
        """Call the method `what` of every observer that has it."""
        for observer in self._observers:
            try:
                getattr(observer, what, _ignore)(*facts)
            except BaseException as error:  # noqa: BLE001 - the plugin boundary: watching a call must not break it
                kind = type(claim(error)).__name__
                logger.warning("observer %s: %s raised %s", type(observer).__name__, what, kind)


def _ignore(*facts: object) -> None:
    """Take what an observer has no method for."""
