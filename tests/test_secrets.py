"""A key shows nowhere: not in an error, its traceback, a log, or on the command line."""

import asyncio
import json
import logging
import traceback
import warnings

import pytest
from click.testing import CliRunner
from loopback import chunked, http, reset, serve

import providerkit
from providerkit.cli.main import main

KEY = "sk-marked-0123456789"
PROMPT = "marked-prompt-0123456789"
ECHO = json.dumps({"error": {"message": f"bad key {KEY} in Authorization: Bearer {KEY}", "code": KEY}}).encode()


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
    """Give every text that an error could end up as."""
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
            assert KEY not in repr(run) + repr(run.reply) + repr(run._prepared)
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
