"""Operations: the kinds of question that a provider answers, each a pair of pure hooks.

An operation says how its request is built, how its answer is decoded, and what collects the
answer. All of them go through the same routing, exchange, clocks, retries and masking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from ..chat.embeddings import Embeddings
from ..chat.events import Event, Finish
from ..chat.messages import Message
from ..chat.options import Chat, features_of
from ..chat.provider_data import data_of, own_messages
from ..chat.tools import Tool
from ..errors import Argument, PluginError, StreamTruncated, UnsupportedFeature
from ..wire.decoder import Decoder
from ..wire.requests import Request, ResponseHead
from .targets import Target


class Operation(Protocol):
    """One question, as it is put to any of its targets; `messages` are those of a chat, else none."""

    messages: tuple[Message, ...]

    def check(self, target: Target) -> None:
        """Raise UnsupportedFeature if a target can't serve it."""
        ...

    def build_request(self, target: Target) -> Request:
        """Return the request."""
        ...

    def decoder(self, target: Target, head: ResponseHead) -> Decoder:
        """Return a fresh decoder for the answer."""
        ...


class Collector(Protocol):
    """What takes in the events of an answer, and knows what has come."""

    source: str | None
    request_id: str | None
    has_content: bool

    @property
    def finished(self) -> bool:
        """Return whether the Finish has come."""
        ...

    @property
    def text(self) -> str:
        """Return the text so far, which an error keeps as its `partial`."""
        ...

    def begin(self, provider: str, model: str, *, keeps_data: bool) -> None:
        """Forget what has come: another attempt begins."""
        ...

    def add(self, events: Sequence[Event]) -> bool:
        """Take in events, and return whether one had content."""
        ...

    def make_ids(self, messages: tuple[Message, ...]) -> list[Event]:
        """Return the calls without an id one that is unique among these messages; return the events that say so."""
        ...


class ChatOperation:
    """Ask for the next turn of a chat; `options` holds its options, and no messages, and `features` what these take."""

    def __init__(self, options: Chat, features: tuple[str, ...], messages: tuple[Message, ...]) -> None:
        self._options = options
        self._features = features
        self.messages = messages
        self._chats: dict[Target, Chat] = {}

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Return the tools that the model is offered."""
        return self._options.tools

    def with_messages(self, messages: tuple[Message, ...]) -> ChatOperation:
        """Return the same question with other messages: the next round of tools."""
        return ChatOperation(self._options, self._features, messages)

    def chat(self, target: Target) -> Chat:
        """Return the chat as a target is given it: without what other providers have said of their own."""
        chat = self._chats.get(target)
        if chat is None:
            keeps = "provider_data" in target.supports
            messages = own_messages(self.messages, target.info.name, keeps=keeps)
            chat = self._chats[target] = self._options.with_messages(messages, target.extra)
        return chat

    def check(self, target: Target) -> None:
        """Raise UnsupportedFeature if a target can't serve the chat."""
        name, supports = target.info.name, target.supports
        extra = ("extra",) if target.extra else ()
        for feature in (*self._features, *extra, *features_of(self.messages)):
            if feature not in supports:
                raise UnsupportedFeature(
                    f"{name} does not serve ",
                    Argument(feature),
                    f"; see who does: providerkit providers --supports {feature}",
                    option=feature,
                    provider=name,
                )
        if "provider_data" not in supports and any(data.provider == name for data in data_of(self.messages)):
            raise UnsupportedFeature(
                f"the messages hold provider data for {name}, which takes none; leave it out",
                option="provider_data",
                provider=name,
            )

    def build_request(self, target: Target) -> Request:
        """Return the request."""
        return target.hooks.build_request(self.chat(target), target.model, target.endpoint)

    def decoder(self, target: Target, head: ResponseHead) -> Decoder:
        """Return a fresh decoder for the answer."""
        return target.hooks.parse_stream(head, target.model)


