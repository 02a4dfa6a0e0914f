"""One streaming call to any chat provider; providers are plugins that pip installs.

Names are loaded on first use (PEP 562), so importing this package costs next to nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.metadata import version

    from .calls import Route
    from .client import Client, Models, Provider, provider, run
    from .conversation import Conversation
    from .decoders import ByContent, EventStream, JSONBody, JSONLines
    from .discovery import providers
    from .errors import (
        Argument,
        AuthenticationError,
        BadRequest,
        CassetteError,
        ConfigurationError,
        ConnectError,
        ContentFiltered,
        ContextLengthExceeded,
        Disconnected,
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
        RunConsumed,
        ServerError,
        StreamError,
        StreamMalformed,
        StreamTruncated,
        TimedOut,
        TransportError,
        UnexpectedContent,
        UnknownExtension,
        UnknownModel,
        UnknownProvider,
        UnmatchedRequest,
        UnsupportedFeature,
    )
    from .events import (
        Answered,
        Attempt,
        Event,
        Finish,
        ProviderData,
        ReasoningDelta,
        Reply,
        Restart,
        TextDelta,
        ToolCallDelta,
        ToolResult,
        Usage,
    )
    from .extensions.player import replay
    from .extensions.recorder import record
    from .hookspecs import Observer, hookimpl, hookspec
    from .imitation import sandbox
    from .jsonlines import JSONLinesDecoder
    from .messages import Chat, ImagePart, Message, Model, Part, ProviderInfo, TextPart, Tool, ToolCall
    from .plugins import activate
    from .policy import Clock, Limits, Retry, Timeouts
    from .runs import Run
    from .secrets import Mask
    from .sse import ServerSentEvent, SSEDecoder
    from .transport import Response, Transport
    from .watch import pause_clocks
    from .wire import Decoder, DecoderWrapper, Endpoint, Headers, Request, ResponseHead, Secret, loads

    __version__ = version("providerkit-core")

_MODULES = {
    "calls": "Route",
    "client": "Client Models Provider provider run",
    "conversation": "Conversation",
    "decoders": "ByContent EventStream JSONBody JSONLines",
    "discovery": "providers",
    "errors": "Argument AuthenticationError BadRequest CassetteError ConfigurationError ConnectError ContentFiltered "
    "ContextLengthExceeded Disconnected InvalidMessages InvalidOption MissingAPIKey NotFound Overloaded Phrase "
    "PluginError ProviderError ProviderKitError QuotaExhausted RateLimited RunConsumed ServerError StreamError "
    "StreamMalformed StreamTruncated TimedOut TransportError UnexpectedContent UnknownExtension UnknownModel "
    "UnknownProvider UnmatchedRequest UnsupportedFeature",
    "events": "Answered Attempt Event Finish ProviderData ReasoningDelta Reply Restart TextDelta ToolCallDelta "
    "ToolResult Usage",
    "extensions.player": "replay",
    "extensions.recorder": "record",
    "hookspecs": "Observer hookimpl hookspec",
    "imitation": "sandbox",
    "jsonlines": "JSONLinesDecoder",
    "messages": "Chat ImagePart Message Model Part ProviderInfo TextPart Tool ToolCall",
    "plugins": "activate",
    "policy": "Clock Limits Retry Timeouts",
    "runs": "Run",
    "secrets": "Mask",
    "sse": "SSEDecoder ServerSentEvent",
    "transport": "Response Transport",
    "watch": "pause_clocks",
    "wire": "Decoder DecoderWrapper Endpoint Headers Request ResponseHead Secret loads",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "Answered",
    "Argument",
    "Attempt",
    "AuthenticationError",
    "BadRequest",
    "ByContent",
    "CassetteError",
    "Chat",
    "Client",
    "Clock",
    "ConfigurationError",
    "ConnectError",
    "ContentFiltered",
    "ContextLengthExceeded",
    "Conversation",
    "Decoder",
    "DecoderWrapper",
    "Disconnected",
    "Endpoint",
    "Event",
    "EventStream",
    "Finish",
    "Headers",
    "ImagePart",
    "InvalidMessages",
    "InvalidOption",
    "JSONBody",
    "JSONLines",
    "JSONLinesDecoder",
    "Limits",
    "Mask",
    "Message",
    "MissingAPIKey",
    "Model",
    "Models",
    "NotFound",
    "Observer",
    "Overloaded",
    "Part",
    "Phrase",
    "PluginError",
    "Provider",
    "ProviderData",
    "ProviderError",
    "ProviderInfo",
    "ProviderKitError",
    "QuotaExhausted",
    "RateLimited",
    "ReasoningDelta",
    "Reply",
    "Request",
    "Response",
    "ResponseHead",
    "Restart",
    "Retry",
    "Route",
    "Run",
    "RunConsumed",
    "SSEDecoder",
    "Secret",
    "ServerError",
    "ServerSentEvent",
    "StreamError",
    "StreamMalformed",
    "StreamTruncated",
    "TextDelta",
    "TextPart",
    "TimedOut",
    "Timeouts",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "Transport",
    "TransportError",
    "UnexpectedContent",
    "UnknownExtension",
    "UnknownModel",
    "UnknownProvider",
    "UnmatchedRequest",
    "UnsupportedFeature",
    "Usage",
    "__version__",
    "activate",
    "hookimpl",
    "hookspec",
    "loads",
    "pause_clocks",
    "provider",
    "providers",
    "record",
    "replay",
    "run",
    "sandbox",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    from importlib import import_module  # on first use only: that is what this is for

    if name == "__version__":
        from importlib.metadata import version  # as much again as click

        return version("providerkit-core")
    if name not in _HOMES:
        raise AttributeError(f"module 'providerkit' has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
