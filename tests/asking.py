"""One question to a provider on loopback, and what every error that comes back must be like."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable
from typing import Any, TypeVar

import attrs
import pytest
from parrots import Parrot

import providerkit

E = TypeVar("E", bound=providerkit.ProviderKitError)

ONCE = providerkit.Retry(attempts=1)
KEY = "sk-MARKED-0123456789abcdef"


async def ask(base_url: str, provider: object = Parrot, **options: Any) -> providerkit.Reply:
    """Ask with a client of its own, once, under a key that no error may show."""
    settings = {"retry": ONCE} | {name: options.pop(name) for name in ("limits", "clock") if name in options}
    async with providerkit.Client(**settings) as client:
        return await client.run("hello", provider=provider, base_url=base_url, **{"api_key": KEY, **options})


async def failure(kind: type[E], asked: Awaitable[object], *secrets: str) -> E:
    """Return the error of just this kind that `asked` raises, after a look for all that it may show."""
    with pytest.raises(kind) as caught:
        await asked
    error = caught.value
    assert type(error) is kind
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error) + repr(vars(error))
    assert [secret for secret in (KEY, *secrets) if secret in shown] == []
    return error


def on_the_wire(provider: type[Parrot], **members: Any) -> object:
    """Return a provider with some members of its own."""
    return type(provider.__name__, (provider,), members)()


@attrs.frozen
class Told:
    """Note, as an observer, what is told of a run."""

    facts: list[tuple[object, ...]] = attrs.field(factory=list)

    def __getattr__(self, what: str) -> Any:
        return lambda *facts: self.facts.append((what, *facts))
