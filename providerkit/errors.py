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

Every error holds facts in fields, so no caller has to read a message.
"""

from __future__ import annotations

from collections.abc import Callable


class ProviderKitError(Exception):
    """Catch everything that providerkit raises on purpose.

    `partial` is the text that had been delivered when the error came; empty where
    none had.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.partial = ""

    def redact(self, mask: Callable[[str], str]) -> None:
        """Apply `mask` to every text of this error that a traceback or a log would show."""
        self.args = tuple(mask(arg) if isinstance(arg, str) else arg for arg in self.args)
        for name, value in vars(self).items():
            if isinstance(value, str):
                setattr(self, name, mask(value))
        notes = getattr(self, "__notes__", [])
        notes[:] = [mask(note) for note in notes]


class ConfigurationError(ProviderKitError):
    """Tell the caller to fix the call; nothing was sent, but where a plugin broke in mid-answer."""


class _NotInstalled(ConfigurationError):
    def __init__(self, message: str = "", *, name: str | None = None, installed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
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
        message: str = "",
        *,
        plugin: str | None = None,
        distribution: str | None = None,
        hook: str | None = None,
    ) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.distribution = distribution
        self.hook = hook


class MissingAPIKey(ConfigurationError):
    """Say that the provider needs a key; plugins raise it from `build_request`."""


class UnsupportedFeature(ConfigurationError):
    """Name an option that the provider can't serve."""

    def __init__(self, message: str = "", *, option: str | None = None, provider: str | None = None) -> None:
        super().__init__(message)
        self.option = option
        self.provider = provider


class UnknownModel(ConfigurationError):
    """Say that the provider has no such model; plugins raise it from `resolve_model`."""


class InvalidMessages(ConfigurationError):
    """Say which message is wrong and why; `index` is its place, None where it has none."""

    def __init__(self, message: str = "", *, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class InvalidOption(ConfigurationError):
    """Name an option whose value can't be sent, never showing a secret."""

    def __init__(self, message: str = "", *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class RunConsumed(ConfigurationError):
    """Say that a Run was started a second time, or where it can't run."""


class CassetteError(ConfigurationError):
    """Say that a cassette can't be read, written or followed.

    `path` is its file, `line` the number of the line that is to blame (None where none is).
    """

    def __init__(self, message: str = "", *, path: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


class UnmatchedRequest(CassetteError):
    """Say that a cassette has no answer to a request; nothing was sent.

    `line` is where the request is that comes nearest, `difference` what differs between
    the two, a line each; None and empty where none is left.
    """

    def __init__(
        self, message: str = "", *, path: str | None = None, line: int | None = None, difference: str = ""
    ) -> None:
        super().__init__(message, path=path, line=line)
        self.difference = difference


class ProviderError(ProviderKitError):
    """Report that the provider said no.

    `status` is the HTTP status (200 where the refusal came inside an answer), `code` the
    provider's own word for it, `request_id` the provider's name for the request,
    `retry_after` the seconds it asks to wait, `should_retry` whether it says that trying
    again may help, `provider` its name; each None where unknown. A plugin that reads when
    to try again, not how long to wait, sets `retry_at` (seconds since 1970), and the core
    makes `retry_after` of it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        provider: str | None = None,
        retry_at: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.provider = provider
        self.retry_at = retry_at

    @classmethod
    def from_status(cls, status: int, message: str, *, code: str | None = None) -> ProviderError:
        """Make the error that an HTTP status stands for.

        >>> ProviderError.from_status(429, "slow down")
        RateLimited('slow down')
        """
        kind = _BY_STATUS.get(status) or (ServerError if status >= 500 else ProviderError)
        return kind(message, status=status, code=code)


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

    def __init__(self, message: str = "", *, clock: str | None = None, seconds: float | None = None) -> None:
        super().__init__(message)
        self.clock = clock
        self.seconds = seconds


class StreamError(ProviderKitError):
    """Report that the answer broke; `partial` holds the text delivered until then."""


class StreamTruncated(StreamError):
    """The answer stopped before its end was proven."""


class StreamMalformed(StreamError):
    """The answer is not what its wire allows.

    `incomplete` is True where what came could be the beginning of something valid.
    """

    def __init__(self, message: str = "", *, incomplete: bool = False) -> None:
        super().__init__(message)
        self.incomplete = incomplete
