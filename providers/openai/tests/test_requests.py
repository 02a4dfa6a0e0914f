"""What is asked: bodies and headers, and chats that can't be asked."""

import json
import re
from importlib.metadata import version

import attrs
import pytest
from loopback import http, serve
from providerkit_openai import Dialect, OpenAI, services
from yarl import URL

import providerkit
from providerkit import Chat, Endpoint, FilePart, ImagePart, Message, Model, ReasoningPart, TextPart, Tool, ToolCall

ADDRESS = "https://api.openai.com/v1/chat/completions"
KEY = "sk-openai-0123456789"
ANSWER = 'data: {"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}\n\n'

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A model."},
    {"role": "user", "content": "Which?"},
]


async def sent(mocked, messages=CHAT, provider="openai", address=ADDRESS, **options):
    """Ask, and give the headers and the body that went out."""
    mocked.post(address, body=ANSWER)
    await providerkit.run(messages, provider=provider, **{"api_key": KEY, **options})
    (call,) = mocked.requests.pop(("POST", URL(address)))
    return call.kwargs["headers"], json.loads(call.kwargs["data"])


def body_of(*messages, dialect=None, **options):
    plugin = OpenAI(dialect) if dialect else OpenAI()
    chat = Chat(messages or (Message("user", "hi"),), **options)
    return json.loads(plugin.build_request(chat, Model("m"), Endpoint("http://127.0.0.1:1")).body)


async def test_the_stream_is_asked_for_with_a_key_and_its_usage(mocked):
    headers, body = await sent(mocked)
    assert headers == {
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "User-Agent": f"providerkit/{version('providerkit-core')}",
    }
    assert body == {
        "model": "gpt-5-mini",
        "messages": CHAT,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_key_of_the_environment_is_a_key(mocked, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    headers, _ = await sent(mocked, api_key=None)
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_every_option_has_its_field():
    options = {"temperature": 0.5, "top_p": 1, "max_tokens": 7, "stop": ["a", "b"], "seed": 0, "system": "Be brief."}
    assert body_of(**options) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 1,
        "max_completion_tokens": 7,
        "stop": ["a", "b"],
        "seed": 0,
    }


def test_fields_are_called_as_the_service_calls_them():
    dialect = Dialect("other", keyless=True, seed="random_seed", asks_usage=False)
    body = body_of(dialect=dialect, max_tokens=7, seed=1)
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "max_tokens": 7,
        "random_seed": 1,
    }


LOOK = Tool("look")


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_which_tool_is_called_is_said_in_a_word(choice):
    assert body_of(tools=[LOOK], tool_choice=choice)["tool_choice"] == choice


def test_which_tool_is_called_may_be_one_by_its_name():
    body = body_of(tools=[LOOK], tool_choice="look")
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}


@pytest.mark.parametrize("given", [True, False])
def test_whether_calls_come_side_by_side_is_said_also_if_they_must_not(given):
    assert body_of(tools=[LOOK], parallel_tool_calls=given)["parallel_tool_calls"] is given


@pytest.mark.parametrize(
    ("provider", "effort", "fields"),
    [
        ("openai", "none", {"reasoning_effort": "none"}),
        ("openai", "high", {"reasoning_effort": "high"}),
        ("openai_compatible", "low", {"reasoning_effort": "low"}),
        ("deepseek", "none", {"thinking": {"type": "disabled"}}),
        ("deepseek", "high", {"reasoning_effort": "high"}),
        ("together", "none", {"reasoning": {"enabled": False}}),
        ("together", "medium", {"reasoning_effort": "medium"}),
        ("openrouter", "none", {"reasoning": {"effort": "none"}}),
        ("openrouter", "medium", {"reasoning": {"effort": "medium"}}),
    ],
)
def test_how_much_a_model_thinks_is_said_in_the_words_of_the_service(provider, effort, fields):
    dialect = getattr(services, provider).dialect
    plain = body_of(dialect=dialect)
    assert body_of(dialect=dialect, reasoning=effort) == plain | fields


