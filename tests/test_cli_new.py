"""`providerkit new`: the package that it writes, installed beside the core; and one that the tutorial makes of it."""

import ast
import keyword
import re
import tokenize
import tomllib
from pathlib import Path

import pytest
from commands import call
from pages import examples
from test_strangers import python

from providerkit.cli.new import _class_name
from providerkit.testing import ProviderContract

ROOT = Path(__file__).parent.parent
CHECKS = sum(name.startswith("test_") for name in vars(ProviderContract))
TUTORIAL = (ROOT / "docs" / "writing-a-provider.md").read_text("utf-8")
FILES = {
    "README.md",
    "pyproject.toml",
    "providerkit_blue_bird/__init__.py",
    "providerkit_blue_bird/plugin.py",
    "providerkit_blue_bird/py.typed",
    "providerkit_blue_bird/sandbox.py",
    "tests/test_contract.py",
    "tests/test_wire.py",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()
    }


def installed(package):
    """Install a package as pip does, beside the core, and give where."""
    site = package.parent / "site"
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    python("-m", "pip", "install", "-qq", "--disable-pip-version-check", *offline, "--target", site, package)
    return site


def checked(package, site):
    """Run the package's own tests, and the contract, as its author does."""
    done = python(
        "-m", "pytest", "-q", "-c", package / "pyproject.toml", "-p", "no:cacheprovider", package, path=[site]
    )
    assert re.search(r"^\d+ passed in", done, re.MULTILINE), done
    return python("-m", "providerkit", "check", package.name.removeprefix("providerkit-"), path=[site])


def test_new_writes_a_package_that_installs_and_keeps_the_contract(here):
    code, output, errors = call("new", "blue-bird")
    assert (code, errors) == (0, "")
    assert "  providerkit check blue-bird\n" in output
    package = here / "providerkit-blue-bird"
    assert set(written(package)) == FILES
    site = installed(package)
    assert {path.name for path in (site / "providerkit_blue_bird").iterdir()} >= {"plugin.py", "sandbox.py", "py.typed"}
    assert checked(package, site).endswith(f"blue-bird: {CHECKS} passed\n")
    said = python("-m", "providerkit", "run", "-p", "blue-bird", "--sandbox", "Hello", path=[site])
    assert said == "You said: Hello\n"


def own_code(text):
    """Count the lines of code, blank lines, comments and docstrings aside."""
    tree = ast.parse(text)
    told = {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and ast.get_docstring(node)
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    tokens = tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__)
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = {line for token in tokens if token.type not in layout for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - told)


def test_lines_of_code_are_counted():
    """The limit of the next test can fail."""
    assert (
        own_code('"""Say."""\n\nimport os  # why\n\n\ndef f(\n    a,\n):\n    """Do."""\n    # how\n    return a\n')
        == 5
    )


def test_the_tutorial_makes_a_provider_of_less_than_60_lines_that_keeps_the_contract(here):
    shown = [block.text for block, _ in examples(TUTORIAL)]
    [plugin] = [text for text in shown if "class Macaw:" in text]
    [sandbox] = [text for text in shown if "def application" in text]
    [wire] = [text for text in shown if "Macaw().parse_stream" in text]
    assert call("new", "macaw")[0] == 0
    package = here / "providerkit-macaw"
    (package / "providerkit_macaw" / "plugin.py").write_text(plugin, "utf-8")
    (package / "providerkit_macaw" / "sandbox.py").write_text(sandbox, "utf-8")
    imports = "from providerkit_macaw import Macaw\nfrom providerkit import Finish, TextDelta, Usage\n"
    (package / "tests" / "test_wire.py").write_text(imports + wire, "utf-8")
    assert own_code(plugin) + own_code(sandbox) < 60
    assert checked(package, installed(package)).endswith(f"macaw: {CHECKS} passed\n")


def test_the_tutorial_names_every_file_that_new_writes(here):
    call("new", "macaw")
    _, _, told = TUTORIAL.partition("That has written a folder `providerkit-macaw`")
    listed = set(re.findall(r"^\* `([\w/.]+)`: ", told.partition("\n### ")[0], re.MULTILINE))
    assert set(written(here / "providerkit-macaw")) - listed == {
        "providerkit_macaw/__init__.py",
        "providerkit_macaw/py.typed",
    }


def test_the_packaging_that_the_page_shows_is_what_new_writes(here):
    toml, *_ = re.findall(r"^```toml\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
    call("new", "parrot")
    ours, shown = (
        tomllib.loads((here / "providerkit-parrot" / "pyproject.toml").read_text("utf-8")),
        tomllib.loads(toml),
    )
    assert ours["build-system"] == shown["build-system"]
    assert shown["project"].items() <= ours["project"].items()


@pytest.mark.parametrize("name", ["parrot", "blue-bird", "gpt4", "a"])
def test_each_file_tells_what_it_is_for_and_names_nothing_else(here, name):
    call("new", name)
    for path, text in written(here / f"providerkit-{name}").items():
        assert path.endswith("py.typed") or re.match(r'#|"""', text), path
        assert name == "parrot" or "parrot" not in f"{path} {text}".lower(), path
        if path.endswith(".py"):
            compile(text, path, "exec")


def test_what_pip_has_compiled_is_left_out(here, monkeypatch):
    template = here / "site" / "testing" / "new-provider"
    (template / "__pycache__").mkdir(parents=True)
    (template / "__pycache__" / "parrot.cpython-311.pyc").write_bytes(b"\xff")
    (template / "README.md").write_text("# parrot", "utf-8")
    monkeypatch.setattr("providerkit.cli.new.files", lambda package: here / "site")
    call("new", "blue-bird")
    assert written(here / "providerkit-blue-bird") == {"README.md": "# blue-bird"}


def test_what_is_there_is_not_overwritten(here):
    (here / "providerkit-parrot").mkdir()
    code, output, errors = call("new", "parrot")
    assert (code, output) == (2, "")
    assert (
        "'providerkit-parrot' is there already, and nothing is overwritten; choose another folder with --into."
        in errors
    )
    assert call("new", "parrot", "--into", "birds/parrot")[0] == 0
    assert (here / "birds" / "parrot" / "pyproject.toml").exists()
    assert written(here / "providerkit-parrot") == {}


@pytest.mark.parametrize(
    "name", ["", "Parrot", "blue_bird", "-x", "x-", "a--b", "4x", "../x", "ä", "a/b", "a b", "x\n"]
)
def test_what_is_no_name_is_refused(here, name):
    code, output, errors = call("new", "--", name)
    assert (code, output) == (2, "")
    assert "can't name a provider; expected small letters, digits and hyphens, as in 'blue-parrot'" in errors
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blue-bird", "BlueBird"),
        ("chat", "ChatProvider"),
        ("none", "NoneProvider"),
        ("exception", "ExceptionProvider"),
        ("any", "AnyProvider"),
        ("x-4", "X4"),
    ],
)
def test_the_class_has_a_name_that_nothing_else_has(name, expected):
    assert _class_name(name) == expected
    assert expected.isidentifier()
    assert not keyword.iskeyword(expected)
