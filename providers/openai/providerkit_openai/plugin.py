"""The plugin: hooks, pure functions of values, for every service of the chat-completions wire.

Source of the wire: platform.openai.com/docs/api-reference/chat, and what servers that
imitate it were seen to send. Read in November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from providerkit import (
    ByContent,
    Chat,
    Decoder,
    Embeddings,
    Endpoint,
    EventStream,
    Finish,
    InvalidOption,
    JSONBody,
    MissingAPIKey,
    Model,
    ProviderError,
    ProviderInfo,
    Request,
    ResponseHead,
    UnknownModel,
    UnsupportedFeature,
    hookimpl,
    merge_extra,
)

from .answers import Answer, Completed, models_of
from .dialect import EFFORTS, Dialect, Kept
from .embeddings import embeddings_of
from .refusals import refusal
from .requests import body_of

if TYPE_CHECKING:
    from aiohttp.web import Application

OPENAI = Dialect(
    "openai",
    "https://openai.com",
    "https://api.openai.com/v1",
    "OPENAI_API_KEY",
    "gpt-5-mini",
    efforts=EFFORTS,
    files={"audio", "data", "id"},
    kept=Kept(part={"prompt_cache_breakpoint"}),
    thinkers=("gpt-5", "o1", "o3", "o4"),
    max_tokens="max_completion_tokens",
    call_ids=r"(?s).{1,40}",
)
PATH = "/chat/completions"


class OpenAI:
    """Talk to OpenAI, or to the service that `dialect` describes."""

    def __init__(self, dialect: Dialect = OPENAI) -> None:
        self.dialect = dialect

    @hookimpl
    def describe(self) -> ProviderInfo:
        """Describe the service."""
        return ProviderInfo(
            name=self.dialect.name,
            url=self.dialect.url,
            default_base_url=self.dialect.base_url,
            base_path=None if self.dialect.base_url else "/v1",
            default_model=self.dialect.default_model,
            supports=self.dialect.features,
            api_key_env=self.dialect.api_key_env,
        )

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        """Pass any name through; services add models every week."""
        meant = name or self.dialect.default_model or ""
        return Model(meant, reasoning=meant.startswith(self.dialect.thinkers))

    @hookimpl
    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint) -> Request:
        """Ask for the answer as a stream, unless `extra` says otherwise."""
        body = body_of(chat, self._named(model), self.dialect)
        return Request.json(_url(endpoint, PATH), body, self._headers(endpoint), stream=bool(body["stream"]))

    @hookimpl
    def parse_stream(self, head: ResponseHead) -> Decoder:
        """Take a stream, or a whole completion where the server gives one."""
        answer = Answer(head, self.dialect)
        end = None if self.dialect.finishes else Finish("stop")
        stream = EventStream(answer.parse_event, end=end, done=None)  # the answer knows the mark: usage may follow
        return Completed(ByContent(head, stream=stream, body=JSONBody(answer.parse_completion)), answer)

    @hookimpl
    def parse_error(self, head: ResponseHead, body: bytes) -> ProviderError | None:
        """Read the service's own words and codes out of an error."""
        return refusal(head, body, self.dialect.name)

    @hookimpl
    def build_models_request(self, endpoint: Endpoint) -> Request:
        """Ask for the models."""
        return Request("GET", _url(endpoint, "/models"), self._headers(endpoint), stream=False)

    @hookimpl
    def parse_models(self, head: ResponseHead, body: bytes) -> list[Model]:
        """List the models in the order of the service."""
        return models_of(head, body, self.dialect.name)

    @hookimpl
    def build_embed_request(
        self, texts: tuple[str, ...], model: Model, endpoint: Endpoint, extra: Mapping[str, Any]
    ) -> Request:
        """Ask for the vectors of all texts at once."""
        if not self.dialect.embeds:
            raise UnsupportedFeature(
                f"{self.dialect.name} has no embeddings", option="embed", provider=self.dialect.name
            )
        body = merge_extra({"model": self._named(model), "input": list(texts)}, extra)
        return Request.json(_url(endpoint, "/embeddings"), body, self._headers(endpoint), stream=False)

    @hookimpl
    def parse_embeddings(self, head: ResponseHead, body: bytes) -> Embeddings:
        """Read the vectors in the order of the texts."""
        return embeddings_of(head, body, self.dialect.name)

    @hookimpl
    def sandbox(self) -> Application:
        """Imitate the wire."""
        from .sandbox import application  # brings aiohttp's server, which only a sandbox needs

        return application()

    def _named(self, model: Model) -> str:
        """Return the model's name; an error only now, since models are listed without one, too."""
        if not model.name:
            raise UnknownModel(f"{self.dialect.name} has no default model")
        return model.name

    def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        """Show the key; only at the service's own address is it sure that it wants one."""
        if endpoint.api_key is not None:
            return {"Authorization": f"Bearer {endpoint.api_key.reveal()}"}
        if not self.dialect.keyless and endpoint.base_url == self.dialect.base_url:
            raise MissingAPIKey(f"{self.dialect.name} needs a key")
        return {}


def _url(endpoint: Endpoint, path: str) -> str:
    """Add a path to the base URL; raises InvalidOption if somebody has done so already."""
    if endpoint.base_url.lower().endswith(PATH):
        raise InvalidOption(
            f"base_url ends in {PATH!r}, which is added to it; leave that out, so that it ends as in '/v1'",
            option="base_url",
        )
    return endpoint.url(path)
