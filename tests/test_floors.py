"""The architecture of the core, as a test: a module imports only lower floors."""

import ast
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import providerkit

HOUSE = Path(providerkit.__file__).parent
FLOORS = {
    "errors": 0,
    "secrets": 0,
    "schemas": 0,
    "messages": 0,
    "events": 0,
    "wire": 1,
    "sse": 1,
    "jsonlines": 1,
    "decoders": 2,
    "discovery": 2,
    "hookspecs": 2,
    "policy": 2,
    "boundary": 3,
    "threads": 3,
    "plugins": 3,
    "transport": 3,
    "sync": 3,
    "watch": 3,
    "keys": 3,
    "exchange": 4,
    "calls": 5,
    "routing": 5,
    "rounds": 6,
    "runs": 6,
    "conversation": 6,
    "client": 6,
    "imitation": 6,
    "compat": 7,
    "extensions": 7,
    "testing": 7,
    "cli": 8,
    "__init__": 9,
    "__main__": 9,
}
# On one floor, these may know their left neighbour.
NEIGHBOURS = {
    ("schemas", "errors"),
    ("messages", "errors"),
    ("messages", "schemas"),
    ("events", "messages"),
    ("events", "errors"),
    ("plugins", "boundary"),
    ("transport", "boundary"),
    ("transport", "threads"),
    ("sync", "boundary"),
    ("sync", "threads"),
    ("watch", "boundary"),
    ("runs", "rounds"),
    ("conversation", "runs"),
    ("client", "conversation"),
    ("client", "runs"),
    ("testing", "extensions"),
}
WORLDLY = {"asyncio", "aiohttp", "socket", "time", "random"}
MODULES = sorted(HOUSE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Name every module that a module imports, relative names resolved, imports for type checking aside."""
    found = set()
    package = ["providerkit", *path.relative_to(HOUSE).parts[:-1]]
    todo = list(ast.parse(path.read_text("utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" for alias in node.names} if origin == "providerkit" else {origin}
        else:
            todo += ast.iter_child_nodes(node)
    return found


def rooms_known(path: Path) -> set[str]:
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("providerkit.")}
    return {name for name in inside if name in FLOORS} - {room(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_module_imports_only_lower_floors(path):
    for other in rooms_known(path):
        assert FLOORS[other] < FLOORS[room(path)] or (room(path), other) in NEIGHBOURS, f"{room(path)} knows {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_floors_0_to_2_know_nothing_of_the_world(path):
    if FLOORS[room(path)] <= 2:
        assert WORLDLY.isdisjoint(name.partition(".")[0] for name in imports(path))


def test_only_the_transport_and_the_servers_import_aiohttp():
    sockets = {room(path) for path in MODULES if "aiohttp" in {name.partition(".")[0] for name in imports(path)}}
    assert sockets - {"testing"} == {"transport", "imitation"}


def test_only_hookspecs_and_plugins_touch_pluggy():
    assert {room(path) for path in MODULES if "pluggy" in imports(path)} == {"hookspecs", "plugins"}


def test_no_import_is_relative_to_two_packages_up():
    """The check above reads relative imports; this shows that it can fail."""
    assert "errors" in rooms_known(HOUSE / "messages.py")
    assert "transport" in rooms_known(HOUSE / "exchange.py")


def test_no_module_has_a_name_that_says_nothing():
    assert {"utils.py", "base.py", "common.py", "constants.py", "helpers.py"}.isdisjoint(path.name for path in MODULES)


def constants(path):
    """Give every string that a module's code holds, its docstrings and the help of its commands aside."""
    tree = ast.parse(path.read_text("utf-8"))
    words = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):  # what commands tell: help=..., epilog=examples(...), "try: pip install ..."
        if isinstance(node, ast.keyword) and node.arg in {"help", "epilog"}:
            words |= set(ast.walk(node.value))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in words
    }


def test_the_core_has_learned_no_provider():
    infos = [providerkit.provider(name).info for name in providerkit.providers()]
    hosts = {urlsplit(url).hostname for info in infos for url in (info.url, info.default_base_url) if url}
    learned = {info.name for info in infos} | {info.api_key_env for info in infos} | hosts
    learned -= {None, "127.0.0.1"}  # loopback is nobody's
    assert len(infos) > 10
    for path in MODULES:
        assert constants(path).isdisjoint(learned), path
