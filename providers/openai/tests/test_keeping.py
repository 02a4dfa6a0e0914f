"""What services want back: it goes into the next request where it stood, and to nobody else."""

import copy
import json
import logging
import pickle

import pytest
from cuts import whatever_the_cut
from loopback import http, serve
from providerkit_openai import Dialect, Kept, OpenAI, services

import providerkit
from providerkit import (
    Chat,
    Endpoint,
    Finish,
    Headers,
    ImagePart,
    Message,
    Model,
    ProviderData,
    ReasoningDelta,
    ReasoningPart,
    ResponseHead,
    TextDelta,
    TextPart,
    ToolCall,
    ToolCallDelta,
)

HEAD = ResponseHead(200, Headers({"Content-Type": "text/event-stream"}))


def chunk(delta=None, finish=None):
    """Make one chunk, as JSON."""
    return json.dumps({"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}]})


def events(*data):
    """Make a body of server-sent events, each with this data."""
    return "".join(f"data: {item}\n\n" for item in data).encode()


def text(words):
    return chunk({"content": words})


def calls(*entries):
    return chunk({"tool_calls": list(entries)})


def call(arguments, name=None, **fields):
    return {**fields, "function": {"arguments": arguments} | ({"name": name} if name else {})}


def decoded(body, dialect):
    """Return the events of a body, the same wherever it is cut."""

    def take(pieces):
        decoder = OpenAI(dialect).parse_stream(HEAD)
        found = []
        for piece in pieces:
            if not (found and type(found[-1]) is Finish):
                found += decoder.feed(piece)
        return found if found and type(found[-1]) is Finish else [*found, *decoder.close()]

    return whatever_the_cut(take, body)


SIGNED = {"google": {"thought_signature": "c2ln"}}
ALL = services.openai_compatible.dialect
DONE = "[DONE]"
ONCE = providerkit.Retry(attempts=1)
CALL = call("{}", index=0, id="a", name="look")
ENDS = chunk(finish="tool_calls")


def thought(words, **fields):
    return chunk({"reasoning_content": words, **fields})


def detail(text=None, **fields):
    fields = {"type": "reasoning.text", "index": 0, "text": text, **fields}
    return chunk({"reasoning_details": [{name: value for name, value in fields.items() if value is not None}]})


def kept(**value):
    return ProviderData(value, keep=True)


def thinking(*words, **fields):
    return {"type": "thinking", "thinking": [{"type": "text", "text": word} for word in words], **fields}


def parts_of(body, dialect=ALL):
    """Return the events without the Finish."""
    *found, finish = decoded(body, dialect)
    assert type(finish) is Finish
    return found


FIRST = [{"type": "reasoning.text", "index": 0, "text": "Hm, so.", "signature": "c2ln"}]

ANSWERS = {
    "in pieces, before text": (
        [thought("H"), thought("m."), text("Ra"), text("in."), chunk(finish="stop"), DONE],
        [
            ReasoningDelta("H"),
            ReasoningDelta("m."),
            kept(message={"reasoning_content": "Hm."}),
            TextDelta("Ra"),
            TextDelta("in."),
        ],
    ),
    "in the chunk of the first text": (
        [thought("Hm.", content="Rain."), DONE],
        [ReasoningDelta("Hm."), kept(message={"reasoning_content": "Hm."}), TextDelta("Rain.")],
    ),
    "before calls": (
        [thought("Hm."), calls(CALL), ENDS],
        [ReasoningDelta("Hm."), kept(message={"reasoning_content": "Hm."}), ToolCallDelta(0, "a", "look", "{}")],
    ),
    "before calls, empty": (
        [thought(""), calls(CALL), ENDS],
        [ToolCallDelta(0, "a", "look", "{}"), kept(message={"reasoning_content": ""})],
    ),
    "before text, empty": ([thought(""), text("Rain."), DONE], [TextDelta("Rain.")]),
    "null": ([thought(None), text("Rain."), DONE], [TextDelta("Rain.")]),
    "twice": (
        [text("A"), text("B"), thought("Hm."), text("C"), thought("So."), calls(CALL), ENDS],
        [
            TextDelta("A"),
            TextDelta("B"),
            ReasoningDelta("Hm."),
            kept(message={"reasoning_content": "Hm."}),
            TextDelta("C"),
            ReasoningDelta("So."),
            kept(message={"reasoning_content": "So."}),
            ToolCallDelta(0, "a", "look", "{}"),
        ],
    ),
    "and nothing else": (
        [thought("Hm."), chunk(finish="length")],
        [ReasoningDelta("Hm."), kept(message={"reasoning_content": "Hm."})],
    ),
    "before a refusal": (
        [thought("Hm."), chunk({"refusal": "No."}), chunk(finish="stop")],
        [ReasoningDelta("Hm."), kept(message={"reasoning_content": "Hm."}), TextDelta("No.")],
    ),
    "details whose text comes in pieces": (
        [detail("Hm", format=None), detail(", so."), detail(signature="c2ln"), calls(CALL), ENDS],
        [kept(message={"reasoning_details": FIRST}), ToolCallDelta(0, "a", "look", "{}")],
    ),
    "details that are several": (
        [
            detail("Hm, so.", signature="c2ln"),
            detail("b"),
            detail("c", index=1),
            detail(type="x"),
            detail(type="x"),
            text("A"),
            DONE,
        ],
        [
            kept(
                message={
                    "reasoning_details": [
                        *FIRST,
                        {"type": "reasoning.text", "index": 0, "text": "b"},
                        {"type": "reasoning.text", "index": 1, "text": "c"},
                        {"type": "x", "index": 0},
                        {"type": "x", "index": 0},
                    ]
                }
            ),
            TextDelta("A"),
        ],
    ),
    "details of odd types": (
        [
            chunk({"reasoning_details": [5, None]}),
            chunk({"reasoning_details": [{"type": 7}]}),
            chunk({"reasoning_details": "x"}),
            text("A"),
            DONE,
        ],
        [kept(message={"reasoning_details": "x"}), TextDelta("A")],
    ),
    "signature of a call": (
        [calls(CALL | {"extra_content": SIGNED}), ENDS],
        [ToolCallDelta(0, "a", "look", "{}"), kept(tool_call={"extra_content": SIGNED})],
    ),
    "signature of a call that comes in pieces": (
        [
            calls(call("", index=0, id="a", name="look") | {"extra_content": SIGNED}),
            calls(call("{", index=0)),
            calls(call("}", index=0)),
            ENDS,
        ],
        [ToolCallDelta(0, "a", "look", "{"), kept(tool_call={"extra_content": SIGNED}), ToolCallDelta(0, "", "", "}")],
    ),
    "signature of a call without arguments": (
        [calls(call("", index=0, id="a", name="look") | {"extra_content": SIGNED}), ENDS],
        [ToolCallDelta(0, "a", "look"), kept(tool_call={"extra_content": SIGNED})],
    ),
    "signature behind the call": (
        [calls(CALL), calls({"index": 0, "extra_content": SIGNED}), ENDS],
        [ToolCallDelta(0, "a", "look", "{}"), kept(tool_call={"extra_content": SIGNED})],
    ),
    "signature behind another call": (
        [calls(CALL, call("{}", index=1, id="b", name="look")), calls({"index": 0, "extra_content": SIGNED}), ENDS],
        [
            ToolCallDelta(0, "a", "look", "{}"),
            ToolCallDelta(1, "b", "look", "{}"),
            kept(tool_call={"extra_content": SIGNED}, id="a"),
        ],
    ),
    "signature of the first of two calls": (
        [calls(CALL | {"extra_content": SIGNED}, call("{}", index=1, id="b", name="look")), ENDS],
        [
            ToolCallDelta(0, "a", "look", "{}"),
            kept(tool_call={"extra_content": SIGNED}),
            ToolCallDelta(1, "b", "look", "{}"),
        ],
    ),
    "thinking parts": (
        [
            chunk({"content": [thinking("H")]}),
            chunk({"content": [thinking("m.")]}),
            chunk({"content": [thinking(closed=True), {"type": "text", "text": "Ra"}]}),
            text("in."),
            text("!"),
            DONE,
        ],
        [
            ReasoningDelta("H"),
            ReasoningDelta("m."),
            ReasoningDelta(""),
            kept(content=thinking("Hm.", closed=True)),
            TextDelta("Ra"),
            TextDelta("in."),
            TextDelta("!"),
        ],
    ),
    "thinking between text": (
        [text("A"), text("B"), chunk({"content": [thinking("Hm.")]}), text("C"), text("D"), DONE],
        [
            TextDelta("A"),
            TextDelta("B"),
            ReasoningDelta("Hm."),
            kept(content=thinking("Hm.")),
            TextDelta("C"),
            TextDelta("D"),
        ],
    ),
    "thinking before a call": (
        [chunk({"content": [thinking("Hm.")], "tool_calls": [CALL]}), ENDS],
        [ReasoningDelta("Hm."), kept(content=thinking("Hm.")), ToolCallDelta(0, "a", "look", "{}")],
    ),
    "thinking as text": (
        [
            chunk({"content": [{"type": "thinking", "thinking": "H"}]}),
            chunk({"content": [{"type": "thinking", "thinking": "m"}]}),
            DONE,
        ],
        [ReasoningDelta("H"), ReasoningDelta("m"), kept(content=thinking("Hm"))],
    ),
    "thinking that refers": (
        [
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "reference", "ids": [1]}, 5]}]}),
            chunk({"content": [{"type": "thinking", "thinking": None}]}),
            DONE,
        ],
        [
            ReasoningDelta(""),
            ReasoningDelta(""),
            kept(content={"type": "thinking", "thinking": [{"type": "reference", "ids": [1]}, 5]}),
        ],
    ),
    "a field that is an object": (
        [chunk({"extra_content": SIGNED}), text("A"), DONE],
        [kept(message={"extra_content": SIGNED}), TextDelta("A")],
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_wanted_back_is_kept_in_its_place_when_it_is_complete(name):
    chunks, expected = ANSWERS[name]
    assert parts_of(events(*chunks)) == expected


def test_parts_of_two_types_are_two_parts():
    dialect = Dialect("other", kept=Kept(content={"thinking", "sealed"}))
    body = events(chunk({"content": [thinking("Hm."), {"type": "sealed", "sealed": "x"}, {"type": ["odd"]}]}), DONE)
    assert parts_of(body, dialect) == [
        ReasoningDelta("Hm."),
        kept(content=thinking("Hm.")),
        kept(content={"type": "sealed", "sealed": "x"}),
        ProviderData({"type": ["odd"]}),
    ]


def test_a_service_that_wants_nothing_back_is_read_as_before():
    message = {
        "reasoning_content": "Hm.",
        "content": [thinking("So.")],
        "tool_calls": [CALL | {"extra_content": SIGNED}],
    }
    body = events(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))
    assert parts_of(body, services.groq.dialect) == [
        ReasoningDelta("Hm."),
        ReasoningDelta("So."),
        ToolCallDelta(0, "a", "look", "{}"),
    ]


