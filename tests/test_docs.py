"""The README says what is true: its commands are CI's, and its examples run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

# The examples speak of koala.sh; here they meet its sandbox.
PREAMBLE = """
import providerkit
from providerkit_koala import Koala

sandbox = providerkit.sandbox(Koala())
Koala.url = sandbox.__enter__()
"""


def commands(text):
    return [line for line in text.splitlines() if line.startswith("python3 -m venv")]


def test_ci_runs_the_two_commands_of_the_readme():
    assert len(commands(README)) == 2
    assert commands((ROOT / ".ci" / "run").read_text("utf-8")) == commands(README)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example):
    done = subprocess.run([sys.executable, "-c", PREAMBLE + example], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)


def test_the_provider_of_the_readme_answers():
    provider = next(example for example in EXAMPLES if "class Parrot" in example)
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


def test_every_link_within_the_readme_leads_somewhere():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link
