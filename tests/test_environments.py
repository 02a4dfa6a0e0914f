"""Peers are measured in environments of their own; what can't be had is told and left out."""

import ast
import subprocess
import sys
import zipfile

import pytest

from benchmarks import environments
from benchmarks.environments import CLIENTS, Recipe

PEERS = ["any_llm", "g4f", "langchain_openai", "litellm", "llm", "openai", "pydantic_ai"]
MODULES = sorted(path.stem for path in CLIENTS.glob("*.py") if path.stem != "__init__")
# The interface: what a client may have, and the arguments of each.
METHODS = {
    "__init__": ["self", "base_url"],
    "__aenter__": ["self"],
    "__aexit__": ["self", "*failure"],
    "stream": ["self", "path"],
    "stream_blocking": ["self", "path"],
    "stream_events": ["self", "path"],
    "collect": ["self", "path"],
    "complete": ["self", "path"],
}


@pytest.fixture
def wheel(tmp_path):
    """Return a package that needs no registry."""
    path = tmp_path / "wombat-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wombat.py", "")
        archive.writestr("wombat-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: wombat\nVersion: 1.0\n")
        archive.writestr("wombat-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("wombat-1.0.dist-info/RECORD", "")
    return str(path)


def test_what_cannot_be_had_is_told_and_the_others_are_made_once(tmp_path, wheel):
    folder, said = tmp_path / "environments", []
    missing = Recipe("missing", (str(tmp_path / "missing.whl"),))
    broken = Recipe("broken", (wheel,), line="import numbat")
    good = Recipe("good", (wheel,), {"WOMBAT": "yes"}, "import wombat; print(1.0)")
    peers = environments.make([missing, broken, good], folder, said.append)
    assert [(peer.name, peer.version) for peer in peers] == [("good", "1.0")]
    assert [line.partition(":")[0] for line in said] == [
        "missing",
        "missing is left out",
        "broken",
        "broken is left out",
        "good",
    ]
    assert "missing.whl" in said[1]
    assert said[3] == "broken is left out: ModuleNotFoundError: No module named 'numbat'"
    code = "import os, pathlib, wombat; print(os.environ['WOMBAT'], pathlib.Path.home())"
    told = subprocess.run([peers[0].python, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["yes", str(folder / "good" / "home")]

    said.clear()
    assert environments.make([good], folder, said.append) == peers
    assert said == []
    (folder / "good" / environments.RECORD).write_text("wombat==0.9\n")
    assert environments.make([good], folder, said.append) == peers
    assert [line.partition(":")[0] for line in said] == ["good"]


def test_recipes_are_read_from_the_clients_of_peers():
    recipes = {recipe.name: recipe for recipe in environments.recipes()}
    assert list(recipes) == PEERS
    assert recipes["openai"].requirements == ("openai[aiohttp]",)
    assert recipes["litellm"].variables["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert "clients import llm as" in recipes["llm"].line


def test_literals_are_read_without_running_anything():
    source = "A = B = 'one'\nC, D = 'two', ('three',)\nE = print('no')\nF, G = H\nI.J = 1\n"
    assert environments.constants(source) == {"A": "one", "B": "one", "C": "two", "D": ("three",)}


@pytest.mark.parametrize("name", MODULES)
def test_clients_have_what_the_interface_says(name):
    source = (CLIENTS / f"{name}.py").read_text()
    told = environments.constants(source)
    assert all(isinstance(told[key], str) for key in ("DISTRIBUTION", "IMPORT"))
    (client,) = [each for each in ast.parse(source).body if isinstance(each, ast.ClassDef) and each.name == "Client"]
    methods = {each.name: each for each in client.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    public = {method: words(of) for method, of in methods.items() if method.startswith("__") or method[0] != "_"}
    assert public == {method: METHODS[method] for method in public}
    assert {"__init__", "__aenter__", "__aexit__", "stream", "complete"} <= set(public)


def words(method):
    star = [f"*{method.args.vararg.arg}"] if method.args.vararg else []
    return [each.arg for each in method.args.args] + star


@pytest.mark.parametrize("name", PEERS)
def test_clients_of_peers_import_nothing_of_ours(name):
    tree = ast.parse((CLIENTS / f"{name}.py").read_text())
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in froms}
    assert [node for node in froms if node.level] == []
    roots = {module.partition(".")[0] for module in imported} - sys.stdlib_module_names
    assert roots <= {name, "aiohttp", "httpx2", "openai"}
