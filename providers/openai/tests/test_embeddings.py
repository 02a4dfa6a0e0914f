"""Embeddings over loopback: in the order of the texts, in both forms of the wire, and what is not an answer."""

import json
from array import array
from base64 import b64encode

import pytest
from asking import failure
from loopback import http, serve
from providerkit_openai import OpenAI, services

import providerkit
from providerkit import Embeddings, Endpoint, Model, Usage

ONCE = providerkit.Retry(attempts=1)
KEY = "sk-MARKED-0123456789abcdef"
PACKED = b64encode(array("f", [0.5, -2.0]).tobytes()).decode()


def row(vector, index):
    return {"object": "embedding", "index": index, "embedding": vector}


def answer(rows, status=200, **fields):
    value = {"object": "list", "model": "small-2", "data": rows, "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    return http(json.dumps(value | fields).encode(), status=status, content_type="application/json")


async def embed(texts, body, provider="openai", **options):
    """Return the vectors, and the request."""
    async with serve(body) as server, providerkit.Client(retry=ONCE) as client:
        options = {"model": "small", "api_key": KEY, "base_url": f"{server.base_url}/v1", **options}
        found = await client.embed(texts, provider=provider, **options)
        (request,) = server.requests
        return found, request


async def test_texts_are_sent_at_once_and_come_back_as_vectors():
    found, request = await embed(["a", "b"], answer([row([0.5, 1], 0), row([2.0, 3.0], 1)]))
    assert found == Embeddings([(0.5, 1.0), (2.0, 3.0)], Usage(input_tokens=7), model="small-2", provider="openai")
    assert (request.method, request.path) == ("POST", "/v1/embeddings")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.body) == {"model": "small", "input": ["a", "b"]}


async def test_further_fields_are_those_of_extra():
    extra = {"dimensions": 2, "encoding_format": "base64"}
    found, request = await embed("a", answer([row(PACKED, 0)]), extra=extra)
    assert json.loads(request.body) == {"model": "small", "input": ["a"], **extra}
    assert found.vectors == ((0.5, -2.0),)


@pytest.mark.parametrize("provider", ["mistral", "together", "fireworks", "openrouter", "vllm", "openai-compatible"])
async def test_services_that_have_embeddings_are_asked_for_them(provider):
    found, _ = await embed("a", answer([row([1], 0)]), provider=provider)
    assert (found.vectors, found.provider) == (((1.0,),), provider)


@pytest.mark.parametrize(
    "rows", [[row([1], 0), row([2], 1)], [row([2], 1), row([1], 0)], [row([1], None), row([2], None)]]
)
async def test_vectors_are_in_the_order_of_the_texts(rows):
    """By their index; as they came if they have none."""
    found, _ = await embed(["a", "b"], answer(rows))
    assert found.vectors == ((1.0,), (2.0,))


async def test_what_the_wire_leaves_out_is_not_made_up():
    found, _ = await embed("a", answer([row([1], 0)], model=None, usage=None))
    assert (found.usage, found.model) == (None, "small")


@pytest.mark.parametrize(
    ("kind", "rows", "said"),
    [
        (providerkit.StreamMalformed, [], "openai answered with 0 vectors for 2 texts"),
        (providerkit.StreamMalformed, [row([1], 0)], "openai answered with 1 vectors for 2 texts"),
        (
            providerkit.StreamMalformed,
            [row([1], 0), row([1], 0)],
            "the indices of 2 embeddings are not those from 0 to 1",
        ),
        (
            providerkit.StreamMalformed,
            [row([1], 1), row([1], 2)],
            "the indices of 2 embeddings are not those from 0 to 1",
        ),
        (providerkit.StreamMalformed, [row([1], 0), row([1], None)], "some embeddings have no index"),
        (providerkit.StreamMalformed, [row([1], 0), row([1], "1")], "some embeddings have no index"),
        (providerkit.StreamMalformed, [row([1], 0), 5], "some embeddings have no index"),
        (providerkit.StreamMalformed, [row([1], 0), row(["1"], 1)], "an embedding is not a list of numbers"),
        (providerkit.StreamMalformed, [row([1], 0), row([True], 1)], "an embedding is not a list of numbers"),
        (providerkit.StreamMalformed, [row([1], 0), row(None, 1)], "an embedding is not a list of numbers"),
        (providerkit.StreamMalformed, [row([1], 0), row("AAA=", 1)], "an embedding is not base64 of floats"),
        (providerkit.StreamMalformed, [row([1], 0), row("?", 1)], "an embedding is not base64 of floats"),
    ],
    ids=range(12),
)
async def test_vectors_that_are_not_those_of_the_texts_are_an_error(kind, rows, said):
    error = await failure(kind, embed(["a", "b"], answer(rows)))
    assert said in str(error)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (providerkit.AuthenticationError, http(b'{"error": {"message": "who?"}}', status=401)),
        (providerkit.ServerError, http(b'{"error": {"message": "oh", "type": "server_error"}}')),
        (providerkit.UnexpectedContent, http(b'{"vectors": []}')),
        (providerkit.UnexpectedContent, http(b"[]")),
        (providerkit.StreamMalformed, http(b"<html>")),
        (providerkit.StreamTruncated, http(b"")),
    ],
    ids=range(6),
)
async def test_what_is_not_a_list_of_vectors_is_an_error(kind, body):
    await failure(kind, embed("a", body))


