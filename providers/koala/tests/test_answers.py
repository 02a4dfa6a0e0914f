"""What Koala answers, over real sockets: both shapes in every dialect, and all that is no answer."""

import json

import pytest
from asking import ask, failure
from cuts import whatever_the_cut
from loopback import chunked, http, serve
from providerkit_koala import Koala

import providerkit
from providerkit import ProviderData, ResponseHead, TextDelta

DIALECTS = ("api", "website", "messages")


def events(*data):
    """Make a body of server-sent events, each with this data."""
    return "".join("".join(f"data: {line}\n" for line in item.split("\n")) + "\n" for item in data).encode()


async def answered(answer, dialect="website"):
    async with serve(answer) as server:
        return await ask(server.base_url, Koala(dialect))


async def failed(kind, answer, dialect="website"):
    async with serve(answer) as server:
        return await failure(kind, ask(server.base_url, Koala(dialect)))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "text/plain"])
@pytest.mark.parametrize(
    "body", [events('"Hello"', '" you"'), b'{"output": "Hello you"}'], ids=["events", "one object"]
)
async def test_either_shape_is_an_answer_in_any_dialect(dialect, content_type, body):
    reply = await answered(http(body, content_type=content_type), dialect)
    assert (reply.text, reply.finish_reason, reply.proven) == ("Hello you", "stop", True)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (events('"a"\n"b"'), "ab"),
        (events('"a"\n\n"b"'), "ab"),
        (events('{"output":\n"a"}'), "a"),
        (events('"a"', "[DONE]", '"b"'), "a"),
        (b'data: "a"\ndata: "b"\ndata: [DONE]\n\n', "ab"),
        (events('{"output": "a"}', '"b"'), "ab"),
        (events('"a"', "", '"b"'), "ab"),
        (b': hello\n\ndata:"a"\r\n\r\nid: 7\rdata: "b"', "ab"),
        (b'data: "\xff\\ud83d"\n\n', "\ufffd\ufffd"),
        (events('"\\ud83d\\udc28"', '"🐨"'), "🐨🐨"),
        (events('""', '" "'), " "),
        (events('{"output": "a", "message": "done", "error": null}'), "a"),
    ],
    ids=[
        "one value a line",
        "blank lines between values",
        "one value over lines",
        "after [DONE]",
        "[DONE] without a blank line before it",
        "objects",
        "blank data",
        "comments, line ends and no last blank line",
        "no UTF-8, half a pair",
        "beyond the first plane",
        "white space",
        "an object that says more",
    ],
)
async def test_text_is_what_the_events_hold(dialect, body, text):
    assert (await answered(http(body), dialect)).text == text


@pytest.mark.parametrize(
    "data",
    ["Leaves.", " and bark", "one\ntwo", "two\n\nthree", "42\n43", "null", '{"a": 1}', '"open', '"a"\nb', "\n", "[1]"],
)
async def test_what_is_no_json_string_is_text_in_the_messages_dialect(data):
    assert (await answered(http(events('"I eat: "', data, "[DONE]")), "messages")).text == f"I eat: {data}"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_end_may_be_marked_as_often_as_it_likes(dialect):
    reply = await answered(http(b'data: "a"\n' + b"data: [DONE]\n" * 10_000 + b"\n"), dialect)
    assert (reply.text, reply.finish_reason) == ("a", "stop")


@pytest.mark.parametrize("dialect", ["api", "website"])
@pytest.mark.parametrize("value", [None, {"foo": 1}, 42])
async def test_an_answer_without_text_is_no_success(dialect, value):
    await failed(providerkit.UnexpectedContent, http(events(json.dumps(value))), dialect)


@pytest.mark.parametrize("dialect", ["api", "website"])
def test_what_such_an_answer_holds_is_given_before_the_error_whatever_the_cut(dialect):
    def take(pieces):
        decoder = Koala(dialect).parse_stream(ResponseHead(200))
        taken = []
        try:
            for piece in pieces:
                taken += decoder.feed(piece)
            taken += decoder.close()
        except providerkit.UnexpectedContent:
            return taken
        return "no error"

    for body in (events('{"foo": 1}', "7", "[DONE]"), events('{"foo": 1}', "7"), events('{"foo": 1}', "7\n[DONE]")):
        assert whatever_the_cut(take, body) == [ProviderData({"foo": 1}), ProviderData(7)]


