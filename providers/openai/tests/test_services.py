"""The table of services: each an entry point that loads, lists its models and answers from its sandbox."""

import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from asking import failure
from loopback import http, serve
from providerkit_openai import Dialect, OpenAI, services

import providerkit
from providerkit import Model

ENTRY_POINTS = distribution("providerkit-openai").entry_points.select(group="providerkit.providers")
NAMES = [
    "openai",
    "openrouter",
    "groq",
    "deepseek",
    "mistral",
    "together",
    "fireworks",
    "xai",
    "ollama",
    "vllm",
    "llamacpp",
    "lmstudio",
    "openai-compatible",
]
LOCAL = ["ollama", "vllm", "llamacpp", "lmstudio"]


def test_every_row_is_an_entry_point_of_its_own():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert list(project["entry-points"]["providerkit.providers"]) == NAMES
    assert {point.name for point in ENTRY_POINTS} == set(NAMES)
    rows = {value.dialect.name: value for value in vars(services).values() if isinstance(value, OpenAI)}
    assert {point.name: point.load() for point in ENTRY_POINTS} == rows


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_loaded_and_answers_from_its_sandbox(name):
    with providerkit.sandbox(name) as base_url:
        reply = providerkit.run("hi", provider=name, model="sandbox", base_url=base_url, seed=None).result()
    assert (reply.provider, reply.text) == (name, "You said: 'hi'. 0 turns came before. This is a sandbox.")
    assert (reply.usage is None) == (name in ("openrouter", "mistral", "openai-compatible"))


@pytest.mark.parametrize("name", NAMES)
def test_a_service_has_an_address_and_a_key_unless_it_says_so(name):
    dialect = providerkit.provider(name)
    info = dialect.info
    on_this_machine = (info.default_base_url or "").startswith("http://127.0.0.1:")
    assert on_this_machine is (name in LOCAL)
    if name == "openai-compatible":
        assert (info.default_base_url, info.api_key_env, info.default_model) == (None, None, None)
    elif name not in LOCAL:
        assert info.default_base_url.startswith("https://")
        assert info.api_key_env == f"{name.upper()}_API_KEY"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*LOCAL, "openai-compatible")])
async def test_a_service_that_needs_a_key_names_its_variable(name, mocked):
    with pytest.raises(providerkit.MissingAPIKey, match=f"{name} needs a key; .* set {name.upper()}_API_KEY"):
        await providerkit.run("hi", provider=name, model="m")
    assert mocked.requests == {}


@pytest.mark.parametrize("name", LOCAL)
async def test_a_server_on_this_machine_needs_no_key(name, mocked):
    address = providerkit.provider(name).info.default_base_url
    mocked.post(f"{address}/chat/completions", body='{"choices": [{"message": {"content": "ok"}}]}')
    assert (await providerkit.run("hi", provider=name, model="m")).text == "ok"


def test_any_other_service_is_named_by_its_address():
    with pytest.raises(providerkit.InvalidOption, match="has no address of its own; say base_url="):
        providerkit.run("hi", provider="openai-compatible", model="m")


async def test_a_dialect_of_ones_own_is_a_provider():
    mine = OpenAI(Dialect("mine", base_url="https://mine.example/v1", api_key_env="MINE_API_KEY", default_model="m"))
    async with providerkit.sandbox(mine) as base_url:
        reply = await providerkit.run("hi", provider=mine, base_url=base_url)
    assert (reply.provider, reply.model, reply.finish_reason) == ("mine", "m", "stop")


async def models(body, status=200):
    async with (
        serve(http(body, status=status, content_type="application/json")) as server,
        providerkit.Client() as client,
    ):
        found = await client.provider("openai").models(base_url=f"{server.base_url}/v1")
        (request,) = server.requests
        assert (request.method, request.path) == ("GET", "/v1/models")
        return found


async def test_models_are_listed_where_none_is_the_default():
    async with providerkit.sandbox("ollama") as base_url:
        found = await providerkit.provider("ollama").models(base_url=base_url)
    assert [model.name for model in found] == ["sandbox", "sandbox-reasoning"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b/c:free", "new": 1}]}',
        b'[{"id": "a"}, {"id": "b/c:free"}]',
        b'{"data": [{"id": "a"}, {"id": null}, {}, "x", {"id": "b/c:free"}]}',
    ],
    ids=["OpenAI", "a bare list, as Together's", "rows without an id"],
)
async def test_models_are_listed_in_their_order(body):
    assert await models(body) == (Model("a"), Model("b/c:free"))


async def test_no_models_are_an_empty_list():
    assert await models(b'{"object": "list", "data": null}') == ()


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (providerkit.AuthenticationError, b'{"error": {"message": "who?"}}', 401),
        (providerkit.ServerError, b'{"error": {"message": "oh", "type": "server_error"}}', 200),
        (providerkit.UnexpectedContent, b'{"models": []}', 200),
        (providerkit.ProviderError, b'"a"', 200),
        (providerkit.StreamMalformed, b"<html>", 200),
    ],
)
async def test_what_is_no_list_of_models_is_an_error(kind, body, status):
    await failure(kind, models(body, status))
