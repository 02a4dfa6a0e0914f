"""`providerkit models`: what can be asked of whom."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

import providerkit

from .options import REACHING, add, addresses, examples, provider_option, told
from .terminal import complain, say


@click.command(
    epilog=examples(
        "providerkit models -p koala",
        "providerkit models --sandbox --json",
    )
)
@provider_option()
@add(REACHING)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, of all that is known.")
def models(provider: str | None, base_url: str | None, *, sandbox: bool, as_json: bool, **options: Any) -> None:
    """List the models of a provider, or of all that are installed, as -m takes them.

    A provider that can be asked is; of others this lists what their plugins know. It is no
    complete list: most providers take further names. One that fails does not hide the others.
    Those without a key or an address, and those that can't be reached, are named at the end.
    """
    if base_url and provider is None:
        raise click.UsageError("--base-url is the address of one provider; add -p NAME.")
    show = _collect if as_json else _print
    options |= {"base_url": base_url, "sandbox": sandbox}
    if provider is not None:
        found, failed = _ask(provider, **options), False
        show(found)
    else:
        found, failed = _ask_all(providerkit.providers(), show, **options)
    if as_json:
        from .json_form import dumps  # only who wants JSON waits for it

        say(dumps(found))
    elif provider is not None and not found:
        complain("No models are known")
    if failed:
        sys.exit(1)


def _print(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        say(f"{row['provider']}/{row['model']}")


def _collect(rows: Iterable[dict[str, Any]]) -> None:
    """Leave rows to be printed as one list."""


def _ask_all(names: Sequence[str], show: Callable[..., None], **options: Any) -> tuple[list[dict[str, Any]], bool]:
    """Ask every provider that can be asked; return their models, and whether one of them failed."""
    found, failed = [], False
    missing: list[str] = []
    silent: list[str] = []
    for name in names:
        try:
            rows = _ask(name, **options)
        except (providerkit.MissingAPIKey, providerkit.InvalidOption):
            missing.append(name)
        except providerkit.TransportError:
            silent.append(name)
        except providerkit.ProviderKitError as error:
            complain(f"Error: {name}: {told(error)}")
            failed = True
        else:
            found += rows
            show(rows)
    if not names:
        from ..plugins.discovery import NONE_INSTALLED, PROVIDERS  # which only this needs

        complain(f"Providers: {NONE_INSTALLED[PROVIDERS]}")
    if missing:
        complain(f"Not asked, for want of a key or an address: {', '.join(missing)}")
    if silent:
        complain(f"Could not be reached: {', '.join(silent)}; to see why, add -p NAME")
    return found, failed


def _ask(name: str, *, base_url: str | None, sandbox: bool, **options: Any) -> list[dict[str, Any]]:
    with addresses([name], base_url=base_url, sandbox=sandbox) as urls:
        return _rows(name, base_url=urls[name], **options)


def _rows(name: str, **options: Any) -> list[dict[str, Any]]:
    provider = providerkit.provider(name)
    default = provider.info.default_model
    return [
        {"provider": name, "model": model.name, "default": model.name == default, "reasoning": model.reasoning}
        for model in provider.models(**options).result()
    ]