@pytest.mark.parametrize("dialect", ["api", "website"])
@pytest.mark.parametrize(
    "value", [{"error": {}}, {"error": ""}, {"message": ""}, {"error": "no more leaves", "output": "p"}]
)
async def test_an_error_needs_no_words_to_be_one(dialect, value):
    for body in (events(json.dumps(value)), json.dumps(value).encode()):
        await failed(providerkit.ProviderError, http(body), dialect)


@pytest.mark.parametrize("dialect", ["api", "website"])
@pytest.mark.parametrize("data", ["Leaves.", '"open', '"a"\nb', "[DONE] ", "NaN"])
async def test_what_is_no_json_is_malformed_in_the_others(dialect, data):
    error = await failed(providerkit.StreamMalformed, http(events('"I eat: "', data, '"more"')), dialect)
    assert error.partial == "I eat: "


@pytest.mark.parametrize("dialect", ["api", "website"])
@pytest.mark.parametrize("value", [42, None, True, {"a": 1}, [1, "x"], [], {}, {"output": 5}, {"error": None}])
async def test_json_that_is_no_string_is_no_text_but_an_event_in_the_others(dialect, value):
    async with serve(http(events(json.dumps(value), '"text"'))) as server, providerkit.Client() as client:
        run = client.run("hi", provider=Koala(dialect), api_key="koala-key", base_url=server.base_url)
        assert [event async for event in run.events()][:-1] == [ProviderData(value), TextDelta("text")]
    assert run.reply.text == "text"


ERRORS = [
    ({"error": "no more leaves"}, None),
    ({"message": "no more leaves"}, None),
    ({"error": {"message": "no more leaves", "code": "tree_empty"}}, "tree_empty"),
    ({"error": {"message": "no more leaves", "code": 17}}, "17"),
    ({"error": "no more leaves", "code": "tree_empty"}, "tree_empty"),
    ({"statusCode": 429, "message": "no more leaves", "error": "Too Many Requests"}, None),
    ({"error": None, "message": "no more leaves"}, None),
    ({"error": {"reason": "no more leaves"}}, None),
    ({"error": "no more leaves", "output": ""}, None),
    ([{"error": "no more leaves"}], None),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shape", ["one object", "an event"])
@pytest.mark.parametrize(("value", "code"), ERRORS, ids=[json.dumps(value) for value, _ in ERRORS])
async def test_an_error_object_at_200_is_an_error(dialect, shape, value, code):
    body = json.dumps(value)
    answer = http(events(body)) if shape == "an event" else http(body.encode(), content_type="application/json")
    error = await failed(providerkit.ProviderError, answer, dialect)
    assert "no more leaves" in str(error)
    assert (error.status, error.code, error.provider) == (200, code, "koala")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_error_in_mid_answer_is_an_error_that_holds_the_text(dialect):
    error = await failed(providerkit.ProviderError, http(events('"I eat"', '{"error": "fell asleep"}')), dialect)
    assert ("fell asleep" in str(error), error.partial) == (True, "I eat")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "data",
    ["fell asleep", '"fell asleep"', '{"error": "fell asleep"}', '{"why": "fell asleep"}', '"fell asleep"\ndata: "a"'],
)
async def test_an_event_of_type_error_is_an_error_whatever_it_holds(dialect, data):
    error = await failed(providerkit.ProviderError, http(f"event: error\ndata: {data}\n\n".encode()), dialect)
    assert "fell asleep" in str(error)


