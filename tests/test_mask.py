"""A mask hides a secret in whatever form a text has it, and nothing else, in a time that grows as the text does."""

from __future__ import annotations

import sys
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st
from spellings import KEYS, SPELLINGS, basic

from providerkit import Mask
from providerkit.wire.masks import MIN_LENGTH, secrets_in, secrets_of_proxy


def bare(key):
    """Return the key as a service may show it, without the quotes that it was pasted with."""
    return key.strip("\"'")


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_hidden_in_every_spelling(key, spell):
    mask = Mask([key])
    assert mask(f"no: {spell(bare(key))}, so") == "no: ***, so"


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_the_rest_of_the_text_stays_as_it_is(spell):
    rest = '100%, a%20b \\ \\n \\" &amp; & "quoted" %zz é \\u00e9'
    key = KEYS["base64"]
    assert Mask([key])(f"{rest} {spell(key)} {rest}") == f"{rest} *** {rest}"
    assert Mask([key])(rest) == rest


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=12).map(lambda key: key.strip("\"' ")))
def test_any_key_is_hidden_however_it_is_escaped(key):
    if len(key) < MIN_LENGTH:
        return
    mask = Mask([key])
    for spell in ("quoted", "as a path", "in JSON", "in a repr", "in HTML", "in a URL, of JSON"):
        spelled = SPELLINGS[spell](key)
        assert spelled not in mask(f"({spelled})")


def test_a_key_that_is_cut_short_is_hidden():
    key = KEYS["base64"]
    assert Mask([key])(f"{key[:14]}... {quote(key[:13], safe='')}, {basic('api', key)[:30]}.") == "*** ***, ***"


def test_a_key_is_hidden_within_other_words():
    key = KEYS["plain"]
    assert Mask([key])(f"/bot{key}/say?key={key}&a=1 req-{key}") == "/bot***/say?key=***&a=1 req-***"


def test_a_mask_hides_the_longest_of_the_secrets():
    key = KEYS["plain"]
    mask = Mask([key, key[:9], "a.c|d*", "k", ""])
    assert mask(f"Bearer {key}, {key[:9]}. a.c|d* abc k") == "Bearer ***, ***. *** abc k"
    assert Mask([])(key) == key
    assert repr(mask) == "<Mask>"


@pytest.mark.parametrize("key", ["k", "abc", "12345"])
def test_a_key_that_could_be_a_part_of_any_word_is_hidden_after_its_scheme_alone(key):
    text = f"a {key} of {key}s and a bearer {key}s"
    assert Mask([key])(f"{text}: Bearer {key}, bearer {key}") == f"{text}: Bearer ***, bearer ***"


def test_places_are_those_of_the_text_as_it_is():
    text = "%41 key%2D012 and key-012"
    assert [text[first:end] for first, end in Mask(["key-012"]).spans(text)] == ["key%2D012", "key-012"]


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        ({"Authorization": "Bearer sk-012345"}, {"sk-012345"}),
        ({"authorization": "sk-012345"}, {"sk-012345"}),
        ({"Proxy-Authorization": "Basic cG9sbHk6cGFzc3dvcmQ="}, {"cG9sbHk6cGFzc3dvcmQ=", "password"}),
        ({"Authorization": "Basic abcde"}, {"abcde"}),
        ({"Cookie": "session=abcdefgh; theme=darkness"}, {"session=abcdefgh; theme=darkness", "abcdefgh", "darkness"}),
        ({"X-Api-Key": "one two", "X-Session": "012345678"}, {"two", "012345678"}),
        ({"X-Date": "2026-11-28", "X-Team": "blue-parrots", "anthropic-version": "2023-06-01"}, set()),
        ({"X-Request-Id": "0123456789abcdef", "Accept": "application/json", "Idempotency-Token": "abcdef"}, {"abcdef"}),
    ],
)
def test_headers_are_secret_by_their_names(headers, secrets):
    assert set(secrets_in(headers)) - {"", "="} == secrets


@pytest.mark.parametrize("address", [None, "http://proxy.invalid:80", "http://polly@proxy.invalid"])
def test_a_proxy_without_a_password_has_no_secret(address):
    assert list(secrets_of_proxy(address)) == []


def test_the_password_of_a_proxy_is_secret_and_so_is_what_is_sent_of_it():
    assert list(secrets_of_proxy("http://polly:pa%40ss@proxy.invalid")) == ["pa@ss", basic("polly", "pa@ss")]


HOSTILE = ("\\", "%", "%25", "%5C", "&", "&#", "\\u00", "a", "aB/+dEf9=h/I", "aaaaab", "bearer k", "YWFhYWFhYWFhYWFh")
HOSTILE_KEYS = ['"sk-0123456789abcdef"', "\\" * 9 + "sk", "a" * 50 + "b", "aB/+dEf9=h/IjKlMn", "k", "%25" * 9, "a" * 12]


def lines_run(function, *arguments):
    """Count the lines of Python that a call runs."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_the_work_grows_as_the_text_does(key, piece):
    """The patterns can't go back; what remains is the work of Python."""
    mask = Mask([key])
    small, large = (lines_run(mask, piece * count) for count in (100, 800))
    assert large <= 8 * small
