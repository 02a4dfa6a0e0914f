"""OpenAI for providerkit, and the services that speak its chat-completions wire."""

from .dialect import Dialect, Kept
from .plugin import OpenAI

__all__ = ["Dialect", "Kept", "OpenAI"]
