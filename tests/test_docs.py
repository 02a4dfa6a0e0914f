"""README and docs say what is true: their examples run, their commands exist, their tables are complete."""

import doctest
import importlib.util
import inspect
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pages import blocks, examples, is_as_told
from test_floors import FLOORS

import providerkit
from benchmarks import report, results
from benchmarks.budgets import BUDGETS
from benchmarks.recovery import SCENARIOS
from providerkit import errors
from providerkit.cli.main import main
from providerkit.discovery import EXTENSIONS, PROVIDERS
from providerkit.hookspecs import REQUIRED, ExtensionHooks, ProviderHooks
from providerkit.messages import FEATURES
from providerkit.policy import Remedy, remedy
from providerkit.testing.faults import FAULTS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
ELSEWHERE = {"gpt4free.md"}  # what tests/gpt4free runs, where g4f is installed
SPECS = {
    name: [argument for argument in inspect.signature(spec).parameters if argument not in ("self", "hook")]
    for kind in (ProviderHooks, ExtensionHooks)
    for name, spec in vars(kind).items()
    if hasattr(spec, "providerkit_spec")
}


def each(paths):
    return pytest.mark.parametrize("path", list(paths), ids=lambda path: path.relative_to(ROOT).as_posix())


def page(name):
    return (DOCS / name).read_text("utf-8")


def rows(text):
    """Give the cells of every line of a page's tables, their heads aside."""
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines if "---" not in line and "`" in line]


def coded(text):
    return re.findall(r"`([^`]+)`", text)


def commands(text):
    return [line for line in text.splitlines() if line.startswith("python3 -m venv")]


def test_ci_runs_the_two_commands_of_the_readme():
    assert len(commands(README)) == 2
    assert commands((ROOT / ".ci" / "run").read_text("utf-8")) == commands(README)


# Examples


def environment():
    """Give an environment without a key or extensions of the developer's own, in which our programs are found."""
    own = re.compile("PROVIDERKIT_.*|.*_API_KEY")
    kept = {name: value for name, value in os.environ.items() if not own.fullmatch(name)}
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])}


