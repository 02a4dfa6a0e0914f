"""The parts of a message, in the order in which they were said.

TextPart       text
ImagePart      an image
FilePart       a document, audio or video
ReasoningPart  what a model thought before it answered
ToolCall       a call that a model asks for
ProviderData   what only one provider understands, and wants back unchanged
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import orjson

from ..errors import InvalidMessages, StreamMalformed
from .validators import checked_text


def _text_of_a_part(text: object) -> str:
    return checked_text(text, "a text part")


@attrs.frozen
class TextPart:
    """A piece of text; raises InvalidMessages unless it is a string that can be sent."""

    text: str = attrs.field(converter=_text_of_a_part)


@attrs.frozen
class ReasoningPart:
    """What a model thought before it answered, as text for people to read.

    It is not sent back: what a service wants back of its model's thinking comes as
    ProviderData, beside it.
    """

    text: str = attrs.field(converter=_text_of_a_part)


def _check_media_type(holder: object, media_type: object, example: str) -> None:
    kind, slash, subtype = media_type.partition("/") if isinstance(media_type, str) else ("", "", "")
    if not (kind and slash and subtype and media_type.isascii() and media_type.isprintable()):  # type: ignore[attr-defined]  # a string by now
        raise InvalidMessages(
            f"the media_type of {_a(holder)} is {media_type!r}; expected a type and a subtype, as in {example!r}"
        )


def _check_source(holder: object, **sources: object) -> None:
    """Raise InvalidMessages unless exactly one source is given, and is of its type."""
    given = {name: value for name, value in sources.items() if value is not None}
    if len(given) != 1:
        found = " and ".join(given) if given else "none of them"
        raise InvalidMessages(f"{_a(holder)} needs exactly one of {', '.join(sources)}; it was given {found}")
    ((name, value),) = given.items()
    if name == "data" and not isinstance(value, bytes):
        raise InvalidMessages(f"the data of {_a(holder)} is {type(value).__name__}; it must be bytes")
    if name == "url" and not str(value).startswith(("http://", "https://", "data:")):
        raise InvalidMessages(f"the url of {_a(holder)} is {value!r}; it must be http, https or data")
    if name == "id":
        checked_text(value, f"the id of {_a(holder)}")


def _a(holder: object) -> str:
    name = type(holder).__name__
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


@attrs.frozen
class ImagePart:
    """An image: a `url` (http, https or data), or `data` with its `media_type`.

    `data` are the bytes of the file, `media_type` is "image/png", say. `detail` is how
    closely to look, in the provider's words; providers without any leave it out. Raises
    InvalidMessages unless exactly one of url and data is given, and for a media_type that
    is not an image's.
    """

    url: str | None = None
    data: bytes | None = attrs.field(default=None, repr=False)
    media_type: str | None = None
    detail: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_source(self, url=self.url, data=self.data)
        if self.data is not None and self.media_type is None:
            raise InvalidMessages("an ImagePart with data needs its media_type, as in 'image/png'")
        if self.media_type is not None:
            _check_media_type(self, self.media_type, "image/png")
            if not self.media_type.lower().startswith("image/"):
                raise InvalidMessages(
                    f"the media_type of an ImagePart is {self.media_type!r}; other files than images are FileParts"
                )
        if self.detail is not None:
            checked_text(self.detail, "the detail of an ImagePart")


@attrs.frozen
class FilePart:
    """A document, audio or video: `data` with its `media_type`, a `url`, or the `id` of an uploaded file.

    `data` are the bytes of the file, `media_type` is "application/pdf", say, and `name`
    what the file is called. Raises InvalidMessages unless exactly one of data, url and id
    is given.
    """

    data: bytes | None = attrs.field(default=None, repr=False)
    url: str | None = attrs.field(default=None, kw_only=True)
    id: str | None = attrs.field(default=None, kw_only=True)
    media_type: str | None = None
    name: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_source(self, data=self.data, url=self.url, id=self.id)
        if self.data is not None and self.media_type is None:
            raise InvalidMessages("a FilePart with data needs its media_type, as in 'application/pdf'")
        if self.media_type is not None:
            _check_media_type(self, self.media_type, "application/pdf")
        if self.name is not None:
            checked_text(self.name, "the name of a FilePart")


@attrs.frozen
class ToolCall:
    """A call that the model asks for; `arguments` is JSON text, as the model wrote it.

    `id` is what the message that answers it names as its `tool_call_id`.
    """

    id: str
    name: str
    arguments: str

    @property
    def parsed(self) -> dict[str, Any]:
        """Return the arguments by name, empty if the model wrote nothing, or `null`.

        Raises StreamMalformed unless they are a JSON object: models do err, and an answer
        that `max_tokens` cut short may hold only the beginning of one.

        >>> ToolCall("call_1", "weather", '{"city": "Rome"}').parsed
        {'city': 'Rome'}
        """
        try:
            arguments = orjson.loads(self.arguments.strip() or "{}")
        except orjson.JSONDecodeError as error:
            arguments, fault = None, str(error)
        else:
            arguments, fault = {} if arguments is None else arguments, f"it is {type(arguments).__name__}"
        if not isinstance(arguments, dict):
            raise StreamMalformed(
                f"the model's arguments for the tool {self.name!r} are not a JSON object: "
                f"{self.arguments[:60]!r}: {fault}"
            )
        return arguments


@attrs.frozen
class ProviderData:
    """JSON of one provider that has no event or part of its own; it comes as an event, and stands in messages.

    `value` is JSON as decoded, and is left out of reprs. With `keep`, it becomes a part of
    `Reply.message`, in its place, because the provider wants it back unchanged: a signed
    thought, an encrypted item. `provider` is whose it is, and no other is ever given it. The
    core fills that in for what decoders return. None means any provider that takes such data.
    """

    value: Any = attrs.field(repr=False)
    keep: bool = False
    provider: str | None = None


Part: TypeAlias = TextPart | ImagePart | FilePart | ReasoningPart | ToolCall | ProviderData
