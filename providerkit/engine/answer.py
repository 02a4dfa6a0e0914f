"""One answer: its body is decoded and held to the laws of the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import attrs

from ..chat.events import Event, Finish, has_content
from ..errors import (
    Phrase,
    PluginError,
    ProviderKitError,
    StreamMalformed,
    StreamTruncated,
    UnexpectedContent,
)
from ..wire.decoder import Decoder
from ..wire.transport import Response
from .clocks import Watch
from .operations import Operation
from .policy import Limits
from .refusals import complete, default_error
from .targets import Target

AFTER_END = 1.0  # seconds that usage may take to follow the end of an answer
ERROR_BODY = 5.0  # seconds that the body of an error may take once its head is there


_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "pause", "error", "other"})


class Answer:
    """The body of one answer, decoded and held to the laws of the stream."""

    def __init__(self, target: Target, question: Operation, response: Response, watch: Watch, limits: Limits) -> None:
        self._target = target
        self._question = question
        self._limits = limits
        self._watch = watch
        self._head = response.head
        self._chunks = response.chunks()
        self._decoder: Decoder
        self._start: bytearray | None = bytearray()  # the body, until it has made an event
        self._eventless = 0
        self._patience: float | None = None
        self._is_cut = False  # the end was not waited for, or the connection broke before it
        self.finish: Finish | None = None

    async def begin(self) -> None:
        """Make a decoder; raises the provider's error if this is not an answer."""
        if not 200 <= self._head.status < 300:
            self._watch.settle()
            raise await self._refusal()
        self._decoder = self._question.decoder(self._target, self._head)

    @property
    def missing(self) -> BaseException | None:
        """Return what a transport is left with: None if the answer is complete."""
        if self.finish is None:
            return asyncio.CancelledError()
        return StreamTruncated("the end of the body did not come") if self._is_cut else None

    async def aclose(self) -> None:
        """Close the chunks if they come from a generator, which its loop would close in a task of its own."""
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()

    async def next(self) -> list[Event]:
        """Return the events of the next bytes; those of the end of the body where none come."""
        try:
            if not self._decoder.ended:
                try:
                    chunk = await anext(self._chunks)
                except StopAsyncIteration:
                    chunk = b""
                events = self._feed(chunk) if chunk else self._close()
            else:
                events = await self._next_after_end()
        except ProviderKitError as error:
            failure = await self._explained(error)
        else:
            if self._patience is not None and any(map(has_content, events)):
                self._patience = None  # it was not the end
            if events and type(last := events[-1]) is Finish:
                if last.reason not in _REASONS:  # a server's own word
                    events[-1] = last = attrs.evolve(last, reason=self._target.secrets.mask(last.reason))
                self.finish = last
            return events
        raise failure

    async def _next_after_end(self) -> list[Event]:
        if self._patience is None:
            self._watch.settle()
            self._patience = asyncio.get_running_loop().time() + AFTER_END
            return self._decoder.feed(b"")  # an error may wait to be raised
        chunk = await self._late_chunk(self._patience)
        return self._feed(chunk) if chunk else self._close()

    async def _late_chunk(self, until: float) -> bytes:
        try:
            async with asyncio.timeout_at(until):
                return await anext(self._chunks, b"")
        except (TimeoutError, StreamTruncated):
            self._is_cut = True
            return b""

    def _feed(self, chunk: bytes) -> list[Event]:
        if self._start is not None and self._eventless < self._limits.error_body:
            self._start += chunk
        events = self._decoder.feed(chunk)
        if events:
            self._start = None
            self._eventless = 0
            return events
        self._eventless += len(chunk)
        if self._eventless > self._limits.event:
            raise StreamMalformed(
                f"{self._eventless} bytes have arrived without making an event; the cap is {self._limits.event}",
                Phrase(" (Client(limits=Limits(event=...)))", ""),
            )
        return events

    def _close(self) -> list[Event]:
        had_ended = self._decoder.ended
        events = self._decoder.close()
        if not events or type(events[-1]) is not Finish:
            raise PluginError(
                f"plugin {self._target.info.name!r}: its decoder's close() gave no Finish and did not raise",
                plugin=self._target.info.name,
                hook="parse_stream",
            )
        if had_ended or not self._decoder.ended:  # then only the end of the body proves that this is all
            shown = self._head.framed and not self._is_cut
            events[-1] = attrs.evolve(events[-1], proven=events[-1].proven and shown)
        return events

    async def _refusal(self) -> ProviderKitError:
        body = await _error_body(self._chunks, self._limits.error_body)
        error = self._target.hooks.parse_error(self._head, body) or default_error(self._head)
        return complete(error, self._target, self._head)

    async def _explained(self, error: ProviderKitError) -> ProviderKitError:
        """Complete an error; ask the provider what a body means that isn't a chat answer, though its status is good."""
        if self._start is None or not isinstance(error, (UnexpectedContent, StreamTruncated)):
            return complete(error, self._target, self._head)
        self._watch.settle()
        cap = self._limits.error_body
        body = bytes(self._start[:cap])
        if len(body) < cap:
            body += await _error_body(self._chunks, cap - len(body))
        typed = self._target.hooks.parse_error(self._head, body) or error
        return complete(typed, self._target, self._head)


async def _error_body(chunks: AsyncIterator[bytes], cap: int) -> bytes:
    """Read the body of an error as far as it comes: no fault in it may hide the status, which is known."""
    body = bytearray()
    try:
        async with asyncio.timeout(ERROR_BODY):
            async for chunk in chunks:
                body += chunk
                if len(body) >= cap:
                    break
    except (TimeoutError, ProviderKitError):
        pass
    return bytes(body[:cap])
