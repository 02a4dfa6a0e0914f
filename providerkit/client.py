"""What users call: Client, Provider, Run, Conversation and `run`.

A Run is prepared when it is made, so a mistake in the call is told there; nothing is sent
before it is iterated, awaited or asked for its result.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypedDict, TypeVar, cast, overload
from urllib.parse import urlsplit

import attrs

from . import sync
from .errors import (
    ConfigurationError,
    InvalidOption,
    RunConsumed,
    UnknownProvider,
    UnsupportedFeature,
)
from .events import Event, Reply, TextDelta, Transcript
from .exchange import Call, Exchange, Observers, list_models
from .messages import OPTIONS, Chat, Message, Model, Prompt, ProviderInfo, Tool, parse_messages
from .plugins import Plugin, active_extensions, assemble, find_provider, installed
from .policy import Limits, Timeouts
from .transport import Connections, NetworkTransport, check_proxy
from .wire import Endpoint, Secret

if TYPE_CHECKING:
    from aiohttp import BaseConnector
    from typing_extensions import Unpack

T = TypeVar("T")
G = TypeVar("G", AsyncGenerator[Any], Generator[Any])


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
class _Prepared:
    """Hold a call that is ready to start, and the extensions that it was prepared with."""

    call: Call
    extensions: tuple[Plugin, ...]
    transport: NetworkTransport


class Client:
    """Run chats with settings of its own; its runs share pooled connections.

    `timeouts`, `limits` and `extensions` hold for every run that does not name its own.
    Use it as a context manager, async or blocking: leaving closes its connections.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        extensions: Iterable[str | object] = (),
    ) -> None:
        self._timeouts = _checked("timeouts", timeouts, Timeouts) or Timeouts()
        self._limits = _checked("limits", limits, Limits) or Limits()
        self._extensions = (extensions,) if isinstance(extensions, str) else tuple(extensions)
        self._connections = Connections(self._limits)
        self._closed = False

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
        tools: Iterable[Tool] = (),
        response_format: Any = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: str | Iterable[str] = (),
        seed: int | None = None,
        extra: Mapping[str, Any] | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        connector: BaseConnector | None = None,
        timeouts: Timeouts | None = None,
        extensions: Iterable[str | object] | None = None,
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
        outermost, stand in for those of the Client.

        Raises ConfigurationError, of the kind that says what to fix, before anything is
        sent. The Run raises ProviderError, TransportError and StreamError.
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
        )
        if messages is None:
            return Conversation(self, options)
        return Run(self, parse_messages(messages), options)

    def provider(self, name: str | object) -> Provider:
        """Load a provider; raises UnknownProvider or PluginError."""
        return Provider(self, find_provider(name))

    def close(self) -> None:
        """Close the connections that blocking calls opened."""
        self._closed = True
        sync.call(self._connections.close())

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        self._closed = True
        await self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()

    def _prepare(
        self, messages: tuple[Message, ...], options: RunOptions, earlier: _Prepared | None = None
    ) -> _Prepared:
        """Resolve a call, or keep the earlier one where nothing has changed since."""
        if self._closed:
            raise ConfigurationError("this Client is closed; make a new one")
        named = options.get("extensions")
        extensions = active_extensions(self._extensions if named is None else named)
        if earlier and earlier.extensions == extensions and earlier.call.chat.messages == messages:
            return earlier
        proxy = options.get("proxy")
        check_proxy(proxy)
        call = self._resolve(messages, options, extensions)
        transport = NetworkTransport(
            self._connections, connect=call.timeouts.connect, proxy=proxy, connector=options.get("connector")
        )
        return _Prepared(call, extensions, transport)

    def _resolve(self, messages: tuple[Message, ...], options: RunOptions, extensions: tuple[Plugin, ...]) -> Call:
        plugin, model = _route(options.get("provider"), options.get("model"))
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
            timeouts=_checked("timeouts", options.get("timeouts"), Timeouts) or self._timeouts,
            limits=self._limits,
            secrets=tuple(_secrets(endpoint, options.get("proxy"))),
        )


def _reusable(options: RunOptions) -> RunOptions:
    """Keep what iterators give: a call may be prepared more than once."""
    kept = {name: tuple(value) if isinstance(value, Iterator) else value for name, value in options.items()}
    return cast("RunOptions", kept)


def _checked(option: str, value: T | None, kind: type[T]) -> T | None:
    if value is not None and not isinstance(value, kind):
        raise InvalidOption(f"{option} is {value!r}; it takes a providerkit.{kind.__name__}", option=option)
    return value


