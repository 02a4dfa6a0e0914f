"""The options that commands share: whom to ask, how to reach it, and what to ask of its model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from itertools import product
from typing import Any, NamedTuple, TypeVar

import click

import providerkit

C = TypeVar("C", bound=Callable[..., Any])


class Route(NamedTuple):
    """Name whom to ask, as `run` takes it."""

    provider: str | None
    model: str | None

    @property
    def name(self) -> str:
        """Name the provider; raises UsageError if there is none, or if the model is named and empty."""
        before, slash, model = (self.model or "").partition("/")
        if self.model == "":
            raise click.UsageError("-m is empty; name a model, or leave -m out for the default model.")
        if slash and not (self.provider or model):
            raise click.UsageError(_without_model(self.model or "", f"-p {before}"))
        if not (self.provider or slash):
            from ..engine.plan import unnamed  # brings attrs, which no help needs

            raise unnamed(before)
        return self.provider or before

    def __str__(self) -> str:
        return "/".join(filter(None, self))


def _without_model(route: str, provider: str) -> str:
    return f"{route!r} names no model after the slash; name one, or ask for the default model with {provider}."


def routes(providers: Iterable[str], models: Iterable[str]) -> list[Route]:
    """Join providers and models: every model that is named is asked of every provider that is."""
    return [Route(*pair) for pair in product(tuple(providers) or (None,), tuple(models) or (None,))]


@contextmanager
def addresses(names: Iterable[str], *, base_url: str | None, sandbox: bool) -> Iterator[dict[str, str | None]]:
    """Say at which base URL each provider is asked; their sandboxes last as long as the context."""
    wanted = sorted(set(names))
    if sandbox and base_url:
        raise click.UsageError("--sandbox has an address of its own; leave out --base-url.")
    if base_url and len(wanted) > 1:
        raise click.UsageError(f"--base-url is the address of one provider, not of {' and '.join(wanted)}.")
    with ExitStack() as stack:
        yield {name: stack.enter_context(providerkit.sandbox(name)) if sandbox else base_url for name in wanted}


def examples(*lines: str) -> str:
    """Show commands below a help, each in a line of its own."""
    return "\n  ".join(("\b\nExamples:" if len(lines) > 1 else "\b\nExample:", *lines))


def told(error: providerkit.ProviderKitError) -> str:
    """Return the message of an error as the command line puts it: with options rather than arguments."""
    words = "".join(map(_on_command_line, error.parts()))
    if isinstance(error, providerkit.ProviderError) and error.retry_after:
        return f"{words}; it asks to wait for {error.retry_after:g} s"
    return words


def _on_command_line(part: object) -> str:
    from ..errors import Phrase  # which no help needs

    if isinstance(part, Phrase):
        return part.command_line
    return _as_option(part) if isinstance(part, providerkit.Argument) else str(part)


def _as_option(argument: providerkit.Argument) -> str:
    """Return the option that stands for an argument; one that has none is a matter of Python."""
    from shlex import quote  # only a mistake needs it

    every = add((provider_option(), model_option(), *ASKING, *REACHING, *REPAIRING))(click.Command(None))
    for option in every.params:
        if option.name == argument.name:
            if argument.value is None:
                return option.opts[0]
            value = option.metavar or option.type.name.upper() if argument.value is ... else quote(str(argument.value))
            return f"{option.opts[0]} {value}"
    return str(argument)


def complete_provider(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an installed provider."""
    return [name for name in providerkit.providers() if name.startswith(incomplete)]