def test_of_a_whole_message_all_is_kept_as_it_came():
    details = [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.text", "text": "b"}]
    message = {"content": "Rain.", "reasoning_details": details, "tool_calls": [CALL | {"extra_content": SIGNED}]}
    body = events(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))
    assert parts_of(body) == [
        kept(message={"reasoning_details": details}),
        TextDelta("Rain."),
        ToolCallDelta(0, "a", "look", "{}"),
        kept(tool_call={"extra_content": SIGNED}),
    ]


def sent(*messages, dialect=ALL):
    chat = Chat(messages)
    request = OpenAI(dialect).build_request(chat, Model("m"), Endpoint("http://127.0.0.1:1"))
    return json.loads(request.body)["messages"]


A = ToolCall("a", "look", "{}")
B = ToolCall("b", "look", "{}")


def written(call, **fields):
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "{}"}, **fields}


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        pytest.param(
            [ReasoningPart("Hm."), kept(message={"reasoning_content": "Hm."}), TextPart("Rain.")],
            {"content": "Rain.", "reasoning_content": "Hm."},
            id="a field of the message",
        ),
        pytest.param(
            [kept(message={"reasoning_content": "Hm."}), A, kept(message={"reasoning_content": "So."}), B],
            {"content": None, "reasoning_content": "Hm.So.", "tool_calls": [written(A), written(B)]},
            id="a field of the message, twice",
        ),
        pytest.param(
            [kept(message={"reasoning_details": [1]}), A, kept(message={"reasoning_details": [2], "x": 3})],
            {"content": None, "reasoning_details": [1, 2], "x": 3, "tool_calls": [written(A)]},
            id="a list of the message, twice",
        ),
        pytest.param(
            [kept(message={"x": {"a": 1}}), TextPart("A"), kept(message={"x": {"b": 1}})],
            {"content": "A", "x": {"b": 1}},
            id="an object of the message, twice",
        ),
        pytest.param(
            [kept(message={"role": "system", "content": "x"}), TextPart("A")],
            {"content": "A"},
            id="a field that is ours",
        ),
        pytest.param(
            [A, kept(tool_call={"extra_content": SIGNED}), B, kept(tool_call={"type": "x", "extra_content": 1})],
            {"content": None, "tool_calls": [written(A, extra_content=SIGNED), written(B, extra_content=1)]},
            id="of the call before it",
        ),
        pytest.param(
            [A, B, kept(tool_call={"extra_content": SIGNED}, id="a")],
            {"content": None, "tool_calls": [written(A, extra_content=SIGNED), written(B)]},
            id="of the call that it names",
        ),
        pytest.param(
            [A, B, kept(tool_call={"extra_content": SIGNED}, id="gone")],
            {"content": None, "tool_calls": [written(A), written(B, extra_content=SIGNED)]},
            id="of a call that is gone",
        ),
        pytest.param(
            [TextPart("A"), kept(part={"cache_control": {"type": "ephemeral"}}), TextPart("B")],
            {
                "content": [
                    {"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "B"},
                ]
            },
            id="of the part before it",
        ),
        pytest.param(
            [ImagePart("https://a/b"), kept(part={"image_url": {"format": "png", "url": "x"}})],
            {"content": [{"type": "image_url", "image_url": {"format": "png", "url": "https://a/b"}}]},
            id="within the part before it",
        ),
        pytest.param(
            [kept(content=thinking("Hm.")), TextPart("A"), kept(content=thinking("So.")), TextPart("B")],
            {
                "content": [
                    thinking("Hm."),
                    {"type": "text", "text": "A"},
                    thinking("So."),
                    {"type": "text", "text": "B"},
                ]
            },
            id="parts of the content",
        ),
    ],
)
def test_what_is_kept_is_put_back_where_it_stood(parts, fields):
    assert sent(Message("assistant", parts)) == [{"role": "assistant", **fields}]


