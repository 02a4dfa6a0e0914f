"""Extensions that are active for a block, and know the keys of the runs in it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Self

from ..errors import ConfigurationError
from ..plugins.hookspecs import hookimpl
from ..plugins.loading import activate
from ..wire.requests import Endpoint, Request
from .redaction import secrets_of


class BlockExtension:
    """Be active for the runs that start within `with`; one block at a time."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._block: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        if self._block is not None:
            raise ConfigurationError(f"this {type(self).__name__} is active in a block already; make another one")
        self._block = activate(self)
        self._block.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        assert self._block is not None  # it was entered
        self._block.__exit__(None, None, None)
        self._block = None

    @hookimpl(wrapper=True)
    def build_request(self, endpoint: Endpoint) -> Generator[None, Request, Request]:
        """Learn the key of the call, which a transport could not tell from other words."""
        self._secrets |= secrets_of(endpoint)
        return (yield)

    @hookimpl(wrapper=True)
    def build_models_request(self, endpoint: Endpoint) -> Generator[None, Request, Request]:
        """Learn the key of the call."""
        self._secrets |= secrets_of(endpoint)
        return (yield)
