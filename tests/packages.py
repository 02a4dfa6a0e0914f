"""Packages that are installed for one test: metadata in a folder, with a module beside it."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from providerkit.plugins import assembly, discovery, loading as plugins
from providerkit.plugins.discovery import PROVIDERS


def announce(folder, name, value, *, group=PROVIDERS, distribution="birds"):
    """Write the metadata of an installed package that has one plugin."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")


def forget():
    discovery._cache.clear()
    plugins._loaded.clear()
    assembly._assemble.cache_clear()
    plugins._instance_of.cache_clear()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a folder to install packages into; nothing that is imported from it outlives the test."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("PROVIDERKIT_EXTENSIONS", raising=False)
    before = set(sys.modules)
    forget()
    yield tmp_path
    for module in set(sys.modules) - before:
        if (getattr(sys.modules[module], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[module]
    forget()


@pytest.fixture
def install(site, monkeypatch):
    """Install a plugin: code to import, or what its module holds; give the module's name."""

    def install(name, plugin, *, distribution="birds", group=PROVIDERS):
        module = f"{distribution}_module"
        if isinstance(plugin, str):
            (site / f"{module}.py").write_text(plugin)
        else:
            monkeypatch.setitem(sys.modules, module, ModuleType(module))
            sys.modules[module].Plugin = plugin
        announce(site, name, f"{module}:Plugin", distribution=distribution, group=group)
        return module

    return install


@pytest.fixture
def flock(tmp_path):
    """Install twenty providers, one of them broken, for another process."""
    for number in range(20):
        announce(tmp_path, f"bird{number}", f"bird_{number}:Plugin", distribution=f"birds{number}")
        code = "raise RuntimeError" if number == 13 else "from parrots import Parrot as Plugin"
        (tmp_path / f"bird_{number}.py").write_text(code)
    return tmp_path


def imported(flock, code):
    """Run code in another process, and give the modules of providers that it has imported."""
    path = f"import sys; sys.path[:0] = [{str(flock)!r}, {str(Path(__file__).parent)!r}]"
    look = "print(*(name for name in sys.modules if name.startswith('bird_')))"
    code = f"{path}\nfrom providerkit.plugins import discovery, loading as plugins\n{code}\n{look}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()
