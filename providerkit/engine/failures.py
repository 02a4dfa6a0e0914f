"""What aiohttp raises, as errors of ours that hold no header and no key."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from ..errors import (
    ConfigurationError,
    ConnectError,
    Disconnected,
    InvalidOption,
    ProviderKitError,
    StreamMalformed,
    TransportError,
)
from .policy import timed_out

if TYPE_CHECKING:
    from aiohttp import (
        ClientResponseError,
    )

from .aiohttp_seams import Unconnected
from .proxies import socks_errors


def readable(words: str) -> str:
    """Put U+FFFD for bytes that aren't UTF-8: aiohttp's halves of pairs for them can't be printed."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def closed_early() -> ConfigurationError:
    """Return the error of a run whose connections were closed before it started."""
    return ConfigurationError("the Client, or the connector, is closed; a run needs an open one")


def send_failure(error: BaseException, url: str, connect: float | None, proxy: str | None) -> ProviderKitError:
    """Return the error for what aiohttp raised before there was an answer; it names the host, or the proxy."""
    import aiohttp

    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    unconnected = isinstance(error, Unconnected)
    if unconnected:
        error = error.__cause__ or error
    if isinstance(error, TimeoutError):
        return timed_out("connect", connect or 0.0)
    if proxy and (failure := _proxy_failure(error, urlsplit(proxy), place, unconnected=unconnected)):
        return failure
    reason = reason_of(error)
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | UnicodeError():
            return InvalidOption(f"{place!r} is not a host that can be called", option="base_url")
        case aiohttp.ClientResponseError():
            return StreamMalformed(f"{place} did not answer in HTTP: {words_of(error)}")
        case aiohttp.ClientConnectorDNSError():
            return ConnectError(f"can't find the host {parts.hostname!r}; is it spelt right, is the network up?")
        case ssl.SSLError():
            return ConnectError(f"no TLS with {place}: {reason}")
        case aiohttp.ClientConnectorError():
            return ConnectError(f"can't connect to {place}: {reason}; is it running there?")
        case _ if isinstance(error, socks_errors()):  # of the caller's own connector
            return ConnectError(f"the SOCKS proxy does not lead to {place}: {error}")
        case aiohttp.ServerDisconnectedError() | OSError() | EOFError():
            return Disconnected(f"{place} closed the connection before it answered: {reason}")
        case aiohttp.ClientConnectionError():
            return closed_early()
    return TransportError(f"the request to {place} failed: {type(error).__name__}")


def _proxy_failure(error: BaseException, proxy: SplitResult, place: str, *, unconnected: bool) -> ConnectError | None:
    """Return the error that blames the proxy; None if it is not to blame."""
    import aiohttp

    name = proxy.netloc.rpartition("@")[2]
    root = root_cause(error)
    reason = reason_of(root)
    is_socks = isinstance(error, socks_errors())
    match error:
        case aiohttp.ClientHttpProxyError():
            said = f"the proxy {name} refused to connect to {place}: {error.status} {words_of(error)}"
        case _ if isinstance(root, socket.gaierror):  # a proxy is given the host's name, so this is its own
            said = f"can't find the proxy {name}; is it spelt right, is the network up?"
        case _ if isinstance(error, aiohttp.ClientProxyConnectionError) or (is_socks and isinstance(root, OSError)):
            said = f"can't reach the proxy {name} on the way to {place}: {reason}; is it running there?"
        case _ if is_socks:
            said = f"the proxy {name} does not lead to {place}: {error}"
        case aiohttp.ClientConnectorError() if (error.host, error.port) == (proxy.hostname, proxy.port or 443):
            said = f"no TLS with the proxy {name}: {reason}"
        case aiohttp.ClientConnectorError() | ssl.SSLError():  # of the host, through the proxy
            return None
        case aiohttp.ClientResponseError() if unconnected:
            said = f"the proxy {name} did not answer in HTTP: {words_of(error)}"
        case aiohttp.ServerDisconnectedError() | OSError() | EOFError() if unconnected:
            said = f"the proxy {name} closed the connection before it led to {place}: {reason}"
        case _:
            return None
    return ConnectError(said)


def root_cause(error: BaseException) -> BaseException:
    """Return what is below an error of aiohttp-socks, which wraps several times."""
    while isinstance(error.__cause__, OSError):
        error = error.__cause__
    return error


def words_of(error: ClientResponseError) -> str:
    """Return what an error of aiohttp says, on one line."""
    return " ".join(readable(error.message).split())


def reason_of(error: BaseException) -> str:
    """Say why in words that hold no header and no URL: the system's own, else the name of the error."""
    below = error.__cause__ if isinstance(error.__cause__, OSError) else None  # aiohttp's own may name the URL
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or below or error
    words = getattr(cause, "strerror", None) or getattr(cause, "verify_message", None)
    return str(words) if words else type(cause).__name__
