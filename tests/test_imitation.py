"""Sandboxes: a provider's own imitation, served on loopback."""

import socket
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from parrots import Parrot

import providerkit
from providerkit import hookimpl


async def test_it_serves_async():
    async with providerkit.sandbox("koala") as base_url:
        assert base_url.startswith("http://127.0.0.1:")
        assert (await providerkit.run("hi", provider="koala", base_url=base_url)).finish_reason == "stop"
    with pytest.raises(providerkit.TransportError):
        await providerkit.run("hi", provider="koala", base_url=base_url)


def test_it_serves_blocking_callers():
    with providerkit.sandbox("koala") as base_url:
        assert providerkit.run("hi", provider="koala", base_url=base_url).result().finish_reason == "stop"
    with pytest.raises(providerkit.TransportError):
        providerkit.run("hi", provider="koala", base_url=base_url).result()


def test_a_provider_without_one_says_so():
    with pytest.raises(providerkit.ConfigurationError, match="parrot brings no sandbox"):
        providerkit.sandbox(Parrot).__enter__()


def test_one_that_is_passed_on_without_being_entered_says_so():
    with pytest.raises(providerkit.InvalidOption, match="base_url is <Sandbox of koala: enter it by `with`, which"):
        providerkit.run("hi", provider="koala", base_url=providerkit.sandbox("koala"))


def test_an_unknown_provider_is_told_at_the_call():
    with pytest.raises(providerkit.UnknownProvider):
        providerkit.sandbox("coala")


def test_a_port_that_is_taken_is_told():
    with providerkit.sandbox("koala") as base_url:
        port = int(base_url.rpartition(":")[2])
        with pytest.raises(providerkit.ConfigurationError, match=f"port {port}"):
            providerkit.sandbox("koala", port=port).__enter__()
    with pytest.raises(providerkit.ConfigurationError, match="port 70000"):
        providerkit.sandbox("koala", port=70000).__enter__()


def test_one_is_served_once_at_a_time():
    sandbox = providerkit.sandbox("koala")
    with sandbox, pytest.raises(providerkit.ConfigurationError, match="already"):
        sandbox.__enter__()
    with sandbox as base_url:
        assert providerkit.run("hi", provider="koala", base_url=base_url).result().text


async def test_leaving_one_that_was_not_entered_does_nothing():
    await providerkit.sandbox("koala").__aexit__()


class Served(Parrot):
    """Serve one application, always the same."""

    def __init__(self) -> None:
        self.application = web.Application()
        self.application.router.add_post("/say", self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'data: "squawk"\n\n')
        return response

    @hookimpl
    def sandbox(self) -> web.Application:
        return self.application


async def test_a_client_that_leaves_is_no_error(caplog):
    parrot = Served()
    async with providerkit.sandbox(parrot) as base_url:
        with socket.create_connection(("127.0.0.1", urlsplit(base_url).port)) as client:
            client.sendall(b"POST /say HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await providerkit.run("hi", provider=parrot, base_url=base_url)).text == "squawk"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_one_application_is_served_again():
    parrot = Served()
    for _ in range(2):
        async with providerkit.sandbox(parrot) as base_url:
            assert (await providerkit.run("hi", provider=parrot, base_url=base_url)).text == "squawk"
