"""Calls: what `run` was asked with, checked and resolved, so that a mistake is told before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import attrs

from ..chat.messages import Message
from ..chat.models import ProviderInfo
from ..chat.options import OPTIONS, Chat
from ..chat.tools import Tool
from ..errors import (
    Argument,
    InvalidOption,
    ProviderKitError,
    Text,
    UnknownProvider,
    UnsupportedFeature,
    short_repr,
)
from ..plugins.assembly import assemble
from ..plugins.discovery import NONE_INSTALLED, PROVIDERS, nearest, providers
from ..plugins.keys import find_key
from ..plugins.loading import active_extensions, find_provider
from ..plugins.plugin import Plugin
from ..wire.headers import Headers
from ..wire.masks import secrets_in, secrets_of_proxy
from ..wire.requests import Endpoint, mask_of
from ..wire.secrets import shown_url
from .network import Connections, NetworkTransport
from .policy import Clock, Health, Limits, Retry, Timeouts
from .proxies import parse_proxy
from .targets import Call

if TYPE_CHECKING:
    from aiohttp import BaseConnector

T = TypeVar("T")

INTERRUPTS = (None, "raise", "restart")


class EndpointOptions(TypedDict, total=False):
    """The options of `run` that say how a provider is reached, by name."""

    api_key: str | None
    base_url: str | None
    headers: Mapping[str, str] | None
    proxy: str | None
    connector: BaseConnector | None
    timeouts: Timeouts | None
    extensions: Iterable[str | object] | None


class ProviderOptions(EndpointOptions, total=False):
    """The options of a Provider's `run`, by name; None leaves any of them to the provider or the Client."""

    model: str | None
    system: str | None
    tools: Iterable[Tool] | None
    response_format: Any
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | Iterable[str] | None
    seed: int | None
    extra: Mapping[str, Any] | None
    fallback: str | Route | Iterable[str | tuple[str | object, str | None] | Route] | None
    retry: Retry | None
    on_interrupt: str | None


class RunOptions(ProviderOptions, total=False):
    """The options of `run`, by name."""

    provider: str | object | None


def _shown_address(url: str | None) -> str:
    return repr(url and shown_url(url))


def _shown_headers(headers: Mapping[str, str] | None) -> str:
    return repr(Headers(headers)) if headers else "None"


@attrs.frozen
class Route:
    """Name a provider and one of its models, for `fallback`; None is the provider's default.

    `api_key`, `base_url`, `headers` and `extra` are as in `run`, for this route alone.
    Without them it has those of the call where it is of the same provider, else none of
    them: no provider is ever given what was meant for another.
    """

    provider: str | object
    model: str | None = None
    api_key: str | None = attrs.field(default=None, kw_only=True, repr=False)
    base_url: str | None = attrs.field(default=None, kw_only=True, repr=_shown_address)
    headers: Mapping[str, str] | None = attrs.field(default=None, kw_only=True, repr=_shown_headers)
    extra: Mapping[str, Any] | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class Settings:
    """Hold what a Client gives to each of its calls."""

    timeouts: Timeouts
    limits: Limits
    extensions: Iterable[str | object]
    retry: Retry
    clock: Clock
    health: Health
    connections: Connections


@attrs.frozen
class PreparedCall:
    """Hold a call that is ready to start: what to ask on each of its routes, the first of which is tried first."""

    routes: tuple[Call, ...]
    extensions: tuple[Plugin, ...]
    transport: NetworkTransport
    retry: Retry
    clock: Clock
    health: Health
    restarts: bool

    @property
    def first(self) -> Call:
        """Give what to ask on the route that was named first."""
        return self.routes[0]

    def extend(self, messages: tuple[Message, ...]) -> PreparedCall:
        """Return the same call with more messages; raises UnsupportedFeature if a route can't serve them."""
        return attrs.evolve(self, routes=tuple(_extend(call, messages) for call in self.routes))


def _extend(call: Call, messages: tuple[Message, ...]) -> Call:
    chat = attrs.evolve(call.chat, messages=(*call.chat.messages, *messages))
    _check_supported(chat, call.hooks.info)
    return attrs.evolve(call, chat=chat)


