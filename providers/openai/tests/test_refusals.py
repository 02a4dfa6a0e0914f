"""Errors, in every shape that services give them: typed by codes and status, in the service's words."""

import json

import pytest
from asking import ask, failure
from loopback import http, serve
from providerkit_openai import OpenAI

import providerkit

DATE = "Thu, 26 Nov 2026 12:00:00 GMT"
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
    "MiniMax": ({"choices": None, "base_resp": {"status_code": 2013, "status_msg": "no more"}}, "2013"),
    "a word of another name": ({"error_type": "bad", "error_code": 7, "error_message": "no more"}, "7"),
    "a type, and a word of another name": ({"error_type": "bad", "error_msg": "no more"}, "bad"),
    "Cloudflare": ({"success": False, "errors": [{"code": 7, "message": "no more"}]}, "7"),
    "a short name": ({"code": "bad", "msg": "no more"}, "bad"),
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
        (b"5", "application/json"),
    ],
    ids=["truncated", "html", "empty", "an empty object", "a number"],
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
                "exceeded_current_quota_error",
                "insufficient_balance",
                "1113",
            )
        ],
        (429, "rate_limit_exceeded", providerkit.RateLimited),
        (429, "slow_down", providerkit.RateLimited),
        (429, "rate_limit_reached_error", providerkit.RateLimited),
        (400, "Arrearage", providerkit.QuotaExhausted),
        (400, "data_inspection_failed", providerkit.ContentFiltered),
        (400, "1261", providerkit.ContextLengthExceeded),
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
    "a code and words": b'data: {"code":500,"message":"no more"}\n\n',
    "a code that is a word": b'data: {"code":"internal_error","message":"no more","request_id":"r"}\n\n',
    "a type and words": b'data: {"type":"server_error","message":"no more"}\n\n',
    "a status and words": b'data: {"status":500,"message":"no more"}\n\n',
    "Anthropic's type": b'data: {"type":"error","error":{"type":"api_error","message":"no more"}}\n\n',
    "error_message": b'data: {"choices":null,"error_type":"InternalServerError","error_message":"no more"}\n\n',
    "MiniMax": b'data: {"choices":null,"base_resp":{"status_code":1013,"status_msg":"no more"}}\n\n',
    "in an event that was not finished": b'data: {"id":"c","choices":[{"delta":{"content":"Hel'
    b'{"error":{"message":"no more","code":500}}\n\n',
    "in an event that was not finished, on a line of its own": b'data: {"id":"c","choi\n'
    b'data: {"error":{"message":"no more","code":500}}\n\n',
    "after an event that was not finished": b'data: {"id":"c","choices":[{"del\n\n'
    b'data: {"error":{"message":"no more","code":500}}\n\n',
    "in an event of type error after one that was not finished": b'data: {"id":"c"\n\n'
    b'event: error\ndata: {"error":{"message":"no more","code":500}}\n\n',
    "in an event that was not finished, after it": b'data: {"id":"c"\n\n'
    b'data: {"id":"c","choi{"error":{"message":"no more","code":500}}\n\n',
    "in an event that never ends": b'data: {"id":"c","choices":[{"del{"error":{"message":"no more","code":500}}',
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


MINIMAX = {1002: providerkit.RateLimited, 1004: providerkit.AuthenticationError, 1008: providerkit.QuotaExhausted} | {
    1027: providerkit.ContentFiltered,
    2013: providerkit.BadRequest,
    1033: providerkit.ServerError,
    7: providerkit.ProviderError,
}


@pytest.mark.parametrize("code", MINIMAX)
async def test_minimax_refuses_by_number_at_a_good_status(code):
    value = json.dumps({"id": "x", "choices": None, "base_resp": {"status_code": code, "status_msg": "no more"}})
    for body in (value, f"data: {value}\n\n"):
        error = await failed(MINIMAX[code], http(body.encode()))
        assert (str(error), error.code) == ("openai: 200: no more", str(code))


@pytest.mark.parametrize(
    "fine",
    [
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"base_resp": None, "error_message": "", "error_msg": None},
        {"code": 0, "message": "success"},
        {"code": 500, "message": "all is well, as there is a choice"},
    ],
    ids=str,
)
async def test_what_says_that_all_is_well_is_no_error(fine):
    body = json.dumps({"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}], **fine})
    empty = json.dumps({"choices": [], **fine, **({"code": "200"} if "code" in fine else {})})
    async with serve(http(f"data: {body}\n\ndata: {empty}\n\n".encode())) as server:
        assert (await ask(server.base_url, OpenAI)).text == "ok"


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"id":"c"{"type":"note"}\n\n',
        b'data: {"id":"c"\n\n',
        b'data: {"id":"c"\n\n' + TEXT.encode(),
        b'data: {"a\n\n' * 2,
    ],
)
async def test_a_broken_event_that_nothing_explains_is_malformed(broken):
    for body in (TEXT.encode() * 2 + broken, TEXT.encode() * 2 + broken + b"data: [DONE]\n\n"):
        error = await failed(providerkit.StreamMalformed, http(body))
        assert error.partial == "I think" * 2