def complete_model(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the provider of provider/model; which models it has, only the provider knows."""
    return [f"{name}/" for name in complete_provider(ctx, parameter, incomplete)]


def _timeouts(ctx: click.Context, parameter: click.Parameter, seconds: float | None) -> Any:
    if seconds is None:
        return None
    if not seconds > 0:
        raise click.BadParameter(f"{seconds:g} is not above 0.", ctx, parameter)
    return providerkit.Timeouts(first_event=seconds, idle=seconds, total=seconds)


def _headers(ctx: click.Context, parameter: click.Parameter, lines: tuple[str, ...]) -> dict[str, str] | None:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():  # what it is may be a secret, and is not shown
            raise click.BadParameter("a header is given as 'Name: value'.", ctx, parameter)
        headers[name.strip()] = value.strip()
    return headers or None


def _extra(ctx: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]) -> dict[str, Any] | None:
    extra = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{pair!r} does not look like KEY=VALUE.", ctx, parameter)
        extra[key] = _json_or_text(value)
    return extra or None


def _response_format(ctx: click.Context, parameter: click.Parameter, text: str | None) -> dict[str, Any] | None:
    schema = None if text is None else _json_or_text(text)
    if schema is not None and not isinstance(schema, dict):
        raise click.BadParameter(f"{text!r} is not a JSON object; a schema is one.", ctx, parameter)
    return schema


def _fallback(ctx: click.Context, parameter: click.Parameter, routes: tuple[str, ...]) -> tuple[str, ...]:
    for route in routes:
        if route.endswith("/") and route.count("/") == 1:
            raise click.BadParameter(_without_model(route, f"--fallback {route[:-1]}"), ctx, parameter)
    return routes


def _retry(ctx: click.Context, parameter: click.Parameter, attempts: int | None) -> Any:
    return None if attempts is None else providerkit.Retry(attempts=attempts)


def _json_or_text(value: str) -> Any:
    try:
        return providerkit.loads(value.encode())
    except providerkit.StreamMalformed:
        return value


def _extensions(ctx: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...] | None:
    return names or None  # none named is None, which leaves the choice to the Client


def provider_option(*, multiple: bool = False) -> Callable[[C], C]:
    """Return a command -p."""
    return click.option(
        "-p",
        "--provider",
        "providers" if multiple else "provider",
        metavar="NAME",
        multiple=multiple,
        shell_complete=complete_provider,
        help=f"An installed provider; see `providerkit providers`.{' Several are compared.' if multiple else ''}",
    )


def model_option(*, multiple: bool = False) -> Callable[[C], C]:
    """Return a command -m."""
    return click.option(
        "-m",
        "--model",
        "models" if multiple else "model",
        metavar="NAME",
        multiple=multiple,
        shell_complete=complete_model,
        help="A model, or without -p a provider/model; see `providerkit models`."
        f"{' Several are compared.' if multiple else ''}",
    )


REACHING = (
    click.option("--base-url", metavar="URL", help="Ask at this address."),
    click.option("--sandbox", is_flag=True, help="Ask the provider's imitation on this machine, not the service."),
    click.option(
        "--timeout",
        "timeouts",
        metavar="SECONDS",
        type=float,
        callback=_timeouts,
        help="Wait no longer than this for the whole answer.  [default: 60 for its first words, and between words]",
    ),
    click.option(
        "--header",
        "headers",
        metavar="'NAME: VALUE'",
        multiple=True,
        callback=_headers,
        help="Send this header, too, or in place of the provider's. Repeatable.",
    ),
    click.option("--proxy", metavar="URL", help="Go through this http, https or socks proxy."),
    click.option(
        "--extension",
        "extensions",
        metavar="NAME",
        multiple=True,
        callback=_extensions,
        help="Use this installed extension; the first is outermost. Repeatable.",
    ),
)

REPAIRING = (
    click.option(
        "--fallback",
        metavar="ROUTE",
        multiple=True,
        shell_complete=complete_model,
        callback=_fallback,
        help="Ask this provider, or provider/model, where the one before can't answer. Repeatable.",
    ),
    click.option(
        "--attempts",
        "retry",
        metavar="N",
        type=click.IntRange(min=1),
        callback=_retry,
        help="Try each of them this many times.  [default: 3]",
    ),
)

ASKING = (
    click.option("-s", "--system", metavar="TEXT", help="What the model should be told first."),
    click.option(
        "--reasoning",
        metavar="none|low|medium|high",
        type=click.Choice(("none", "low", "medium", "high")),
        help="How long the model may think before it answers.",
    ),
    click.option(
        "--response-format",
        metavar="JSON",
        callback=_response_format,
        help="A JSON schema that the answer is to follow, as JSON.",
    ),
    click.option("--temperature", type=float, help="How freely words are chosen; 0 is not at all."),
    click.option("--top-p", type=float, help="Choose among the likeliest words that make up this share."),
    click.option("--max-tokens", type=int, help="Stop after this many tokens."),
    click.option("--stop", metavar="TEXT", multiple=True, help="Stop before this text. Repeatable."),
    click.option("--seed", type=int, help="Choose words the same way as another run with this seed."),
    click.option(
        "--option",
        "extra",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_extra,
        help="A field that only this provider knows; the value is JSON, else text. Repeatable.",
    ),
)


# Options of `run` that no command takes, each with the reason.
LEFT_OUT = {
    "tools": "a tool is a function of Python, or needs a caller who executes it",
    "tool_choice": "it chooses among tools",
    "parallel_tool_calls": "it is about tools",
    "rounds": "it is about tools",
    "api_key": "other users of the machine see a command line; `providerkit keys` and the environment hold keys",
    "connector": "it is an object of aiohttp's",
    "on_interrupt": "what is printed can't be taken back, so an answer that breaks off is an error",
}


def add(options: tuple[Callable[[C], C], ...]) -> Callable[[C], C]:
    """Return a command these options, in this order."""
    return lambda command: reduce(lambda function, option: option(function), reversed(options), command)
