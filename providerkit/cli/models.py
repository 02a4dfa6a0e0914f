"""`providerkit models`: what can be asked of whom."""

from __future__ import annotations

import sys
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
    complete list: most providers take further names. One that fails does not hide the others,
    and those that want a key or an address, and have none, are named at the end.
    """
    names = providerkit.providers() if provider is None else [provider]
    if base_url and provider is None:
        raise click.UsageError("--base-url is the address of one provider; add -p NAME.")
    found, failed, unasked = [], False, []
    for name in names:
        try:
            with addresses([name], base_url=base_url, sandbox=sandbox) as urls:
                rows = _rows(name, base_url=urls[name], **options)
        except providerkit.ProviderKitError as error:
            if provider is not None:
                raise
            if isinstance(error, (providerkit.MissingAPIKey, providerkit.InvalidOption)):
                unasked.append(name)
                continue
            complain(f"Error: {name}: {told(error)}")
            failed = True
            continue
        found += rows
        if not as_json:
            for row in rows:
                say(f"{row['provider']}/{row['model']}")
    if as_json:
        from .json_form import dumps  # only who wants JSON waits for it

        say(dumps(found))
    elif not found and not failed and not unasked:
        complain("No models are known" if names else "No provider is installed; try: pip install providerkit-koala")
    if unasked:
        complain(f"Not asked, for want of a key or an address: {', '.join(unasked)}")
    if failed:
        sys.exit(1)


def _rows(name: str, **options: Any) -> list[dict[str, Any]]:
    provider = providerkit.provider(name)
    default = provider.info.default_model
    return [
        {"provider": name, "model": model.name, "default": model.name == default, "reasoning": model.reasoning}
        for model in provider.models(**options).result()
    ]
