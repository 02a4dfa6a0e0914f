"""What is secret shows nowhere: not in an error, its traceback and notes, a log, a warning, a repr, or a terminal.

Secret are keys, the values of the caller's headers whose names say so, a proxy's password, queries, and what
is asked. Only if a provider puts the prompt into its own words for an error is it told.
"""

import asyncio
import base64
import json
import logging
import traceback
import warnings
from contextlib import asynccontextmanager
from types import SimpleNamespace
from urllib.parse import quote, unquote

import pytest
from asking import on_the_wire
from click.testing import CliRunner
from loopback import chunked, http, reset, serve
from parrots import Parrot
from providerkit_koala import Koala

import providerkit
from providerkit import Endpoint, Request, ResponseHead, Route, hookimpl, loads
from providerkit.cli.main import main
from providerkit.engine.clocks import LoopClock

KEY = "sk-marked-0123456789"
PROMPT = "marked-prompt-0123456789"
ECHO = json.dumps({"error": {"message": f"bad key {KEY} in Authorization: Bearer {KEY}", "code": KEY}}).encode()


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    """Try again at once: the command line has no clock to pass."""
    monkeypatch.setattr(LoopClock, "jitter", lambda self: 0.0)


async def hang_up(request, writer):
    writer.close()


async def cut_off(request, writer):
    writer.write(chunked(b'data: "a"\n\n', end=False))
    writer.close()


async def break_off(request, writer):
    reset(writer)


FAULTS = {
    "a refusal that echoes the key": http(ECHO, status=401, content_type="application/json", x_request_id=KEY),
    "a refusal in no JSON": http(KEY.encode(), status=400, content_type="text/plain"),
    "a server error": http(b"<html>" + KEY.encode(), status=503, content_type="text/html"),
    "a redirect": http(status=307, location=f"https://elsewhere.invalid/?key={KEY}"),
    "an error at 200": http(ECHO, content_type="application/json"),
    "a page at 200": http(b"<html>" + KEY.encode(), content_type="text/html"),
    "an empty body": http(b"", content_type="application/json"),
    "JSON that is none": http(b'{"output": ' + KEY.encode(), content_type="application/json"),
    "JSON that is no answer": http(b'{"' + KEY.encode() + b'": 1}', content_type="application/json"),
    "an event that is none": http(b"data: " + KEY.encode() + b"\n\n"),
    "an error event": chunked(b'data: "a"\n\n', b"event: error\ndata: " + KEY.encode() + b"\n\n"),
    "a cut stream": cut_off,
    "no HTTP": b"HTTP/1.1 " + KEY.encode() + b"\r\n\r\n",
    "a header too long": b"HTTP/1.1 200 OK\r\nX-Long: " + KEY.encode() * 1000 + b"\r\n\r\n",
    "a connection hung up": hang_up,
    "a connection broken off": break_off,
}


def shown(error):
    """Return every text that an error could end up as."""
    fields = {name: value for name, value in vars(error).items() if name != "partial"}
    chain = [error.__cause__, error.__context__]
    return repr([repr(error), str(error), "".join(traceback.format_exception(error)), fields, chain])


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_fault_shows_the_key(fault, caplog):
    caplog.set_level(logging.DEBUG)
    async with serve(fault) as server, providerkit.Client() as client:
        for options in ({"api_key": KEY}, {"headers": {"Authorization": f"Bearer {KEY}"}}):
            run = client.run(PROMPT, provider="koala", base_url=server.base_url, **options)
            with pytest.raises(providerkit.ProviderKitError) as caught:
                await run
            assert KEY not in shown(caught.value)
            assert KEY not in repr(run) + repr(run.reply) + repr(run._bound)
        assert any(KEY in request.headers["authorization"] for request in server.requests)
    assert KEY not in caplog.text
    assert PROMPT not in caplog.text
    assert any(record.name == "providerkit" for record in caplog.records)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_fault_shows_the_key_on_the_command_line(fault, monkeypatch):
    monkeypatch.setenv("KOALA_API_KEY", KEY)
    async with serve(fault) as server:
        arguments = ["run", "-p", "koala", "--base-url", server.base_url, PROMPT]
        done = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert done.exit_code == 1
    assert KEY not in done.output
    assert PROMPT not in done.output
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": f"{KEY}\n"},
        {"headers": {"X-Key": f"{KEY}\r\n"}},
        {"base_url": f"https://user:{KEY}@koala.sh"},
        {"base_url": f"ftp://user:{KEY}@koala.sh"},
        {"base_url": f"https://koala.sh/?key={KEY}"},
        {"proxy": f"http://user:{KEY}@nowhere.invalid:port"},
        {"api_key": KEY, "proxy": f"http://user:{KEY}@127.0.0.1:1"},
        {"api_key": KEY, "proxy": f"socks5://user:{KEY}@127.0.0.1:1"},
        {"api_key": KEY, "base_url": "http://127.0.0.1:1"},
        {"api_key": KEY, "base_url": "http://nowhere.invalid"},
    ],
    ids=lambda options: "-".join(options) + str(len(str(options))),
)
async def test_no_mistake_in_a_call_shows_the_key(options):
    with warnings.catch_warnings(record=True) as warned, pytest.raises(providerkit.ProviderKitError) as caught:
        await providerkit.run("hi", **{"provider": "koala", **options})
    assert KEY not in shown(caught.value)
    assert not warned


