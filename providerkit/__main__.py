"""`python -m providerkit` is the command line."""

from .cli import start

start("python -m providerkit")
