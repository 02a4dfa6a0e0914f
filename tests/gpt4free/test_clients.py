"""The real gpt4free (g4f), whose Client and AsyncClient ask through our classes.

g4f is used as it is installed, by what its clients are documented to do.
"""

import asyncio
import json
import socket

import aiohttp
import pytest
from g4f.client import AsyncClient, Client
from g4f.providers.retry_provider import IterListProvider
from loopback import chunked, http, serve
from parrots import Parrot
from providerkit_koala import Koala

import providerkit
from providerkit.compat.gpt4free import as_provider

QUESTION = [{"role": "user", "content": "Who are you?"}]
ANSWER = "You said: 'Who are you?'. 0 turns came before. This is Koala's sandbox."
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A koala."},
    {"role": "user", "content": "Why?"},
]


def whole(provider, messages, *, model="", settings=None, **options):
    """Ask the blocking client; like all four ways, give the pieces of text and the last finish reason."""
    client = Client(provider=provider, **settings or {})
    choice = client.chat.completions.create(model=model, messages=messages, **options).choices[0]
    return [choice.message.content], choice.finish_reason


def streamed(provider, messages, *, model="", settings=None, into=None, **options):
    """Stream from the blocking client, `into` a list of the caller's where an error is to come."""
    client = Client(provider=provider, **settings or {})
    pieces = [] if into is None else into
    reason = None
    for chunk in client.chat.completions.create(model=model, messages=messages, stream=True, **options):
        pieces += filter(None, [chunk.choices[0].delta.content])
        reason = chunk.choices[0].finish_reason
    return pieces, reason


async def whole_async(provider, messages, *, model="", settings=None, **options):
    client = AsyncClient(provider=provider, **settings or {})
    answer = await client.chat.completions.create(model=model, messages=messages, **options)
    return [answer.choices[0].message.content], answer.choices[0].finish_reason


async def streamed_async(provider, messages, *, model="", settings=None, into=None, **options):
    client = AsyncClient(provider=provider, **settings or {})
    pieces = [] if into is None else into
    reason = None
    async for chunk in client.chat.completions.create(model=model, messages=messages, stream=True, **options):
        pieces += filter(None, [chunk.choices[0].delta.content])
        reason = chunk.choices[0].finish_reason
    return pieces, reason


def in_a_thread(way):
    """Let a blocking way run beside the test's servers."""

    async def asked(*arguments, **options):
        return await asyncio.to_thread(way, *arguments, **options)

    return asked


STREAMING = {"streamed": in_a_thread(streamed), "streamed, async": streamed_async}
WAYS = {"whole": in_a_thread(whole), "whole, async": whole_async, **STREAMING}
every_way = pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS)
streaming = pytest.mark.parametrize("ask", STREAMING.values(), ids=STREAMING)


@pytest.fixture
def at(monkeypatch):
    """Send the convention's calls to a server of ours."""
    return lambda base_url: monkeypatch.setattr(Koala, "api_endpoint", f"{base_url}/api/gpt/")


@pytest.fixture
async def koala(at):
    """Return our Koala, in front of its sandbox."""
    async with providerkit.sandbox("koala") as base_url:
        at(base_url)
        yield Koala


@every_way
async def test_koala_answers(koala, ask):
    pieces, reason = await ask(koala, QUESTION)
    assert ("".join(pieces), reason) == (ANSWER, "stop")


@streaming
async def test_text_comes_as_the_wire_cut_it(koala, ask):
    pieces, _ = await ask(koala, QUESTION)
    assert len(pieces) == len(ANSWER.split(" "))


@every_way
@pytest.mark.parametrize(("model", "sent"), [("", "gpt-4o-mini"), ("gpt-4o", "gpt-4o"), ("some-other", "some-other")])
async def test_system_texts_history_and_model_reach_the_wire(at, ask, model, sent):
    async with serve(http(b'data: "ok"\n\n')) as server:
        at(server.base_url)
        assert await ask(Koala, CHAT, model=model, temperature=0.5, seed=4) == (["ok"], "stop")
    (request,) = server.requests
    assert json.loads(request.body) == {
        "input": "Why? Be brief.",
        "inputHistory": ["Who are you?"],
        "outputHistory": ["A koala."],
        "model": sent,
    }


@every_way
async def test_a_key_of_the_client_speaks_the_api(at, ask):
    async with serve(http(b'{"output": "by key"}', content_type="application/json")) as server:
        at(server.base_url)
        assert await ask(Koala, QUESTION, settings={"api_key": "koala-key"}) == (["by key"], "stop")
    assert server.requests[0].headers["authorization"] == "Bearer koala-key"


@every_way
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(b'{"error": "no more leaves"}', status=429), providerkit.RateLimited),
        (http(b'data: {"error": "no more leaves"}\n\n'), providerkit.ProviderError),
        (http(b"<html>", content_type="text/html"), providerkit.UnexpectedContent),
        (http(b"data: Leaves.\n\n"), providerkit.StreamMalformed),
        (http(b""), providerkit.StreamTruncated),
    ],
    ids=["a refusal", "an error at 200", "a page", "no JSON", "nothing"],
)
async def test_errors_are_ours(at, ask, answer, kind):
    async with serve(answer) as server:
        at(server.base_url)
        with pytest.raises(kind) as caught:
            await ask(Koala, QUESTION)
    assert type(caught.value) is kind


