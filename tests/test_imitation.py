"""Sandboxes: a provider's own imitation, served on loopback."""

import pytest
from parrots import Parrot

import providerkit


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


def test_an_unknown_provider_is_told_at_the_call():
    with pytest.raises(providerkit.UnknownProvider):
        providerkit.sandbox("coala")


def test_a_port_that_is_taken_is_told():
    with providerkit.sandbox("koala") as base_url:
        port = int(base_url.rpartition(":")[2])
        with pytest.raises(providerkit.ConfigurationError, match=f"port {port}"):
            providerkit.sandbox("koala", port=port).__enter__()


async def test_leaving_one_that_was_not_entered_does_nothing():
    await providerkit.sandbox("koala").__aexit__()
