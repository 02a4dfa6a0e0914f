"""Pages of documentation: their code blocks, and a process that runs those of one page, top to bottom.

    python tests/pages.py docs/errors.md

The blocks in ```python build on each other. A block in ```text right below one is what it
prints, "..." standing for anything. A block that awaits on its top level is one for a
notebook, so it runs on a running event loop, as there.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import os
import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import attrs
from providerkit_koala import Koala, plugin

import providerkit

BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@attrs.frozen
class Block:
    """Hold one code block: its language, its text, the line that the text begins on, and what is between."""

    language: str
    text: str
    line: int
    before: str


def blocks(page):
    """Read the code blocks of a page, in order."""
    found, end = [], 0
    for match in BLOCK.finditer(page):
        line = page.count("\n", 0, match.start(2)) + 1
        found.append(Block(match[1], match[2], line, page[end : match.start()]))
        end = match.end()
    return found


def examples(page):
    """Give each block of Python with what it prints, None where the page does not say."""
    found = blocks(page)
    for block, after in zip(found, [*found[1:], None], strict=False):
        if block.language == "python":
            printed = after is not None and after.language == "text" and not after.before.strip()
            yield block, after.text if printed else None


def is_as_told(told, printed):
    """Compare an output with what a page says of it; whether it ends its last line can't be told there."""
    return doctest.OutputChecker().check_output(told, printed.rstrip("\n") + "\n", doctest.ELLIPSIS)


def run_page(path):
    """Run the examples of a page in one namespace; they speak of koala.sh, and here they meet its sandbox."""
    names = {"__name__": "__main__"}
    with providerkit.sandbox(Koala()) as plugin.ORIGIN, asyncio.Runner() as runner:
        for block, told in examples(path.read_text("utf-8")):
            code = compile("\n" * (block.line - 1) + block.text, path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            printed = StringIO()
            with redirect_stdout(printed):
                if code.co_flags & inspect.CO_COROUTINE:
                    runner.run(eval(code, names))  # noqa: S307 - the pages are ours
                else:
                    exec(code, names)  # noqa: S102 - the pages are ours
            if told is not None and not is_as_told(told, printed.getvalue()):
                sys.exit(f"{path}:{block.line}: it printed\n{printed.getvalue()}")


if __name__ == "__main__":
    os.environ.pop("KOALA_API_KEY", None)
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
    run_page(Path(sys.argv[1]))
