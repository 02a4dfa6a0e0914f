"""What plugin authors test with (extra `testing`)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .contract import ProviderContract

__all__ = ["ProviderContract"]


def __getattr__(name: str) -> object:
    """Load the contract on first use: it brings pytest, which faults and recordings do without."""
    if name != "ProviderContract":
        raise AttributeError(f"module 'providerkit.testing' has no attribute {name!r}")
    from .contract import ProviderContract  # see above

    return ProviderContract
