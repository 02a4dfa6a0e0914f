"""The questions that plugins answer, those that extensions wrap, and those that extensions bring."""

import inspect

import aiohttp.web
import pytest
from parrots import Parrot

from providerkit import (
    Chat,
    Embeddings,
    Endpoint,
    Message,
    Model,
    PluginError,
    Request,
    ResponseHead,
    Secret,
    Token,
    hookimpl,
    hookspec,
)
from providerkit.plugins.assembly import assemble
from providerkit.plugins.hookspecs import HOOKS, REQUIRED, ExtensionHooks, ProviderHooks
from providerkit.plugins.loading import active_extensions, find_provider

ASKED_OF_PROVIDERS = {name: spec for name, spec in vars(ProviderHooks).items() if name in HOOKS}
ASKED_OF_EXTENSIONS = {name: spec for name, spec in vars(ExtensionHooks).items() if name in HOOKS}
ALL = {**ASKED_OF_PROVIDERS, **ASKED_OF_EXTENSIONS}


def hooks_of(provider, *extensions):
    return assemble(find_provider(provider), active_extensions(extensions))


def plugin(**hooks):
    """Make a plugin of these functions; they are marked already, or plain answers."""
    return type("Plugin", (), hooks)()


def test_the_hooks_are_these():
    assert set(ASKED_OF_PROVIDERS) == {
        *("describe", "resolve_model", "build_request", "parse_stream"),
        *("parse_error", "build_models_request", "parse_models", "sandbox"),
        *("build_embed_request", "parse_embeddings", "build_token_request", "parse_token"),
    }
    assert set(ASKED_OF_EXTENSIONS) == {"observe", "wrap_transport", "hookspecs"}
    assert set(ALL) == HOOKS
    assert REQUIRED == ("describe", "resolve_model", "build_request", "parse_stream")


@pytest.mark.parametrize("name", sorted(HOOKS - {"hookspecs"}))
def test_every_hook_offers_the_relay(name):
    assert "hook" in inspect.signature(ALL[name]).parameters


@pytest.mark.parametrize("name", sorted(HOOKS - {"observe", "hookspecs"}))
@pytest.mark.parametrize("specname", [None, "specname"])
def test_an_extension_that_would_replace_rather_than_wrap_is_refused(name, specname):
    mark = hookimpl(specname=name) if specname else hookimpl
    sneaky = plugin(**{"sneak" if specname else name: mark(lambda self: None)})
    with pytest.raises(PluginError, match=r"would replace the provider's; wrap it with @hookimpl\(wrapper=True\)"):
        hooks_of(Parrot, sneaky)


@pytest.mark.parametrize("name", sorted(HOOKS - {"hookspecs"}))
def test_an_extension_may_wrap_every_hook(name):
    asked = []

    def wrap(self):
        asked.append(name)
        return (yield)

    hooks = hooks_of(Everything, plugin(**{name: hookimpl(wrapper=True)(wrap)}))
    for question in QUESTIONS.values():
        question(hooks)
    assert asked == [name]


class Everything(Parrot):
    @hookimpl
    def parse_error(self):
        return None

    @hookimpl
    def build_models_request(self):
        return None

    @hookimpl
    def parse_models(self):
        return []

    @hookimpl
    def build_embed_request(self, endpoint):
        return Request.json(endpoint.url("/embed"), {})

    @hookimpl
    def parse_embeddings(self):
        return Embeddings([[1.0]])

    @hookimpl
    def build_token_request(self, endpoint):
        return Request.json(endpoint.url("/token"), {})

    @hookimpl
    def parse_token(self):
        return Token(Secret("token"), 60.0)

    @hookimpl
    def sandbox(self):
        return aiohttp.web.Application()


class Loudspeaker:
    def send(self, request): ...


