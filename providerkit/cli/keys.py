"""`providerkit keys`: the keys of providers in the keyring of the system, none of which it ever shows."""

from __future__ import annotations

from typing import Any

import click

import providerkit

from .options import complete_provider, examples
from .standard_input import is_typed, read_all
from .terminal import complain, say, say_table


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "providerkit keys list",
    ),
)
@click.pass_context
def keys(ctx: click.Context) -> None:
    """Keep the keys of providers in the keyring of this system.

    A call takes the key that it is given, else that of the environment, else that of the keyring. This needs
    the package keyring: pip install keyring
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@keys.command(
    "set",
    # What looks like an option may be a key, which no message may repeat.
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog=examples(
        "providerkit keys set koala",
        "pass show koala | providerkit keys set koala",
    ),
)
@click.argument("name", shell_complete=complete_provider)
@click.pass_context
def set_key(ctx: click.Context, name: str) -> None:
    """Keep a key for the provider NAME.

    It takes the place of an earlier one. It is asked for, and not shown as it is typed; in a pipe, it is the
    standard input.
    """
    from ..plugins.keys import system_keyring  # brings attrs, which no help needs

    if ctx.args:
        raise click.UsageError(
            "A key is never an argument: other users can see arguments, and shells remember them. Leave it out: it is "
            "asked for, or read from a pipe. One that was typed here should be replaced."
        )
    info = providerkit.provider(name).info
    if not info.api_key_env:
        raise providerkit.ConfigurationError(
            f"{name} names no variable for a key, so none is kept; only Python code can pass one"
        )
    try:
        system_keyring.check()  # before a person types a key for nothing
    except providerkit.ConfigurationError as error:
        error.args = (*error.args, f"; set {info.api_key_env} instead")
        raise
    where = system_keyring.set(info.name, providerkit.Secret(_typed(name)))
    say(f"Kept the key of {name} in the keyring ({where}).")
    _warn_of_environment(info)


def _typed(name: str) -> str:
    """Read a key where nobody sees it."""
    if is_typed():
        typed: str = click.prompt(f"Key of {name} (it is not shown)", hide_input=True, err=True)
    else:
        typed = read_all()
    if not typed.strip():
        raise click.UsageError(f"There is no key; try: pass show {name} | providerkit keys set {name}.")
    return typed.strip()


def _warn_of_environment(info: Any) -> None:
    from ..plugins.keys import key_source

    if key_source(info) == "environment":
        complain(f"Note: {info.api_key_env} is set, and goes before the keyring.")


@keys.command(
    "list",
    epilog=examples(
        "providerkit keys list",
        "providerkit keys list --json",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def list_keys(*, as_json: bool) -> None:
    """List who takes a key, and where it is found.

    It lists installed providers, each with the variable that it names, and never shows a key. Imports each of
    them; one that is broken is left out: see `providerkit doctor`.
    """
    from ..plugins.keys import system_keyring  # as above

    rows = [row for name in providerkit.providers() for row in _row(name)]
    if as_json:
        from .json_form import dumps  # only who wants JSON waits for it

        say(dumps(rows))
    elif rows:
        cells = [(row["name"], row["variable"], row["found"] or "nowhere") for row in rows]
        say_table([("NAME", "VARIABLE", "FOUND"), *cells])
    else:
        complain("No installed provider takes a key")
    if system_keyring.trouble is not None:
        complain(f"Note: {system_keyring.trouble}")


def _row(name: str) -> list[dict[str, Any]]:
    from ..plugins.keys import key_source

    try:
        info = providerkit.provider(name).info
    except providerkit.PluginError:
        return []
    return [{"name": name, "variable": info.api_key_env, "found": key_source(info)}] if info.api_key_env else []


@keys.command(
    "remove",
    epilog=examples(
        "providerkit keys remove koala",
    ),
)
@click.argument("name", shell_complete=complete_provider)
def remove_key(name: str) -> None:
    """Remove the key of the provider NAME.

    It is removed from the keyring; the provider need not be installed any more.
    """
    from ..plugins.keys import system_keyring  # as above

    if not system_keyring.remove(name):
        raise providerkit.ConfigurationError(f"the keyring keeps no key for {name!r}; see: providerkit keys list")
    say(f"Removed the key of {name} from the keyring.")
