"""Koala, called the way gpt4free calls providers."""

import json

import aiohttp
import pytest
from loopback import chunked, http, serve
from providerkit_koala import Koala

import providerkit

MESSAGES = [{"role": "user", "content": "Who are you?"}]
ANSWER = "You said: 'Who are you?'. 0 turns came before. This is Koala's sandbox."


@pytest.fixture
def at(monkeypatch):
    """Send the convention's calls to a server of ours."""
    return lambda base_url: monkeypatch.setattr(Koala, "api_endpoint", f"{base_url}/api/gpt/")


async def test_the_line_that_must_run_runs_against_the_sandbox(sandbox, at):
    at(sandbox)
    chunks = []
    async for chunk in Koala.create_async_generator(model="gpt-4o-mini", messages=MESSAGES):
        chunks.append(chunk)
    assert "".join(chunks) == ANSWER
    assert len(chunks) == len(ANSWER.split(" "))


async def test_every_value_of_the_wire_is_given_whatever_its_type(at):
    values = ["text", 42, None, True, 1.5, {"a": [1]}, ["x"], ""]
    async with serve(chunked(*(b"data: %s\n\n" % json.dumps(value).encode() for value in values))) as server:
        at(server.base_url)
        assert [value async for value in Koala.create_async_generator("gpt-4o", MESSAGES)] == values


ANY = [
    {"a": 1},
    42,
    0,
    1.5,
    True,
    False,
    None,
    ["x"],
    [],
    {},
    [{"message": "x"}],
    {"message": "Hi."},
    {"output": "Hi."},
]


@pytest.mark.parametrize("value", ANY, ids=json.dumps)
async def test_an_answer_of_any_one_value_is_an_answer(at, value):
    """gpt4free's own annotation is a generator of dicts; only an answer without any data is an error."""
    data = json.dumps(value).encode()
    for answer in (chunked(b"data: %s\n\n" % data), chunked(b"data: %s\n\ndata: [DONE]\n\n" % data)):
        async with serve(answer) as server:
            at(server.base_url)
            assert [given async for given in Koala.create_async_generator("gpt-4o", MESSAGES)] == [value]


@pytest.mark.parametrize("value", [["x"], {"a": 1}, {}, []], ids=json.dumps)
async def test_an_answer_that_comes_whole_may_be_an_object_or_a_list_too(at, value):
    async with serve(http(json.dumps(value).encode(), content_type="application/json")) as server:
        at(server.base_url)
        assert [given async for given in Koala.create_async_generator("gpt-4o", MESSAGES)] == [value]


async def test_values_without_a_blank_line_before_the_mark_of_the_end_are_given(at):
    async with serve(chunked(b'data: {"a": 1}\ndata: 2\ndata: [DONE]\n\n')) as server:
        at(server.base_url)
        assert [value async for value in Koala.create_async_generator("gpt-4o", MESSAGES)] == [{"a": 1}, 2]


async def test_run_still_wants_text(at):
    async with serve(chunked(b'data: {"a": 1}\n\n')) as server:
        with pytest.raises(providerkit.UnexpectedContent, match="holds no text"):
            await providerkit.run("hi", provider=Koala, base_url=server.base_url)


async def test_the_request_is_the_websites(at):
    async with serve(http(b'data: "ok"\n\n')) as server:
        at(server.base_url)
        chat = [{"role": "system", "content": "Be brief."}, *MESSAGES]
        chat += [{"role": "assistant", "content": "A koala."}, {"role": "user", "content": "Why?"}]
        assert [chunk async for chunk in Koala.create_async_generator("gpt-4o", chat)] == ["ok"]
    (request,) = server.requests
    assert (request.method, request.path, len(request.headers["visitor-id"])) == ("POST", "/api/gpt/", 20)
    assert json.loads(request.body) == {
        "input": "Why? Be brief.",
        "inputHistory": ["Who are you?"],
        "outputHistory": ["A koala."],
        "model": "gpt-4o",
    }


@pytest.mark.parametrize("path", ["/v2/ask", "/api/gpt/", "/"])
async def test_api_endpoint_is_the_whole_address(monkeypatch, path):
    async with serve(http(b'data: "ok"\n\n')) as server:
        monkeypatch.setattr(Koala, "api_endpoint", server.base_url + path)
        assert [chunk async for chunk in Koala.create_async_generator("", MESSAGES)] == ["ok"]
    assert [request.path for request in server.requests] == [path]


async def test_api_endpoint_redirects_this_convention_only(mocked, monkeypatch):
    monkeypatch.setattr(Koala, "api_endpoint", "http://127.0.0.1:1/api/gpt/")
    mocked.post("https://koala.sh/api/gpt/", body='{"output": "from the service"}')
    assert (await providerkit.run("hi", provider=Koala)).text == "from the service"


async def test_arguments_that_koala_does_not_know_are_ignored(at):
    async with serve(http(b'data: "ok"\n\n')) as server:
        at(server.base_url)
        unknown = {"stream": True, "provider": Koala, "temperature": 0.5, "tools": [{}], "media": None, "nonsense": 1}
        asked = Koala.create_async_generator("", MESSAGES, proxy="", api_key="", headers=None, timeout=5, **unknown)
        assert [chunk async for chunk in asked] == ["ok"]
    assert json.loads(server.requests[0].body) == {
        "input": "Who are you?",
        "inputHistory": [],
        "outputHistory": [],
        "model": "gpt-4o-mini",
    }