def test_extra_fields_are_merged_into_those_of_the_options():
    dialect = services.openrouter.dialect
    body = body_of(dialect=dialect, reasoning="high", extra={"reasoning": {"exclude": True}, "stop": ["x"]}, stop=["a"])
    assert body["reasoning"] == {"effort": "high", "exclude": True}
    assert body["stop"] == ["x"]


PDF = FilePart(b"%PDF", media_type="application/pdf", name="a.pdf")


@pytest.mark.parametrize(
    ("provider", "part", "sent"),
    [
        (
            "openai",
            PDF,
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ),
        (
            "openai",
            attrs.evolve(PDF, name=None),
            {"type": "file", "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ),
        ("openai", FilePart(id="file-1"), {"type": "file", "file": {"file_id": "file-1"}}),
        (
            "openai",
            FilePart(url="data:text/x-python;base64,YQ=="),
            {"type": "file", "file": {"filename": "file", "file_data": "data:text/x-python;base64,YQ=="}},
        ),
        (
            "openrouter",
            FilePart(url="https://a/b.pdf", name="b.pdf"),
            {"type": "file", "file": {"filename": "b.pdf", "file_data": "https://a/b.pdf"}},
        ),
        (
            "vllm",
            FilePart(b"RIFF", media_type="audio/x-wav"),
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        ),
        (
            "openai",
            FilePart(b"ID3", media_type="audio/mpeg"),
            {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
        ),
    ],
    ids=["data", "without a name", "an id", "a data URL", "an address", "sound", "mp3"],
)
def test_files_are_data_addresses_or_ids(provider, part, sent):
    body = body_of(Message("user", [TextPart("Read it."), part]), dialect=getattr(services, provider).dialect)
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Read it."}, sent]


@pytest.mark.parametrize(
    ("provider", "part"),
    [
        ("openai", FilePart(url="https://a/b.pdf")),
        ("openrouter", FilePart(id="file-1")),
        ("vllm", PDF),
        ("vllm", FilePart(b"OggS", media_type="audio/ogg")),
    ],
)
def test_a_file_that_a_service_can_not_take_in_this_form_is_refused(provider, part):
    with pytest.raises(providerkit.UnsupportedFeature, match=f"{provider} takes files as ") as caught:
        body_of(Message("user", [part]), dialect=getattr(services, provider).dialect)
    assert (caught.value.option, caught.value.provider) == ("files", provider)


def test_a_tool_that_failed_says_so_in_its_text():
    """The wire has no other place for it."""
    body = body_of(
        CALLED,
        Message("tool", "ValueError: no such city", tool_call_id="call_1", name="weather", failed=True),
        Message("tool", [TextPart("a"), TextPart("b")], tool_call_id="call_1", failed=True),
    )
    assert [message["content"] for message in body["messages"][1:]] == [
        "The tool failed. ValueError: no such city",
        [{"type": "text", "text": text} for text in ("The tool failed. ", "a", "b")],
    ]


@pytest.mark.parametrize(
    ("part", "option"), [(ImagePart("https://a/b.png"), "images"), (PDF, "files")], ids=["an image", "a file"]
)
def test_a_tool_answers_in_text_and_nothing_else(part, option):
    with pytest.raises(
        providerkit.UnsupportedFeature, match="openai takes text from tools, and nothing else"
    ) as caught:
        body_of(CALLED, Message("tool", [TextPart("Look:"), part], tool_call_id="call_1"))
    assert (caught.value.option, caught.value.provider) == (option, "openai")


def test_what_a_model_thought_is_not_sent():
    body = body_of(Message("assistant", [ReasoningPart("Hm."), TextPart("Rain.")]))
    assert body["messages"] == [{"role": "assistant", "content": "Rain."}]


def test_extra_fields_are_laid_over_the_body():
    """Mappings are merged, anything else is replaced."""
    options = {"include_obfuscation": False}
    body = body_of(extra={"reasoning_effort": "low", "model": "other", "stream_options": options})
    assert (body["reasoning_effort"], body["model"]) == ("low", "other")
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_an_answer_that_is_to_come_whole_is_asked_for_without_options_of_streams():
    chat = Chat((Message("user", "hi"),), extra={"stream": False})
    request = OpenAI().build_request(chat, Model("m"), Endpoint("http://127.0.0.1:1"))
    assert request.stream is False
    assert json.loads(request.body) == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}


def test_images_are_addresses_or_data():
    image = ImagePart(data=b"\x89PNG", media_type="image/png")
    body = body_of(
        Message("user", [TextPart("What is it?"), image, ImagePart("https://x.example/y.png", detail="low")])
    )
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "image_url", "image_url": {"url": "https://x.example/y.png", "detail": "low"}},
    ]


