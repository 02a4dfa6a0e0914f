"""The architecture of the core, as a test: tests/house.py says what it is."""

import ast
from urllib.parse import urlsplit

import pytest
from house import DRAWING, HEIGHT, ONLY, PURE, ROOF, House, core, draw, is_in

import providerkit

HOUSE = core()
MODULES = HOUSE.paths


def test_every_module_has_its_floor():
    assert {module.partition(".")[0] for module in MODULES} == {*HEIGHT, *ROOF}


def test_a_module_imports_only_its_own_floor_and_lower_ones():
    assert HOUSE.upward() == []


def test_no_imports_go_in_a_circle():
    assert HOUSE.circles() == []


def test_values_bytes_and_hooks_know_no_event_loop_no_socket_and_no_clock():
    assert HOUSE.worldly() == []


def test_only_the_modules_that_may_import_aiohttp_and_pluggy():
    assert HOUSE.strangers() == []


def test_no_private_name_is_used_by_another_module():
    assert HOUSE.private() == []


def test_the_places_of_these_rules_are_there():
    for place in (*PURE, *(place for places in ONLY.values() for place in places)):
        assert any(is_in(module, (place,)) for module in MODULES), place


def test_no_module_has_a_name_that_says_nothing():
    assert {"utils", "base", "common", "constants", "helpers"}.isdisjoint(
        word for module in MODULES for word in module.split(".")
    )


def test_the_drawing_is_the_one_that_is_made_of_the_house():
    assert DRAWING.read_text("utf-8") == draw(HOUSE), "to draw it again: python tests/house.py"


# The rules above can fail

HOMES = {"Run": "runs", "Chat": "chat.options"}
FAULTS = [
    ("upward", "chat/options.py", "from ..runs import Run", [("chat.options", "runs")]),
    ("upward", "wire/sse.py", "if TYPE_CHECKING:\n    from ..engine import plan", [("wire.sse", "engine.plan")]),
    ("upward", "wire/sse.py", "def late():\n    from house import Run", [("wire.sse", "runs")]),
    ("upward", "chat/options.py", "import house\nhouse.Run", [("chat.options", "runs")]),
    ("upward", "chat/options.py", "import house.runs", [("chat.options", "runs")]),
    ("upward", "cli/run.py", "import house\nhouse.Run", []),
    ("circles", "chat/options.py", "from . import tools", [["chat.options", "chat.tools"]]),
    ("circles", "chat/options.py", "if TYPE_CHECKING:\n    from .tools import Tool", [["chat.options", "chat.tools"]]),
    ("circles", "chat/tools.py", "from .options import Chat", []),
    ("worldly", "wire/sse.py", "import socket", [("wire.sse", "socket")]),
    ("worldly", "chat/tools.py", "def wait():\n    from asyncio import sleep", [("chat.tools", "asyncio")]),
    ("worldly", "engine/plan.py", "import asyncio", []),
    ("strangers", "runs.py", "if TYPE_CHECKING:\n    from aiohttp.web import Request", [("runs", "aiohttp")]),
    ("strangers", "engine/plan.py", "import pluggy", [("engine.plan", "pluggy")]),
    ("strangers", "sandboxes.py", "from aiohttp import web", []),
    ("private", "cli/run.py", "from ..chat.options import _hidden", [("cli.run", "_hidden")]),
    ("private", "cli/run.py", "from ..chat import options\noptions._hidden", [("cli.run", "options._hidden")]),
    ("private", "cli/run.py", "from other import _hidden\nself._own", []),
]


@pytest.mark.parametrize(("rule", "file", "code", "found"), FAULTS)
def test_a_house_with_a_fault_is_found_out(tmp_path, rule, file, code, found):
    root = tmp_path / "house"
    plan = {"__init__.py", "runs.py", "sandboxes.py", "wire/sse.py", "engine/plan.py", "chat/options.py", "cli/run.py"}
    for name in plan | {f"{wing}/__init__.py" for wing in ("chat", "wire", "engine", "cli")}:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "chat" / "tools.py").write_text("from .options import Chat\n")
    with (root / file).open("a") as module:
        module.write(f"{code}\n")
    assert getattr(House(root, HOMES), rule)() == found


def constants(path):
    """Return every string that a module's code holds, its docstrings and the help of its commands aside."""
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
    learned = {info.name for info in infos} | {name for info in infos for name in info.key_variables} | hosts
    learned -= {None, "127.0.0.1"}  # loopback is nobody's
    assert len(infos) > 10
    for path in MODULES.values():
        assert constants(path).isdisjoint(learned), path
