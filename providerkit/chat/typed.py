"""Typed answers: the JSON schema of a type, and the value of that type in an answer.

pydantic reads the types (extra `typed`): dataclasses, TypedDicts, attrs classes by their
fields, pydantic's own models, and everything that its TypeAdapter takes.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import ConfigurationError, InvalidOption, StreamMalformed

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def is_type(response_format: object) -> bool:
    """Return whether this is a type, rather than a schema or a wire's own form."""
    if response_format is None or isinstance(response_format, (Mapping, str)):
        return False
    return isinstance(response_format, type) or typing.get_origin(response_format) is not None


class TypedAnswer:
    """A type that an answer is read as; `schema` is its JSON schema.

    Raises ConfigurationError if pydantic is not installed, InvalidOption for a type that it
    can't read.
    """

    def __init__(self, wanted: Any) -> None:
        self._adapter, self.schema = _adapter(wanted)
        self._name = getattr(wanted, "__name__", str(wanted))

    def parse(self, text: str) -> Any:
        """Return the value; raises StreamMalformed, with what pydantic says, if the text is not JSON of that type."""
        try:
            return self._adapter.validate_json(text)
        except Exception as error:  # noqa: BLE001 - a type may bring code of its own
            failure = StreamMalformed(f"the answer is not of the type {self._name}: {_faults(error)}")
        raise failure


def _faults(error: Exception) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}"
    faults = ((".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors(include_url=False))
    return "; ".join(f"{place}: {words}" if place else words for place, words in faults)


def _adapter(wanted: Any) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    try:
        from pydantic import TypeAdapter  # an extra, and half a second of imports
    except ImportError:
        raise ConfigurationError(
            "response_format is a type, and reading it needs pydantic; install it: pip install pydantic"
        ) from None
    try:
        adapter = TypeAdapter(_readable(wanted))
        return adapter, adapter.json_schema()
    except Exception as error:  # noqa: BLE001 - a type may bring code of its own
        failure = _unreadable(wanted, error)
    raise failure


def _unreadable(wanted: Any, error: Exception) -> InvalidOption:
    reason = str(error).partition("\n")[0]
    return InvalidOption(
        f"response_format is the type {wanted!r}, which pydantic can't read: {reason}; expected a dataclass, "
        f"a TypedDict, an attrs class or a pydantic model",
        option="response_format",
    )


def _readable(wanted: Any) -> Any:
    """Return a type that pydantic reads: it knows no attrs class, and before Python 3.12 no TypedDict of `typing`."""
    if isinstance(wanted, type) and attrs.has(wanted):
        return _shape_of_attrs(wanted)
    if typing.is_typeddict(wanted):
        return _typed_dict(wanted, wanted.__optional_keys__)
    arguments = typing.get_args(wanted)
    if not arguments or typing.get_origin(wanted) is typing.Literal:
        return wanted
    readable = tuple(_readable(argument) for argument in arguments)
    return wanted if readable == arguments else _generic(wanted)[readable]


def _generic(wanted: Any) -> Any:
    origin = typing.get_origin(wanted)
    return typing.Union if origin is types.UnionType else origin


def _shape_of_attrs(kind: type) -> Any:
    from pydantic import AfterValidator

    fields = [field for field in attrs.fields(kind) if field.init]
    names = {field.name: field.alias for field in fields}
    optional = {field.alias for field in fields if field.default is not attrs.NOTHING}
    return typing.Annotated[_typed_dict(kind, optional, names), AfterValidator(lambda values: kind(**values))]


def _typed_dict(kind: Any, optional: Collection[str], names: Mapping[str, str] | None = None) -> Any:
    from typing import NotRequired  # pydantic brings it

    from typing_extensions import TypedDict

    hints = typing.get_type_hints(kind, include_extras=names is not None)
    readable = {
        (names or {}).get(name, name): _readable(hint) for name, hint in hints.items() if not names or name in names
    }
    fields = {name: NotRequired[hint] if name in optional else hint for name, hint in readable.items()}
    return TypedDict(kind.__name__, fields)  # type: ignore[operator]  # made at run time
