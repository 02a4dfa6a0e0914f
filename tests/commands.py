"""Commands, run in this process or in one of their own, or at a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import contextmanager

import pexpect
from click.testing import CliRunner

from providerkit.cli.main import main

MODULE = ("-m", "providerkit")
CALM = """
import logging, runpy
logging.getLogger("asyncio").setLevel(logging.ERROR)  # a machine may be slow, and that is no error
runpy.run_module("providerkit", run_name="__main__", alter_sys=True)
"""


def call(*arguments, stdin=None):
    """Run a command in this process; give its exit code, output and errors."""
    result = CliRunner().invoke(main, arguments, prog_name="providerkit", input=stdin)
    return result.exit_code, result.stdout, result.stderr


async def start(*arguments, command=("-c", CALM), **options):
    """Start a command in a process of its own, without any input, where a warning is an error."""
    pipes = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.PIPE) | {"stdin": asyncio.subprocess.DEVNULL}
    strict = ("-X", "dev", "-W", "error")
    return await asyncio.create_subprocess_exec(sys.executable, *strict, *command, *arguments, **(pipes | options))


async def finished(*arguments, stdin=b"", **options):
    """Run a command in a process of its own; give its exit code, output and errors."""
    process = await start(*arguments, stdin=asyncio.subprocess.PIPE, **options)
    output, errors = await process.communicate(stdin)
    return process.returncode, (output or b"").decode(), errors.decode()


@contextmanager
def terminal(*arguments, home, width=80, height=24, **variables):
    """Run a command at a terminal of its own, in a home of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    # No limit but that of each test, which tells where it stood.
    environment = kept | {"TERM": "xterm", "XDG_STATE_HOME": str(home), "INPUTRC": os.devnull, **variables}
    program = pexpect.spawn(
        sys.executable,
        [*MODULE, *arguments],
        env=environment,
        encoding="utf-8",
        dimensions=(height, width),
        timeout=None,
    )
    try:
        yield program
    finally:
        program.close(force=True)


def said(question, turns="0 turns"):
    return f"You said: {question!r}. {turns} came before. This is Koala's sandbox.\n"


def interrupt(*arguments, **names):
    raise KeyboardInterrupt