DEEP = b"[" * 1015 + b"]" * 1015  # orjson reads 1024, and Python shows a thousand, less those of the stack


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("where", [b'{"error": %s}', b'{"message": %s}', b'{"error": {"message": "no", "code": %s}}'])
async def test_words_that_lie_too_deep_to_be_shown_are_an_error_like_any_other(dialect, where):
    body = where % DEEP
    for answer in (http(body, content_type="application/json"), http(b"data: " + body + b"\n\n")):
        assert len(str(await failed(providerkit.ProviderError, answer, dialect))) < 100
    assert len(str(await failed(providerkit.BadRequest, http(body, status=400), dialect))) < 100


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_event_of_type_error_may_lie_as_deep(dialect):
    await failed(providerkit.ProviderError, http(b"event: error\ndata: " + DEEP + b"\n\n"), dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (providerkit.UnexpectedContent, b"<!doctype html><title>Log in</title>"),
        (providerkit.UnexpectedContent, b"Leaves."),
        (providerkit.UnexpectedContent, b'{"text": "Leaves."}'),
        (providerkit.UnexpectedContent, b'{"output": null}'),
        (providerkit.UnexpectedContent, b"[]"),
        (providerkit.StreamTruncated, b""),
        (providerkit.StreamTruncated, b" \n"),
        (providerkit.StreamTruncated, b": wait\n\n"),
        (providerkit.StreamTruncated, b'{"output": "Lea'),
        (providerkit.StreamMalformed, b'{"output": Leaves}'),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else value.__name__,
)
async def test_a_body_that_is_no_answer_is_an_error_at_200(dialect, kind, body):
    error = await failed(kind, http(body, content_type="text/html"), dialect)
    assert error.partial == ""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, providerkit.ProviderError),
        (400, providerkit.BadRequest),
        (401, providerkit.AuthenticationError),
        (402, providerkit.QuotaExhausted),
        (403, providerkit.AuthenticationError),
        (404, providerkit.NotFound),
        (422, providerkit.BadRequest),
        (429, providerkit.RateLimited),
        (500, providerkit.ServerError),
        (503, providerkit.ServerError),
        (529, providerkit.Overloaded),
    ],
)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "no more leaves"}', "no more leaves"),
        (b'[{"error": {"message": "no more leaves"}}]', "no more leaves"),
        (b'{"error": "no more le', ""),
        (b"<html><h1>Bad Gateway</h1></html>", ""),
        (b'"no more leaves"', ""),
        (b"{}", ""),
        (b"", ""),
    ],
    ids=["an object", "in a list", "truncated", "html", "a string", "an empty object", "empty"],
)
async def test_a_status_that_is_no_success_is_its_error_in_koalas_words_where_it_has_some(
    dialect, status, kind, body, words
):
    error = await failed(kind, http(body, status=status, content_type="application/json", Retry_After="9"), dialect)
    assert str(error).startswith(f"koala: {status}: {words}")
    assert (error.status, error.retry_after, error.provider) == (status, 9, "koala")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("answer", "proven"),
    [
        (chunked(events('"Leaves."')), True),
        (http(events('"Leaves."')), True),
        (http(events('"Leaves."'), framed=False), False),
        (http(events('"Leaves."', "[DONE]"), framed=False), True),
        (http(b'{"output": "Leaves."}', framed=False), True),
    ],
    ids=["chunked", "with a length", "until the connection ends", "until [DONE]", "one object"],
)
async def test_the_end_is_proven_by_http_or_by_the_wire(dialect, answer, proven):
    reply = await answered(answer, dialect)
    assert (reply.text, reply.proven) == ("Leaves.", proven)


@pytest.mark.parametrize("cut", [b"", b"data: ", b'data: "and bark', b'data: "\xf0\x9f'])
async def test_a_cut_stream_is_truncated_and_holds_the_text(cut):
    async def answer(request, writer):
        writer.write(chunked(events('"Leaves, "') + cut, end=False))
        writer.close()

    error = await failed(providerkit.StreamTruncated, answer)
    assert error.partial == "Leaves, "


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_error_of_several_lines_is_that_of_the_first(dialect):
    answer = http(b'event: error\ndata: {"error": {"message": "no more leaves", "code": "eaten"}}\ndata: "a"\n\n')
    error = await failed(providerkit.ProviderError, answer, dialect)
    assert (str(error), error.code) == ("koala: 200: no more leaves", "eaten")
