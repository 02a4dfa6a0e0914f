"""Errors on the command line: they speak of its options, and suggest only what is like what was typed."""

import asyncio
import re

import click
import pytest
from commands import call
from loopback import http, serve
from parrots import Parrot

import providerkit
from providerkit import Argument, InvalidOption, MissingAPIKey, Phrase, ProviderInfo, UnknownModel, hookimpl
from providerkit.cli import options
from providerkit.cli.run import run

BY_THEIR_NAMES = ("system", "temperature", "top_p", "max_tokens", "stop", "seed", "base_url", "proxy", "fallback")


def test_each_argument_is_the_option_that_sets_it():
    named = {option.name.removesuffix("s"): option for option in run.params if isinstance(option, click.Option)}
    for name in (*BY_THEIR_NAMES, "provider", "model", "timeouts", "headers", "extensions", "retry", "extra"):
        assert options.told(InvalidOption(Argument(name))) == named[name.removesuffix("s")].opts[0]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Argument("base_url", ...), "--base-url URL"),
        (Argument("model", ...), "-m NAME"),
        (Argument("model", "koala/x y"), "-m 'koala/x y'"),
        (Argument("temperature", ...), "--temperature FLOAT"),
        (Argument("tools", ...), "tools=..."),
        (Argument("connector"), "connector"),
        (Argument("prompt"), "prompt"),
        (Phrase("in Python", "here"), "here"),
        ("text", "text"),
    ],
)
def test_a_part_of_a_message_speaks_of_options(part, words):
    assert options.told(providerkit.ConfigurationError(part)) == words


class Wanting(Parrot):
    """Refuse what it is asked, as plugins do, by an error of ours."""

    error = InvalidOption("no")

    @hookimpl
    def build_request(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MissingAPIKey("no key"), "no key; set PARROT_API_KEY, or run: providerkit keys set parrot"),
        (UnknownModel("no model"), "no model; pass -m NAME, as listed by `providerkit models -p parrot`"),
        (InvalidOption(Argument("seed"), " is odd", option="seed"), "--seed is odd"),
    ],
)
def test_the_error_of_a_plugin_does_too(install, error, words):
    install("parrot", type("Refusing", (Wanting,), {"error": error}))
    assert call("run", "-p", "parrot", "hi") == (2, "", f"Error: {words}\n")


class Unnamed(Wanting):
    """Name no variable for a key."""

    error = MissingAPIKey("no key")

    @hookimpl
    def describe(self):
        return ProviderInfo("parrot", default_base_url="http://parrot.invalid")


def test_a_key_that_no_variable_holds_is_a_matter_of_python(install):
    install("parrot", Unnamed)
    expected = "Error: no key; it is read from no variable, so only Python code can pass it\n"
    assert call("run", "-p", "parrot", "hi") == (2, "", expected)


ARGUMENT = re.compile(
    r"\b(provider|model|base_url|api_key|headers|timeouts|limits|extensions|proxy|requests)=|providerkit\.\w+\("
)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "hi"),
        ("run", "-m", "gpt-4o", "hi"),
        ("run", "-m", "koala", "hi"),
        ("run", "-p", "koala/gpt-4o", "hi"),
        ("run", "-p", "openai-compatible", "hi"),
        ("run", "-p", "openai-compatible", "-m", "m", "hi"),
        ("run", "-p", "openai-compatible", "--base-url", "http://127.0.0.1:1", "hi"),
        ("run", "-p", "openai", "hi"),
        ("run", "-p", "ollama", "hi"),
        ("run", "-p", "koala", "--base-url", "ftp://x", "hi"),
        ("run", "-p", "koala", "--base-url", "http://me:pw@x", "hi"),
        ("run", "-p", "koala", "--base-url", "http://x?a=b", "hi"),
        ("run", "-p", "koala", "--proxy", "x", "hi"),
        ("run", "-p", "koala", "--header", "a b: c", "hi"),
        ("run", "-p", "koala", "--temperature", "nan", "hi"),
        ("run", "-p", "koala", "--temperature", "0.5", "hi"),
        ("run", "-p", "koala", "--extension", "lgo", "hi"),
        ("run", "-p", "koala", "--extension", "limit", "hi"),
        ("run", "-p", "koala", "--sandbox", "--fallback", "nope", "hi"),
        ("run", "-p", "koala", "--sandbox", "--fallback", "/", "hi"),
        ("models", "-p", "openai"),
        ("models", "-p", "openai-compatible"),
        ("keys", "set", "nope"),
        ("keys", "set", "lmstudio"),
        ("check", "nope"),
        ("sandbox", "nope"),
        ("chat", "-p", "nope"),
        ("chat",),
    ],
    ids=" ".join,
)
def test_no_message_of_a_wrong_call_speaks_python(arguments, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, output, errors = call(*arguments, stdin="")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert ARGUMENT.search(errors) is None
    assert "'None'" not in errors


@pytest.mark.parametrize("status", [404, 405])
async def test_a_404_hints_at_the_path_that_a_base_url_lacks(status):
    async with serve(http(b"", status=status)) as server:
        arguments = ("run", "-p", "openai-compatible", "-m", "m", "--base-url", server.base_url, "hi")
        code, _, errors = await asyncio.to_thread(call, *arguments)
    phrase = {404: "Not Found", 405: "Method Not Allowed"}[status]
    place = f"(at {server.base_url}/chat/completions); does --base-url lack /v1 at its end?"
    assert (code, errors) == (1, f"Error: openai-compatible: {status}: {phrase} {place}\n")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("KOALA", "koala"), ("koalla", "koala"), ("Openai", "openai"), ("opnai", "openai"), ("nope", None), ("x", None)],
)
def test_only_near_misses_are_suggested(name, meant):
    for arguments in (("run", "-p", name, "hi"), ("check", name), ("models", "-p", name)):
        code, _, errors = call(*arguments)
        suggested = re.findall(r"did you mean '([^']+)'", errors)
        assert (code, suggested) == (2, [meant] if meant else [])


@pytest.mark.parametrize(("name", "meant"), [("RUN", "run"), ("rnu", "run"), ("modles", "models"), ("zzz", None)])
def test_a_command_is_suggested_alike(name, meant):
    assert re.findall(r"Did you mean '([^']+)'", call(name)[2]) == ([meant] if meant else [])
