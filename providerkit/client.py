"""What users call: Client, Provider and `run`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, cast, overload

from .chat.messages import Message
from .chat.models import Model
from .chat.openai_form import Prompt, parse_messages
from .chat.tools import Tool
from .conversation import Conversation
from .engine import blocking as sync
from .engine.clocks import LoopClock
from .engine.exchange import list_models
from .engine.network import Connections
from .engine.plan import (
    EndpointOptions,
    PreparedCall,
    ProviderOptions,
    Route,
    RunOptions,
    Settings,
    check_known,
    checked,
    prepare,
    reusable,
)
from .engine.policy import Clock, Health, Limits, Retry, Timeouts
from .errors import ConfigurationError
from .plugins.assembly import assemble
from .plugins.loading import find_provider
from .plugins.plugin import Plugin
from .runs import Run

if TYPE_CHECKING:
    from aiohttp import BaseConnector
    from typing_extensions import Unpack


class Client:
    """Run chats with settings of its own; its runs share pooled connections.

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
        )

    @overload
    def run(self, messages: None = None, **options: Unpack[RunOptions]) -> Conversation: ...
    @overload
    def run(self, messages: Prompt, **options: Unpack[RunOptions]) -> Run: ...
    def run(
        self,
        messages: Prompt | None = None,
        *,
        provider: str | object | None = None,
        model: str | None = None,
        system: str | None = None,
        tools: Iterable[Tool] | None = None,
        response_format: Any = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: str | Iterable[str] | None = None,
        seed: int | None = None,
        extra: Mapping[str, Any] | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        connector: BaseConnector | None = None,
        timeouts: Timeouts | None = None,
        extensions: Iterable[str | object] | None = None,
        fallback: str | Route | Iterable[str | tuple[str | object, str | None] | Route] | None = None,
        retry: Retry | None = None,
        on_interrupt: str | None = None,
    ) -> Run | Conversation:
        """Ask a provider, and give a Run: iterate it, await it, or call its `result()`.

        `messages` is a string, a Message, or an iterable of Message and of OpenAI-style
        mappings; without it this gives a Conversation. `provider` is an installed
        provider's name or a plugin object; `model="koala/gpt-4o-mini"` names both. The
        options from `system` to `seed` go to the model; `extra` holds body fields that
        only this provider knows. `api_key` defaults to the provider's environment
        variable; `base_url` is what its paths are appended to; `headers` win over all
        others; `proxy` is http, https or socks; a `connector` of aiohttp is used and
        never closed; `timeouts` are in seconds; `extensions`, names or objects, the first
        outermost, stand in for those of the Client. None leaves an option to the provider, or
        to the Client.

        `fallback` names further routes, tried in turn where one can't answer: each
        "provider/model", "provider", a pair (provider, model) or a Route. `retry` says how
        often one route is tried. What breaks before its first content is repaired out of
        sight, and so is all that breaks where the whole answer is awaited. A streamed
        answer that breaks off later is an error that holds what had come, or with
        `on_interrupt="restart"` begins again: `events()` then gives a Restart.

        Raises ConfigurationError, of the kind that says what to fix, here or as the Run
        starts, before anything is sent, and TypeError for an unknown option. The Run raises
        ProviderError, TransportError and StreamError, too.
        """
        options = RunOptions(
            provider=provider,
            model=model,
            system=system,
            tools=tools,
            response_format=response_format,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            extra=extra,
            api_key=api_key,
            base_url=base_url,
            headers=headers,
            proxy=proxy,
            connector=connector,
            timeouts=timeouts,
            extensions=extensions,
            fallback=fallback,
            retry=retry,
            on_interrupt=on_interrupt,
        )
        if messages is None:
            return Conversation(self, options)
        return self._ask(parse_messages(messages), options)

    def provider(self, name: str | object) -> Provider:
        """Load a provider by its installed name, or take a plugin object.

        Raises UnknownProvider where none of that name is installed, PluginError where it is
        broken.
        """
        return Provider(self, find_provider(name))

    def close(self) -> None:
        """Close the connections that blocking calls opened; the Client can't be used any more."""
        sync.call(self._settings.connections.close())

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

    def _ask(
        self,
        messages: tuple[Message, ...],
        options: RunOptions,
        conversation: Conversation | None = None,
        rounds: int = 0,
    ) -> Run:
        kept = reusable(options)
        return Run(lambda messages, earlier: self._prepare(messages, kept, earlier), messages, conversation, rounds)

    def _prepare(
        self, messages: tuple[Message, ...], options: RunOptions, earlier: PreparedCall | None = None
    ) -> PreparedCall:
        if self._settings.connections.closed:
            raise ConfigurationError("this Client is closed; make a new one")
        return prepare(self._settings, messages, options, earlier)


class Models:
    """Hold the question which models a provider has; await it or call `result()`.

    Nothing is sent before; each time asks anew.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, tuple[Model, ...]]]) -> None:
        self._ask = ask

    def __repr__(self) -> str:
        return "<Models: await it, or call result()>"

    def __await__(self) -> Generator[Any, None, tuple[Model, ...]]:
        return self._ask().__await__()

    def result(self) -> tuple[Model, ...]:
        """Wait for the models, as the provider orders them; raises what a Run raises."""
        return sync.call(self._ask())


class Provider:
    """Hold a loaded provider; `info` is what it says of itself, a ProviderInfo."""

    def __init__(self, client: Client, plugin: Plugin) -> None:
        self._client = client
        self._plugin = plugin
        self.info = assemble(plugin).info

    def __repr__(self) -> str:
        return f"<Provider {self.info.name}>"

    @overload
    def run(self, messages: None = None, **options: Unpack[ProviderOptions]) -> Conversation: ...
    @overload
    def run(self, messages: Prompt, **options: Unpack[ProviderOptions]) -> Run: ...
    def run(self, messages: Prompt | None = None, **options: Unpack[ProviderOptions]) -> Run | Conversation:
        """Ask this provider; everything else is as in `providerkit.run`."""
        if "provider" in options:
            raise TypeError("run() of a Provider asks that provider; leave out provider=")
        return self._client.run(messages, provider=self._plugin, **options)

    def models(self, **options: Unpack[EndpointOptions]) -> Models:
        """List the provider's models, asking it where it can be asked, else from what its plugin knows.

        The options are those of `run` that say how it is reached: `api_key`, `base_url`,
        `headers`, `proxy`, `connector`, `timeouts`, `extensions`.
        """
        check_known(options, EndpointOptions, "models")
        prepared = self._client._prepare(
            (Message("user", ""),), cast("RunOptions", {"provider": self._plugin, **options})
        )
        return Models(lambda: list_models(prepared.first, prepared.transport))


_default = Client()
run = _default.run
provider = _default.provider
