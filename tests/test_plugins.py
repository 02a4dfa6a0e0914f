"""Plugins: found by metadata, loaded one by one, refused with a reason, asked through their extensions."""

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import aiohttp.web
import attrs
import pytest
from asking import Told
from costs import calls_of
from loopback import http, serve
from packages import announce, imported
from parrots import Parrot

import providerkit
from providerkit import (
    Endpoint,
    Message,
    MissingAPIKey,
    Model,
    PluginError,
    ProviderInfo,
    ResponseHead,
    UnknownExtension,
    UnknownProvider,
    hookimpl,
    plugins,
)
from providerkit.discovery import EXTENSIONS, PROVIDERS, announcements, installed
from providerkit.plugins import active_extensions, assemble, find_provider, load

CHAT = providerkit.Chat((Message("user", "hi"),))
GREY = Model("grey")
ENDPOINT = Endpoint("http://parrot.invalid")
HEAD = ResponseHead(200)
ANSWER = http(b'data: "squawk"\n\n')


def parrot(**members):
    """Make a provider with some members of its own."""
    return type("Bird", (Parrot,), members)


def hook(function, **options):
    return hookimpl(**options)(function)


def hooks_of(provider, *extensions):
    return assemble(find_provider(provider), active_extensions(extensions))


@attrs.frozen(eq=False)
class Tag:
    """Mark the name of every model that passes."""

    letter: str

    @hookimpl(wrapper=True)
    def resolve_model(self):
        model = yield
        return Model(model.name + self.letter)


class Loudspeaker:
    """Be a transport that counts what goes through."""

    def __init__(self, inner=None):
        self.inner = inner
        self.sent = []

    def send(self, request):
        self.sent.append(request)
        return self.inner.send(request)


def test_only_the_one_that_is_named_is_imported(flock):
    assert imported(flock, f"plugins.load({PROVIDERS!r}, 'bird7')") == ["bird_7"]


def test_a_provider_that_is_installed_later_is_found(install):
    with pytest.raises(UnknownProvider):
        load(PROVIDERS, "parrot")
    assert "parrot" not in providerkit.providers()
    install("parrot", Parrot)
    assert load(PROVIDERS, "parrot").distribution == "birds 1.0"
    install("macaw", Parrot, distribution="macaws")
    assert "macaw" in providerkit.providers()
    install("amazon", Parrot, distribution="amazons")
    assert "amazon" in {found.name for found in announcements()}


def test_an_unknown_provider_names_what_is_installed_and_the_nearest(install):
    install("parrot", Parrot)
    with pytest.raises(UnknownProvider, match=r"no provider 'parot'; installed are: .*parrot.*mean 'parrot'") as caught:
        load(PROVIDERS, "parot")
    assert caught.value.name == "parot"
    assert "parrot" in caught.value.installed


def test_an_extension_without_a_hook_is_refused():
    with pytest.raises(PluginError, match="'int': it has no hook"):
        providerkit.run("hi", provider=Parrot, extensions=[5])


def test_an_unknown_extension_says_what_they_are(site):
    with pytest.raises(UnknownExtension, match="there is no extension 'zebra'; installed are: ") as caught:
        load(EXTENSIONS, "zebra")
    assert (caught.value.name, list(caught.value.installed)) == ("zebra", installed(EXTENSIONS))


def test_a_class_is_instantiated_once(install):
    made = []
    bird = parrot(__init__=lambda self: made.append(self))
    install("parrot", bird)
    found = [find_provider("parrot"), find_provider(bird), find_provider("parrot"), find_provider(bird)]
    assert [plugin.implementation for plugin in found] == made * 4


def test_an_instance_is_taken_as_it_is(install):
    bird = Parrot()
    install("parrot", bird)
    assert find_provider("parrot").implementation is find_provider(bird).implementation is bird


MODULE = """
from providerkit import EventStream, Finish, Model, ProviderInfo, Request, TextDelta, hookimpl, loads, sandbox
from birds_answers import parse_stream

@hookimpl
def describe():
    return ProviderInfo(name="parrot", default_base_url="http://parrot.invalid")

@hookimpl
def resolve_model(name):
    return Model(name or "grey")

@hookimpl
def build_request(chat, endpoint):
    return Request.json(endpoint.url("/say"), chat.messages[-1].text)
"""
ANSWERS = """
from providerkit import EventStream, Finish, TextDelta, hookimpl, loads

@hookimpl
def parse_stream():
    return EventStream(lambda data, event: [TextDelta(loads(data))], end=Finish("stop"))
"""