async def test_a_key_speaks_the_api(sandbox, at):
    at(sandbox)
    asked = Koala.create_async_generator("gpt-4o", MESSAGES, api_key="koala-key", extra={"realTimeData": True})
    assert [chunk async for chunk in asked] == [ANSWER]


@pytest.mark.parametrize("model", ["", None])
async def test_an_empty_model_is_the_default(at, model):
    async with serve(http(b'data: "ok"\n\n')) as server:
        at(server.base_url)
        assert [chunk async for chunk in Koala.create_async_generator(model, MESSAGES)] == ["ok"]
    assert json.loads(server.requests[0].body)["model"] == "gpt-4o-mini"


async def test_a_connector_is_used_and_never_closed(sandbox, at):
    at(sandbox)
    async with aiohttp.TCPConnector() as connector:
        for _ in range(2):
            asked = Koala.create_async_generator("gpt-4o", MESSAGES, connector=connector)
            assert "".join([chunk async for chunk in asked]) == ANSWER
        assert not connector.closed
    with pytest.raises(providerkit.InvalidOption, match="connector is closed"):
        await anext(Koala.create_async_generator("gpt-4o", MESSAGES, connector=connector))


async def test_a_proxy_is_asked_in_place_of_koala(monkeypatch):
    monkeypatch.setattr(Koala, "api_endpoint", "http://koala.invalid/api/gpt/")
    async with serve(http(b'data: "by proxy"\n\n')) as server:
        asked = Koala.create_async_generator("gpt-4o", MESSAGES, proxy=server.base_url)
        assert [chunk async for chunk in asked] == ["by proxy"]
    assert server.requests[0].path == "http://koala.invalid/api/gpt/"


async def test_leaving_early_closes_the_connection(at):
    async def endless(request, writer):
        writer.write(chunked(b'data: "one"\n\n', b'data: "two"\n\n', end=False))
        await writer.drain()

    async with serve(endless) as server:
        at(server.base_url)
        async for chunk in Koala.create_async_generator("gpt-4o", MESSAGES):
            assert chunk == "one"
            break
        await server.closed.get()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(b'{"error": "no more leaves"}', status=429), providerkit.RateLimited),
        (http(b'data: {"error": "no more leaves"}\n\n'), providerkit.ProviderError),
        (http(b'event: error\ndata: "no more leaves"\n\n'), providerkit.ProviderError),
        (http(b"<html>", content_type="text/html"), providerkit.UnexpectedContent),
        (http(b"data: Leaves.\n\n"), providerkit.StreamMalformed),
        (http(b""), providerkit.StreamTruncated),
        (chunked(b"data: [DONE]\n\n"), providerkit.UnexpectedContent),
        (chunked(b": nothing\n\n"), providerkit.StreamTruncated),
    ],
    ids=["a refusal", "an error at 200", "an event of an error", "a page", "no JSON", "nothing", "no data", "no event"],
)
async def test_errors_are_ours(at, answer, kind):
    async with serve(answer) as server:
        at(server.base_url)
        with pytest.raises(kind):
            await anext(Koala.create_async_generator("gpt-4o", MESSAGES))


async def parsed(answer):
    """Give what `_parse_event_stream` makes of the response that aiohttp has to this answer."""
    async with serve(answer) as server, aiohttp.request("GET", server.base_url) as response:
        return [value async for value in Koala._parse_event_stream(response)]


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        (chunked(b'data: "te', b'xt"\n\ndata: {"a": 1}\n\n'), ["text", {"a": 1}]),
        (http(b'data: "a"\ndata: 2\n\ndata: [DONE]\n\ndata: "late"\n\n'), ["a", 2]),
        (http(b': hello\n\ndata: "no blank line"', framed=False), ["no blank line"]),
    ],
    ids=["cut", "of several lines, up to [DONE]", "unterminated"],
)
async def test_a_response_of_aiohttps_is_parsed(answer, values):
    assert await parsed(answer) == values


async def test_a_stream_that_stays_open_after_done_delays_nobody():
    async def open_ended(request, writer):
        writer.write(chunked(b'data: "a"\n\ndata: [DONE]\n\n', end=False))

    assert await parsed(open_ended) == ["a"]


async def test_a_response_that_breaks_is_truncated():
    async def broken(request, writer):
        writer.write(chunked(b'data: "a"\n\n', end=False))
        writer.close()

    with pytest.raises(providerkit.StreamTruncated):
        await parsed(broken)


def test_the_class_has_what_gpt4free_reads():
    assert (Koala.url, Koala.api_endpoint) == ("https://koala.sh/chat", "https://koala.sh/api/gpt/")
    assert (Koala.working, Koala.supports_message_history, Koala.supports_stream) == (True, True, True)
    assert (Koala.default_model, Koala.needs_auth, Koala.use_stream_timeout) == ("gpt-4o-mini", False, True)
    assert Koala.get_parent() == "Koala"
    assert Koala.get_dict()["name"] == "Koala"
    assert Koala.get_models() == ["gpt-4o-mini", "gpt-4o", "claude-3.7-sonnet"]
    assert (Koala.get_model(""), Koala.get_model("gpt-4o")) == ("gpt-4o-mini", "gpt-4o")


def test_gpt4free_may_count_on_the_class(monkeypatch):
    monkeypatch.setattr(Koala, "live", Koala.live + 1)
    assert Koala.live == 1
