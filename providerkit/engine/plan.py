"""The plan of a call: what it was asked with, checked once, and bound to messages when it runs.

A Plan is made of a Client's settings and of the options of one call or conversation. `bind`
resolves its routes, and resolves nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TypedDict, TypeVar

import attrs

from ..chat.messages import Message
from ..chat.options import OPTIONS, Chat
from ..chat.provider_data import data_of
from ..chat.tools import Tool
from ..chat.typed import TypedAnswer, is_type
from ..errors import (
    Argument,
    ConfigurationError,
    InvalidMessages,
    InvalidOption,
    Text,
    UnknownProvider,
    short_repr,
)
from ..plugins.assembly import assemble
from ..plugins.discovery import NONE_INSTALLED, PROVIDERS, nearest, providers
from ..plugins.keys import find_key
from ..plugins.loading import active_extensions, find_provider
from ..plugins.plugin import Plugin
from ..wire.headers import Headers
from ..wire.secrets import shown_url
from .network import Connections, Connector, NetworkTransport
from .operations import ChatOperation, Operation
from .policy import Clock, Health, Limits, Retry, Timeouts
from .proxies import parse_proxy
from .targets import Secrets, Target, resolve_target
from .tokens import Tokens

T = TypeVar("T")

INTERRUPTS = ("raise", "restart")


class NamedProvider(TypedDict, total=False):
    """The option that says which provider is asked."""

    provider: str | object | None


class NamedModel(TypedDict, total=False):
    """The option that says which model is asked."""

    model: str | None


class ChatOptions(TypedDict, total=False):
    """The options that go to the model, by name: the fields of Chat."""

    system: str | None
    tools: Iterable[Tool | Callable[..., Any]] | None
    tool_choice: str | None
    parallel_tool_calls: bool | None
    reasoning: str | None
    response_format: Any
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | Iterable[str] | None
    seed: int | None


class ExtraFields(TypedDict, total=False):
    """The option that holds body fields which only one provider knows."""

    extra: Mapping[str, Any] | None


class EndpointOptions(TypedDict, total=False):
    """The options that say how a provider is reached, by name."""

    api_key: str | None
    base_url: str | None
    headers: Mapping[str, str] | None
    proxy: str | None
    connector: Connector | None
    timeouts: Timeouts | None
    extensions: Iterable[str | object] | None


class RecoveryOptions(TypedDict, total=False):
    """The options that say what is done about a failure, by name."""

    fallback: str | Route | Iterable[str | tuple[str | object, str | None] | Route] | None
    retry: Retry | None


class LoopOptions(TypedDict, total=False):
    """The options that say how a run goes on, by name."""

    on_interrupt: str | None
    rounds: int | None


class ProviderOptions(NamedModel, ChatOptions, ExtraFields, EndpointOptions, RecoveryOptions, LoopOptions, total=False):
    """The options of a Provider's `run`, by name; None leaves any of them to the provider or the Client."""


class RunOptions(NamedProvider, ProviderOptions, total=False):
    """The options of `run`, by name."""


class ProviderEmbedOptions(NamedModel, ExtraFields, EndpointOptions, RecoveryOptions, total=False):
    """The options of a Provider's `embed`, by name."""


class EmbedOptions(NamedProvider, ProviderEmbedOptions, total=False):
    """The options of `embed`, by name."""


class ModelsOptions(EndpointOptions, total=False):
    """The options of a Provider's `models`, by name."""

    retry: Retry | None


def _shown_address(url: str | None) -> str:
    return repr(url and shown_url(url))


def _shown_headers(headers: Mapping[str, str] | None) -> str:
    return repr(Headers(headers)) if headers else "None"


@attrs.frozen
class Route:
    """A provider and one of its models, for `fallback`; None is the provider's default.

    `api_key`, `base_url`, `headers` and `extra` are as in `run`, for this route alone.
    Without them it has those of the call if it is of the same provider, else none of them:
    no provider is ever given what was meant for another.
    """

    provider: str | object
    model: str | None = None
    api_key: str | None = attrs.field(default=None, kw_only=True, repr=False)
    base_url: str | None = attrs.field(default=None, kw_only=True, repr=_shown_address)
    headers: Mapping[str, str] | None = attrs.field(default=None, kw_only=True, repr=_shown_headers)
    extra: Mapping[str, Any] | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class Settings:
    """What a Client gives to each of its calls."""

    timeouts: Timeouts
    limits: Limits
    extensions: Iterable[str | object]
    retry: Retry
    clock: Clock
    health: Health
    connections: Connections
    tokens: Tokens


