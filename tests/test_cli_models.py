"""`providerkit models`: what can be asked of whom."""

import json
from asyncio import to_thread

import pytest
from commands import call
from loopback import http, serve
from parrots import Parrot

import providerkit
from providerkit import Model, ProviderInfo, Request, hookimpl, loads

KOALA = ["koala/gpt-4o-mini", "koala/gpt-4o", "koala/claude-3.7-sonnet"]


class Asked(Parrot):
    """Give the models that the service names."""

    @hookimpl
    def build_models_request(self, endpoint):
        return Request("GET", endpoint.url("/models"), endpoint.headers)

    @hookimpl
    def parse_models(self, head, body):
        return [Model(name, reasoning=name == "deep") for name in loads(body)]


def test_models_are_listed_as_run_takes_them():
    assert call("models", "-p", "koala") == (0, "".join(f"{model}\n" for model in KOALA), "")
    assert call("run", "-m", KOALA[1], "--sandbox", "hi")[0] == 0


@pytest.fixture
def only(monkeypatch):
    """Let these be all that is installed: others would be asked, and may be anywhere."""
    return lambda *names: monkeypatch.setattr("providerkit.providers", lambda: list(names))


def test_the_models_of_all_providers_are_listed(install, only):
    install("parrot", Parrot)
    only("koala", "parrot")
    code, output, errors = call("models")
    assert (code, output.splitlines(), errors) == (0, [*KOALA, "parrot/grey", "parrot/green"], "")


def test_models_are_listed_as_json(only):
    only("koala")
    code, output, errors = call("models", "--json", "--sandbox")
    assert (code, errors) == (0, "")
    first, second, _ = json.loads(output)
    assert first == {"provider": "koala", "model": "gpt-4o-mini", "default": True, "reasoning": False}
    assert (second["model"], second["default"]) == ("gpt-4o", False)


async def test_a_provider_that_can_be_asked_is(install):
    install("parrot", Asked)
    async with serve(http(b'["grey", "deep"]', content_type="application/json")) as server:
        code, output, errors = await to_thread(
            call, "models", "-p", "parrot", "--base-url", server.base_url, "--header", "X-Team: blue", "--json"
        )
    assert (code, errors) == (0, "")
    found = [(row["model"], row["default"], row["reasoning"]) for row in json.loads(output)]
    assert found == [("grey", True, False), ("deep", False, True)]
    assert server.requests[0].headers["x-team"] == "blue"


def test_one_that_fails_does_not_hide_the_others(install, only):
    install("emu", "raise RuntimeError('oh')")
    only("emu", "koala")
    code, output, errors = call("models")
    assert (code, output.splitlines(), errors.count("\n")) == (1, KOALA, 1)
    assert errors.startswith("Error: emu: plugin 'emu' (birds 1.0): it can't be imported")
    code, output, errors = call("models", "--json")
    assert (code, len(json.loads(output)), errors.count("\n")) == (1, 3, 1)


def test_those_that_can_not_be_reached_are_named_and_no_failure(install, only):
    install("parrot", Away)
    only("koala", "parrot")
    code, output, errors = call("models")
    assert (code, output.splitlines()) == (0, KOALA)
    assert errors == "Could not be reached: parrot; to see why, add -p NAME\n"
    code, output, errors = call("models", "-p", "parrot")
    assert (code, output, errors.startswith("Error: can't connect to 127.0.0.1:1: ")) == (1, "", True)


class Away(Asked):
    """A service of this machine that is not running."""

    @hookimpl
    def describe(self):
        return ProviderInfo(name="parrot", default_base_url="http://127.0.0.1:1")


class Locked(Asked):
    """Give models only to who has a key."""

    @hookimpl
    def build_models_request(self, endpoint):
        raise providerkit.MissingAPIKey("parrot needs a key")


class Homeless(Asked):
    """Have no address of its own."""

    @hookimpl
    def describe(self):
        return ProviderInfo(name="emu")


def test_those_that_want_a_key_or_an_address_are_named_at_the_end(install, only):
    install("parrot", Locked)
    install("emu", Homeless, distribution="emus")
    only("emu", "koala", "parrot")
    code, output, errors = call("models")
    assert (code, output.splitlines()) == (0, KOALA)
    assert errors == "Not asked, for want of a key or an address: emu, parrot\n"
    only("parrot")
    assert call("models")[:2] == (0, "")
    assert call("models", "-p", "parrot") == (
        2,
        "",
        "Error: parrot needs a key; set PARROT_API_KEY, or run: providerkit keys set parrot\n",
    )


def test_a_wrong_call_is_told_in_one_line():
    assert call("models", "-p", "koal")[0] == 2
    assert "did you mean 'koala'?" in call("models", "-p", "koal")[2]
    code, output, errors = call("models", "--base-url", "http://127.0.0.1:1")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("Error: --base-url is the address of one provider; add -p NAME.")


class Nameless(Parrot):
    """Know no model by name."""

    @hookimpl
    def describe(self):
        return ProviderInfo(name="parrot", default_base_url="http://parrot.invalid")


def test_it_is_said_where_there_is_none(install, monkeypatch):
    install("parrot", Nameless)
    assert call("models", "-p", "parrot") == (0, "", "No models are known\n")
    assert call("models", "-p", "parrot", "--json") == (0, "[]\n", "")
    monkeypatch.setattr("providerkit.providers", list)
    assert call("models") == (
        0,
        "",
        "Providers: none is installed; in a checkout of providerkit, run: pip install ./providers/koala\n",
    )
