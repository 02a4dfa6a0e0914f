"""What a type checker makes of the public calls: nothing that a user is given is Any."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import providerkit

pytest.importorskip("mypy")

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


async def test_a_type_checker_knows_what_every_call_gives(tmp_path):
    path = tmp_path / "user.py"
    path.write_text(SOURCE + "".join(f"    reveal_type({call})\n" for call in EXPECTED))
    home = Path(providerkit.__file__).parents[1]
    found = {} if home.name == "site-packages" else {"MYPYPATH": str(home)}  # an editable install is not seen
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-pretty", str(path)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | found
    )
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("user.py:")]
    revealed = re.findall(r'note: Revealed type is "(.*)"', "\n".join(lines))
    kinds = [re.sub(r"\bproviderkit\.(?:\w+\.)+|\bbuiltins\.", "", kind) for kind in revealed]
    assert (dict(zip(EXPECTED, kinds, strict=True)), len(lines)) == (EXPECTED, len(EXPECTED))
