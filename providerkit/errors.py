"""Everything that providerkit raises on purpose, split by what the caller can do.

ProviderKitError
├── ConfigurationError          fix the call, or the plugin
│   ├── UnknownProvider         no such provider is installed
│   ├── UnknownExtension        no such extension is installed
│   ├── PluginError             a plugin is broken, or broke its contract
│   ├── MissingAPIKey           the provider needs a key
│   ├── UnsupportedFeature      the provider can't serve an option
│   ├── UnknownModel            the provider has no such model
│   ├── InvalidMessages         the messages are not a chat
│   ├── InvalidOption           an option's value can't be sent
│   ├── RunConsumed             a Run was started twice, or where it can't run
│   └── CassetteError           a cassette can't be read, written or followed
│       └── UnmatchedRequest    it has no answer to a request
├── ProviderError               the provider said no
│   ├── AuthenticationError     401, 403
│   ├── BadRequest              400, 422
│   ├── NotFound                404
│   ├── RateLimited             429
│   ├── QuotaExhausted          402, and 429s that waiting does not cure
│   ├── ContextLengthExceeded   the chat is too long for the model
│   ├── ContentFiltered         the provider refuses the content
│   ├── UnexpectedContent       an answer, but no chat answer: an HTML page, say
│   └── ServerError             5xx
│       └── Overloaded          529
├── TransportError              the provider could not be reached
│   ├── ConnectError            no connection: name, address, TLS, proxy
│   ├── Disconnected            the connection broke before the answer began
│   └── TimedOut                a clock fired; also a builtin TimeoutError
└── StreamError                 the answer broke
    ├── StreamTruncated         it stopped before its end was proven
    └── StreamMalformed         it is not what its wire allows

Every error holds facts in fields, so no caller has to read a message. The message consists of
parts: text, and what Python and the command line write differently. `str(error)` speaks of
arguments (`base_url=...`), the command line of its options (`--base-url URL`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from math import isfinite
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple, TypeAlias

MAX_SHOWN = 100  # characters of a value that was refused


def short_repr(value: object) -> str:
    """Return a value as an error shows it: the beginning of its repr, or its type if it has none.

    An int of more than 4,300 digits has none, say.
    """
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 - the value is a caller's, and may raise anything
        return f"<{type(value).__name__}>"
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]} …"


def is_finite_number(value: object) -> bool:
    """Return whether a value is a number to calculate with: not a bool, not NaN, not beyond what a float reaches."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


class Argument(NamedTuple):
    """An argument of `run` in the message of an error; the command line writes its option instead.

    `value` is the value to pass, `...` if the caller has to choose one, None if the
    argument is only named.

    >>> print(Argument("base_url"), Argument("base_url", ...), Argument("model", "gpt-5"))
    base_url base_url=... model='gpt-5'
    """

    name: str
    value: Any = None

    def __str__(self) -> str:
        if self.value is None:
            return self.name
        return f"{self.name}={'...' if self.value is ... else repr(self.value)}"


class Phrase(NamedTuple):
    """Words in the message of an error that differ in Python and on the command line."""

    python: str
    command_line: str

    def __str__(self) -> str:
        return self.python


Text: TypeAlias = str | Argument | Phrase


