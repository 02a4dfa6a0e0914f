"""Small plugins that tests talk through."""

from __future__ import annotations

from providerkit import (
    Chat,
    Decoder,
    Endpoint,
    EventStream,
    Finish,
    Model,
    ProviderInfo,
    Request,
    ResponseHead,
    TextDelta,
    hookimpl,
    loads,
)


class Parrot:
    """Speak a wire whose end is the end of the body: each event holds a JSON string."""

    end: Finish | None = Finish("stop")
    supports: frozenset[str] = frozenset({"system", "history"})

    @hookimpl
    def describe(self) -> ProviderInfo:
        return ProviderInfo(
            name="parrot",
            default_base_url="http://parrot.invalid",
            default_model="grey",
            models=("grey", "green"),
            supports=self.supports,
            api_key_env="PARROT_API_KEY",
        )

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        return Model(name or "grey")

    @hookimpl
    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint) -> Request:
        headers = {"Authorization": f"Bearer {endpoint.api_key.reveal()}"} if endpoint.api_key else {}
        return Request.json(endpoint.url("/say"), {"model": model.name, "text": chat.messages[-1].text}, headers)

    @hookimpl
    def parse_stream(self, head: ResponseHead) -> Decoder:
        return EventStream(lambda data, event: [TextDelta(loads(data))], end=self.end)


class Macaw(Parrot):
    """Speak a wire that marks its end with [DONE]."""

    end = None
