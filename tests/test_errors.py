"""Everything raised on purpose: one tree, facts in fields, nothing lost on the way through pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from providerkit import errors
from providerkit.errors import (
    AuthenticationError,
    BadRequest,
    CassetteError,
    InvalidMessages,
    InvalidOption,
    NotFound,
    Overloaded,
    PluginError,
    ProviderError,
    ProviderKitError,
    QuotaExhausted,
    RateLimited,
    ServerError,
    StreamMalformed,
    TimedOut,
    UnknownExtension,
    UnknownProvider,
    UnmatchedRequest,
    UnsupportedFeature,
)

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ProviderKitError) and not name.startswith("_")
}

# What each class holds beside the message.
FIELDS = {
    UnknownProvider: {"name": "koalla", "installed": ("koala",)},
    UnknownExtension: {"name": "trase", "installed": ("trace",)},
    PluginError: {"plugin": "koala", "distribution": "providerkit-koala 1", "hook": "describe"},
    UnsupportedFeature: {"option": "seed", "provider": "koala"},
    InvalidMessages: {"index": 3},
    InvalidOption: {"option": "seed"},
    CassetteError: {"path": "sky.jsonl", "line": 3},
    UnmatchedRequest: {"path": "sky.jsonl", "line": 3, "difference": "json.text: recorded 'a', asked 'b'"},
    ProviderError: {
        "status": 418,
        "code": "teapot",
        "request_id": "r1",
        "retry_after": 1.5,
        "retry_at": 7.0,
        "should_retry": False,
        "provider": "koala",
    },
    TimedOut: {"clock": "idle", "seconds": 60.0},
    StreamMalformed: {"incomplete": True},
}


def fields_of(kind: type[ProviderKitError]) -> dict[str, object]:
    return next((FIELDS[base] for base in kind.__mro__ if base in FIELDS), {})


def drawn() -> dict[str, str | None]:
    """Read the tree in the module's docstring: each class with its parent."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        if branch := re.match(r"([│├└─ ]*)([A-Z]\w+)(?=  |$)", line):
            depth = len(branch[1]) // 4
            path = [*path[:depth], branch[2]]
            parents[branch[2]] = path[-2] if depth else None
    return parents


def test_the_tree_is_the_one_drawn_in_the_docstring():
    built = {
        name: next((base.__name__ for base in kind.__mro__[1:] if base.__name__ in CLASSES), None)
        for name, kind in CLASSES.items()
    }
    assert built == drawn()


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_an_error_comes_through_pickle_and_copy_whole(kind):
    error = kind("what happened", **fields_of(kind))
    error.partial = "Hello"
    error.add_note("seen on the way")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own
        assert type(other) is kind
        assert str(other) == "what happened"
        assert vars(other) == vars(error) == {"partial": "Hello", "__notes__": ["seen on the way"], **fields_of(kind)}


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_an_error_can_be_made_without_facts(kind):
    error = kind()
    assert str(error) == error.partial == ""
    assert {value for value in vars(error).values() if value} == set()


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_an_error_explains_itself(kind):
    assert kind.__doc__


def test_a_timeout_is_a_builtin_timeout_too():
    assert issubclass(TimedOut, TimeoutError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((400, BadRequest), (422, BadRequest), (401, AuthenticationError), (403, AuthenticationError)),
        *((402, QuotaExhausted), (404, NotFound), (429, RateLimited), (529, Overloaded)),
        *((500, ServerError), (502, ServerError), (503, ServerError), (504, ServerError), (599, ServerError)),
        *((200, ProviderError), (302, ProviderError), (405, ProviderError), (409, ProviderError), (499, ProviderError)),
    ],
)
def test_a_status_stands_for_a_kind_of_error(status, kind):
    error = ProviderError.from_status(status, "no", code="c")
    assert type(error) is kind
    assert (str(error), error.status, error.code) == ("no", status, "c")
    assert ProviderError.from_status(status, "no").code is None


def test_redacting_masks_every_text_and_nothing_else():
    error = ProviderError("no key", status=401, code="key", request_id="r-key", provider="koala")
    error.partial = "my key"
    error.args = ("no key", 5, "key")
    error.add_note("key in a note")
    error.redact(lambda text: text.replace("key", "***"))
    assert error.args == ("no ***", 5, "***")
    assert error.__notes__ == ["*** in a note"]
    assert (error.status, error.code, error.request_id, error.provider) == (401, "***", "r-***", "koala")
    assert error.partial == "my ***"
    assert error.retry_after is None
