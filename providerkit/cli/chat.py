"""`providerkit chat`: a conversation, line by line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

import providerkit

from .options import (
    ASKING,
    REACHING,
    REPAIRING,
    Route,
    add,
    addresses,
    examples,
    model_option,
    provider_option,
    told,
)
from .standard_input import is_typed, read_line, type_line
from .terminal import complain, is_terminal, say

if TYPE_CHECKING:
    from .session import Session

BLOCK = '"""'
PROMPT, CONTINUED = "> ", "... "


@click.command(
    epilog=examples(
        "providerkit chat -p koala --sandbox",
        "printf 'Hello\\nWhat did I say?\\n' | providerkit chat -p koala --sandbox",
    )
)
@provider_option()
@model_option()
@add(ASKING)
@add(REACHING)
@add(REPAIRING)
@click.option("--plain", is_flag=True, help="Print the text as it is, also where rich could draw it.")
def chat(
    provider: str | None,
    model: str | None,
    base_url: str | None,
    *,
    sandbox: bool,
    plain: bool,
    **options: Any,
) -> None:
    """Talk with a model, which remembers what was said.

    Type a message and press Enter; /help lists what else there is. Three double quotes
    begin and end a message of several lines. Ctrl-C stops an answer, Ctrl-D leaves.

    What you type at a terminal is kept for the next time, readable by you alone, in
    ~/.local/state/providerkit/history, or where XDG_STATE_HOME says.
    """
    from .session import Session  # brings asyncio and attrs, which no help needs

    route = Route(provider, model)
    given = {
        "--sandbox": sandbox,
        "--base-url": base_url,
        "--header": options["headers"],
        "--option": options["extra"],
    }
    bound = [option for option, value in given.items() if value]
    with addresses([route.name], base_url=base_url, sandbox=sandbox) as urls:
        session = Session(route, {**options, "base_url": urls[route.name]}, bound, plain=plain)
        if is_typed() and is_terminal():
            _talk(session)
        elif _read_all(session):
            sys.exit(1)


def _talk(session: Session) -> None:
    """Talk with a person, whom nothing but leaving ends."""
    from .history import line_editing  # brings readline, which only a dialogue needs

    say(f"Talking with {session}. /help lists commands, Ctrl-D leaves.")
    with line_editing() as remember, suppress(EOFError):
        while True:
            try:
                _take(session, lambda prompt: remember(type_line(prompt)))
            except KeyboardInterrupt:  # at the prompt
                click.echo()
    click.echo()


def _read_all(session: Session) -> bool:
    """Talk with a pipe; tell whether anything failed."""
    failed = False
    with suppress(EOFError):
        while True:
            failed |= _take(session, _read_line)
    return failed


def _read_line(prompt: str) -> str:
    return read_line()


def _take(session: Session, read: Callable[[str], str]) -> bool:
    """Take one message or command; tell whether it failed, which does not end the conversation."""
    line = read(PROMPT)
    try:
        if line.lstrip().startswith(BLOCK):
            session.send(_rest_of_block(line, read))
        else:
            session.take(line)
    except providerkit.ProviderKitError as error:
        complain(f"Error: {told(error)}")
        return True
    return False


def _rest_of_block(line: str, read: Callable[[str], str]) -> str:
    text = line.lstrip().removeprefix(BLOCK)
    while not text.rstrip().endswith(BLOCK):
        try:
            text += "\n" + read(CONTINUED)
        except EOFError:
            raise click.UsageError(f"the input ended within a message that {BLOCK} began; it was not sent") from None
    return text.rstrip().removesuffix(BLOCK).strip("\n")