# A chat that is too long, by words alone

TOO_LONG = [
    "This model's maximum context length is 32768 tokens. However, you requested 41648 tokens (37552 in the messages).",
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 150000 tokens.",
    "Please reduce the length of the messages or completion.",
    "Prompt contains 70000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 and 512",
    "The prompt is too long: 40000, model maximum context length: 32768",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "the request exceeds the available context size, try increasing it",
    "Trying to keep the first 5000 tokens when context the overflows.",
    "prompt is too long: 201000 tokens > 200000 maximum",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Invalid request: Your request exceeded model token limit: 131072",
    "invalid params, context window exceeds limit (2013)",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
]


@pytest.mark.parametrize("words", TOO_LONG)
@pytest.mark.parametrize("status", [200, 400, 413, 422, 500])
async def test_words_say_that_a_chat_is_too_long_where_no_code_does(status, words):
    error = await refused(providerkit.ContextLengthExceeded, status, {"error": {"message": words, "code": 400}})
    assert (str(error), error.status, error.code) == (f"openai: {status}: {words}", status, "400")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, providerkit.AuthenticationError),
        (402, providerkit.QuotaExhausted),
        (404, providerkit.NotFound),
        (429, providerkit.RateLimited),
    ],
)
async def test_another_status_says_more_than_these_words(status, kind):
    await refused(kind, status, {"error": {"message": TOO_LONG[0]}})


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
        ({}, "Please retry in 10h17m5.7s", 37025.7),
        ({}, "Please retry in 36.5s.", 36.5),
        ({}, "Please retry after 26 seconds.", 26),
        ({}, "reached max request: 3, please try again after 1 seconds", 1),
        ({}, "Rate limited. Wait 2 minutes and 5 secs before you ask", 125),
        ({}, "Your quota will reset after 1 day, 2 hours", 93600),
        ({}, "Retry your request after 500 milliseconds", 0.5),
        ({}, "TRY AGAIN IN 20S", 20),
        ({}, "Try again at 10. You have 5 messages", None),
        ({}, "Limit 3 / 5m, retry later", None),
        ({"Retry_After": "6m0s"}, "", 360),
        ({"Retry_After": "soon"}, "try again in 5s", 5),
        ({"x_ratelimit_reset": "12ms"}, "", 0.012),
        ({"x_ratelimit_reset": "7"}, "", 7),
        ({"x_ratelimit_reset": "7.5"}, "try again in 5s", 7.5),
        ({"x_ratelimit_reset": "7", "x_ratelimit_remaining": "3"}, "", None),
        ({"ratelimit_reset": "7", "ratelimit_remaining": "0"}, "", 7),
        ({"x_ratelimit_reset_tokens_day": "9.5", "x_ratelimit_remaining_tokens_day": "0"}, "", 9.5),
        ({"Date": DATE, "x_ratelimit_reset": "1795694520"}, "", 120),
        ({"Date": DATE, "x_ratelimit_reset": "1795694520500"}, "", 120.5),
        ({"Date": DATE, "x_ratelimit_reset": "2026-11-26T12:02:00Z"}, "", 120),
        ({"Date": DATE, "x_ratelimit_reset": "2026-11-26T12:02:00"}, "", 120),
        ({"Date": DATE, "x_ratelimit_reset": "1795690000"}, "", 0),
        ({"x_ratelimit_reset": "9999-99-99"}, "", None),
    ],
    ids=str,
)
async def test_how_long_to_wait_is_said_by_headers_else_by_a_sentence(headers, words, seconds):
    error = await refused(providerkit.RateLimited, 429, {"error": {"message": words or "no"}}, **headers)
    assert error.retry_after == seconds


IN_THE_BODY = {
    "RetryInfo": (
        [{"error": {"message": "no", "details": [7, {"@type": "QuotaFailure"}, {"retryDelay": "36.5s"}]}}],
        36.5,
    ),
    "a router's metadata": ({"error": {"message": "no", "metadata": {"headers": {"X-RateLimit-Reset": "7"}}}}, 7),
    "its Retry-After": ({"error": {"message": "no", "metadata": {"headers": {"Retry-After": 9}}}}, 9),
    "its moment": ({"error": {"message": "no", "metadata": {"headers": {"X-RateLimit-Reset": 1795694520000}}}}, 120),
    "metadata that is none": ({"error": {"message": "no", "metadata": {"headers": 7}, "details": 7}}, None),
}


@pytest.mark.parametrize("name", IN_THE_BODY)
async def test_how_long_to_wait_may_stand_in_the_body(name):
    value, seconds = IN_THE_BODY[name]
    error = await refused(providerkit.RateLimited, 429, value, Date=DATE)
    assert error.retry_after == seconds


async def test_a_server_that_has_failed_may_say_when_to_try_again():
    error = await refused(providerkit.ServerError, 503, {"error": {"message": "Loading, try again in 20s"}})
    assert error.retry_after == 20


async def test_other_errors_do_not_say_when_to_try_again():
    error = await refused(providerkit.BadRequest, 400, {"error": {"message": "try again in 5s"}})
    assert error.retry_after is None
