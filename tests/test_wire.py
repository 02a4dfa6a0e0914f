"""What crosses the wire, as values: nothing that can't be sent is made, and no repr shows a secret."""

from __future__ import annotations

import json
import re

import pytest
from cuts import unhurried
from hypothesis import given, strategies as st
from rich.pretty import pretty_repr
from yarl import URL

from providerkit import (
    Decoder,
    DecoderWrapper,
    Endpoint,
    EventStream,
    Finish,
    Headers,
    InvalidOption,
    JSONBody,
    PluginError,
    Request,
    ResponseHead,
    Secret,
    StreamMalformed,
    TextDelta,
    loads,
)

KEY = "sk-MARKED-0123456789"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b' {"a": [1, -2.5, true, null]}\n', {"a": [1, -2.5, True, None]}),
        ('"é€😀"'.encode(), "é€😀"),
        (rb'"\u00e9\ud83d\ude00"', "é😀"),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"a\xe2\x82"', "a\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'{"\xff": "\xff"}', {"\ufffd": "\ufffd"}),
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\ude00"', "\ufffd"),
        (rb'"\uDE00\uD83D"', "\ufffd\ufffd"),
        (rb'"\ud83d\ud83d\ude00\ude00"', "\ufffd😀\ufffd"),
        (rb'{"\ud83d": 1}', {"\ufffd": 1}),
        (rb'"\ud83d \\ud83d \\\ud83d"', "\ufffd \\ud83d \\\ufffd"),
        ('"\u2028\u2029\x85\ufeff"'.encode(), "\u2028\u2029\x85\ufeff"),
        (rb'"\u0000"', "\0"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"9" * 40, float("9" * 40)),
        (b"[" * 500 + b"]" * 500, json.loads("[" * 500 + "]" * 500)),
    ],
    ids=ascii,
)
def test_loads_reads_json_and_replaces_what_is_no_text(data, value):
    assert loads(data) == value


@pytest.mark.parametrize(
    "data",
    [
        *(b"NaN", b"[Infinity]", b"-Infinity", b"1e400", b"9" * 5000, b"01", b"1.x", b"+1", b"0x1", b"1_0"),
        *(b"'a'", b"{a: 1}", b"[1,]", b'{"a":1,}', b"// 1", b"1 2", b"{}x", b"True", b"undefined"),
        *(b'"a\nb"', b'"\0"', rb'"\x41"', rb'"\u12G4"', b"\xff", b"[\xff]", b"\xef\xbb\xbf{}", b"\0", b"<html>"),
        *(b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    ],
    ids=lambda data: ascii(data[:12]),
)
def test_loads_takes_nothing_that_is_no_json(data):
    with pytest.raises(StreamMalformed) as caught:
        loads(data)
    assert not caught.value.incomplete
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "data", [b"", b"-", b"tru", b'"', b'"\\u12', b'"\\ud83d\\ud', b"[1, ", b'{"a":', b'{"a": 1', b'"\xe2']
)
def test_loads_tells_a_beginning_from_what_is_wrong(data):
    with pytest.raises(StreamMalformed) as caught:
        loads(data)
    assert caught.value.incomplete


@unhurried
@given(st.lists(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), max_size=10))
def test_loads_reads_what_was_written(value):
    assert loads(json.dumps(value).encode()) == value


@unhurried
@given(st.binary() | st.text(alphabet='"\\ud83de0{}[]:,1 ').map(str.encode))
def test_loads_raises_nothing_else_and_gives_what_can_be_sent_again(data):
    try:
        value = loads(data)
    except StreamMalformed:
        return
    json.dumps(value, ensure_ascii=False).encode()


def test_headers_are_found_in_any_case_and_keep_the_form_they_came_in():
    headers = Headers({"X-Key": "1", "accept": "*/*"})
    assert (headers["x-key"], headers["X-KEY"], headers.get("Accept"), headers.get("none")) == ("1", "1", "*/*", None)
    assert ("ACCEPT" in headers, "none" in headers) == (True, False)
    assert dict(headers) == {"X-Key": "1", "accept": "*/*"}
    assert len(headers) == 2
    assert len(Headers()) == 0


