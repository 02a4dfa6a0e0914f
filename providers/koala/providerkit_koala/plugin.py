"""The Koala plugin: hooks, pure functions of values.

Source of the wire: the public API page of koala.sh (dialect "api"); gpt4free's Koala
module as described by its users (dialects "website" and "messages"), which koala.sh
does not document. Read in November 2026.
"""

from __future__ import annotations

import random
import string
from collections.abc import AsyncIterator
from functools import cache
from itertools import groupby
from reprlib import Repr
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from providerkit import (
    ByContent,
    Chat,
    Decoder,
    DecoderWrapper,
    Endpoint,
    Event,
    EventStream,
    Finish,
    InvalidMessages,
    InvalidOption,
    JSONBody,
    Message,
    MissingAPIKey,
    Model,
    ProviderData,
    ProviderError,
    ProviderInfo,
    Request,
    ResponseHead,
    StreamMalformed,
    TextDelta,
    UnexpectedContent,
    hookimpl,
    loads,
)
from providerkit.compat.gpt4free import AsyncGeneratorProvider, ProviderModelMixin, decode

if TYPE_CHECKING:
    from aiohttp.web import Application

DIALECTS = ("api", "website", "messages")
ORIGIN = "https://koala.sh"
PATH = "/api/gpt/"
DONE = b"\n[DONE]"
_BRIEF = Repr()
_BRIEF.maxstring = _BRIEF.maxother = 1000


class Koala(AsyncGeneratorProvider, ProviderModelMixin):
    """Talk to Koala.

    `dialect` is "api" (the documented one, needs a key), "website" or "messages"; by
    default "api" where a key is given, else "website".
    """

    # The names that gpt4free reads, on the class.
    url: ClassVar[str | None] = "https://koala.sh/chat"
    api_endpoint: ClassVar[str] = f"{ORIGIN}{PATH}"
    default_model: ClassVar[str] = "gpt-4o-mini"
    models: ClassVar[list[str]] = ["gpt-4o-mini", "gpt-4o", "claude-3.7-sonnet"]

    wire_ids: ClassVar[tuple[str, ...]] = ("Visitor-ID",)  # new with every request, which its tests allow

    def __init__(self, dialect: str | None = None, *, path: str = PATH) -> None:
        if dialect is not None and dialect not in DIALECTS:
            raise InvalidOption(f"dialect is {dialect!r}; it is one of {', '.join(DIALECTS)}", option="dialect")
        self._dialect = dialect
        self._path = path
        self._as_decoded = False  # True for gpt4free's calls, which want every value as it was decoded

    @hookimpl
    def describe(self) -> ProviderInfo:
        """Describe Koala."""
        return ProviderInfo(
            name="koala",
            url=self.url,
            default_base_url=ORIGIN,
            default_model=self.default_model,
            models=self.models,
            supports={"system", "history", "extra"},
            api_key_env="KOALA_API_KEY",
            working=self.working,
        )

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        """Pass any name through: Koala's models change faster than this list."""
        return Model(name or self.default_model)

    @hookimpl
    def build_request(self, chat: Chat, model: Model, endpoint: Endpoint) -> Request:
        """Make the request of the dialect in use."""
        if not chat.turns:
            raise InvalidMessages("koala needs a user's message, beside the system's")
        url = endpoint.url(self._path)
        extra = dict(chat.extra)
        dialect = self._dialect or ("api" if endpoint.api_key else "website")
        if dialect == "api":
            if endpoint.api_key is None:
                raise MissingAPIKey("koala's api needs a key")
            body = {**_histories(chat), "model": model.name, "realTimeData": False, **extra}
            headers = {"Authorization": f"Bearer {endpoint.api_key.reveal()}"}
            return Request.json(url, body, headers, stream=False)
        flag = {"Flag-Real-Time-Data": "true" if extra.pop("realTimeData", False) else "false"}
        if dialect == "messages":
            return Request.json(url, {"messages": _messages(chat), "model": model.name, **extra}, flag)
        headers = {
            "Accept": "text/event-stream",
            "Referer": str(self.url),
            "Origin": ORIGIN,
            "Visitor-ID": _visitor_id(),
            **flag,
        }
        return Request.json(url, {**_histories(chat), "model": model.name, **extra}, headers)

    @hookimpl
    def parse_stream(self, head: ResponseHead) -> Decoder:
        """Take either answer in any dialect: events, or one JSON object.

        The wire has no mark of its end, so the end of the body is the end of the answer.
        """
        parse = _parse_plain_event if self._dialect == "messages" else _parse_event
        if self._as_decoded:
            parse = _parse_decoded_event
        data = (TextDelta, ProviderData) if self._as_decoded else (TextDelta,)
        return ByContent(
            head,
            stream=Spoken(EventStream(parse, end=Finish("stop")), data),
            body=Spoken(JSONBody(lambda value: [_event_of(value)]), data),
        )

    @hookimpl
    def parse_error(self, head: ResponseHead, body: bytes) -> ProviderError | None:
        """Read Koala's own words out of an error."""
        return _error_in(loads(body), head.status)

    @hookimpl
    def sandbox(self) -> Application:
        """Imitate Koala."""
        from .sandbox import application  # brings aiohttp's server, which only a sandbox needs

        return application()

    @classmethod
    def _target(cls) -> tuple[object, str | None]:
        """Send gpt4free's calls to `api_endpoint`."""
        parts = urlsplit(cls.api_endpoint)
        plugin = _plugin_at(cls, parts.path)  # type: ignore[arg-type]  # mypy takes a class for unhashable
        return plugin, f"{parts.scheme}://{parts.netloc}"

    @staticmethod
    async def _parse_event_stream(response: Any) -> AsyncIterator[Any]:
        """Yield the decoded JSON of an open aiohttp response, as gpt4free's method of this name does."""
        decoder = EventStream(
            lambda data, event: [ProviderData(value) for value in _values(_before_done(data))], end=Finish("stop")
        )
        async for event in decode(response, decoder):
            if isinstance(event, ProviderData):
                yield event.value


