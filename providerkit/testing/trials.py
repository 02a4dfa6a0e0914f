"""Trials: what the contract puts to every provider. Chats of every shape, bytes that are no answer, and faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product

from ..chat.messages import ROLES, Message
from ..chat.options import Chat
from ..chat.parts import ImagePart, TextPart, ToolCall
from ..chat.tools import Tool
from . import faults
from .faults import Fault

KEY = "sk-contract-0123456789abcdef"
OTHER_KEY = "sk-contract-of-the-environment"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)

HELLO = Message("user", "Hello, who are you?")
REPLY = Message("assistant", "I am here to help.")
AGAIN = Message("user", "And what did I say?")


def hello() -> Chat:
    """Make the plainest chat."""
    return Chat((HELLO,))


# One chat for each word of `supports`, made anew each time, so that a change of one can be seen.
CHATS: Mapping[str, Callable[[], Chat]] = {
    "system": lambda: Chat((HELLO,), system="Be brief."),
    "tools": lambda: Chat((Message("user", "Please call look_up."),), tools=(_tool(),)),
    "response_format": lambda: Chat((HELLO,), response_format={"type": "json_object"}),
    "temperature": lambda: Chat((HELLO,), temperature=0.25),
    "top_p": lambda: Chat((HELLO,), top_p=0.75),
    "max_tokens": lambda: Chat((HELLO,), max_tokens=77),
    "stop": lambda: Chat((HELLO,), stop=("contract-stop",)),
    "seed": lambda: Chat((HELLO,), seed=4711),
    "extra": lambda: Chat((HELLO,), extra={"contract": {"nested": ["as it is"]}}),
    "history": lambda: Chat((HELLO, REPLY, AGAIN)),
    "images": lambda: Chat((Message("user", (TextPart("What is this?"), ImagePart(None, PIXEL, "image/png"))),)),
    "prefill": lambda: Chat((HELLO, Message("assistant", "I am"))),
}


def _tool() -> Tool:
    schema = {"type": "object", "properties": {"place": {"type": "string"}}}
    return Tool("look_up", "Look up a place.", schema)


# What the sandbox is asked, beside the plainest chat: these change what an answer is made of.
ASKED = ("history", "images", "tools")


def histories(longest: int = 4) -> Iterator[Chat]:
    """Give chats of all sequences of roles, each text a word of its own (see `words_of`), some of it in parts."""
    for length in range(1, longest + 1):
        for roles in product(ROLES, repeat=length):
            yield Chat(tuple(_turn(role, number) for number, role in enumerate(roles)))


def _turn(role: str, number: int) -> Message:
    word = f"word-{number}-of-{role}"
    if role == "tool":
        return Message(role, word, tool_call_id="call-1")
    if role == "assistant" and number % 2:
        return Message(role, word, tool_calls=(ToolCall("call-1", "look_up", '{"place": "here"}'),))
    return Message(role, (TextPart(f"{word} "), TextPart("🐨")) if number % 2 else word)


def words_of(chat: Chat) -> list[str]:
    """Give the words of a history that no request may lose."""
    return [message.text.partition(" ")[0] for message in chat.messages]


# JSON that is strict and not what a wire expects, and bodies that a proxy or a gateway may send in its stead.
VALUES = (
    b"{}",
    b"[]",
    b"null",
    b"7",
    b"true",
    b'"x"',
    b'{"error": null}',
    b'{"message": 7}',
    b'[{"error": "no"}]',
    b"[[[]]]",
)
ERROR = b'{"error": {"message": "no", "code": 7}}'
BODIES = (
    b"",
    b" \r\n",
    b"<!doctype html><title>Log in</title>",
    b"Bad gateway",
    b"\xff\xfe\x00",
    b'{"error": {"message": "cut',
    ERROR,
    b'{"error": "no"}',
    b'{"error": {"message": null, "code": null}}',
    b'{"error": {"message": ["no"], "code": {"is": "odd"}}}',
    b'{"error": [1, 2]}',
    b'{"detail": [{"msg": "no"}]}',
    *VALUES,
)
NO_MODELS = (
    b'{"data": null}',
    b'{"data": [7]}',
    b'{"data": {"id": 7}}',
    b'{"models": [{}]}',
    b'{"data": [{"id": null}]}',
)
STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)

# Faults after which there is no answer.
ENDING = (
    faults.close_on_accept(),
    faults.reset_on_accept(),
    faults.close_unanswered(),
    faults.reset_unanswered(),
    faults.bad_status_line(),
    faults.long_header(),
    faults.many_headers(),
    faults.two_framings(),
    faults.two_lengths(),
    faults.no_content(),
    faults.redirect(),
    faults.page(),
    faults.says(),
    faults.status(200, body=ERROR),
    faults.close(after=0),
    faults.reset(after=0),
    faults.close_at(10),
    faults.reset_at(10),
    faults.gzip_bomb(2**21),
    faults.endless_line(after=0, start=b""),
)
# Faults after which nothing more comes, while the connection stays open.
HANGING = (
    faults.hold_on_accept(),
    faults.silence(),
    faults.drip_head(seconds=1.0),
    faults.interim(only=True),
    faults.stall(after=0),
    faults.comments(after=0, seconds=0.001),
)
# What HTTP allows, and so no answer may suffer from.
HARMLESS = (
    faults.healthy(),
    faults.silence(seconds=0.0),
    faults.interim(),
    faults.drip_head(),
    faults.drip(),
    faults.split(at=7),
    faults.close_idle(),
    faults.garbage_after(),
    faults.compressed(),
    faults.unframed(),
)
# Faults that cut an answer, some of them where its wire may have said the end.
CUTTING = (
    faults.close(after=1),
    faults.close(after=-1),
    faults.close(after=None),
    faults.reset(after=1),
    faults.reset(after=None),
    faults.wrong_length(),
    faults.unframed(after=1),
    faults.unframed(after=-1),
    faults.bad_chunk(),
    faults.compressed(keep=-20),
    faults.compressed(corrupt=0),
    faults.endless_line(),
)
# Those after which the body still ends in good order: what has come may be an answer, if it is not called proven.
IN_GOOD_ORDER = ("unframed", "compressed")
# Faults that change what an answer says: whether it is one still, only the plugin knows.
GARBLING = (
    faults.mislabelled(),
    faults.mystery_encoding(),
    faults.garble(),
    faults.replace(1, b"data: {oops\n\n"),
    faults.insert(1, b"data: \xff\xfe\n\n"),
    faults.insert(1, b'data: "\\ud800"\n\n'),
    faults.says(b'{"hello": "you"}'),
    faults.says(b"data: {}\n\ndata: [DONE]\n\n"),
    faults.repeat(),
    faults.swap(),
    faults.without(-1),
    faults.without(0, -1),
    faults.append(b"data: what\n\n"),
    faults.rewrite(b"\n", b"\r\n"),
    faults.nested(before=1),
)


def named(fault: Fault) -> str:
    """Give a fault's name and arguments, for the id of a test."""
    return f"{fault!r:.50}"
