"""The parts of a message."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import orjson

from ..errors import InvalidMessages, StreamMalformed
from .validators import checked_text


def _checked_part(text: object) -> str:
    return checked_text(text, "a text part")


@attrs.frozen
class TextPart:
    """Hold one piece of text of a message; raises InvalidMessages where it is no string that can be sent."""

    text: str = attrs.field(converter=_checked_part)


@attrs.frozen
class ImagePart:
    """Hold one image of a message: a `url` (http, https or data), or `data` with its `media_type`.

    `data` are the bytes of the file, `media_type` is "image/png", say. `detail` says how
    closely to look, in the provider's words; those without any leave it out. Raises
    InvalidMessages where url and data are given, or neither.
    """

    url: str | None = None
    data: bytes | None = attrs.field(default=None, repr=False)
    media_type: str | None = None
    detail: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise InvalidMessages("an ImagePart has either a url or data")
        if self.url is not None and not str(self.url).startswith(("http://", "https://", "data:")):
            raise InvalidMessages(f"the url of an ImagePart is {self.url!r}; it must be http, https or data")
        if not isinstance(self.data, bytes | None):
            raise InvalidMessages(f"the data of an ImagePart is {type(self.data).__name__}; it must be bytes")
        if self.data is not None and self.media_type is None:
            raise InvalidMessages("an ImagePart with data needs its media_type, as in 'image/png'")
        if self.detail is not None:
            checked_text(self.detail, "the detail of an ImagePart")


Part: TypeAlias = TextPart | ImagePart


@attrs.frozen
class ToolCall:
    """Hold one call that the model asks for; `arguments` is JSON text, as the model wrote it.

    `id` is what the message that answers it names as its `tool_call_id`.
    """

    id: str
    name: str
    arguments: str

    @property
    def parsed(self) -> dict[str, Any]:
        """Return the arguments by name; none if the model wrote nothing, or `null`.

        Raises StreamMalformed where they are no JSON object: models do err, and an answer
        that was cut short by `max_tokens` may hold but the beginning of one.

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
                f"the model's arguments for the tool {self.name!r} are no JSON object: {self.arguments[:60]!r}: {fault}"
            )
        return arguments