def test_tools_are_functions():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    body = body_of(tools=[Tool("weather", "Look outside.", schema), Tool("time")])
    assert body["tools"] == [
        {"type": "function", "function": {"name": "weather", "description": "Look outside.", "parameters": schema}},
        {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}},
    ]


def test_calls_and_their_results_go_back_as_they_came():
    calls = (ToolCall("call_1", "weather", '{"city": "Rome"}'),)
    body = body_of(
        Message("user", "Weather?", name="ann"),
        Message("assistant", "", tool_calls=calls),
        Message("tool", "Sun.", tool_call_id="call_1"),
        Message("assistant", "Wait.", tool_calls=calls),
    )
    function = {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert body["messages"] == [
        {"role": "user", "content": "Weather?", "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "Sun.", "tool_call_id": "call_1"},
        {
            "role": "assistant",
            "content": "Wait.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
    ]


CALLED = Message("assistant", "", tool_calls=[ToolCall("call_1", "weather", "{}")])


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('{"city": "Rome"}', '{"city": "Rome"}'),
        ("", "{}"),
        (" \n", "{}"),
        ("null", "{}"),
        ("{}", "{}"),
        ('{"city": "Ro', '{"arguments": "{\\"city\\": \\"Ro"}'),
        ("[1]", '{"arguments": "[1]"}'),
        ("Rome é", '{"arguments": "Rome é"}'),
        ('{"a": NaN}', '{"arguments": "{\\"a\\": NaN}"}'),
    ],
)
def test_arguments_go_back_as_json_of_an_object_whatever_the_model_wrote(written, sent):
    """Servers parse them, and refuse the whole chat if they can't."""
    body = body_of(Message("assistant", "", tool_calls=[ToolCall("call_1", "weather", written)]))
    (call,) = body["messages"][0]["tool_calls"]
    assert call["function"]["arguments"] == sent
    assert isinstance(json.loads(sent), dict)


async def test_a_model_that_writes_broken_arguments_is_told_what_was_wrong():
    def weather(city: str) -> str:
        return "Sun"

    function = {"name": "weather", "arguments": '{"city": "Ro'}
    delta = {"tool_calls": [{"index": 0, "id": "call_1", "function": function}]}
    asks = json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]})
    answers = iter([f"data: {asks}\n\n", ANSWER])

    async def answer(request, writer):
        writer.write(http(next(answers).encode()))

    async with serve(answer) as server, providerkit.Client() as client:
        chat = client.run(provider="vllm", model="m", base_url=server.base_url, tools=[Tool.from_function(weather)])
        assert (await chat.send("?")).text == "ok"
        asked, call, told = json.loads(server.requests[1].body)["messages"]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"arguments": '{"city": "Ro'}
    assert (asked["role"], told["tool_call_id"]) == ("user", "call_1")
    assert "the model's arguments for the tool 'weather' are not a JSON object" in told["content"]


@pytest.mark.parametrize("content", ["", " \n", [], [TextPart("")]], ids=repr)
def test_an_answer_without_text_and_calls_is_not_sent(content):
    body = body_of(Message("user", "hi"), Message("assistant", content), Message("user", "and now?"), CALLED)
    assert [message["role"] for message in body["messages"]] == ["user", "user", "assistant"]


def test_other_empty_messages_are_sent():
    body = body_of(Message("user", ""), CALLED, Message("tool", "", tool_call_id="call_1"))
    assert [message["content"] for message in body["messages"]] == ["", None, ""]


def test_the_index_of_a_message_is_the_callers_also_after_one_that_is_not_sent():
    with pytest.raises(providerkit.InvalidMessages, match=r"messages\[2\]: a tool's message needs"):
        body_of(Message("user", "hi"), Message("assistant", ""), Message("tool", "Sun."))


