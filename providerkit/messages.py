"""What a user asks: messages, parts, tools, and the chat that holds them with its options.

Plain frozen values. They are checked when they are made, so whoever holds one trusts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import orjson

from .errors import Argument, InvalidMessages, InvalidOption, PluginError, StreamMalformed, short_repr
from .schemas import description_of, schema_of

ROLES = ("system", "user", "assistant", "tool")
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


def _checked_text(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise InvalidMessages(f"{what} is {type(text).__name__}, not a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessages(
            f"{what} has half a surrogate pair at character {error.start}, which no wire can carry; "
            f"repair it with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        ) from None
    return text


def _checked_part(text: object) -> str:
    return _checked_text(text, "a text part")


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
            _checked_text(self.detail, "the detail of an ImagePart")


Part: TypeAlias = TextPart | ImagePart


@attrs.frozen
class Tool:
    """Describe a function that the model may call; `parameters` is its JSON schema, empty where it takes none.

    `function` is the function itself, where the tool was made of one; it is not sent.
    Raises InvalidOption where the name is empty or the schema no mapping.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    function: Callable[..., Any] | None = attrs.field(default=None, kw_only=True, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidOption(f"the name of a Tool is {self.name!r}; it must be a non-empty string", option="tools")
        if not isinstance(self.parameters, Mapping):
            raise InvalidOption(
                f"the parameters of Tool {self.name!r} are {type(self.parameters).__name__}; "
                f"they must be a mapping that holds a JSON schema",
                option="tools",
            )

    @classmethod
    def from_function(
        cls, function: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> Tool:
        """Make a tool of a typed function: name, docstring and signature say what the model is told.

        Each parameter needs a type that JSON has: str, int, float, bool, None, Any,
        list[...], dict[str, ...], Literal, a union of these, or a TypedDict. A docstring
        with `Args:` or `:param x:` describes them, and so does a string in `Annotated`.
        Raises InvalidOption for other signatures, and for what has no name.

        >>> def weather(city: str, days: int = 1) -> str:
        ...     "Look outside."
        >>> tool = Tool.from_function(weather)
        >>> tool.name, tool.description, tool.parameters["required"]
        ('weather', 'Look outside.', ['city'])
        """
        parameters = schema_of(function)
        named = name or getattr(function, "__name__", None)
        if named is None:
            raise InvalidOption(f"a tool made of {function!r} has no name; say name=", option="tools")
        described = description_of(function) if description is None else description
        return cls(named, described, parameters, function=function)


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


def _checked_content(content: object) -> str | tuple[Part, ...]:
    if isinstance(content, str):
        return _checked_text(content, "the content")
    if not isinstance(content, (list, tuple)):
        raise InvalidMessages(
            f"the content is {type(content).__name__}; it must be a string, or a list of TextPart and ImagePart"
        )
    for part in content:
        if not isinstance(part, Part):
            raise InvalidMessages(f"the content holds {type(part).__name__}; its parts are TextPart and ImagePart")
    return tuple(content)


def _items(value: object) -> tuple[Any, ...]:
    """Make a tuple of None, of one item, or of several; what they are is checked later."""
    if type(value) is tuple:
        return value
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return tuple(value)
    return () if value is None else (value,)


def _checked_tool_calls(calls: object) -> tuple[ToolCall, ...]:
    for call in (found := _items(calls)):
        if not isinstance(call, ToolCall):
            raise InvalidMessages(f"tool_calls holds {type(call).__name__}; each must be a ToolCall")
    return found


def _checked_word(holder: object, attribute: attrs.Attribute[Any], word: object) -> None:
    if word is not None:
        _checked_text(word, attribute.name)


def _checked_role(role: object) -> str:
    if role not in ROLES:
        raise InvalidMessages(f"the role is {role!r}; it must be one of {', '.join(ROLES)}")
    return str(role)


@attrs.frozen
class Message:
    """Hold one turn of a chat.

    `role` is system, user, assistant or tool; `content` a string or a list of parts;
    `tool_calls` what an assistant asked for; `tool_call_id` which call a tool's message
    answers. Raises InvalidMessages where one of them is wrong.

    >>> Message("user", "Hello").text
    'Hello'
    """

    role: str = attrs.field(converter=_checked_role)
    content: str | tuple[Part, ...] = attrs.field(converter=_checked_content)
    tool_calls: tuple[ToolCall, ...] = attrs.field(default=(), converter=_checked_tool_calls, kw_only=True)
    tool_call_id: str | None = attrs.field(default=None, validator=_checked_word, kw_only=True)
    name: str | None = attrs.field(default=None, validator=_checked_word, kw_only=True)

    @property
    def text(self) -> str:
        """Give the text parts of the content, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def has_image(self) -> bool:
        """Tell whether the content holds an image."""
        return not isinstance(self.content, str) and any(isinstance(part, ImagePart) for part in self.content)


Prompt: TypeAlias = str | Message | Iterable[Message | Mapping[str, Any]]


def parse_messages(prompt: Prompt) -> tuple[Message, ...]:
    """Make messages of what a user passes: a string, a Message, or an iterable of either form.

    The mappings are OpenAI's chat messages (platform.openai.com/docs/api-reference/chat,
    November 2026); the role "developer" is read as "system". Nothing is changed in place.
    Raises InvalidMessages, naming the message by its index.
    """
    if isinstance(prompt, str):
        prompt = (Message("user", prompt),) if prompt.strip() else ()
    elif isinstance(prompt, Message):
        prompt = (prompt,)
    elif isinstance(prompt, (Mapping, bytes)) or not isinstance(prompt, Iterable):
        raise InvalidMessages(f"messages is {type(prompt).__name__}; pass a string, a Message, or a list of messages")
    messages = tuple(_parse_message(index, item) for index, item in enumerate(prompt))
    if not messages:
        raise InvalidMessages("there is no message to send; pass a non-empty string or list")
    return messages


def _parse_message(index: int, item: object) -> Message:
    try:
        return item if isinstance(item, Message) else _from_mapping(item)
    except InvalidMessages as error:
        raise InvalidMessages(f"messages[{index}]: {error}", index=index) from None


def _from_mapping(item: object) -> Message:
    if not isinstance(item, Mapping):
        raise InvalidMessages(f"it is {type(item).__name__}, not a Message or a mapping with role and content")
    unread = [key for key, value in item.items() if key not in (_READ | _DUMPED) and value]
    if unread:
        raise InvalidMessages(f"no field {unread[0]!r} is known; a message has {', '.join(sorted(_READ))}")
    if item.get("role") is None:
        raise InvalidMessages(f"it has no role; give one of {', '.join(ROLES)}")
    tool_calls = tuple(_parse_tool_call(call) for call in _items(item.get("tool_calls")))
    was_answered = item["role"] == "assistant" and "content" in item  # by nothing: all tokens went into thinking, say
    if item.get("content") is None and not (tool_calls or item.get("refusal") or was_answered):
        raise InvalidMessages("it has no content")
    return Message(
        "system" if item["role"] == "developer" else item["role"],
        _parse_content(item.get("content"), item.get("refusal")),
        tool_calls=tool_calls,
        tool_call_id=item.get("tool_call_id"),
        name=item.get("name"),
    )


_READ = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_DUMPED = frozenset({"refusal", "annotations"})  # of an assistant's message, as OpenAI gives it


def _parse_content(content: object, refusal: object) -> Any:
    """Read the content; a refusal is text, as it is in the Reply of the same answer."""
    if isinstance(content, (list, tuple)):
        content = tuple(part if isinstance(part, Part) else _parse_part(part) for part in content)
    if not refusal:
        return "" if content is None else content
    if not content:
        return refusal
    parts = content if isinstance(content, tuple) else (TextPart(content),)
    return (*parts, TextPart(refusal))


def _parse_part(part: object) -> Part:
    match part:
        case {"type": "text", "text": text, **others} if not any(others.values()):
            return TextPart(text)
        case {"type": "refusal", "refusal": text}:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url), **others}, **more} if not any(more.values()):
            detail: Any = others.pop("detail", None)
            if not any(others.values()):
                return ImagePart(url, detail=detail)
    raise InvalidMessages(
        'a part of its content is neither {"type": "text", "text": ...} nor '
        '{"type": "image_url", "image_url": {"url": ...}}, with "detail" at most'
    )


def _parse_tool_call(call: object) -> ToolCall:
    match call:
        case ToolCall():
            return call
        case {"id": str(id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return ToolCall(id, name, arguments)
        case {"id": str(id), "function": {"name": str(name), "arguments": (dict() | None) as arguments}}:
            return ToolCall(id, name, "" if arguments is None else orjson.dumps(arguments).decode())
    raise InvalidMessages(
        'a tool call is not {"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}'
    )


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


_INTEGERS = range(-(2**63), 2**64)  # those that orjson writes


def _check_kind(option: str, value: object, kinds: tuple[type, ...]) -> None:
    """Raise InvalidOption unless a value is of one of these types and, if it is a number, one that JSON carries."""
    sendable = isfinite(value) if isinstance(value, float) else not isinstance(value, int) or value in _INTEGERS
    if not isinstance(value, kinds) or isinstance(value, bool) or not sendable:
        wanted = " or ".join(kind.__name__ for kind in kinds) + ("" if sendable else ", finite and of at most 64 bits")
        raise InvalidOption(
            Argument(option),
            f" is {short_repr(value)}, of type {type(value).__name__}; it takes {wanted}",
            option=option,
        )


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
    tools: tuple[Tool, ...] = attrs.field(default=(), converter=_items, kw_only=True)
    response_format: Any = attrs.field(default=None, kw_only=True)
    temperature: float | None = attrs.field(default=None, kw_only=True)
    top_p: float | None = attrs.field(default=None, kw_only=True)
    max_tokens: int | None = attrs.field(default=None, kw_only=True)
    stop: tuple[str, ...] = attrs.field(default=(), converter=_items, kw_only=True)
    seed: int | None = attrs.field(default=None, kw_only=True)
    extra: Mapping[str, Any] = attrs.field(default=None, converter=_frozen_mapping, kw_only=True)

    def __attrs_post_init__(self) -> None:  # most are not given, and a validator for each is asked nonetheless
        for option, kinds in _KINDS.items():
            value = getattr(self, option)
            if value is not None:
                _check_kind(option, value, kinds)
        for tool in self.tools:
            _check_kind("tools", tool, (Tool,))
        for stop in self.stop:
            _check_kind("stop", stop, (str,))
        if self.system is not None:
            _checked_text(self.system, "system")

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


@attrs.frozen
class Model:
    """Name a model as its provider does, and say what is known of it.

    `reasoning`: it may think for long before its first word, so waiting is no sign of failure.
    """

    name: str = attrs.field(validator=attrs.validators.instance_of(str))
    reasoning: bool = False


def _checked_features(words: Iterable[str]) -> frozenset[str]:
    supports = frozenset(_items(words))
    unknown = sorted(supports - FEATURES)
    if unknown:
        raise PluginError(f"supports has {unknown[0]!r}; its words are {', '.join(sorted(FEATURES))}")
    return supports


def _checked_models(names: Iterable[str]) -> tuple[str, ...]:
    models = _items(names)
    for name in models:
        if not isinstance(name, str):
            raise PluginError(f"models holds names, not {name!r}")
    return models


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not name or "/" in name:
        raise PluginError(f"a provider's name is a non-empty string without a slash, not {name!r}")
    return name


@attrs.frozen
class ProviderInfo:
    """Describe a provider.

    `url` is its web site, `default_base_url` the origin and path prefix of its API (None:
    the caller must give one), `base_path` what a base URL usually ends in, such as "/v1", if
    `default_base_url` does not show it, `default_model` and `models` the names it knows, `supports`
    the features it can serve (words of a closed vocabulary), `api_key_env` the environment
    variable that holds its key, `working` whether its service is known to answer. Raises
    PluginError where `supports` has an unknown word, `models` holds what is no name, or the
    name is empty or has a slash.
    """

    name: str = attrs.field(converter=_checked_name)
    url: str | None = attrs.field(default=None, kw_only=True)
    default_base_url: str | None = attrs.field(default=None, kw_only=True)
    base_path: str | None = attrs.field(default=None, kw_only=True)
    default_model: str | None = attrs.field(default=None, kw_only=True)
    models: tuple[str, ...] = attrs.field(default=(), converter=_checked_models, kw_only=True)
    supports: frozenset[str] = attrs.field(default=(), converter=_checked_features, kw_only=True)
    api_key_env: str | None = attrs.field(default=None, kw_only=True)
    working: bool = attrs.field(default=True, kw_only=True)
