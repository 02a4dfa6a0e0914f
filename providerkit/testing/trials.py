"""Trials: what the contract puts to every provider. Chats of every shape, bytes that are no answer, and faults."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from random import Random
from typing import Any

from ..chat.messages import ROLES, Message
from ..chat.options import Chat
from ..chat.parts import FilePart, ImagePart, Part, ProviderData, TextPart, ToolCall
from ..chat.tools import Tool
from . import faults
from .faults import Fault

KEY = "sk-contract-0123456789abcdef"
OTHER_KEY = "sk-contract-of-the-environment"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)

CALL_BOTH = "Please call look_up and add_up."  # sandboxes call the tools that the last message of the user names
CALL_ONE = "Please call look_up."
PDF = "application/pdf"
DOCUMENT = b"%PDF-1.4 mark-of-a-file"

HELLO = Message("user", "Hello, who are you?")
REPLY = Message("assistant", "I am here to help.")
AGAIN = Message("user", "And what did I say?")


def hello() -> Chat:
    """Make the plainest chat."""
    return Chat((HELLO,))


# One chat for each word of `supports`, made anew each time, so that a change of one can be seen.
CHATS: Mapping[str, Callable[[], Chat]] = {
    "system": lambda: Chat((HELLO,), system="Be brief."),
    "tools": lambda: Chat((Message("user", CALL_BOTH),), tools=sandbox_tools()),
    "tool_choice": lambda: Chat((Message("user", "Please."),), tools=sandbox_tools(), tool_choice="add_up"),
    "parallel_tool_calls": lambda: Chat((HELLO,), tools=sandbox_tools(), parallel_tool_calls=False),
    "reasoning": lambda: Chat((HELLO,), reasoning="high"),
    "response_format": lambda: Chat((HELLO,), response_format={"type": "json_object"}),
    "temperature": lambda: Chat((HELLO,), temperature=0.25),
    "top_p": lambda: Chat((HELLO,), top_p=0.75),
    "max_tokens": lambda: Chat((HELLO,), max_tokens=77),
    "stop": lambda: Chat((HELLO,), stop=("contract-stop",)),
    "seed": lambda: Chat((HELLO,), seed=4711),
    "extra": lambda: Chat((HELLO,), extra={"contract": {"nested": ["as it is"]}}),
    "history": lambda: Chat((HELLO, REPLY, AGAIN)),
    "images": lambda: Chat((Message("user", (TextPart("What is this?"), ImagePart(None, PIXEL, "image/png"))),)),
    "files": lambda: Chat((Message("user", (TextPart("What is this?"), FilePart(DOCUMENT, media_type=PDF))),)),
    "prefill": lambda: Chat((HELLO, Message("assistant", "I am"))),
}


def sandbox_tools() -> tuple[Tool, ...]:
    """Return the tools that a sandbox is to call."""
    place = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    numbers = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    return Tool("look_up", "Look up a place.", place), Tool("add_up", "Add up numbers.", numbers)


# What the sandbox is asked, beside the plainest chat: these change what an answer is made of.
ASKED = ("history", "images", "tools", "reasoning")


# Chats of which nothing may be lost: what is in them, by its name, and the marks to look for.


def marked_tools(*, required: bool = True) -> tuple[Tool, ...]:
    """Return two tools with marks in names, descriptions and schemas."""
    nested = {"type": "object", "properties": {"mark_nested": {"type": "integer", "description": "mark-of-a-number"}}}
    properties = {
        "mark_property": {"type": "string", "description": "mark-of-a-property", "enum": ["mark-choice"]},
        "mark_inner": nested,
    }
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = ["mark_property"]
    return Tool("mark_tool_one", "mark-of-tool-one", schema), Tool("mark_tool_two", "mark-of-tool-two", nested)


TOOL_MARKS = (
    *("mark_tool_one", "mark-of-tool-one", "mark_property", "mark-of-a-property", "mark-choice", "mark_inner"),
    *("mark_nested", "mark-of-a-number", "mark_tool_two", "mark-of-tool-two"),
)
SCHEMA = {
    "type": "object",
    "properties": {"mark_answer": {"type": "string", "description": "mark-of-an-answer"}},
    "required": ["mark_answer"],
    "additionalProperties": False,
}
CALLED_ONE, CALLED_TWO = "mark_called_one", "mark_called_two"
ARGUMENTS = ('{"mark_argument": "mark-value-1"}', '{"mark_level": {"mark_key": ["mark-value-2"]}}')
ARGUMENT_MARKS = ("mark_argument", "mark-value-1", "mark_level", "mark_key", "mark-value-2")
PICTURE_URL = "https://contract.example/mark-picture.png"
FILE_URL = "https://contract.example/mark-file.pdf"


def called(*results: Message, ids: tuple[str, str] = ("mark-id-1", "mark-id-2"), name: str = CALLED_TWO) -> Chat:
    """Make a chat in which two tools were called, other ones than are offered, and these results came."""
    calls = tuple(map(ToolCall, ids, (CALLED_ONE, name), ARGUMENTS))
    asked = Message("user", "mark-of-a-question")
    return Chat((asked, Message("assistant", "mark-of-a-turn", tool_calls=calls), *results), tools=marked_tools())


def result(content: str | tuple[Part, ...] = "mark-of-a-result", number: str = "1", *, failed: bool = False) -> Message:
    """Make what the first tool has answered to the call of this number."""
    return Message("tool", content, tool_call_id=f"mark-id-{number}", name=CALLED_ONE, failed=failed)


def _other() -> Message:
    return Message("tool", "mark-of-another", tool_call_id="mark-id-2", name=CALLED_TWO)


def _encoded(data: bytes) -> str:
    return b64encode(data).decode()


def _user(*parts: Part) -> Chat:
    return Chat((Message("user", parts),))


_BETWEEN = (TextPart("mark-before"), ToolCall("mark-id-1", CALLED_ONE, ARGUMENTS[0]), TextPart("mark-behind"))
PICTURE = ImagePart(None, PIXEL, "image/png")
MARKED: Mapping[str, tuple[Callable[[], Chat], tuple[str, ...]]] = {
    "the system's text": (lambda: Chat((HELLO,), system="mark-system"), ("mark-system",)),
    "two system texts": (
        lambda: Chat((Message("system", "mark-of-a-message"), HELLO), system="mark-of-the-option"),
        ("mark-of-a-message", "mark-of-the-option"),
    ),
    "tools": (lambda: Chat((HELLO,), tools=marked_tools()), TOOL_MARKS),
    "tool calls": (
        lambda: called(result(), _other()),
        ("mark-of-a-question", "mark-of-a-turn", CALLED_ONE, CALLED_TWO, *ARGUMENT_MARKS),
    ),
    "a call between texts": (
        lambda: Chat((HELLO, Message("assistant", _BETWEEN), result(), AGAIN), tools=marked_tools()),
        ("mark-before", CALLED_ONE, *ARGUMENT_MARKS[:2], "mark-behind"),
    ),
    "results of tools": (lambda: called(result(), _other()), ("mark-of-a-result", "mark-of-another")),
    "a result in parts": (
        lambda: called(result((TextPart("mark-of-a-part "), TextPart("mark-of-the-next"))), _other()),
        ("mark-of-a-part", "mark-of-the-next"),
    ),
    "an image in a result": (
        lambda: called(result((TextPart("mark-beside-it"), PICTURE)), _other()),
        ("mark-beside-it", _encoded(PIXEL)),
    ),
    "an image alone in a result": (lambda: called(result((PICTURE,)), _other()), (_encoded(PIXEL),)),
    "images": (
        lambda: _user(TextPart("mark-before"), PICTURE, TextPart("mark-after")),
        ("mark-before", _encoded(PIXEL), "mark-after"),
    ),
    "the url of an image": (lambda: _user(TextPart("What?"), ImagePart(PICTURE_URL)), (PICTURE_URL,)),
    "files": (
        lambda: _user(TextPart("mark-before"), FilePart(DOCUMENT, media_type=PDF, name="mark.pdf")),
        ("mark-before", _encoded(DOCUMENT)),
    ),
    "the url of a file": (lambda: _user(TextPart("What?"), FilePart(url=FILE_URL, media_type=PDF)), (FILE_URL,)),
    "the id of a file": (lambda: _user(TextPart("What?"), FilePart(id="mark-file", media_type=PDF)), ("mark-file",)),
    "the schema of an answer": (
        lambda: Chat((HELLO,), response_format=SCHEMA),
        ("mark_answer", "mark-of-an-answer"),
    ),
    "stop words": (lambda: Chat((HELLO,), stop=("mark-stop-1", "mark-stop-2")), ("mark-stop-1", "mark-stop-2")),
    "extra": (
        lambda: Chat((HELLO,), extra={"mark_extra": {"mark_within": ["mark-of-extra"]}}),
        ("mark_extra", "mark_within", "mark-of-extra"),
    ),
    "a prefill": (lambda: Chat((HELLO, Message("assistant", "mark-of-a-beginning"))), ("mark-of-a-beginning",)),
}
KEPT_MARKS = ("mark_kept", "mark-of-what-is-kept")


def kept(provider: str) -> Chat:
    """Make a chat with data that the provider is said to have given."""
    data = ProviderData({"mark_kept": "mark-of-what-is-kept"}, keep=True, provider=provider)
    return Chat((HELLO, Message("assistant", (data, TextPart("I am."))), AGAIN))


# Pairs of chats that mean different things, by what differs.


def _choosing(choice: str | None) -> Chat:
    return Chat((HELLO,), tools=marked_tools(), tool_choice=choice)


DIFFERENT: Mapping[str, tuple[Callable[[], Chat], Callable[[], Chat]]] = {
    "temperature": (lambda: Chat((HELLO,), temperature=0.25), lambda: Chat((HELLO,), temperature=0.5)),
    "top_p": (lambda: Chat((HELLO,), top_p=0.25), lambda: Chat((HELLO,), top_p=0.5)),
    "max_tokens": (lambda: Chat((HELLO,), max_tokens=77), lambda: Chat((HELLO,), max_tokens=78)),
    "seed": (lambda: Chat((HELLO,), seed=4711), lambda: Chat((HELLO,), seed=4712)),
    "reasoning": (lambda: Chat((HELLO,), reasoning="none"), lambda: Chat((HELLO,), reasoning="high")),
    "parallel_tool_calls": (
        lambda: Chat((HELLO,), tools=marked_tools(), parallel_tool_calls=True),
        lambda: Chat((HELLO,), tools=marked_tools(), parallel_tool_calls=False),
    ),
    "the tool that is chosen": (lambda: _choosing("mark_tool_one"), lambda: _choosing("mark_tool_two")),
    "a tool or none": (lambda: _choosing("mark_tool_one"), lambda: _choosing("none")),
    "some tool or none": (lambda: _choosing("required"), lambda: _choosing("none")),
    "some tool or any": (lambda: _choosing("required"), lambda: _choosing("auto")),
    "none or any": (lambda: _choosing("none"), lambda: _choosing(None)),
    "what a schema requires": (
        lambda: Chat((HELLO,), tools=marked_tools()),
        lambda: Chat((HELLO,), tools=marked_tools(required=False)),
    ),
    "a tool's failure": (lambda: called(result(failed=True), _other()), lambda: called(result(), _other())),
    # The texts come in the same order, and answer other calls of the same tool.
    "the calls that results answer": (
        lambda: called(result("mark-1", "1"), result("mark-2", "2"), name=CALLED_ONE),
        lambda: called(result("mark-1", "2"), result("mark-2", "1"), name=CALLED_ONE),
    ),
}


def renamed(number: str) -> Chat:
    """Make a chat of calls and results in which the id of the first call ends so, as its result says."""
    return called(result(number=number), _other(), ids=(f"mark-id-{number}", "mark-id-2"))


MOST_CUTS = 200  # of one answer
SEED = 4711  # the same places each time


def sample(length: int, most: int = MOST_CUTS) -> list[int]:
    """Return places below this length, in order: all of them, or the ends and as many between as make `most`."""
    if length <= most:
        return list(range(length))
    ends = {*range(most // 10), *range(length - most // 10, length)}
    between = Random(SEED).sample(sorted(set(range(length)) - ends), most - len(ends))  # noqa: S311 - no secret
    return sorted(ends.union(between))


def histories(longest: int = 4) -> Iterator[Chat]:
    """Yield chats of all sequences of roles, each text a word of its own (see `words_of`), some of it in parts."""
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
    """Return the words of a history that no request may lose."""
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
# The forms of errors that wires have in common.
ERRORS = (ERROR, b'{"error": "no"}', b'{"type": "error", "error": {"type": "api_error", "message": "no"}}')
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
    faults.drip(most=1000),  # of a long answer, which else takes a second for every few thousand bytes
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
    """Return a fault's name and arguments, for the id of a test."""
    return f"{fault!r:.50}"
