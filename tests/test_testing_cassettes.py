"""The fixture `cassette`, as the tests of a plugin use it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import providerkit
from providerkit.testing.cassettes import _extension, _file_name, cassette

__all__ = ["cassette"]

CONFTEST = "from providerkit.testing.cassettes import cassette\n__all__ = ['cassette']\n"
TESTS = """
import os, providerkit, pytest

def ask(question):
    return providerkit.run(question, provider="koala", base_url=os.environ["ASKED"])

def test_blocking(cassette):
    assert "One?" in ask("One?").result().text
    assert cassette.name == "test_blocking.jsonl"

async def test_async(cassette):
    assert "Two?" in (await ask("Two?")).text

class TestClass:
    @pytest.mark.parametrize("question", ["Three?", "Four"])
    async def test_method(self, cassette, question):
        assert question in (await ask(question)).text
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_asking.py").write_text(TESTS)
    return tmp_path


def pytest_says(folder: Path, base_url: str, **environment: str) -> str:
    options = ("-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin")
    program = [sys.executable, "-m", "pytest", *options, str(folder)]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the others take longer to import than the tests to run
    variables = os.environ | {"ASKED": base_url} | alone | environment
    return subprocess.run(program, capture_output=True, text=True, check=False, env=variables, cwd=folder).stdout


def test_cassettes_are_recorded_where_they_are_missing_and_replayed(folder):
    nowhere = "http://127.0.0.1:9"
    with providerkit.sandbox("koala") as base_url:
        first = pytest_says(folder, base_url)
        assert "4 errors" in first
        assert "To record what is missing: PROVIDERKIT_RECORD=1 pytest" in first
        assert not (folder / "cassettes").exists()
        assert "4 passed" in pytest_says(folder, base_url, PROVIDERKIT_RECORD="1")
    made = {path.name for path in (folder / "cassettes" / "test_asking").iterdir()}
    four, three = (_file_name(f"TestClass::test_method[{question}]") for question in ("Four", "Three?"))
    assert made == {"test_blocking.jsonl", "test_async.jsonl", f"{four}.jsonl", f"{three}.jsonl"}
    assert "4 passed" in pytest_says(folder, nowhere)
    assert "4 passed" in pytest_says(folder, nowhere, PROVIDERKIT_RECORD="1")


async def test_a_cassette_of_this_repository_is_replayed(cassette):
    reply = await providerkit.run("Why is the sky blue?", provider="koala", base_url="http://127.0.0.1:9")
    assert reply.text == "You said: 'Why is the sky blue?'. 0 turns came before. This is Koala's sandbox."
    assert reply.attempts[0].source == "cassette"


def test_what_is_there_is_never_recorded_over(tmp_path, monkeypatch):
    path = tmp_path / "tape.jsonl"
    with pytest.raises(providerkit.CassetteError) as caught:
        _extension(path)
    assert caught.value.__notes__ == ["To record what is missing: PROVIDERKIT_RECORD=1 pytest"]
    monkeypatch.setenv("PROVIDERKIT_RECORD", "1")
    with providerkit.sandbox("koala") as base_url, _extension(path):
        recorded = providerkit.run("hello", provider="koala", base_url=base_url).result()
    with _extension(path):
        assert providerkit.run("hello", provider="koala", base_url=base_url).result().text == recorded.text


def test_a_file_has_the_name_of_its_test_where_it_can():
    assert _file_name("TestClass::test_method[Four]") == "TestClass.test_method[Four]"
    names = {_file_name(f"test[{text}]") for text in ("a/b", "a:b", "a b", "a" * 300, "a" * 301)}
    assert len(names) == 5
    assert all(len(name) < 200 and "/" not in name for name in names)