@attrs.frozen(eq=False)
class Bound:
    """A plan with its routes resolved, as long as the active extensions are the same.

    `targets` are the routes, the first of which is tried first; the rest is what any run
    over them needs.
    """

    targets: tuple[Target, ...]
    extensions: tuple[Plugin, ...]
    network: NetworkTransport
    timeouts: Timeouts
    limits: Limits
    retry: Retry
    clock: Clock
    health: Health
    tokens: Tokens
    restarts: bool
    secrets: Secrets

    @property
    def first(self) -> Target:
        """Return the route that was named first."""
        return self.targets[0]

    def check(self, operation: Operation) -> None:
        """Raise UnsupportedFeature if a route can't serve a question."""
        for target in self.targets:
            operation.check(target)


class Plan:
    """What one call, or each send of a conversation, is asked with.

    Raises ConfigurationError, of the kind that says what to fix, for a provider that is not
    installed and for an option of a wrong type or value.
    """

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        self._settings = settings
        self._options = freeze_iterators(options)
        given = self._options.get
        self._timeouts = checked("timeouts", given("timeouts"), Timeouts) or settings.timeouts
        self._retry = checked("retry", given("retry"), Retry) or settings.retry
        self._restarts = _restarts(given("on_interrupt"))
        self.rounds = _checked_rounds(given("rounds"))
        self._proxy = parse_proxy(given("proxy"))
        self._routes = tuple(_routes(self._options))
        self._bound: Bound | None = None
        asked: dict[str, Any] = {name: given(name) for name in OPTIONS if name != "extra" and given(name) is not None}
        self.typed = TypedAnswer(asked["response_format"]) if is_type(asked.get("response_format")) else None
        if self.typed is not None:
            asked["response_format"] = self.typed.schema
        self.chat = Chat((), **asked)  # its options, checked here once

    @property
    def name(self) -> str:
        """Return whom it asks, as in "koala/gpt-4o"."""
        plugin, route = self._routes[0]
        return "/".join(filter(None, (plugin.name, route.model)))

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """Return a plan with these options in place of its own; it is the same plan if there are none."""
        return type(self)(self._settings, {**self._options, **options}) if options else self

    def bind(self) -> Bound:
        """Resolve the routes, with the extensions that are active now, or return what was resolved before.

        Raises ConfigurationError, of the kind that says what to fix.
        """
        if self._settings.connections.closed:
            raise ConfigurationError("this Client is closed; make a new one")
        named = self._options.get("extensions")
        extensions = active_extensions(self._settings.extensions if named is None else named)
        if self._bound is None or self._bound.extensions != extensions or self._has_other_keys(self._bound):
            self._bound = self._resolve(extensions)
        return self._bound

    def _has_other_keys(self, bound: Bound) -> bool:
        """Return whether a key of the environment or the keyring is another one by now."""
        return any(
            find_key(target.info, route.api_key) != target.endpoint.api_key
            for target, (_, route) in zip(bound.targets, self._routes, strict=True)
        )

    def ask(self, messages: tuple[Message, ...], new: tuple[Message, ...]) -> ChatOperation:
        """Return the question for the next turn of a chat, of whose messages `new` are the caller's.

        Raises UnsupportedFeature if a route can't serve it.
        """
        bound = self.bind()
        _check_addressees(new, bound.targets)
        operation = ChatOperation(self.chat, messages)
        bound.check(operation)
        return operation

    def _resolve(self, extensions: tuple[Plugin, ...]) -> Bound:
        settings, proxy = self._settings, self._proxy
        secrets = Secrets(proxy)
        targets = tuple(
            resolve_target(
                assemble(plugin, extensions),
                route.model,
                api_key=route.api_key,
                base_url=route.base_url,
                headers=route.headers,
                extra=route.extra,
                secrets=secrets,
            )
            for plugin, route in self._routes
        )
        return Bound(
            targets=targets,
            extensions=extensions,
            network=NetworkTransport(
                settings.connections,
                connect=self._timeouts.connect,
                proxy=proxy,
                connector=self._options.get("connector"),
            ),
            timeouts=self._timeouts,
            limits=settings.limits,
            retry=self._retry,
            clock=settings.clock,
            health=settings.health,
            tokens=settings.tokens,
            restarts=self._restarts,
            secrets=secrets,
        )


