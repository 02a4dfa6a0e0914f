"""Runs and conversations in a running kernel, whose event loop is busy with the cell itself."""

import asyncio
from pathlib import Path

import nbformat
import pytest
from loopback import chunked, serve
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

EXAMPLE = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


@pytest.fixture(autouse=True)
def _kernels_keep_to_themselves(tmp_path, monkeypatch):
    monkeypatch.delenv("KOALA_API_KEY", raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))


@pytest.fixture(autouse=True)
def _kernels_leave_quietly(capfd):
    """Look, when the kernel has ended, for what an event loop or aiohttp says of things left open."""
    yield
    said = capfd.readouterr().err
    assert [word for word in ("Traceback", "Unclosed", "never awaited", "was destroyed") if word in said] == []


def shown(cell):
    """Return what a cell printed, and its value as Markdown if it has that, else as text; or its error's name."""
    printed, values = "", []
    for output in cell.outputs:
        match output.output_type:
            case "stream":
                assert output.name == "stdout", output.text
                printed += output.text
            case "execute_result":
                values.append(output.data.get("text/markdown", output.data["text/plain"]))
            case "error":
                values.append(output.ename)
    return [*filter(None, [printed]), *values]


def sandboxed(question, turns=0):
    return f"You said: {question!r}. {turns} turn{'' if turns == 1 else 's'} came before. This is Koala's sandbox."


async def test_the_example_runs_from_top_to_bottom():
    notebook = nbformat.read(EXAMPLE, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)

    await NotebookClient(notebook).async_execute()

    cells = {cell.id: shown(cell) for cell in code}
    sky, hello, again = "Why is the sky blue?", "Hello", "What did I just say?"
    brief = " Answer in one sentence."
    hint = "Nothing is sent before it is iterated, awaited or asked for its `result()`."
    turns = f"**user**\n\n{hello}\n\n**assistant**\n\n{sandboxed(hello + brief)}"
    [left] = cells.pop("left")
    assert left.startswith("`<Run koala/gpt-4o-mini: ")
    assert "\n\nYou" in left
    assert cells == {
        "start": [],
        "whole": [f"{sandboxed(sky)}\n\n<small>stop · gpt-4o-mini</small>"],
        "stream": [sandboxed(sky)],
        "blocking": [sandboxed(sky)],
        "result": [f"(\"{sandboxed(sky)}\",\n 'stop',\n 'gpt-4o-mini')"],
        "run": [f"`<Run koala/gpt-4o-mini: not started>`\n\n{hint}"],
        "chat": [f"{sandboxed(hello + brief)}\n\n<small>stop · gpt-4o-mini</small>"],
        "chat-again": [f"{turns}\n\n**user**\n\n{again}\n\n**assistant**\n\n{sandboxed(again + brief, turns=2)}"],
        "many": [f'["{sandboxed(sky)}",\n "{sandboxed("And at night?")}"]'],
        "errors": ["koala does not serve temperature; see who does: providerkit providers --supports temperature\n"],
        "stop": [],
    }


# An interrupted cell raises KeyboardInterrupt where it blocks; where it awaits, the kernel cancels it.
ASKING = {
    "for": ("for text in run: print(text)", "KeyboardInterrupt"),
    "async for": ("async for text in run: print(text)", "CancelledError"),
    "result": ("run.result()", "KeyboardInterrupt"),
    "await": ("await run", "CancelledError"),
}


@pytest.mark.parametrize(("asking", "error"), ASKING.values(), ids=ASKING)
async def test_interrupting_a_cell_closes_its_connection_and_the_kernel_goes_on(asking, error):
    left = asyncio.Event()

    async def interrupting(request, writer):
        if len(server.requests) > 1:
            await left.wait()
            writer.write(chunked(b'data: "two"\n\n'))
            return
        writer.write(chunked(b'data: "one"\n\n', end=False))
        await client.km.interrupt_kernel()
        try:
            await left.wait()
        finally:  # by being cancelled, since the connection was closed
            left.set()

    async with serve(interrupting) as server:
        asked = f'providerkit.run("Hello", provider="koala", base_url={server.base_url!r})'
        cells = [f"import providerkit; run = {asked}", asking, f"(await {asked}).text, {asked}.result().text"]
        notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
        client = NotebookClient(notebook, allow_errors=True)
        await client.async_execute()
    assert shown(notebook.cells[1])[-1] == error
    assert shown(notebook.cells[2]) == ["('two', 'two')"]