@cache
def _plugin_at(kind: type[Koala], path: str) -> Koala:
    plugin = kind(path=path)
    plugin._as_decoded = True
    return plugin


def _visitor_id() -> str:
    return "".join(random.choices(string.ascii_lowercase + string.digits, k=20))  # noqa: S311 - a name, no secret


def _messages(chat: Chat) -> list[dict[str, Any]]:
    option = () if chat.system is None else (Message("system", chat.system),)
    return [{"role": message.role, "content": message.text, "attachments": []} for message in (*option, *chat.messages)]


def _histories(chat: Chat) -> dict[str, Any]:
    """Put a chat into Koala's form: the input, and pairs of what was said before.

    The histories must have equal length: neighbours of one role are joined by a blank
    line, and a missing half is empty.
    """
    *earlier, last = chat.turns
    pairs: list[list[str]] = []
    for role, turns in groupby(earlier, lambda turn: turn.role):
        text = "\n\n".join(turn.text for turn in turns)
        if role == "user":
            pairs.append([text, ""])
        elif pairs:
            pairs[-1][1] = text
        else:
            pairs.append(["", text])
    return {
        "input": " ".join((last.text, *chat.system_texts)),
        "inputHistory": [user for user, _ in pairs],
        "outputHistory": [assistant for _, assistant in pairs],
    }


def _parse_event(data: bytes, event: str) -> list[Event]:
    """Make events of the data of one server-sent event, which is a JSON string nearly always."""
    if event == "error":
        raise _error_of(data)
    try:
        value = loads(data)
    except StreamMalformed:
        if data.endswith(DONE):  # no blank line before the mark
            return [*_parse_event(_before_done(data), event), Finish("stop")]
        return [_event_of(value) for value in _values(data)]
    return [TextDelta(value) if type(value) is str else _event_of(value)]


def _parse_decoded_event(data: bytes, event: str) -> list[Event]:
    """Make events of the values that the data of one server-sent event holds, of any type; raise what is an error."""
    if event == "error":
        raise _error_of(data)
    values = _values(_before_done(data))
    events: list[Event] = [_decoded(value) for value in values]
    return [*events, Finish("stop")] if data.endswith(DONE) else events