@each(path for path in PAGES if path.name not in ELSEWHERE and list(examples(path.read_text("utf-8"))))
def test_the_examples_of_a_page_run_and_print_what_it_says(path, tmp_path):
    program = [sys.executable, "-W", "error", str(ROOT / "tests" / "pages.py"), str(path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)


def test_what_a_page_says_is_held_against_what_is_printed():
    """The test above can fail."""
    assert is_as_told("a ... c\n", "a b c")
    assert not is_as_told("a ... c\n", "a b d")
    found = list(examples("```python\n1\n```\n\n```text\nx\n```\n\n```python\n2\n```\n\nwords\n\n```text\ny\n```\n"))
    assert [(block.text, block.line, told) for block, told in found] == [("1\n", 2, "x\n"), ("2\n", 10, None)]


def test_the_provider_of_the_readme_answers():
    provider = next(block.text for block, _ in examples(README) if "class Parrot" in block.text)
    assert len([line for line in provider.splitlines() if line.strip()]) <= 16
    program = f"""{provider}
import asyncio
from aiohttp import web

async def say(request):
    return web.Response(text='data: "Hello"\\n\\n', content_type="text/event-stream")

class Served(Parrot):
    @hookimpl
    def sandbox(self):
        app = web.Application()
        app.router.add_post("/say", say)
        return app

import providerkit
with providerkit.sandbox(Served) as base_url:
    print(providerkit.run("Hello", provider=Parrot, base_url=base_url).result().text)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "Hello\n")


def test_the_test_that_a_page_shows_passes(tmp_path):
    provider, *others = [block.text for block, _ in examples(page("writing-a-provider.md"))]
    [shown] = [text for text in others if "def test_" in text and "mocked" in text]
    (tmp_path / "test_parrot.py").write_text(f"{provider}\n{shown}", "utf-8")
    program = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout


MODULES = [name for _, name, _ in pkgutil.walk_packages(providerkit.__path__, "providerkit.") if "__main__" not in name]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_run(name):
    public = {name: getattr(providerkit, name) for name in providerkit.__all__}
    assert doctest.testmod(importlib.import_module(name), extraglobs=public).failed == 0


# Other code blocks


@each(PAGES)
def test_a_code_block_is_of_a_kind_that_is_checked(path):
    languages = {block.language for block in blocks(path.read_text("utf-8"))}
    assert {name for name in languages if not name.startswith("{")} <= {
        "python",
        "text",
        "console",
        "sh",
        "toml",
        "diff",
    }


@each(PAGES)
def test_toml_announces_plugins_where_they_are_looked_for(path):
    for block in blocks(path.read_text("utf-8")):
        if block.language == "toml":
            announced = tomllib.loads(block.text)["project"].get("entry-points", {})
            assert set(announced) <= {PROVIDERS, EXTENSIONS}


def sessions():
    """Give every shell line of the pages with what it prints, empty where the page does not say."""
    for path in PAGES:
        for block in blocks(path.read_text("utf-8")):
            if block.language == "console":
                for line in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                    command, _, told = line.partition("\n")
                    yield pytest.param(command, told, id=command)


KNOWN = {"echo", "eval", "pass", "pip", ".venv/bin/pip", "python3", "uv"}


@pytest.mark.parametrize(("line", "told"), list(sessions()))
def test_a_shell_line_runs_or_can_be_read(line, told):
    if told:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        done = subprocess.run(line, shell=True, **pipes, text=True, check=False, env=environment())  # noqa: S602 - the pages are ours
        assert is_as_told(told, done.stdout + done.stderr), done.stdout + done.stderr
    else:
        for piped, words in groupby(shlex.split(line, comments=True), lambda word: word == "|"):
            if not piped:
                read(*words)


def read(program, *words):
    """Read a command as the shell and click would, running nothing."""
    if words[:1] == ("-m",):
        assert importlib.util.find_spec(words[1]) is not None, words[1]
    elif program == "uv" and "providerkit" in words:
        read(*words[words.index("providerkit") :])
    elif not program.endswith("providerkit"):
        assert program in KNOWN
    elif words and not words[0].startswith("-"):
        context = main.make_context("providerkit", [])
        command = main.get_command(context, words[0])
        assert command is not None, words[0]
        command.make_context(words[0], list(words[1:]), parent=context)


def test_the_shells_that_a_page_names_are_completed():
    shells = set(re.findall(r"(\w+)_source", page("command-line.md")))
    assert shells == {"bash", "zsh", "fish"}
    for shell in shells:
        asking = environment() | {"_PROVIDERKIT_COMPLETE": f"{shell}_source"}
        done = subprocess.run(["providerkit"], capture_output=True, text=True, check=True, env=asking)
        assert f"_PROVIDERKIT_COMPLETE={shell}_complete" in done.stdout


# What must not be missing


def test_every_hook_is_there_with_its_arguments():
    told = {cells[0]: cells[1] for cells in rows(page("hooks.md")) if "(" in cells[0] and len(cells) == 3}
    assert set(told) == {f"`{name}({', '.join(arguments)})`" for name, arguments in SPECS.items()}
    required = {name.partition("(")[0].strip("`") for name, who in told.items() if who == "a provider, required"}
    assert required == set(REQUIRED)


def test_every_argument_of_a_hook_is_there():
    told = {cells[0].strip("`") for cells in rows(page("hooks.md")) if len(cells) == 2}
    assert told == {"hook", *(argument for arguments in SPECS.values() for argument in arguments)}


def test_the_docstrings_of_hooks_are_there():
    for kind in (ProviderHooks, ExtensionHooks):
        assert f".. autoclass:: providerkit.hookspecs.{kind.__name__}()\n   :members:" in page("hooks.md")


def test_every_method_of_an_observer_is_there():
    told = [cells[0].strip("`") for cells in rows(page("writing-an-extension.md"))]
    assert told == re.findall(r"`(\w+\(\w[^)]*\))`", inspect.getdoc(providerkit.Observer))


def test_every_public_name_is_there_once():
    entry = r"^\.\. (?:auto\w+|py:data):: providerkit\.(\w+)"
    assert sorted(re.findall(entry, page("reference.md"), re.MULTILINE)) == sorted(providerkit.__all__)


def error_classes():
    return {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
        if not name.startswith("_")
    }


def service_row(point):
    dialect = point.load().dialect
    key = f"`{dialect.api_key_env}`" if dialect.api_key_env else "`api_key=`"
    return [
        f"`{point.name}`",
        f"`{dialect.base_url}`" if dialect.base_url else "say `base_url=`",
        f"{key}, optional" if dialect.keyless else key,
        f"`{dialect.default_model}`" if dialect.default_model else "say `model=`",
        ", ".join(f"`{feature}`" for feature in sorted(FEATURES - dialect.supports)),
    ]


def test_every_service_of_the_chat_completions_wire_is_there_with_what_its_row_says():
    told = [cells for cells in rows(page("openai.md")) if len(cells) == 5]
    assert told == [service_row(point) for point in distribution("providerkit-openai").entry_points]


def test_every_error_is_there_with_its_fields():
    told = {cells[0].strip("`"): set(coded(cells[1])) for cells in rows(page("errors.md"))}
    assert set(told) == set(error_classes()) - {"ProviderKitError"}
    for name, kind in error_classes().items():
        if name != "ProviderKitError":
            own = set(vars(kind())) - {"partial"}
            inherited = set(vars(kind.__base__())) if issubclass(kind.__base__, providerkit.ProviderError) else set()
            assert told[name] == own - inherited, name


def test_the_tree_of_errors_is_the_modules():
    tree = re.search(r"^ProviderKitError\n.*?\n\n", errors.__doc__, re.DOTALL | re.MULTILINE)[0].strip()
    assert f"```text\n{tree}\n```" in page("errors.md")


def test_every_option_of_run_is_there():
    told = [name for cells in rows(page("providers.md").partition("\n## Options\n")[2]) for name in coded(cells[0])]
    clocks = [attribute.name for attribute in providerkit.Timeouts.__attrs_attrs__]
    assert told == [*list(inspect.signature(providerkit.run).parameters)[1:], *clocks]


def test_every_command_is_there():
    text = page("command-line.md")
    assert ".. click:: providerkit.cli.main:main\n   :prog: providerkit\n   :nested: full" in text
    shown = {words[0] for words in (line.split() for line in re.findall(r"providerkit (.*)", text)) if words}
    assert set(main.list_commands(main.make_context("providerkit", []))) <= shown


def test_every_event_is_there():
    told = {cells[0].strip("`") for cells in rows(page("getting-started.md"))}
    assert told == {kind.__name__ for kind in providerkit.Event.__args__}


# Drawings


def texts(drawing, path):
    space = "{http://www.w3.org/2000/svg}"
    return ["".join(found.itertext()) for found in ET.parse(DOCS / drawing).iterfind(path.format(space))]  # noqa: S314 - ours


def test_the_house_is_drawn_as_the_floors_are():
    drawn = {}
    for floor in set(FLOORS.values()) - {9}:
        rooms = texts("house.svg", f".//{{0}}g[@id='floor-{floor}']/{{0}}text[@class='name']")
        drawn |= dict.fromkeys(rooms, floor)
    assert drawn == {room: floor for room, floor in FLOORS.items() if floor != 9}


def test_the_path_is_drawn_through_hooks_that_are_there():
    drawn = {text for text in texts("path.svg", ".//{0}text[@class='name']") if text.endswith(")")}
    known = {f"{name}({', '.join(arguments)})" for name, arguments in SPECS.items()}
    assert drawn - {"run(messages, ...)"} <= known
    assert {name for name in known if name.partition("(")[0] in REQUIRED} - drawn == {"describe()"}


# Links


def slugs(path):
    """Give the names of a page's headings, as GitHub makes them."""
    prose = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKING = [*PAGES, ROOT / "examples" / "README.md", *sorted((ROOT / "providers").glob("*/README.md"))]


@each(LINKING)
def test_every_link_within_the_project_leads_somewhere(path):
    prose = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose):
        target, _, fragment = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), link
        assert not fragment or fragment in slugs(file), link


