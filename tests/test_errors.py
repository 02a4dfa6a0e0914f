"""Everything raised on purpose: one tree, facts in fields, nothing lost on the way through pickle."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import re
import traceback

import pytest

from providerkit import errors
from providerkit.errors import (
    Argument,
    AuthenticationError,
    BadRequest,
    CassetteError,
    InvalidMessages,
    InvalidOption,
    MissingAPIKey,
    NotFound,
    Overloaded,
    Phrase,
    PluginError,
    ProviderError,
    ProviderKitError,
    QuotaExhausted,
    RateLimited,
    ServerError,
    StreamMalformed,
    TimedOut,
    UnexpectedContent,
    UnknownExtension,
    UnknownModel,
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
    MissingAPIKey: {"provider": "koala", "variable": "KOALA_API_KEY"},
    UnsupportedFeature: {"option": "seed", "provider": "koala"},
    UnknownModel: {"provider": "koala"},
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
        "url": "https://koala.example/chat",
        "missing_path": "/v1",
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
        assert str(other) == str(error)
        assert "what happened" in str(error)
        assert vars(other) == vars(error) == {"partial": "Hello", "__notes__": ["seen on the way"], **fields_of(kind)}


@pytest.mark.parametrize(
    "seconds",
    ["5", "x", b"1", [1], {"a": 1}, True, math.nan, math.inf, -math.inf, 10**400],
    ids=lambda value: repr(value)[:9],
)
def test_a_wait_that_is_no_number_is_none(seconds):
    """A plugin copies it from a body, where anything may stand; what is calculated with must be a number."""
    error = errors.RateLimited("slow down", retry_after=seconds)
    assert error.retry_after is None
    error.retry_after = 5
    assert error.retry_after == 5
    error.retry_after = seconds
    assert error.retry_after is None


@pytest.mark.parametrize(("asked", "seconds"), [(-5, 0.0), (0, 0.0), (1e308, 1e308), (2, 2.0), (None, None)])
def test_a_wait_is_never_below_0(asked, seconds):
    assert errors.RateLimited("slow down", retry_after=asked).retry_after == seconds


class Mute:
    def __repr__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a", "'a'"), ("a" * 99, "'" + "a" * 99 + " …"), (10**5000, "<int>"), (Mute(), "<Mute>")],
    ids=["short", "long", "many digits", "mute"],
)
def test_a_value_is_shown_in_brief(value, shown):
    assert errors.short_repr(value) == shown


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
    assert (str(error), error.status, error.code) == (f"{status}: no", status, "c")
    assert ProviderError.from_status(status, "no").code is None


PARTS = ("say ", Argument("base_url", ...), ", ", Argument("model", "gpt-5"), Phrase(" in Python", " here"))


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_a_message_may_consist_of_parts(kind):
    error = kind(*PARTS)
    assert str(error) == "say base_url=..., model='gpt-5' in Python"
    assert "".join(map(repr, error.parts())) == "".join(map(repr, ("", *PARTS)[not issubclass(kind, ProviderError) :]))
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own
        assert other.args == PARTS


def test_redacting_masks_every_part():
    error = InvalidOption("my key", Argument("model", "key"), Argument("seed", 5), Phrase("key=", "--key"))
    error.redact(lambda text: text.replace("key", "***"))
    assert error.args == ("my ***", Argument("model", "***"), Argument("seed", 5), Phrase("***=", "--***"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ProviderError("no", provider="koala", status=429), "koala: 429: no"),
        (ProviderError("no", provider="koala"), "koala: no"),
        (ProviderError("no"), "no"),
        (ProviderError(provider="koala", status=429), "koala: 429"),
        (NotFound("no", provider="koala", status=404), "koala: 404: no"),
    ],
)
def test_the_error_of_a_provider_begins_with_provider_and_status(error, words):
    assert str(error) == words


@pytest.mark.parametrize(
    ("kind", "status", "named"),
    [(NotFound, 404, True), (ProviderError, 405, True), (UnexpectedContent, 200, True), (RateLimited, 429, False)],
)
def test_an_address_is_named_if_it_may_be_the_wrong_one(kind, status, named):
    error = kind("no", provider="koala", status=status, url="https://koala.example/chat")
    place = " (at https://koala.example/chat)" if named else ""
    assert str(error) == f"koala: {status}: no{place}"
    error.missing_path = "/v1"
    assert str(error) == f"koala: {status}: no{place}{'; does base_url lack /v1 at its end?' if named else ''}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MissingAPIKey("no key"), "no key"),
        (MissingAPIKey("no key", provider="koala"), "no key; pass api_key=..."),
        (MissingAPIKey("no key", provider="koala", variable="K"), "no key; pass api_key=... or set K"),
        (UnknownModel("no model"), "no model"),
    ],
)
def test_the_way_out_is_told_as_far_as_the_fields_know_it(error, words):
    assert str(error) == words


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


# What an error shows, masked


class Slotted(ProviderError):
    __slots__ = ("said",)


class Opaque:
    """Show a key, as an object of a plugin's own may."""

    def __repr__(self):
        return "<Opaque sk-MARKED>"