# Everything marked, every fault, every way to ask


HEADER = "hd-marked-0123456789"
PASSWORD = "pw-marked@0123456789"
QUERY = "qu-marked-0123456789"
SYSTEM = "marked-system-0123456789"
ODD = "sk-marked+/0123456789="  # a key that a URL quotes
LOGIN = base64.b64encode(f"polly:{PASSWORD}".encode()).decode()
SECRETS = (KEY, ODD, quote(ODD, safe=""), HEADER, PASSWORD, quote(PASSWORD), LOGIN)
MARKS = (*SECRETS, QUERY, PROMPT, SYSTEM)


class Marked(Parrot):
    """Send all that is secret: the key in a header, in the path and in the query, beside one of its own."""

    supports = frozenset({"system", "history", "extra"})

    @hookimpl
    def build_request(self, chat, model, endpoint):
        key = endpoint.api_key.reveal()
        url = endpoint.url(f"/{quote(key, safe='')}/say?key={quote(key, safe='')}&session={QUERY}")
        return Request.json(url, {"text": chat.messages[-1].text}, {"Authorization": f"Bearer {key}"})

    @hookimpl
    def parse_error(self, body):
        return providerkit.ProviderError.from_status(500, loads(body)["error"], code=loads(body)["error"])


def words_of(request):
    """Return what a server may echo: all that is to be hidden, as it came and as it is meant."""
    fields = [f"{name}: {value}" for name, value in request.headers.items()]
    login = base64.b64decode(request.headers.get("proxy-authorization", "").removeprefix("Basic ")).decode()
    path = request.path.replace(QUERY, "")  # nobody knows that this is secret but who is told
    return " ".join((path, unquote(path), *fields, login))


def echoing(make):
    """Answer with what was asked, made into whatever `make` makes of it."""

    async def answer(request, writer):
        writer.write(make(words_of(request)))
        writer.close()

    return answer


def in_json(words):
    return json.dumps({"error": words}).encode()


PLAIN, DATA = "text/plain", b"data: %s\n\n"
ANSWERS = {
    **{
        f"a {status} that echoes": echoing(lambda words, status=status: http(in_json(words), status=status))
        for status in (400, 401, 403, 404, 413, 429, 500, 503, 529)
    },
    "a refusal in no JSON": echoing(lambda words: http(words.encode(), status=401, content_type=PLAIN)),
    "headers that echo": echoing(lambda words: http(status=500, x_request_id=words, retry_after=words, x=words)),
    "a type that echoes": echoing(lambda words: http(words.encode(), content_type=words)),
    "a redirect": echoing(lambda words: http(status=302, location=f"https://elsewhere.invalid/{quote(words)}")),
    "an error at 200": echoing(lambda words: http(in_json(words), content_type="application/json")),
    "a page at 200": echoing(lambda words: http(b"<html>" + words.encode(), content_type="text/html")),
    "an event that is none": echoing(lambda words: http(DATA % words.encode())),
    "an event too deep": echoing(lambda words: http(DATA % (json.dumps(words).encode() + b"[" * 2000))),
    "an event of another type": echoing(lambda words: http(DATA % json.dumps({words: [words]}).encode())),
    "a broken answer": echoing(lambda words: chunked(b'data: "a"\n\n', DATA % words.encode())),
    "a status that echoes": echoing(lambda words: f"HTTP/1.1 {words}\r\n\r\n".encode()),
    "a header that is none": echoing(lambda words: f"HTTP/1.1 200 OK\r\n{words}\r\n\r\n".encode()),
    "a header too long": echoing(lambda words: f"HTTP/1.1 200 OK\r\nX: {words * 100}\r\n\r\n".encode()),
    "a chunk that is none": echoing(lambda words: chunked(b'data: "a"\n\n', end=False) + words.encode() + b"\r\n"),
    "an encoding that is none": echoing(lambda words: http(words.encode(), Content_Encoding="gzip")),
    "a cut stream": cut_off,
    "a connection hung up": hang_up,
    "a connection broken off": break_off,
}


class Spill(Exception):
    def __init__(self):
        super().__init__(f"{KEY} {HEADER} {PASSWORD} {quote(PASSWORD)} {LOGIN}")


def spill(*arguments):
    raise Spill