async def test_an_answer_that_is_refused_is_asked_for_again_and_then_elsewhere():
    """The engine is the same as for a chat: retries, and another route."""
    answers = iter([http(b"{}", status=503), http(b"{}", status=503)])

    async def busy(request, writer):
        writer.write(next(answers))

    async with serve(busy) as first, serve(answer([row([1], 0)])) as second, providerkit.Client() as client:
        route = providerkit.Route(provider="ollama", model="nomic", base_url=second.base_url)
        options = {"model": "small", "api_key": KEY, "base_url": first.base_url}
        retry = providerkit.Retry(attempts=2, base=0)
        found = await client.embed("a", provider="openai", fallback=[route], retry=retry, **options)
        assert (found.vectors, found.provider, len(first.requests)) == (((1.0,),), "ollama", 2)
        assert json.loads(second.requests[0].body) == {"model": "nomic", "input": ["a"]}
        assert KEY not in str(second.requests[0].headers)


@pytest.mark.parametrize("provider", ["groq", "deepseek", "xai"])
async def test_a_service_without_embeddings_is_not_asked(provider, mocked):
    with pytest.raises(providerkit.UnsupportedFeature, match=f"{provider} has no embeddings") as caught:
        await providerkit.embed("a", provider=provider, model="m", api_key=KEY)
    assert (caught.value.option, caught.value.provider, mocked.requests) == ("embed", provider, {})


async def test_a_model_must_be_named_if_none_is_the_default(mocked):
    with pytest.raises(providerkit.UnknownModel, match="vllm has no default model"):
        await providerkit.embed("a", provider="vllm")
    assert mocked.requests == {}


def test_the_request_is_one_that_ends_with_its_answer():
    endpoint = Endpoint("http://127.0.0.1:1/v1")
    request = OpenAI(services.vllm.dialect).build_embed_request(("a",), Model("m"), endpoint, {})
    assert (request.url, request.stream) == ("http://127.0.0.1:1/v1/embeddings", False)


async def test_the_sandbox_embeds(sandbox):
    texts = ["the koala sleeps", "the koala eats", "rain"]
    found = await providerkit.embed(texts, provider="openai", model="sandbox-embedding", base_url=sandbox)
    lengths = [sum(number * number for number in vector) for vector in found.vectors]
    assert lengths == pytest.approx([1, 1, 1])
    assert (found.usage, found.model) == (Usage(input_tokens=7), "sandbox-embedding")
    packed = await providerkit.embed(
        texts, provider="openai", model="sandbox-embedding", base_url=sandbox, extra={"encoding_format": "base64"}
    )
    assert [pytest.approx(vector) for vector in found.vectors] == list(packed.vectors)
    first, second, other = found.vectors
    assert _likeness(first, second) > _likeness(first, other)
    assert (await providerkit.embed(texts[0], provider="openai", model="s", base_url=sandbox)).vectors == (first,)


def _likeness(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("extra", [{"input": 5}, {"input": [5]}, {"encoding_format": "hex"}, {"dimensions": "x"}])
async def test_the_sandbox_refuses_what_is_not_a_request(sandbox, extra):
    await failure(
        providerkit.BadRequest,
        providerkit.embed("a", provider="openai", model="sandbox-embedding", base_url=sandbox, extra=extra),
    )


async def test_the_sandbox_refuses_by_the_name_of_a_model(sandbox):
    options = {"provider": "openai", "model": "error-401", "base_url": sandbox}
    await failure(providerkit.AuthenticationError, providerkit.embed("a", **options))
