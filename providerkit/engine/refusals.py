"""Refusals: errors of a provider, completed by what the core knows of the answer."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from urllib.parse import urlsplit

from ..chat.models import ProviderInfo
from ..errors import (
    Argument,
    ProviderError,
    ProviderKitError,
)
from ..wire.requests import Request, ResponseHead
from ..wire.secrets import shown_url
from .policy import retry_after
from .targets import Target

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def default_error(head: ResponseHead) -> ProviderError:
    """Return the error that a status stands for, if the plugin has none."""
    words = _PHRASES.get(head.status, "no reason given")
    if 300 <= head.status < 400:
        advice = ("; redirects are not followed, set ", Argument("base_url", ...), " to where the service is now")
        return ProviderError.from_status(head.status, words, *advice)
    return ProviderError.from_status(head.status, words)


_VERSION = re.compile(r"/v\d\w*(?=/|$)")


def add_address(error: ProviderKitError, target: Target, request: Request | None) -> None:
    """Note on an error of the provider which address was asked, and what its base URL may lack."""
    if isinstance(error, ProviderError) and request is not None and error.url is None:
        error.url = shown_url(request.url)
        if not _VERSION.search(error.url):
            error.missing_path = _usual_path(target.info)


def _usual_path(info: ProviderInfo) -> str | None:
    path = urlsplit(info.default_base_url or "").path
    return path if _VERSION.search(path) else info.base_path


_SHOULD_RETRY = {"true": True, "false": False}


def complete(error: ProviderKitError, target: Target, head: ResponseHead) -> ProviderKitError:
    """Fill in what an error of the provider leaves open."""
    if isinstance(error, ProviderError):
        error.status = error.status or head.status
        error.provider = error.provider or target.info.name
        error.request_id = error.request_id or head.request_id
        if error.retry_after is None:
            error.retry_after = retry_after(head.headers, time.time(), error.retry_at)
        if error.should_retry is None:
            error.should_retry = _SHOULD_RETRY.get(head.headers.get("x-should-retry", ""))
    return error