def test_one_text_of_a_user_stays_a_string_beside_data():
    message = Message("user", [kept(message={"x": "y"}), TextPart("hi")])
    assert sent(message) == [{"role": "user", "content": "hi", "x": "y"}]


@pytest.mark.parametrize(
    "parts",
    [
        [kept(message={"reasoning_content": "Hm."}), TextPart("A")],
        [kept(tool_call={"extra_content": SIGNED}), TextPart("A")],
        [kept(part={"cache_control": {}}), TextPart("A")],
        [TextPart("A"), kept(part={"cache_control": {}})],
        [TextPart("A"), kept(content={"type": "thinking"})],
        [TextPart("A"), kept(content={"type": ["odd"]})],
        [TextPart("A"), kept(of="another form")],
        [TextPart("A"), ProviderData(["a list"], keep=True)],
    ],
    ids=range(8),
)
def test_what_a_service_does_not_take_is_left_out_of_what_is_anybodys(parts, request, caplog):
    """And the log says so once; data that is given to this service by name is an error."""
    plain = Dialect(request.node.name, kept=Kept(message={"only_this"}))
    with caplog.at_level(logging.INFO, "providerkit"):
        for _ in range(2):
            assert sent(Message("assistant", parts), dialect=plain) == [{"role": "assistant", "content": "A"}]
    assert len(caplog.records) == 1
    named = [
        ProviderData(part.value, keep=True, provider=plain.name) if isinstance(part, ProviderData) else part
        for part in parts
    ]
    with pytest.raises(providerkit.UnsupportedFeature, match="has no place for provider data of this form") as caught:
        sent(Message("assistant", named), dialect=plain)
    assert (caught.value.option, caught.value.provider) == ("provider_data", plain.name)


