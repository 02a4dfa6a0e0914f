"""The commands, each thin over the library.

`--help` and `providers` import no provider and no aiohttp.
"""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from typing import Any

import click

import providerkit

from ..plugins import PROVIDERS, announcements


class Commands(click.Group):
    """Report errors in one line, with the way out and a meaning in the exit code.

    1: a provider or the network failed. 2: the call is wrong. 130: interrupted.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(130)
        except providerkit.ProviderKitError as error:
            click.echo(f"Error: {' '.join(str(error).split())}", err=True)
            broken = isinstance(error, providerkit.PluginError)
            sys.exit(2 if isinstance(error, providerkit.ConfigurationError) and not broken else 1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="providerkit-core", prog_name="providerkit")
def main() -> None:
    """Talk to any chat provider; providers are plugins that pip installs."""


@main.command()
@click.argument("prompt", required=False)
@click.option("-p", "--provider", help="An installed provider; see `providerkit providers`.")
@click.option("-m", "--model", help="A model, or provider/model.")
@click.option("-s", "--system", help="What the model should be told first.")
@click.option("--sandbox", is_flag=True, help="Ask the provider's imitation on this machine, not the service.")
@click.option("--base-url", help="Ask at this address.")
def run(
    prompt: str | None,
    provider: str | None,
    model: str | None,
    system: str | None,
    *,
    sandbox: bool,
    base_url: str | None,
) -> None:
    """Ask PROMPT, and print the answer as it arrives.

    Without PROMPT, or where it is -, the standard input is asked.

    Example: providerkit run -p koala --sandbox "Why is the sky blue?"
    """
    if sandbox and base_url:
        raise click.UsageError("--sandbox has an address of its own; leave out --base-url")
    with ExitStack() as stack:
        if sandbox:
            name = provider or (model or "").partition("/")[0]
            if not name:
                raise click.UsageError("--sandbox needs to know whose: add -p NAME")
            base_url = stack.enter_context(providerkit.sandbox(name))
        answer = providerkit.run(_question(prompt), provider=provider, model=model, system=system, base_url=base_url)
        _print(answer)


def _question(prompt: str | None) -> str:
    if prompt is not None and prompt != "-":
        return prompt
    if prompt is None and sys.stdin.isatty():
        raise click.UsageError('there is no PROMPT; try: providerkit run -p koala --sandbox "Hello"')
    return sys.stdin.read()


def _print(answer: providerkit.Run) -> None:
    started = False
    try:
        for text in answer:
            click.echo(text, nl=False)
            started = True
    finally:
        if started:
            click.echo()


@main.command()
@click.option("--load", is_flag=True, help="Import each, too: this finds those that break on import.")
@click.option("--supports", metavar="WORD", help="Only those that support this, as in temperature. Imports each.")
def providers(*, load: bool, supports: str | None) -> None:
    """List the installed providers: name, version, distribution, state.

    The state is read from metadata, and nothing is imported, but with --load or --supports.

    Example: providerkit providers
    """
    rows = []
    for found in announcements(PROVIDERS):
        problem = found.problem
        info = None
        if (load or supports) and problem is None:
            try:
                info = providerkit.provider(found.name).info
            except providerkit.ProviderKitError as error:
                problem = str(error)
        if supports is None or (info is not None and supports in info.supports):
            state = f"broken: {' '.join(problem.split())}" if problem else "loaded" if info else "installed"
            rows.append((found.name, found.version, found.distribution, state))
    if not rows:
        wanted = f" that supports {supports}" if supports else ""
        click.echo(f"No provider{wanted} is installed; try: pip install providerkit-koala", err=True)
        return
    _print_table([("NAME", "VERSION", "DISTRIBUTION", "STATE"), *rows])


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@main.command()
@click.argument("name")
@click.option("--port", default=0, show_default="a free one", help="Listen on this port of 127.0.0.1.")
def sandbox(name: str, port: int) -> None:
    """Serve the imitation of the provider NAME on this machine until interrupted.

    The first line is its address. It speaks the provider's wire, and is not the service.

    Example: providerkit sandbox koala --port 8080
    """
    with providerkit.sandbox(name, port=port) as base_url:
        click.echo(base_url)
        click.echo(f"Ctrl-C stops it. Try: providerkit run -p {name} --base-url {base_url} Hello", err=True)
        threading.Event().wait()