@pytest.mark.parametrize(
    ("provider", "given", "taken"),
    [
        ("mistral", "a1B2c3D4e", True),
        ("mistral", "call_1", False),
        ("mistral", "a1B2c3D4é", False),
        ("mistral", "a1B2c3D4e5", False),
        ("openai", "call_1", True),
        ("openai", "a" * 40, True),
        ("openai", "a" * 41, False),
        ("vllm", "a" * 41, True),
    ],
)
def test_ids_that_a_service_refuses_are_replaced_consistently(provider, given, taken):
    """They may be another service's: a chat can go on elsewhere."""
    dialect = getattr(services, provider).dialect
    calls = [ToolCall(given, "weather", "{}"), ToolCall(f"{given}2", "weather", "{}")]
    turns = [
        Message("assistant", "", tool_calls=calls),
        *(Message("tool", "x", tool_call_id=call.id) for call in calls),
    ]
    said, *answers = body_of(*turns, dialect=dialect)["messages"]
    ids = [call["id"] for call in said["tool_calls"]]
    assert ids == [answer["tool_call_id"] for answer in answers]
    assert len(set(ids)) == 2
    assert (ids[0] == given) is taken
    assert taken or re.fullmatch("[A-Za-z0-9]{9}", ids[0])
    assert ids == [call["id"] for call in body_of(*turns, dialect=dialect)["messages"][0]["tool_calls"]]


SYSTEMS = [Message("system", "Be brief."), Message("user", "hi"), Message("system", [TextPart("Be kind.")])]


@pytest.mark.parametrize("provider", ["vllm", "llamacpp", "lmstudio", "openai_compatible"])
def test_several_system_messages_are_one_for_a_service_that_refuses_two(provider):
    dialect = getattr(services, provider).dialect
    hi = {"role": "user", "content": "hi"}
    for messages, options, system in [
        (SYSTEMS, {}, "Be brief.\n\nBe kind."),
        (SYSTEMS, {"system": "Be true."}, "Be true.\n\nBe brief.\n\nBe kind."),
        (SYSTEMS[1:], {}, "Be kind."),
        (SYSTEMS[:2], {}, "Be brief."),
    ]:
        body = body_of(*messages, dialect=dialect, **options)
        assert body["messages"] == [{"role": "system", "content": system}, hi]
    assert body_of(SYSTEMS[1], dialect=dialect)["messages"] == [hi]


def test_other_services_are_sent_system_messages_as_they_stand():
    body = body_of(*SYSTEMS, system="Be true.")
    assert [message["role"] for message in body["messages"]] == ["system", "system", "user", "system"]


@pytest.mark.parametrize("end", ["/chat/completions", "/chat/completions/", "/Chat/Completions"])
async def test_an_address_that_ends_in_the_path_of_the_wire_is_an_error_that_says_so(mocked, end):
    for provider in ("openai", "openai-compatible"):
        options = {"base_url": f"https://llm.example/secret/v1{end}", "api_key": KEY}
        for ask in (
            providerkit.run("hi", provider=provider, model="m", **options),
            providerkit.provider(provider).models(**options),
        ):
            with pytest.raises(providerkit.InvalidOption, match="base_url ends in '/chat/completions'") as caught:
                await ask
            assert caught.value.option == "base_url"
            assert "secret" not in str(caught.value)
    assert mocked.requests == {}


@pytest.mark.parametrize(
    "given",
    [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "regex"},
    ],
    ids=lambda given: given["type"],
)
def test_the_wires_own_response_formats_are_taken_as_they_are(given):
    assert body_of(response_format=given)["response_format"] == given


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"city": {"type": "string"}}},
        {"type": "array", "items": {}},
        {"type": ["string", "null"]},
        {"properties": {}},
        {"$ref": "#/$defs/city", "$defs": {"city": {}}},
    ],
    ids=json.dumps,
)
def test_a_bare_schema_is_the_content_of_a_response_format(schema):
    wrapped = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    assert body_of(response_format=schema)["response_format"] == wrapped


