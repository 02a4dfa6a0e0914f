"""Typed answers: a type is asked for by its schema, and the answer is its value, or an error."""

from __future__ import annotations

import builtins
import dataclasses
import json
from typing import Any, TypedDict

import attrs
import pydantic
import pytest
from loopback import http, serve

import providerkit
from providerkit import EventStream, Finish, Model, ProviderInfo, Request, TextDelta, ToolCallDelta, hookimpl, loads
from providerkit.chat.typed import TypedAnswer, is_type


@attrs.frozen
class Person:
    name: str
    age: int = 1


@dataclasses.dataclass
class Point:
    x: int


class Place(TypedDict):
    city: str


class Shape(pydantic.BaseModel):
    sides: list[int]


class Unreadable:
    pass


@attrs.frozen
class Grown:
    age: int = attrs.field()

    @age.validator
    def _check(self, attribute: object, age: int) -> None:
        if age < 18:
            raise ValueError("too young")


@attrs.frozen
class Odd:
    age: int

    def __attrs_post_init__(self) -> None:
        raise TypeError("odd")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Person, '{"name": "Ann"}', Person("Ann")),
        (Person | None, "null", None),
        (list[Person], '[{"name": "Ann", "age": 2}]', [Person("Ann", 2)]),
        (dict[str, Person], '{"a": {"name": "Ann"}}', {"a": Person("Ann")}),
        (Point, '{"x": 1}', Point(1)),
        (Place, '{"city": "Rome"}', {"city": "Rome"}),
        (Shape, '{"sides": [3]}', Shape(sides=[3])),
        (int, "5", 5),
    ],
    ids=str,
)
def test_a_value_of_the_type_is_read(kind: Any, text: str, value: object):
    assert is_type(kind)
    assert TypedAnswer(kind).parse(text) == value


def test_the_schema_is_the_types():
    schema = TypedAnswer(Person).schema
    assert schema["required"] == ["name"]
    assert {name: one["type"] for name, one in schema["properties"].items()} == {"name": "string", "age": "integer"}


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (Person, '{"name": 5}', "the answer is not of the type Person: name: Input should be a valid string"),
        (Person, "words", "the answer is not of the type Person: Invalid JSON"),
        (Odd, '{"age": 5}', "the answer is not of the type Odd: TypeError: odd"),
        (Grown, '{"age": 5}', "the answer is not of the type Grown: Value error, too young"),
    ],
)
def test_what_does_not_validate_is_malformed(kind: Any, text: str, said: str):
    with pytest.raises(providerkit.StreamMalformed) as caught:
        TypedAnswer(kind).parse(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("given", [None, {"type": "object"}, "json", 5])
def test_a_schema_and_a_wires_own_form_are_not_types(given: object):
    assert not is_type(given)


def test_a_type_that_can_not_be_read_is_refused():
    with pytest.raises(providerkit.InvalidOption, match="Unreadable'>, which pydantic can't read") as caught:
        providerkit.run("hi", provider=Typist, response_format=Unreadable)
    assert caught.value.option == "response_format"


def test_a_type_needs_pydantic(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pydantic":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(providerkit.ConfigurationError, match="needs pydantic; install it: pip install pydantic"):
        TypedAnswer(Person)


class Typist:
    @hookimpl
    def describe(self) -> ProviderInfo:
        supports = {"response_format", "tools", "history"}
        return ProviderInfo("typist", default_base_url="http://127.0.0.1:9", default_model="a", supports=supports)

    @hookimpl
    def resolve_model(self, name: str | None) -> Model:
        return Model(name or "a")

    @hookimpl
    def build_request(self, chat: providerkit.Chat, endpoint: providerkit.Endpoint) -> Request:
        return Request.json(endpoint.url("/type"), {"format": chat.response_format})

    @hookimpl
    def parse_stream(self) -> EventStream:
        return EventStream(lambda data, event: self._events(loads(data)), end=Finish("stop"))

    def _events(self, value: Any) -> list[providerkit.Event]:
        return [ToolCallDelta(0, "1", "look", "{}")] if value is None else [TextDelta(value)]


def said(*texts: str | None) -> bytes:
    return http(b"".join(f"data: {json.dumps(text)}\n\n".encode() for text in texts))


async def test_the_reply_holds_the_value():
    async with serve(said('{"name": ', '"Ann"}')) as server:
        reply = await providerkit.run("who?", provider=Typist, base_url=server.base_url, response_format=Person)
        assert (reply.parsed, reply.text) == (Person("Ann"), '{"name": "Ann"}')
        assert json.loads(server.requests[0].body)["format"] == TypedAnswer(Person).schema


async def test_a_stream_is_told_at_its_end_that_it_does_not_validate():
    async with serve(said("Ann")) as server:
        chat = providerkit.run(provider=Typist, base_url=server.base_url, response_format=Person)
        run = chat.send("who?")
        with pytest.raises(providerkit.StreamMalformed, match="not of the type Person") as caught:
            [text async for text in run]
        assert (caught.value.partial, run.reply.parsed) == ("Ann", None)
        assert chat.messages == ()
        assert len(server.requests) == 1


async def test_calls_that_are_left_to_the_caller_are_not_read_as_the_type():
    async with serve(said(None)) as server:
        reply = await providerkit.run(
            "who?", provider=Typist, base_url=server.base_url, response_format=Person, rounds=0
        )
    assert (reply.parsed, len(reply.tool_calls)) == (None, 1)


async def test_an_answer_that_does_not_validate_is_told_to_observers_as_an_error():
    told: list[object] = []

    class Witness:
        @hookimpl
        def observe(self) -> Witness:
            return self

        def finish(self, reply: object) -> None:
            told.append("finish")

        def error(self, error: object) -> None:
            told.append(type(error).__name__)

    async with serve(said("Ann")) as server:
        with pytest.raises(providerkit.StreamMalformed):
            await providerkit.run(
                "who?", provider=Typist, base_url=server.base_url, response_format=Person, extensions=[Witness()]
            )
    assert told == ["StreamMalformed"]
