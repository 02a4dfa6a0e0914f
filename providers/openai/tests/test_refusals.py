"""Errors, in every shape that services give them: typed by codes and status, in the service's words."""

import json

import pytest
from asking import ask, failure
from loopback import http, serve
from providerkit_openai import OpenAI

import providerkit

OPENAI_ERROR = {"message": "no more", "type": "invalid_request_error", "param": "model", "code": "bad_thing"}
TEXT = 'data: {"choices": [{"index": 0, "delta": {"content": "I think"}, "finish_reason": null}]}\n\n'


async def failed(kind, answer):
    async with serve(answer) as server:
        return await failure(kind, ask(server.base_url, OpenAI))


async def refused(kind, status, value, **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await failed(kind, http(body, status=status, **{"content_type": "application/json", **headers}))


SHAPES = {
    "OpenAI": ({"error": OPENAI_ERROR}, "bad_thing"),
    "a type without a code": ({"error": {"message": "no more", "type": "bad", "code": None}}, "bad"),
    "a code that is a number, as OpenRouter's": ({"error": {"message": "no more", "code": 400}}, "400"),
    "in a list, as Google's": ([{"error": {"message": "no more", "code": 400, "status": "INVALID"}}], "400"),
    "a bare string": ({"error": "no more"}, None),
    "a string with a code, as xAI's": ({"error": "no more", "code": "bad_thing"}, "bad_thing"),
    "vLLM": ({"object": "error", "message": "no more", "type": "BadRequestError", "code": 400}, "400"),
    "Mistral": ({"object": "error", "message": {"detail": "no more"}, "type": "bad", "code": None}, "bad"),
    "a detail": ({"detail": "no more"}, None),
    "a message": ({"message": "no more", "request_id": "r7"}, None),
    "a message beside an error that is null": ({"error": None, "message": "no more"}, None),
    "JSON text": ("no more", None),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
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
async def test_an_error_is_typed_by_its_status_in_any_shape(name, status, kind):
    value, code = SHAPES[name]
    error = await refused(kind, status, value, Retry_After="9", x_request_id="req_7")
    assert str(error).startswith(f"openai: {status}: no more")
    assert (error.status, error.code, error.provider) == (status, code, "openai")
    assert (error.request_id, error.retry_after) == ("req_7", 9)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"error": {"mess', "application/json"),
        (b"<h1>Bad</h1>", "text/html"),
        (b"", "text/plain"),
        (b"{}", "text/plain"),
    ],
    ids=["truncated", "html", "empty", "an empty object"],
)
async def test_an_error_without_words_has_those_of_its_status(body, content_type):
    error = await refused(providerkit.ServerError, 502, body, content_type=content_type)
    assert str(error) == "openai: 502: Bad Gateway"


async def test_plain_text_is_the_words():
    error = await refused(providerkit.AuthenticationError, 401, b"who are you?\n", content_type="text/plain")
    assert str(error) == "openai: 401: who are you?"


async def test_an_empty_error_is_one():
    assert str(await refused(providerkit.BadRequest, 400, {"error": {}})) == "openai: 400: an error without words"


async def test_what_a_validator_says_names_the_fields():
    detail = [
        {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"},
        {"type": "missing", "loc": ["body", "messages", 0], "msg": "Field required"},
        7,
    ]
    error = await refused(providerkit.BadRequest, 422, {"object": "error", "message": {"detail": detail}})
    words = "body.stream_options: Extra inputs are not permitted; body.messages.0: Field required"
    assert str(error) == f"openai: 422: {words}"


async def test_a_router_gives_the_words_of_the_service_behind_it():
    metadata = {"raw": "out of cheese", "provider_name": "Acme"}
    value = {"error": {"message": "Provider returned error", "code": 502, "metadata": metadata}}
    error = await refused(providerkit.ServerError, 502, value, x_generation_id="gen-7")
    assert (str(error), error.request_id) == ("openai: 502: Provider returned error: out of cheese", "gen-7")


@pytest.mark.parametrize("metadata", [7, {"raw": 7}, {"raw": {"error": "x"}}, ["flagged_input"], "flagged_input"])
async def test_an_error_may_hold_anything(metadata):
    value = {"error": {"message": "no more", "code": [1], "metadata": metadata, "request_id": 8}}
    error = await refused(providerkit.BadRequest, 400, value)
    assert (str(error), error.code, error.request_id) == ("openai: 400: no more", "[1]", None)


async def test_the_body_may_hold_the_name_of_the_request():
    error = await refused(providerkit.AuthenticationError, 401, {"message": "Unauthorized", "request_id": "r7"})
    assert error.request_id == "r7"


@pytest.mark.parametrize("field", ["code", "type"])
@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        *[
            (429, word, providerkit.QuotaExhausted)
            for word in (
                "insufficient_quota",
                "credit_balance_exhausted",
                "organization_spend_limit_exceeded",
                "project_spend_limit_exceeded",
                "organization_usage_limit_exceeded",
                "billing_hard_limit_reached",
                "billing_not_active",
                "enforced_spend_limit_reached",
            )
        ],
        (429, "rate_limit_exceeded", providerkit.RateLimited),
        (429, "slow_down", providerkit.RateLimited),
        (400, "context_length_exceeded", providerkit.ContextLengthExceeded),
        (400, "exceed_context_size_error", providerkit.ContextLengthExceeded),
        (400, "content_filter", providerkit.ContentFiltered),
        (400, "content_policy_violation", providerkit.ContentFiltered),
        (400, "rate_limit_exceeded", providerkit.BadRequest),
        (498, "capacity_exceeded", providerkit.Overloaded),
        (503, "overloaded_error", providerkit.Overloaded),
        (503, "slow_down", providerkit.ServerError),
    ],
)
async def test_a_code_says_more_than_the_status(field, status, word, kind):
    error = await refused(kind, status, {"error": {"message": "no more", field: word}})
    assert (error.status, error.code) == (status, word)


