"""One route of a call, all of it resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from urllib.parse import urlsplit

import attrs

from ..chat.models import Model
from ..chat.options import Chat
from ..errors import (
    ProviderKitError,
)
from ..plugins.hooks import Hooks
from ..wire.headers import Headers
from ..wire.masks import Mask
from ..wire.requests import Endpoint, Request, ResponseHead
from .policy import Clock, Limits, Timeouts

LEGIBLE = 10_000  # characters of what a provider says of an error
MARGIN = 1_000  # characters more that are masked, so that a secret at the cut is seen whole


@attrs.frozen
class Call:
    """Hold what the attempts on one route need, all of it resolved."""

    hooks: Hooks
    chat: Chat
    model: Model
    endpoint: Endpoint
    timeouts: Timeouts
    limits: Limits
    clock: Clock
    secrets: Callable[[], Iterable[str]] = attrs.field(default=tuple, repr=False)

    @property
    def route(self) -> str:
        """Name provider and model."""
        return f"{self.hooks.info.name}/{self.model.name}"

    @property
    def host(self) -> str:
        """Name the host that is called."""
        return urlsplit(self.endpoint.base_url).netloc

    @property
    def place(self) -> str:
        """Name the route and where it is called: what can be down."""
        return f"{self.route} at {self.endpoint.base_url}"

    def mask(self, text: str) -> str:
        """Put *** in place of every secret in a text that somebody else wrote, and cut it where nobody reads on."""
        masked = _mask(tuple(self.secrets()))(text[: LEGIBLE + MARGIN])
        return masked[:LEGIBLE] + " …" if len(masked) > LEGIBLE or len(text) > LEGIBLE + MARGIN else masked

    def mask_head(self, head: ResponseHead) -> ResponseHead:
        """Return a head whose headers repeat no secret, for those who may log it."""
        headers = Headers([(name, self.mask(value)) for name, value in head.headers.items()])
        return ResponseHead(head.status, headers)

    def request(self) -> Request:
        """Build the request, with the caller's headers laid over it."""
        return dressed(self.hooks.build_request(self.chat, self.model, self.endpoint), self.endpoint)


@lru_cache(maxsize=64)  # to make one takes longer than to use it, and a program has few keys
def _mask(secrets: tuple[str, ...]) -> Mask:
    return Mask(secrets)


def told(error: ProviderKitError, call: Call, partial: str = "") -> ProviderKitError:
    """Make an error fit to leave: it knows the partial text, and shows no key, nor does what caused it."""
    error.redact(call.mask)
    error.partial = partial
    return error


def dressed(request: Request, endpoint: Endpoint) -> Request:
    """Lay the caller's headers over the request, and that over our own."""
    headers = _own_headers(request.stream) | request.headers | endpoint.headers
    return Request(request.method, request.url, headers, request.body, request.stream)


@cache
def _own_headers(stream: bool) -> Headers:
    from importlib.metadata import version  # brings zipfile, csv and email, and only who sends needs it

    own = {"User-Agent": f"providerkit/{version('providerkit-core')}"}
    if stream:
        own["Accept-Encoding"] = "identity"  # a cut gzip stream ends cleanly, and says nothing of its end
    return Request("GET", "https://", Headers(own)).headers  # checked, once for all
