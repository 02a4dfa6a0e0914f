"""What a type checker makes of the public calls: nothing that a user is given is Any."""

import ast
import asyncio
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import user_program

import providerkit

PROGRAM = Path(user_program.__file__)

SOURCE = """
from typing import Any
import providerkit
client = providerkit.Client()
kept: dict[str, Any] = {}
def perhaps(words: str | None, stop: list[str] | None) -> None:
"""
EXPECTED = {
    'providerkit.run("x", provider="koala")': "Run",
    'providerkit.run(provider="koala")': "Conversation",
    'providerkit.run("x", **kept)': "Run",
    "providerkit.run(words)": "Run | Conversation",
    'providerkit.run("x", stop=stop, tools=None, fallback=None, on_interrupt=None, headers=None)': "Run",
    'client.run("x")': "Run",
    "client.run()": "Conversation",
    'client.run().send("x", stop=stop)': "Run",
    'client.provider("koala")': "Provider",
    'providerkit.provider("koala").run("x", stop=stop)': "Run",
    'providerkit.provider("koala").run()': "Conversation",
    'providerkit.provider("koala").run(words)': "Run | Conversation",
    'providerkit.provider("koala").run("x", **kept)': "Run",
    'providerkit.provider("koala").models().result()': "tuple[Model, ...]",
    'providerkit.embed(["x"], model="openai/m").result()': "Embeddings",
    'providerkit.run("x", tools=[perhaps], rounds=2)': "Run",
    'providerkit.run("x").result()': "Reply",
    'providerkit.run("x").reply.message': "Message",
}


def needs(checker):
    return pytest.mark.skipif(importlib.util.find_spec(checker) is None, reason=f"{checker} is not installed")


def test_the_program_of_a_user_uses_every_public_name():
    tree = ast.parse(PROGRAM.read_text("utf-8"))
    used = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    used |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "providerkit"
    }
    assert set(providerkit.__all__) - used == set()


async def test_the_program_of_a_user_runs(mocked):
    url = "https://parrot.invalid/v1"
    mocked.post(f"{url}/token", body="token-1", repeat=True)
    mocked.post(f"{url}/say", body=b'data: "hello"\n\n', repeat=True, content_type="text/event-stream")
    mocked.get(f"{url}/models?after=", payload=["small"])
    mocked.post(f"{url}/embed", payload=[[1, 2]])
    parrot = providerkit.provider(user_program.Parrot)
    kept = {"api_key": "sk-0123", "extensions": [user_program.Counting()]}
    reply = await parrot.run("Hello", extra={"a": {"b": 1}}, **kept)
    assert (reply.text, reply.model) == ("HELLO", "small")
    assert "HELLO" in user_program.describe_reply(reply)
    events = [user_program.describe_event(event) async for event in parrot.run("Hello", **kept).events()]
    assert events == ["HELLO", "small", "stop small"]
    assert [model.name for model in await parrot.models(**kept)] == ["small"]
    assert (await parrot.embed("Hello", **kept)).vectors == ((1.0, 2.0),)
    parts = [user_program.describe_part(part) for part in user_program.HISTORY[0].parts]
    assert parts == ["Look:", "image/png", "application/pdf", "Hm.", "weather", "koala"]
    assert user_program.pieces(b"data: 1\n\n") == ["1", "data: 1"]
    errors = [getattr(providerkit, name) for name in providerkit.__all__]
    kinds = [kind for kind in errors if isinstance(kind, type) and issubclass(kind, providerkit.ProviderKitError)]
    assert all(user_program.remedy(kind("gone")) for kind in kinds)


@needs("pyright")
async def test_pyright_accepts_the_program_of_a_user():
    root = PROGRAM.parent.parent
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", str(root)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, cwd=root)
    assert (done.stdout.strip(), done.returncode) == ("0 errors, 0 warnings, 0 informations", 0)


@needs("mypy")
async def test_mypy_accepts_the_program_of_a_user(tmp_path):
    assert await checked(PROGRAM, tmp_path) == ["Success: no issues found in 1 source file"]


async def checked(path, folder):
    """Return what mypy says of a program outside of ours."""
    home = Path(providerkit.__file__).parents[1]
    found = {} if home.name == "site-packages" else {"MYPYPATH": str(home)}  # an editable install is not seen
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-pretty", str(path)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, cwd=folder, env=os.environ | found
    )
    return done.stdout.splitlines()


@needs("mypy")
async def test_a_type_checker_knows_what_every_call_gives(tmp_path):
    path = tmp_path / "user.py"
    path.write_text(SOURCE + "".join(f"    reveal_type({call})\n" for call in EXPECTED))
    lines = [line.partition(": ")[2] for line in await checked(path, tmp_path) if line.startswith("user.py:")]
    revealed = re.findall(r'note: Revealed type is "(.*)"', "\n".join(lines))
    kinds = [re.sub(r"\bproviderkit\.(\w+\.)+|\bbuiltins\.", "", kind) for kind in revealed]
    assert (dict(zip(EXPECTED, kinds, strict=True)), len(lines)) == (EXPECTED, len(EXPECTED))