def test_of_several_fields_each_is_taken_or_left_out(caplog):
    """A message of an application may have fields of its own beside those of the service."""
    fields = {"message": {"id": "1", "reasoning_content": "Hm."}}
    parts = [ProviderData(fields, keep=True), TextPart("A"), A, kept(tool_call={"id": "x", "of_a_call": 1})]
    with caplog.at_level(logging.INFO, "providerkit"):
        (message,) = sent(Message("assistant", parts), dialect=services.deepseek.dialect)
    assert message == {
        "reasoning_content": "Hm.",
        "role": "assistant",
        "content": "A",
        "tool_calls": [written(A)],
    }
    assert "the field 'of_a_call' of a tool call" in caplog.text
    assert "reasoning_content" not in caplog.text


@pytest.mark.parametrize("provider", ["openai_compatible", "vllm", "llamacpp"])
def test_the_id_that_an_application_gives_a_message_is_sent_nowhere(provider):
    message = Message("user", [kept(message={"id": "1", "x": 2}), TextPart("hi")])
    assert sent(message, dialect=getattr(services, provider).dialect) == [{"role": "user", "content": "hi", "x": 2}]


# Conversations, with servers that refuse what is not put back


def weather(city: str) -> str:
    """Look outside."""
    return "Sun"


def refused(words):
    return http(json.dumps({"error": {"message": words}}).encode(), status=400, content_type="application/json")


def named(number, **fields):
    return call('{"city":"Rome"}', index=0, id=f"a1B2c3D4{number}", name="weather") | fields


