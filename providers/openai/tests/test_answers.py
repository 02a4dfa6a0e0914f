"""What comes back, over real sockets and cut anywhere: the recorded shapes of many servers, and what is no answer."""

import json

import pytest
from asking import ask, failure
from cuts import unhurried, whatever_the_cut
from hypothesis import given, strategies as st
from loopback import chunked, http, serve
from providerkit_openai import Dialect, OpenAI

import providerkit
from providerkit import (
    Answered,
    Finish,
    Headers,
    ProviderData,
    ProviderKitError,
    ReasoningDelta,
    ResponseHead,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from providerkit.chat.replies import Transcript

STREAM = ResponseHead(200, Headers({"Content-Type": "text/event-stream"}))


def chunk(delta=None, finish=None, index=0, **fields):
    """Make one chunk, as JSON."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 0, "choices": [choice], **fields})


def events(*data):
    """Make a body of server-sent events, each with this data."""
    return "".join(f"data: {item}\n\n" for item in data).encode()


def text(words):
    return chunk({"content": words})


def calls(*entries):
    return chunk({"tool_calls": list(entries)})


def call(arguments=None, **fields):
    """Make a piece of a tool call; a `name` belongs to its function."""
    function = {"arguments": arguments} | ({"name": fields.pop("name")} if "name" in fields else {})
    return {**fields, "function": function}


STOP = chunk(finish="stop")
HELLO = [text("Hel"), text("lo")]


def decoded(body, dialect=None, head=STREAM):
    """Give the events of a body, the same wherever it is cut, and the error that ends them."""

    def take(pieces):
        decoder = (OpenAI(dialect) if dialect else OpenAI()).parse_stream(head)
        found = []
        try:
            for piece in pieces:
                if not (found and type(found[-1]) is Finish):
                    found += decoder.feed(piece)
            if not (found and type(found[-1]) is Finish):
                found += decoder.close()
        except ProviderKitError as error:
            return found, (type(error), str(error))
        return found, None

    return whatever_the_cut(take, body)


def good(body, dialect=None):
    found, error = decoded(body, dialect)
    assert error is None
    return found


def joined(body, dialect=None):
    """Give the text, the reasoning and the finish reason of a good answer."""
    found = good(body, dialect)
    said = "".join(event.text for event in found if type(event) is TextDelta)
    return said, "".join(event.text for event in found if type(event) is ReasoningDelta), found[-1].reason


async def answered(answer, provider=OpenAI, **options):
    async with serve(answer) as server:
        return await ask(server.base_url, provider, **options)


async def failed(kind, answer, provider=OpenAI):
    async with serve(answer) as server:
        return await failure(kind, ask(server.base_url, provider))


OPENAI = events(
    chunk({"role": "assistant", "content": "", "refusal": None}, usage=None, obfuscation="x7"),
    *HELLO,
    chunk(finish="stop"),
    json.dumps(
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 11,
                "completion_tokens": 5,
                "total_tokens": 16,
                "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
        }
    ),
    "[DONE]",
)


def test_a_stream_of_openais_is_text_usage_and_the_end():
    assert good(OPENAI) == [TextDelta("Hel"), TextDelta("lo"), Usage(11, 5, 8, 2, 3), Finish("stop", raw="stop")]


async def test_a_reply_says_what_was_used_and_under_which_name():
    reply = await answered(chunked(OPENAI[:70], OPENAI[70:]))
    assert (reply.text, reply.finish_reason, reply.proven, reply.usage) == (
        "Hello",
        "stop",
        True,
        Usage(11, 5, 8, 2, 3),
    )
    reply = await answered(http(OPENAI, x_request_id="req_7"))
    assert reply.request_id == "req_7"


# What real servers send. The numbers are those of our notes on them.
AZURE = json.dumps({"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]})
DEVIATIONS = {
    "D1 no space after the colon": events(*HELLO, STOP).replace(b"data: ", b"data:"),
    "D2 JSON on the next line": b"data:\n " + text("Hello").encode() + b"\n\n" + events(STOP),
    "D3 comments as keep-alives": b": OPENROUTER PROCESSING\n\n: keep-alive\n\n: ping\n" + events(*HELLO, STOP),
    "D4 a comment and no blank line before [DONE]": events(*HELLO)
    + f"data: {STOP}\n: cost=1\ndata: [DONE]\n\n".encode(),
    "D4 no blank lines at all": b"".join(f"data: {item}\n".encode() for item in (*HELLO, STOP, "[DONE]")),
    "D5 CRLF": events(*HELLO, STOP, "[DONE]").replace(b"\n", b"\r\n"),
    "D5 CR": events(*HELLO, STOP, "[DONE]").replace(b"\n", b"\r"),
    "D6 no blank line at the end": events(*HELLO, STOP, "[DONE]").removesuffix(b"\n\n"),
    "D6 no blank line after the last chunk": events(*HELLO, STOP).removesuffix(b"\n\n"),
    "D7 no [DONE]": events(*HELLO, STOP),
    "D7 a space after [DONE]": events(*HELLO, "[DONE] "),
    "D12 pings and empty data": b"event: ping\ndata: {}\n\nevent: ping\ndata: 12:00\n\nevent: ping\ndata\n\n"
    b"data:\n\ndata: \n\nevent: note\ndata:  \n\n" + events(*HELLO, STOP),
    "D15 Azure's chunks without a choice, and choices without a delta": events(
        AZURE,
        *HELLO,
        STOP,
        json.dumps({"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]}),
    ),
    "D17 no finish reason, but [DONE]": events(*HELLO, "[DONE]"),
    "D17 an empty finish reason": events(*HELLO, chunk(finish=""), "[DONE]"),
    "D20 a content of parts": events(
        chunk({"content": [{"type": "text", "text": "Hel"}, {"type": "reference", "reference_ids": [1]}]}),
        chunk({"content": [{"type": "text", "text": "lo"}]}),
        STOP,
    ),
    "D21 an empty role, a refusal that is false": events(
        chunk({"role": "", "content": "Hello", "refusal": False}, created=0), STOP
    ),
    "D23 what nobody knows": events(
        chunk({"content": "Hello", "audio": {"id": "a"}}, service_tier="flex", obfuscation="zz"),
        chunk(finish="stop", x=[1]),
    ),
    "D25 a byte order mark": b"\xef\xbb\xbf" + events(*HELLO, STOP),
    "llama.cpp: content null first, timings last": events(
        chunk({"role": "assistant", "content": None}), *HELLO, chunk(finish="stop", timings={"predicted_n": 2})
    ),
    "several choices": events(
        chunk({"content": "Hello"}), chunk({"content": "no"}, index=1), chunk(finish="length", index=1), STOP
    ),
    "two finish reasons, text after the first": events(text("Hel"), STOP, text("lo"), chunk(finish="length")),
    "data after [DONE]": events(*HELLO, "[DONE]", text("no"), "junk"),
    "junk where the wire has lists and objects": events(
        json.dumps({"choices": 5}),
        json.dumps({"choices": [None, 5, "x", {"delta": 5}, {"delta": {"content": 5, "tool_calls": 5}}]}),
        text("Hello"),
        chunk(finish=5),
        STOP,
    ),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_server_may_depart_from_the_wire(name):
    assert joined(DEVIATIONS[name]) == ("Hello", "", "stop")


def test_line_separators_of_unicode_are_text():
    """D18: they are no line ends of server-sent events, nor of JSON."""
    raw = json.dumps(
        {"choices": [{"delta": {"content": "a\u2028b\u2029c\x85d"}, "finish_reason": "stop"}]}, ensure_ascii=False
    )
    assert joined(events(raw)) == ("a\u2028b\u2029c\x85d", "", "stop")


@pytest.mark.parametrize(
    ("deltas", "thought", "said"),
    [
        ([{"reasoning_content": "Hm"}, {"reasoning_content": "m."}, {"content": "Hello"}], "Hmm.", "Hello"),
        ([{"reasoning": "Hmm.", "content": ""}, {"content": "Hello"}], "Hmm.", "Hello"),
        ([{"reasoning": "Hmm.", "reasoning_content": "Hmm.", "content": "Hello"}], "Hmm.", "Hello"),
        ([{"reasoning": None, "reasoning_content": "", "content": "Hello"}], "", "Hello"),
        ([{"reasoning_details": [{"type": "reasoning.encrypted"}], "content": "Hello"}], "", "Hello"),
        ([{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}]}], "Hmm.", ""),
        ([{"content": [{"type": "thinking", "thinking": "Hmm."}, {"type": "text", "text": "Hi"}]}], "Hmm.", "Hi"),
        ([{"content": "<think>Hmm.</think>Hello"}], "", "<think>Hmm.</think>Hello"),
    ],
    ids=["reasoning_content", "reasoning", "both", "neither", "details", "parts", "a part", "in the text"],
)
def test_reasoning_goes_by_many_names(deltas, thought, said):
    """D20, D21."""
    assert joined(events(*map(chunk, deltas), STOP)) == (said, thought, "stop")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("error", "error"),
        ("insufficient_system_resource", "error"),
        ("abort", "other"),
        # Gateways pass on what the service behind them says.
        *[(said, "stop") for said in ("STOP", "end", "end_turn", "eos_token", "stop_sequence", "COMPLETE")],
        *[(said, "length") for said in ("MAX_TOKENS", "max_tokens", "Length", "max_output_tokens")],
        *[(said, "length") for said in ("model_context_window_exceeded", "FinishReason.MAX_TOKENS")],
        *[(said, "tool_calls") for said in ("tool_use", "TOOL_CALLS")],
        *[(said, "content_filter") for said in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")],
        *[(said, "content_filter") for said in ("MODEL_ARMOR", "IMAGE_SAFETY", "JAILBREAK", "refusal", "sensitive")],
        *[(said, "pause") for said in ("pause_turn", "CONTINUATION")],
        *[(said, "error") for said in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "ERROR")],
        *[(said, "other") for said in ("LANGUAGE", "OTHER", "NO_IMAGE", "load")],
    ],
)
def test_finish_reasons_are_those_of_every_provider(said, reason):
    body = events(text("Hello"), chunk(finish=said))
    assert joined(body) == ("Hello", "", reason)
    assert good(body)[-1].raw == said


@pytest.mark.parametrize("said", ["null", "None", "FINISH_REASON_UNSPECIFIED", ""])
def test_a_reason_that_is_none_yet_ends_nothing(said):
    assert joined(events(chunk({"content": "Hel"}, said), text("lo"), chunk(finish="length"))) == (
        "Hello",
        "",
        "length",
    )


def test_a_refusal_is_text_of_an_answer_that_was_filtered():
    assert joined(events(chunk({"refusal": "I can"}), chunk({"refusal": "not."}), STOP)) == (
        "I cannot.",
        "",
        "content_filter",
    )


# Tool calls

TWO = [ToolCall("call_a", "weather", '{"city":"Rome"}'), ToolCall("call_b", "time", "{}")]
CALLS = {
    "split": [
        calls(call("", index=0, id="call_a", type="function", name="weather")),
        calls(call('{"city"', index=0)),
        calls(call(':"Rome"}', index=0)),
        calls(call("{}", index=1, id="call_b", name="time")),
    ],
    "in parallel": [
        calls(call('{"city":', index=0, id="call_a", name="weather"), call("{", index=1, id="call_b", name="time")),
        calls(call("}", index=1), call('"Rome"}', index=0)),
    ],
    "D19 without an index": [
        calls(call('{"city":"Rome"}', id="call_a", name="weather")),
        calls(call("{}", id="call_b", name="time")),
    ],
    "D19 without an index, split": [
        calls(call('{"city":', id="call_a", name="weather")),
        calls(call('"Rome"', id="call_a", name="weather")),
        calls(call("}")),
        calls(call("{}", id="call_b", name="time")),
    ],
    "D19 an index that is the same for all": [
        calls(call('{"city":"Rome"}', index=0, id="call_a", name="weather")),
        calls(call("{}", index=0, id="call_b", name="time")),
    ],
    "D19 without an index, the names later": [
        calls(call(None, id="call_a")),
        calls(call('{"city":"Rome"}', id="call_a", name="weather")),
        calls(call("{", id="call_b")),
        calls(call("}", id="call_b", name="time")),
    ],
    "D19 an index that is the same for all, and no ids at first": [
        calls(call('{"city":"Rome"}', index=0, name="weather")),
        calls(call("", index=0, id="call_a")),
        calls(call("{}", index=0, name="time")),
        calls(call("", index=0, id="call_b")),
    ],
    "D19 the name repeated without its id": [
        calls(call('{"city":', index=0, id="call_a", name="weather")),
        calls(call('"Rome"}', index=0, id="", name="weather")),
        calls(call("{}", index=1, id="call_b", name="time")),
    ],
    "D19 ids repeated or empty": [
        calls(call('{"city":', index=0, id="call_a", name="weather")),
        calls(call('"Ro', index=0, id="call_a", name="weather")),
        calls(call('me"}', index=0, id="", name="")),
        calls(call("{}", index=1, id="call_b", name="time")),
    ],
    "ids that are new in every piece": [
        calls(call('{"city":', index=0, id="call_a", name="weather")),
        calls(call('"Rome"}', index=0, id="random")),
        calls(call("{}", index=1, id="call_b", name="time")),
    ],
    "D19 the name in a later piece": [
        calls(call(None, index=0, id="call_a")),
        calls(call('{"city":"Rome"}', index=0, name="weather")),
        calls(call("{}", index=1, id="call_b", name="time")),
    ],
    "the name in a later piece, without an index": [
        calls(call(None, id="call_a")),
        calls(call('{"city":"Rome"}', name="weather")),
        calls(call("{}", id="call_b", name="time")),
    ],
    "D19 arguments null, then an object": [
        calls(call(None, index=0, id="call_a", name="weather")),
        calls(call({"city": "Rome"}, index=0)),
        calls(call({}, index=1, id="call_b", name="time")),
    ],
    "indices that do not begin with 0": [
        calls(call('{"city":"Rome"}', index=3, id="call_a", name="weather")),
        calls(call("{}", index=7, id="call_b", name="time")),
    ],
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("end", ["tool_calls", "stop", None])
def test_pieces_of_tool_calls_find_each_other(name, end):
    """And a call that ends in "stop", or just in [DONE], is one, too."""
    last = [] if end is None else [chunk(finish=end)]
    body = events(*CALLS[name], *last, "[DONE]")
    found = good(body)
    assert found[-1] == Finish("tool_calls", raw=end)
    transcript = Transcript()
    transcript.add(found)
    assert list(transcript.reply().tool_calls) == TWO


@pytest.mark.parametrize(
    "entries",
    [
        [calls(call('{"a":1}', name="look"), call('{"a":2}', name="look"))],
        [calls(call('{"a":1}', id="", name="look")), calls(call('{"a":2}', id="", name="look"))],
        [calls(call({"a": 1}, index=0, name="look")), calls(call({"a": 2}, index=1, name="look"))],
    ],
    ids=["in one chunk", "in two", "with an index"],
)
def test_calls_without_an_id_are_left_to_the_core(entries):
    """By the core: the message that answers a call names it."""
    assert good(events(*entries, chunk(finish="tool_calls"))) == [
        ToolCallDelta(0, "", "look", '{"a":1}'),
        ToolCallDelta(1, "", "look", '{"a":2}'),
        Finish("tool_calls", raw="tool_calls"),
    ]


def test_another_id_at_the_same_index_is_another_call_of_the_same_tool():
    pieces = good(events(*(calls(call("{}", index=0, id=name, name="look")) for name in "ab"), STOP))[:-1]
    assert [(piece.index, piece.id) for piece in pieces] == [(0, "a"), (1, "b")]


def test_pieces_of_odd_types_are_pieces_all_the_same():
    odd = [5, {"function": 5, "id": 5}, {"index": [1], "function": {"name": 5, "arguments": 7}}]
    assert good(events(calls(*odd), STOP)) == [
        ToolCallDelta(0, arguments="7"),
        Finish("tool_calls", raw="stop"),
    ]


def test_a_function_call_is_a_tool_call():
    pieces = [{"function_call": {"name": "look", "arguments": "{"}}, {"function_call": {"arguments": "}"}}]
    assert good(events(*map(chunk, pieces), chunk(finish="function_call"))) == [
        ToolCallDelta(0, "", "look", "{"),
        ToolCallDelta(0, "", "", "}"),
        Finish("tool_calls", raw="function_call"),
    ]


# Usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, [Usage(3, 4)]),
        ({"prompt_tokens": 3, "prompt_cache_hit_tokens": 2, "prompt_cache_miss_tokens": 1}, [Usage(3, None, 2)]),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "total_tokens": 12,
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            [Usage(3, 9, reasoning_tokens=5)],
        ),
        ({"prompt_tokens": -1, "completion_tokens": "4"}, []),
        ({"prompt_tokens": True, "completion_tokens": 1.5, "prompt_tokens_details": 7}, []),
        ({"prompt_tokens_details": None, "completion_tokens_details": {}}, []),
        (None, []),
        ({}, []),
        ("many", []),
    ],
    ids=[
        "plain",
        "DeepSeek",
        "xAI counts reasoning apart",
        "negative, text",
        "odd types",
        "empty",
        "null",
        "{}",
        "text",
    ],
)
def test_usage_is_what_is_counted(usage, expected):
    """D16: it comes in a chunk of its own, in the last, or in every one."""
    for body in (
        events(text("Hello"), STOP, json.dumps({"choices": [], "usage": usage}), "[DONE]"),
        events(text("Hello"), chunk(finish="stop", usage=usage), "[DONE]"),
    ):
        assert good(body) == [TextDelta("Hello"), *expected, Finish("stop", raw="stop")]


async def test_the_last_of_many_usages_counts():
    counted = [chunk({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": count}) for count in (1, 2)]
    assert (await answered(http(events(*counted, STOP)))).usage == Usage(1, 2)


PLACES = {
    "in a choice, as Moonshot's": lambda usage: [json.dumps({"choices": [{"finish_reason": "stop", "usage": usage}]})],
    "in a delta": lambda usage: [chunk({"usage": usage}, "stop")],
    "in x_groq": lambda usage: [chunk(finish="stop", x_groq={"id": "r", "usage": usage})],
    "after [DONE]": lambda usage: [STOP, "[DONE]", json.dumps({"choices": [], "usage": usage})],
    "after [DONE], more than once": lambda usage: [STOP, "[DONE]", *[json.dumps({"usage": usage})] * 2],
    "after [DONE], between junk": lambda usage: [
        STOP,
        "[DONE]",
        "junk",
        text("no"),
        json.dumps({"usage": usage}),
        "[]",
    ],
}


@pytest.mark.parametrize("place", PLACES)
def test_usage_is_found_wherever_it_stands(place):
    body = events(text("Hello"), *PLACES[place]({"prompt_tokens": 3, "completion_tokens": 4, "cached_tokens": 2}))
    assert good(body) == [TextDelta("Hello"), Usage(3, 4, 2), Finish("stop", raw="stop")]


async def test_usage_may_come_after_the_mark_in_bytes_of_its_own():
    late = events(json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}))
    assert (await answered(chunked(events(*HELLO, STOP, "[DONE]"), late))).usage == Usage(3, 4)


def test_an_error_after_the_mark_is_none():
    assert good(events(*HELLO, STOP, "[DONE]") + b"event: error\ndata: late\n\n")[-1] == Finish("stop", raw="stop")


# Who answers, and what is not text


def test_the_model_that_answers_is_told_whenever_that_is_news():
    models = [None, "", "auto", "grey", "grey", "grey", "brown"]
    found = good(events(*(chunk({"content": "a"}, model=model) for model in models), chunk(finish="stop", model=5)))
    assert [event for event in found if type(event) is Answered] == [Answered(model, "c") for model in models[2:4]] + [
        Answered("brown", "c")
    ]


@pytest.mark.parametrize("whole", [False, True])
async def test_the_model_of_a_reply_is_the_one_that_answered(whole):
    choice = {"index": 0, "message" if whole else "delta": {"content": "ok"}, "finish_reason": "stop"}
    body = json.dumps({"id": "gen-7", "model": "grey-2026", "choices": [choice]}).encode()
    reply = await answered(http(body if whole else events(body.decode())), model="grey")
    assert (reply.text, reply.model, reply.attempts[0].route) == ("ok", "grey-2026", "openai/grey")


def test_who_answers_is_not_said_before_anybody_does():
    """So that the body of an answer without a choice can still be explained."""
    assert decoded(events(json.dumps({"model": "grey", "choices": []}))) == (
        [],
        (providerkit.StreamTruncated, "the answer stopped before its wire said the end"),
    )


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
CITED = [{"type": "url_citation", "url_citation": {"url": "https://x.example"}}]
DATA = {
    "images of a delta": ([chunk({"content": "", "images": [PICTURE]})], [{"images": [PICTURE]}]),
    "annotations of a delta": ([chunk({"annotations": CITED, "content": "a"})], [{"annotations": CITED}]),
    "audio of a delta": ([chunk({"audio": {"id": "a", "data": "UklG"}})], [{"audio": {"id": "a", "data": "UklG"}}]),
    "an image in the content": ([chunk({"content": [PICTURE, {"type": "text", "text": "a"}]})], [PICTURE]),
    "citations of every chunk": (
        [chunk({"content": "a"}, citations=["https://x"])] * 3,
        [{"citations": ["https://x"]}],
    ),
    "citations that grow": (
        [chunk({"content": "a"}, citations=["x"] * count) for count in (1, 2)],
        [{"citations": ["x"]}, {"citations": ["x", "x"]}],
    ),
    "probabilities": (
        [json.dumps({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [1]}}]})] * 2,
        [{"logprobs": {"content": [1]}}] * 2,
    ),
    "of a whole message": (
        [json.dumps({"choices": [{"message": {"content": "a", "annotations": CITED}}], "citations": ["x"]})],
        [{"annotations": CITED}, {"citations": ["x"]}],
    ),
    "of a message after the deltas": (
        [
            chunk({"content": "a", "images": [PICTURE]}),
            json.dumps({"choices": [{"message": {"content": "a", "images": [PICTURE], "annotations": CITED}}]}),
        ],
        [{"images": [PICTURE]}, {"annotations": CITED}],
    ),
    "nothing": ([chunk({"content": "a", "images": [], "audio": None, "padding": "xx"}, citations=[], images=None)], []),
}


@pytest.mark.parametrize("name", DATA)
def test_what_is_not_text_is_data_of_the_provider(name):
    chunks, expected = DATA[name]
    found = good(events(*chunks, STOP))
    assert [event.value for event in found if type(event) is ProviderData] == expected


# A whole message after deltas

WHOLE = {
    "role": "assistant",
    "content": "Hello",
    "reasoning": "Hmm.",
    "tool_calls": [call("{}", id="a", name="now")],
    "refusal": None,
}


@pytest.mark.parametrize("delta", [None, {}, {"role": "assistant", "content": ""}], ids=repr)
@pytest.mark.parametrize(
    "deltas",
    [
        [{"content": "Hel"}, {"content": "lo"}],
        [{"reasoning_content": "Hmm."}, {"content": "Hello"}],
        [{"reasoning": "Hmm."}, {"content": "Hello"}, {"tool_calls": [call("{}", index=0, id="a", name="now")]}],
        [],
    ],
    ids=["text", "reasoning and text", "all", "nothing"],
)
def test_a_whole_message_tells_only_what_no_delta_has_told(deltas, delta):
    last = {"index": 0, "message": WHOLE, "finish_reason": "stop"} | ({} if delta is None else {"delta": delta})
    transcript = Transcript()
    transcript.add(good(events(*map(chunk, deltas), json.dumps({"choices": [last]}), "[DONE]")))
    reply = transcript.reply()
    assert (reply.text, reply.reasoning, reply.tool_calls) == ("Hello", "Hmm.", (ToolCall("a", "now", "{}"),))


def test_messages_that_take_the_place_of_deltas_are_pieces():
    pieces = [json.dumps({"choices": [{"message": {"content": content}}]}) for content in ("Hel", "lo")]
    assert joined(events(*pieces, STOP)) == ("Hello", "", "stop")


# An old server that counts tokens in the index


def counted(*words, finish="length"):
    ends = [None] * (len(words) - 1) + [finish]
    return [chunk({"content": word}, end, index) for index, (word, end) in enumerate(zip(words, ends, strict=True))]


def test_an_index_that_counts_tokens_loses_none_of_them():
    assert joined(events(*counted("He", "l", "", "lo"), "[DONE]")) == ("Hello", "", "length")
    found, error = decoded(events(*counted("He", "l", "lo")))
    assert (found, error[0]) == ([TextDelta("He")], providerkit.StreamTruncated)


@pytest.mark.parametrize(
    "chunks",
    [
        [text("Hello"), *[chunk({"content": "no"}, None, 1)] * 2],
        [text("Hello"), chunk({"content": "no"}, None, 2), chunk({"content": "no"}, "length", 1)],
        [text("Hello"), chunk({"content": "no"}, "length", 1), STOP],
        [text("Hello"), chunk({"content": "no"}, "length", "b")],
        [json.dumps({"choices": [{"delta": {"content": "Hello"}}, {"index": 1, "delta": {"content": "no"}}]})],
    ],
    ids=["twice", "back", "the first ends", "a name", "in one chunk"],
)
def test_several_choices_are_not_taken_for_it(chunks):
    assert joined(events(*chunks, "[DONE]")) == ("Hello", "", "stop")


def test_of_a_completion_the_first_choice_is_read_whatever_its_index():
    head = ResponseHead(200, Headers({"Content-Type": "application/json"}))
    body = json.dumps({"choices": [{"index": 4, "message": {"content": "Hello"}, "finish_reason": "stop"}]}).encode()
    assert decoded(body, head=head) == ([TextDelta("Hello"), Finish("stop", raw="stop")], None)


# Whole completions

COMPLETION = {
    "object": "chat.completion",
    "choices": [
        {"index": 1, "message": {"content": "no"}},
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello",
                "reasoning_content": "Hmm.",
                "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "time", "arguments": "{}"}}],
            },
            "finish_reason": "tool_calls",
        },
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
}


@pytest.mark.parametrize("before", [b"", b"\n\n \n", b"\xef\xbb\xbf"], ids=["plain", "D22 blank lines", "a mark"])
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain"])
async def test_a_completion_that_comes_whole_is_an_answer(before, content_type):
    """D14: also where a stream was asked for."""
    reply = await answered(http(before + json.dumps(COMPLETION).encode(), content_type=content_type, framed=False))
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.proven) == ("Hello", "Hmm.", "tool_calls", True)
    assert (reply.tool_calls, reply.usage) == ((ToolCall("call_a", "time", "{}"),), Usage(1, 2))


async def test_a_completion_without_a_finish_reason_is_complete():
    body = json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": None}]}).encode()
    reply = await answered(http(body, content_type="application/json"), extra={"stream": False})
    assert (reply.text, reply.finish_reason) == ("Hello", "stop")


def test_a_completion_is_the_same_wherever_it_is_cut():
    head = ResponseHead(200, Headers({"Content-Type": "application/json"}))
    found, error = decoded(json.dumps(COMPLETION).encode(), head=head)
    assert (error, found[-1]) == (None, Finish("tool_calls", raw="tool_calls"))


# What is no answer


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (providerkit.UnexpectedContent, b"<!doctype html><title>Log in</title>"),
        (providerkit.UnexpectedContent, b"Hello."),
        (providerkit.UnexpectedContent, b"{}"),
        (providerkit.UnexpectedContent, b'{"choices": []}'),
        (providerkit.UnexpectedContent, b"[]"),
        (providerkit.UnexpectedContent, events("[DONE]")),
        (providerkit.UnexpectedContent, events(AZURE, "[DONE]")),
        (providerkit.ProviderError, events('{"error": {}}')),
        (providerkit.StreamMalformed, events("5")),
        (providerkit.StreamMalformed, events('{"choices": 5')),
        (providerkit.StreamTruncated, b""),
        (providerkit.StreamTruncated, b": wait\n\n"),
        (providerkit.StreamTruncated, b'{"choices": [{"mes'),
        (providerkit.StreamTruncated, events(text("")) + b"data: {"),
    ],
    ids=lambda value: value.decode()[:30] if isinstance(value, bytes) else value.__name__,
)
async def test_a_body_that_is_no_answer_is_an_error_at_200(kind, body):
    for content_type in ("text/html", "text/plain"):
        error = await failed(kind, http(body, content_type=content_type))
        assert error.partial == ""


@pytest.mark.parametrize("rest", [b"", b"data: ", b'data: {"choices', events(chunk({}))], ids=repr)
async def test_a_stream_that_does_not_say_its_end_is_truncated_and_holds_the_text(rest):
    """D7, D17: whether HTTP has shown its end or not."""
    for framed in (True, False):
        error = await failed(providerkit.StreamTruncated, http(events(*HELLO) + rest, framed=framed))
        assert error.partial == "Hello"


@pytest.mark.parametrize("framed", [True, False])
async def test_a_service_that_never_says_the_end_may_say_so(framed):
    """D17."""
    endless = OpenAI(Dialect("endless", keyless=True, default_model="m", finishes=False))
    reply = await answered(http(events(*HELLO), framed=framed), endless)
    assert (reply.text, reply.finish_reason, reply.proven) == ("Hello", "stop", framed)
    reply = await answered(http(events(*CALLS["in parallel"]), framed=framed), endless)
    assert (reply.finish_reason, reply.proven) == ("tool_calls", framed)


async def test_a_server_that_keeps_the_connection_after_the_end_delays_nobody():
    """D7."""

    async def answer(request, writer):
        writer.write(chunked(events(*HELLO, STOP, "[DONE]"), end=False))

    assert (await answered(answer)).text == "Hello"


def test_every_truncation_of_a_stream_is_an_error_until_its_end_is_said():
    body = events(*HELLO, STOP)
    end = body.index(STOP.encode()) + len(STOP)  # then the last event is whole
    for length in range(len(body)):
        decoder = OpenAI().parse_stream(STREAM)
        decoder.feed(body[:length])
        if length < end:
            with pytest.raises(providerkit.StreamTruncated):
                decoder.close()
        else:
            assert decoder.close()[-1] == Finish("stop", raw="stop")


# Whatever a server sends

KEYS = [
    "base_resp",
    "status_code",
    "error_message",
    "logprobs",
    "images",
    "citations",
    "model",
    "choices",
    "delta",
    "message",
    "index",
    "finish_reason",
    "content",
    "reasoning",
    "reasoning_content",
    "refusal",
    "tool_calls",
    "function_call",
    "function",
    "name",
    "arguments",
    "id",
    "type",
    "text",
    "thinking",
    "usage",
    "error",
    "code",
    "detail",
    "metadata",
    "raw",
    "object",
    "data",
    "loc",
    "msg",
    "prompt_tokens",
    "prompt_tokens_details",
    "completion_tokens",
    "total_tokens",
]


def objects(inner):
    return st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)


def chunks(inner):
    return st.builds(lambda choice: {"choices": [choice]}, objects(objects(inner) | inner))


scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "stop", "tool_calls", "[DONE]"])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=8)


@unhurried
@given(bodies=st.lists(chunks(values) | objects(values) | values, max_size=4), done=st.booleans())
def test_whatever_a_server_sends_is_events_and_one_finish_or_a_typed_error(bodies, done):
    stream = events(*map(json.dumps, bodies), *["[DONE]"] * done)
    whole = json.dumps(bodies[0] if bodies else None).encode()
    for body in (stream, whole):
        decoder = OpenAI().parse_stream(STREAM)
        transcript = Transcript()
        try:
            transcript.add(decoder.feed(body))
            if not transcript.finished:
                transcript.add(decoder.close())
        except ProviderKitError:
            continue
        assert transcript.finished
        ids = [call.id for call in transcript.reply().tool_calls if call.id]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("words", [",", ":", '"', "?", "Hello"])
def test_padded_chunks_are_read_whatever_their_text(words):
    padded = [
        chunk({"content": content}, obfuscation="x" * length) for length, content in enumerate(["Hello", words, words])
    ]
    compact = [json.dumps(json.loads(item), separators=(",", ":")) for item in padded]
    assert joined(events(*compact, STOP)) == ("Hello" + 2 * words, "", "stop")


@unhurried
@given(st.lists(chunks(values) | objects(values), max_size=3))
def test_any_chunks_are_the_same_events_after_a_chunk_of_text(bodies):
    stream = [json.dumps(body) for body in bodies]
    before, after = [text("Hello"), text("Hello")], [chunk(finish="stop"), "[DONE]"]
    found, error = decoded(events(*before, *stream, *after))
    other, other_error = decoded(events(*stream, *after))
    assert found[:2] == [TextDelta("Hello")] * 2
    if other_error is None:  # the other way round it may be that nothing else has begun the answer
        assert (error, found[2:]) == (None, other)


@unhurried
@given(value=values, status=st.sampled_from([200, 400, 429, 498, 503]))
def test_whatever_an_error_holds_it_is_typed_or_left_to_the_core(value, status):
    head = ResponseHead(status, Headers({"Content-Type": "application/json"}))
    error = OpenAI().parse_error(head, json.dumps(value).encode())
    assert error is None or (error.status, str(error)[:8]) == (status, "openai: ")


@unhurried
@given(value=values)
def test_whatever_a_list_of_models_holds_it_is_models_or_a_typed_error(value):
    try:
        found = OpenAI().parse_models(ResponseHead(200), json.dumps(value).encode())
    except ProviderKitError:
        return
    assert all(model.name for model in found)
