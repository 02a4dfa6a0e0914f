"""`providerkit sandbox`: serve a provider's imitation."""

from __future__ import annotations

import threading
from contextlib import suppress

import click

import providerkit

from .options import complete_provider, examples


@click.command(
    epilog=examples(
        "providerkit sandbox koala",
    )
)
@click.argument("name", shell_complete=complete_provider)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Listen on this port of 127.0.0.1.",
)
def sandbox(name: str, port: int) -> None:
    """Serve the imitation of the provider NAME on this machine until interrupted.

    The first line is its address. It speaks the provider's wire, and is not the service.
    """
    with suppress(KeyboardInterrupt), providerkit.sandbox(name, port=port) as base_url:
        click.echo(base_url)
        click.echo(f"Ctrl-C stops it. Try: providerkit run -p {name} --base-url {base_url} Hello", err=True)
        threading.Event().wait()
