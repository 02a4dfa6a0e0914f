"""The decoder protocol, and a wrapper that changes the events of another decoder."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..chat.events import Event


@runtime_checkable
class Decoder(Protocol):
    """Turn the bytes of one answer, cut anywhere, into events.

    `feed` and `close` together give exactly one Finish, last. `ended` turns True when no
    more is needed: the wire has said the end, though a Finish may still be held back
    because usage can follow; content that follows is part of the answer, and turns it
    False again until the wire repeats the end. `close` is called at most once, at a clean end of the body
    or a moment after `ended`; it raises StreamTruncated if the end is not proven.
    """

    @property
    def ended(self) -> bool:
        """Return whether the wire has said the end."""
        ...

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, cut anywhere; give the events they complete."""
        ...

    def close(self) -> list[Event]:
        """Take the end of the body; give what was held back."""
        ...


class DecoderWrapper:
    """Change the events of another decoder; subclasses override `transform`.

    The Finish is the last event of the last batch: what a `transform` holds back must be
    given out before it. What `transform` raises ends the run.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    @property
    def ended(self) -> bool:
        """Return whether the wire has said the end."""
        return self.decoder.ended

    def feed(self, data: bytes) -> list[Event]:
        """Transform the events that `data` completes."""
        return self.transform(self.decoder.feed(data))

    def close(self) -> list[Event]:
        """Transform the events that the end of the body gives."""
        return self.transform(self.decoder.close())

    def transform(self, events: list[Event]) -> list[Event]:
        """Return the events to deliver in place of `events`, which may be empty."""
        return events
