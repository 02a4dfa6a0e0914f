"""Marks are found wherever a request says them."""

import json
from urllib.parse import quote

import pytest

from providerkit import Request
from providerkit.testing.marks import is_told_alike, leaves, lost_marks

URL = "http://127.0.0.1/say"
TEXT = 'a "mark" & more'


def nested(value):
    return json.dumps({"outer": json.dumps({"inner": [json.dumps(value)]})}).encode()


@pytest.mark.parametrize(
    "request_of",
    [
        lambda text: Request("GET", f"{URL}/{text}"),
        lambda text: Request("GET", f"{URL}?q={quote(text)}"),
        lambda text: Request("GET", URL, {"X-Text": text}),
        lambda text: Request("POST", URL, body=text.encode()),
        lambda text: Request("POST", URL, body=f"q={quote(text)}".encode()),
        lambda text: Request("POST", URL, body=nested(text)),
        lambda text: Request("POST", URL, body=nested({text: 1})),
    ],
    ids=["path", "query", "header", "body", "form", "value", "name"],
)
def test_a_mark_is_found_and_another_is_not(request_of):
    assert lost_marks([TEXT, "none"], request_of(TEXT)) == ["none"]


def test_strings_that_only_look_like_json_are_strings():
    body = json.dumps({"a": "[no", "b": '{"c": "d"}', "e": [1, None, "[2]"]}).encode()
    assert list(leaves(Request("POST", URL, body=body))) == ["a", "[no", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("before", "after", "alike"),
    [
        (["x", "x"], ["y", "y"], True),
        (["x", "fc_x", "x"], ["y", "fc_y", "y"], True),
        (["none"], ["none"], True),
        (["x"], ["y"], False),
        (["x", "result_x"], ["y", "result_y"], False),
        (["x", "x"], ["y", "z"], False),
    ],
)
def test_an_id_is_told_alike_if_it_stands_twice(before, after, alike):
    one, other = (Request.json(URL, values) for values in (before, after))
    assert is_told_alike(one, other) == alike