def _route(provider: str | object | None, model: str | None) -> tuple[Plugin, str | None]:
    if model is not None and not isinstance(model, str):
        raise InvalidOption(f"model is {model!r}; it takes a string", option="model")
    if provider is not None:
        return find_provider(provider), model
    name, slash, model = (model or "").partition("/")
    if slash:
        return find_provider(name), model
    names = installed()
    example = names[0] if names else "koala"
    found = f"installed are: {', '.join(names)}" if names else "none is installed (pip install providerkit-koala)"
    raise UnknownProvider(
        f"no provider is named; {found}; say provider={example!r} or model='{example}/{name or 'model'}'",
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
    base_url = options.get("base_url") or info.default_base_url
    if base_url is None:
        raise InvalidOption(f"{info.name} has no address of its own; say base_url=", option="base_url")
    key = options.get("api_key")
    if key is None and info.api_key_env:
        key = os.environ.get(info.api_key_env) or None
    return Endpoint(base_url, None if key is None else Secret(key), options.get("headers"))


_SECRET_WORDS = ("auth", "key", "token", "secret", "cookie")


def _secrets(endpoint: Endpoint, proxy: str | None) -> Iterator[str]:
    """Give every text that no error may show."""
    if endpoint.api_key is not None:
        yield endpoint.api_key.reveal()
    for name, value in endpoint.headers.items():
        if any(word in name.lower() for word in _SECRET_WORDS):
            yield from (value, value.rpartition(" ")[2])
    if proxy is not None and (password := urlsplit(proxy).password):
        yield password


class Run:
    """Hold one call; iterate it for text, await it or call `result()` for the Reply.

    `async for` and `for` both give pieces of text; `events()` gives typed events in both
    ways. Nothing is sent before one of them starts, and a Run is started once. Leaving a
    loop early closes the connection.
    """

    def __init__(
        self,
        client: Client,
        messages: tuple[Message, ...],
        options: RunOptions,
        conversation: Conversation | None = None,
    ) -> None:
        self._client = client
        self._messages = messages
        self._options = _reusable(options)
        self._conversation = conversation
        self._pid = os.getpid()
        self._started = False
        self._iterated = False
        # Weakly, so that leaving a loop early ends the iterator while the Run is kept.
        self._iterator: Callable[[], object] = lambda: None
        self._course: Callable[[], _Course | None] = lambda: None
        self._transcript = Transcript()
        self._prepared = client._prepare(self._history(), self._options)

    @property
    def reply(self) -> Reply:
        """Give the Reply so far; complete once the run has ended."""
        return self._transcript.reply()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._iterate(_each(self._start(), _texts))

    def __iter__(self) -> Iterator[str]:
        return self._iterate(_each_blocking(self._start(), _texts))

    def events(self) -> Events:
        """Give the typed events, async or blocking by how they are iterated."""
        return Events(self)

    def __await__(self) -> Generator[Any, None, Reply]:
        return self._collect(self._start()).__await__()

    def result(self) -> Reply:
        """Wait for the whole answer."""
        return sync.call(self._collect(self._start()))

    def close(self) -> None:
        """End a blocking iteration and close its connection; the Run can't be started any more."""
        self._started = True
        iterator = self._iterator()
        if isinstance(iterator, AsyncGeneratorType):
            raise RunConsumed("this Run is iterated by async code; close it there with `await run.aclose()`")
        if isinstance(iterator, GeneratorType):
            iterator.close()

    async def aclose(self) -> None:
        """End the iteration and close its connection; the Run can't be started any more."""
        iterator = self._iterator()
        if isinstance(iterator, AsyncGeneratorType):
            if iterator.ag_running:
                raise RunConsumed("another task waits for this Run; cancel that task to end it")
            await iterator.aclose()
        else:
            self.close()
            course = self._course()
            if course is not None:  # of a loop that was left, and that its event loop has not closed yet
                await course.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()

    def _history(self) -> tuple[Message, ...]:
        return self._messages if self._conversation is None else (*self._conversation.messages, *self._messages)

    def _start(self) -> _Course:
        if self._started:
            raise RunConsumed("this Run has been started already; call run() again for another answer")
        if self._pid != os.getpid():
            raise RunConsumed("this Run was made before a fork; make it anew in this process")
        prepared = self._client._prepare(self._history(), self._options, self._prepared)
        self._started = True
        course = _Course(self, prepared)
        self._course = weakref.ref(course)
        return course

    async def _collect(self, course: _Course) -> Reply:
        try:
            while await course.next() is not None:
                pass
        finally:
            await course.aclose()
        return self.reply

    def _iterate(self, iterator: G) -> G:
        self._iterator = weakref.ref(iterator)
        self._iterated = True
        return iterator

    def _is_abandoned(self) -> bool:
        """Tell whether the loop over this was left, though its event loop may not have closed it yet."""
        return self._iterated and self._iterator() is None


class _Course:
    """Take a run from its start to its end, batch by batch."""

    def __init__(self, run: Run, prepared: _Prepared) -> None:
        self._run = run
        self._call = prepared.call
        self._transcript = run._transcript
        hooks, chat, model = self._call.hooks, self._call.chat, self._call.model
        self._transcript.provider, self._transcript.model = hooks.info.name, model.name
        self._observers = Observers(hooks.observe(chat, model))
        self._transport = hooks.wrap_transport(prepared.transport)
        self._exchange: Exchange | None = None

    async def next(self) -> list[Event] | None:
        """Give the next batch of events; None at the end."""
        if self._exchange is None:
            if self._run._conversation is not None:
                self._run._conversation._begin(self._run)
            self._exchange = Exchange(self._call, self._transport, self._observers, self._transcript)
        return await self._exchange.next()

    async def aclose(self) -> None:
        """End the run, whether it is at its end or not."""
        if self._exchange is None:
            return
        exchange, self._exchange = self._exchange, None
        await exchange.aclose()
        reply = self._transcript.reply()
        finished = self._transcript.finished
        if finished:
            self._observers.tell("finish", reply)
        else:
            self._observers.tell("error", reply.attempts[-1].error)
        if self._run._conversation is not None:
            self._run._conversation._end(self._run)


@attrs.frozen
class Events:
    """Hold the events of a Run, to be iterated once, async or blocking."""

    _run: Run

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._run._iterate(_each(self._run._start(), _all))

    def __iter__(self) -> Iterator[Event]:
        return self._run._iterate(_each_blocking(self._run._start(), _all))


def _texts(batch: list[Event]) -> list[str]:
    return [event.text for event in batch if type(event) is TextDelta and event.text]


def _all(batch: list[Event]) -> list[Event]:
    return batch


async def _each(course: _Course, pick: Callable[[list[Event]], list[T]]) -> AsyncGenerator[T]:
    try:
        while (batch := await course.next()) is not None:
            for item in pick(batch):
                yield item
    finally:
        await course.aclose()


def _each_blocking(course: _Course, pick: Callable[[list[Event]], list[T]]) -> Generator[T]:
    with closing(sync.iterate(course)) as batches:
        for batch in batches:
            yield from pick(batch)


class Conversation:
    """Remember a chat: each `send` asks with all that was said before.

    The options it was made with hold for every send.
    """

    def __init__(self, client: Client, options: RunOptions) -> None:
        _route(options.get("provider"), options.get("model"))
        self._client = client
        self._options = _reusable(options)
        self._messages: list[Message] = []
        self._running: Run | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """Give the turns so far, the user's and the assistant's."""
        return tuple(self._messages)

    def send(self, message: str | Message, **options: Unpack[RunOptions]) -> Run:
        """Ask with all that was said before; `options` are those of `run`, for this send alone.

        The history is read when the Run starts, and grows by both turns when it has
        finished; a Run that fails or is abandoned leaves it as it was. Starting a second
        one while one runs raises RunConsumed.
        """
        for option in options:
            if option not in RunOptions.__annotations__:
                raise TypeError(f"send() got an unexpected keyword argument {option!r}")
        return Run(self._client, parse_messages(message), {**self._options, **options}, self)

    def reset(self) -> None:
        """Forget what was said."""
        self._messages.clear()

    def __iter__(self) -> NoReturn:
        raise TypeError('a Conversation is not iterated; ask it: for text in chat.send("Hello")')

    def __aiter__(self) -> NoReturn:
        raise TypeError('a Conversation is not iterated; ask it: async for text in chat.send("Hello")')

    def __await__(self) -> NoReturn:
        raise TypeError('a Conversation is not awaited; ask it: reply = await chat.send("Hello")')

    def _begin(self, run: Run) -> None:
        if self._running is not None and not self._running._is_abandoned():
            raise RunConsumed("another send of this Conversation is still running; finish or close it first")
        self._running = run

    def _end(self, run: Run) -> None:
        if self._running is run:
            self._running = None
        if run._transcript.finished:
            self._messages += [*run._messages, run.reply.message]


class Models:
    """Hold the question which models a provider has; await it or call `result()`."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, tuple[Model, ...]]]) -> None:
        self._ask = ask

    def __await__(self) -> Generator[Any, None, tuple[Model, ...]]:
        return self._ask().__await__()

    def result(self) -> tuple[Model, ...]:
        """Wait for the models."""
        return sync.call(self._ask())


class Provider:
    """Hold a loaded provider."""

    def __init__(self, client: Client, plugin: Plugin) -> None:
        self._client = client
        self._plugin = plugin
        self.info = assemble(plugin).info

    def run(self, messages: Any = None, **options: Unpack[RunOptions]) -> Any:
        """Ask this provider; everything else is as in `providerkit.run`."""
        options["provider"] = self._plugin.implementation
        return self._client.run(messages, **options)

    def models(self, **options: Unpack[RunOptions]) -> Models:
        """List the provider's models, asking it where it can be asked, else from what its plugin knows.

        `options` are those of `run`: api_key, base_url, headers, proxy, connector,
        timeouts, extensions.
        """
        options["provider"] = self._plugin.implementation
        prepared = self._client._prepare((Message("user", ""),), options)
        return Models(lambda: list_models(prepared.call, prepared.transport))


_default = Client()
run = _default.run
provider = _default.provider