def prepare(
    settings: Settings, messages: tuple[Message, ...], options: RunOptions, earlier: PreparedCall | None = None
) -> PreparedCall:
    """Resolve a call, or keep the earlier one where nothing has changed since."""
    named = options.get("extensions")
    extensions = active_extensions(settings.extensions if named is None else named)
    if earlier and earlier.extensions == extensions and earlier.first.chat.messages == messages:
        return earlier
    proxy = parse_proxy(options.get("proxy"))
    timeouts = checked("timeouts", options.get("timeouts"), Timeouts) or settings.timeouts
    return PreparedCall(
        routes=_resolve(settings, messages, options, timeouts, extensions),
        extensions=extensions,
        transport=NetworkTransport(
            settings.connections, connect=timeouts.connect, proxy=proxy, connector=options.get("connector")
        ),
        retry=checked("retry", options.get("retry"), Retry) or settings.retry,
        clock=settings.clock,
        health=settings.health,
        restarts=_restarts(options.get("on_interrupt")),
    )


def _restarts(on_interrupt: object) -> bool:
    if on_interrupt not in INTERRUPTS:
        raise InvalidOption(
            f"on_interrupt is {short_repr(on_interrupt)}; it takes 'raise' or 'restart'", option="on_interrupt"
        )
    return on_interrupt == "restart"


def _resolve(
    settings: Settings,
    messages: tuple[Message, ...],
    options: RunOptions,
    timeouts: Timeouts,
    extensions: tuple[Plugin, ...],
) -> tuple[Call, ...]:
    given: dict[str, Any] = {name: value for name, value in options.items() if name in OPTIONS}
    calls: list[Call] = []
    endpoints: list[Endpoint] = []
    proxy = options.get("proxy")
    for plugin, route in _routes(options):
        hooks = assemble(plugin, extensions)
        chat = Chat(messages, **(given | {"extra": route.extra}))
        _check_supported(chat, hooks.info)
        endpoint = _endpoint(hooks.info, route)
        endpoints.append(endpoint)
        try:
            model = hooks.resolve_model(route.model)
        except ProviderKitError as error:
            error.redact(mask_of(_secrets(endpoints, proxy)))
            raise
        calls.append(
            Call(
                hooks=hooks,
                chat=chat,
                model=model,
                endpoint=endpoint,
                timeouts=timeouts,
                limits=settings.limits,
                clock=settings.clock,
                secrets=lambda: _secrets(endpoints, proxy),  # those of all routes, where one of them fails
            )
        )
    return tuple(calls)


def reusable(options: RunOptions) -> RunOptions:
    """Keep what iterators give: a call may be prepared more than once."""
    given: dict[str, Any] = {**options}
    for name in ("tools", "stop", "extensions", "fallback"):
        if given.get(name) and isinstance(given[name], Iterator):
            given[name] = tuple(given[name])
    return cast("RunOptions", given)


def checked(option: str, value: T | None, kind: type[T]) -> T | None:
    """Give an option's value where it is None or of the right type; raises InvalidOption."""
    if value is not None and not isinstance(value, kind):
        raise InvalidOption(
            Argument(option), f" is {short_repr(value)}; it takes a providerkit.{kind.__name__}", option=option
        )
    return value


def check_known(options: Mapping[str, object], kind: type[EndpointOptions], function: str) -> None:
    """Raise the TypeError that Python raises where a function is given a keyword that it does not take."""
    for option in options:
        if option not in kind.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument {option!r}")


def find_route(options: RunOptions) -> tuple[Plugin, str | None]:
    """Find the provider that is named, and the model, None where its default is meant."""
    provider, model = options.get("provider"), options.get("model")
    if model is not None and not isinstance(model, str):
        raise InvalidOption(f"model is {short_repr(model)}; it takes a string", option="model")
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


def _routes(options: RunOptions) -> Iterator[tuple[Plugin, Route]]:
    """Find every route, each with what it may be given of the call's own."""
    plugin, model = find_route(options)
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
        raise InvalidOption(f"fallback is {type(fallback).__name__}; it takes a list of routes", option="fallback")
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


def _check_supported(chat: Chat, info: ProviderInfo) -> None:
    for option in chat.features():
        if option not in info.supports:
            raise UnsupportedFeature(
                f"{info.name} does not serve ",
                Argument(option),
                f"; see who does: providerkit providers --supports {option}",
                option=option,
                provider=info.name,
            )


def _endpoint(info: ProviderInfo, route: Route) -> Endpoint:
    base_url = info.default_base_url if route.base_url is None else route.base_url
    if base_url is None:
        raise InvalidOption(
            f"{info.name} has no address of its own; say ", Argument("base_url", ...), option="base_url"
        )
    return Endpoint(base_url, find_key(info, route.api_key), route.headers)


def _secrets(endpoints: Iterable[Endpoint], proxy: str | None) -> Iterator[str]:
    """Yield every text that no error may show."""
    for endpoint in endpoints:
        if endpoint.api_key is not None:
            yield endpoint.api_key.reveal()
        yield from secrets_in(endpoint.headers)
    yield from secrets_of_proxy(proxy)
