"""Tools: functions that a model may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..errors import InvalidOption
from .schemas import description_of, schema_of
from .validators import as_tuple


@attrs.frozen
class Tool:
    """A function that the model may call; `parameters` is its JSON schema, empty if it takes none.

    `function` is the function itself, if the tool was made of one; it is not sent. Raises
    InvalidOption if the name is empty or the schema is not a mapping.
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


def as_tools(tools: object) -> tuple[Tool, ...]:
    """Return the tools, and make one of each plain function; raises InvalidOption for anything else."""
    return tuple(_as_tool(tool) for tool in as_tuple(tools))


def _as_tool(tool: object) -> Tool:
    if isinstance(tool, Tool):
        return tool
    if callable(tool) and not isinstance(tool, type):
        return Tool.from_function(tool)
    raise InvalidOption(f"tools holds {tool!r}; expected Tool objects and functions", option="tools")