def test_several_values_of_one_header_are_joined():
    assert dict(Headers([("A", "1"), ("b", "2"), ("a", "3")])) == {"a": "1, 3", "b": "2"}


def test_headers_are_laid_over_others_whatever_the_case():
    below = Headers({"A": "1", "B": "2"})
    assert dict(below | {"a": "3", "c": "4"}) == {"a": "3", "B": "2", "c": "4"}
    assert dict(below) == {"A": "1", "B": "2"}


def test_headers_show_their_names_only():
    assert repr(Headers({"Authorization": KEY, "Accept": "*/*"})) == "<Headers Authorization, Accept>"


def test_a_secret_shows_nowhere_and_is_given_to_who_asks():
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    assert [repr(secret), str(secret), f"{[secret]}"] == ["Secret('***')", "Secret('***')", "[Secret('***')]"]
    with pytest.raises(TypeError, match="reveal"):
        f"Bearer {secret}"
    assert not hasattr(secret, "__dict__")


def test_secrets_are_equal_where_their_values_are():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


@pytest.mark.parametrize(
    "key",
    [
        f"{KEY}\n",
        f"{KEY}\r\nX-Evil: 1",
        f"{KEY}\0",
        f"{KEY}é",
        f"{KEY}\x7f",
        f"{KEY} ",
        f"\t{KEY}",
        "",
        " ",
        None,
        5,
        KEY.encode(),
    ],
)
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key):
    with pytest.raises(InvalidOption, match="the key") as caught:
        Secret(key)
    assert caught.value.option == "api_key"
    assert "MARKED" not in str(caught.value)


BAD_HEADERS = [
    pytest.param({"X-Evil": f"{KEY}\r\nSet-Cookie: a=b"}, "'X-Evil'", id="CRLF"),
    pytest.param({"X-Evil": f"{KEY}\n"}, "'X-Evil'", id="LF"),
    pytest.param({"X-Evil": f"{KEY}\r"}, "'X-Evil'", id="CR"),
    pytest.param({"X-Evil": f"{KEY}\0"}, "'X-Evil'", id="NUL"),
    pytest.param({"X-Evil": f"{KEY}é"}, "'X-Evil'", id="beyond ASCII"),
    pytest.param({"X-Evil": None}, "'X-Evil'", id="None"),
    pytest.param({"X-Evil": KEY.encode()}, "'X-Evil'", id="bytes"),
    pytest.param({"X-Good": "1", "X-Evil\r\nA": "1"}, r"X-Evil\\r\\nA", id="CRLF in the name"),
    pytest.param({"": "1"}, "''", id="no name"),
    pytest.param({"X Evil": "1"}, "'X Evil'", id="a space in the name"),
    pytest.param({"X-Evil:": "1"}, "'X-Evil:'", id="a colon in the name"),
    pytest.param({5: "1"}, "5", id="a number as name"),
    pytest.param([("X-Evil", KEY)], "list", id="a list"),
    pytest.param(f"X-Evil: {KEY}", "str", id="a string"),
]


@pytest.mark.parametrize(("headers", "named"), BAD_HEADERS)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda headers: Endpoint("http://a", None, headers), id="Endpoint"),
        pytest.param(lambda headers: Request("GET", "http://a", headers), id="Request"),
    ],
)
def test_headers_that_cant_be_sent_are_named_without_their_values(make, headers, named):
    with pytest.raises(InvalidOption, match=named) as caught:
        make(headers)
    assert caught.value.option == "headers"
    assert "MARKED" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("say", "'say'"),
        ("/say?key=MARKED", "'/say***'"),
        ("ftp://me:MARKED@host/say", "'***host/say'"),
        (None, "None"),
    ],
    ids=repr,
)
def test_a_request_to_what_is_no_address_is_refused_and_shows_no_secret(url, shown):
    with pytest.raises(PluginError, match=re.escape(f"not {shown}; make it by endpoint.url(path)")):
        Request("POST", url)
    assert Request("POST", "HTTPS://a/b").url == "HTTPS://a/b"