class ProviderKitError(Exception):
    """Catch everything that providerkit raises on purpose.

    The message is a text, or several parts that are joined. `partial` is the text that had
    been delivered when the error came; empty where none had.
    """

    def __init__(self, *message: Text) -> None:
        super().__init__(*message[:1])  # a TimeoutError reads more of them as the number of an error, and so on
        self.args = message
        self.partial = ""

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same kind of error with the same facts; a value that holds one is compared so."""
        if not isinstance(other, ProviderKitError):
            return NotImplemented
        return type(self) is type(other) and self.args == other.args and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(type(self))  # all else may change while it is on its way

    def __str__(self) -> str:
        return "".join(map(str, self.parts()))

    def parts(self) -> Iterator[Any]:
        """Yield the parts of the whole message, some of which only the fields know."""
        yield from self.args

    def redact(self, mask: Callable[[str], str]) -> None:
        """Apply `mask` to all that this error holds and would show, and drop what led to it.

        Texts and bytes are masked wherever they are: in args, fields and notes, in lists and
        objects in them, in nested exceptions. A value of another type that would show a
        secret is replaced by its masked repr. The cause, the context and the traceback so far
        go: their frames hold what was sent, and some tools draw it.
        """
        _Redaction(mask).apply(self)
        self.__cause__ = self.__context__ = self.__traceback__ = None


MAX_REDACTED = 100_000  # characters of a repr; what is larger becomes its masked repr
MAX_NESTING = 50


class _Redaction:
    """Redact an exception, and everything in it, once."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._mask = mask
        self._seen: set[int] = set()  # the ids of exceptions

    def apply(self, error: BaseException) -> None:
        if id(error) in self._seen:
            return
        self._seen.add(id(error))
        error.args = tuple(map(self._value, error.args))
        fields = vars(error)  # the notes are among them
        fields.update({name: self._value(value) for name, value in fields.items()})
        for slot in _slots(type(error)):
            self._set(slot, error)
        for other in (error.__cause__, error.__context__):
            if other is not None:
                self.apply(other)

    def _set(self, slot: Any, error: BaseException) -> None:
        with suppress(AttributeError, TypeError):  # it is empty, or read-only
            value = slot.__get__(error)
            masked = self._value(value)
            if masked is not value:
                slot.__set__(error, masked)

    def _value(self, value: Any) -> Any:
        if isinstance(value, (str, bytes, bytearray)):
            return self._text(value)
        if isinstance(value, (Argument, Phrase)):
            return type(value)(*map(self._value, value))
        if isinstance(value, BaseException):
            self.apply(value)
        shown = _shown(value)
        masked = self._mask(shown)
        if masked == shown:
            return value
        if isinstance(value, _CONTAINERS) and len(shown) <= MAX_REDACTED:
            return self._items(value, ())
        return masked

    def _text(self, value: str | bytes | bytearray) -> Any:
        if isinstance(value, str):
            return self._mask(value)
        text = value.decode("latin-1")
        masked = self._mask(text)
        return value if masked == text else masked.encode("latin-1", "replace")

    def _items(self, value: Any, path: tuple[int, ...]) -> Any:
        """Redact what is in a container; `path` has the ids of those that it is in, and it may be one of them."""
        if not isinstance(value, _CONTAINERS):
            return self._value(value)
        if id(value) in path or len(path) == MAX_NESTING:
            return "..."
        path = (*path, id(value))
        if isinstance(value, dict):
            return {self._value(name): self._items(item, path) for name, item in value.items()}
        kind = next(kind for kind in _CONTAINERS if isinstance(value, kind))
        return kind(self._items(item, path) for item in value)


_CONTAINERS = (dict, list, tuple, set, frozenset)


def _shown(value: object) -> str:
    """Return what a value shows: its repr, and its text if that is another."""
    try:
        shown, text = repr(value), str(value)
    except Exception:  # noqa: BLE001 - the plugin boundary: whatever a plugin has put into its error
        return "..."
    return shown if shown == text else f"{shown} {text}"


def _slots(kind: type[BaseException]) -> Iterator[Any]:
    """Yield the attributes that are in no `__dict__`: slots, and those of exceptions written in C."""
    for base in kind.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, (MemberDescriptorType, GetSetDescriptorType)) and name[:2] != "__" and name != "args":
                yield value


class ConfigurationError(ProviderKitError):
    """Tell the caller to fix the call; nothing was sent, but where a plugin broke in mid-answer."""


class _NotInstalled(ConfigurationError):
    def __init__(self, *message: Text, name: str | None = None, installed: tuple[str, ...] = ()) -> None:
        super().__init__(*message)
        self.name = name
        self.installed = installed


class UnknownProvider(_NotInstalled):
    """Report a provider's `name` that is not installed, and `installed`: those that are."""


class UnknownExtension(_NotInstalled):
    """Report an extension's `name` that is not installed, and `installed`: those that are."""


class PluginError(ConfigurationError):
    """Say that a plugin can't be loaded, or that one of its hooks broke its contract.

    `plugin` is its name, `distribution` the name and version of the installed package
    that announced it (None for an object that was passed), `hook` the hook that broke
    (None while loading). Where the plugin's own code raised, its traceback is a note.
    """

    def __init__(
        self,
        *message: Text,
        plugin: str | None = None,
        distribution: str | None = None,
        hook: str | None = None,
    ) -> None:
        super().__init__(*message)
        self.plugin = plugin
        self.distribution = distribution
        self.hook = hook


