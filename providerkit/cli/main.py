"""The commands, each thin over the library.

`--help` and `providers` import no provider and no aiohttp.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from difflib import get_close_matches
from typing import Any, NoReturn

import click

import providerkit

from ..discovery import announcements
from ..messages import FEATURES


class Commands(click.Group):
    """Report whatever stops a command in one line, with the way out and a meaning in the exit code.

    1: a provider, the network or the output failed. 2: the call is wrong. 130: interrupted.
    """

    def main(self, *arguments: Any, **options: Any) -> NoReturn:
        """Run a command and exit; a reader that has closed the pipe has seen enough, which is no error."""
        with suppress(AttributeError):  # the output may be closed
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # or be no TextIOWrapper
        try:
            code = super().main(*arguments, **(options | {"standalone_mode": False}))
        except click.UsageError as error:
            _fail(_advice(error), 2)
        except click.Abort:
            code = 130
        except providerkit.ProviderKitError as error:
            broken = isinstance(error, providerkit.PluginError)
            _fail(str(error), 2 if isinstance(error, providerkit.ConfigurationError) and not broken else 1)
        sys.exit(code)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the arguments, which may ask for help or the version."""
        with _writing():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is named."""
        with _writing():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named, or say which may be meant."""
        if self.get_command(ctx, args[0]) is None:
            near = get_close_matches(args[0], self.commands, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(self.commands)}."
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


def _advice(error: click.UsageError) -> str:
    assert error.ctx is not None  # click has seen to that
    return f"{error.format_message()} See: {error.ctx.command_path} --help"


def _fail(words: str, code: int) -> NoReturn:
    click.echo(f"Error: {' '.join(words.split())}", err=True)
    sys.exit(code)


@contextmanager
def _writing() -> Iterator[None]:
    """Exit where the output takes no more; the network's errors are none of the system's any more."""
    try:
        yield
    except providerkit.TimedOut:  # which is an OSError, as every TimeoutError
        raise
    except OSError as error:
        # What is left of the output goes nowhere, or Python would try again at its exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        _fail(f"the output can't be written: {error.strerror}", 1)


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="providerkit-core", prog_name="providerkit")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Talk to any chat provider; providers are plugins that pip installs."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


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
        raise click.UsageError("--sandbox has an address of its own; leave out --base-url.")
    question = _question(prompt)
    with ExitStack() as stack:
        if sandbox:
            base_url = stack.enter_context(providerkit.sandbox(_sandbox_name(provider, model)))
        answer = providerkit.run(question, provider=provider, model=model, system=system, base_url=base_url)
        _print(stack.enter_context(answer))


def _question(prompt: str | None) -> str:
    if prompt is not None and prompt != "-":
        return prompt
    if sys.stdin is None or (prompt is None and sys.stdin.isatty()):
        raise click.UsageError('There is no PROMPT; try: providerkit run -p koala --sandbox "Hello".')
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def _sandbox_name(provider: str | None, model: str | None) -> str:
    name, slash, _ = (model or "").partition("/")
    if provider is None and not slash:
        raise click.UsageError("--sandbox needs to know whose; add -p NAME.")
    return provider or name


def _print(answer: providerkit.Run) -> None:
    started = False
    try:
        for text in answer:
            started = True
            click.echo(text, nl=False)
    finally:
        if started:
            click.echo()


@main.command()
@click.option("--load", is_flag=True, help="Import each, too: this finds those that break on import.")
@click.option(
    "--supports",
    metavar="WORD",
    type=click.Choice(sorted(FEATURES)),
    help="Only those that support this, as in temperature. Imports each.",
)
def providers(*, load: bool, supports: str | None) -> None:
    """List the installed providers: name, version, distribution, state.

    The state is read from metadata, and nothing is imported, but with --load or --supports.

    Example: providerkit providers
    """
    rows = []
    for found in announcements():
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
        none = f"supports {supports}" if supports else "is installed; try: pip install providerkit-koala"
        click.echo(f"No provider {none}", err=True)
        return
    _print_table([("NAME", "VERSION", "DISTRIBUTION", "STATE"), *rows])


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@main.command()
@click.argument("name")
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

    Example: providerkit sandbox koala --port 8080
    """
    with suppress(KeyboardInterrupt), providerkit.sandbox(name, port=port) as base_url:
        click.echo(base_url)
        click.echo(f"Ctrl-C stops it. Try: providerkit run -p {name} --base-url {base_url} Hello", err=True)
        threading.Event().wait()
