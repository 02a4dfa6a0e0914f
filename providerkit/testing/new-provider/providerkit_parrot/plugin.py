"""The plugin: what is asked of Parrot, and how its answer is read.

Every hook is a pure function of its arguments: no input, no output, no clock. The wire
below is made up; put that of your service in its place, and say here which page describes
it and when you have read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from providerkit import (
    Chat,
    Decoder,
    Endpoint,
    Event,
    EventStream,
    Finish,
    Message,
    Model,
    ProviderError,
    ProviderInfo,
    Request,
    ResponseHead,
    StreamMalformed,
    TextDelta,
    Usage,
    hookimpl,
    loads,
)

if TYPE_CHECKING:
    from aiohttp.web import Application

REASONS = {"stop": "stop", "length": "length"}  # the words of the wire, and ours; any other is "other", and no success


class Parrot:
    """Talk to Parrot."""

    # If your wire wants ids that are new with every request, name the headers, or the fields of the body,
    # that hold them: wire_ids = ("X-Request-ID",). All else must be the same for the same chat.

    @hookimpl
    def describe(self) -> ProviderInfo:
        """Describe Parrot: `supports` lists what is sent on, and all else is refused before anything is sent."""
        return ProviderInfo(
            name="parrot",
            url="https://parrot.example",
            default_base_url="https://api.parrot.example/v1",
            default_model="small",
            supports={"system", "history", "temperature"},
            api_key_env="PARROT_API_KEY",
        )

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        """Pass any name through: models appear faster than plugins."""
        return Model(name or "small")

    @hookimpl
    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint) -> Request:
        """Make the request; raise MissingAPIKey, InvalidMessages or UnsupportedFeature for what can't be asked."""
        body: dict[str, Any] = {"model": model.name, "messages": _messages(chat), "stream": True}
        if chat.temperature is not None:
            body["temperature"] = chat.temperature
        return Request.json(endpoint.url("/chat"), body, _headers(endpoint))

    @hookimpl
    def parse_stream(self, head: ResponseHead) -> Decoder:
        """Read server-sent events, which [DONE] ends; on a wire without such a mark, add end=Finish("stop")."""
        return EventStream(_parse_event)

    @hookimpl
    def parse_error(self, head: ResponseHead, body: bytes) -> ProviderError | None:
        """Read Parrot's own words out of an error; None, or a body that is no JSON, leaves it to the core."""
        return _error_in(loads(body), head.status)

    @hookimpl
    def build_models_request(self, endpoint: Endpoint) -> Request:
        """Ask for the models; leave this out, and the next, where the service can't be asked."""
        return Request("GET", endpoint.url("/models"), _headers(endpoint), stream=False)

    @hookimpl
    def parse_models(self, head: ResponseHead, body: bytes) -> list[Model]:
        """List the models."""
        match loads(body):
            case {"data": [*found]}:
                return [
                    Model(item["id"]) for item in found if isinstance(item, dict) and isinstance(item.get("id"), str)
                ]
        raise StreamMalformed("parrot's list of models is none")

    @hookimpl
    def sandbox(self) -> Application:
        """Imitate Parrot."""
        from .sandbox import application  # brings aiohttp's server, which only a sandbox needs

        return application()


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {"Authorization": f"Bearer {endpoint.api_key.reveal()}"} if endpoint.api_key else {}


def _messages(chat: Chat) -> list[dict[str, str]]:
    """Send all that is said: a message that a wire has no place for is refused, never dropped."""
    option = [] if chat.system is None else [Message("system", chat.system)]
    return [{"role": message.role, "content": message.text} for message in (*option, *chat.messages)]


def _parse_event(data: bytes, event: str) -> list[Event]:
    """Make the events of one server-sent event; what it does not know it passes over, since wires grow."""
    value = loads(data)
    error = _error_in(value, 200)
    if error is not None:
        raise error
    match value:
        case {"text": str(text)}:
            return [TextDelta(text)]
        case {"finish": str(reason)}:
            return [Finish(REASONS.get(reason, "other"), raw=reason)]
        case {"usage": {"input": int(asked), "output": int(answered)}}:
            return [Usage(asked, answered)]
    return []


def _error_in(value: object, status: int) -> ProviderError | None:
    match value:
        case {"error": {"message": str(words), **rest}}:
            code = rest.get("code")
            return ProviderError.from_status(status, words, code=None if code is None else str(code))
    return None
