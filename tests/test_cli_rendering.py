"""What rich draws on a terminal: Markdown block by block, and answers side by side.

What counts is what a person sees at the end, so an emulator stands in for the terminal.
"""

import asyncio
import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from commands import interrupt, terminal
from cuts import unhurried
from hypothesis import given
from hypothesis import strategies as st
from loopback import chunked, http, serve
from programs import HEAD, chunk
from rich.console import Console
from screens import Terminal, seen

import providerkit
from providerkit import Reply, TextDelta, cli
from providerkit.cli import answers, rendering
from providerkit.cli import terminal as cli_terminal
from providerkit.cli.screen import last_rows, uninterrupted

SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Output(Terminal):
    """A file that is an emulated terminal; its `interrupted` write is interrupted once it is done."""

    encoding = "utf-8"

    def __init__(self, width=60, height=20, interrupted=-1, interrupt=interrupt):
        super().__init__(width, height)
        self.interrupted = interrupted
        self.interrupt = interrupt

    def write(self, text):
        self.feed(text.replace("\n", "\r\n"))
        self.interrupted -= 1
        if self.interrupted == 0:
            self.interrupt()

    def flush(self):
        pass

    def isatty(self):
        return True

    def fileno(self):
        raise OSError("no file of the system")


def console(file, width=60, height=20):
    return Console(
        file=file, force_terminal=True, width=width, height=height, highlight=False, color_system=None, _environ={}
    )


def draw(output, pieces, **size):
    with rendering.Page(console(output, **size)) as view:
        for piece in pieces:
            view.event(0, TextDelta(piece))
        view.event(0, providerkit.Finish("stop"))
        view.end(0, Reply(), None)


def page(*pieces, **size):
    """Draw an answer; return what is seen at the end."""
    output = Output(**size)
    draw(output, pieces, **size)
    return output.lines


def visible(text):
    """Count the characters that are no markup."""
    return Counter(character for character in text if character.isalnum())


def test_an_answer_is_drawn_as_markdown():
    lines = page("# Title\n\nsome **bold** ", "text\n\n- a\n- b\n")
    assert [line.strip() for line in lines[-4:]] == ["some bold text", "", "• a", "• b"]


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("one\ntwo", ["one\ntwo"]),
        ("one\n\ntwo\n \nthree", ["one\n\n", "two\n \n", "three"]),
        ("one\n\n", ["one\n\n"]),
        ("\n\none", ["\n\n", "one"]),
        ("1. a\n\n2. b\n\n   c\n\nend", ["1. a\n\n2. b\n\n   c\n\n", "end"]),
        ("- a\n\n* b\n\n+ c\n\n**end**", ["- a\n\n* b\n\n+ c\n\n", "**end**"]),
        ("a\n\n```\nx\n\ny\n```\n\nb", ["a\n\n", "```\nx\n\ny\n```\n\n", "b"]),
        ("```\nx\n\ny", ["```\nx\n\ny"]),
        ("~~~\nx\n\ny\n~~~\n\nb\n\n~~~\n\nc", ["~~~\nx\n\ny\n~~~\n\n", "b\n\n", "~~~\n\nc"]),
        ("````md\n```py\nx\n\ny\n```\n\nz\n````\n\nb", ["````md\n```py\nx\n\ny\n```\n\nz\n````\n\n", "b"]),
        ("```\n~~~\n\nx\n```\n\nb", ["```\n~~~\n\nx\n```\n\n", "b"]),
        ("```\n``` x\n\ny\n`````\n\nb", ["```\n``` x\n\ny\n`````\n\n", "b"]),
        ("``` code ``` and\n\nmore", ["``` code ``` and\n\n", "more"]),
    ],
    ids=repr,
)
def test_a_block_is_complete_when_nothing_can_join_it(text, blocks):
    for pieces in (text, [text]):
        found = rendering.Blocks()
        for piece in pieces:
            found.feed(piece)
        assert [*found.done, found.rest] == blocks


def test_where_a_link_leads_is_seen():
    assert page("[good](http://evil.invalid)") == ["good (http://evil.invalid)"]


def test_an_answer_can_not_style_the_page_or_drive_it():
    assert page("[bold]x[/bold] \x1b[2J\x1b]0;owned\x07y") == ["[bold]x[/bold] y"]


def test_nothing_is_drawn_of_an_answer_without_text():
    assert page("", "\n") == [""]


