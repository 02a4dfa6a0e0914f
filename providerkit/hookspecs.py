"""The questions that a provider answers, and those that an extension answers or wraps.

A provider marks its answers with `@hookimpl`; a hook may take any of the arguments below,
in any order, and leaves out those it does not need. Hooks are pure: no input, no output, no
clock. Every hook also offers `hook`, the relay through which an extension calls hooks of
its own.

An extension wraps a provider's answers: `@hookimpl(wrapper=True)` on the same names, with
one `yield` that gives the answer of what it wraps. The extension named first is outermost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from aiohttp.web import Application

    from .errors import ProviderError
    from .messages import Chat, Model, ProviderInfo
    from .transport import Transport
    from .wire import Decoder, Endpoint, Request, ResponseHead

PROJECT = "providerkit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Observer(Protocol):
    """Be told what happens during one run; every method is optional, and none can break the call.

    `attempt(route, request)`: a request is about to be sent to `route` ("provider/model").
    `head(head)`: its answer begins; `***` stands for the key. `events(batch)`: a list of events has arrived.
    `retry(error, delay)`: the next attempt comes after `delay` seconds. `finish(reply)`:
    the run has answered. `error(error)`: the run has failed, or was left early (None).
    """


class ProviderHooks(Protocol):
    """What a provider answers; the first four are required."""

    @hookspec(firstresult=True)
    def describe(self, hook: Any) -> ProviderInfo:
        """Describe the provider, always the same.

        Asked as the provider is first used, with each set of extensions; a wrapper sees the
        ProviderInfo.
        """

    @hookspec(firstresult=True)
    def resolve_model(self, name: str | None, hook: Any) -> Model:
        """Say which model is meant; `name` is None for the default.

        Asked for every run. Raise UnknownModel to refuse a name; names that a provider does
        not know are best passed through, since models appear faster than plugins.
        """

    @hookspec(firstresult=True)
    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint, hook: Any) -> Request:
        """Make the HTTP request; asked once for each attempt.

        Deterministic, but for ids that the wire demands. Only options in `supports` arrive.
        Raise MissingAPIKey where `endpoint.api_key` is None and the provider needs one. The
        core sends the request as it is, with the caller's headers laid over it.
        """

    @hookspec(firstresult=True)
    def parse_stream(self, head: ResponseHead, model: Model, hook: Any) -> Decoder:
        """Give a fresh decoder for an answer with a 2xx status; asked once for each.

        An extension that changes events returns a DecoderWrapper around it. It is asked in
        the same context (`contextvars`) as the `build_request` before it, whose wrapper may
        thus leave something for this one's.
        """

    @hookspec(firstresult=True)
    def parse_error(self, head: ResponseHead, body: bytes, hook: Any) -> ProviderError | None:
        """Make the typed error of an answer that is none; None leaves it to the core.

        Asked for a status other than 2xx, and for a 2xx body that holds no chat answer.
        `body` may be anything, and cut at the cap for error bodies; the StreamMalformed of
        `loads`, for what is no JSON, means None. The core fills in what the error leaves
        None: status, request id, and the waiting time of the headers. A `retry_after` that is
        not a finite number counts as None.
        """

    @hookspec(firstresult=True)
    def build_models_request(self, endpoint: Endpoint, hook: Any) -> Request:
        """Make the request that lists the provider's models; asked when a caller lists them."""

    @hookspec(firstresult=True)
    def parse_models(self, head: ResponseHead, body: bytes, hook: Any) -> list[Model]:
        """Read the answer to `build_models_request`, which comes whole; asked once for each."""

    @hookspec(firstresult=True)
    def sandbox(self, hook: Any) -> Application:
        """Give an imitation of the provider that speaks its wire; asked for each sandbox."""


class ExtensionHooks(Protocol):
    """What an extension answers beside wrapping the hooks of a provider."""

    @hookspec
    def observe(self, chat: Chat, model: Model, hook: Any) -> Observer | None:
        """Give an object that is told of the run's course.

        Asked once a run, as it starts, however many attempts and rounds of tools it takes.
        """

    @hookspec(firstresult=True)
    def wrap_transport(self, transport: Transport, hook: Any) -> Transport:
        """Wrap input, output and time; asked once a run, as it starts, and where models are listed.

        Always a wrapper: `inner = yield`, then return a Transport around `inner`. Of a run it
        is asked right after `observe`, in the same context (`contextvars`), which may thus
        leave something for it. A Transport that waits before it sends does so within
        `pause_clocks`.
        """

    @hookspec
    def hookspecs(self) -> object | None:
        """Give an object whose `@hookspec` methods are the extension's own hooks.

        Asked when the extension joins a provider, before any plugin's hooks are checked;
        others implement them with `@hookimpl(optionalhook=True)`.
        """


REQUIRED = ("describe", "resolve_model", "build_request", "parse_stream")
HOOKS = frozenset(name for spec in (ProviderHooks, ExtensionHooks) for name in vars(spec) if name[0] != "_")
