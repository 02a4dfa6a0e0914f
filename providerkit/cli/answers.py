"""Answers as they arrive, of one run or of several at once, and the views that print them.

A view is told of each event, with the number of its run, and of each end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol, Self

import click

import providerkit
from providerkit import hookimpl

from ..chat.json_form import plain_event
from .json_form import dumps, of_reply
from .options import told
from .terminal import Cleaner, complain, is_terminal, is_watched, say

if TYPE_CHECKING:
    from ..chat.events import Event
    from ..chat.models import Model
    from ..chat.options import Chat
    from ..chat.replies import Reply
    from ..errors import ProviderKitError
    from ..runs import Run
    from ..wire.requests import Request


class View(Protocol):
    """Print answers; leaving it tidies up what it has begun to print."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *failure: object) -> None:
        """Leave the output at the beginning of a line."""
        ...

    def event(self, number: int, event: Event) -> None:
        """Take in what has come of one run."""
        ...

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Take in how one run has ended."""
        ...


class Patience:
    """Tell a person why an answer is slow to arrive."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    @hookimpl
    def observe(self, chat: Chat, model: Model) -> Retries:
        """Watch one run."""
        return Retries(self._note)


class Retries:
    """Say what failed, and when something is tried again."""

    def __init__(self, note: Callable[[str], None] = complain) -> None:
        self._note = note

    def attempt(self, route: str, request: Request) -> None:
        """Remember who is asked."""
        self._route = route

    def retry(self, error: ProviderKitError, delay: float) -> None:
        """Say it."""
        when = f"in {delay:.1f} s" if delay >= 0.05 else "at once"
        self._note(f"{self._route} failed, next attempt {when}: {told(error)}")


def _patience(view: View) -> AbstractContextManager[None]:
    note = view.note if isinstance(view, Sections) else complain
    return providerkit.activate(Patience(note)) if is_watched() else nullcontext()


def show(run: Run, view: View) -> ProviderKitError | None:
    """Show one run; give its error. Where the output takes no more for now, an interrupt ends even that."""
    error = None
    with view, run, _patience(view):
        try:
            for event in run.events():
                view.event(0, event)
        except providerkit.ProviderKitError as raised:
            error = raised
        view.end(0, run.reply, error)
    return error


async def follow(runs: Sequence[Run | ProviderKitError], view: View) -> list[ProviderKitError | None]:
    """Show all runs at the same time; give the error of each. One that could not be prepared is its error."""
    with view, _patience(view):
        return await asyncio.gather(*(_follow(number, run, view) for number, run in enumerate(runs)))


async def _follow(number: int, run: Run | ProviderKitError, view: View) -> ProviderKitError | None:
    if isinstance(run, Exception):
        view.end(number, providerkit.Reply(), run)
        return run
    error = None
    async with run:
        try:
            async for event in run.events():
                view.event(number, event)
        except providerkit.ProviderKitError as raised:
            error = raised
    view.end(number, run.reply, error)
    return error


class Text:
    """Print the text of one answer as it comes."""

    def __init__(self) -> None:
        self._cleaner = Cleaner() if is_terminal() else None
        self._started = False
        self._is_within_line = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._started:
            click.echo()

    def event(self, number: int, event: Event) -> None:
        """Print text."""
        if isinstance(event, providerkit.TextDelta) and event.text:
            self._started = True
            text = self._cleaner.feed(event.text) if self._cleaner else event.text
            self._is_within_line = not text.endswith("\n") if text else self._is_within_line
            click.echo(text, nl=False)

    def break_line(self) -> None:
        """End the line at a terminal, where something else is about to be written."""
        if self._cleaner and self._is_within_line:
            click.echo()
            self._is_within_line = False

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Leave it to the caller to tell of an error."""


class Sections:
    """Print answers one below the other: the first as it comes, what others say meanwhile is kept for its turn."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._texts = [Text() for _ in labels]
        self._kept: list[list[Event]] = [[] for _ in labels]
        self._ended: set[int] = set()
        self._turn = 0

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._turn < len(self._labels):
            self._texts[self._turn].__exit__()

    def event(self, number: int, event: Event) -> None:
        """Print what has its turn; keep the rest."""
        if number == self._turn:
            self._texts[number].event(number, event)
        else:
            self._kept[number].append(event)

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Go on with the next, where this had its turn."""
        self._ended.add(number)
        while self._turn in self._ended:
            self._texts[self._turn].__exit__()
            self._turn += 1
            if self._turn < len(self._labels):
                click.echo()
                self._begin()

    def note(self, text: str) -> None:
        """Print a note on a line of its own, even if an answer is in the middle of one."""
        self._texts[self._turn].break_line()
        complain(text)

    def _begin(self) -> None:
        say(f"== {self._labels[self._turn]} ==")
        for event in self._kept[self._turn]:
            self._texts[self._turn].event(self._turn, event)
        self._kept[self._turn].clear()


class EventLines:
    """Print each event as one line of JSON; of several runs, each line names its route."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._marks: list[dict[str, str]] = [{"route": label} for label in labels] if len(labels) > 1 else [{}]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def event(self, number: int, event: Event) -> None:
        """Print it."""
        say(dumps(plain_event(event) | self._marks[number]))

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Print an error as one more event."""
        if error is not None:
            say(dumps({"type": "error", "error": error, **self._marks[number]}))


class Whole:
    """Print one JSON object at the end; of several runs, a list of them in which each names its route."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._replies: dict[int, dict[str, object]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def event(self, number: int, event: Event) -> None:
        """Wait for the end."""

    def end(self, number: int, reply: Reply, error: ProviderKitError | None) -> None:
        """Print all, where this was the last."""
        self._replies[number] = of_reply(reply, error)
        if len(self._replies) < len(self._labels):
            return
        if len(self._labels) == 1:
            say(dumps(self._replies[0]))
        else:
            say(dumps([{"route": label, **self._replies[index]} for index, label in enumerate(self._labels)]))
