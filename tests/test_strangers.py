"""Plugin packages of strangers, installed for real by pip, beside a core that knows nothing of them."""

import asyncio
import os
import subprocess
import sys

import pytest
from loopback import http, serve

# A build backend of the package's own, so that pip needs no other package and no network.
BACKEND = """
import tomllib, zipfile
from pathlib import Path

def build_wheel(directory, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    name, info = project["name"], f"{project['name']}-{project['version']}.dist-info"
    entry_points = map("=".join, project["entry-points"]["providerkit.providers"].items())
    wheel = f"{name}-{project['version']}-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, wheel), "w") as archive:
        archive.write(f"{name}.py")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {project['version']}\\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/entry_points.txt", "\\n".join(["[providerkit.providers]", *entry_points]))
        archive.writestr(f"{info}/RECORD", "")
    return wheel
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "NAME"
version = "1.0"
dependencies = ["providerkit-core>=0.1,<1"]

[project.entry-points."providerkit.providers"]
NAME = "NAME:Plugin"
"""

STRANGER = """
from providerkit import EventStream, Finish, Model, ProviderInfo, Request, TextDelta, hookimpl, loads

class Plugin:
    @hookimpl
    def describe(self):
        return ProviderInfo(name="stranger", default_base_url="https://stranger.example", default_model="one")

    @hookimpl
    def resolve_model(self, name):
        return Model(name or "one")

    @hookimpl
    def build_request(self, chat, model, endpoint):
        return Request.json(endpoint.url("/say"), {"text": chat.messages[-1].text})

    @hookimpl
    def parse_stream(self, head):
        return EventStream(lambda data, event: [TextDelta(loads(data))], end=Finish("stop"))
"""

BROKEN = "raise RuntimeError('the moon is in the wrong place')"


def install(where, name, code):
    package = where / "package"
    package.mkdir()
    (package / "backend.py").write_text(BACKEND)
    (package / "pyproject.toml").write_text(PYPROJECT.replace("NAME", name))
    (package / f"{name}.py").write_text(code)
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    python("-m", "pip", "install", "-qq", "--disable-pip-version-check", *offline, "--target", where / "site", package)
    return where / "site"


def python(*arguments, path=()):
    """Run Python with these folders beside what is installed, and give what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = subprocess.run([sys.executable, *arguments], env=environment, **pipes, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def listing(*path, options=()):
    lines = python("-m", "providerkit", "providers", *options, path=path).splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return install(tmp_path_factory.mktemp("stranger"), "stranger", STRANGER)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return install(tmp_path_factory.mktemp("broken"), "broken", BROKEN)


async def run_stranger(*path):
    code = (
        "import providerkit, sys; print(providerkit.run('hi', provider='stranger', base_url=sys.argv[1]).result().text)"
    )
    async with serve(http(b'data: "Hello "\n\ndata: "from afar"\n\n')) as server:
        answer = await asyncio.to_thread(python, "-W", "error", "-c", code, server.base_url, path=path)
    assert [(request.path, request.body) for request in server.requests] == [("/say", b'{"text":"hi"}')]
    return answer


async def test_a_strangers_provider_runs_by_its_name(stranger):
    assert await run_stranger(stranger) == "Hello from afar\n"


async def test_a_broken_package_beside_it_does_not_touch_it(stranger, broken):
    assert await run_stranger(broken, stranger) == "Hello from afar\n"


@pytest.mark.parametrize("options", [(), ("--load",)], ids=["listed", "loaded"])
def test_a_broken_package_changes_nothing_but_its_own_line(stranger, broken, options):
    without, beside = listing(stranger, options=options), listing(broken, stranger, options=options)
    assert beside.pop("broken").startswith("1.0 broken ")
    assert beside == without
    assert without["stranger"] == f"1.0 stranger {'loaded' if options else 'installed'}"


def test_the_reason_of_a_broken_package_is_in_its_line(broken):
    line = listing(broken, options=["--load"])["broken"]
    assert line.startswith("1.0 broken broken: ")
    assert "'broken' (broken 1.0): it can't be imported: RuntimeError: the moon is in the wrong place" in line


def test_asking_the_broken_one_names_it_its_distribution_and_the_reason(broken):
    code = """
import providerkit
try:
    providerkit.run("hi", provider="broken")
except providerkit.PluginError as error:
    print(error.plugin, error.distribution, error, *error.__notes__)
"""
    said = python("-c", code, path=[broken])
    assert said.startswith(
        "broken broken 1.0 plugin 'broken' (broken 1.0): it can't be imported: RuntimeError: the moon"
    )
    assert "broken.py" in said
