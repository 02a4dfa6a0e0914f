"""Parrot for providerkit."""

# The entry point in pyproject.toml leads here. Import nothing more: whoever lists models pays for it.
from .plugin import Parrot

__all__ = ["Parrot"]
