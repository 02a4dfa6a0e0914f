"""Targets: one route each, resolved: who is asked for which model, where, and with which key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property, lru_cache
from typing import Any
from urllib.parse import urlsplit

import attrs

from ..chat.models import Model, ProviderInfo
from ..chat.options import freeze_extra
from ..errors import Argument, InvalidOption, ProviderKitError
from ..plugins.hooks import Hooks
from ..plugins.keys import find_key
from ..wire.headers import Headers
from ..wire.masks import Mask, secrets_in, secrets_of_proxy
from ..wire.requests import Endpoint, Request, ResponseHead
from ..wire.secrets import Secret

MAX_ERROR_TEXT = 10_000  # characters of what a provider says of an error
MASK_MARGIN = 1_000  # characters more that are masked, so that a secret at the cut is seen whole


class Secrets:
    """Every text of one run that no error may show; routes and tokens add theirs."""

    def __init__(self, proxy: str | None = None) -> None:
        self._texts = tuple(secrets_of_proxy(proxy))

    def add(self, endpoint: Endpoint) -> None:
        """Add what an endpoint holds."""
        key = () if endpoint.api_key is None else (endpoint.api_key.reveal(),)
        self._texts = tuple(dict.fromkeys((*self._texts, *key, *secrets_in(endpoint.headers))))

    def mask(self, text: str) -> str:
        """Put *** in place of every secret in a text that somebody else wrote, and cut it if it is too long to read."""
        masked = _mask(self._texts)(text[: MAX_ERROR_TEXT + MASK_MARGIN])
        is_cut = len(masked) > MAX_ERROR_TEXT or len(text) > MAX_ERROR_TEXT + MASK_MARGIN
        return masked[:MAX_ERROR_TEXT] + " …" if is_cut else masked

    def mask_head(self, head: ResponseHead) -> ResponseHead:
        """Return a head whose headers repeat no secret, for those who may log it."""
        headers = Headers([(name, self.mask(value)) for name, value in head.headers.items()])
        return ResponseHead(head.status, headers)

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._texts)}>"


@lru_cache(maxsize=64)  # to make one takes longer than to use it, and a program has few keys
def _mask(secrets: tuple[str, ...]) -> Mask:
    return Mask(secrets)


@attrs.frozen(eq=False)
class Target:
    """One route, resolved. `secrets` are those of all routes of its run, since one may repeat another's."""

    hooks: Hooks
    model: Model
    endpoint: Endpoint
    extra: Mapping[str, Any]
    secrets: Secrets = attrs.field(repr=False)

    @property
    def info(self) -> ProviderInfo:
        """Return what the provider says of itself."""
        return self.hooks.info

    @cached_property
    def supports(self) -> frozenset[str]:
        """Return what can be served: the model's word wins over the provider's."""
        return self.info.supports if self.model.supports is None else self.model.supports

    @cached_property
    def route(self) -> str:
        """Return provider and model, as in "koala/gpt-4o"."""
        return f"{self.info.name}/{self.model.name}"

    @cached_property
    def host(self) -> str:
        """Return the host that is called."""
        return urlsplit(self.endpoint.base_url).netloc

    @cached_property
    def place(self) -> str:
        """Return the route and where it is called: what can be down."""
        return f"{self.route} at {self.endpoint.base_url}"


def resolve_target(
    hooks: Hooks,
    model: str | None,
    *,
    api_key: str | None,
    base_url: str | None,
    headers: Mapping[str, str] | None,
    extra: Mapping[str, Any] | None,
    secrets: Secrets,
) -> Target:
    """Return the target of one route; raises ConfigurationError, of the kind that says what to fix."""
    info = hooks.info
    address = info.default_base_url if base_url is None else base_url
    if address is None:
        raise InvalidOption(
            f"{info.name} has no address of its own; say ", Argument("base_url", ...), option="base_url"
        )
    endpoint = Endpoint(address, find_key(info, api_key), headers)
    secrets.add(endpoint)
    try:
        resolved = hooks.resolve_model(model)
    except ProviderKitError as error:
        error.redact(secrets.mask)
        raise
    return Target(hooks, resolved, endpoint, freeze_extra(extra), secrets)


def with_token(target: Target, token: Secret) -> Target:
    """Return the target with a token in place of its key."""
    endpoint = attrs.evolve(target.endpoint, api_key=token)
    target.secrets.add(endpoint)
    return attrs.evolve(target, endpoint=endpoint)


def finalize_error(error: ProviderKitError, target: Target, partial: str = "") -> ProviderKitError:
    """Make an error fit to leave: it knows the partial text, and shows no key, nor does what caused it."""
    error.redact(target.secrets.mask)
    error.partial = partial
    return error


def merge_headers(request: Request, endpoint: Endpoint) -> Request:
    """Return the request with the caller's headers laid over its own, and those over ours."""
    headers = _own_headers(request.stream) | request.headers | endpoint.headers
    return Request(request.method, request.url, headers, request.body, request.stream)


@cache
def _own_headers(stream: bool) -> Headers:
    from importlib.metadata import version  # brings zipfile, csv and email, and only a request needs it

    own = {"User-Agent": f"providerkit/{version('providerkit-core')}"}
    if stream:
        own["Accept-Encoding"] = "identity"  # a cut gzip stream ends cleanly, and says nothing of its end
    return Request("GET", "https://", Headers(own)).headers  # checked, once for all
