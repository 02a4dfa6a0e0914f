"""Embeddings: texts as vectors of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ..errors import InvalidOption, PluginError
from .events import Usage
from .validators import checked_text


def _checked_vectors(vectors: Iterable[Iterable[float]]) -> tuple[tuple[float, ...], ...]:
    try:
        return tuple(tuple(float(number) for number in vector) for vector in vectors)
    except (TypeError, ValueError) as error:
        raise PluginError(f"Embeddings hold vectors of numbers: {error}") from None


@attrs.frozen
class Embeddings:
    """The `vectors` of texts, in the order of the texts, and what they cost.

    `provider` and `model` are who answered; the core fills them in.
    """

    vectors: tuple[tuple[float, ...], ...] = attrs.field(converter=_checked_vectors, repr=False)
    usage: Usage | None = None
    model: str | None = attrs.field(default=None, kw_only=True)
    provider: str | None = attrs.field(default=None, kw_only=True)


def parse_texts(texts: Any) -> tuple[str, ...]:
    """Return the texts to embed; raises InvalidOption if there are none, or if one is not a string that can be sent."""
    given = (texts,) if isinstance(texts, str) else tuple(texts) if isinstance(texts, Iterable) else None
    if given is None or isinstance(texts, (bytes, dict)):
        raise InvalidOption(f"texts is {type(texts).__name__}; expected a string or a list of strings", option="texts")
    if not given:
        raise InvalidOption("texts is empty; expected at least one text to embed", option="texts")
    for index, text in enumerate(given):
        if not isinstance(text, str) or not text:
            what = "an empty string" if text == "" else type(text).__name__
            raise InvalidOption(f"texts[{index}] is {what}; expected a text", option="texts")
        checked_text(text, f"texts[{index}]")
    return given
