"""The options of a chat, listed once, and the chat that holds them with its messages.

The fields of Chat are the list. `run`, conversations, the command line and the words of
`supports` are derived from it, or held against it by a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from ..errors import Argument, InvalidOption
from .messages import Message
from .parts import FilePart, ImagePart
from .tools import Tool, as_tools
from .validators import as_tuple, check_kind, checked_text

TOOL_CHOICES = ("auto", "none", "required")
EFFORTS = ("none", "low", "medium", "high")


def freeze_extra(mapping: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return body fields as a mapping that nobody can change; raises InvalidOption for what is not a mapping."""
    if mapping is None:
        return _NOTHING
    if not isinstance(mapping, Mapping):
        raise InvalidOption(
            Argument("extra"), f" is {type(mapping).__name__}; expected a mapping of body fields", option="extra"
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


def _option(default: Any = None, converter: Any = None) -> Any:
    return attrs.field(default=default, converter=converter, kw_only=True)


@attrs.frozen
class Chat:
    """What the user asks of a provider: messages, and the options of `run` by the same names.

    `extra` holds body fields that only this provider knows; an option left at its default
    was not given. Raises InvalidOption for a value of a wrong type.
    """

    messages: tuple[Message, ...]
    system: str | None = _option()
    tools: tuple[Tool, ...] = _option((), as_tools)
    tool_choice: str | None = _option()
    parallel_tool_calls: bool | None = _option()
    reasoning: str | None = _option()
    response_format: Any = _option()
    temperature: float | None = _option()
    top_p: float | None = _option()
    max_tokens: int | None = _option()
    stop: tuple[str, ...] = _option((), as_tuple)
    seed: int | None = _option()
    extra: Mapping[str, Any] = _option(None, freeze_extra)

    def __attrs_post_init__(self) -> None:  # most are not given, and a validator for each is asked nonetheless
        for option, kinds in _KINDS.items():
            value = getattr(self, option)
            if value is not None:
                check_kind(option, value, kinds)
        for stop in self.stop:
            check_kind("stop", stop, (str,))
        if self.system is not None:
            checked_text(self.system, "system")
        if self.reasoning is not None and self.reasoning not in EFFORTS:
            raise InvalidOption(
                Argument("reasoning"),
                f" is {self.reasoning!r}; expected one of {', '.join(EFFORTS)}",
                option="reasoning",
            )
        if not isinstance(self.parallel_tool_calls, bool | None):
            raise InvalidOption(
                Argument("parallel_tool_calls"),
                f" is {self.parallel_tool_calls!r}; expected True or False",
                option="parallel_tool_calls",
            )
        if self.tool_choice is not None:
            self._check_tool_choice()

    def _check_tool_choice(self) -> None:
        choices = [*TOOL_CHOICES, *(tool.name for tool in self.tools)]
        if self.tool_choice not in choices:
            raise InvalidOption(
                Argument("tool_choice"),
                f" is {self.tool_choice!r}; expected one of {', '.join(map(repr, choices))}",
                option="tool_choice",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again, for copies and pickles: a read-only view of a dict has neither."""
        return _remake, (type(self), {**attrs.asdict(self, recurse=False), "extra": dict(self.extra)})

    def with_messages(self, messages: tuple[Message, ...], extra: Mapping[str, Any]) -> Chat:
        """Return the same chat with other messages and body fields; what was checked is not checked again."""
        chat = object.__new__(Chat)
        fields: Any = self.__getstate__()
        chat.__setstate__({**fields, "messages": messages, "extra": extra})  # type: ignore[attr-defined]  # by attrs
        return chat

    @property
    def system_texts(self) -> tuple[str, ...]:
        """Return every system text: the option's first, then those of the messages."""
        option = () if self.system is None else (self.system,)
        return (*option, *[message.text for message in self.messages if message.role == "system"])

    @property
    def turns(self) -> tuple[Message, ...]:
        """Return the messages without the system ones."""
        return tuple([message for message in self.messages if message.role != "system"])

    def features(self) -> Iterator[str]:
        """Yield what a provider must support to serve this chat, in words of `ProviderInfo.supports`.

        >>> list(Chat((Message("user", "Hello"),), system="Be brief.", seed=1).features())
        ['system', 'seed']
        """
        if self.system is not None:
            yield "system"
        for option in OPTIONS[1:]:
            if getattr(self, option) not in (None, (), {}):
                yield option
        yield from features_of(self.messages)


OPTIONS = tuple(field.name for field in attrs.fields(Chat) if field.name != "messages")
_FEATURES_OF_PARTS = {ImagePart: "images", FilePart: "files"}
FEATURES = frozenset({*OPTIONS, *_FEATURES_OF_PARTS.values(), "history", "prefill", "provider_data"})


def features_of(messages: Sequence[Message]) -> list[str]:
    """Return what a provider must support to be given these messages."""
    turns = [message for message in messages if message.role != "system"]
    found = []
    if len(turns) < len(messages):
        found.append("system")
    if len(turns) > 1:
        found.append("history")
    if turns and turns[-1].role == "assistant":
        found.append("prefill")
    if [message for message in turns if message.tool_calls or message.role == "tool"]:
        found.append("tools")
    contents = [message.content for message in messages if not isinstance(message.content, str)]
    if contents:
        kinds = {type(part) for content in contents for part in content}
        found += [feature for kind, feature in _FEATURES_OF_PARTS.items() if kind in kinds]
    return found


def merge_extra(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with `extra` laid over it, at any depth: mappings merge, everything else replaces.

    >>> merge_extra({"options": {"seed": 1}, "n": 1}, {"options": {"top_k": 5}})
    {'options': {'seed': 1, 'top_k': 5}, 'n': 1}
    """
    merged = dict(body)
    for name, value in extra.items():
        below = merged.get(name)
        merged[name] = merge_extra(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
