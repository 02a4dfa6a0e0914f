"""Plans: calls with the same options share one, and a plan that is bound again resolves nothing twice."""

import gc
import weakref

import pytest
from packages import forget
from parrots import Parrot

import providerkit
from providerkit import Chat, InvalidOption, Model, Retry, Timeouts, hookimpl
from providerkit.engine import plan as plans
from providerkit.plugins import assembly
from providerkit.plugins.assembly import assemble
from providerkit.plugins.loading import find_provider
from providerkit.plugins.plugin import Plugin


@pytest.fixture
def client():
    with providerkit.Client() as client:
        yield client


def bound(client, **options):
    return client.run("hi", **{"provider": Parrot, **options})._bound


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "green", "api_key": "a key", "base_url": "https://elsewhere.example", "rounds": 1, "stop": None},
        {"timeouts": Timeouts(total=9.0), "retry": Retry(attempts=1)},
    ],
    ids=["none", "words and numbers", "frozen values"],
)
def test_the_same_options_are_resolved_once(client, options):
    assert bound(client, **options) is bound(client, **options)


def test_a_provider_that_is_held_is_resolved_once(client):
    parrot = client.provider(Parrot)
    assert parrot.run("hi")._bound is parrot.run("hi")._bound


def test_what_may_change_is_read_for_each_call(client):
    headers = {"X-Team": "blue"}
    first = bound(client, headers=headers)
    headers["X-Team"] = "red"
    assert [found.first.endpoint.headers["X-Team"] for found in (first, bound(client, headers=headers))] == [
        "blue",
        "red",
    ]


def test_what_is_equal_but_not_the_same_is_told_apart(client):
    unchosen, chosen = Timeouts(), Timeouts(first_event=60.0)
    assert unchosen == chosen
    assert [bound(client, timeouts=each).timeouts.hurried().first_event for each in (unchosen, chosen)] == [10.0, 60.0]
    bound(client, rounds=1)
    with pytest.raises(InvalidOption):
        bound(client, rounds=True)


def test_a_key_that_has_changed_is_used(client, monkeypatch):
    class Keyed(Parrot):
        @hookimpl
        def describe(self):
            return providerkit.ProviderInfo("keyed", default_base_url="https://keyed.example", api_key_env="KEYED")

    keys = []
    for value in ("first", "second"):
        monkeypatch.setenv("KEYED", value)
        keys.append(bound(client, provider=Keyed).first.endpoint.api_key.reveal())
    assert keys == ["first", "second"]


def test_the_extensions_of_now_are_used(client):
    before = bound(client)
    with providerkit.activate(Through()):
        assert [plugin.name for plugin in bound(client).extensions] == ["Through"]
    assert (before.extensions, bound(client).extensions) == ((), ())


def test_an_object_that_was_passed_is_not_kept(client):
    extension = Through()
    with providerkit.activate(extension):
        bound(client)
    kept = weakref.ref(extension)
    del extension
    gc.collect()
    assert kept() is None


def test_a_provider_that_is_installed_again_is_loaded_again(client, install):
    install("parrot", Parrot)
    first = bound(client, provider="parrot")
    assert bound(client, provider="parrot") is first
    forget()
    assert bound(client, provider="parrot") is not first


def test_plans_are_forgotten_before_they_are_too_many(client, monkeypatch):
    monkeypatch.setattr(plans, "MAX_PLANS", 2)
    for rounds in range(5):
        bound(client, rounds=rounds)
        assert len(client._settings.plans._known) <= 2


def test_an_extension_that_is_passed_again_is_assembled_once(client):
    extension, known = Through(), len(assembly._bound)
    hooks = [bound(client, extensions=[extension]).first.hooks for _ in range(2)]
    assert hooks[0]._relay is hooks[1]._relay
    assert len(assembly._bound) == known + 1
    del extension, hooks
    gc.collect()
    assert len(assembly._bound) == known


def test_the_extensions_of_a_client_live_as_long_as_it_does():
    with providerkit.Client(extensions=[Through()]) as client:
        assert bound(client) is bound(client)


def test_an_object_that_can_not_be_held_weakly_is_not_held():
    class Slotted:
        __slots__ = ("name",)

        def __init__(self, name):
            self.name = name

        @hookimpl
        def observe(self):
            return self.name

    known = len(assembly._bound)
    hooks = [assemble(find_provider(Parrot), (Plugin("slotted", Slotted(name)),)) for name in "ab"]
    assert [each.observe(Chat(()), Model("grey")) for each in hooks] == [["a"], ["b"]]
    assert len(assembly._bound) == known


def test_hooks_keep_the_extensions_alive_that_they_ask():
    hooks = assemble(find_provider(Parrot), (Plugin("clumsy", Clumsy()),))
    gc.collect()
    assert hooks.observe(Chat(()), Model("grey")) == [stumble]


def test_what_is_raised_beyond_the_hooks_of_an_extension_that_was_passed_is_told_as_its_own():
    hooks = assemble(find_provider(Parrot), (Plugin("clumsy", Clumsy()),))
    (watch,) = hooks.observe(Chat(()), Model("grey"))
    with pytest.raises(ZeroDivisionError) as raised:
        watch()
    assert str(hooks.failed("the watch stopped", raised.value)).startswith("plugin 'clumsy': the watch stopped")


class Clumsy:
    @hookimpl
    def observe(self):
        return stumble


def stumble():
    return 1 / 0


class Through:
    @hookimpl
    def observe(self):
        return None


def test_body_fields_are_checked_and_can_not_be_changed(client):
    extra = {"top_k": 5}

    class Taking(Parrot):
        @hookimpl
        def describe(self):
            return providerkit.ProviderInfo("taking", default_base_url="https://taking.example", supports=["extra"])

    kept = bound(client, provider=Taking, extra=extra).first.extra
    extra["top_k"] = 6
    assert dict(kept) == {"top_k": 5}
    with pytest.raises(InvalidOption, match="expected a mapping of body fields"):
        client.provider(Taking).embed("hi", extra=["top_k"])