class Mute:
    """Show nothing, not even a repr."""

    def __repr__(self):
        raise RuntimeError


class OfTheSystem(ProviderError, OSError):
    pass


def mask(text):
    return text.replace("sk-MARKED", "***")


def shown(error):
    fields = {name: getattr(error, name, None) for name in ("said", "strerror", "filename", "object", "code")}
    return repr([str(error), repr(error), vars(error), fields, "".join(traceback.format_exception(error))])


def nested(error, *causes):
    error.__cause__, error.__context__ = causes
    return error


ITSELF = ["sk-MARKED"]
ITSELF += [ITSELF, ITSELF]
DEEP = "sk-MARKED"
for _ in range(200):
    DEEP = [DEEP]
LEAKS = {
    "a text": lambda: "sk-MARKED",
    "bytes": lambda: b"sk-MARKED",
    "an array of bytes": lambda: bytearray(b"sk-MARKED"),
    "a dict": lambda: {"sk-MARKED": 1, "a": {"b": ("sk-MARKED", 1, None, True, 1.5)}},
    "a list": lambda: ["a", ["sk-MARKED"]],
    "a tuple": lambda: ("sk-MARKED", b"sk-MARKED"),
    "a set": lambda: {"sk-MARKED"},
    "a frozen set": lambda: frozenset(["sk-MARKED"]),
    "an object": lambda: Opaque(),
    "objects in a list": lambda: [Opaque()],
    "an exception": lambda: nested(
        ValueError("sk-MARKED"), KeyError("sk-MARKED"), OSError(2, "sk-MARKED", "sk-MARKED")
    ),
    "an exception of C": lambda: UnicodeDecodeError("ascii", b"sk-MARKED", 0, 1, "sk-MARKED"),
    "several exceptions": lambda: ExceptionGroup("sk-MARKED", [ValueError("sk-MARKED")]),
    "a list in itself": lambda: ITSELF,
    "a deep list": lambda: DEEP,
    "a large list": lambda: ["sk-MARKED"] * errors.MAX_REDACTED,
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
@pytest.mark.parametrize("place", ["args", "a field", "a slot", "a note", "a cause", "another field of it"])
def test_a_secret_is_masked_wherever_an_error_holds_it(leak, place):
    leak, error = leak(), Slotted("no")
    match place:
        case "args":
            error = Slotted(leak)
        case "a field":
            error.details = leak
        case "a slot":
            error.said = leak
        case "a note":
            error.__notes__ = [leak]
        case "a cause":
            error.__cause__ = error.__context__ = ValueError(leak)
        case _:
            error.partial = leak
    error.redact(mask)
    assert "sk-MARKED" not in shown(error)
    assert "sk-MARKED" not in mask_free(error)
    assert (error.__cause__, error.__context__, error.__traceback__) == (None, None, None)


def mask_free(error):
    """Return what the nested exceptions of an error show."""
    held = [*error.args, getattr(error, "details", None), getattr(error, "said", None)]
    return "".join(shown(value) for value in held if isinstance(value, BaseException))


def test_what_shows_no_secret_stays_the_same_object():
    values = [{"a": [1]}, [b"a"], (1,), {1}, 1.5, Mute(), ValueError("a"), b"a"]
    error = ProviderError("no", status=429, retry_after=1.5)
    error.values = values
    error.each = dict(enumerate(values))
    before = dict(vars(error))
    error.redact(mask)
    assert all(value is before[name] for name, value in vars(error).items())


def test_what_is_masked_keeps_its_shape():
    error = ProviderError({"message": "a sk-MARKED", "codes": [1, ("sk-MARKED", None)]})
    error.redact(mask)
    assert error.args == ({"message": "a ***", "codes": [1, ("***", None)]},)


def test_attributes_that_c_keeps_are_masked():
    error = OfTheSystem("no")
    error.filename, error.strerror = "sk-MARKED", "a sk-MARKED"
    error.redact(mask)
    assert (error.filename, error.strerror) == ("***", "a ***")


def test_a_redacted_error_forgets_the_frames_that_it_came_through():
    def send(key):
        raise ProviderError("no")

    with pytest.raises(ProviderError) as caught:
        send("sk-MARKED")
    caught.value.redact(mask)
    assert caught.value.__traceback__ is None
