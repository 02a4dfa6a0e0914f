"""`providerkit check`: hold an installed provider to the contract."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

import providerkit

from .options import complete_provider, examples
from .terminal import say

if TYPE_CHECKING:
    from ..testing.examination import Verdict

WORDS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


@click.command(
    epilog=examples(
        "providerkit check koala",
    )
)
@click.argument("name", shell_complete=complete_provider)
def check(name: str) -> None:
    """Hold the provider NAME to the contract that all providers share: one line a check.

    Its hooks are asked with values and bytes, its sandbox over loopback; no network is
    needed. The exit code is 1 where a check fails; what it wants, what it found and where
    to read more is told below it. Needs the extra `testing`.
    """
    if name not in providerkit.providers():
        providerkit.provider(name)  # which says what is installed
    try:
        from ..testing.examination import examine  # brings pytest, which only this needs
    except ModuleNotFoundError as error:
        if error.name != "pytest":
            raise
        raise click.UsageError("this needs pytest: pip install pytest pytest-asyncio aioresponses") from None
    counts = Counter(verdict.outcome for verdict in examine(name, _print))
    say(f"{name}: {', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()))}")
    if counts["failed"]:
        sys.exit(1)


def _print(verdict: Verdict) -> None:
    say(f"{WORDS[verdict.outcome]:8}{verdict.check}")
    if verdict.reasons:
        case, reason = verdict.reasons[0]
        more = f" and {len(verdict.reasons) - 1} more" if len(verdict.reasons) > 1 else ""
        lines = [*([f"{case}{more}"] if case else []), *reason.splitlines()]
        say("\n".join(f"        {line}" for line in lines))
