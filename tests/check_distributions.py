"""What is released: built, looked through, and installed where nothing else is.

`tox -e dist` runs it, apart from the other tests: it needs a package index, once, for what
providerkit depends on. The two distributions themselves come from a folder alone.
"""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLUGINS = [path.parent for path in sorted(ROOT.glob("providers/*/providerkit_*/__init__.py"))]
SOURCES = {"providerkit": ROOT, **{package.name: package.parent for package in PLUGINS}}
LITTER = shutil.ignore_patterns(".git", ".tox", ".venv*", ".*cache*", "build", "dist", "*.egg-info", "__pycache__")
PROMPT = "Why is the sky blue?"


def output(*command):
    """Run a command far from the checkout's own files, and give what it prints."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = subprocess.run(command, cwd="/", **pipes, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder, pattern="*"):
    """Name the files below a folder, as an archive of it would."""
    found = (path for path in folder.rglob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder.parent).as_posix() for path in found}


def version(package):
    return tomllib.loads((SOURCES[package] / "pyproject.toml").read_text("utf-8"))["project"]["version"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build each as a release is built: the wheel from the unpacked sdist, so that this is complete."""
    folder = tmp_path_factory.mktemp("built")
    clean = tmp_path_factory.mktemp("sources") / "providerkit"
    shutil.copytree(ROOT, clean, ignore=LITTER)
    for source in SOURCES.values():
        source = clean / source.relative_to(ROOT)
        assert "Deprecat" not in output(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source)
    return folder


def archive(built, package, ending):
    distribution = "providerkit_core" if package == "providerkit" else package
    return built / f"{distribution}-{version(package)}{ending}"


def members(path):
    """Name the files in a wheel or an sdist, without the sdist's one folder."""
    if path.suffix == ".whl":
        return set(zipfile.ZipFile(path).namelist())
    with tarfile.open(path) as opened:
        return {member.name.partition("/")[2] for member in opened if member.isfile()}


@pytest.mark.parametrize("package", SOURCES)
def test_a_wheel_holds_the_package_and_its_licence_and_nothing_else(built, package):
    found = members(archive(built, package, "-py3-none-any.whl"))
    metadata = {name for name in found if ".dist-info/" in name}
    assert found - metadata == files(SOURCES[package] / package)
    assert f"{package}/py.typed" in found
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in metadata)


@pytest.mark.parametrize("package", SOURCES)
def test_an_sdist_holds_what_it_takes_to_test_it(built, package):
    found = members(archive(built, package, ".tar.gz"))
    source = SOURCES[package]
    assert files(source / package) | files(source / "tests", "*.py") | files(source / "changes") <= found
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= found
    assert {Path(name).name for name in found if name.startswith("providers/")} <= {"README.md", "CHANGELOG.md"}
    assert not [name for name in found if "/." in name or name.endswith(".pyc")]


@pytest.fixture(scope="module")
def dependencies(built, tmp_path_factory):
    """Fetch what the distributions depend on, and what builds them, into a folder; but not themselves."""
    folder = tmp_path_factory.mktemp("dependencies")
    output(sys.executable, "-m", "pip", "download", "-qq", "--dest", folder, "setuptools>=77", *built.glob("*.whl"))
    for path in folder.glob("providerkit_*"):
        path.unlink()
    return folder


@pytest.mark.parametrize("ending", ["-py3-none-any.whl", ".tar.gz"], ids=["wheels", "sdists"])
def test_koala_alone_is_asked_for_and_the_main_job_is_done(built, dependencies, tmp_path, ending):
    output(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for package in ("providerkit", "providerkit_koala"):
        shutil.copy(archive(built, package, ending), shelf)
    pip = (sys.executable, "-m", "pip", "--python", tmp_path / "bin" / "python")
    shelves = ("--find-links", shelf, "--find-links", dependencies)
    output(*pip, "install", "-qq", "--no-index", *shelves, "providerkit-koala")
    output(*pip, "check")
    command = tmp_path / "bin" / "providerkit"
    assert output(command, "--version").split()[-1] == version("providerkit")
    assert f"koala {version('providerkit_koala')} providerkit-koala" in " ".join(output(command, "providers").split())
    assert output(command, "run", "--provider", "koala", "--sandbox", PROMPT).startswith(f"You said: {PROMPT!r}.")
