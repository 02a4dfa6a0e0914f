"""The text of a chunk is the same, whether the JSON around it is parsed or known."""

import json

import pytest
from cuts import unhurried
from hypothesis import given, strategies as st
from providerkit_openai.template import ATTEMPTS, LONG, Template, text_alone

from providerkit import loads

PLACES = [
    '{"choices":[{"delta":{"content":%s}}]}',
    '{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":%s},"finish_reason":null}],"usage":null}',
    '{"model":"x","choices":[{"delta":{"content":%s}}],"obfuscation":"x"}',
    '{"id":"\\ud83d","choices":[{"delta":{"content":%s}}]}',
    '{"choices":[{"delta":{"content":%s}}],"other":"content"}',
    '{"id":"x","object":"y","choices":[{"index":0,"delta":{"content":%s}}],"obfuscation":"z"}',
]


def taught(place: str, words: str) -> Template:
    template = Template()
    template.learn((place % json.dumps(words)).encode(), words)
    return template


@pytest.mark.parametrize("place", PLACES)
def test_a_chunk_like_the_one_before_is_not_parsed_again(place):
    template = taught(place, "Hel")
    for words in ("lo", "Hel", '"', "\\", "\n", "é\u2028", "?"):
        for ascii_only in (True, False):
            assert template.text_in((place % json.dumps(words, ensure_ascii=ascii_only)).encode()) == words


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[DONE]",
        b'{"choices":[{"delta":{"content":',
        b'{"choices":[{"delta":{"content":}}]}',
        b'{"choices":[{"delta":{"content":""}}]}',
        b'{"choices":[{"delta":{"content":null}}]}',
        b'{"choices":[{"delta":{"content":["a"]}}]}',
        b'{"choices":[{"delta":{"content":"a","refusal":"b"}}]}',
        b'{"choices":[{"delta":{"content":"a"},"finish_reason":"stop","x":{"y":""}}]}',
        b'{"choices":[{"delta":{"content":"a"}}]}]}',
    ],
)
def test_a_chunk_that_is_otherwise_is_parsed(data):
    assert taught(PLACES[0], "Hel").text_in(data) is None


@pytest.mark.parametrize("place", ['{"index":0,"delta":{"content":%s}}', '{"delta":{"content":%s},"index":0}'])
def test_what_is_as_long_before_or_after_the_text_is_not_the_same(place):
    place = f'{{"choices":[{place}]}}'
    template = taught(place, "Hel")
    assert template.text_in((place % '"lo"').encode()) == "lo"
    assert template.text_in((place % '"lo"').replace(":0", ":1").encode()) is None


def test_a_text_that_stands_elsewhere_first_is_not_taken_for_the_content():
    assert (
        taught('{"model":"x","choices":[{"delta":{"content":%s}}]}', "x").text_in(
            b'{"model":"y","choices":[{"delta":{"content":"x"}}]}'
        )
        is None
    )


@pytest.mark.parametrize("words", [",", ":", "{", "]"])
@pytest.mark.parametrize("place", PLACES)
def test_a_text_whose_json_stands_between_fields_does_no_harm(place, words):
    data = (place % json.dumps("Hello")).encode()
    assert taught(place, words).text_in(data) in (None, "Hello")


@pytest.mark.parametrize(
    "chunk",
    [
        {"object": "error", "choices": [{"delta": {"content": "x"}}]},
        {"choices": [{"object": "error", "delta": {"content": "x"}}]},
        {"error": None, "choices": [{"delta": {"content": "x"}}]},
    ],
)
def test_a_chunk_that_may_be_an_error_is_looked_at_closely(chunk):
    assert text_alone(chunk) is None


def test_it_gives_up_where_no_chunk_is_like_another():
    template = Template()
    for number in range(ATTEMPTS):
        template.learn(b'{"n":%d,"choices":[{"delta":{"content":"a"}}]}' % number, "a")
    template.learn(b'{"choices":[{"delta":{"content":"a"}}]}', "a")
    assert template.text_in(b'{"choices":[{"delta":{"content":"a"}}]}') is None


def test_it_takes_no_long_chunk_for_a_pattern():
    words = "a" * LONG
    assert taught(PLACES[0], words).text_in((PLACES[0] % '"a"').encode()) is None


surrogates = st.sampled_from(["\ud83d", "\udc00", "a\ud83d", "\ud83d\udc00"])
texts = st.text(max_size=5) | surrogates | st.sampled_from(["x", "?", "content", "x?", ",", ":", ",?"])


@unhurried
@given(
    place=st.sampled_from(PLACES), first=texts, then=st.lists(texts | st.none() | st.just([]) | st.just({}), max_size=3)
)
def test_what_it_finds_is_what_a_parser_finds(place, first, then):
    data = [(place % json.dumps(value)).encode() for value in (first, *then)]
    template = Template()
    for item in data:
        found = template.text_in(item)
        alone = text_alone(loads(item))
        assert found in (None, alone)
        if alone is not None:
            template.learn(item, alone)
