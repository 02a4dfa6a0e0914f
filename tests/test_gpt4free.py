"""gpt4free's convention, given to a plugin that inherits its two bases, and to any other plugin."""

import json
from types import ModuleType

import aiohttp
import attrs
import pytest
from asking import on_the_wire
from loopback import chunked, serve
from parrots import Parrot
from yarl import URL

import providerkit
from providerkit import (
    EventStream,
    Finish,
    Model,
    ProviderData,
    ProviderInfo,
    Request,
    TextDelta,
    Usage,
    hookimpl,
    loads,
)
from providerkit.compat.gpt4free import AsyncGeneratorProvider, ProviderModelMixin, as_provider, decode

ADDRESS = "http://parrot.invalid/say"
MESSAGES = [{"role": "user", "content": "hello"}]


class Polly(Parrot, AsyncGeneratorProvider, ProviderModelMixin):
    """Have the convention, and options that the wire carries; hold its model's names where gpt4free looks."""

    url = "http://polly.example"
    default_model = "grey"
    models = ("grey", "green")
    supports = frozenset({"system", "history", "temperature", "extra"})

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        return Model(self.get_model(name))

    @hookimpl
    def build_request(self, chat, model, endpoint):
        headers = {"Authorization": f"Bearer {endpoint.api_key.reveal()}"} if endpoint.api_key else {}
        data = {"model": model.name, "temperature": chat.temperature, "system": chat.system, **chat.extra}
        return Request.json(endpoint.url("/say"), data, headers)


class Chatty(Polly):
    """Say more than text."""

    @hookimpl
    def parse_stream(self, head):
        more = [Usage(1, 2), ProviderData({"parrot": True}), Finish("stop")]
        return EventStream(lambda data, event: [TextDelta(loads(data)), *more])


async def asked(mocked, *arguments, provider=Polly, **options):
    """Return what the generator gave, and the headers and body that went out."""
    mocked.post(ADDRESS, body='data: "squawk"\n\n')
    given = [chunk async for chunk in provider.create_async_generator(*arguments, **options)]
    (call,) = mocked.requests["POST", URL(ADDRESS)]
    return given, call.kwargs["headers"], json.loads(call.kwargs["data"])


async def test_a_plugin_that_inherits_is_called_by_its_class(mocked):
    given, _, body = await asked(mocked, "green", MESSAGES)
    assert (given, body) == (["squawk"], {"model": "green", "temperature": None, "system": None})


async def test_options_that_the_provider_supports_are_used_and_others_ignored(mocked):
    options = {"temperature": 0.5, "system": "Be brief.", "extra": {"loud": True}, "seed": 4, "top_p": 1, "stop": []}
    _, headers, body = await asked(mocked, "", MESSAGES, api_key="polly-key", stream=True, **options)
    assert body == {"model": "grey", "temperature": 0.5, "system": "Be brief.", "loud": True}
    assert headers["Authorization"] == "Bearer polly-key"


async def test_options_that_are_none_were_not_given(mocked):
    _, headers, body = await asked(mocked, None, MESSAGES, temperature=None, system=None, extra=None, api_key=None)
    assert body == {"model": "grey", "temperature": None, "system": None}
    assert "Authorization" not in headers


async def test_what_is_neither_text_nor_data_is_not_given(mocked):
    given, _, _ = await asked(mocked, "grey", MESSAGES, provider=Chatty)
    assert given == ["squawk", {"parrot": True}]


async def test_errors_are_those_of_providerkit(mocked):
    mocked.post(ADDRESS, status=401)
    with pytest.raises(providerkit.AuthenticationError):
        await anext(Polly.create_async_generator("grey", MESSAGES))
    with pytest.raises(providerkit.InvalidMessages):
        await anext(Polly.create_async_generator("grey", []))