async def test_a_permanent_429_keeps_its_type_beside_the_code():
    value = {"error": {"message": "pay", "type": "insufficient_quota", "code": "anything"}}
    error = await refused(providerkit.QuotaExhausted, 429, value)
    assert error.code == "anything"


async def test_a_prompt_that_was_flagged_is_filtered():
    metadata = {"reasons": ["violence"], "flagged_input": "how to"}
    value = {"error": {"code": 403, "message": "flagged", "metadata": metadata}}
    await refused(providerkit.ContentFiltered, 403, value)


# Errors inside an answer whose status is good

INSIDE = {
    "D8 an error field": b'error: {"code":500,"message":"no more","type":"server_error"}\n\ndata: [DONE]\n\n',
    "D9 an error object": b'data: {"error":{"message":"no more","type":"server_error"}}\n\n',
    "D9 a bare string": b'data: {"error":"no more","type":"server_error"}\n\n',
    "D9 vLLM": b'data: {"object":"error","message":"no more","type":"server_error"}\n\n',
    "D10 OpenRouter": b'data: {"error":{"message":"no more","code":502},'
    b'"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}\n\n',
    "D10 in the choice": b'data: {"choices":[{"index":0,"error":{"message":"no more","code":"500"},"delta":{}}]}\n\n',
    "D11 event: error": b'event: error\ndata: {"error":{"message":"no more","type":"api_error"}}\n\n',
    "D11 without an envelope": b'event: error\ndata: {"message":"no more","type":"server_error"}\n\n',
}


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("before", ["", TEXT], ids=["at once", "after text"])
async def test_an_error_inside_an_answer_is_an_error_that_holds_the_text(name, before):
    error = await failed(providerkit.ServerError, http(before.encode() + INSIDE[name]))
    assert (str(error), error.status) == ("openai: 200: no more", 200)
    assert error.partial == ("I think" if before else "")


