"""A user's program that uses every public name; type checkers accept it as it stands (tests/test_types.py)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import providerkit
from providerkit import (
    ByContent,
    Chat,
    Decoder,
    DecoderWrapper,
    Embeddings,
    Endpoint,
    Event,
    EventStream,
    Finish,
    JSONBody,
    JSONLines,
    Message,
    Model,
    Page,
    ProviderInfo,
    Reply,
    Request,
    Response,
    ResponseHead,
    Token,
    Transport,
    TransportWrapper,
    hookimpl,
    hookspec,
)


@dataclass
class Weather:
    """What a typed answer is read as."""

    city: str
    degrees: float


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"It rains in {city}."


# Asking


def ask() -> str:
    """Ask in every blocking way."""
    with providerkit.sandbox("koala") as base_url:
        for text in providerkit.run("Hello", provider="koala", base_url=base_url):
            sys.stdout.write(text.upper())
        reply: Reply = providerkit.run(
            [{"role": "user", "content": "Hello"}, Message("user", "And?")],
            model="koala/gpt-4o",
            system="Be brief.",
            tools=[weather, providerkit.Tool.from_function(weather), providerkit.Tool("look", "", {})],
            tool_choice="auto",
            parallel_tool_calls=False,
            reasoning="low",
            response_format=Weather,
            temperature=0.5,
            top_p=1.0,
            max_tokens=100,
            stop=["."],
            seed=7,
            extra={"options": {"top_k": 5}},
            api_key="sk-0123",
            base_url=base_url,
            headers={"X-Team": "blue"},
            proxy=None,
            connector=None,
            timeouts=providerkit.Timeouts(first_event=20, idle=20, total=60, connect=5),
            extensions=["log", Counting()],
            fallback=["koala/gpt-4o", ("koala", None), providerkit.Route("koala", "gpt-4o", api_key="sk-1")],
            retry=providerkit.Retry(attempts=2),
            on_interrupt="restart",
            rounds=3,
        ).result()
    return describe_reply(reply)


async def ask_async() -> list[str]:
    """Ask in every async way."""
    limits = providerkit.Limits(connections=8)
    async with providerkit.Client(timeouts=None, limits=limits, retry=None, extensions=(), clock=None) as client:
        texts = [text async for text in client.run("Hello", provider="koala")]
        events = [describe_event(event) async for event in client.run("Hello", provider="koala").events()]
        run: providerkit.Run = client.run("Hello", provider="koala")
        reply = await asyncio.create_task(run.collect())
        koala: providerkit.Provider = client.provider("koala")
        models = [model.name for model in await koala.models(base_url=None)]
        return [*texts, *events, reply.text, *models, koala.info.name]


def talk() -> tuple[Message, ...]:
    """Talk, and go back to where it was."""
    chat: providerkit.Conversation = providerkit.run(provider="koala")
    before = chat.copy()
    chat.send("Hello", temperature=None).result()
    return (*before.messages, *providerkit.provider("koala").run().messages)


def embed(texts: Iterable[str]) -> tuple[float, ...]:
    """Ask for vectors."""
    lookup: providerkit.Lookup[Embeddings] = providerkit.embed(
        list(texts), model="parrot/small", extra={"dimensions": 2}
    )
    found = lookup.result()
    return found.vectors[0] if found.vectors else ()


def keep(path: Path) -> None:
    """Record, replay and count what is asked within."""
    with providerkit.record(path):
        providerkit.run("Hello", provider="koala").result()
    with providerkit.replay(path, pace=0.0, ignore=["id"]), providerkit.activate(Counting()):
        providerkit.run("Hello", provider="koala").result()


# What comes back


def describe_reply(reply: Reply) -> str:
    """Return what a reply says, and what it took."""
    value: Any = reply.parsed
    plain: dict[str, Any] = reply.to_dict()
    usage: providerkit.Usage = reply.usage or providerkit.Usage(1, 2)
    attempts: tuple[providerkit.Attempt, ...] = reply.attempts
    routes = [attempt.route for attempt in attempts if attempt.error is None]
    kept: tuple[providerkit.ProviderData, ...] = reply.data
    called = [call.parsed for call in reply.tool_calls]
    return f"{reply.text} {value} {plain} {usage + usage} {routes} {kept} {called} {reply.message.role}"


def describe_event(event: Event) -> str:
    """Return what an event says; a type checker sees that each kind has its case."""
    match event:
        case providerkit.TextDelta(text) | providerkit.ReasoningDelta(text):
            return text
        case providerkit.ToolCallDelta():
            return event.arguments
        case providerkit.Usage():
            return str(event.input_tokens)
        case providerkit.Answered():
            return event.model or ""
        case providerkit.ProviderData():
            return str(event.value)
        case providerkit.ToolResult():
            return event.message.text
        case providerkit.Restart():
            return f"{event.route}: {event.error}"
        case providerkit.Finish():
            return f"{event.reason} {event.raw}"


def describe_part(part: providerkit.Part) -> str:
    """Return what a part of a message says."""
    match part:
        case providerkit.TextPart() | providerkit.ReasoningPart():
            return part.text
        case providerkit.ImagePart() | providerkit.FilePart():
            return part.url or part.media_type or ""
        case providerkit.ToolCall():
            return part.name
        case providerkit.ProviderData():
            return part.provider or ""


PARTS = [
    providerkit.TextPart("Look:"),
    providerkit.ImagePart(data=b"...", media_type="image/png", detail="low"),
    providerkit.FilePart(data=b"...", media_type="application/pdf", name="a.pdf"),
    providerkit.ReasoningPart("Hm."),
    providerkit.ToolCall("call_1", "weather", '{"city": "Rome"}'),
    providerkit.ProviderData({"signature": "..."}, keep=True, provider="koala"),
]
HISTORY = [Message("user", PARTS), Message("tool", "It rains.", tool_call_id="call_1", name="weather", failed=False)]


def remedy(error: providerkit.ProviderKitError) -> str:  # noqa: C901 - a case for each kind
    """Return what to do about an error."""
    match error:
        case providerkit.UnknownProvider() | providerkit.UnknownExtension() | providerkit.UnknownModel():
            return f"install it: {providerkit.providers()}"
        case providerkit.MissingAPIKey() | providerkit.AuthenticationError():
            return "set the key"
        case providerkit.InvalidMessages() | providerkit.InvalidOption() | providerkit.UnsupportedFeature():
            return f"change {getattr(error, 'option', None)}"
        case providerkit.PluginError():
            return f"tell the author of {error.plugin}"
        case providerkit.UnmatchedRequest() | providerkit.CassetteError() | providerkit.RunConsumed():
            return "record it again"
        case providerkit.ConfigurationError():
            return "change the call"
        case providerkit.RateLimited() | providerkit.QuotaExhausted() | providerkit.Overloaded():
            return f"wait {error.retry_after}"
        case providerkit.ContextLengthExceeded() | providerkit.ContentFiltered() | providerkit.BadRequest():
            return "ask otherwise"
        case providerkit.NotFound() | providerkit.UnexpectedContent() | providerkit.ServerError():
            return f"look at {error.status}"
        case providerkit.ProviderError():
            return "ask the provider"
        case providerkit.TimedOut():
            return f"give {error.clock} more than {error.seconds}"
        case providerkit.ConnectError() | providerkit.Disconnected() | providerkit.TransportError():
            return "look at the network"
        case providerkit.StreamTruncated() | providerkit.StreamMalformed() | providerkit.StreamError():
            return "try again"
        case _:
            return str(error)


# A provider


def reads(value: bytes, event: str | None) -> list[Event]:
    """Return the events in one record of the wire."""
    if event == "error":
        raise providerkit.ServerError(value.decode(), status=None)
    return [providerkit.TextDelta(str(providerkit.loads(value))), providerkit.Answered(model="small")]


def reads_alone(value: bytes) -> list[Event]:
    """Return the events in one record that stands alone."""
    return reads(value, None)


class Parrot:
    """A provider with every hook."""

    @hookimpl
    def describe(self) -> ProviderInfo:
        """Return what it serves."""
        return ProviderInfo(
            "parrot",
            url="https://parrot.invalid",
            default_base_url="https://parrot.invalid/v1",
            supports=frozenset({"extra", "history", "system", "temperature"}),
            api_key_env=("PARROT_API_KEY", "BIRD_API_KEY"),
        )

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        """Return the model."""
        return Model(name or "small", reasoning=False, supports=None, max_output_tokens=None)

    @hookimpl
    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint) -> Request:
        """Return the request."""
        key: providerkit.Secret | None = endpoint.api_key
        if key is None:
            raise providerkit.MissingAPIKey("no key; say ", providerkit.Argument("api_key", ...))
        body = {"model": model.name, "messages": [turn.text for turn in chat.turns], "system": chat.system_texts}
        headers = providerkit.Headers({"Authorization": f"Bearer {key.reveal()}"})
        providerkit.note_left_out("parrot", {"message": {"reasoning_content": "Hm."}})
        return Request.json(endpoint.url("/say"), providerkit.merge_extra(body, chat.extra), headers)

    @hookimpl
    def parse_stream(self, head: ResponseHead, model: Model) -> Decoder:
        """Return what reads the answer."""
        end = Finish("stop", raw=model.name)
        return ByContent(
            head,
            stream=EventStream(reads, end=end),
            lines=JSONLines(reads_alone, end=end),
            body=JSONBody(lambda value: [*reads_alone(value), end]),
        )

    @hookimpl
    def parse_error(self, head: ResponseHead, body: bytes) -> providerkit.ProviderError | None:
        """Return the error of an answer that is not a 2xx."""
        return providerkit.ProviderError.from_status(head.status, str(providerkit.loads(body)))

    @hookimpl
    def build_models_request(self, endpoint: Endpoint, after: str | None) -> Request:
        """Return the request for a page of models."""
        return Request("GET", endpoint.url(f"/models?after={after or ''}"))

    @hookimpl
    def parse_models(self, head: ResponseHead, body: bytes) -> Page:
        """Return a page of models."""
        return Page([Model(str(name)) for name in providerkit.loads(body)], after=None)

    @hookimpl
    def build_embed_request(
        self, texts: tuple[str, ...], model: Model, endpoint: Endpoint, extra: Mapping[str, Any]
    ) -> Request:
        """Return the request for vectors."""
        return Request.json(endpoint.url("/embed"), {"texts": texts, "model": model.name, **extra}, stream=False)

    @hookimpl
    def parse_embeddings(self, head: ResponseHead, body: bytes) -> Embeddings:
        """Return the vectors."""
        return Embeddings(providerkit.loads(body), usage=providerkit.Usage(input_tokens=3))

    @hookimpl
    def build_token_request(self, endpoint: Endpoint) -> Request:
        """Return the request for a token."""
        return Request("POST", endpoint.url("/token"))

    @hookimpl
    def parse_token(self, head: ResponseHead, body: bytes) -> Token:
        """Return the token."""
        return Token(providerkit.Secret(body.decode()), seconds=600)


def pieces(data: bytes) -> list[str]:
    """Return what the readers of bytes make of some."""
    stream, lines = providerkit.SSEDecoder(), providerkit.JSONLinesDecoder()
    events: list[providerkit.ServerSentEvent] = [*stream.feed(data), *stream.close()]
    return [*(event.text for event in events), *(line.decode() for line in [*lines.feed(data), *lines.close()])]


# An extension


class Loud(DecoderWrapper):
    """Changes the events of an answer."""

    def transform(self, events: list[Event]) -> list[Event]:
        """Return the events in capitals."""
        return [
            providerkit.TextDelta(each.text.upper()) if isinstance(each, providerkit.TextDelta) else each
            for each in events
        ]


class Course(providerkit.Observer):
    """Is told of the course of one run."""

    def retry(self, error: providerkit.ProviderKitError, delay: float) -> None:
        """Note what failed."""
        mask = providerkit.Mask({"Authorization": "Bearer sk-0123"})
        sys.stderr.write(f"{mask(str(error))} {delay}")


class Slow:
    """Waits before it sends."""

    def __init__(self, inner: Transport, clock: providerkit.Clock | None = None) -> None:
        self._inner, self._clock = inner, clock

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Send a request."""
        with providerkit.pause_clocks():
            return self._inner.send(request)


