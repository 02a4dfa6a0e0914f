"""Fixtures of all tests."""

from providerkit.testing.mocking import mocked

__all__ = ["mocked"]
