"""The typed face of pluggy: ask one provider, through the active extensions."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from copy import copy
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from ..chat.embeddings import Embeddings
from ..chat.models import Model, Page, ProviderInfo
from ..chat.options import Chat
from ..errors import (
    MissingAPIKey,
    PluginError,
    ProviderError,
    ProviderKitError,
    StreamError,
    StreamMalformed,
    UnknownModel,
    UnsupportedFeature,
)
from ..wire.decoder import Decoder
from ..wire.requests import Endpoint, Request, ResponseHead
from ..wire.secrets import Token
from .hookspecs import Observer

if TYPE_CHECKING:
    from ..wire.transport import Transport
from .loading import T
from .plugin import Plugin, broken, module_of, refused

_UNREADABLE = (JSONDecodeError, UnicodeDecodeError, RecursionError)  # what parsers raise for a body, whoever wrote them


class Hooks:
    """Ask one provider, through the active extensions, and check what it answers.

    Every method raises PluginError if a hook raises something of its own or gives a
    wrong type; errors of providerkit pass through.
    """

    def __init__(self, relay: Any, provider: Plugin, extensions: tuple[Plugin, ...] = ()) -> None:
        self._relay = relay
        self._provider = provider
        self._held = extensions
        self._plugins = {id(plugin.implementation): plugin for plugin in (provider, *extensions)}
        # Mostly nobody answers these, and pluggy takes a microsecond each time to find that out.
        self._is_observed = bool(relay.observe.get_hookimpls())
        self._is_wrapped = len(relay.wrap_transport.get_hookimpls()) > 1
        self._alone = {name: impl for name, caller in vars(relay).items() if (impl := _only_implementation(caller))}
        self.info: ProviderInfo = self._ask(ProviderInfo, "describe")

    def holding(self, extensions: tuple[Plugin, ...]) -> Hooks:
        """Return the same hooks, which keep the extensions alive that they ask."""
        other = copy(self)
        other._held = extensions
        return other

    def resolve_model(self, name: str | None) -> Model:
        """Return which model is meant; an empty name is the default."""
        return self._ask(Model, "resolve_model", name=name or None)

    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint) -> Request:
        """Make the HTTP request."""
        return self._ask(Request, "build_request", chat=chat, model=model, endpoint=endpoint)

    def parse_stream(self, head: ResponseHead, model: Model) -> Decoder:
        """Return a fresh decoder."""
        decoder: Decoder = self._answer("parse_stream", "Decoder", _is_decoder, head=head, model=model)
        return decoder

    def parse_error(self, head: ResponseHead, body: bytes) -> ProviderError | None:
        """Return the typed error of an answer that is none; None if the provider knows none, or can't read it.

        An error that the hook raises counts as one that it returns.
        """
        error: ProviderError | None = None
        try:
            error = self._ask_optional(ProviderError, "parse_error", head=head, body=body)
        except ProviderError as raised:
            error = raised
        except StreamError:  # of a gateway's page, say: it must not hide the error of its status
            pass
        return error

    def answers(self, hook: str) -> bool:
        """Return whether anybody answers a hook."""
        return bool(getattr(self._relay, hook).get_hookimpls())

    def build_models_request(self, endpoint: Endpoint, after: str | None) -> Request | None:
        """Return the request that lists models; None if the provider can't be asked."""
        request: Request | None = self._ask_optional(Request, "build_models_request", endpoint=endpoint, after=after)
        return request

    def parse_models(self, head: ResponseHead, body: bytes) -> Page:
        """Return a page of the list of models."""
        listed: object = self._ask(object, "parse_models", head=head, body=body)
        if isinstance(listed, Page):
            return listed
        if not isinstance(listed, list):
            raise self._mistyped("parse_models", "list", listed)
        for model in listed:
            if not isinstance(model, Model):
                raise self._mistyped("parse_models", "Model", model)
        return Page(listed)

    def build_embed_request(
        self, texts: tuple[str, ...], model: Model, endpoint: Endpoint, extra: Mapping[str, Any]
    ) -> Request:
        """Return the request for the vectors of texts."""
        return self._ask(Request, "build_embed_request", texts=texts, model=model, endpoint=endpoint, extra=extra)

    def parse_embeddings(self, head: ResponseHead, body: bytes, count: int) -> Embeddings:
        """Return the vectors, as many as there were texts."""
        found: Embeddings = self._ask(Embeddings, "parse_embeddings", head=head, body=body)
        if len(found.vectors) != count:
            raise StreamMalformed(f"{self.info.name} answered with {len(found.vectors)} vectors for {count} texts")
        return found

    def build_token_request(self, endpoint: Endpoint) -> Request:
        """Return the request for a token."""
        return self._ask(Request, "build_token_request", endpoint=endpoint)

    def parse_token(self, head: ResponseHead, body: bytes) -> Token:
        """Return the token."""
        return self._ask(Token, "parse_token", head=head, body=body)

    def sandbox(self, kind: type[T]) -> T | None:
        """Return the provider's own imitation; None if it has none.

        `kind` is aiohttp's Application, which only who serves one imports.
        """
        application: T | None = self._ask_optional(kind, "sandbox")
        return application

    def observe(self, chat: Chat | None, model: Model, operation: str = "chat") -> list[Observer]:
        """Return the observers of one run; of a run that is not a chat, those that ask for the operation's name."""
        if not self._is_observed:
            return []
        if chat is not None:
            return self._ask(list, "observe", chat=chat, model=model, operation=operation)
        hook = "observe"
        facts = {"chat": None, "model": model, "operation": operation, "hook": self._relay}
        impls = [impl for impl in self._relay.observe.get_hookimpls() if "operation" in impl.argnames]
        try:
            found = [impl.function(*(facts[name] for name in impl.argnames)) for impl in impls]
        except BaseException as error:  # noqa: BLE001 - the plugin boundary: a hook may raise anything
            failure = self._failed(hook, error)
        else:
            return [observer for observer in found if observer is not None]
        raise failure

    def wrap_transport(self, transport: Transport) -> Transport:
        """Return the transport, wrapped by the active extensions."""
        if not self._is_wrapped:
            return transport
        wanted = "a Transport, which has a method send"
        wrapped: Transport = self._answer("wrap_transport", wanted, _is_transport, transport=transport)
        return wrapped

    def _ask(self, kind: type[T], hook: str, **facts: object) -> T:
        answer: T = self._answer(hook, kind.__name__, lambda answer: isinstance(answer, kind), **facts)
        return answer

    def _ask_optional(self, kind: type[T], hook: str, **facts: object) -> T | None:
        wanted = (kind, type(None))
        answer: T | None = self._answer(hook, kind.__name__, lambda answer: isinstance(answer, wanted), **facts)
        return answer

    def _answer(self, hook: str, wanted: str, is_wanted: Callable[[Any], bool], **facts: object) -> Any:
        """Ask a hook, and look at its answer, which is code of others as well: it may have properties."""
        alone = self._alone.get(hook)
        try:
            if alone is not None:
                facts["hook"] = self._relay
                answer = alone.function(*[facts[name] for name in alone.argnames])
            else:
                answer = getattr(self._relay, hook)(hook=self._relay, **facts)
            if is_wanted(answer):
                return answer
            failure = self._mistyped(hook, wanted, answer)
        except ProviderKitError as error:
            if not isinstance(error, PluginError) or error.plugin is not None:
                if hook != "describe":
                    self._introduce(error)
                raise
            failure = self._failed(hook, error)
        except BaseException as error:  # noqa: BLE001 - the plugin boundary: a hook may raise anything
            if hook == "parse_error" and isinstance(error, _UNREADABLE):
                return None
            failure = self._failed(hook, error)
        raise failure

    def _introduce(self, error: ProviderKitError) -> None:
        """Name the provider in an error that is about it."""
        if isinstance(error, MissingAPIKey | UnknownModel | UnsupportedFeature) and error.provider is None:
            error.provider = self.info.name
            if isinstance(error, MissingAPIKey):
                error.variable = next(iter(self.info.key_variables), None)

    def _mistyped(self, hook: str, wanted: str, answer: object) -> PluginError:
        """Blame the innermost plugin that was asked, and name those that could have changed its answer."""
        impls = getattr(self._relay, hook).get_hookimpls()
        asked = [self._plugins[id(impl.plugin)] for impl in reversed(impls) if id(impl.plugin) in self._plugins]
        wrapped = f" (asked through {', '.join(plugin.name for plugin in asked)})" if len(asked) > 1 else ""
        culprit = asked[-1] if asked else self._provider
        failure = refused(culprit, f"{hook} gave {type(answer).__name__}, not {wanted}{wrapped}")
        failure.hook = hook
        return failure

    def _failed(self, hook: str, error: BaseException) -> PluginError:
        return self.failed(f"{hook} raised", error, hook)

    def failed(self, what: str, error: BaseException, hook: str | None = None) -> PluginError:
        """Blame the plugin whose code was the last to be entered: one of its hooks, or its module."""
        impls = [impl for caller in vars(self._relay).values() for impl in caller.get_hookimpls()]
        hooks = {impl.function.__code__: self._plugins.get(id(impl.plugin)) for impl in impls}
        modules = {module_of(plugin): plugin for plugin in self._plugins.values()}
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        entered = (
            hooks.get(frame.f_code) or modules.get(str(frame.f_globals.get("__name__"))) for frame in reversed(frames)
        )
        culprit = next(filter(None, entered), self._provider)
        return broken(culprit.name, what, error, distribution=culprit.distribution, hook=hook)


def _only_implementation(caller: Any) -> Any:
    """Return what answers a hook with one answer, if nothing else answers or wraps it; None otherwise."""
    impls = caller.get_hookimpls()
    if len(impls) != 1 or not caller.spec or not caller.spec.opts["firstresult"]:
        return None
    (impl,) = impls
    return None if impl.wrapper or impl.hookwrapper else impl


def _is_decoder(answer: object) -> bool:
    """Return whether it is a Decoder; isinstance, of a protocol, takes ten times as long."""
    return hasattr(answer, "feed") and hasattr(answer, "close") and hasattr(answer, "ended")


def _is_transport(answer: object) -> bool:
    return callable(getattr(answer, "send", None))
