"""No regular expression here takes more than linear time, whatever text it is given.

A pattern that repeats what repeats can divide a text in many ways, and tries all of them
before it gives up. None does, but those named here, which say why they can't.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import re._parser as parser
from collections.abc import Iterator
from typing import Any

import pytest

import providerkit

SAFE = {
    "providerkit.schemas._GOOGLE": "nothing follows the repeat, so it never fails",
    "providerkit.schemas._GOOGLE_NOTE": "each part begins with a line break, which no part holds",
    "providerkit.schemas._FIELD_NOTE": "each part begins with a line break, which no part holds",
    "providerkit.cli.new.NAME": "each part begins with a hyphen, which no part holds",
}


def patterns() -> dict[str, re.Pattern[Any]]:
    """Find the patterns of all modules."""
    found = {}
    for name in ("providerkit", "providerkit_openai", "providerkit_koala"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if module.name.endswith(("__main__", ".new-provider")):
                continue
            for name_of, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern):
                    found[f"{module.name}.{name_of}"] = value
    return found


def repeats(parsed: Any, within: bool = False) -> Iterator[tuple[bool, bool]]:
    """Yield, of every repeat without a bound, whether it is possessive, and whether it is within another."""
    for kind, value in parsed:
        unbounded = "REPEAT" in str(kind) and value[1] == parser.MAXREPEAT
        if unbounded:
            yield "POSSESSIVE" in str(kind), within
        for part in parts(value):
            yield from repeats(part, within or unbounded)


def parts(value: Any) -> Iterator[Any]:
    if isinstance(value, parser.SubPattern):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from parts(item)


def repeats_a_repeat(pattern: str | bytes) -> bool:
    return any(within for _, within in repeats(parser.parse(pattern)))


def test_no_pattern_repeats_what_repeats():
    assert providerkit.__version__
    found = {name for name, pattern in patterns().items() if repeats_a_repeat(pattern.pattern)}
    assert found == set(SAFE)


def test_the_patterns_that_read_what_strangers_send_never_go_back():
    for name, pattern in patterns().items():
        if name.startswith("providerkit.secrets."):
            assert all(possessive for possessive, _ in repeats(parser.parse(pattern.pattern))), name


@pytest.mark.parametrize(
    ("pattern", "bad"), [(r"(?:a+)+", True), (r"(a|b*)*c", True), (r"a+b+", False), ("(a{1,3})+", False)]
)
def test_a_repeat_of_a_repeat_would_be_found(pattern, bad):
    assert repeats_a_repeat(pattern) is bad
