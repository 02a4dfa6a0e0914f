"""The convention by which gpt4free calls a provider, for any plugin.

gpt4free calls classes, not instances: class methods and class attributes. `as_provider`
makes such a class of a plugin as it is. A plugin that inherits the two bases keeps its
hooks as they are, and can be called both ways.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, ClassVar

import providerkit

from ..chat.events import Event, Finish
from ..chat.options import OPTIONS
from ..engine.network import NetworkResponse
from ..wire.decoder import Decoder

# A tool call has no form in this convention, so tools are not offered to the model either.
CARRIED = tuple(option for option in OPTIONS if option != "tools")


class AsyncGeneratorProvider:
    """Let gpt4free stream from a plugin class.

    Arguments that the provider does not serve are ignored, as gpt4free's convention has
    it; the errors are providerkit's.
    """

    url: ClassVar[str | None] = None
    working: ClassVar[bool] = True
    live: ClassVar[int] = 0
    needs_auth: ClassVar[bool] = False
    supports_stream: ClassVar[bool] = True
    supports_message_history: ClassVar[bool] = True
    use_stream_timeout: ClassVar[bool] = True

    @classmethod
    async def create_async_generator(
        cls,
        model: str | None,
        messages: Iterable[Mapping[str, Any]],
        proxy: str | None = None,
        connector: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Stream an answer: text as strings, other JSON that the wire carries as it was decoded.

        An empty `model` is the default. Of `kwargs`, `api_key` and the options that the
        provider supports, but tools, are used, where they are given; the rest is ignored.
        """
        provider, base_url = cls._target()
        supports = providerkit.provider(provider).info.supports
        used = {name: kwargs[name] for name in CARRIED if name in supports and kwargs.get(name) is not None}
        run = providerkit.run(
            messages,
            provider=provider,
            model=model,
            base_url=base_url,
            proxy=proxy or None,
            connector=connector,
            api_key=kwargs.get("api_key") or None,
            **used,
        )
        async with run:
            async for event in run.events():
                if isinstance(event, providerkit.TextDelta):
                    yield event.text
                elif isinstance(event, providerkit.ProviderData):
                    yield event.value

    @classmethod
    def _target(cls) -> tuple[object, str | None]:
        """Return which plugin is called, and at which base URL (None: its own)."""
        return cls, None

    @classmethod
    def get_parent(cls) -> str:
        """Name the provider that this one belongs to: itself."""
        return cls.__name__

    @classmethod
    def get_dict(cls) -> dict[str, Any]:
        """Describe the provider in gpt4free's words."""
        return {"name": cls.__name__, "url": cls.url, "label": None, "working": cls.working}


class ProviderModelMixin:
    """Let gpt4free ask a plugin class for its models."""

    default_model: ClassVar[str] = ""
    models: ClassVar[list[str]] = []

    @classmethod
    def get_models(cls, **kwargs: Any) -> list[str]:
        """List the models that the plugin knows, the default first."""
        return list(cls.models)

    @classmethod
    def get_model(cls, model: str | None, **kwargs: Any) -> str:
        """Name the model that is meant; an empty name is the default."""
        return model or cls.default_model


class PluginProvider(AsyncGeneratorProvider, ProviderModelMixin):
    """Let gpt4free stream from a plugin that is something else than this class.

    `base_url` is where its calls go; None is the plugin's own.
    """

    base_url: ClassVar[str | None] = None
    _plugin: ClassVar[object]

    @classmethod
    def _target(cls) -> tuple[object, str | None]:
        return cls._plugin, cls.base_url


def as_provider(plugin: str | object) -> type[PluginProvider]:
    """Make a class for gpt4free of any plugin: an installed name, a class, an instance or a module.

    Raises UnknownProvider or PluginError if the plugin can't be loaded.
    """
    info = providerkit.provider(plugin).info
    described = {
        "url": info.url,
        "working": info.working,
        "supports_message_history": "history" in info.supports,
        "default_model": info.default_model or "",
        "models": list(dict.fromkeys(filter(None, (info.default_model, *info.models)))),
    }
    return type(info.name, (PluginProvider,), {"_plugin": plugin, **described})


async def decode(response: Any, decoder: Decoder) -> AsyncIterator[Event]:
    """Yield the events of an open response of aiohttp's, as far as the Finish.

    Raises StreamError, as the decoder does, and where the connection breaks.
    """
    async for data in NetworkResponse(response).chunks():
        for event in decoder.feed(data):
            yield event
            if isinstance(event, Finish):
                return
    for event in decoder.close():
        yield event