class SpillingDecoder:
    ended = False

    def __init__(self, where):
        self.where = where

    def feed(self, data):
        return spill() if self.where == "feed" else []

    close = staticmethod(spill)


class SpillingTransport:
    """A Transport that fails with all it knows, at one of its places."""

    source = "cassette"
    head = ResponseHead(200)

    def __init__(self, where):
        self.where = where

    def send(self, request):
        return spill() if self.where == "send" else self

    async def __aenter__(self):
        return spill() if self.where == "enter" else self

    async def __aexit__(self, *failure):
        spill()

    async def chunks(self):
        if self.where == "chunks":
            spill()
        yield b'data: "a"\n\n'


def wrapping(hook, after=False):
    """Make an extension whose wrapper of a hook spills, before or after it is asked."""

    def wrapper(self):
        if not after:
            spill()
        yield
        spill()

    return type("Wrapping", (), {hook: hookimpl(wrapper=True)(wrapper)})


def transporting(where):
    def wrap_transport(self):
        yield
        return SpillingTransport(where)

    return type("Transporting", (), {"wrap_transport": hookimpl(wrapper=True)(wrap_transport)})


class Watching:
    """An extension whose observer spills whatever it is told."""

    @hookimpl
    def observe(self):
        return SimpleNamespace(**dict.fromkeys(("attempt", "head", "events", "retry", "finish", "error"), spill))


def spilling(**members):
    return on_the_wire(Marked, **{name: hookimpl(function) for name, function in members.items()})


OK, NO = http(b'data: "a"\n\n'), http(b"{}", status=500)
PLUGINS = {
    "resolve_model": (OK, {"provider": spilling(resolve_model=lambda self, name: spill())}),
    "build_request": (OK, {"provider": spilling(build_request=lambda self, endpoint: spill())}),
    "parse_stream": (OK, {"provider": spilling(parse_stream=lambda self: spill())}),
    "parse_error": (NO, {"provider": spilling(parse_error=lambda self: spill())}),
    "feed": (OK, {"provider": spilling(parse_stream=lambda self: SpillingDecoder("feed"))}),
    "close": (OK, {"provider": spilling(parse_stream=lambda self: SpillingDecoder("close"))}),
    **{
        f"a wrapper of {hook}, {'after' if after else 'before'}": (
            NO if hook == "parse_error" else OK,
            {"extensions": [wrapping(hook, after)]},
        )
        for hook in ("resolve_model", "build_request", "parse_stream", "parse_error", "wrap_transport")
        for after in (False, True)
    },
    "an observer": (OK, {"extensions": [Watching]}),
    "an observer of a failure": (NO, {"extensions": [Watching]}),
    "observe": (OK, {"extensions": [type("Observing", (), {"observe": hookimpl(lambda self: spill())})]}),
    **{f"transport, {where}": (OK, {"extensions": [transporting(where)]}) for where in ("send", "enter", "chunks", "")},
}


def everything_of(error, seen=()):
    """Return every text that an error, or what it is chained to, could end up as."""
    if error is None or error in seen:
        return ""
    chain = "".join(everything_of(other, (*seen, error)) for other in (error.__cause__, error.__context__))
    fields = {name: value for name, value in vars(error).items() if name != "partial"}
    return f"{error!r} {error} {fields} {''.join(traceback.format_exception(error))} {chain}"


async def collected(run):
    return await run


async def streamed(run):
    return [text async for text in run]


async def told_as_events(run):
    return [repr(event) async for event in run.events()]


async def awaited_elsewhere(run):
    return await asyncio.to_thread(run.result)


async def iterated_elsewhere(run):
    return await asyncio.to_thread(list, run)


WAYS = (collected, streamed, told_as_events, awaited_elsewhere, iterated_elsewhere)


@pytest.fixture
def leaks(caplog, capfd):
    """Return which marks have got out: into logs of every level, warnings, the terminal, and the texts."""
    for name in ("", "asyncio", "aiohttp", "aiohttp.client", "providerkit", "concurrent.futures"):
        caplog.set_level(logging.DEBUG, name)

    def leaks(*texts):
        records = [f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records]
        printed = capfd.readouterr()
        whole = "".join((*texts, *records, *printed, *map(str, warned)))
        return [mark for mark in MARKS if mark in whole]

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield leaks


TWICE = providerkit.Retry(attempts=2, base=0, retry_after_cap=0)


