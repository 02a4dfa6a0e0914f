"""The options of a chat, listed once, and the chat that holds them with its messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from ..errors import Argument, InvalidOption
from .messages import Message
from .tools import Tool
from .validators import as_tuple, check_kind, checked_text

OPTIONS = (
    "system",
    "tools",
    "response_format",
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "extra",
)
FEATURES = frozenset({*OPTIONS, "history", "images", "prefill", "reasoning"})


def _frozen_mapping(mapping: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if mapping is None:
        return _NOTHING
    if not isinstance(mapping, Mapping):
        raise InvalidOption(
            Argument("extra"), f" is {type(mapping).__name__}; it takes a mapping of body fields", option="extra"
        )
    return MappingProxyType(dict(mapping))


_NOTHING: Mapping[str, Any] = MappingProxyType({})


_KINDS: dict[str, tuple[type, ...]] = {
    "system": (str,),
    "temperature": (float, int),
    "top_p": (float, int),
    "max_tokens": (int,),
    "seed": (int,),
}


def _remake(kind: type[Chat], fields: dict[str, Any]) -> Chat:
    return kind(**fields)


@attrs.frozen
class Chat:
    """Hold what the user asks of a provider: messages, and the options of `run` by the same names.

    `extra` holds body fields that only this provider knows; an option left at its
    default was not given. Raises InvalidOption for a value of a wrong type.
    """

    messages: tuple[Message, ...]
    system: str | None = attrs.field(default=None, kw_only=True)
    tools: tuple[Tool, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)
    response_format: Any = attrs.field(default=None, kw_only=True)
    temperature: float | None = attrs.field(default=None, kw_only=True)
    top_p: float | None = attrs.field(default=None, kw_only=True)
    max_tokens: int | None = attrs.field(default=None, kw_only=True)
    stop: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)
    seed: int | None = attrs.field(default=None, kw_only=True)
    extra: Mapping[str, Any] = attrs.field(default=None, converter=_frozen_mapping, kw_only=True)

    def __attrs_post_init__(self) -> None:  # most are not given, and a validator for each is asked nonetheless
        for option, kinds in _KINDS.items():
            value = getattr(self, option)
            if value is not None:
                check_kind(option, value, kinds)
        for tool in self.tools:
            check_kind("tools", tool, (Tool,))
        for stop in self.stop:
            check_kind("stop", stop, (str,))
        if self.system is not None:
            checked_text(self.system, "system")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again, for copies and pickles: a read-only view of a dict has neither."""
        return _remake, (type(self), {**attrs.asdict(self, recurse=False), "extra": dict(self.extra)})

    @property
    def system_texts(self) -> tuple[str, ...]:
        """Give every system text: the option's first, then those of the messages."""
        option = () if self.system is None else (self.system,)
        return (*option, *(message.text for message in self.messages if message.role == "system"))

    @property
    def turns(self) -> tuple[Message, ...]:
        """Give the messages without the system ones."""
        return tuple(message for message in self.messages if message.role != "system")

    def features(self) -> Iterator[str]:
        """Name what a provider must support to serve this chat, in words of `ProviderInfo.supports`.

        >>> list(Chat((Message("user", "Hello"),), system="Be brief.", seed=1).features())
        ['system', 'seed']
        """
        turns = self.turns
        if self.system_texts:
            yield "system"
        for option in OPTIONS[1:]:
            if getattr(self, option) not in (None, (), {}):
                yield option
        if len(turns) > 1:
            yield "history"
        if turns and turns[-1].role == "assistant":
            yield "prefill"
        if any(message.tool_calls or message.role == "tool" for message in turns):
            yield "tools"
        if any(message.has_image for message in self.messages):
            yield "images"
