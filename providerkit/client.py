"""What users call: Client, Provider, `run` and `embed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, overload

from .chat.embeddings import Embeddings, parse_texts
from .chat.models import Model
from .chat.openai_form import Prompt, parse_messages
from .conversation import Conversation
from .engine import blocking
from .engine.clocks import LoopClock
from .engine.network import Connections
from .engine.plan import (
    EmbedOptions,
    ModelsOptions,
    Plan,
    Plans,
    ProviderEmbedOptions,
    ProviderOptions,
    RunOptions,
    Settings,
    check_known,
    checked,
)
from .engine.policy import Clock, Health, Limits, Retry, Timeouts
from .engine.signatures import named_options
from .engine.tokens import Tokens
from .lookups import EmbedLookup, Lookup, ModelsLookup
from .plugins.assembly import assemble
from .plugins.loading import find_provider
from .plugins.plugin import Plugin
from .runs import Run

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Client:
    """Runs chats with settings of its own; its runs share pooled connections.

    `timeouts`, `limits`, `extensions` and `retry` hold for every run that does not name its
    own. It knows which routes are down, and what retries may still cost a host, for all its
    runs. `clock` keeps its time; tests pass their own. Use it as a context manager, async or
    blocking: leaving closes its connections, and a run that starts after that is a
    ConfigurationError. Raises InvalidOption for settings of a wrong type.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        extensions: Iterable[str | object] | None = None,
        retry: Retry | None = None,
        clock: Clock | None = None,
    ) -> None:
        limits = checked("limits", limits, Limits) or Limits()
        extensions = () if extensions is None else extensions
        self._settings = Settings(
            timeouts=checked("timeouts", timeouts, Timeouts) or Timeouts(),
            limits=limits,
            extensions=extensions
            if isinstance(extensions, str) or not isinstance(extensions, Iterable)
            else tuple(extensions),
            retry=checked("retry", retry, Retry) or Retry(),
            clock=clock or LoopClock(),
            health=Health(),
            connections=Connections(limits),
            tokens=Tokens(),
            plans=Plans(),
        )

    @overload
    def run(self, messages: None = None, **options: Unpack[RunOptions]) -> Conversation: ...
    @overload
    def run(self, messages: Prompt, **options: Unpack[RunOptions]) -> Run: ...
    @named_options(RunOptions)
    def run(self, messages: Prompt | None = None, **options: Unpack[RunOptions]) -> Run | Conversation:
        """Ask a provider, and return a Run: iterate it, await it, or call its `result()`.

        `messages` is a string, a Message, or an iterable of Message and of OpenAI-style
        mappings; without it this returns a Conversation. `provider` is an installed
        provider's name or a plugin object; `model="koala/gpt-4o-mini"` names both.

        These options go to the model: `system`, `tools` (Tools or plain functions, which are
        executed when the model asks, in at most `rounds` rounds), `tool_choice` ("auto",
        "none", "required" or a tool's name), `parallel_tool_calls`, `reasoning` ("none",
        "low", "medium" or "high"), `response_format` (a JSON schema, the wire's own form, or
        a type: then `reply.parsed` is its value), `temperature`, `top_p`, `max_tokens`,
        `stop`, `seed`. `extra` holds body fields that only this provider knows, and is merged
        into the body at any depth. None leaves an option to the provider, or to the Client.

        These say how it is reached: `api_key` defaults to the provider's environment
        variable; `base_url` is what its paths are appended to; `headers` win over all others;
        `proxy` is http, https or socks; a `connector` of aiohttp is used and never closed;
        `timeouts` are in seconds; `extensions`, names or objects, the first outermost,
        replace those of the Client.

        `fallback` names further routes, tried in turn if one can't answer: each
        "provider/model", "provider", a pair (provider, model) or a Route. `retry` says how
        often one route is tried. What breaks before its first content is recovered out of
        sight, and so is all that breaks if the whole answer is awaited. A streamed answer
        that breaks off later is an error that holds what had come, or with
        `on_interrupt="restart"` begins again: `events()` then gives a Restart.

        Raises ConfigurationError, of the kind that says what to fix, here or as the Run
        starts, before anything is sent, and TypeError for an unknown option. The Run raises
        ProviderError, TransportError and StreamError, too.
        """
        check_known(options, RunOptions, "run")
        plan = self._settings.plans.find(self._settings, options)
        return Conversation(plan) if messages is None else Run(plan, parse_messages(messages))

    @named_options(EmbedOptions)
    def embed(self, texts: str | Iterable[str], **options: Unpack[EmbedOptions]) -> Lookup[Embeddings]:
        """Ask for the vectors of texts; await the answer, an Embeddings, or call its `result()`.

        The options are those of `run` that say who is asked, how it is reached and what
        happens if that fails; `extra` holds further body fields.
        """
        check_known(options, EmbedOptions, "embed")
        return EmbedLookup(self._settings.plans.find(self._settings, options), parse_texts(texts))

    def provider(self, name: str | object) -> Provider:
        """Load a provider by its installed name, or take a plugin object.

        Raises UnknownProvider if none of that name is installed, PluginError if it is broken.
        """
        return Provider(self._settings, find_provider(name))

    def close(self) -> None:
        """Close the connections that blocking calls opened; the Client can't be used any more."""
        blocking.call(self._settings.connections.close())

    async def aclose(self) -> None:
        """Close the connections of the running event loop; the Client can't be used any more."""
        await self._settings.connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()


class Provider:
    """A loaded provider; `info` is what it says of itself, a ProviderInfo."""

    def __init__(self, settings: Settings, plugin: Plugin) -> None:
        self._settings = settings
        self._plugin = plugin
        self.info = assemble(plugin).info

    def __repr__(self) -> str:
        return f"<Provider {self.info.name}>"

    @overload
    def run(self, messages: None = None, **options: Unpack[ProviderOptions]) -> Conversation: ...
    @overload
    def run(self, messages: Prompt, **options: Unpack[ProviderOptions]) -> Run: ...
    @named_options(ProviderOptions)
    def run(self, messages: Prompt | None = None, **options: Unpack[ProviderOptions]) -> Run | Conversation:
        """Ask this provider; everything else is as in `providerkit.run`."""
        plan = self._plan_for("run", options, ProviderOptions)
        return Conversation(plan) if messages is None else Run(plan, parse_messages(messages))

    @named_options(ProviderEmbedOptions)
    def embed(self, texts: str | Iterable[str], **options: Unpack[ProviderEmbedOptions]) -> Lookup[Embeddings]:
        """Ask this provider for the vectors of texts; everything else is as in `providerkit.embed`."""
        return EmbedLookup(self._plan_for("embed", options, ProviderEmbedOptions), parse_texts(texts))

    @named_options(ModelsOptions)
    def models(self, **options: Unpack[ModelsOptions]) -> Lookup[tuple[Model, ...]]:
        """List the provider's models, asking it if it can be asked, else from what its plugin knows.

        The options are those of `run` that say how it is reached: `api_key`, `base_url`,
        `headers`, `proxy`, `connector`, `timeouts`, `extensions`; and `retry`.
        """
        return ModelsLookup(self._plan_for("models", options, ModelsOptions))

    def _plan_for(self, function: str, options: Mapping[str, Any], kind: type) -> Plan:
        if "provider" in options:
            raise TypeError(f"{function}() of a Provider asks that provider; leave out provider=")
        check_known(options, kind, function)
        return self._settings.plans.find(self._settings, {**options, "provider": self._plugin})


_default = Client()
run = _default.run
embed = _default.embed
provider = _default.provider