@every_way
async def test_a_mistake_in_the_call_sends_nothing(at, ask):
    async with serve(http(b'data: "ok"\n\n')) as server:
        at(server.base_url)
        with pytest.raises(providerkit.InvalidMessages):
            await ask(Koala, [{"role": "system", "content": "Be brief."}])
    assert server.requests == []


@streaming
async def test_text_before_a_break_has_arrived_and_is_kept(at, ask):
    async def broken(request, writer):
        writer.write(chunked(b'data: "one"\n\n', b'data: "two"\n\n', end=False))
        writer.close()

    pieces = []
    async with serve(broken) as server:
        at(server.base_url)
        with pytest.raises(providerkit.StreamError) as caught:
            await ask(Koala, QUESTION, into=pieces)
    assert (pieces, caught.value.partial) == (["one", "two"], "onetwo")


async def endless(request, writer):
    writer.write(chunked(b'data: "one"\n\n', b'data: "two"\n\n', end=False))
    await writer.drain()


async def test_leaving_early_closes_the_connection(at):
    def leave():
        for chunk in Client(provider=Koala).chat.completions.create(model="", messages=QUESTION, stream=True):
            assert chunk.choices[0].delta.content == "one"
            break

    async with serve(endless) as server:
        at(server.base_url)
        await asyncio.to_thread(leave)
        await server.closed.get()


async def test_leaving_early_closes_the_connection_async(at):
    async with serve(endless) as server:
        at(server.base_url)
        client = AsyncClient(provider=Koala)
        async for chunk in client.chat.completions.create(model="", messages=QUESTION, stream=True):
            assert chunk.choices[0].delta.content == "one"
            break
        await server.closed.get()


@every_way
@pytest.mark.parametrize("given", ["in the call", "by the client"])
async def test_a_proxy_is_asked_in_place_of_koala(at, ask, given):
    at("http://koala.invalid")
    async with serve(http(b'data: "by proxy"\n\n')) as server:
        proxy = {"proxy": server.base_url} if given == "in the call" else {"settings": {"proxies": server.base_url}}
        assert await ask(Koala, QUESTION, **proxy) == (["by proxy"], "stop")
    assert server.requests[0].path == "http://koala.invalid/api/gpt/"


@pytest.mark.parametrize("ask", [whole_async, streamed_async], ids=["whole", "streamed"])
async def test_a_connector_is_used_and_never_closed(at, ask):
    async with serve(http(b'data: "ok"\n\n')) as server, aiohttp.TCPConnector(resolver=Here(server)) as connector:
        at("http://koala.invalid")
        for _ in range(2):
            assert await ask(Koala, QUESTION, connector=connector) == (["ok"], "stop")
        assert not connector.closed
    assert server.connections == 1


class Here(aiohttp.abc.AbstractResolver):
    """Find every host at one server."""

    def __init__(self, server):
        self._port = int(server.base_url.rpartition(":")[2])

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": self._port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self):
        pass


async def test_twenty_at_once(koala):
    asked = [[{"role": "user", "content": f"number {number}"}] for number in range(20)]
    answers = await asyncio.gather(*(whole_async(koala, messages) for messages in asked))
    assert [f"'number {number}'" in pieces[0] for number, (pieces, _) in enumerate(answers)] == [True] * 20


@every_way
async def test_a_list_of_gpt4frees_goes_on_from_one_of_ours_to_the_next(koala, ask):
    nowhere = as_provider(Parrot)
    nowhere.base_url = "http://127.0.0.1:1"
    pieces, reason = await ask(IterListProvider([nowhere, koala], shuffle=False), QUESTION)
    assert ("".join(pieces), reason) == (ANSWER, "stop")


@every_way
async def test_any_plugin_answers_by_its_class(ask):
    parrot = as_provider(Parrot)
    async with serve(http(b'data: "squawk"\n\ndata: "!"\n\n')) as server:
        parrot.base_url = server.base_url
        pieces, reason = await ask(parrot, QUESTION, settings={"api_key": "parrot-key"})
    assert ("".join(pieces), reason) == ("squawk!", "stop")
    assert json.loads(server.requests[0].body) == {"model": "grey", "text": "Who are you?"}
    assert server.requests[0].headers["authorization"] == "Bearer parrot-key"


@every_way
@pytest.mark.parametrize("plugin", ["koala", Koala(dialect="messages")], ids=["name", "instance"])
async def test_a_name_and_an_instance_answer_as_well(koala, ask, plugin):
    provider = as_provider(plugin)
    provider.base_url = koala.api_endpoint.removesuffix("/api/gpt/")
    pieces, reason = await ask(provider, QUESTION)
    assert ("".join(pieces), reason) == (ANSWER, "stop")


@pytest.mark.parametrize(
    ("provider", "models"),
    [(Koala, ["gpt-4o-mini", "gpt-4o", "claude-3.7-sonnet"]), (as_provider(Parrot), ["grey", "green"])],
    ids=["koala", "parrot"],
)
def test_the_client_lists_our_models(provider, models):
    assert Client(provider=provider).models.get_all() == models


def test_a_script_needs_no_event_loop(at):
    with providerkit.sandbox("koala") as base_url:
        at(base_url)
        assert whole(Koala, QUESTION) == ([ANSWER], "stop")
        assert "".join(streamed(Koala, QUESTION)[0]) == ANSWER