class _AboutProvider(ConfigurationError):
    def __init__(self, *message: Text, provider: str | None = None) -> None:
        super().__init__(*message)
        self.provider = provider


class MissingAPIKey(_AboutProvider):
    """Say that the provider needs a key; plugins raise it from `build_request`.

    `provider` is its name, `variable` the environment variable that may hold the key, None
    if there is none. The core fills both in, and the message ends with how to pass a key.

    >>> print(MissingAPIKey("koala needs a key", provider="koala", variable="KOALA_API_KEY"))
    koala needs a key; pass api_key=... or set KOALA_API_KEY
    """

    def __init__(self, *message: Text, provider: str | None = None, variable: str | None = None) -> None:
        super().__init__(*message, provider=provider)
        self.variable = variable

    def parts(self) -> Iterator[Any]:
        """Yield the message, and how to pass a key."""
        yield from super().parts()
        if self.variable is not None:
            yield Phrase(
                f"; pass api_key=... or set {self.variable}",
                f"; set {self.variable}, or run: providerkit keys set {self.provider}",
            )
        elif self.provider is not None:
            yield Phrase("; pass api_key=...", "; it is read from no variable, so only Python code can pass it")


class UnsupportedFeature(ConfigurationError):
    """Name an option that the provider can't serve."""

    def __init__(self, *message: Text, option: str | None = None, provider: str | None = None) -> None:
        super().__init__(*message)
        self.option = option
        self.provider = provider


class UnknownModel(_AboutProvider):
    """Say that the provider has no such model; plugins raise it from `resolve_model`.

    `provider` is its name, which the core fills in. The message ends with how to list its
    models.

    >>> print(UnknownModel("koala has no model 'gpt-1'", provider="koala"))
    koala has no model 'gpt-1'; pass model=..., as listed by providerkit.provider('koala').models()
    """

    def parts(self) -> Iterator[Any]:
        """Yield the message, and how to list the models."""
        yield from super().parts()
        if self.provider is not None:
            yield from ("; pass ", Argument("model", ...), ", as listed by ")
            yield Phrase(
                f"providerkit.provider({self.provider!r}).models()", f"`providerkit models -p {self.provider}`"
            )


class InvalidMessages(ConfigurationError):
    """Say which message is wrong and why; `index` is its place, None where it has none."""

    def __init__(self, *message: Text, index: int | None = None) -> None:
        super().__init__(*message)
        self.index = index


class InvalidOption(ConfigurationError):
    """Name an option whose value can't be sent, never showing a secret."""

    def __init__(self, *message: Text, option: str | None = None) -> None:
        super().__init__(*message)
        self.option = option


class RunConsumed(ConfigurationError):
    """Say that a Run was started a second time, or where it can't run."""


class CassetteError(ConfigurationError):
    """Say that a cassette can't be read, written or followed.

    `path` is its file, `line` the number of the line that is to blame (None where none is).
    """

    def __init__(self, *message: Text, path: str | None = None, line: int | None = None) -> None:
        super().__init__(*message)
        self.path = path
        self.line = line


class UnmatchedRequest(CassetteError):
    """Say that a cassette has no answer to a request; nothing was sent.

    `line` is where the request is that comes nearest, `difference` what differs between
    the two, a line each; None and empty where none is left.
    """

    def __init__(self, *message: Text, path: str | None = None, line: int | None = None, difference: str = "") -> None:
        super().__init__(*message, path=path, line=line)
        self.difference = difference