@attrs.frozen
class Value:
    """The one event of an answer that is a single value."""

    value: Any


class ValueCollector:
    """Collects the value of an operation that has one."""

    def __init__(self) -> None:
        self.begin("", "")

    def begin(self, provider: str, model: str, *, keeps_data: bool = False) -> None:
        """Forget what has come: another attempt begins."""
        self.provider = provider
        self.model = model
        self.source: str | None = None
        self.request_id: str | None = None
        self.value: Any = None
        self.has_content = False
        self.finished = False
        self.text = ""

    def add(self, events: Sequence[Any]) -> bool:
        """Take in events, and return whether one had content."""
        for event in events:
            if isinstance(event, Value):
                self.value = event.value
                self.has_content = True
            else:  # the Finish, which is all that follows it
                self.finished = True
        return self.has_content

    def make_ids(self, messages: tuple[Message, ...]) -> list[Event]:
        """Return nothing: there are no calls."""
        return []


class _WholeBody:
    """Decodes a body that is parsed when all of it has come."""

    ended = False

    def __init__(self, parse: Callable[[bytes], Any]) -> None:
        self._parse = parse
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> list[Any]:
        """Keep the bytes; the value comes at the end."""
        self._body.append(data)
        return []

    def close(self) -> list[Any]:
        """Return the value."""
        body = b"".join(self._body)
        if not body.strip():
            raise StreamTruncated("the body is empty")
        return [Value(self._parse(body)), Finish("stop")]


class ModelsOperation:
    """Ask for one page of the provider's models; `after` is the mark that the page before ended with."""

    messages: tuple[Message, ...] = ()

    def __init__(self, after: str | None = None) -> None:
        self._after = after

    def check(self, target: Target) -> None:
        """Do nothing: a provider that can't be asked is not asked."""

    def build_request(self, target: Target) -> Request:
        """Return the request."""
        request = target.hooks.build_models_request(target.endpoint, self._after)
        if request is None:
            raise PluginError(
                f"plugin {target.info.name!r}: build_models_request gave no request for the page after {self._after!r}",
                plugin=target.info.name,
                hook="build_models_request",
            )
        return request

    def decoder(self, target: Target, head: ResponseHead) -> Decoder:
        """Return a fresh decoder for the answer."""
        return _WholeBody(lambda body: target.hooks.parse_models(head, body))


class EmbedOperation:
    """Ask for the vectors of texts."""

    messages: tuple[Message, ...] = ()

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts

    def check(self, target: Target) -> None:
        """Raise UnsupportedFeature if the provider has no embeddings."""
        if not target.hooks.answers("build_embed_request"):
            raise UnsupportedFeature(
                f"{target.info.name} has no embeddings, or its plugin does not know how to ask for them",
                option="embed",
                provider=target.info.name,
            )

    def build_request(self, target: Target) -> Request:
        """Return the request."""
        return target.hooks.build_embed_request(self._texts, target.model, target.endpoint, target.extra)

    def decoder(self, target: Target, head: ResponseHead) -> Decoder:
        """Return a fresh decoder for the answer."""
        return _WholeBody(lambda body: self._embeddings(target, head, body))

    def _embeddings(self, target: Target, head: ResponseHead, body: bytes) -> Embeddings:
        found = target.hooks.parse_embeddings(head, body, len(self._texts))
        return attrs.evolve(found, provider=target.info.name, model=found.model or target.model.name)


class TokenOperation:
    """Ask for a token, which stands in for the key of the questions after it."""

    messages: tuple[Message, ...] = ()

    def check(self, target: Target) -> None:
        """Do nothing: it is asked only of a provider that has it."""

    def build_request(self, target: Target) -> Request:
        """Return the request."""
        return target.hooks.build_token_request(target.endpoint)

    def decoder(self, target: Target, head: ResponseHead) -> Decoder:
        """Return a fresh decoder for the answer."""
        return _WholeBody(lambda body: target.hooks.parse_token(head, body))