@pytest.mark.parametrize(
    ("base_url", "path", "url"),
    [
        ("https://a", "/b", "https://a/b"),
        ("https://a/", "b", "https://a/b"),
        ("http://a:8080/v1//", "/b/c?d=e", "http://a:8080/v1/b/c?d=e"),
        ("http://[::1]:80/v1", "//b", "http://[::1]:80/v1/b"),
        ("HTTPS://a", "b", "HTTPS://a/b"),
    ],
)
def test_an_endpoint_appends_paths_with_one_slash(base_url, path, url):
    assert Endpoint(base_url).url(path) == url
    assert not Endpoint(base_url).base_url.endswith("/")


@pytest.mark.parametrize(
    "base_url",
    [
        *("", "a", "koala.sh", "//a", "/v1", "http:", "http://", "http:///v1", "https://:80", "ftp://a", "file:///etc"),
        *("javascript:1", "http://a:port", "http://a:99999", "http://[::1", "http://a b", "http://a\r\nX-Evil: 1"),
        *(
            "http://a\t",
            "http://a/\tb",
            "http://a\0",
            "http://é",
            " http://a",
            "http://a ",
            None,
            5,
            b"http://a",
            ["http://a"],
        ),
    ],
    ids=repr,
)
def test_a_base_url_that_is_no_origin_is_refused_and_shown(base_url):
    with pytest.raises(InvalidOption, match=re.escape(f"base_url is {base_url!r}; it must look like")) as caught:
        Endpoint(base_url)
    assert caught.value.option == "base_url"


@pytest.mark.parametrize("end", ["?", "#", "?#", "/?", "/#", "?a", "#a", "?a#b"])
def test_a_base_url_ends_where_a_path_can_be_appended(end):
    """Behind a mere "?" or "#" a provider's path would be no path."""
    with pytest.raises(InvalidOption, match="query or fragment; provider paths can't be appended") as caught:
        Endpoint(f"https://parrot.example/v1{end}")
    assert caught.value.option == "base_url"


@pytest.mark.parametrize(
    "base_url",
    [
        *(f"http://me:{KEY}@a", f"http://{KEY}@a", f"http://a?key={KEY}", f"http://a#{KEY}", f"ftp://me:{KEY}@a"),
        *(
            f"me:{KEY}@a",
            f"http://me:x/{KEY}@a",
            f"a?key={KEY}",
            f"ftp://a#{KEY}",
            f"http://me:{KEY}@a b",
            f"http://a?{KEY}\n",
        ),
        f"http://me:{KEY}@a".encode(),
        URL(f"http://me:{KEY}@a"),
    ],
)
def test_a_base_url_with_credentials_or_a_query_is_refused_and_shows_none(base_url):
    with pytest.raises(InvalidOption, match="base_url") as caught:
        Endpoint(base_url)
    assert caught.value.option == "base_url"
    assert "MARKED" not in str(caught.value)


def test_the_repr_of_an_endpoint_shows_no_secret():
    endpoint = Endpoint("http://a/v1", Secret(KEY), {"X-Key": KEY})
    assert repr(endpoint) == "Endpoint(base_url='http://a/v1', api_key=Secret('***'), headers=<Headers X-Key>)"


def test_the_repr_of_a_request_shows_neither_query_nor_values_nor_body():
    request = Request("POST", f"http://a/b?key={KEY}#{KEY}", {"X-Key": KEY}, KEY.encode())
    assert repr(request) == "<Request POST http://a/b <Headers X-Key>>"


def test_rich_draws_a_request_by_its_fields_and_shows_as_little():
    request = Request.json("https://me:MARKED@a.example/say?key=MARKED", {"text": "MARKED"}, {"X-Key": "MARKED"})
    assert pretty_repr(request, max_width=1000) == (
        "Request(method='POST', url='https://a.example/say', headers=<Headers Content-Type, X-Key>, stream=True)"
    )


