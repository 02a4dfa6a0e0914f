"""Secrets, wherever in a request or an answer they are."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from cuts import cuttings
from loopback import http, serve
from parrots import Parrot

import providerkit
from providerkit import Endpoint, Headers, Mask, Request, Secret, hookimpl
from providerkit.extensions.redaction import Redaction, secrets_of

KEY = 'sk-"MARKED\\-0123/456789+abcdef'


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "x-api-key", "X-Goog-Api-Key", "api-key"),
        *("apiKey", "access_token", "client_secret", "X-Auth-Token", "password", "sig", "X-Amz-Signature"),
    ],
)
def test_a_name_says_that_a_value_is_secret(name: str):
    assert Mask.is_secret(name)


@pytest.mark.parametrize("name", ["max_tokens", "x-ratelimit-remaining-tokens", "x-request-id", "monkey", "author"])
def test_other_names_do_not(name: str):
    assert not Mask.is_secret(name)


REDACTION = Redaction(frozenset({KEY, "short"}))


@pytest.mark.parametrize(
    ("value", "redacted"),
    [
        (
            {"apiKey": "a", "in": [{"token": "b"}, {"token": 1}]},
            {"apiKey": "***", "in": [{"token": "***"}, {"token": 1}]},
        ),
        (
            {"api_keys": ["a", {"of": "b", "n": 1}], "Credentials": {"user": "c", "more": [["d"]]}, "in": ["e"]},
            {
                "api_keys": ["***", {"of": "***", "n": 1}],
                "Credentials": {"user": "***", "more": [["***"]]},
                "in": ["e"],
            },
        ),
        ({KEY: 1}, {"***": 1}),
        (f"my {KEY}, {KEY[:16]} and", "my ***, *** and"),
        ("short", "short"),
        ([None, True, 1.5], [None, True, 1.5]),
    ],
)
def test_a_json_value_is_redacted_by_name_and_by_value(value: Any, redacted: Any):
    assert REDACTION.value(value) == redacted


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://me:pass@a.example/p?key=abc&q=1&flag#top", "https://a.example/p?key=***&q=1&flag"),
        ("https://a.example/bot0123456789ab/say", "https://a.example/bot***/say"),
        ("https://a.example/?q=0123456789ab", "https://a.example/?q=***"),
        ("http://127.0.0.1:80/", "http://127.0.0.1:80/"),
    ],
)
def test_a_url_is_redacted(url: str, redacted: str):
    assert Redaction(frozenset({"0123456789ab"})).url(url) == redacted


def test_headers_of_a_request_are_redacted_by_name_and_by_looks():
    headers = {
        "Authorization": "Bearer a",
        "X-Team": "blue",
        "X-Visit": "0123456789abcdef",
        "X-Other": "Basic 0123456789abcdef",
        "User-Agent": "providerkit/0.1.0-beta",
        "Accept": "application/vnd.parrot.v1",
        "X-Version": "2023-06-01",
    }
    shown = Redaction().request_headers(Headers(headers))
    assert {name for name, value in shown.items() if value == "***"} == {"Authorization", "X-Visit", "X-Other"}
    assert shown["User-Agent"] == headers["User-Agent"]


def test_ids_in_the_headers_of_an_answer_stay():
    headers = Headers({"Set-Cookie": "a=b", "x-request-id": "req_0123456789abcdef"})
    assert dict(Redaction().response_headers(headers)) == {"Set-Cookie": "***", "x-request-id": "req_0123456789abcdef"}


def test_a_caller_gives_away_what_is_secret():
    headers = Headers({"Authorization": "Bearer of-the-caller", "X-Team": "blue"})
    assert secrets_of(Endpoint("https://a.example", Secret("the-key"), headers)) == {"the-key", "of-the-caller"}
    assert secrets_of(Endpoint("https://a.example")) == set()


@pytest.mark.parametrize(
    "secret",
    [KEY, orjson.dumps(KEY).decode()[1:-1], "sk-%22MARKED%5C-0123%2F456789%2Babcdef", KEY[:14]],
    ids=["plain", "in JSON", "in a URL", "cut"],
)
def test_a_secret_is_found_in_a_body_wherever_it_is_cut(secret: str):
    for pieces in cuttings(f"a {secret} b".encode()):
        redacted = REDACTION.pieces(pieces)
        assert b"".join(redacted) == b"a *** b"
        assert len(redacted) == len(pieces)


def test_bytes_that_are_no_text_stay():
    assert REDACTION.pieces([b"\xff\x00", KEY.encode(), KEY.encode() * 2]) == [b"\xff\x00", b"***", b"******"]
    assert Redaction().pieces([b"\xff"]) == [b"\xff"]


# All of it, on a cassette


class Careless(Parrot):
    """Put the key into everything."""

    @hookimpl
    def build_request(self, chat: providerkit.Chat, endpoint: Endpoint) -> Request:
        key = endpoint.api_key.reveal() if endpoint.api_key else "none"
        form = chat.messages[-1].text == "form"
        body = (
            f"client_secret=abcdefgh&note={key}" if form else json.dumps({"note": key, "api_key": key, "said": "test"})
        )
        headers = {
            "Content-Type": "application/x-www-form-urlencoded" if form else "application/json",
            "X-Note": key,
            "Cookie": "session=of-the-plugin",
        }
        return Request("POST", endpoint.url(f"/{key}?key={key}&note={key}"), headers, body.encode())


ECHO = http(
    b'data: "squawk my-secret-key 0123456789 session=of-the-plugin"\n\n', Set_Cookie="a=secret", X_Echo="my-secret-key"
)


@pytest.mark.parametrize("text", ["json", "form"])
async def test_no_key_and_no_cookie_is_on_a_cassette_and_it_replays_with_another_key(tmp_path: Path, text: str):
    tape = tmp_path / "tape.jsonl"
    async with serve(ECHO) as server:
        with providerkit.record(tape):
            headers = {"X-Api-Key": "Bearer 0123456789"}
            await providerkit.run(
                text, provider=Careless(), base_url=server.base_url, api_key="my-secret-key", headers=headers
            )
    written = tape.read_text("utf-8")
    assert [word for word in ("secret-key", "0123456789", "plugin", "a=secret", "abcdefgh") if word in written] == []
    with providerkit.replay(tape):
        run = providerkit.run(text, provider=Careless(), base_url=server.base_url, api_key="other-secret-key")
        assert (await run).text == "squawk *** *** ***"


async def test_a_made_up_key_may_be_a_word_of_the_chat(tmp_path: Path):
    tape = tmp_path / "tape.jsonl"
    async with serve(http(b'data: "squawk"\n\n')) as server:
        with providerkit.record(tape):
            await providerkit.run("a made-up-key", provider=Parrot, base_url=server.base_url, api_key="the-real-key")
    with providerkit.replay(tape):
        run = providerkit.run("a made-up-key", provider=Parrot, base_url=server.base_url, api_key="made-up-key")
        assert (await run).text == "squawk"


async def test_bytes_that_are_no_text_are_on_a_cassette_in_base64(tmp_path: Path):
    class Binary(Parrot):
        @hookimpl
        def build_request(self, endpoint: Endpoint) -> Request:
            return Request("POST", endpoint.url("/"), body=b"\xff\x00")

    tape = tmp_path / "tape.jsonl"
    async with serve(http(b'data: "\xff"\n\n')) as server:
        with providerkit.record(tape):
            await providerkit.run("hello", provider=Binary(), base_url=server.base_url)
    lines = [json.loads(line) for line in tape.read_bytes().splitlines()]
    assert base64.b64decode(lines[0]["request"]["base64"]) == b"\xff\x00"
    assert base64.b64decode(lines[2]["base64"]) == b'data: "\xff"\n\n'
    with providerkit.replay(tape):
        assert (await providerkit.run("hello", provider=Binary(), base_url=server.base_url)).text == "\ufffd"
