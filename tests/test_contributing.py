"""What CONTRIBUTING.md and its neighbours say can be done, and leads somewhere."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    page
    for pattern in ("[A-Z]*.md", "changes/*.md", "examples/*.md", "providers/**/*.md")
    for page in ROOT.glob(pattern)
]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
COMMANDS = re.findall(r"\.venv/bin/([^#`\n]*[^#`\s])", CONTRIBUTING)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_tests_it_names_are_there():
    named = re.findall(r"pytest (tests/\S+)(?: +-k (\w+))?", CONTRIBUTING)
    assert len(named) == 2
    for path, word in named:
        assert re.search(rf"^(async )?def test_\w*{word}", (ROOT / path).read_text("utf-8"), re.MULTILINE)


def test_the_environments_of_tox_it_names_are_there():
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    named = re.findall(r"tox -e (\w+)", CONTRIBUTING)
    assert named
    assert [name for name in named if f"testenv:{name}" not in tox] == []
    assert [name for name in tox if name.startswith("testenv") and "description" not in tox[name]] == []


def test_the_files_that_tox_names_are_there():
    named = re.findall(
        r"^    (?:--ignore )?((?:tests|providers)\S*)$", (ROOT / "tox.ini").read_text("utf-8"), re.MULTILINE
    )
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_all_of_tox_is_all():
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    labels = dict(line.split(" = ") for line in tox["tox"]["labels"].strip().splitlines())
    heavy, everything = ({name.strip() for name in labels[name].split(", ")} for name in ("heavy", "all"))
    listed = {name for name in tox["tox"]["env_list"].split() if "{" not in name} - {"oldest"}
    assert listed | heavy <= everything
    assert "py{311,312,313,314}-aiohttp{oldest,newest}" in everything


def test_the_set_up_installs_the_extras_that_the_tests_need():
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    extras = re.search(r"-e \.(\[.*\])", tox["testenv"]["deps"])[1]
    assert f"install -e '.{extras}'" in CONTRIBUTING


def test_the_set_up_installs_every_tool_it_calls():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    lines = [line for item in groups["dev"] for line in groups.get(item["include-group"], [])]
    named = {re.match(r"[\w-]+", line)[0] for line in lines}
    with_these = {"pip", "pytest", "providerkit", "python"}  # with Python, the extra `testing`, and the core
    assert {command.split()[0] for command in COMMANDS} <= named | with_these
