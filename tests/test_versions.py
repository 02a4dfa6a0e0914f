"""Each distribution's version is written once, in its pyproject.toml; everything else reads it from there."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import providerkit

ROOT = Path(__file__).parent.parent
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("providers/*/pyproject.toml"))]
PROJECTS = {path: tomllib.loads(path.read_text("utf-8"))["project"] for path in PROJECTS}
each_distribution = pytest.mark.parametrize("path", PROJECTS, ids=[project["name"] for project in PROJECTS.values()])


@each_distribution
def test_what_is_installed_has_the_version_that_is_written(path):
    project = PROJECTS[path]
    assert version(project["name"]) == project["version"], "install it again: it was, before the version was changed"


@each_distribution
def test_no_module_writes_it_again(path):
    written = re.compile(rf"""__version__\s*=\s*["']|["']{re.escape(PROJECTS[path]["version"])}["']""")
    modules = [module for module in path.parent.glob("providerkit*/**/*.py") if module.is_file()]
    assert modules
    assert [module.name for module in modules if written.search(module.read_text("utf-8"))] == []


@each_distribution
def test_all_need_the_same_python_and_say_so(path):
    core, project = PROJECTS[ROOT / "pyproject.toml"], PROJECTS[path]
    assert project["requires-python"] == core["requires-python"]
    assert [words for words in project["classifiers"] if "Python ::" in words] == [
        words for words in core["classifiers"] if "Python ::" in words
    ]


@pytest.mark.parametrize("path", [path for path in PROJECTS if path.parent != ROOT], ids=lambda path: path.parent.name)
def test_a_provider_takes_the_core_that_is_here(path):
    [core] = [Requirement(line) for line in PROJECTS[path]["dependencies"] if line.startswith("providerkit-core")]
    assert providerkit.__version__ in core.specifier


def test_the_package_tells_it():
    assert providerkit.__version__ == PROJECTS[ROOT / "pyproject.toml"]["version"]
