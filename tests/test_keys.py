"""Keys: who is asked first, that a keyring holds up nobody, and that none shows."""

import subprocess
import sys
import threading
import traceback

import pytest
from keyring.backends.fail import Keyring as Fail
from keyring.backends.null import Keyring as Null
from keyrings import Memory
from loopback import http, serve

import providerkit
from providerkit.plugins import keys
from providerkit.plugins.keys import SERVICE, find_key, key_source

KOALA = providerkit.ProviderInfo(name="koala", api_key_env="KOALA_API_KEY")
KEYLESS = providerkit.ProviderInfo(name="keyless")
KEY = "sk-marked-0123456789"


def test_what_is_given_goes_before_the_environment_and_that_before_the_keyring(memory, monkeypatch):
    memory.kept[SERVICE, "koala"] = "from-keyring"
    assert find_key(KOALA) == providerkit.Secret("from-keyring")
    assert key_source(KOALA) == "keyring"
    monkeypatch.setenv("KOALA_API_KEY", "from-environment")
    assert find_key(KOALA) == providerkit.Secret("from-environment")
    assert key_source(KOALA) == "environment"
    assert find_key(KOALA, "given") == providerkit.Secret("given")


def test_the_keyring_is_asked_for_nobody_who_has_a_key_or_takes_none(memory, monkeypatch):
    find_key(KOALA, "given")
    monkeypatch.setenv("KOALA_API_KEY", "from-environment")
    find_key(KOALA)
    assert find_key(KEYLESS) is None
    assert memory.asked == []


@pytest.mark.parametrize("kept", [None, "", " ", "\t\r\n"])
@pytest.mark.parametrize("variable", ["", " ", "\n", "\u00a0"])
def test_no_key_and_a_blank_one_are_none_and_that_is_remembered(memory, monkeypatch, variable, kept):
    monkeypatch.setenv("KOALA_API_KEY", variable)
    memory.kept[SERVICE, "koala"] = kept
    assert (find_key(KOALA), find_key(KOALA), key_source(KOALA)) == (None, None, None)
    assert memory.asked == [("providerkit", "koala")]


@pytest.mark.parametrize("given", ["", " ", "\n", "\u00a0"])
def test_a_blank_key_that_is_given_is_refused_rather_than_replaced(memory, monkeypatch, given):
    """Whoever passes a key does not mean that of somebody else."""
    monkeypatch.setenv("KOALA_API_KEY", KEY)
    with pytest.raises(providerkit.InvalidOption, match="the key must be a string that is not blank"):
        find_key(KOALA, given)


async def test_a_blank_key_of_the_environment_is_not_sent(memory, monkeypatch):
    monkeypatch.setenv("KOALA_API_KEY", "   ")
    async with serve(http(b'{"message": "no leaves for you"}', status=400)) as server:
        with pytest.raises(providerkit.BadRequest, match="no leaves for you"):
            await providerkit.run("Hello", provider="koala", base_url=server.base_url)
    assert "authorization" not in server.requests[0].headers


async def test_a_call_takes_the_key_of_the_keyring(memory):
    memory.kept[SERVICE, "koala"] = KEY
    async with serve(http(b'{"output": "Hi."}', content_type="application/json")) as server:
        for _ in range(2):
            await providerkit.run("Hello", provider="koala", base_url=server.base_url)
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 2
    assert len(memory.asked) == 1


def test_a_key_of_the_keyring_that_can_not_be_sent_is_an_error_that_does_not_show_it(memory):
    memory.kept[SERVICE, "koala"] = f"{KEY}\n"
    with pytest.raises(providerkit.InvalidOption) as caught:
        find_key(KOALA)
    assert KEY not in "".join(traceback.format_exception(caught.value))


class Hanging(Memory):
    """Answer nobody before the test is over."""

    def __init__(self):
        super().__init__()
        self.over = threading.Event()

    def get_password(self, service, username):
        super().get_password(service, username)
        self.over.wait()


def test_a_keyring_that_hangs_is_waited_for_once(any_backend):
    hanging = Hanging()
    any_backend(hanging, patience=0.01)
    try:
        other = providerkit.ProviderInfo(name="parrot", api_key_env="PARROT_API_KEY")
        assert [find_key(info) for info in (KOALA, other, KOALA)] == [None] * 3
        assert keys.system_keyring.trouble == "the keyring did not answer within 0.01 s"
        assert len(hanging.asked) == 1
    finally:
        hanging.over.set()


def test_a_keyring_that_fails_is_asked_once_and_no_key_is_found(any_backend):
    any_backend(Fail())
    assert find_key(KOALA) is None
    assert keys.system_keyring.trouble.startswith("the keyring can't be used: NoKeyringError: No recommended backend")
    assert keys.system_keyring.backend() is None


def test_what_keeps_the_keys_has_a_name(memory):
    assert keys.system_keyring.backend() == "memory of the tests"


def test_a_key_is_kept_and_removed_and_seen_at_once(memory):
    assert find_key(KOALA) is None
    assert keys.system_keyring.set("koala", providerkit.Secret(KEY)) == "memory of the tests"
    assert find_key(KOALA) == providerkit.Secret(KEY)
    assert keys.system_keyring.remove("koala")
    assert not keys.system_keyring.remove("koala")
    assert find_key(KOALA) is None


def test_a_keyring_that_keeps_nothing_is_an_error(any_backend):
    any_backend(Null())
    with pytest.raises(providerkit.ConfigurationError, match="took the key but did not keep it"):
        keys.system_keyring.set("koala", providerkit.Secret(KEY))


class Telling(Memory):
    def set_password(self, service, username, password):
        raise ValueError(f"{password} is no password")


def test_a_keyring_that_repeats_the_key_in_its_error_does_not_show_it(any_backend):
    any_backend(Telling())
    with pytest.raises(providerkit.ConfigurationError, match="ValueError") as caught:
        keys.system_keyring.set("koala", providerkit.Secret(KEY))
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_where_keyring_is_not_installed_nobody_waits_for_it(memory, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    memory.kept[SERVICE, "koala"] = KEY
    assert find_key(KOALA) is None
    assert keys.system_keyring.trouble is None
    for change in (
        lambda: keys.system_keyring.set("koala", providerkit.Secret(KEY)),
        lambda: keys.system_keyring.remove("koala"),
    ):
        with pytest.raises(providerkit.ConfigurationError, match="keyring is not installed; run: pip install keyring"):
            change()


@pytest.mark.parametrize("given", ["api_key='given'", "headers={}"], ids=["given", "in the environment"])
def test_keyring_is_not_imported_where_there_is_a_key(given, monkeypatch):
    if "headers" in given:
        monkeypatch.setenv("KOALA_API_KEY", KEY)
    code = (
        f"import sys, providerkit; providerkit.run('Hello', provider='koala', {given}); print('keyring' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