# What Markdown hides, or rich cuts off.
HIDDEN = {
    "a list of type List<String> and <kbd>": "a list of type List<String> and <kbd>",
    "<details>\nsecret\n</details>": "<details> secret </details>",
    "<!-- a remark -->": "<!-- a remark -->",
    "see [it][1]\n\n[1]: http://x.invalid": "see [it][1]\n\n[1]: http://x.invalid",
    "![a koala](http://x.invalid/k.png)": "!a koala (http://x.invalid/k.png)",
    "&lt;p&gt; and &#x202e;": "&lt;p&gt; and &#x202e;",
    '[a](http://x.invalid "Title")': '[a](http://x.invalid "Title")',
    "[a](http://x.invalid/é)": "[a](http://x.invalid/é)",
    "|a|b|\n|-|-|\n|c|d|lost|": "|a|b|\n|-|-|\n|c|d|lost|",
}


@pytest.mark.parametrize(("text", "shown"), HIDDEN.items(), ids=map(repr, HIDDEN))
def test_what_markdown_would_hide_is_seen(text, shown):
    assert "\n".join(page(text)) == shown


MARKDOWN = [
    *(
        "```py\n",
        "```\n",
        "````\n",
        "~~~\n",
        "- a ",
        "1. b ",
        "  ",
        "    ",
        "\n",
        "\n\n",
        "> ",
        "# h",
        "---\n",
        "===\n",
    ),
    *(
        "[1]: http://u.v\n",
        "[t][1]",
        "![i](u)",
        "[l](u)",
        "<b>",
        "</b>",
        "<http://a.b>",
        "<!-- c -->",
        "&amp;",
        "&#x202e;",
    ),
    *("**", "*", "_", "~~", "\\", "`", "`x|y`", "|", "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n", "\t", "\r\n", "\x1b[1m"),
    *("word", "long" * 15, "漢字", "é\u0301", "🐨"),
]


@unhurried
@given(st.lists(st.sampled_from(MARKDOWN), max_size=30), st.data(), st.sampled_from([(12, 4), (40, 10), (80, 24)]))
def test_all_that_came_is_seen_at_the_end_however_it_is_cut(pieces, data, size):
    width, height = size
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    lines = page(*pieces, width=width, height=height)
    assert lines == page(text, width=width, height=height)
    text = cli_terminal.clean(rendering._UNDRAWN.sub("", text))
    assert visible(text) - visible("".join(lines)) == Counter()


def test_a_word_that_is_too_long_for_its_cell_is_seen():
    text = f"|a|b|\n|-|-|\n|c|{'word' * 10}|"
    assert "".join(page(text, width=30, height=20)) == text.replace("\n", "")


CODE = [f"line_{number} = {number}" for number in range(60)]
ANSWER = "".join(
    f"Part {part}:\n\n```python\n" + "\n".join(CODE[20 * part : 20 * part + 20]) + "\n```\n\n" for part in range(3)
)


def in_pieces(text, size):
    """Send a text as deltas, each a chunk of its own."""

    async def answer(request, writer):
        writer.write(HEAD)
        for start in range(0, len(text), size):
            writer.write(chunk(f"data: {json.dumps(text[start : start + size])}\n\n".encode()))
            await writer.drain()
        writer.write(chunk(b"data: [DONE]\n\n") + chunk(b""))

    return answer


@pytest.mark.parametrize("size", [1, 30, 10_000])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10)])
async def test_a_drawn_answer_has_every_line_of_the_plain_one(tmp_path, size, width, height):
    async with serve(in_pieces(ANSWER, size)) as server:
        for options in ((), ("--plain",)):
            shown = await asyncio.to_thread(at_terminal, server, tmp_path, *options, width=width, height=height)
            lines = [line.strip() for line in seen(shown, width, height)]
            assert [line for line in lines if line.startswith("line")] == CODE


def test_the_last_lines_of_a_long_block_are_seen_while_it_comes():
    output = Output(height=4)
    with rendering.Page(console(output, height=4)) as view:
        for number in range(100):
            view.event(0, TextDelta(f"{number}\n"))
        assert output.lines == ["98", "99"]
        view.event(0, TextDelta("next"))
        assert output.lines == ["98", "99", "next"]
    assert output.lines[-1].endswith(" next")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [""]),
        ("a\n\nb", ["", "b"]),
        ("abcdefghijkl", ["fghij", "kl"]),
        ("a\tb", ["a    ", "   b"]),
        ("ab漢字漢", ["ab漢", "字漢"]),
        ("é\u0301bcdef", ["é\u0301bcde", "f"]),
    ],
    ids=repr,
)
def test_the_last_rows_of_a_text(text, rows):
    assert last_rows(text, 5, 2) == rows


def test_of_a_very_long_line_the_last_rows_are_found():
    assert last_rows("x" * 1003, 10, 2) == ["x" * 10, "xxx"]
    assert last_rows("漢" * 1003, 10, 2) == ["漢" * 5, "漢" * 3]


