"""Calls: what `run` was asked with, checked and resolved, so that a mistake is told before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast
from urllib.parse import urlsplit

import attrs

from .discovery import providers
from .errors import InvalidOption, UnknownProvider, UnsupportedFeature
from .exchange import Call
from .messages import OPTIONS, Chat, Message, ProviderInfo, Tool
from .plugins import Plugin, active_extensions, assemble, find_provider
from .policy import Limits, Timeouts
from .transport import Connections, NetworkTransport, check_proxy
from .wire import Endpoint, Secret

if TYPE_CHECKING:
    from aiohttp import BaseConnector

T = TypeVar("T")


class RunOptions(TypedDict, total=False):
    """The options of `run`, by name."""

    provider: str | object | None
    model: str | None
    system: str | None
    tools: Iterable[Tool]
    response_format: Any
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | Iterable[str]
    seed: int | None
    extra: Mapping[str, Any] | None
    api_key: str | None
    base_url: str | None
    headers: Mapping[str, str] | None
    proxy: str | None
    connector: BaseConnector | None
    timeouts: Timeouts | None
    extensions: Iterable[str | object] | None


@attrs.frozen
class Settings:
    """Hold what a Client gives to each of its calls."""

    timeouts: Timeouts
    limits: Limits
    extensions: Iterable[str | object]
    connections: Connections


@attrs.frozen
class PreparedCall:
    """Hold a call that is ready to start, and the extensions that it was prepared with."""

    call: Call
    extensions: tuple[Plugin, ...]
    transport: NetworkTransport


def prepare(
    settings: Settings, messages: tuple[Message, ...], options: RunOptions, earlier: PreparedCall | None = None
) -> PreparedCall:
    """Resolve a call, or keep the earlier one where nothing has changed since."""
    named = options.get("extensions")
    extensions = active_extensions(settings.extensions if named is None else named)
    if earlier and earlier.extensions == extensions and earlier.call.chat.messages == messages:
        return earlier
    proxy = options.get("proxy")
    check_proxy(proxy)
    call = _resolve(settings, messages, options, extensions)
    transport = NetworkTransport(
        settings.connections, connect=call.timeouts.connect, proxy=proxy, connector=options.get("connector")
    )
    return PreparedCall(call, extensions, transport)


def _resolve(
    settings: Settings, messages: tuple[Message, ...], options: RunOptions, extensions: tuple[Plugin, ...]
) -> Call:
    plugin, model = find_route(options)
    hooks = assemble(plugin, extensions)
    given: dict[str, Any] = {name: value for name, value in options.items() if name in OPTIONS}
    chat = Chat(messages, **given)
    _check_supported(chat, hooks.info)
    endpoint = _endpoint(hooks.info, options)
    return Call(
        hooks=hooks,
        chat=chat,
        model=hooks.resolve_model(model),
        endpoint=endpoint,
        timeouts=checked("timeouts", options.get("timeouts"), Timeouts) or settings.timeouts,
        limits=settings.limits,
        secrets=tuple(_secrets(endpoint, options.get("proxy"))),
    )


def reusable(options: RunOptions) -> RunOptions:
    """Keep what iterators give: a call may be prepared more than once."""
    kept = {name: tuple(value) if isinstance(value, Iterator) else value for name, value in options.items()}
    return cast("RunOptions", kept)


def checked(option: str, value: T | None, kind: type[T]) -> T | None:
    """Give an option's value where it is None or of the right type; raises InvalidOption."""
    if value is not None and not isinstance(value, kind):
        raise InvalidOption(f"{option} is {value!r}; it takes a providerkit.{kind.__name__}", option=option)
    return value


def find_route(options: RunOptions) -> tuple[Plugin, str | None]:
    """Find the provider that is named, and the model, None where its default is meant."""
    provider, model = options.get("provider"), options.get("model")
    if model is not None and not isinstance(model, str):
        raise InvalidOption(f"model is {model!r}; it takes a string", option="model")
    if provider is not None and (provider or not isinstance(provider, str)):
        return find_provider(provider), model
    name, slash, model = (model or "").partition("/")
    if slash:
        return find_provider(name), model
    raise _unnamed(model=name, names=providers())


def _unnamed(model: str, names: list[str]) -> UnknownProvider:
    example = names[0] if names else "NAME"
    found = f"installed are: {', '.join(names)}" if names else "none is installed; they are plugins that pip installs"
    return UnknownProvider(
        f"no provider is named; {found}; say provider={example!r} or model='{example}/{model or 'MODEL'}'",
        installed=tuple(names),
    )


def _check_supported(chat: Chat, info: ProviderInfo) -> None:
    for option in chat.features():
        if option not in info.supports:
            raise UnsupportedFeature(
                f"{info.name} does not serve {option!r}; see who does: providerkit providers --supports {option}",
                option=option,
                provider=info.name,
            )


def _endpoint(info: ProviderInfo, options: RunOptions) -> Endpoint:
    given = options.get("base_url")
    base_url = info.default_base_url if given is None else given
    if base_url is None:
        raise InvalidOption(f"{info.name} has no address of its own; say base_url=", option="base_url")
    key = options.get("api_key")
    if key is None and info.api_key_env:
        key = os.environ.get(info.api_key_env) or None
    return Endpoint(base_url, None if key is None else Secret(key), options.get("headers"))


_TELLING = 6  # characters; a shorter header value could be a part of any word


def _secrets(endpoint: Endpoint, proxy: str | None) -> Iterator[str]:
    """Give every text that no error may show."""
    if endpoint.api_key is not None:
        yield endpoint.api_key.reveal()
    for value in endpoint.headers.values():
        yield from (text for text in (value, value.rpartition(" ")[2]) if len(text) >= _TELLING)
    if proxy is not None and (password := urlsplit(proxy).password):
        yield password
