"""Questions with one value for an answer go the way of a chat: routes, retries, clocks, observers, masks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from loopback import Received, http, serve

import providerkit
from providerkit import (
    Embeddings,
    Endpoint,
    Model,
    Page,
    ProviderInfo,
    Request,
    ResponseHead,
    Secret,
    Token,
    Usage,
    hookimpl,
    loads,
)

KEY = "sk-MARKED-0123456789abcdef"
QUICK = providerkit.Retry(attempts=3, base=0)


class Vectors:
    """A provider of embeddings and of a list of models in pages; the chat hooks are there because they must be."""

    name = "vectors"

    @hookimpl
    def describe(self) -> ProviderInfo:
        return ProviderInfo(self.name, default_base_url="http://127.0.0.1:9", default_model="small")

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        return Model(name or "small")

    @hookimpl
    def build_request(self) -> Request:
        raise AssertionError("nobody chats here")

    @hookimpl
    def parse_stream(self) -> providerkit.Decoder:
        raise AssertionError("nobody chats here")

    @hookimpl
    def build_embed_request(
        self, texts: tuple[str, ...], model: Model, endpoint: Endpoint, extra: dict[str, Any]
    ) -> Request:
        body = providerkit.merge_extra({"model": model.name, "input": list(texts)}, extra)
        return Request.json(endpoint.url("/embed"), body, self._headers(endpoint), stream=False)

    @hookimpl
    def parse_embeddings(self, body: bytes) -> Embeddings:
        value = loads(body)
        return Embeddings(value["vectors"], Usage(input_tokens=value["tokens"]))

    @hookimpl
    def build_models_request(self, endpoint: Endpoint, after: str | None) -> Request:
        query = f"?after={after}" if after else ""
        return Request("GET", endpoint.url(f"/models{query}"), self._headers(endpoint), stream=False)

    @hookimpl
    def parse_models(self, head: ResponseHead, body: bytes) -> Page:
        value = loads(body)
        return Page([Model(name) for name in value["models"]], value.get("after"))

    def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        return {"X-Key": endpoint.api_key.reveal()} if endpoint.api_key else {}


def vectors(*numbers: float) -> bytes:
    return answer({"vectors": [[number] for number in numbers], "tokens": 3})


def answer(value: object, status: int = 200) -> bytes:
    return http(json.dumps(value).encode(), status=status)


def in_turn(*answers: bytes) -> Any:
    """Return each request the next of these answers."""
    left = list(answers)

    async def talk(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0))
        await writer.drain()

    return talk


async def test_texts_are_embedded_in_their_order():
    async with serve(vectors(1, 2)) as server:
        found = await providerkit.embed(
            ["a", "b"], provider=Vectors, model="large", base_url=server.base_url, extra={"dimensions": 1}
        )
    assert found == Embeddings([[1.0], [2.0]], Usage(input_tokens=3), model="large", provider="vectors")
    (received,) = server.requests
    assert json.loads(received.body) == {"model": "large", "input": ["a", "b"], "dimensions": 1}


def test_a_blocking_caller_gets_the_vectors_too():
    provider = providerkit.provider(Vectors)
    with pytest.raises(providerkit.ConnectError):
        provider.embed("a", base_url="http://127.0.0.1:1", retry=providerkit.Retry(attempts=1)).result()


async def test_embeddings_are_tried_again_and_fall_back():
    refused = http(b"{}", status=401)
    async with serve(in_turn(http(status=503), http(status=503), vectors(1))) as server:
        found = await providerkit.embed("a", provider=Vectors, base_url=server.base_url, retry=QUICK)
        assert (found.vectors, len(server.requests)) == (((1.0,),), 3)
    async with serve(refused) as one, serve(vectors(2)) as other:
        route = providerkit.Route(Vectors, "spare", base_url=other.base_url)
        found = await providerkit.embed("a", provider=Vectors, base_url=one.base_url, fallback=route, retry=QUICK)
        assert (found.vectors, found.model) == (((2.0,),), "spare")


async def test_vectors_that_are_not_one_for_each_text_are_no_answer():
    async with serve(vectors(1)) as server:
        with pytest.raises(providerkit.StreamMalformed, match="vectors answered with 1 vectors for 2 texts"):
            await providerkit.embed(["a", "b"], provider=Vectors, base_url=server.base_url, retry=QUICK)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "texts is empty; expected at least one text to embed"),
        (["a", ""], r"texts\[1\] is an empty string; expected a text"),
        (["a", 5], r"texts\[1\] is int; expected a text"),
        (b"a", "texts is bytes; expected a string or a list of strings"),
        ({"a": 1}, "texts is dict; expected a string or a list of strings"),
        (None, "texts is NoneType; expected a string or a list of strings"),
    ],
    ids=repr,
)
def test_what_is_not_a_list_of_texts_is_refused(texts: Any, said: str):
    with pytest.raises(providerkit.InvalidOption, match=said) as caught:
        providerkit.embed(texts, provider=Vectors)
    assert caught.value.option == "texts"


def test_a_provider_without_embeddings_is_refused_before_anything_is_sent():
    with pytest.raises(providerkit.UnsupportedFeature, match="koala has no embeddings") as caught:
        providerkit.embed("a", provider="koala")
    assert (caught.value.option, caught.value.provider) == ("embed", "koala")


def test_an_unknown_option_of_embed_is_a_type_error():
    with pytest.raises(TypeError, match=r"embed\(\) got an unexpected keyword argument 'temperature'"):
        providerkit.embed("a", provider=Vectors, temperature=1)  # type: ignore[call-overload]  # that is the point


async def test_models_are_listed_over_pages_each_tried_again():
    pages = (
        http(status=503),
        answer({"models": ["a", "b"], "after": "2"}),
        http(status=503),
        answer({"models": ["c"]}),
    )
    async with serve(in_turn(*pages)) as server:
        models = await providerkit.provider(Vectors).models(base_url=server.base_url, retry=QUICK)
    assert [model.name for model in models] == ["a", "b", "c"]
    assert [request.path for request in server.requests] == ["/models", "/models", "/models?after=2", "/models?after=2"]


async def test_a_list_of_models_that_never_ends_is_an_error():
    async with serve(answer({"models": ["a"], "after": "2"})) as server:
        with pytest.raises(providerkit.PluginError, match="the list of models of vectors repeats the mark '2'"):
            await providerkit.provider(Vectors).models(base_url=server.base_url)
        assert len(server.requests) == 2


async def test_a_page_that_can_not_be_asked_for_is_the_plugins_fault():
    class Short(Vectors):
        @hookimpl
        def build_models_request(self, endpoint: Endpoint, after: str | None) -> Request | None:
            return None if after else Request("GET", endpoint.url("/models"), stream=False)

    async with serve(answer({"models": ["a"], "after": "2"})) as server:
        with pytest.raises(providerkit.PluginError, match="gave no request for the page after '2'"):
            await providerkit.provider(Short).models(base_url=server.base_url)


async def test_a_list_of_models_has_at_most_a_hundred_pages():
    number = 0

    async def talk(received: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        writer.write(answer({"models": [], "after": str(number)}))
        await writer.drain()

    async with serve(talk) as server:
        with pytest.raises(providerkit.PluginError, match="has more than 100 pages"):
            await providerkit.provider(Vectors).models(base_url=server.base_url)
    assert number == 100


async def test_observers_that_take_the_operation_are_told_of_lookups():
    told: list[Any] = []

    class Witness:
        @hookimpl
        def observe(self, chat: Any, model: Model, operation: str) -> Witness:
            told.append((operation, chat and len(chat.messages)))
            return self

        def finish(self, value: object) -> None:
            told.append(type(value).__name__)

        def error(self, error: object) -> None:
            told.append(error)

    class Unaware:
        @hookimpl
        def observe(self, chat: Any) -> None:
            told.append(len(chat.messages))

    pages = answer({"models": [], "after": "2"}), answer({"models": ["a"]})
    async with serve(in_turn(vectors(1), *pages)) as server:
        client = providerkit.Client(extensions=[Witness(), Unaware()])
        await client.embed("a", provider=Vectors, base_url=server.base_url)
        await client.provider(Vectors).models(base_url=server.base_url)
    assert told == [("embed", None), "Embeddings", ("models", None), "tuple"]


class Broken:
    @hookimpl
    def observe(self, operation: str) -> None:
        raise SystemExit(operation)


async def test_an_observer_that_can_not_be_made_is_blamed():
    client = providerkit.Client(extensions=[Broken()])
    with pytest.raises(providerkit.PluginError, match=r"plugin 'Broken': observe raised: SystemExit: embed"):
        await client.embed("a", provider=Vectors)


class Guarded(Vectors):
    """A provider that changes the caller's key for a token."""

    name = "guarded"

    @hookimpl
    def build_token_request(self, endpoint: Endpoint) -> Request:
        assert endpoint.api_key is not None
        return Request.json(endpoint.url("/token"), {"key": endpoint.api_key.reveal()}, stream=False)

    @hookimpl
    def parse_token(self, body: bytes) -> Token:
        value = loads(body)
        return Token(Secret(value["token"]), value["seconds"])


