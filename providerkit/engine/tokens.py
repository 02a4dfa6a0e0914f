"""The tokens that providers give for keys, kept as long as they are good."""

from __future__ import annotations

from typing import TypeAlias

from ..wire.secrets import Secret, Token
from .targets import Target

EARLY = 30.0  # seconds before its end that a token is asked for again: a request takes its time

Key: TypeAlias = tuple[str, str, Secret | None]


class Tokens:
    """The tokens of one Client, by provider, address and key."""

    def __init__(self) -> None:
        self._tokens: dict[Key, tuple[Secret, float]] = {}

    def get(self, target: Target, now: float) -> Secret | None:
        """Return the token of a target if it is still good."""
        secret, end = self._tokens.get(_key(target), (None, 0.0))
        return secret if now < end else None

    def keep(self, target: Target, token: Token, now: float) -> Secret:
        """Keep a token, and return its secret."""
        self._tokens = {key: kept for key, kept in self._tokens.items() if now < kept[1]}
        self._tokens[_key(target)] = token.secret, now + max(token.seconds - EARLY, token.seconds / 2)
        return token.secret

    def forget(self, target: Target) -> None:
        """Forget the token of a target, which it refuses."""
        self._tokens.pop(_key(target), None)


def _key(target: Target) -> Key:
    return target.info.name, target.endpoint.base_url, target.endpoint.api_key