def ask_again(number, **fields):
    return calls(named(number, **fields))


SERVICES = {
    "deepseek": (
        lambda n: [thought(f"Hm {n}"), thought("."), ask_again(n), ENDS],
        lambda message, n: message.get("reasoning_content") == f"Hm {n}.",
    ),
    "openrouter": (
        lambda n: [detail(f"Hm {n}"), detail("."), detail(signature="c2ln"), ask_again(n), ENDS],
        lambda message, n: (
            message.get("reasoning_details")
            == [{"type": "reasoning.text", "index": 0, "text": f"Hm {n}.", "signature": "c2ln"}]
        ),
    ),
    "mistral": (
        lambda n: [
            chunk({"content": [thinking(f"Hm {n}")]}),
            chunk({"content": [thinking(".")]}),
            text("So"),
            ask_again(n),
            ENDS,
        ],
        lambda message, n: message["content"] == [thinking(f"Hm {n}."), {"type": "text", "text": "So"}],
    ),
    "openai-compatible": (
        lambda n: [ask_again(n, extra_content={"google": {"thought_signature": str(n)}}), ENDS],
        lambda message, n: message["tool_calls"][0].get("extra_content") == {"google": {"thought_signature": str(n)}},
    ),
    "ollama": (
        lambda n: [chunk({"reasoning": f"Hm {n}."}), ask_again(n), ENDS],
        lambda message, n: message.get("reasoning") == f"Hm {n}.",
    ),
    "fireworks": (
        lambda n: [thought(f"Hm {n}."), ask_again(n), ENDS],
        lambda message, n: message.get("reasoning_content") == f"Hm {n}.",
    ),
}


def server_of(name, rounds=2):
    """Answer with calls for some rounds, and with an error if an answer before does not come back as it was."""
    answer, is_right = SERVICES[name]

    async def talk(request, writer):
        before = [message for message in json.loads(request.body)["messages"] if message.get("tool_calls")]
        wrong = [number for number, message in enumerate(before) if not is_right(message, number)]
        chunks = answer(len(before)) if len(before) < rounds else [text("Sunny."), chunk(finish="stop")]
        writer.write(refused(f"answer {wrong[0]} does not come back") if wrong else http(events(*chunks, DONE)))

    return serve(talk)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_conversation_with_tools_gives_back_what_the_service_wants(name):
    """Over two rounds, in the next send, in a copy of the conversation, and in messages that were pickled."""
    async with server_of(name) as server, providerkit.Client() as client:
        options = {"provider": name, "model": "m", "api_key": "sk-0123456789", "base_url": server.base_url}
        chat = client.run(**options, tools=[weather])
        assert (await chat.send("Weather in Rome?")).text == "Sunny."
        assert (await chat.send("And now?")).text == "Sunny."
        assert (await chat.copy().send("And then?")).text == "Sunny."
        messages = pickle.loads(pickle.dumps(chat.messages))  # noqa: S301 - our own
        assert messages == chat.messages
        asked = [*copy.deepcopy(messages), Message("user", "And at last?")]
        assert (await client.run(asked, **options)).text == "Sunny."
        assert len(server.requests) == 6


@pytest.mark.parametrize("other", ["groq", "openai", "mistral", "openai-compatible"])
async def test_another_provider_is_not_given_it(other):
    """Nor is one that the same call falls back to."""
    options = {"api_key": "sk-0123456789", "model": "m"}
    async with server_of("deepseek") as server, providerkit.Client() as client:
        chat = client.run(provider="deepseek", base_url=server.base_url, tools=[weather], **options)
        await chat.send("Weather in Rome?")
    messages = [*chat.messages, Message("user", "And now?")]
    busy = http(b"{}", status=503, content_type="application/json")
    well = http(events(text("ok"), chunk(finish="stop"), DONE))
    async with serve(busy) as first, serve(well) as second, providerkit.Client(retry=ONCE) as client:
        route = providerkit.Route(provider=other, base_url=second.base_url, **options)
        run = client.run(messages, provider="deepseek", base_url=first.base_url, fallback=[route], **options)
        assert (await run).text == "ok"
        assert b'"reasoning_content":"Hm 0."' in first.requests[0].body
        (request,) = second.requests
        assert b"Hm" not in request.body
        fields = {name for message in json.loads(request.body)["messages"] for name in message}
        assert fields == {"role", "content", "tool_calls", "tool_call_id", "name"}


def test_the_end_is_the_last_event():
    found = decoded(events(thought("Hm."), chunk(finish="length")), ALL)
    assert found[-1] == Finish("length", raw="length")