def _decoded(value: Any) -> Event:
    """Make the event of one value as it was decoded; raise what says that it is an error."""
    if isinstance(value, dict) and value.get("error"):
        return _event_of(value)
    return TextDelta(value) if isinstance(value, str) else ProviderData(value)


def _error_of(data: bytes) -> ProviderError:
    """Make the error that an event of this type is, whatever it holds."""
    try:
        values = _values(_before_done(data))
    except StreamMalformed:
        values = []
    words = values[0] if values else data.decode("utf-8", "replace")
    return _error_in(words, 200) or ProviderError(f"koala: {_shown(words)}", status=200)


def _parse_plain_event(data: bytes, event: str) -> list[Event]:
    """Make events of the data of one server-sent event of plain text: what is no JSON string is text, too."""
    if data.endswith(DONE):
        return [*_parse_plain_event(_before_done(data), event), Finish("stop")]
    try:
        events = _parse_event(data, event)
    except StreamMalformed:
        events = []
    if not events or any(type(made) is ProviderData for made in events):
        return [TextDelta(data.decode("utf-8", "replace"))]
    return events


def _before_done(data: bytes) -> bytes:
    """Take the marks of the end from the data of an event, however many they are."""
    end = len(data)
    while data.endswith(DONE, 0, end):
        end -= len(DONE)
    return data[:end]


def _values(data: bytes) -> list[Any]:
    """Read the data of one event: one JSON value, or one a line; none where it is blank."""
    try:
        return [loads(data)]
    except StreamMalformed:
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) == 1:
            raise
        return [loads(line) for line in lines]


def _event_of(value: Any) -> Event:
    """Make the event of one JSON value: a string is text, and so is an object's output; raise what is an error."""
    if isinstance(value, str):
        return TextDelta(value)
    error = _error_in(value, 200)
    if error is not None:
        raise error
    output = value.get("output") if isinstance(value, dict) else None
    return TextDelta(output) if isinstance(output, str) else ProviderData(value)


def _error_in(value: Any, status: int) -> ProviderError | None:
    """Make the error that an object is which has an `error`, or a `message` and no output; a list holds it first."""
    if isinstance(value, list):
        value = next(iter(value), None)
    if not isinstance(value, dict) or (value.get("error") is None and value.get("message") is None):
        return None
    error = value.get("error")
    if not error and isinstance(value.get("output"), str):
        return None
    inner = error if isinstance(error, dict) else value
    words, code = inner.get("message") or error or "an error without words", inner.get("code")
    return ProviderError.from_status(status, _shown(words), code=None if code is None else _shown(code))


def _shown(value: Any) -> str:
    """Return the provider's words; or the beginning of what is not a string: lists may be nested too deep to show."""
    return value if isinstance(value, str) else _BRIEF.repr(value)


class Spoken(DecoderWrapper):
    """Refuse an answer that ends without any data, of these kinds of events: Koala has no empty success."""

    _spoken = False
    _silent = False

    def __init__(self, decoder: Decoder, data: tuple[type[Event], ...]) -> None:
        super().__init__(decoder)
        self._data = data

    def feed(self, data: bytes) -> list[Event]:
        """Return the events; those before a Finish without text, for which the next call raises."""
        events = [] if self._silent else self._heard(self.decoder.feed(data))
        if self._silent and not events:
            raise _no_text()
        return events

    def close(self) -> list[Event]:
        """Return the last events; raises UnexpectedContent if none of all had text."""
        events = [] if self._silent else self._heard(self.decoder.close())
        if self._silent:
            raise _no_text()
        return events

    def _heard(self, events: list[Event]) -> list[Event]:
        if not self._spoken:
            self._spoken = any(type(event) in self._data for event in events)
            self._silent = not self._spoken and bool(events) and type(events[-1]) is Finish
        return events[:-1] if self._silent else events


def _no_text() -> UnexpectedContent:
    return UnexpectedContent("the answer holds no text", status=200)
