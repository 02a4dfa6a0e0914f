"""`providerkit doctor`: what is installed, what is broken, and what to do about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .options import examples
from .terminal import complain, say, say_table

if TYPE_CHECKING:
    from .checks import Finding


@click.command(
    epilog=examples(
        "providerkit doctor",
        "providerkit doctor --json",
    )
)
@click.option("--online", is_flag=True, help="Knock at the addresses of the providers, too, without a key.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def doctor(*, online: bool, as_json: bool) -> None:
    """Say what is broken, and what to do.

    It looks at Python and the packages that all stands on, at providers and extensions (it imports each), at
    keys (which it never shows), and at files that run code whenever Python starts.

    One line says how one thing is: ok, broken, or a note where something may be worth knowing. It exits with 1
    where something is broken.
    """
    from . import checks  # brings what no help needs

    found = checks.hide_keys(checks.findings(online=online))
    broken = sum(finding.state == "broken" for finding in found)
    if as_json:
        from .json_form import dumps  # only who wants JSON waits for it

        say(dumps([finding._asdict() for finding in found]))
    else:
        say_table([(finding.state, finding.what, _told(finding)) for finding in found])
        complain(f"Broken: {broken} of {len(found)}." if broken else "Nothing is broken.")
    if broken:
        sys.exit(1)


def _told(finding: Finding) -> str:
    says, advice = finding.says, finding.advice
    if advice:
        says += f" {advice[0].upper()}{advice[1:]}" if says.endswith("?") else f"; {advice}"
    return " ".join(says.split())
