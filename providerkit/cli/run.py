"""`providerkit run`: one question, to one provider or to several."""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
    routes,
    told,
)
from .standard_input import is_typed, read_all
from .terminal import complain, drawing

if TYPE_CHECKING:
    from ..errors import ProviderKitError
    from ..runs import Run
    from .answers import View


@click.command(
    epilog=examples(
        'providerkit run -p koala --sandbox "Why is the sky blue?"',
        'echo "Why is the sky blue?" | providerkit run -p koala --sandbox --json',
        'git diff | providerkit run -p koala --sandbox "Write a commit message."',
        'providerkit run --sandbox -m koala/gpt-4o -m koala/gpt-4o-mini "Hello"',
        'providerkit run -p koala --sandbox --option realTimeData=true "Any news?"',
        'providerkit run -p koala --sandbox --fallback koala/gpt-4o "Hello"',
    )
)
@click.argument("prompt", nargs=-1, metavar="[PROMPT]")
@provider_option(multiple=True)
@model_option(multiple=True)
@add(ASKING)
@add(REACHING)
@add(REPAIRING)
@click.option("--plain", is_flag=True, help="Print the text as it is, also where rich could draw it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end: the text, and all about it.")
@click.option("--events", is_flag=True, help="Print each event as one line of JSON.")
def run(
    prompt: tuple[str, ...],
    providers: tuple[str, ...],
    models: tuple[str, ...],
    base_url: str | None,
    *,
    sandbox: bool,
    plain: bool,
    as_json: bool,
    events: bool,
    **options: Any,
) -> None:
    """Ask PROMPT, and print the answer as it arrives.

    The standard input is asked, too, unless it is a terminal: first what it holds, then
    PROMPT, which may be left out. With - as PROMPT it may be a terminal. A script that has
    nothing to put there says < /dev/null.

    Several -p or -m ask all of them at once and compare the answers; one that fails does
    not stop the others.

    Keys are read from the environment, as in KOALA_API_KEY, and shown nowhere.
    """
    if as_json and events:
        raise click.UsageError("--json and --events are two forms of one answer; choose one.")
    form = "json" if as_json else "events" if events else "plain" if plain else "drawn"
    question = _question(prompt)
    wanted = routes(providers, models)
    names = [route.name for route in wanted]
    labels = [str(route) for route in wanted]
    with addresses(names, base_url=base_url, sandbox=sandbox) as urls:
        runs = [_prepare(question, route, base_url=urls[route.name], **options) for route in wanted]
        errors = _follow(runs, _view(labels, form))
    if len(errors) == 1 and errors[0] is not None:
        raise errors[0]
    _remark(labels, () if as_json or events else runs, errors)
    if any(errors):
        sys.exit(1)


def _question(prompt: Sequence[str]) -> str:
    if len(prompt) > 1:
        raise click.UsageError(f'PROMPT is one argument; put it in quotes: "{" ".join(prompt)}".')
    words = "" if prompt == ("-",) else "".join(prompt)
    text = read_all() if prompt == ("-",) or not is_typed() else ""
    question = _join(text, words)
    if not question.strip():
        raise click.UsageError('There is no PROMPT; try: providerkit run -p koala --sandbox "Hello".')
    return question


def _join(text: str, words: str) -> str:
    """Put the prompt below the input it is about."""
    if not (text.strip() and words.strip()):
        return words if words.strip() else text
    return text.rstrip("\r\n") + "\n\n" + words


def _warn_of_doubled(route: Route) -> None:
    """Note that -m names its provider although -p does: with -p it is the model's name as it is written."""
    name, slash, model = (route.model or "").partition("/")
    if not slash or name != route.provider:
        return
    info = providerkit.provider(name).info
    if route.model not in (info.default_model, *info.models):
        complain(f"Note: {name} is asked for a model {route.model!r}; its {model!r} is -m {route.model} without -p")


def _prepare(question: str, route: Route, **options: Any) -> Run | ProviderKitError:
    """Make a run, or the error of a plugin that is broken, which does not stop others."""
    try:
        run: Run = providerkit.run(question, provider=route.provider, model=route.model, **options)
        _warn_of_doubled(route)
    except providerkit.PluginError as error:
        return error
    return run


def _view(labels: Sequence[str], form: str) -> View:
    from . import answers  # brings asyncio and attrs, which no help needs

    if form == "json":
        return answers.Whole(labels)
    if form == "events":
        return answers.EventLines(labels)
    rendering = drawing() if form == "drawn" else None
    if rendering is not None:
        view: View = rendering.view(labels)
        return view
    return answers.Text() if len(labels) == 1 else answers.Sections(labels)


def _follow(runs: Sequence[Run | ProviderKitError], view: View) -> list[ProviderKitError | None]:
    from ..engine.blocking import call  # as above
    from .answers import follow, show

    if len(runs) > 1:
        return call(follow(runs, view))
    (only,) = runs
    return [only if isinstance(only, Exception) else show(only, view)]


def _remark(
    labels: Sequence[str], runs: Sequence[Run | ProviderKitError], errors: Sequence[ProviderKitError | None]
) -> None:
    """Return what is wrong with an answer beside its text."""
    for label, error in zip(labels, errors, strict=True):
        if error is not None:
            complain(f"Error: {label}: {told(error)}")
    for label, run in zip(labels, runs, strict=False):
        reason = None if isinstance(run, Exception) else run.reply.finish_reason
        if reason not in (None, "stop"):
            complain(f"Note: the answer of {label} is not whole; it finished with {reason!r}")
