"""Count what runs cost, in US dollars; a price that is not known is None, never 0.

The prices are those of the package genai-prices (the extra `cost`), as they were when it
was released: nothing is fetched, unless its own UpdatePrices is started.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .. import ConfigurationError, ProviderKitError, Reply, hookimpl

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

NOTHING = Decimal(0)


class Cost:
    """Sum up what the runs cost that name it in `extensions`, and price a reply.

    `providers` says under which name genai-prices knows a provider that it does not know
    by ours: `Cost(providers={"office": "openai"})`. A reply from a cache or a cassette has
    cost nothing. Runs of several threads and event loops may share it.
    """

    def __init__(self, *, providers: Mapping[str, str] | None = None) -> None:
        self._providers = dict(providers or {})
        self._known = NOTHING
        self._unpriced = 0
        self._lock = threading.Lock()
        with suppress(ConfigurationError):  # which a run is told
            _pricing()  # now: its import takes a third of a second, of an event loop's if a run were the first

    def __repr__(self) -> str:
        """Say what is known."""
        return f"<Cost: {self._known} USD, {self._unpriced} unpriced>"

    @property
    def total(self) -> Decimal | None:
        """Give what all of it has cost; None where the price of one answer is not known."""
        return None if self._unpriced else self._known

    @property
    def known(self) -> Decimal:
        """Give what those answers have cost whose price is known: the least that it can have been."""
        return self._known

    @property
    def unpriced(self) -> int:
        """Count the answers whose price is not known, those that broke off or were left among them."""
        return self._unpriced

    def of(self, reply: Reply) -> Decimal | None:
        """Price a reply; None where the provider counted no tokens, or nobody knows its prices.

        Attempts that broke off before it are not in it: nobody says what they cost.
        """
        if reply.attempts and reply.attempts[-1].source not in ("network", None):
            return NOTHING
        return self._price(reply)

    @hookimpl
    def observe(self) -> object:
        """Follow one run."""
        _pricing()
        return _Bill(self)

    def _add(self, price: Decimal | None) -> None:
        with self._lock:
            if price is None:
                self._unpriced += 1
            else:
                self._known += price

    def _price(self, reply: Reply) -> Decimal | None:
        usage, model = reply.usage, reply.model
        if usage is None or usage.input_tokens is None or usage.output_tokens is None or model is None:
            return None
        name = self._providers.get(str(reply.provider), str(reply.provider))
        prices = _pricing()
        try:
            counted = prices.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
            )
            found: PriceCalculation = prices.calc_price(counted, model, provider_id=name)
        except (LookupError, ValueError):  # a provider or model that it does not know; counts that can't be
            return None
        # It also takes names that only contain one it knows, and a stranger's prices are worse than none.
        return found.total_price if _letters(found.provider.id) == _letters(name) else None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _pricing() -> Any:
    """Give the package of prices, which only who asks for them needs."""
    try:
        import genai_prices  # an extra
    except ImportError:
        raise ConfigurationError("the extension cost needs genai-prices: pip install genai-prices") from None
    return genai_prices


class _Bill:
    """Observe one run, and add up its answers."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._began = False

    def events(self, batch: tuple[object, ...]) -> None:
        """Note that there is something to pay for."""
        self._began = True

    def retry(self, error: ProviderKitError, delay: float) -> None:
        """Note an answer that broke off."""
        self._break_off()

    def error(self, error: ProviderKitError | None) -> None:
        """Note an answer that broke off or was left."""
        self._break_off()

    def finish(self, reply: Reply) -> None:
        """Add what the answer cost."""
        self._cost._add(self._cost.of(reply))

    def _break_off(self) -> None:
        if self._began:
            self._cost._add(None)
        self._began = False