def test_every_page_is_to_be_found_from_the_first():
    index = page("index.md")
    listed = {line for block in blocks(index) if block.language == "{toctree}" for line in block.text.splitlines()}
    for path in DOCS.glob("*.md"):
        assert path.name == "index.md" or (path.stem in listed and f"({path.name})" in index), path.name


# Reliability

CURES = {Remedy.RETRY: "another attempt, then the next route", Remedy.NEXT: "the next route", Remedy.NONE: "nothing"}


def cures(gets):
    """Say what mends the errors that are named in a text, in their order."""
    named = [getattr(providerkit, word) for word in re.findall(r"\b[A-Z]\w+", gets) if hasattr(providerkit, word)]
    errors = [kind() for kind in named if issubclass(kind, providerkit.ProviderKitError)]
    return "; ".join(dict.fromkeys(CURES[remedy(error)] for error in errors)) or "-"


def test_every_fault_is_there_with_what_becomes_of_it():
    _, _, table = page("reliability.md").partition("\n## Faults\n")
    told = [tuple(cells) for cells in rows(table)]
    assert told == [
        (f"`{fault.name}`", " ".join(fault.does.split()), fault.gets, cures(fault.gets)) for fault in FAULTS.values()
    ]


def test_every_scenario_is_there():
    told = re.findall(r"^\| (S\d\d) \| (.*?) \|", page("reliability.md"), re.MULTILINE)
    known = [(scenario.name, scenario.what) for scenario in SCENARIOS] + [("S15", "down for 60 s, then healthy")]
    assert told == sorted(known)


def test_every_budget_is_there_with_its_limit():
    told = {coded(cells[0])[0]: float(cells[1]) for cells in rows(page("performance.md").partition("## What was")[0])}
    assert told == {budget.name: budget.limit for budget in BUDGETS}


def test_the_tables_of_the_page_on_performance_are_made_of_its_figures():
    assert report.filled(page("performance.md"), *results.read(DOCS / "performance.jsonl")) == page("performance.md")