async def taken(way, client, base_url, *, key=KEY, **options):
    """Ask with everything marked, on three routes; give all that the run, its reply and its error may be shown as."""
    given = {"provider": Marked, "api_key": key, "headers": {"X-Session": HEADER}, "system": SYSTEM, **options}
    if "proxy" in given:
        base_url = "http://parrot.invalid"
    koala = Route(Koala, api_key=key, base_url=base_url, headers={"X-Session": HEADER})
    given["fallback"] = [Route(given["provider"], "green"), koala]
    try:
        run = client.run(PROMPT, base_url=base_url, **given)
    except providerkit.ProviderKitError as error:
        return everything_of(error)
    try:
        text = repr(await way(run))
    except providerkit.ProviderKitError as error:
        text = everything_of(error)
    attempts = "".join(everything_of(attempt.error) for attempt in run.reply.attempts)
    call = run._bound.first
    values = (run, run.reply, client, run._bound.network, call.endpoint, koala)
    return f"{text} {attempts} {values}"


@asynccontextmanager
async def client_of_both():
    """Return a Client for async and blocking calls."""
    async with providerkit.Client(retry=TWICE) as client:
        yield client
        await asyncio.to_thread(client.close)


def proxied(server):
    return server.base_url.replace("http://", f"http://polly:{quote(PASSWORD)}@")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", [KEY, ODD])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_no_answer_shows_what_is_marked(answer, key, way, leaks):
    async with serve(answer) as server, client_of_both() as client:
        restart = "restart" if way is told_as_events else "raise"
        shown = await taken(way, client, server.base_url, key=key, on_interrupt=restart)
        shown += await taken(way, client, server.base_url, key=key, proxy=proxied(server))
    assert any(HEADER in request.headers.get("x-session", "") for request in server.requests)
    assert leaks(shown) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("answer", "options"), PLUGINS.values(), ids=PLUGINS)
async def test_no_exception_of_a_plugin_shows_what_is_marked(answer, options, way, leaks):
    async with serve(answer) as server, client_of_both() as client:
        shown = await taken(way, client, server.base_url, proxy=proxied(server), **options)
    assert leaks(shown) == []


@pytest.mark.parametrize("way", [collected, awaited_elsewhere])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", [None, "http", "socks5"])
async def test_no_failure_to_connect_shows_what_is_marked(proxy, scheme, way, leaks):
    async with serve(hang_up) as server:
        place = server.base_url.removeprefix("http://")
    through = {"proxy": f"{proxy}://polly:{quote(PASSWORD)}@{place}"} if proxy else {}
    async with client_of_both() as client:
        for base_url in (f"{scheme}://{place}", f"{scheme}://nowhere.invalid"):
            assert leaks(await taken(way, client, base_url, **through)) == []


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_no_list_of_models_shows_what_is_marked(answer, leaks):
    def build_models_request(self, endpoint):
        return Request("GET", endpoint.url(f"/models?session={QUERY}"), {"Authorization": endpoint.api_key.reveal()})

    listing = spilling(build_models_request=build_models_request, parse_models=lambda self, body: spill())
    async with serve(answer) as server, client_of_both() as client:
        models = client.provider(listing).models(
            api_key=KEY, base_url=server.base_url, headers={"X-Session": HEADER}, proxy=proxied(server)
        )
        with pytest.raises(providerkit.ProviderKitError) as caught:
            await models
    assert leaks(everything_of(caught.value), repr(models)) == []


VALUES = (
    lambda: Route(Koala, api_key=KEY, headers={"X-Session": HEADER}, base_url=f"https://me:{KEY}@h/v1?session={QUERY}"),
    lambda: Request("GET", f"https://me:{KEY}@h/v1?session={QUERY}#{KEY}", {"X-Session": HEADER}, PROMPT.encode()),
    lambda: Endpoint("https://h/v1", providerkit.Secret(KEY), {"X-Session": HEADER}),
    lambda: ResponseHead(200, {"X-Session": HEADER}),
    lambda: providerkit.Headers({"X-Session": HEADER}),
    lambda: providerkit.Secret(KEY),
    lambda: providerkit.Client(),
    lambda: providerkit.run(provider=Koala, api_key=KEY, headers={"X-Session": HEADER}, system=SYSTEM),
    lambda: providerkit.run(PROMPT, provider=Koala, api_key=KEY, proxy=f"http://polly:{quote(PASSWORD)}@h:1"),
)


@pytest.mark.parametrize("make", VALUES)
def test_no_repr_of_a_public_value_shows_what_is_marked(make, leaks):
    value = make()
    assert leaks(repr(value), str(value), f"{value!s:>1}") == []


def test_the_repr_of_a_chat_shows_no_key(leaks):
    run = providerkit.run("hi", provider=Koala, api_key=KEY, headers={"X-Session": HEADER})
    assert leaks(repr(run._question.chat(run._bound.first)), repr(run._bound)) == []


def test_a_route_that_is_none_is_refused_without_its_parts(leaks):
    with pytest.raises(providerkit.InvalidOption) as caught:
        providerkit.run(PROMPT, provider=Koala, fallback=[("koala", "gpt-4o", KEY)])
    assert leaks(everything_of(caught.value)) == []
