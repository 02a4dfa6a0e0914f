"""What rich draws on a terminal: Markdown block by block, and answers side by side."""

import asyncio
import json
import re
import sys
from io import StringIO

import pytest
from commands import terminal
from loopback import chunked, http, serve
from rich.console import Console

import providerkit
from providerkit import Reply, TextDelta
from providerkit.cli import answers, rendering
from providerkit.cli import terminal as cli_terminal

SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def console(width=60, height=20):
    return Console(file=StringIO(), force_terminal=True, width=width, height=height, highlight=False, color_system=None)


def shown(console):
    return SEQUENCE.sub("", console.file.getvalue()).replace("\r", "")


def undisturbed(view):
    """Keep a view from drawing on a thread of its own, which begins when it is entered."""
    view._live.auto_refresh = False
    return view


def page(*pieces, **size):
    """Draw an answer; give all that was drawn, the last state last."""
    screen = console(**size)
    with undisturbed(rendering.Page(screen)) as view:
        for piece in pieces:
            view.event(0, TextDelta(piece))
        view.event(0, providerkit.Finish("stop"))
        view.end(0, Reply(), None)
    return shown(screen)


def test_an_answer_is_drawn_as_markdown():
    drawn = page("# Title\n\nsome **bold** ", "text\n\n- a\n- b\n")
    assert "some bold text" in drawn
    assert " • a" in drawn
    assert "**" not in drawn.partition("some bold text")[2]


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("one\ntwo", ["one\ntwo"]),
        ("one\n\ntwo\n \nthree", ["one\n\n", "two\n \n", "three"]),
        ("one\n\n", ["one\n\n"]),
        ("1. a\n\n2. b\n\n   c\n\nend", ["1. a\n\n2. b\n\n   c\n\n", "end"]),
        ("- a\n\n* b\n\n+ c\n\n**end**", ["- a\n\n* b\n\n+ c\n\n", "**end**"]),
        ("a\n\n```\nx\n\ny\n```\n\nb", ["a\n\n", "```\nx\n\ny\n```\n\n", "b"]),
        ("```\nx\n\ny", ["```\nx\n\ny"]),
        ("~~~\nx\n\ny\n~~~\n\nb\n\n~~~\n\nc", ["~~~\nx\n\ny\n~~~\n\n", "b\n\n", "~~~\n\nc"]),
    ],
    ids=repr,
)
def test_a_block_is_complete_where_nothing_can_join_it(text, blocks):
    found = []
    rest = ""
    for character in text:
        rest += character
        end = rendering._end_of_blocks(rest)
        if end:
            found.append(rest[:end])
            rest = rest[end:]
    assert [*found, rest] == blocks
    assert "".join(blocks[:-1]) == text[: rendering._end_of_blocks(text)]


def test_where_a_link_leads_is_seen():
    assert "good (http://evil.invalid)" in page("[good](http://evil.invalid)")


def test_an_answer_can_not_style_the_page_or_drive_it():
    drawn = page("[bold]x[/bold] \x1b[2J\x1b]0;owned\x07y")
    assert "[bold]x[/bold] y" in drawn


def test_of_a_long_block_the_last_lines_are_seen_while_it_comes():
    text = " ".join(str(number) for number in range(1000))
    lines = rendering._last_lines(text, console(), 20, 3).plain.splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith("999")
    assert rendering._last_lines("", console(), 20, 3).plain == ""


def test_nothing_is_drawn_of_an_answer_without_text():
    assert page("", "\n").strip() == ""


def columns(*, ends, width=60, height=20, texts=("first answer", "second \x1b[2Janswer")):
    screen = console(width, height)
    with undisturbed(rendering.Columns(["koala/one", "koala/two"], screen)) as view:
        for number, text in enumerate(texts):
            view.event(number, TextDelta(text))
            view.event(number, providerkit.Finish("stop"))
        view._live.refresh()
        for number, end in enumerate(ends):
            view.end(number, *end)
    return shown(screen)


STOPPED = Reply(finish_reason="stop", attempts=(providerkit.Attempt("koala/one", None, 1.25, "network"),))


def test_answers_stand_side_by_side_with_their_ends_below():
    drawn = columns(ends=[(STOPPED, None), (Reply(), providerkit.ServerError("oh\nno"))])
    lines = [line for line in drawn.splitlines() if "answer" in line]
    assert all("first answer" in line and "second answer" in line for line in lines)
    assert "koala/one" in drawn
    assert "…" in drawn
    last = drawn.splitlines()[-4:]
    assert any("stop, 1.2 s" in line and "Error: oh no" in line for line in last)


def test_all_of_each_answer_is_there_at_the_end():
    texts = ["\n".join(f"{side}{number}" for number in range(100)) for side in "lr"]
    drawn = columns(ends=[(STOPPED, None)] * 2, texts=texts)
    middle, _, last = drawn.rpartition("koala/one")
    assert "l99" in middle
    assert "l50" not in middle
    assert all(f"l{number} " in last and f"r{number} " in last for number in range(100))


def test_the_view_is_chosen_by_the_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert type(rendering.view(["a"])) is rendering.Page
    assert type(rendering.view(["a", "b", "c"])) is rendering.Columns
    assert type(rendering.view(["a", "b", "c", "d"])) is answers.Sections


@pytest.mark.parametrize("word", ["dumb", "unknown"])
def test_nothing_is_drawn_where_nothing_can_be(monkeypatch, word):
    monkeypatch.setattr(cli_terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert cli_terminal.drawing() is rendering
    monkeypatch.setenv("TERM", word)
    assert cli_terminal.drawing() is None


def test_nothing_is_drawn_without_rich(monkeypatch):
    monkeypatch.setattr(cli_terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delitem(sys.modules, "providerkit.cli.rendering")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert cli_terminal.drawing() is None


async def both(request, writer):
    words = "one" if b'"one"' in request.body else "two"
    writer.write(chunked(f"data: {json.dumps(words + ' answer')}\n\n".encode()))


def at_terminal(server, home, *options, **variables):
    arguments = ("run", "-p", "koala", "--base-url", server.base_url, *options, "hi")
    with terminal(*arguments, home=home, **variables) as program:
        return program.read()


async def test_answers_are_compared_in_a_live_table(tmp_path):
    async with serve(both) as server:
        shown = await asyncio.to_thread(at_terminal, server, tmp_path, "-m", "one", "-m", "two", NO_COLOR="1")
    lines = SEQUENCE.sub("", shown).splitlines()
    assert any("one answer" in line and "two answer" in line for line in lines)
    assert re.search(r"\x1b\[[0-9;]*3[0-7]m", shown) is None


async def test_a_narrow_terminal_has_sections(tmp_path):
    async with serve(both) as server:
        shown = await asyncio.to_thread(at_terminal, server, tmp_path, "-m", "one", "-m", "two", width=30)
    assert shown.replace("\r", "") == "== koala/one ==\none answer\n\n== koala/two ==\ntwo answer\n"


@pytest.mark.parametrize("options", [("--plain",), ()], ids=["--plain", "rich"])
async def test_markdown_can_be_had_as_it_is(tmp_path, options):
    async with serve(http(b'data: "**bold**"\n\n')) as server:
        shown = await asyncio.to_thread(at_terminal, server, tmp_path, *options)
    assert ("\x1b[1mbold\x1b[0m" not in shown) == bool(options)
    assert (shown == "**bold**\r\n") == bool(options)
