"""The group of commands, each loaded when it is named, and what all of them do alike.

`--help` and `providers` import no provider, no aiohttp and no attrs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NoReturn

import click

import providerkit

from .options import examples, told
from .terminal import one_line

# Each in the module of its name.
COMMANDS = ("run", "chat", "models", "providers", "keys", "doctor", "sandbox", "check", "new")


class Commands(click.Group):
    """Report whatever stops a command in one line, with the way out and a meaning in the exit code.

    1: a provider, the network or the output failed. 2: the call is wrong. 130: interrupted.
    """

    def main(self, *arguments: Any, **options: Any) -> NoReturn:
        """Run a command and exit; a reader that has closed the pipe has seen enough, which isn't an error."""
        with suppress(AttributeError):  # the output may be closed
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # or be no TextIOWrapper
        try:
            code = super().main(*arguments, **(options | {"standalone_mode": False}))
        except click.UsageError as error:
            _fail(_advice(error), 2)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except click.Abort:
            code = 130
        except providerkit.ProviderKitError as error:
            broken = isinstance(error, providerkit.PluginError)
            _fail(told(error), 2 if isinstance(error, providerkit.ConfigurationError) and not broken else 1)
        sys.exit(code)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the arguments, which may ask for help or the version."""
        with _writing():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is named."""
        try:
            with _writing():
                return super().invoke(ctx)
        except click.UsageError as error:
            if error.ctx is None:  # click's parser does not say whose it is
                command = self.get_command(ctx, ctx.invoked_subcommand or "")
                assert command is not None  # it has read its arguments
                error.ctx = click.Context(command, parent=ctx, info_name=ctx.invoked_subcommand)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, the most used first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__package__}.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named, or say which may be meant."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:  # as a shell's completion is
            raise click.UsageError(f"No such command {args[0]!r}. {_nearest(args[0])}", ctx)
        return super().resolve_command(ctx, args)


def _nearest(name: str) -> str:
    from ..plugins.discovery import nearest  # which only a mistake needs

    near = nearest(name, COMMANDS)
    return f"Did you mean {near!r}?" if near else f"There are: {', '.join(COMMANDS)}."


def _advice(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx is not None else "providerkit"
    words = error.format_message()
    if isinstance(error, click.NoSuchOption):
        words = _no_such_option(error)
    return f"{words}{'' if words.endswith(('.', '?')) else '.'} See: {command} --help"


def _no_such_option(error: click.NoSuchOption) -> str:
    from ..plugins.discovery import nearest  # which only a mistake needs

    if "key" in error.option_name:
        return f"No such option {error.option_name!r}: keys are read from the environment, as in KOALA_API_KEY."
    near = nearest(error.option_name, error.possibilities or ())
    return f"No such option {error.option_name!r}.{f' Did you mean {near!r}?' if near else ''}"


def _fail(words: str, code: int) -> NoReturn:
    click.echo(f"Error: {one_line(words)}", err=True)
    sys.exit(code)


@contextmanager
def _writing() -> Iterator[None]:
    """Exit when the output takes no more, or when the system refuses something else that is needed."""
    try:
        yield
    except OSError as error:
        if isinstance(error, providerkit.ProviderKitError):  # TimedOut is both, as every TimeoutError
            raise
        if not (isinstance(error, BrokenPipeError) or _output_fails()):
            raise click.ClickException(_refusal(error)) from None
        # What is left of the output goes nowhere, or Python would try again at its exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        _fail(f"the output can't be written: {error.strerror}", 1)


def _output_fails() -> bool:
    """Return whether the output refuses what it still holds, which it does again if it was what failed."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _refusal(error: OSError) -> str:
    """Name what could not be used, as far as the system does."""
    reason = error.strerror or type(error).__name__
    return f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, str | bytes) else reason


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=examples(
        'providerkit run -p koala --sandbox "Why is the sky blue?"',
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="providerkit-core", prog_name="providerkit")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Talk to any chat provider; providers are plugins that pip installs.

    Completion of commands, options and names of providers in bash (zsh and fish alike):

      eval "$(_PROVIDERKIT_COMPLETE=bash_source providerkit)"
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
