"""Tools from functions: the schema is what signature and docstring say, and what JSON has no type for is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, Optional, Required, TypedDict, Union

import pytest

from providerkit import InvalidOption, Tool
from providerkit.chat.schemas import schema_of


class Place(TypedDict):
    city: str
    country: NotRequired[str]


class Options(TypedDict, total=False):
    unit: Required[Literal["C", "F"]]
    places: list[Place]


class Tree(TypedDict):
    branches: list[Tree]


def of(annotation):
    """Return the schema of one parameter of this type."""

    def take(value): ...

    take.__annotations__ = {"value": annotation}
    return schema_of(take)["properties"]["value"]


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (list, {"type": "array"}),
        (dict, {"type": "object"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (Iterable[Any], {"type": "array", "items": {}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Mapping[str, Any], {"type": "object", "additionalProperties": {}}),
        (Literal["C", 1], {"enum": ["C", 1]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045 - one is an own type
        (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007 - one is an own type
        ("int", {"type": "integer"}),
        (Annotated[str, 5, "a city"], {"type": "string", "description": "a city"}),
        (Annotated[str, 5], {"type": "string"}),
        (list[Annotated[str, "a city"]], {"type": "array", "items": {"type": "string", "description": "a city"}}),
    ],
    ids=str,
)
def test_a_type_has_its_schema(annotation, schema):
    assert of(annotation) == schema


def test_a_typed_dict_is_an_object():
    place = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    assert of(Place) == place
    assert of(Options) == {
        "type": "object",
        "properties": {"unit": {"enum": ["C", "F"]}, "places": {"type": "array", "items": place}},
        "required": ["unit"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (bytes, "bytes"),
        (tuple[int, ...], "tuple"),
        (set[str], "set"),
        (dict[int, str], "dict"),
        (Literal[b"x"], "Literal"),
        (Callable[[], None], "Callable"),
        (list[bytes], "bytes"),
        (Place | bytes, "bytes"),
    ],
    ids=str,
)
def test_a_type_that_json_does_not_have_is_refused(annotation, shown):
    with pytest.raises(
        InvalidOption, match=f"parameter 'value' of the tool 'take' is of type .*{shown}.* JSON"
    ) as caught:
        of(annotation)
    assert caught.value.option == "tools"


def test_a_type_that_holds_itself_is_refused():
    with pytest.raises(InvalidOption, match="holds the type Tree, which holds itself"):
        of(Tree)


def untyped(city): ...
def several(*cities: str): ...
def named(**cities: str): ...
def positional(city: str, /): ...
def unknown(city: Nowhere): ...  # noqa: F821 - that is the point


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (untyped, "parameter 'city' of the tool 'untyped' has no type; write one, as in city: str"),
        (several, "parameter 'cities' of the tool 'several' can't be given by name"),
        (named, "parameter 'cities' of the tool 'named' can't be given by name"),
        (positional, "parameter 'city' of the tool 'positional' can't be given by name"),
        (unknown, "the signature of the tool 'unknown' can't be read: name 'Nowhere' is not defined"),
        (5, "the signature of the tool '5' can't be read: 5 is not a callable object"),
    ],
)
def test_a_function_that_can_not_be_called_by_a_model_is_refused(function, words):
    with pytest.raises(InvalidOption, match=words):
        Tool.from_function(function)


def weather(city: str, days: int = 1, *, unit: Annotated[Literal["C", "F"], "of the temperature"] = "C") -> str:
    """Look outside, or
    at a forecast.

    It may rain.

    Args:
        city: where to look,
            with its country
        days (int, optional): how many
        unit: not this

    Returns:
        The weather: in words.

    """  # noqa: D205 - as people write them
    return f"{city} {days} {unit}"


def test_a_tool_is_made_of_a_function():
    tool = Tool.from_function(weather)
    assert (tool.name, tool.description) == ("weather", "Look outside, or at a forecast.\n\nIt may rain.")
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "where to look, with its country"},
            "days": {"type": "integer", "description": "how many"},
            "unit": {"enum": ["C", "F"], "description": "of the temperature"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    assert tool.function is weather
    assert "function" not in repr(tool)


def test_a_docstring_may_describe_parameters_in_fields():
    def look(city: str, days: int): ...

    look.__doc__ = "Look.\n\n:param city: where\n    to look\n:param int days: how many\n:returns: words"
    tool = Tool.from_function(look)
    assert tool.description == "Look."
    found = {name: schema["description"] for name, schema in tool.parameters["properties"].items()}
    assert found == {"city": "where to look", "days": "how many"}


def test_a_function_may_take_nothing_and_say_nothing():
    def now(): ...

    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    assert Tool.from_function(now) == Tool("now", "", nothing)


def test_name_and_description_can_be_given():
    tool = Tool.from_function(weather, name="look", description="Look out.")
    assert (tool.name, tool.description) == ("look", "Look out.")


class Station:
    """Measure."""

    def measure(self, place: Place) -> str:
        """Measure at a place."""

    async def __call__(self, city: str) -> str:
        """Measure in a city."""


def test_methods_and_other_callables_are_functions_too():
    tool = Tool.from_function(Station().measure)
    assert (tool.name, tool.description, list(tool.parameters["properties"])) == (
        "measure",
        "Measure at a place.",
        ["place"],
    )
    for callable_object, name in ((Station(), "station"), (partial(weather, days=3), "days")):
        assert Tool.from_function(callable_object, name=name).description == ""
        with pytest.raises(InvalidOption, match="has no name; say name="):
            Tool.from_function(callable_object)