def test_the_class_describes_itself_in_gpt4frees_words():
    assert Polly.get_dict() == {"name": "Polly", "url": "http://polly.example", "label": None, "working": True}
    assert (Polly.get_parent(), Polly.live, Polly.needs_auth) == ("Polly", 0, False)
    assert (Polly.get_models(ignored=1), Polly.get_model("", ignored=1)) == (["grey", "green"], "grey")


def test_a_plugin_with_the_convention_is_a_plugin_as_before():
    assert providerkit.provider(Polly).info == ProviderInfo(
        name="parrot",
        default_base_url="http://parrot.invalid",
        default_model="grey",
        models=("grey", "green"),
        supports=Polly.supports,
        api_key_env="PARROT_API_KEY",
    )


class Handy(Parrot):
    """Able to call tools, and say where it lives and that it is out of order."""

    @hookimpl
    def describe(self) -> ProviderInfo:
        return attrs.evolve(super().describe(), url="http://handy.example", supports={"tools"}, working=False)


def module():
    """Make a module whose functions are a parrot's hooks."""
    made = ModuleType("parrot_module")
    for hook in ("describe", "resolve_model", "build_request", "parse_stream"):
        setattr(made, hook, getattr(Parrot(), hook))
    return made


@pytest.mark.parametrize("plugin", [Parrot, Parrot(), module(), "parrot"], ids=["class", "instance", "module", "name"])
async def test_any_plugin_is_given_the_convention(mocked, install, plugin):
    install("parrot", Parrot)
    given, headers, body = await asked(mocked, "", MESSAGES, provider=as_provider(plugin), api_key="key", nonsense=1)
    assert (given, body, headers["Authorization"]) == (["squawk"], {"model": "grey", "text": "hello"}, "Bearer key")


def test_what_the_plugin_says_of_itself_is_told_in_gpt4frees_words():
    parrot, handy = as_provider(Parrot), as_provider(Handy)
    assert parrot.get_dict() == {"name": "parrot", "url": None, "label": None, "working": True}
    assert (parrot.get_models(), parrot.get_model(""), parrot.supports_message_history) == (
        ["grey", "green"],
        "grey",
        True,
    )
    assert handy.get_dict() == {"name": "parrot", "url": "http://handy.example", "label": None, "working": False}
    assert not handy.supports_message_history


def test_a_plugin_that_knows_no_model_has_none_for_gpt4free():
    unsure = as_provider(on_the_wire(Parrot, describe=hookimpl(lambda self: ProviderInfo("unsure"))))
    assert (unsure.get_models(), unsure.get_model(None)) == ([], "")


async def test_each_class_is_redirected_by_itself(mocked):
    there, elsewhere = as_provider(Parrot), as_provider(Parrot)
    elsewhere.base_url = "http://elsewhere.invalid"
    mocked.post("http://elsewhere.invalid/say", body='data: "far"\n\n')
    assert [chunk async for chunk in elsewhere.create_async_generator("", MESSAGES)] == ["far"]
    assert (await asked(mocked, "", MESSAGES, provider=there))[0] == ["squawk"]


async def test_tools_are_not_offered_since_their_calls_could_not_be_given_back(mocked):
    tools = [{"type": "function", "function": {"name": "fly"}}]
    given, _, _ = await asked(mocked, "", MESSAGES, provider=as_provider(Handy), tools=tools)
    assert given == ["squawk"]


def test_what_is_no_plugin_is_refused_at_once():
    with pytest.raises(providerkit.UnknownProvider, match="dodo"):
        as_provider("dodo")
    with pytest.raises(providerkit.PluginError, match="it has no hook"):
        as_provider(object)


@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\ndata: late\n\n"])
async def test_an_open_response_is_decoded_as_far_as_its_finish(done):
    decoder = EventStream(lambda data, event: [TextDelta(data.decode())], end=Finish("stop"))
    answer = chunked(b"data: a\n\ndata: b\n", b"\n" + done)
    async with serve(answer) as server, aiohttp.request("GET", server.base_url) as response:
        events = [event async for event in decode(response, decoder)]
    assert events == [TextDelta("a"), TextDelta("b"), Finish("stop")]
