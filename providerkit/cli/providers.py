"""`providerkit providers`: what is installed, from metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

import providerkit

from .options import examples, told
from .terminal import complain, say, say_table

if TYPE_CHECKING:
    from ..plugins.discovery import Announcement


class Feature(click.ParamType):  # type: ignore[type-arg]  # older clicks know no argument
    """Take a word of `ProviderInfo.supports`."""

    name = "word"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word; refuse one that no provider can have."""
        if value not in _features():
            self.fail(f"{value!r} is not one of {', '.join(map(repr, _features()))}.", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Complete a word."""
        from click.shell_completion import CompletionItem  # as click itself does, only where a shell asks

        return [CompletionItem(word) for word in _features() if word.startswith(incomplete)]


def _features() -> list[str]:
    from ..chat.options import FEATURES  # brings attrs, which is half the cost of a listing

    return sorted(FEATURES)


@click.command(
    epilog=examples(
        "providerkit providers",
        "providerkit providers --supports history",
        "providerkit providers --load --json",
    )
)
@click.option("--load", is_flag=True, help="Import each, too: this finds those that break on import.")
@click.option(
    "--supports",
    metavar="WORD",
    type=Feature(),
    help="Only those that support this, as in temperature. Imports each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list; with --load, of all that is known.")
def providers(*, load: bool, supports: str | None, as_json: bool) -> None:
    """List the installed providers: name, version, distribution, state.

    The state is read from metadata, and nothing is imported, but with --load or --supports.
    """
    from ..plugins.discovery import announcements  # reads no metadata before a listing is asked for

    found = [_facts(one, load=load or supports is not None) for one in announcements()]
    rows = [row for row in found if supports is None or supports in row.get("supports", ())]
    if as_json:
        from .json_form import dumps  # only who wants JSON waits for it

        say(dumps(rows))
    elif rows:
        say_table([("NAME", "VERSION", "DISTRIBUTION", "STATE"), *map(_cells, rows)])
    else:
        from ..plugins.discovery import NONE_INSTALLED, PROVIDERS  # as above

        complain(f"No provider supports {supports}" if found else f"Providers: {NONE_INSTALLED[PROVIDERS]}")


def _facts(found: Announcement, *, load: bool) -> dict[str, Any]:
    facts = {"name": found.name, "version": found.version, "distribution": found.distribution, "state": "installed"}
    if found.problem is not None:
        return {**facts, "state": "broken", "problem": found.problem}
    if not load:
        return facts
    try:
        info = providerkit.provider(found.name).info
    except providerkit.ProviderKitError as error:
        return {**facts, "state": "broken", "problem": told(error)}
    known = ("url", "default_base_url", "default_model", "models", "api_key_env", "working")
    described = {name: getattr(info, name) for name in known}
    return {**facts, "state": "loaded", **described, "supports": sorted(info.supports)}


def _cells(facts: dict[str, Any]) -> Sequence[str]:
    problem = " ".join(facts.get("problem", "").split())
    state = f"broken: {problem}" if problem else facts["state"]
    return facts["name"], facts["version"], facts["distribution"], state