def _check_addressees(messages: tuple[Message, ...], targets: tuple[Target, ...]) -> None:
    """Raise InvalidMessages for data that the caller puts in for a provider that is not asked.

    Data in an assistant's message came with an answer, maybe of another provider: that is
    a history, and each provider is given its own.
    """
    asked = {target.info.name for target in targets}
    for data in data_of(message for message in messages if message.role != "assistant"):
        if data.provider is not None and data.provider not in asked:
            raise InvalidMessages(
                f"a message holds provider data for {data.provider!r}, but this call asks {', '.join(sorted(asked))}"
            )


def _restarts(on_interrupt: object) -> bool:
    if on_interrupt is not None and on_interrupt not in INTERRUPTS:
        raise InvalidOption(
            f"on_interrupt is {short_repr(on_interrupt)}; expected 'raise' or 'restart'", option="on_interrupt"
        )
    return on_interrupt == "restart"


MAX_ROUNDS = 10  # of tools, unless the caller says otherwise


def _checked_rounds(rounds: object) -> int:
    if rounds is None:
        return MAX_ROUNDS
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 0:
        raise InvalidOption(f"rounds is {short_repr(rounds)}; expected a whole number, 0 or above", option="rounds")
    return rounds


def freeze_iterators(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what iterators give: the options may be read more than once."""
    return {name: tuple(value) if isinstance(value, Iterator) else value for name, value in options.items()}


def checked(option: str, value: T | None, kind: type[T]) -> T | None:
    """Return the value of an option if it is None or of the right type; raises InvalidOption."""
    if value is not None and not isinstance(value, kind):
        raise InvalidOption(
            Argument(option), f" is {short_repr(value)}; expected a providerkit.{kind.__name__}", option=option
        )
    return value


def check_known(options: Mapping[str, object], kind: type, function: str) -> None:
    """Raise the TypeError that Python raises when a function is given a keyword that it does not have."""
    for option in options:
        if option not in kind.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument {option!r}")


def _find_route(options: Mapping[str, Any]) -> tuple[Plugin, str | None]:
    """Return the provider that is named, and the model, None for its default."""
    provider, model = options.get("provider"), options.get("model")
    if model is not None and not isinstance(model, str):
        raise InvalidOption(f"model is {short_repr(model)}; expected a string", option="model")
    if provider is not None and (provider or not isinstance(provider, str)):
        return find_provider(provider), model
    if model is None or "/" not in model:
        raise unnamed(model or "")
    return _split(model)


def _split(route: str) -> tuple[Plugin, str]:
    """Find the provider and the model of "provider/model", which may be a model of the provider as it stands."""
    name, _, model = route.partition("/")
    plugin = find_provider(name)
    info = assemble(plugin).info if model else None  # as "openrouter/auto" is openrouter's
    return plugin, route if info and route in (info.default_model, *info.models) else model


def unnamed(model: str) -> UnknownProvider:
    """Make the error of a call that names no provider, and maybe a model without one."""
    names = tuple(providers())
    if not names:
        return UnknownProvider(f"no provider is named, and {NONE_INSTALLED[PROVIDERS]}")
    near = nearest(model, names)
    advice: list[Text] = ["; say ", Argument("provider", near or ...)]
    if near is None and model:
        advice += [" or ", Argument("model", f"PROVIDER/{model}")]
    return UnknownProvider(f"no provider is named; installed are: {', '.join(names)}", *advice, installed=names)


def _routes(options: Mapping[str, Any]) -> Iterator[tuple[Plugin, Route]]:
    """Find every route, each with what it may be given of the call's own."""
    plugin, model = _find_route(options)
    own: dict[str, Any] = {name: options.get(name) for name in ("api_key", "base_url", "headers", "extra")}
    yield plugin, Route(plugin, model, **own)
    for item in _items(options.get("fallback")):
        route = _parse_route(item)
        other = find_provider(route.provider)
        if other == plugin:
            route = attrs.evolve(route, **{name: value for name, value in own.items() if getattr(route, name) is None})
        yield other, route


def _items(fallback: Any) -> Iterable[Any]:
    if fallback is None:
        return ()
    if isinstance(fallback, (str, Route)):
        return (fallback,)
    if not isinstance(fallback, (tuple, Iterable)):
        raise InvalidOption(f"fallback is {type(fallback).__name__}; expected a list of routes", option="fallback")
    return fallback


def _parse_route(item: object) -> Route:
    match item:
        case Route():
            return item
        case str():
            plugin, model = _split(item)
            return Route(plugin, model or None)
        case (provider, (str() | None) as model):
            return Route(provider, model)
    raise InvalidOption(
        f"fallback holds {type(item).__name__}; a route is 'provider/model', 'provider', a pair (provider, model), "
        f"or a Route",
        option="fallback",
    )
