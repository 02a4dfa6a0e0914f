"""Trace runs with OpenTelemetry: a span and metrics for each, under the names of its conventions.

One span covers all attempts of a run. It is the child of the span that is current where
the run starts, in blocking calls, too, though another thread does their work; and it is
the current span while a request is sent, so that what is traced below is its child.
OpenTelemetry itself (the extra `otel`) is imported by the first run that is traced.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from .. import Chat, ConfigurationError, Model, Request, Response, Transport, hookimpl
from . import conventions

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .spans import Operation, Telemetry

# What `observe` leaves for `wrap_transport`, each with the Trace that it is of.
_starting: ContextVar[tuple[tuple[Trace, Operation], ...]] = ContextVar("providerkit_trace", default=())


class Trace:
    """Give a span and metrics of each run to OpenTelemetry, through its global providers or those passed.

    With `content` spans hold the messages, the answer and what errors say, too; else they
    hold none of it. `latest` chooses the names that are not released yet; None leaves it to
    OTEL_SEMCONV_STABILITY_OPT_IN, where "gen_ai_latest_experimental" asks for them.
    """

    def __init__(
        self,
        *,
        content: bool = False,
        latest: bool | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._content = content
        self._latest = _opted_in() if latest is None else latest
        self._providers = tracer_provider, meter_provider

    @hookimpl
    def observe(self, chat: Chat, model: Model, hook: Any) -> object:
        """Follow one run, from where it starts."""
        operation = self._telemetry.begin(hook.describe(hook=hook).name, chat, model)
        others = (pair for pair in _starting.get() if pair[0] is not self)
        _starting.set((*others, (self, operation)))
        return operation

    @hookimpl(wrapper=True)
    def wrap_transport(self) -> Generator[None, Transport, Transport]:
        """Send under the span of the run; where models are listed there is none."""
        inner = yield
        starting = _starting.get()
        _starting.set(tuple(pair for pair in starting if pair[0] is not self))
        return next((_Traced(inner, operation) for trace, operation in starting if trace is self), inner)

    @cached_property
    def _telemetry(self) -> Telemetry:
        try:
            from .spans import Telemetry  # an extra
        except ImportError:
            raise ConfigurationError("the extension trace needs OpenTelemetry: pip install opentelemetry-api") from None
        edition = conventions.LATEST if self._latest else conventions.RELEASED
        return Telemetry(edition, *self._providers, content=self._content)


def _opted_in() -> bool:
    return conventions.LATEST_WANTED in map(str.strip, os.environ.get(conventions.OPT_IN, "").split(","))


@attrs.frozen
class _Traced:
    """Send under the span of a run."""

    inner: Transport
    operation: Operation

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Send as the inner transport does."""
        return _Sending(self.inner.send(request), self.operation)


@attrs.frozen
class _Sending:
    """Make the span the current one until the head is there; no generator, so that nothing but its user closes it."""

    sending: AbstractAsyncContextManager[Response]
    operation: Operation

    async def __aenter__(self) -> Response:
        with self.operation.current():
            return await self.sending.__aenter__()

    async def __aexit__(self, *failure: object) -> bool | None:
        return await self.sending.__aexit__(*failure)  # type: ignore[arg-type]  # it was given those three
