"""Log what happens during a run, in records that a machine can read; what was said stays out of them.

Each record is told in `key=value` words and holds the same as fields of its own (`extra`),
so handlers, filters and formatters of the standard library find them: `JSONFormatter` is
one. Error messages are content, too: a provider's may quote the prompt.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import attrs

from .. import Chat, Message, Model, ProviderKitError, Reply, Request, ResponseHead, Usage, hookimpl

logger = logging.getLogger("providerkit.log")

_OF_AN_ERROR = ("status", "code", "request_id", "retry_after", "clock", "option")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Log:
    """Write to the logger "providerkit.log": each attempt (debug), retry (warning), end (info or error).

    With `content` also the messages of the chat, the text of the answer and what errors
    say. A record's `event` is attempt, head, retry, finish, error or left; `run` is common
    to the records of one run.
    """

    def __init__(self, *, content: bool = False) -> None:
        self.content = content

    @hookimpl
    def observe(self, chat: Chat, model: Model) -> object:
        """Follow one run."""
        return _Record(chat, self.content)


class JSONFormatter(logging.Formatter):
    """Write a record as one line of JSON: time, level, logger, then its fields, or its message where it has none.

    It serves records of every logger; what JSON can't hold is written as text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if "event" not in fields:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | fields, default=str, ensure_ascii=False)


@attrs.frozen
class _Words:
    """Hold the fields of a record, to be told in words where somebody reads them."""

    fields: Mapping[str, Any]

    def __str__(self) -> str:
        return " ".join(f"{name}={_word(value)}" for name, value in self.fields.items())


def _word(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    plain = text.isprintable() and not any(character in text for character in ' "=')
    return text if plain and text else json.dumps(text, ensure_ascii=False)


class _Record:
    """Observe one run, and log it."""

    def __init__(self, chat: Chat, content: bool) -> None:
        self._run = uuid.uuid4().hex[:12]
        self._chat = chat
        self._content = content
        self._started = time.monotonic()
        self._first: float | None = None

    def attempt(self, route: str, request: Request) -> None:
        """Log who is asked, and where, without the query: it may hold a key."""
        self._log(
            logging.DEBUG,
            "attempt",
            route=route,
            host=urlsplit(request.url).netloc.rpartition("@")[2],
            bytes=len(request.body or b""),
            messages=[_said(message) for message in self._chat.messages] if self._content else None,
        )

    def head(self, head: ResponseHead) -> None:
        """Log the status."""
        self._log(logging.DEBUG, "head", status=head.status, request_id=head.request_id)

    def events(self, batch: tuple[object, ...]) -> None:
        """Note when the first came."""
        if self._first is None:
            self._first = time.monotonic()

    def retry(self, error: ProviderKitError, delay: float) -> None:
        """Log what broke."""
        self._first = None
        self._log(logging.WARNING, "retry", delay=delay, **self._of(error))

    def finish(self, reply: Reply) -> None:
        """Log how it ended."""
        self._log(
            logging.INFO,
            "finish",
            route=f"{reply.provider}/{reply.model}",
            reason=reply.finish_reason,
            proven=reply.proven,
            attempts=len(reply.attempts),
            source=reply.attempts[-1].source,
            request_id=reply.request_id,
            first_event=None if self._first is None else self._first - self._started,
            **attrs.asdict(reply.usage or Usage()),
            text=reply.text if self._content else None,
        )

    def error(self, error: ProviderKitError | None) -> None:
        """Log why there is no answer, or that nobody waited for its end."""
        if error is None:
            self._log(logging.INFO, "left")
        else:
            self._log(logging.ERROR, "error", **self._of(error))

    def _of(self, error: ProviderKitError) -> dict[str, Any]:
        facts = {name: getattr(error, name, None) for name in _OF_AN_ERROR}
        return {"error": type(error).__name__, **facts, "says": str(error) if self._content else None}

    def _log(self, level: int, event: str, **fields: Any) -> None:
        if not logger.isEnabledFor(level):
            return
        known = {"event": event, "run": self._run, "seconds": time.monotonic() - self._started}
        known |= {name: value for name, value in fields.items() if value is not None}
        logger.log(level, "%s", _Words(known), extra=known)


def _said(message: Message) -> dict[str, str]:
    return {"role": message.role, "text": message.text}
