"""A test that leaves something behind fails, whichever comes next, and the others do not."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CONFTEST = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import leftovers
leftovers.PATIENCE = 0.0

def pytest_configure(config):
    config.pluginmanager.register(leftovers.Leftovers())
"""
TESTS = """
import asyncio, gc, logging, os, pytest, signal, subprocess, sys, threading
from providerkit.engine import blocking as sync

begun, over = threading.Event(), threading.Event()
kept = []

async def over_there():
    begun.set()
    await asyncio.Event().wait()

def test_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("LEFT", "no")
    monkeypatch.chdir(tmp_path)
    sync.call(asyncio.sleep(0))

def test_variable(): os.environ["LEFT"] = "yes"
def test_directory(tmp_path): os.chdir(tmp_path)
def test_path(): sys.path.append("left")
def test_signal(): signal.signal(signal.SIGTERM, signal.SIG_IGN)
def test_logger(): logging.getLogger("providerkit").setLevel(logging.ERROR)
def test_profiler(): sys.setprofile(lambda *event: None)
def test_collector(): gc.disable()
def test_thread(): threading.Thread(target=over.wait, daemon=True).start()
def test_task():
    kept.append(asyncio.run_coroutine_threadsafe(over_there(), sync.loop_thread().loop))
    begun.wait()
def test_process(): kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_module(tmp_path, monkeypatch):
    (tmp_path / "left.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import left

@pytest.fixture
def thread():
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()

def test_that_has_tidied_up(thread): pass
"""


def test_what_is_left_fails_the_test_that_left_it(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_left.py").write_text(TESTS)
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    folder = ("--basetemp", tmp_path / "pytest-of-test")
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *folder, tmp_path]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    told = re.findall(r"ERROR at teardown of test_(\w+).*?behind:\n  ([\w. ]+):", done.stdout, re.DOTALL)
    assert dict(told) == {
        "variable": "the environment",
        "directory": "the working directory",
        "path": "sys.path",
        "signal": "handlers of signals",
        "logger": "levels of loggers",
        "profiler": "the profiler",
        "collector": "the collector",
        "thread": "threads",
        "task": "tasks of the loop of blocking calls",
        "process": "processes",
        "module": "modules",
    }, done.stdout
    assert "13 passed" in done.stdout