def test_a_character_that_is_wider_than_it_was_counted_leaves_no_row_behind():
    text = "flags: " + "🇩🇪" * 40
    assert page(*text) == page(text)


@pytest.mark.parametrize(("width", "height"), [(30, 20), (100, 20), (60, 10)])
def test_a_terminal_that_changes_its_size_loses_nothing(width, height):
    output = Output()
    screen = console(output)
    with rendering.Page(screen) as view:
        for line in ANSWER[: len(ANSWER) // 2].splitlines(keepends=True):
            view.event(0, TextDelta(line))
        output.resize(width, height)
        screen.size = (width, height)
        view.event(0, TextDelta(ANSWER[len(ANSWER) // 2 :]))
    lines = [line.strip() for line in output.lines]
    assert [line for line in lines if line.startswith("line")][-30:] == CODE[-30:]


async def test_a_terminal_that_is_smaller_than_its_environment_says_shows_each_line_once(tmp_path):
    async with serve(in_pieces(ANSWER, 30)) as server:
        shown = await asyncio.to_thread(at_terminal, server, tmp_path, height=10, LINES="50")
    assert [line.strip() for line in seen(shown, 80, 10) if "line" in line] == CODE


@pytest.mark.parametrize("write", range(1, 24))
def test_an_interrupt_in_the_middle_of_drawing_loses_nothing(write):
    output = Output(interrupted=write)
    text = "one **two**\n\nthree\n\nfour"
    rest = iter(text)
    with pytest.raises(KeyboardInterrupt):
        draw(output, rest)
    came = text.removesuffix("".join(rest))
    assert visible(came) - visible("".join(output.lines)) == Counter()


@contextmanager
def handled_by(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "handler", [signal.default_int_handler, cli._interrupt], ids=["Python's", "the command line's"]
)
def test_an_interrupt_waits_until_a_drawing_is_whole(handler):
    output = Output(interrupted=1, interrupt=lambda: signal.raise_signal(signal.SIGINT))
    with handled_by(handler), pytest.raises(KeyboardInterrupt):
        draw(output, ["one\n\ntwo"])
    assert output.lines == ["one", "", "two"]


def test_an_interrupt_that_is_ignored_stays_so():
    output = Output(interrupted=1, interrupt=lambda: signal.raise_signal(signal.SIGINT))
    with handled_by(signal.SIG_IGN):
        draw(output, ["one\n\ntwo"])
    assert output.lines == ["one", "", "two"]


def test_a_second_interrupt_does_not_wait():
    def interrupt_often():
        for _ in range(3):
            begun.append("an interrupt")
            signal.raise_signal(signal.SIGINT)

    begun = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        interrupt_often()
    assert len(begun) == 2


def test_nothing_is_put_off_in_a_thread_that_no_interrupt_reaches():
    with ThreadPoolExecutor() as pool:
        assert pool.submit(page, "some **bold**").result() == ["some bold"]


@contextmanager
def standard(output):
    with redirect_stdout(output), redirect_stderr(output):
        yield


def test_what_is_printed_meanwhile_stands_above_the_block_that_comes():
    output = Output()
    with standard(output), rendering.Page(console(output)) as view:
        view.event(0, TextDelta("first\n\nsec"))
        thread = threading.Thread(target=cli_terminal.complain, args=("a note",))
        thread.start()
        thread.join()
        sys.stdout.write("printed ")
        sys.stdout.flush()
        view.event(0, TextDelta("on"))
        sys.stdout.write("by a plugin\n")
        assert sys.stderr.isatty()
        sys.stderr.write("half a line")
        view.event(0, TextDelta("d"))
    assert [line.strip() for line in output.lines] == [
        "first",
        "a note",
        "printed by a plugin",
        "",
        "second",
        "half a line",
    ]


def test_only_a_terminal_is_written_above():
    output = Output()
    with (
        Path(os.devnull).open("w") as errors,
        redirect_stdout(output),
        redirect_stderr(errors),
        rendering.Page(console(output)),
    ):
        assert sys.stderr is errors
        assert sys.stdout is not output
    with redirect_stdout(None), redirect_stderr(None), rendering.Page(console(output)):
        assert sys.stderr is None


def test_an_answer_that_begins_again_is_drawn_below_what_came():
    output = Output()
    with rendering.Page(console(output)) as view:
        view.event(0, TextDelta("broken"))
        view.event(0, providerkit.Restart("koala/one", providerkit.StreamTruncated("oh")))
        view.event(0, TextDelta("whole"))
    assert output.lines == ["broken", "", "whole"]


async def columns(*, ends, width=60, height=20, texts=("first answer", "second \x1b[2Janswer")):
    output = Output(width, height)
    with rendering.Columns(["koala/one", "koala/two"], console(output, width, height)) as view:
        for number, text in enumerate(texts):
            view.event(number, TextDelta(text))
            view.event(number, providerkit.Finish("stop"))
        view._next.cancel()
        view._draw()
        before = output.lines
        for number, end in enumerate(ends):
            view.end(number, *end)
    return before, output.lines


STOPPED = Reply(finish_reason="stop", attempts=(providerkit.Attempt("koala/one", None, 1.25, "network"),))


async def test_answers_stand_side_by_side_with_their_ends_below():
    before, lines = await columns(ends=[(STOPPED, None), (Reply(), providerkit.ServerError("oh\nno"))])
    answers = [line for line in lines if "answer" in line]
    assert all("first answer" in line and "second answer" in line for line in answers)
    assert len([line for line in lines if "koala/one" in line]) == 1
    assert "…" in "".join(before)
    assert any("stop, 1.2 s" in line and "Error: oh no" in line for line in lines[-4:])


async def test_all_of_each_answer_is_there_at_the_end():
    texts = ["\n".join([f"{side}{number}" for number in range(100)] + [side * 70]) for side in "lr"]
    before, lines = await columns(ends=[(STOPPED, None)] * 2, texts=texts)
    assert len(before) < 20
    assert "l99 " in "".join(before)
    assert "l50 " not in "".join(before)
    assert [
        number for number in range(100) if not any(f"l{number} " in line and f"r{number} " in line for line in lines)
    ] == []
    assert Counter("".join(lines))["l"] == 170 + len(["koala"] * 2)


async def test_an_answer_in_columns_that_begins_again_stands_below_what_came():
    output = Output()
    with rendering.Columns(["a", "b"], console(output)) as view:
        view.event(0, TextDelta("broken"))
        view.event(0, providerkit.Restart("a", providerkit.StreamTruncated("oh")))
        view.event(0, TextDelta("whole"))
    assert [line.split()[1] for line in output.lines if "broken" in line or "whole" in line] == ["broken", "whole"]


async def test_answers_that_never_began_have_an_empty_table():
    output = Output()
    with rendering.Columns(["a", "b"], console(output)):
        pass
    assert sum("…" in line for line in output.lines) == 1


async def fail_at_first(request, writer):
    """Answer the second time."""
    name = b"one" if b'"one"' in request.body else b"two"
    if name in FAILED:
        writer.write(http(b'data: "an answer"\n\n'))
    else:
        FAILED.add(name)
        writer.write(http(b"", status=503, Retry_After_Ms="1"))


FAILED = set()


@pytest.mark.parametrize("models", [("one",), ("one", "two")], ids=["one", "several"])
async def test_a_note_stands_above_and_nothing_is_drawn_twice(tmp_path, models):
    FAILED.clear()
    async with serve(fail_at_first) as server:
        options = [word for model in models for word in ("-m", model)]
        lines = seen(await asyncio.to_thread(at_terminal, server, tmp_path, *options, width=100), 100)
    answers = [line for line in lines if "an answer" in line]
    heads = [line for line in lines if "koala/one" in line and "failed" not in line]
    assert [line.count("an answer") for line in answers] == [len(models)]
    assert len(heads) == len(models) - 1
    for model in models:
        assert sum(f"koala/{model} failed, next attempt" in line for line in lines) == 1


async def test_an_answer_that_breaks_off_is_seen_with_its_error_below(tmp_path):
    async def answer(request, writer):
        writer.write(HEAD + chunk(b'data: "some **bold**"\n\n'))
        writer.close()

    async with serve(answer) as server:
        lines = seen(await asyncio.to_thread(at_terminal, server, tmp_path))
    assert (lines[0], lines[1].partition(":")[0]) == ("some bold", "Error")


async def test_what_came_before_ctrl_c_is_seen(tmp_path):
    async def answer(request, writer):
        writer.write(HEAD + chunk(b'data: "first\\n\\nsome **bold"\n\n'))

    def interrupt():
        with terminal("run", "-p", "koala", "--base-url", server.base_url, "hi", home=tmp_path) as program:
            program.expect_exact("**bold")
            shown = program.before + program.after
            program.sendintr()
            shown += program.read()
            program.close()
            return program.exitstatus, seen(shown)

    async with serve(answer) as server:
        code, lines = await asyncio.to_thread(interrupt)
    assert (code, lines) == (130, ["first", "", "some **bold"])


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
