"""What every provider promises: requests, decoders, errors, faults. A check that fails says what to read."""

from providerkit_parrot import Parrot

from providerkit.testing import ProviderContract


class TestParrot(ProviderContract):
    """Hold Parrot to the contract of providers."""

    provider = Parrot()
