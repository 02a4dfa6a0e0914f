"""The extensions of the core prove that the public hooks suffice: of the core they use public names only."""

import ast
from pathlib import Path

import pytest

import providerkit
from providerkit import extensions

FOLDER = Path(extensions.__file__).parent


def names_of_the_core(source: str) -> set[str]:
    """Name all that a module takes from the core, its neighbours aside."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            of_the_core = node.level == 2 or (node.level == 0 and (node.module or "").startswith("providerkit"))
            found |= {alias.name for alias in node.names} if of_the_core else set()
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_an_extension_uses_public_names_only(path):
    assert names_of_the_core(path.read_text("utf-8")) <= set(providerkit.__all__)


def test_a_private_name_would_be_found():
    assert names_of_the_core("from ..wire import mask_of\nfrom .cassettes import read\nimport os") == {"mask_of"}
    assert names_of_the_core("from providerkit.wire import mask_of\nfrom os import path") == {"mask_of"}
