"""Koala (koala.sh) for providerkit."""

from .plugin import Koala

__all__ = ["Koala"]