@pytest.mark.parametrize("data", ["no more", '"no more"', "{}", "null"])
async def test_an_event_of_type_error_is_one_whatever_it_holds(data):
    error = await failed(providerkit.ProviderError, http(f"event: error\ndata: {data}\n\n".encode()))
    assert str(error) == f"openai: 200: {'no more' if 'no' in data else 'an error without words'}"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"type": "invalid_request_error"}, providerkit.BadRequest),
        ({"code": "invalid_api_key"}, providerkit.AuthenticationError),
        ({"type": "permission_error"}, providerkit.AuthenticationError),
        ({"code": "model_not_found"}, providerkit.NotFound),
        ({"code": "rate_limit_exceeded"}, providerkit.RateLimited),
        ({"type": "overloaded_error"}, providerkit.Overloaded),
        ({"type": "service_unavailable"}, providerkit.ServerError),
        ({"type": "insufficient_quota"}, providerkit.QuotaExhausted),
        ({"code": "context_length_exceeded"}, providerkit.ContextLengthExceeded),
        ({"code": "content_filter"}, providerkit.ContentFiltered),
        ({"code": 402}, providerkit.QuotaExhausted),
        ({"code": 429}, providerkit.RateLimited),
        ({"code": "503", "type": "odd"}, providerkit.ServerError),
        ({"code": 7}, providerkit.ProviderError),
        ({}, providerkit.ProviderError),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value.__name__,
)
async def test_an_error_inside_an_answer_is_typed_by_its_codes(fields, kind):
    value = json.dumps({"error": {"message": "no more", **fields}})
    for body in (f"{TEXT}data: {value}\n\n", value):  # D14: a whole body, too
        error = await failed(kind, http(body.encode()))
        assert error.status == 200


async def test_an_object_at_200_that_only_has_a_message_is_an_error():
    error = await failed(
        providerkit.ProviderError, http(b'{"message": "out of order"}', content_type="application/json")
    )
    assert (str(error), error.status) == ("openai: 200: out of order", 200)


@pytest.mark.parametrize("nothing", [None, "", {}, False])
async def test_an_error_that_is_empty_beside_a_choice_is_none(nothing):
    choice = {"delta": {"content": "ok"}, "error": None, "finish_reason": "stop"}
    body = json.dumps({"error": nothing, "choices": [choice]})
    async with serve(http(f"data: {body}\n\n".encode())) as server:
        assert (await ask(server.base_url, OpenAI)).text == "ok"


# How long to wait


@pytest.mark.parametrize(
    ("headers", "words", "seconds"),
    [
        ({}, "Please try again in 5.289s. Visit", 5.289),
        ({}, "Please try again in 6m0s.", 360),
        ({}, "try again in 1h2m3s", 3723),
        ({}, "try again in 12ms", 0.012),
        ({}, "try again in a while", None),
        ({"Retry_After": "7"}, "try again in 5s", 7),
        ({"retry_after_ms": "500"}, "try again in 5s", 0.5),
        ({"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "1m2s"}, "", 62),
        (
            {
                "x_ratelimit_remaining_requests": "0",
                "x_ratelimit_reset_requests": "2s",
                "x_ratelimit_remaining_tokens": "0",
                "x_ratelimit_reset_tokens": "3s",
            },
            "try again in 5s",
            3,
        ),
        ({"x_ratelimit_remaining_tokens": "9", "x_ratelimit_reset_tokens": "3s"}, "", None),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "-1"}, "try again in 5s", 5),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "7s and more"}, "", None),
    ],
    ids=str,
)
async def test_how_long_to_wait_is_said_by_headers_else_by_a_sentence(headers, words, seconds):
    error = await refused(providerkit.RateLimited, 429, {"error": {"message": words or "no"}}, **headers)
    assert error.retry_after == seconds


async def test_other_errors_do_not_say_when_to_try_again():
    error = await refused(providerkit.BadRequest, 400, {"error": {"message": "try again in 5s"}})
    assert error.retry_after is None