def test_a_json_request_posts_json():
    request = Request.json("http://a", {"text": "é😀"}, {"content-type": "application/jose", "X": "1"}, stream=False)
    assert (request.method, request.url, request.stream) == ("POST", "http://a", False)
    assert dict(request.headers) == {"content-type": "application/jose", "X": "1"}
    assert request.body == '{"text":"é😀"}'.encode()
    assert dict(Request.json("http://a", []).headers) == {"Content-Type": "application/json"}
    assert Request.json("http://a", []).stream


@pytest.mark.parametrize("value", [object, b"bytes", 2**70, "\ud83d", {5: 1}], ids=ascii)
def test_what_json_cant_hold_is_refused(value):
    with pytest.raises(InvalidOption, match="can't be written as JSON") as caught:
        Request.json("http://a", {"x": value})
    assert caught.value.option == "extra"


@pytest.mark.parametrize(
    ("headers", "content_type"),
    [
        ({}, ""),
        ({"content-type": "Text/HTML"}, "text/html"),
        ({"Content-Type": " application/JSON ; charset=utf-8"}, "application/json"),
    ],
)
def test_the_content_type_is_without_parameters_and_lower_case(headers, content_type):
    assert ResponseHead(200, headers).content_type == content_type


@pytest.mark.parametrize(
    ("headers", "framed"),
    [
        ({}, False),
        ({"content-length": "0"}, True),
        ({"Transfer-Encoding": "Chunked"}, True),
        ({"Transfer-Encoding": "gzip, chunked"}, True),
        ({"Transfer-Encoding": "gzip,CHUNKED "}, True),
        ([("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], True),
        ({"Transfer-Encoding": "gzip"}, False),
        ({"Transfer-Encoding": "x-chunked"}, False),
        ({"Transfer-Encoding": "chunkedfoo"}, False),
        ({"Transfer-Encoding": "chunked;q=1"}, False),
        ({"Transfer-Encoding": "chunked, gzip"}, False),
        ([("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")], False),
        ({"Transfer-Encoding": "identity", "Content-Length": "5"}, False),
        ({"Transfer-Encoding": ""}, False),
        ({"Content-Length": "5", "Content-Encoding": "gzip"}, False),
        ({"Transfer-Encoding": "chunked", "Content-Encoding": "br"}, False),
        ({"Content-Length": "5", "Content-Encoding": "Identity"}, True),
    ],
    ids=repr,
)
def test_a_body_is_framed_where_http_proves_its_end(headers, framed):
    assert ResponseHead(200, headers).framed is framed


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({}, None),
        ({"X-Request-ID": "1"}, "1"),
        ({"request-id": "2"}, "2"),
        ({"request-id": "2", "x-request-id": "1"}, "1"),
    ],
    ids=repr,
)
def test_the_request_id_is_read_from_the_headers_in_use(headers, request_id):
    assert ResponseHead(200, headers).request_id == request_id


def test_a_wrapper_transforms_every_batch_and_ends_with_its_decoder():
    class Loud(DecoderWrapper):
        def transform(self, events):
            return [TextDelta(event.text.upper()) if isinstance(event, TextDelta) else event for event in events]

    decoder = Loud(EventStream(lambda data, event: [TextDelta(data.decode()), Finish("stop")]))
    assert isinstance(decoder, Decoder)
    assert not decoder.ended
    assert decoder.feed(b"data: a\n\n") == [TextDelta("A")]
    assert decoder.ended
    assert decoder.close() == [Finish("stop")]


def test_a_wrapper_changes_nothing_by_itself():
    decoder = DecoderWrapper(JSONBody(lambda value: [TextDelta(value)]))
    assert decoder.feed(b'"a"') == []
    assert decoder.close() == [TextDelta("a"), Finish("stop")]