async def test_a_module_is_a_provider_though_it_borrows_functions(site):
    (site / "birds.py").write_text(MODULE)
    (site / "birds_answers.py").write_text(ANSWERS)
    announce(site, "parrot", "birds")
    async with serve(ANSWER) as server:
        assert (await providerkit.run("hi", provider="parrot", base_url=server.base_url)).text == "squawk"


def test_hooks_may_be_static_class_and_bound_methods():
    inner = Parrot()
    members = {
        "describe": inner.describe,
        "resolve_model": staticmethod(hook(lambda name: GREY)),
        "parse_error": classmethod(hook(lambda cls, body: providerkit.NotFound(cls.__name__))),
    }
    hooks = hooks_of(parrot(**members))
    assert hooks.info.name == "parrot"
    assert hooks.resolve_model("green") == GREY
    assert str(hooks.parse_error(HEAD, b"")) == "Bird"


async def streams(self, head):
    """Be a hook, but async."""


async def streams_pieces(self, head):
    yield


class TwoFaced(Parrot):
    @hookimpl(wrapper=True, hookwrapper=True)
    def sandbox(self):
        yield


class Choosy(Parrot):
    def __init__(self, food):
        pass


class Quitting(Parrot):
    def __init__(self):
        raise SystemExit(3)


REFUSED = {
    "a required hook is missing": (parrot(build_request=None), "it lacks the required hook build_request"),
    "a required hook only wraps": (
        parrot(parse_stream=hook(lambda self: (yield), wrapper=True)),
        "it lacks the required hook parse_stream",
    ),
    "an unmarked hook": (
        parrot(parse_stream=lambda self: None),
        "parse_stream is named like a hook but lacks @hookimpl",
    ),
    "an unmarked optional hook": (
        parrot(sandbox=lambda self: None),
        "sandbox is named like a hook but lacks @hookimpl",
    ),
    "an unknown hook": (parrot(translate=hook(lambda self: None)), "there is no hook 'translate'"),
    "a misspelt hook": (
        parrot(parse_eror=hook(lambda self: None)),
        "there is no hook 'parse_eror'; did you mean 'parse_error'?",
    ),
    "a misspelt required hook": (
        parrot(parse_stream=None, parse_streem=hook(lambda self: None)),
        "there is no hook 'parse_streem'; did you mean 'parse_stream'?",
    ),
    "a misspelt specname": (
        parrot(mistakes=hook(lambda self: None, specname="parse_eror")),
        "there is no hook 'parse_eror'; did you mean 'parse_error'?",
    ),
    "an async hook": (
        parrot(parse_stream=hook(streams)),
        "parse_stream is async; hooks are pure functions, the core does the input and output",
    ),
    "an async generator": (
        parrot(parse_stream=hook(streams_pieces)),
        "parse_stream is async; hooks are pure functions, the core does the input and output",
    ),
    "a generator": (
        parrot(parse_stream=hook(lambda self: (yield))),
        "parse_stream yields, which only @hookimpl(wrapper=True) may",
    ),
    "a wrapper without a yield": (
        parrot(sandbox=hook(lambda self: None, wrapper=True)),
        "sandbox is a wrapper and must yield once",
    ),
    "a wrapper of two kinds": (TwoFaced, "The wrapper=True and hookwrapper=True options are mutually exclusive"),
    "a keyword-only argument": (
        parrot(parse_stream=hook(lambda self, *, head: None)),
        "parse_stream takes 'head'; hooks take positional arguments by name",
    ),
    "any arguments by name": (
        parrot(parse_stream=hook(lambda self, **facts: None)),
        "parse_stream takes '**facts'; hooks take positional arguments by name",
    ),
    "any arguments": (
        parrot(parse_stream=hook(lambda self, *facts: None)),
        "parse_stream takes '*facts'; hooks take positional arguments by name",
    ),
    "an unknown argument": (
        parrot(parse_stream=hook(lambda self, haed: None)),
        "parse_stream takes 'haed'; it may take head, model, hook",
    ),
    "models that are no names": (
        parrot(describe=hook(lambda self: ProviderInfo("parrot", models=[Model("grey")]))),
        "describe raised: PluginError: models holds names, not Model(name='grey', reasoning=False)",
    ),
    "a constructor with arguments": (Choosy, "it can't be instantiated: TypeError: Choosy.__init__() missing 1"),
    "a constructor that exits": (Quitting, "it can't be instantiated: SystemExit: 3"),
    "an unknown feature": (parrot(supports={"telepathy"}), "describe raised: PluginError: supports has 'telepathy'"),
    "no description": (parrot(describe=hook(lambda self: None)), "describe gave NoneType, not ProviderInfo"),
    "no provider at all": (42, "it has no hook; a provider is an installed one's name, or a plugin itself"),
}