class Counted(TransportWrapper):
    """Counts what is sent, and what fails."""

    def __init__(self, inner: Transport, kept: dict[str, Response]) -> None:
        super().__init__(inner)
        self.sent = self.failed = 0
        self._kept = kept

    async def before(self, request: Request) -> Response | None:
        """Count a request, unless its answer is there."""
        self.sent += request.url not in self._kept
        return self._kept.get(request.url)

    def response(self, response: Response) -> Response:
        """Leave the response as it is."""
        return super().response(response)

    async def after(self, request: Request, response: Response | None, failure: BaseException | None) -> None:
        """Count a failure, or keep the answer."""
        self.failed += failure is not None
        if response is not None:
            self._kept[request.url] = response


async def sizes(response: Response) -> AsyncIterator[int]:
    """Yield how long each piece of an answer is."""
    async for chunk in response.chunks():
        yield len(chunk)


class Questions(Protocol):
    """The questions of an extension's own."""

    @hookspec(firstresult=True)
    def is_loud(self, hook: Any) -> bool:
        """Return whether to speak loudly."""
        ...


class Counting:
    """An extension with every kind of hook."""

    @hookimpl
    def observe(self, chat: Chat | None, model: Model, operation: str) -> providerkit.Observer | None:
        """Watch chats."""
        return Course() if operation == "chat" else None

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Generator[None, Transport, Transport]:
        """Stand before the network."""
        inner = yield
        return Counted(Slow(inner), {})

    @hookimpl(wrapper=True)
    def parse_stream(self) -> Generator[None, Decoder, Decoder]:
        """Speak up."""
        inner = yield
        return Loud(inner)

    @hookimpl
    def hookspecs(self) -> object:
        """Return its own hooks."""
        return Questions


ADVICE = providerkit.Phrase("pass timeouts=", "say --timeout SECONDS")
VERSION: str = providerkit.__version__