CHAT, GREY, HEAD, ENDPOINT = (
    Chat((Message("user", "hi"),)),
    Model("grey"),
    ResponseHead(200),
    Endpoint("http://a.invalid"),
)
QUESTIONS = {
    "resolve_model": lambda hooks: hooks.resolve_model(None),
    "build_request": lambda hooks: hooks.build_request(CHAT, GREY, ENDPOINT),
    "parse_stream": lambda hooks: hooks.parse_stream(HEAD, GREY),
    "parse_error": lambda hooks: hooks.parse_error(HEAD, b""),
    "build_models_request": lambda hooks: hooks.build_models_request(ENDPOINT, None),
    "parse_models": lambda hooks: hooks.parse_models(HEAD, b""),
    "build_embed_request": lambda hooks: hooks.build_embed_request(("a",), GREY, ENDPOINT, {}),
    "parse_embeddings": lambda hooks: hooks.parse_embeddings(HEAD, b"", 1),
    "build_token_request": lambda hooks: hooks.build_token_request(ENDPOINT),
    "parse_token": lambda hooks: hooks.parse_token(HEAD, b""),
    "sandbox": lambda hooks: hooks.sandbox(aiohttp.web.Application),
    "observe": lambda hooks: hooks.observe(CHAT, GREY),
    "wrap_transport": lambda hooks: hooks.wrap_transport(Loudspeaker()),
}


class Questions:
    @hookspec(firstresult=True)
    def nickname(self, model):
        """Return a model a name among friends."""


class Nicknames:
    """Bring a hook of its own, and put its answer into the model's name."""

    @hookimpl
    def hookspecs(self):
        return Questions

    @hookimpl(wrapper=True)
    def resolve_model(self, hook):
        model = yield
        return Model(hook.nickname(model=model) or model.name)


class Friendly(Parrot):
    @hookimpl(optionalhook=True)
    def nickname(self, model):
        return f"dear {model.name}"


class Keen:
    @hookimpl
    def nickname(self, model):
        return f"keen {model.name}"


class Curious:
    @hookimpl(optionalhook=True)
    def nickname(self, modell):
        return modell


class Falling:
    @hookimpl(optionalhook=True)
    def nickname(self):
        raise LookupError


def resolved(provider, *extensions):
    return hooks_of(provider, *extensions).resolve_model(None).name


def test_an_extension_asks_a_hook_of_its_own_which_the_provider_answers():
    assert resolved(Friendly, Nicknames) == "dear grey"
    assert resolved(Friendly) == "grey"
    assert resolved(Parrot, Nicknames) == "grey"


@pytest.mark.parametrize("extensions", [(Keen, Nicknames), (Nicknames, Keen)], ids=["named before", "named after"])
def test_specs_are_there_before_any_hook_is_checked(extensions):
    assert resolved(Friendly, *extensions) == "keen grey"


def test_a_hook_of_an_extension_that_is_not_active_is_unknown():
    with pytest.raises(PluginError, match="plugin 'Keen': there is no hook 'nickname'"):
        hooks_of(Parrot, Keen)


def test_an_optional_hook_does_not_make_it_known_to_others():
    with pytest.raises(PluginError, match="plugin 'Keen': there is no hook 'nickname'"):
        hooks_of(Friendly, Keen)


def test_answers_are_held_to_the_spec_of_the_extension():
    with pytest.raises(PluginError, match="plugin 'Curious': nickname takes 'modell'; it may take model"):
        hooks_of(Parrot, Nicknames, Curious)
    assert resolved(Parrot, Curious) == "grey"


def test_who_answers_the_hook_of_an_extension_is_blamed_for_its_own_failure():
    with pytest.raises(PluginError, match="plugin 'Falling': resolve_model raised: LookupError") as caught:
        resolved(Parrot, Nicknames, Falling)
    assert caught.value.plugin == "Falling"


def test_an_extension_may_have_no_specs_after_all():
    assert resolved(Parrot, plugin(hookspecs=hookimpl(lambda self: None))) == "grey"


class Taken:
    @hookspec
    def build_request(self, chat):
        """Ask what is asked already."""


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        (lambda self: 42, "ValueError: did not find any 'providerkit' hooks in 42"),
        (lambda self: Taken, "ValueError: Hook 'build_request' is already registered within namespace"),
        (lambda self: Questions, "ValueError: Hook 'nickname' is already registered within namespace"),
        (lambda self: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda self, hook: None, "TypeError: "),
    ],
    ids=["no specs", "a hook of the core", "a hook of another extension", "raises", "an argument"],
)
def test_specs_that_can_not_be_used_are_refused(specs, reason):
    greedy = plugin(hookspecs=hookimpl(specs))
    with pytest.raises(PluginError) as caught:
        hooks_of(Parrot, Nicknames, greedy)
    assert str(caught.value).startswith(f"plugin 'Plugin': its hookspecs can't be used: {reason}")
    assert (caught.value.plugin, caught.value.hook) == ("Plugin", "hookspecs")
    assert caught.value.__notes__
    assert caught.value.__cause__ is caught.value.__context__ is None
