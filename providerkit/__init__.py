"""One streaming call to any chat provider; providers are plugins that pip installs.

Names are loaded on first use (PEP 562), so importing this package costs next to nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.metadata import version

    from .chat.embeddings import Embeddings as Embeddings
    from .chat.events import (
        Answered as Answered,
        Event as Event,
        Finish as Finish,
        ReasoningDelta as ReasoningDelta,
        Restart as Restart,
        TextDelta as TextDelta,
        ToolCallDelta as ToolCallDelta,
        ToolResult as ToolResult,
        Usage as Usage,
    )
    from .chat.messages import Message as Message
    from .chat.models import Model as Model, Page as Page, ProviderInfo as ProviderInfo
    from .chat.options import Chat as Chat, merge_extra as merge_extra
    from .chat.parts import (
        FilePart as FilePart,
        ImagePart as ImagePart,
        Part as Part,
        ProviderData as ProviderData,
        ReasoningPart as ReasoningPart,
        TextPart as TextPart,
        ToolCall as ToolCall,
    )
    from .chat.provider_data import note_left_out as note_left_out
    from .chat.replies import Attempt as Attempt, Reply as Reply
    from .chat.tools import Tool as Tool
    from .client import Client as Client, Provider as Provider, embed as embed, provider as provider, run as run
    from .conversation import Conversation as Conversation
    from .engine.clocks import pause_clocks as pause_clocks
    from .engine.plan import Route as Route
    from .engine.policy import Clock as Clock, Limits as Limits, Retry as Retry, Timeouts as Timeouts
    from .errors import (
        Argument as Argument,
        AuthenticationError as AuthenticationError,
        BadRequest as BadRequest,
        CassetteError as CassetteError,
        ConfigurationError as ConfigurationError,
        ConnectError as ConnectError,
        ContentFiltered as ContentFiltered,
        ContextLengthExceeded as ContextLengthExceeded,
        Disconnected as Disconnected,
        InvalidMessages as InvalidMessages,
        InvalidOption as InvalidOption,
        MissingAPIKey as MissingAPIKey,
        NotFound as NotFound,
        Overloaded as Overloaded,
        Phrase as Phrase,
        PluginError as PluginError,
        ProviderError as ProviderError,
        ProviderKitError as ProviderKitError,
        QuotaExhausted as QuotaExhausted,
        RateLimited as RateLimited,
        RunConsumed as RunConsumed,
        ServerError as ServerError,
        StreamError as StreamError,
        StreamMalformed as StreamMalformed,
        StreamTruncated as StreamTruncated,
        TimedOut as TimedOut,
        TransportError as TransportError,
        UnexpectedContent as UnexpectedContent,
        UnknownExtension as UnknownExtension,
        UnknownModel as UnknownModel,
        UnknownProvider as UnknownProvider,
        UnmatchedRequest as UnmatchedRequest,
        UnsupportedFeature as UnsupportedFeature,
    )
    from .extensions.player import replay as replay
    from .extensions.recorder import record as record
    from .lookups import Lookup as Lookup
    from .plugins.discovery import providers as providers
    from .plugins.hookspecs import Observer as Observer, hookimpl as hookimpl, hookspec as hookspec
    from .plugins.loading import activate as activate
    from .runs import Run as Run
    from .sandboxes import sandbox as sandbox
    from .wire.decoder import Decoder as Decoder, DecoderWrapper as DecoderWrapper
    from .wire.decoders import (
        ByContent as ByContent,
        EventStream as EventStream,
        JSONBody as JSONBody,
        JSONLines as JSONLines,
    )
    from .wire.headers import Headers as Headers
    from .wire.jsonlines import JSONLinesDecoder as JSONLinesDecoder
    from .wire.masks import Mask as Mask
    from .wire.requests import Endpoint as Endpoint, Request as Request, ResponseHead as ResponseHead
    from .wire.secrets import Secret as Secret, Token as Token
    from .wire.sse import ServerSentEvent as ServerSentEvent, SSEDecoder as SSEDecoder
    from .wire.strict_json import loads as loads
    from .wire.transport import Response as Response, Transport as Transport, TransportWrapper as TransportWrapper

    __version__ = version("providerkit-core")

_MODULES = {
    "chat.embeddings": "Embeddings",
    "chat.events": "Answered Event Finish ReasoningDelta Restart TextDelta ToolCallDelta ToolResult Usage",
    "chat.messages": "Message",
    "chat.models": "Model Page ProviderInfo",
    "chat.options": "Chat merge_extra",
    "chat.parts": "FilePart ImagePart Part ProviderData ReasoningPart TextPart ToolCall",
    "chat.provider_data": "note_left_out",
    "chat.replies": "Attempt Reply",
    "chat.tools": "Tool",
    "client": "Client Provider embed provider run",
    "conversation": "Conversation",
    "engine.clocks": "pause_clocks",
    "engine.plan": "Route",
    "engine.policy": "Clock Limits Retry Timeouts",
    "errors": (
        "Argument AuthenticationError BadRequest CassetteError ConfigurationError ConnectError "
        "ContentFiltered ContextLengthExceeded Disconnected InvalidMessages InvalidOption MissingAPIKey "
        "NotFound Overloaded Phrase PluginError ProviderError ProviderKitError QuotaExhausted RateLimited "
        "RunConsumed ServerError StreamError StreamMalformed StreamTruncated TimedOut TransportError "
        "UnexpectedContent UnknownExtension UnknownModel UnknownProvider UnmatchedRequest UnsupportedFeature"
    ),
    "extensions.player": "replay",
    "extensions.recorder": "record",
    "lookups": "Lookup",
    "plugins.discovery": "providers",
    "plugins.hookspecs": "Observer hookimpl hookspec",
    "plugins.loading": "activate",
    "runs": "Run",
    "sandboxes": "sandbox",
    "wire.decoder": "Decoder DecoderWrapper",
    "wire.decoders": "ByContent EventStream JSONBody JSONLines",
    "wire.headers": "Headers",
    "wire.jsonlines": "JSONLinesDecoder",
    "wire.masks": "Mask",
    "wire.requests": "Endpoint Request ResponseHead",
    "wire.secrets": "Secret Token",
    "wire.sse": "SSEDecoder ServerSentEvent",
    "wire.strict_json": "loads",
    "wire.transport": "Response Transport TransportWrapper",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

if not TYPE_CHECKING:  # type checkers read the imports above
    __all__ = sorted([*_HOMES, "__version__"])


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
    return sorted([*_HOMES, "__version__"])