@pytest.mark.parametrize(("plugin", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_provider_is_refused_with_its_distribution_and_the_reason(install, plugin, reason):
    install("parrot", plugin)
    with pytest.raises(PluginError) as caught:
        providerkit.run("hi", provider="parrot")
    assert (caught.value.plugin, caught.value.distribution) == ("parrot", "birds 1.0")
    assert str(caught.value).startswith("plugin 'parrot' (birds 1.0): ")
    assert reason in str(caught.value)
    with pytest.raises(PluginError) as caught:
        providerkit.run("hi", provider=plugin)
    assert caught.value.distribution is None
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def Plugin(:", "SyntaxError: "),
        ("Plug = None", "AttributeError: module 'birds_module' has no attribute 'Plugin'"),
    ],
    ids=["raises", "exits", "imports what is not there", "has a mistake", "lacks what it announces"],
)
def test_an_import_that_fails_is_told_with_its_cause_and_traceback(install, code, cause):
    install("parrot", code)
    with pytest.raises(PluginError) as caught:
        load(PROVIDERS, "parrot")
    error = caught.value
    assert (error.plugin, error.distribution, error.hook) == ("parrot", "birds 1.0", None)
    assert str(error).startswith(f"plugin 'parrot' (birds 1.0): it can't be imported: {cause}")
    assert cause in error.__notes__[0]
    assert error.__cause__ is error.__context__ is None


def test_a_broken_plugin_touches_no_other_and_can_be_mended(install, site):
    module = install("parrot", "raise RuntimeError")
    install("macaw", parrot(describe=hook(lambda self: ProviderInfo("macaw"))), distribution="macaws")
    with pytest.raises(PluginError):
        find_provider("parrot")
    assert hooks_of("macaw").info.name == "macaw"
    (site / f"{module}.py").write_text("from parrots import Parrot as Plugin  # mended")
    assert hooks_of("parrot").info.name == "parrot"


def test_another_name_than_that_of_the_entry_point_is_refused(install):
    install("macaw", Parrot)
    hooks_of(Parrot)  # what is known of it by then must not matter
    with pytest.raises(PluginError) as caught:
        hooks_of("macaw")
    said = "plugin 'macaw' (birds 1.0): describe() says its name is 'parrot', not that of its entry point"
    assert str(caught.value) == said
    assert (caught.value.plugin, caught.value.distribution) == ("macaw", "birds 1.0")


def test_two_distributions_with_one_name_are_refused(install):
    install("parrot", Parrot, distribution="birds")
    install("parrot", Parrot, distribution="other-birds")
    problem = "birds 1.0 and other-birds 1.0 both announce this name; uninstall one"
    assert [found.problem for found in announcements() if found.name == "parrot"] == [problem] * 2
    with pytest.raises(PluginError, match=problem):
        load(PROVIDERS, "parrot")


def test_an_entry_point_of_another_form_is_refused(site):
    announce(site, "parrot", "not a module")
    with pytest.raises(PluginError, match="'not a module' is not of the form 'module:name'") as caught:
        load(PROVIDERS, "parrot")
    assert caught.value.distribution == "birds 1.0"


ASK = {
    "resolve_model": lambda hooks: hooks.resolve_model("grey"),
    "build_request": lambda hooks: hooks.build_request(CHAT, GREY, ENDPOINT),
    "parse_stream": lambda hooks: hooks.parse_stream(HEAD, GREY),
    "parse_error": lambda hooks: hooks.parse_error(HEAD, b""),
    "build_models_request": lambda hooks: hooks.build_models_request(ENDPOINT),
    "parse_models": lambda hooks: hooks.parse_models(HEAD, b""),
    "sandbox": lambda hooks: hooks.sandbox(aiohttp.web.Application),
}


@pytest.mark.parametrize(
    ("name", "answer", "wanted"),
    [
        ("resolve_model", "grey", "str, not Model"),
        ("resolve_model", None, "NoneType, not Model"),
        ("build_request", {"url": "/"}, "dict, not Request"),
        ("parse_stream", [], "list, not Decoder"),
        ("parse_error", "no", "str, not ProviderError"),
        ("build_models_request", "/models", "str, not Request"),
        ("parse_models", None, "NoneType, not list"),
        ("parse_models", ["grey"], "str, not Model"),
        ("sandbox", "http://here", "str, not Application"),
    ],
)
def test_a_hook_that_gives_a_wrong_type_is_told(install, name, answer, wanted):
    install("parrot", parrot(**{name: hook(lambda self: answer)}))
    with pytest.raises(PluginError) as caught:
        ASK[name](hooks_of("parrot"))
    assert str(caught.value) == f"plugin 'parrot' (birds 1.0): {name} gave {wanted}"
    assert (caught.value.plugin, caught.value.distribution, caught.value.hook) == ("parrot", "birds 1.0", name)


@pytest.mark.parametrize("name", ["parse_error", "build_models_request", "sandbox"])
def test_an_optional_hook_may_be_missing_or_give_nothing(name):
    assert ASK[name](hooks_of(Parrot)) is None
    assert ASK[name](hooks_of(parrot(**{name: hook(lambda self: None)}))) is None


def test_models_are_given_as_a_tuple():
    assert ASK["parse_models"](hooks_of(parrot(parse_models=hook(lambda self: [GREY])))) == (GREY,)


def test_models_that_can_be_asked_for_but_not_read_are_told():
    with pytest.raises(PluginError, match="plugin 'Parrot': parse_models gave NoneType, not list"):
        ASK["parse_models"](hooks_of(Parrot))


class Forgetful:
    @hookimpl(wrapper=True)
    def resolve_model(self):
        yield

    @hookimpl(wrapper=True)
    def wrap_transport(self):
        yield


def test_a_wrong_answer_names_all_that_it_came_through():
    with pytest.raises(PluginError, match="resolve_model gave NoneType, not Model") as caught:
        ASK["resolve_model"](hooks_of(Parrot, Forgetful, Tag("a")))
    assert str(caught.value).endswith("(asked through Forgetful, Tag, Parrot)")


def test_a_transport_that_an_extension_loses_is_told(install):
    install("forgetful", Forgetful, group=EXTENSIONS)
    with pytest.raises(
        PluginError, match="wrap_transport gave NoneType, not a Transport, which has a method"
    ) as caught:
        hooks_of(Parrot, "forgetful").wrap_transport(Loudspeaker())
    assert (caught.value.plugin, caught.value.distribution) == ("forgetful", "birds 1.0")


def fall(self):
    return 1 / 0


@pytest.mark.parametrize("name", ASK)
def test_a_hook_that_raises_is_blamed_with_its_traceback(install, name):
    install("parrot", parrot(**{name: hook(fall)}))
    with pytest.raises(PluginError) as caught:
        ASK[name](hooks_of("parrot", Tag("a")))
    error = caught.value
    assert str(error) == f"plugin 'parrot' (birds 1.0): {name} raised: ZeroDivisionError: division by zero"
    assert (error.plugin, error.distribution, error.hook) == ("parrot", "birds 1.0", name)
    assert "in fall\n" in error.__notes__[0]
    assert error.__cause__ is error.__context__ is None


class FallsBefore:
    @hookimpl(wrapper=True)
    def resolve_model(self):
        raise LookupError
        yield


class FallsAfter:
    @hookimpl(wrapper=True)
    def resolve_model(self):
        yield
        raise LookupError


class FallsOver:
    @hookimpl(wrapper=True)
    def resolve_model(self):
        try:
            yield
        except ZeroDivisionError:
            raise LookupError from None


@pytest.mark.parametrize("extension", [FallsBefore, FallsAfter, FallsOver])
def test_a_wrapper_that_raises_is_blamed_with_the_distribution_of_its_extension(install, extension):
    install("clumsy", extension, group=EXTENSIONS)
    provider = parrot(resolve_model=hook(fall)) if extension is FallsOver else Parrot
    with pytest.raises(PluginError, match=r"'clumsy' \(birds 1.0\): resolve_model raised: LookupError") as caught:
        ASK["resolve_model"](hooks_of(provider, Tag("a"), "clumsy", Tag("b")))
    assert (caught.value.plugin, caught.value.distribution) == ("clumsy", "birds 1.0")
    assert extension.__name__ in caught.value.__notes__[0] or "in resolve_model" in caught.value.__notes__[0]


def test_an_error_of_providerkit_passes_through_a_hook_as_it_is():
    error = MissingAPIKey("give a key")

    def build_request(self):
        raise error

    with pytest.raises(MissingAPIKey) as caught:
        ASK["build_request"](hooks_of(parrot(build_request=hook(build_request))))
    assert caught.value is error


def test_an_error_of_a_provider_that_is_not_described_yet_names_none():
    """Its name would be asked for by the very hook that raised."""

    def describe(self):
        raise MissingAPIKey("give a key")

    with pytest.raises(MissingAPIKey) as caught:
        hooks_of(parrot(describe=hook(describe))).info  # noqa: B018 - the property asks
    assert (str(caught.value), caught.value.provider) == ("give a key", None)


def test_a_plugin_error_that_names_its_plugin_passes_too():
    error = PluginError("no", plugin="nest")

    def sandbox(self):
        raise error

    with pytest.raises(PluginError) as caught:
        ASK["sandbox"](hooks_of(parrot(sandbox=hook(sandbox))))
    assert caught.value is error


def resolved(*extensions):
    return hooks_of(Parrot, *extensions).resolve_model(None).name


def test_the_extension_that_is_named_first_is_outermost():
    assert resolved(Tag("a"), Tag("b"), Tag("c")) == "greycba"


def test_those_of_the_call_come_first_then_the_environments_then_those_of_the_block(install, monkeypatch):
    for letter in "bcd":
        install(letter, Tag(letter), distribution=f"tag_{letter}", group=EXTENSIONS)
    monkeypatch.setenv("PROVIDERKIT_EXTENSIONS", "b, c,")
    with providerkit.activate("d"), providerkit.activate(Tag("e")):
        assert resolved(Tag("a")) == "greyedcba"
    assert resolved() == "greycb"


def test_each_extension_acts_once(install, monkeypatch):
    a, b = Tag("a"), Tag("b")
    install("a", a, group=EXTENSIONS)
    monkeypatch.setenv("PROVIDERKIT_EXTENSIONS", "a,a")
    with providerkit.activate(b, a, "a", b):
        assert resolved(b, "a") == "greyab"


def test_one_name_may_be_given_without_a_list(install):
    install("tag", Tag("a"), group=EXTENSIONS)
    assert [plugin.name for plugin in active_extensions("tag")] == ["tag"]


def test_an_extension_class_is_instantiated_once():
    first, second = active_extensions([Forgetful]) + active_extensions([Forgetful])
    assert isinstance(first.implementation, Forgetful)
    assert first.implementation is second.implementation


def test_extensions_and_providers_of_one_name_do_not_collide(install):
    install("parrot", Parrot)
    install("parrot", Tag("a"), distribution="tags", group=EXTENSIONS)
    assert hooks_of("parrot", "parrot", Tag("b")).resolve_model(None).name == "greyba"


def test_what_is_joined_is_joined_once():
    a, b = Tag("a"), Tag("b")
    assert hooks_of(Parrot, a, b) is hooks_of(Parrot, a, b)
    assert hooks_of(Parrot, a, b) is not hooks_of(Parrot, b, a)


def test_an_extension_that_is_not_active_is_not_imported(install):
    module = install("trail", "raise RuntimeError", group=EXTENSIONS)
    assert resolved() == "grey"
    assert module not in sys.modules
    with pytest.raises(PluginError, match=r"'trail' \(birds 1.0\): it can't be imported: RuntimeError"):
        resolved("trail")


async def test_a_run_sees_the_extensions_of_the_block_it_starts_in():
    async with serve(ANSWER) as server:
        made_before = providerkit.run("hi", provider=Parrot, base_url=server.base_url)
        with providerkit.activate(Tag("a")):
            assert (await made_before).model == "greya"
            made_within = providerkit.run("hi", provider=Parrot, base_url=server.base_url)
        assert (await made_within).model == "grey"


async def test_the_extensions_of_a_call_stand_in_for_those_of_its_client():
    async with serve(ANSWER) as server, providerkit.Client(extensions=[Tag("a")]) as client:
        assert (await client.run("hi", provider=Parrot, base_url=server.base_url)).model == "greya"
        run = client.run("hi", provider=Parrot, base_url=server.base_url, extensions=[Tag("b")])
        assert (await run).model == "greyb"


class Broadcast:
    """Put a loudspeaker before what it wraps."""

    def __init__(self):
        self.loudspeaker = Loudspeaker()

    @hookimpl(wrapper=True)
    def wrap_transport(self, transport):
        self.innermost = transport
        self.loudspeaker.inner = yield
        return self.loudspeaker


def test_the_core_holds_the_innermost_transport():
    a, b, innermost = Broadcast(), Broadcast(), Loudspeaker()
    assert hooks_of(Parrot).wrap_transport(innermost) is innermost
    assert hooks_of(Parrot, a, b).wrap_transport(innermost) is a.loudspeaker
    assert a.loudspeaker.inner is b.loudspeaker
    assert b.loudspeaker.inner is a.innermost is b.innermost is innermost


async def test_requests_go_through_the_transports_of_extensions():
    a = Broadcast()
    async with serve(ANSWER) as server:
        assert (await providerkit.run("hi", provider=Parrot, base_url=server.base_url, extensions=[a])).text == "squawk"
    assert [request.url for request in a.loudspeaker.sent] == [f"{server.base_url}/say"]


class Watching:
    def __init__(self, observer):
        self.observer = observer

    @hookimpl
    def observe(self, chat, model):
        return self.observer and self.observer(chat, model)


async def test_observers_are_made_once_a_run_and_told_of_its_course():
    told, made = Told(), []

    def observer(chat, model):
        made.append((chat.messages[0].text, model.name))
        return told

    async with serve(ANSWER) as server:
        reply = await providerkit.run(
            "hi", provider=Parrot, base_url=server.base_url, extensions=[Watching(observer), Watching(None)]
        )
    assert made == [("hi", "grey")]
    assert [what for what, *_ in told.facts] == ["attempt", "head", "events", "events", "finish"]
    assert told.facts[-1] == ("finish", reply)


def test_an_observer_that_can_not_be_made_is_told_before_anything_is_sent():
    with pytest.raises(PluginError, match="plugin 'Watching': observe raised: ZeroDivisionError"):
        providerkit.run("hi", provider=Parrot, extensions=[Watching(lambda chat, model: 1 / 0)]).result()


class Passing:
    """An extension that is made for one call."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def observe(self) -> object:
        return self.name

    @staticmethod
    @hookimpl(wrapper=True)
    def describe() -> Iterator[None]:
        return (yield)

    @hookimpl(wrapper=True, specname="wrap_transport")
    def stand_before(self, transport: Any) -> Iterator[None]:
        return (self.name, (yield))


def observed(*extensions: object) -> list[object]:
    hooks = assemble(find_provider(Parrot), tuple(plugins._plugin("passing", item) for item in extensions))
    answers: list[object] = hooks._relay.observe(chat=None, model=None, hook=None)
    return answers


def test_extensions_that_are_made_for_each_call_are_asked_each_for_its_own():
    assert [observed(Passing(name)) for name in "abc"] == [["a"], ["b"], ["c"]]
    assert observed(Passing("a"), Passing("b")) == ["a", "b"]
    assert observed(Passing("b"), Passing("a")) == ["b", "a"]


def test_an_extension_that_is_made_for_each_call_is_assembled_once():
    provider = find_provider(Parrot)
    first, second = (plugins._plugin("passing", Passing(name)) for name in "ab")
    assembling = calls_of([lambda: plugins._registered(provider, (first,))])
    assemble(provider, (first,))
    known = len(plugins._relays)
    assert calls_of([lambda: assemble(provider, (second,))]) * 10 < assembling
    assert len(plugins._relays) == known


def test_an_extension_that_is_made_for_each_call_is_not_kept():
    kept = []
    for name in "abc":
        extension = Passing(name)
        observed(extension)
        kept.append(weakref.ref(extension))
        del extension
    gc.collect()
    assert [ref() for ref in kept] == [None] * 3


def test_an_extension_with_hooks_of_its_own_is_assembled_by_itself():
    one = Passing("one")
    one.observe = hookimpl(lambda: "its own")  # type: ignore[method-assign]  # which is the point
    assert [observed(one), observed(Passing("two"))] == [["its own"], ["two"]]


def test_what_was_assembled_is_forgotten_before_it_is_too_much(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plugins, "MAX_RELAYS", 1)
    monkeypatch.setattr(plugins, "_relays", {})
    for _ in range(3):
        assert observed(type("Other", (Passing,), {})("a")) == ["a"]
        assert len(plugins._relays) == 1
