"""Proxies: their addresses, their credentials, and connectors for those that speak SOCKS."""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import (
    Argument,
    ConfigurationError,
    InvalidOption,
)

if TYPE_CHECKING:
    from aiohttp import (
        BaseConnector,
        ClientRequest,
        ClientTimeout,
    )
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

from .aiohttp_seams import connecting


def parse_proxy(proxy: str | None) -> str | None:
    """Return a proxy's address with its scheme in lower case, as schemes know no case (RFC 3986, section 3.1).

    Raises InvalidOption for one that can't be used, never showing its password.
    """
    if proxy is None:
        return None
    try:
        usable = _PRINTABLE.fullmatch(proxy) and _is_address_of_proxy(urlsplit(proxy))
    except (ValueError, TypeError):
        usable = False
    if not usable:
        raise InvalidOption(
            Argument("proxy"), " must look like 'http://host:port' or 'socks5://host:port'", option="proxy"
        )
    scheme, colon, rest = proxy.partition(":")
    return scheme.lower() + colon + rest


def split_credentials(proxy: str | None) -> tuple[str | None, dict[str, str]]:
    """Return a proxy's address without user and password, and the header that says them (RFC 7617).

    aiohttp would keep them in the key of each connection, and show that in its warnings.
    """
    parts = urlsplit(proxy or "")
    if proxy is None or parts.username is None:
        return proxy, {}
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    basic = b64encode(credentials.encode("latin-1", "replace")).decode()
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=place).geturl(), {"Proxy-Authorization": f"Basic {basic}"}


_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def _is_address_of_proxy(parts: SplitResult) -> bool:
    """Return whether these are scheme, host and port of a proxy; raise ValueError for a host that is none."""
    host = (parts.hostname or "").encode("idna")
    if parts.scheme in SOCKS:
        return bool(host and parts.port)  # aiohttp-socks wants one
    return parts.scheme in ("http", "https") and bool(host) and parts.port != 0


# The scheme that aiohttp-socks takes, and whether the proxy is given names rather than the addresses they have here.
SOCKS = {
    "socks4": ("socks4", False),
    "socks4a": ("socks4", True),
    "socks5": ("socks5", True),
    "socks5h": ("socks5", True),
}


def is_socks(proxy: str | None) -> bool:
    """Return whether a proxy is a SOCKS one, rather than HTTP or none."""
    return proxy is not None and proxy.startswith("socks")


def socks_connector(proxy: str) -> BaseConnector:
    """Return a connector through a SOCKS proxy; raises ConfigurationError if aiohttp-socks is not installed."""
    try:
        from aiohttp_socks import ProxyConnector  # an extra
    except ImportError:
        raise ConfigurationError("a SOCKS proxy needs aiohttp-socks: pip install aiohttp-socks") from None

    class Connector(ProxyConnector):
        """Name what failed before there was a connection."""

        async def _create_connection(
            self,
            req: ClientRequest,
            traces: list[Trace],
            timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
        ) -> ResponseHandler:
            with connecting():
                return await super()._create_connection(req, traces, timeout)

    named, _, rest = proxy.partition(":")
    scheme, by_name = SOCKS[named]
    connector: BaseConnector = Connector.from_url(f"{scheme}:{rest}", rdns=by_name)
    return connector


def socks_errors() -> tuple[type[Exception], ...]:
    """Return what a SOCKS connector raises; nothing where none can have been made."""
    socks = sys.modules.get("aiohttp_socks")
    return (socks.ProxyError, socks.ProxyConnectionError, socks.ProxyTimeoutError) if socks else ()