class ProviderError(ProviderKitError):
    """Report that the provider said no.

    `status` is the HTTP status (200 where the refusal came inside an answer), `code` the
    provider's own word for it, `request_id` the provider's name for the request,
    `retry_after` the seconds it asks to wait, `should_retry` whether it says that trying
    again may help, `provider` its name, `url` the address that was asked, without what may
    be secret in it, `missing_path` what the base URL seems to lack, such as "/v1"; each None
    where unknown. A `retry_after` that is not a finite number, as a plugin may copy it from
    a body, is None; one below 0 is 0. A plugin that reads when to try again, not how long to
    wait, sets `retry_at` (seconds since 1970), and the core makes `retry_after` of it. The
    message begins with provider and status, and names the address if it may be the wrong
    one.

    >>> print(ProviderError("slow down", provider="koala", status=429))
    koala: 429: slow down
    """

    def __init__(
        self,
        *message: Text,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        provider: str | None = None,
        url: str | None = None,
        missing_path: str | None = None,
        retry_at: float | None = None,
    ) -> None:
        super().__init__(*message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.provider = provider
        self.url = url
        self.missing_path = missing_path
        self.retry_at = retry_at

    def parts(self) -> Iterator[Any]:
        """Yield provider and status, the message, and the address if it may be the wrong one."""
        facts = [str(fact) for fact in (self.provider, self.status) if fact is not None]
        yield ": ".join([*facts, ""] if any(map(str, self.args)) else facts)
        yield from super().parts()
        if self.url is not None and self._may_be_misplaced():
            yield f" (at {self.url})"
            if self.missing_path is not None:
                yield from ("; does ", Argument("base_url"), f" lack {self.missing_path} at its end?")

    def _may_be_misplaced(self) -> bool:
        return self.status in (404, 405)

    @property
    def retry_after(self) -> float | None:
        """Return the seconds that the provider asks to wait."""
        seconds: float | None = vars(self).get("retry_after")
        return seconds

    @retry_after.setter
    def retry_after(self, seconds: float | None) -> None:
        known = seconds is not None and is_finite_number(seconds)
        vars(self)["retry_after"] = max(0.0, seconds) if known else None  # type: ignore[type-var]  # known says which

    @classmethod
    def from_status(cls, status: int, *message: Text, code: str | None = None) -> ProviderError:
        """Make the error that an HTTP status stands for.

        >>> ProviderError.from_status(429, "slow down")
        RateLimited('slow down')
        """
        kind = _BY_STATUS.get(status) or (ServerError if status >= 500 else ProviderError)
        return kind(*message, status=status, code=code)


class AuthenticationError(ProviderError):
    """401, 403: the key is missing, wrong, or not allowed to do this."""


class BadRequest(ProviderError):
    """400, 422: the provider does not take the request."""


class NotFound(ProviderError):
    """404: no such path or model."""


class RateLimited(ProviderError):
    """429: too many requests; `retry_after` says how long to wait, where the provider does."""


class QuotaExhausted(ProviderError):
    """402, and 429s that waiting does not cure: the account can't pay for the call."""


class ContextLengthExceeded(ProviderError):
    """The chat is too long for the model, so only a shorter one, or another model, can help."""


class ContentFiltered(ProviderError):
    """The provider refuses the content of the chat, or of its answer."""


class UnexpectedContent(ProviderError):
    """The answer is no chat answer: an HTML page at status 200, say."""

    def _may_be_misplaced(self) -> bool:
        return True


class ServerError(ProviderError):
    """5xx: the provider failed."""


class Overloaded(ServerError):
    """529: the provider has no capacity left."""


_BY_STATUS: dict[int, type[ProviderError]] = {
    400: BadRequest,
    401: AuthenticationError,
    402: QuotaExhausted,
    403: AuthenticationError,
    404: NotFound,
    422: BadRequest,
    429: RateLimited,
    529: Overloaded,
}


class TransportError(ProviderKitError):
    """Report that the provider could not be reached."""


class ConnectError(TransportError):
    """No connection came about: the name, the address, TLS or the proxy failed."""


class Disconnected(TransportError):
    """The connection broke before the answer began."""


class TimedOut(TransportError, TimeoutError):
    """A clock fired: `clock` is its name in Timeouts, `seconds` what it was set to."""

    def __init__(self, *message: Text, clock: str | None = None, seconds: float | None = None) -> None:
        super().__init__(*message)
        self.clock = clock
        self.seconds = seconds

    def parts(self) -> Iterator[Any]:
        """Yield the message, and how to wait longer."""
        yield from super().parts()
        if self.clock == "connect":  # which --timeout does not set; and a command has no pool to exhaust
            yield Phrase(" Is the pool large enough? (timeouts=Timeouts(connect=...))", "")
        elif self.clock is not None:
            yield Phrase(f" (timeouts=Timeouts({self.clock}=...))", "; to wait longer: --timeout SECONDS")


class StreamError(ProviderKitError):
    """Report that the answer broke; `partial` holds the text delivered until then."""


class StreamTruncated(StreamError):
    """The answer stopped before its end was proven."""


class StreamMalformed(StreamError):
    """The answer is not what its wire allows.

    `incomplete` is True where what came could be the beginning of something valid.
    """

    def __init__(self, *message: Text, incomplete: bool = False) -> None:
        super().__init__(*message)
        self.incomplete = incomplete