def guard(seconds: float, *statuses: int) -> Any:
    """Return out tokens, token-1 first; answer embeddings by these statuses, then well."""
    tokens, left = 0, list(statuses)

    async def talk(received: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal tokens
        if received.path == "/token":
            tokens += 1
            assert json.loads(received.body) == {"key": KEY}
            writer.write(answer({"token": f"token-{tokens}", "seconds": seconds}))
        else:
            words = received.headers["x-key"].encode()
            writer.write(http(words, status=left.pop(0)) if left else vectors(1))
        await writer.drain()

    return talk


async def test_a_token_is_asked_for_first_and_kept_as_long_as_it_is_good():
    async with serve(guard(3600)) as server, providerkit.Client() as client:
        for _ in range(2):
            await client.embed("a", provider=Guarded, base_url=server.base_url, api_key=KEY)
        paths = [(request.path, request.headers.get("x-key")) for request in server.requests]
    assert paths == [("/token", None), ("/embed", "token-1"), ("/embed", "token-1")]


async def test_a_token_that_is_over_is_asked_for_again():
    async with serve(guard(0)) as server, providerkit.Client() as client:
        for _ in range(2):
            await client.embed("a", provider=Guarded, base_url=server.base_url, api_key=KEY)
        assert [request.headers.get("x-key") for request in server.requests] == [None, "token-1", None, "token-2"]


async def test_a_token_that_is_refused_is_forgotten_and_shows_in_no_error():
    async with serve(guard(3600, 401)) as server, providerkit.Client() as client:
        with pytest.raises(providerkit.AuthenticationError) as caught:
            await client.embed("a", provider=Guarded, base_url=server.base_url, api_key=KEY)
        assert "token-1" not in str(caught.value)
        await client.embed("a", provider=Guarded, base_url=server.base_url, api_key=KEY)
        assert server.requests[-1].headers["x-key"] == "token-2"


async def test_a_token_that_is_not_given_is_the_runs_error():
    async with serve(http(status=403)) as server, providerkit.Client() as client:
        with pytest.raises(providerkit.AuthenticationError, match="guarded: 403"):
            await client.embed("a", provider=Guarded, base_url=server.base_url, api_key=KEY)


def test_a_lookup_says_what_it_is():
    assert repr(providerkit.embed("a", provider=Vectors)) == (
        "<Lookup of embeddings by Vectors: await it, or call result()>"
    )
