"""What reaches a terminal: text alone, however it is cut; a pipe gets what came."""

import asyncio
import json
import re

import pytest
from commands import call, finished, terminal
from cuts import unhurried
from hypothesis import given, strategies as st
from loopback import chunked, serve

from providerkit.cli.terminal import Cleaner, clean, one_line
from providerkit.testing import faults

CASES = {
    "a\tb\nc": "a\tb\nc",
    "a\r\nb\rc\x00\x07\x08\x7f": "a\nbc",
    "\x1b[31mred\x1b[0m": "red",
    "\x9b31mred": "red",
    "\x1b[2J\x1b[1;1H\x1b[?1049hx": "x",
    "\x1b]0;title\x07x": "x",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\": "link",
    "\x9d0;title\x9cx": "x",
    "\x90q\x1b\\x\x1b_y\x9cz": "xz",
    "\x1b]52;c;never ended\nthe rest": "\nthe rest",
    "\x1b]0;cut\x1b[1mbold": "bold",
    "\x1b(Bx\x1bcy\x1b\x1b[1mz": "xyz",
    "\x1b[31é": "é",
    "\x1b[1 2mx": "2mx",
    "\x1b é": "é",
    "\x1b [x": "x",
    "\x85\x80\x9cx": "x",
    "safe \u202egnp.exe\u2066\u2069": "safe gnp.exe",
    "שלום 🐨 \u200f": "שלום 🐨 \u200f",
}


def in_pieces(pieces):
    cleaner = Cleaner()
    return "".join(map(cleaner.feed, pieces))


@pytest.mark.parametrize(("text", "seen"), CASES.items(), ids=map(repr, CASES))
def test_a_terminal_sees_text_alone_wherever_it_is_cut(text, seen):
    assert clean(text) == seen
    assert in_pieces(text) == seen
    for cut in range(len(text)):
        assert in_pieces([text[:cut], text[cut:]]) == seen


HOSTILE = st.text(st.sampled_from("\x1b\x9b\x9d\x90\x9c[]PX^_\\;019m \n\t\x07aé("))


@unhurried
@given(st.lists(HOSTILE))
def test_cuts_change_nothing_and_no_control_character_gets_through(pieces):
    seen = in_pieces(pieces)
    assert seen == clean("".join(pieces))
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", seen) is None


def test_a_sequence_that_never_ends_is_not_kept():
    cleaner = Cleaner()
    for _ in range(1000):
        assert cleaner.feed("\x1b]0;" + "x" * 1000) == ""
    assert len(cleaner._open) < 10


def test_an_error_is_one_line_of_text():
    assert one_line("a\x1b[2K\nb\t c") == "a b c"


EVIL = "\x1b]0;owned\x07\x1b[2Jhello\x9b31m"


async def evil(request, writer):
    writer.write(chunked(*(b"data: %s\n\n" % json.dumps(character).encode() for character in EVIL)))


@pytest.mark.parametrize("options", [(), ("--plain",), ("--json",), ("--events",), ("-m", "one", "-m", "two")], ids=str)
async def test_no_form_of_an_answer_drives_a_terminal(tmp_path, options):
    def look():
        with terminal("run", "-p", "koala", "--base-url", server.base_url, *options, "hi", home=tmp_path) as program:
            return program.read()

    async with serve(evil) as server:
        shown = await asyncio.to_thread(look)
    assert "hello" in shown.replace('"}\r\n{"type": "text_delta", "text": "', "")
    assert [sequence for sequence in ("\x1b]0;", "\x1b[2J", "\x9b") if sequence in shown] == []


async def test_a_pipe_gets_what_came():
    async with serve(evil) as server:
        assert await finished("run", "-p", "koala", "--base-url", server.base_url, "hi") == (0, f"{EVIL}\n", "")


def test_the_words_of_an_error_do_not_drive_a_terminal(mocked):
    mocked.post("https://koala.sh/api/gpt/", status=401, body=json.dumps({"error": EVIL}))
    assert call("run", "-p", "koala", "hi") == (1, "", "Error: koala: 401: hello\n")


def test_at_a_terminal_it_is_told_why_nothing_comes(tmp_path):
    with (
        faults.refused() as url,
        terminal("run", "-p", "koala", "--base-url", url, "--attempts", "2", "hi", home=tmp_path) as program,
    ):
        program.expect_exact("koala/gpt-4o-mini failed, next attempt ")
        program.expect_exact("Error: can't connect to ")