def test_a_response_format_that_is_no_mapping_is_refused():
    with pytest.raises(providerkit.InvalidOption, match="response_format is type; it takes a JSON schema") as caught:
        body_of(response_format=dict)
    assert caught.value.option == "response_format"


def test_an_empty_response_format_is_none():
    assert "response_format" not in body_of(response_format={})


def test_a_service_without_schemas_refuses_one_before_anything_is_sent():
    dialect = Dialect("plain", keyless=True, takes_schemas=False)
    assert body_of(dialect=dialect, response_format={"type": "json_object"})["response_format"]["type"] == "json_object"
    with pytest.raises(providerkit.UnsupportedFeature, match="plain answers in JSON, but by no schema") as caught:
        body_of(dialect=dialect, response_format={"properties": {}})
    assert (caught.value.option, caught.value.provider) == ("response_format", "plain")


def test_a_tools_message_says_which_call_it_answers():
    with pytest.raises(providerkit.InvalidMessages, match=r"messages\[1\]: a tool's message needs") as caught:
        body_of(Message("user", "hi"), Message("tool", "Sun."))
    assert caught.value.index == 1


@pytest.mark.parametrize(
    ("messages", "options", "option"),
    [
        ([*CHAT, {"role": "assistant", "content": "I am"}], {}, "prefill"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}], {}, "images"),
        (CHAT, {"seed": 1}, "seed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_service_can_not_serve_is_refused_before_anything_is_sent(mocked, messages, options, option):
    with pytest.raises(providerkit.UnsupportedFeature) as caught:
        providerkit.run(messages, provider="deepseek", api_key=KEY, **options)
    assert (caught.value.option, caught.value.provider) == (option, "deepseek")
    assert mocked.requests == {}


async def test_a_service_asks_for_its_key_by_name(mocked):
    with pytest.raises(
        providerkit.MissingAPIKey, match=r"openai needs a key; pass api_key=\.\.\. or set OPENAI_API_KEY"
    ):
        await providerkit.run("hi", provider="openai")
    assert mocked.requests == {}


async def test_another_address_may_do_without_a_key(mocked):
    address = "http://127.0.0.1:1/v1"
    headers, _ = await sent(mocked, address=f"{address}/chat/completions", base_url=address, api_key=None)
    assert "Authorization" not in headers


@pytest.mark.parametrize(("named", "meant"), [(None, "gpt-5-mini"), ("", "gpt-5-mini"), ("new/x:free", "new/x:free")])
async def test_any_model_is_passed_through_and_none_is_the_default(mocked, named, meant):
    _, body = await sent(mocked, model=named)
    assert body["model"] == meant


@pytest.mark.parametrize(
    ("provider", "model", "thinks"),
    [("openai", None, True), ("openai", "o3-mini", True), ("openai", "gpt-4o", False), ("vllm", "gpt-5", False)],
)
def test_models_that_think_unheard_are_known_as_such(provider, model, thinks):
    """So that a route behind them is not tried too early."""
    assert getattr(services, provider).resolve_model(model).reasoning is thinks


async def test_a_service_without_a_default_model_says_how_to_find_one(mocked):
    with pytest.raises(providerkit.UnknownModel, match=r"providerkit.provider\('ollama'\).models\(\)"):
        await providerkit.run("hi", provider="ollama")
    assert mocked.requests == {}


def test_requests_are_the_same_for_the_same_chat_and_change_nothing():
    chat = Chat((Message("user", "hi"),), response_format={"properties": {"a": {}}}, tools=Tool("t"), extra={"n": 1})
    before = attrs.asdict(chat, recurse=False)
    requests = {OpenAI().build_request(chat, Model("m"), Endpoint("http://127.0.0.1:1")).body for _ in range(3)}
    assert len(requests) == 1
    assert attrs.asdict(chat, recurse=False) == before


def test_no_key_shows_in_a_repr():
    endpoint = Endpoint("https://api.openai.com/v1", providerkit.Secret(KEY))
    for request in (
        OpenAI().build_request(Chat((Message("user", "hi"),)), Model("m"), endpoint),
        OpenAI().build_models_request(endpoint),
    ):
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert KEY not in repr(request)
