"""A provider under examination: its hooks asked by hand, its sandbox over loopback, its import in a process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from itertools import product
from types import ModuleType
from typing import Any, NoReturn
from unittest.mock import patch

import attrs

from ..chat.events import Event, ReasoningDelta, TextDelta, ToolCallDelta
from ..chat.models import Model
from ..chat.options import OPTIONS, Chat
from ..chat.replies import Reply, Transcript
from ..client import Client
from ..engine.policy import Limits, Retry, Timeouts
from ..engine.targets import merge_headers
from ..errors import (
    MissingAPIKey,
    ProviderError,
    ProviderKitError,
    StreamError,
    TransportError,
    UnsupportedFeature,
)
from ..plugins.assembly import assemble
from ..plugins.discovery import import_folders
from ..plugins.hooks import Hooks
from ..plugins.loading import EXTENSIONS_VARIABLE, find_provider
from ..plugins.plugin import Plugin
from ..runs import Run
from ..sandboxes import Sandbox
from ..wire.decoder import Decoder
from ..wire.requests import Endpoint, Request, ResponseHead
from ..wire.secrets import Secret
from ..wire.strict_json import loads
from .faults import Fault, FaultServer, healthy
from .recordings import Recording, record
from .trials import ASKED, CHATS, HANGING, KEY, hello

BASE_URL = "http://127.0.0.1:9/a/prefix"
SOON = 10.0  # seconds, after which what should have happened at once never will
HASTE = Timeouts(first_event=0.05, idle=0.05)  # for where nothing comes
LIMITS = Limits(event=2**20)
TYPED = (ProviderError, StreamError, TransportError)


@attrs.frozen
class Answer:
    """Hold what the sandbox answered to a chat: under which key it was asked, and the bytes."""

    chat: Chat
    key: str | None
    recording: Recording

    @property
    def body(self) -> bytes:
        """Give the bytes."""
        return self.recording.body


@attrs.frozen
class Decoded:
    """Hold what a decoder makes of an answer: its events, or those before its typed error.

    `marked` says that the wire has said the end before the body ended.
    """

    events: list[Event]
    reply: Reply
    error: ProviderKitError | None = None
    marked: bool = False

    @property
    def joined(self) -> list[Event]:
        """Give the events, neighbours of one kind as one: where they are cut is nobody's business."""
        found: list[Event] = []
        for event in self.events:
            match found[-1] if found else None, event:
                case TextDelta(before), TextDelta(text):
                    found[-1] = TextDelta(before + text)
                case ReasoningDelta(before), ReasoningDelta(text):
                    found[-1] = ReasoningDelta(before + text)
                case ToolCallDelta(index) as call, ToolCallDelta(same) as piece if index == same:
                    found[-1] = _with_piece(call, piece)
                case _:
                    found.append(event)
        return found


def _with_piece(call: ToolCallDelta, piece: ToolCallDelta) -> ToolCallDelta:
    return ToolCallDelta(call.index, call.id or piece.id, call.name or piece.name, call.arguments + piece.arguments)


def content(reply: Reply) -> tuple[object, ...]:
    """Give what a caller must not lose of an answer."""
    return reply.text, reply.reasoning, reply.tool_calls, reply.finish_reason


class Feeding:
    """Feed a decoder as an exchange does."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.events: list[Event] = []
        self.transcript = Transcript()

    def feed(self, piece: bytes) -> None:
        """Take bytes; where the wire has said the end, an error may wait to be raised."""
        if not self.transcript.finished:
            self._take(self.decoder.feed(piece))
        if not self.transcript.finished and self.decoder.ended:
            self._take(self.decoder.feed(b""))

    def close(self) -> None:
        """Take the end of the body."""
        if not self.transcript.finished:
            self._take(self.decoder.close())
            if not self.transcript.finished:
                raise AssertionError("close() gave no Finish and raised nothing")

    def _take(self, events: list[Event]) -> None:
        self.transcript.add(events)
        self.events += events


class Subject:
    """Ask one provider by hand."""

    def __init__(self, provider: object) -> None:
        self.plugin: Plugin = find_provider(provider)
        self.hooks: Hooks = assemble(self.plugin)
        self.info = self.hooks.info
        self.implementation = self.plugin.implementation
        self.ids = frozenset(name.lower() for name in getattr(self.implementation, "wire_ids", ()))

    @property
    def model(self) -> Model:
        """Give the default model, and one that is made up where there is none."""
        return self.hooks.resolve_model(None if self.info.default_model else "contract")

    @property
    def state(self) -> dict[str, str]:
        """Show what the plugin holds."""
        held = getattr(self.implementation, "__dict__", {}).items()
        return {name: repr(value) for name, value in held if not name.startswith("__")}

    def has(self, hook: str) -> bool:
        """Tell whether the plugin has an optional hook."""
        return callable(getattr(self.implementation, hook, None))

    # Requests

    def request(self, chat: Chat, *, key: str | None = KEY, base_url: str = BASE_URL) -> Request:
        """Build a request."""
        return self.hooks.build_request(chat, self.model, endpoint(base_url, key))

    def requests(self) -> list[Request]:
        """Build a request of each kind."""
        listing = self.hooks.build_models_request(endpoint(), None)
        return [*(self.request(hello(), key=key) for key in self.keys), *([] if listing is None else [listing])]

    @property
    def keys(self) -> tuple[str | None, ...]:
        """Give the keys under which requests can be made: the two may differ in more than a header."""
        with suppress(MissingAPIKey):
            self.request(hello(), key=None)
            return None, KEY
        return (KEY,)

    def chats(self) -> list[Callable[[], Chat]]:
        """Give what makes the chats that the provider serves."""
        return [hello, *(make for make in CHATS.values() if self.serves(make()))]

    def serves(self, chat: Chat) -> bool:
        """Tell whether the core would let this chat pass."""
        return self.info.supports.issuperset(chat.features())

    def as_sent(self, request: Request) -> tuple[object, ...]:
        """Give what must be the same of two requests: all but the ids."""
        headers = {name.lower(): value for name, value in request.headers.items() if name.lower() not in self.ids}
        return request.method, request.url, headers, self._body(request.body), request.stream

    def _body(self, body: bytes | None) -> object:
        if body is None or not self.ids:
            return body
        with suppress(StreamError):
            fields = loads(body)
            if isinstance(fields, dict):
                return {name: value for name, value in fields.items() if name.lower() not in self.ids}
        return body

    # Answers

    def answers(self) -> tuple[Answer, ...]:
        """Ask the sandbox for answers of all kinds, with a key and without, and give those that differ."""
        return _answers_of(self.plugin)

    async def record(self) -> tuple[Answer, ...]:
        """Do so anew."""
        found: dict[Recording, Answer] = {}
        wanted = [hello(), *(CHATS[feature]() for feature in ASKED)]
        async with Sandbox(self.implementation) as url:
            for chat in filter(self.serves, wanted):
                for key in reversed(self.keys):  # under a key where that is the same: no error may show it
                    with suppress(UnsupportedFeature):
                        answer = await self._answer(url, chat, key)
                        found.setdefault(answer.recording, answer)
        return tuple(found.values())

    async def _answer(self, url: str, chat: Chat, key: str | None) -> Answer:
        request = merge_headers(self.request(chat, key=key, base_url=url), endpoint(url, key))
        recording = await record(request.url, method=request.method, headers=request.headers, body=request.body or b"")
        if not 200 <= recording.status < 300 or not recording.body:
            raise AssertionError(f"the sandbox answers {chat!r} by {recording.status} {recording.body!r:.200}")
        return Answer(chat, key, in_pieces(recording))

    def decode(self, answer: Answer, pieces: Sequence[bytes] | None = None) -> Decoded:
        """Decode an answer, or these pieces in its place; what is no error of providerkit's passes through."""
        feeding = self.feeding(answer)
        error, marked = None, False
        try:
            for piece in answer.recording.pieces if pieces is None else pieces:
                feeding.feed(piece)
            marked = feeding.decoder.ended or feeding.transcript.finished
            feeding.close()
        except TYPED as raised:
            error = raised
        return Decoded(feeding.events, feeding.transcript.reply(), error, marked)

    def feeding(self, answer: Answer) -> Feeding:
        """Give a fresh decoder, ready to be fed."""
        framed = ("Transfer-Encoding", "chunked")  # as the sandbox's own was
        head = ResponseHead(answer.recording.status, [*answer.recording.headers, framed])
        return Feeding(self.hooks.parse_stream(head, self.model))

    # Over loopback

    def options(self, url: str, key: str | None = KEY) -> dict[str, Any]:
        """Give the options of `run` that ask this provider there."""
        return {"provider": self.implementation, "model": self.model.name, "base_url": url, "api_key": key}

    def replies(self) -> tuple[Reply, Reply, str]:
        """Ask the sandbox: awaiting all of the answer, blocking, and piece by piece."""
        awaited, text = asyncio.run(self._replies())
        with Sandbox(self.implementation) as url, Client() as client:
            waited = client.run(hello().messages, **self.options(url)).result()
        return awaited, waited, text

    async def _replies(self) -> tuple[Reply, str]:
        async with Sandbox(self.implementation) as url, Client() as client:
            awaited = await client.run(hello().messages, **self.options(url))
            return awaited, "".join([text async for text in client.run(hello().messages, **self.options(url))])

    def refusal(self, chat: Chat) -> tuple[str | None, int]:
        """Give the option that is refused of a chat, and how many requests were sent."""
        return asyncio.run(self._refusal(chat))

    async def _refusal(self, chat: Chat) -> tuple[str | None, int]:
        given = {option: getattr(chat, option) for option in OPTIONS}
        server = FaultServer(healthy())
        option = None
        async with server as url, Client(retry=Retry(attempts=1)) as client:
            try:
                await client.run(chat.messages, **self.options(url), **given)
            except UnsupportedFeature as error:
                option = error.option
            except TYPED:
                pass  # it was sent, and the server has no answer
        return option, len(server.log)

    def meet(self, answer: Answer, fault: Fault) -> tuple[ProviderKitError | None, Reply]:
        """Give the typed error, if any, and what has come, where an answer meets a fault; no error may show the key."""
        return asyncio.run(self._meet(answer, fault))

    async def _meet(self, answer: Answer, fault: Fault) -> tuple[ProviderKitError | None, Reply]:
        timeouts = HASTE if fault in HANGING else Timeouts()
        server = FaultServer(fault, answer=answer.recording)
        async with server as url, Client(retry=Retry(attempts=1), limits=LIMITS, timeouts=timeouts) as client:
            run = client.run(answer.chat.messages, tools=answer.chat.tools, **self.options(url, answer.key))
            try:
                return None, await run
            except TYPED as error:
                shown = f"{error} {error!r} {vars(error)!r}"
                if KEY in shown:
                    raise AssertionError(f"an error shows the key: {type(error).__name__}") from None
                return error, run.reply

    def cancel(self, answer: Answer, fault: Fault) -> str | None:
        """Cancel a run that waits, and say who has closed the connection."""
        return asyncio.run(self._cancel(answer, fault))

    async def _cancel(self, answer: Answer, fault: Fault) -> str | None:
        server = FaultServer(fault, answer=answer.recording)
        async with asyncio.timeout(SOON), server as url, Client() as client:
            run = client.run(answer.chat.messages, tools=answer.chat.tools, **self.options(url, answer.key))
            task = asyncio.ensure_future(_collected(run))
            await server.asked()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return (await server.closed()).closed

    def models(self) -> tuple[Model, ...]:
        """List the models, over loopback where the provider can be asked."""
        return asyncio.run(self._models())

    async def _models(self) -> tuple[Model, ...]:
        async with Sandbox(self.implementation) as url, Client() as client:
            return await client.provider(self.implementation).models(base_url=url, api_key=KEY)

    # Purity

    def ask_each_hook(self, answers: Sequence[Answer]) -> None:
        """Ask each pure hook once."""
        for make, key in product(self.chats(), self.keys):
            with suppress(UnsupportedFeature):
                self.request(make(), key=key)
        self.requests()
        for answer in answers:
            self.decode(answer)
        self.hooks.parse_error(ResponseHead(500), b'{"error": "no"}')

    @contextmanager
    def without_world(self) -> Iterator[None]:
        """Let whoever reaches for the world fail; where there are ids to make, a clock may be read."""
        names = _WORLD if self.ids else (*_WORLD, *_CLOCKS)
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(patch(name, _refusing(name)))
            yield

    def imported(self) -> dict[str, Any]:
        """Import the plugin's module in a process of its own; give what that did, and whether it brought aiohttp."""
        implementation = self.implementation
        module = implementation.__name__ if isinstance(implementation, ModuleType) else type(implementation).__module__
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", _IMPORT, json.dumps(import_folders()), module]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 - ourselves
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2]
            raise AssertionError(f"in a process of its own the module {module!r} can't be imported: {reason}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


_WORLD = (
    "builtins.open",
    "io.open",
    "os.open",
    "os.system",
    "socket.socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "threading.Thread.start",
    "time.sleep",
)
_CLOCKS = ("time.time", "time.time_ns", "time.localtime", "time.gmtime")


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError(f"a hook has called {name}")

    return refuse


# Opening files to read is what an import is; lines that it prints are no work, but come before ours.
_IMPORT = """
import importlib, json, sys, threading
sys.path[:] = json.loads(sys.argv[1])
WORK = {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.fork",
        "os.posix_spawn", "os.exec", "os.remove", "os.mkdir", "os.rename", "time.sleep", "urllib.Request"}
did = []
def watch(event, arguments):
    if event in WORK:
        did.append(event)
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        did.append(f"write to {arguments[0]}")
sys.addaudithook(watch)
importlib.import_module(sys.argv[2])
did += ["start a thread"] * (threading.active_count() > 1)
print()
print(json.dumps({"did": did, "aiohttp": "aiohttp" in sys.modules}))
"""


@lru_cache(maxsize=16)
def _answers_of(plugin: Plugin) -> tuple[Answer, ...]:
    return asyncio.run(Subject(plugin).record())


async def _collected(run: Run) -> Reply:
    return await run


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep out what a developer has set: no keys but those that are given, no extensions."""
    given_alone = patch("providerkit.engine.plan.find_key", lambda info, given=None: Secret(given) if given else None)
    with given_alone, patch.dict(os.environ):
        os.environ.pop(EXTENSIONS_VARIABLE, None)
        yield


def endpoint(base_url: str = BASE_URL, key: str | None = KEY) -> Endpoint:
    """Say where to ask, and as whom."""
    return Endpoint(base_url, Secret(key) if key else None)


def in_pieces(recording: Recording) -> Recording:
    """Cut an answer that came in one piece or two, so that faults find a place within it, and let it be framed."""
    pieces = recording.pieces
    if len(pieces) < 3:
        body = recording.body
        third = max(1, len(body) // 3)
        pieces = (body[:third], body[third : 2 * third], body[2 * third :])
    framing = "chunks" if recording.framing == "end" else recording.framing
    return attrs.evolve(recording, pieces=pieces, framing=framing)


def like(piece: bytes, value: bytes) -> bytes:
    """Put a JSON value on the wire as this piece of it was: as a server-sent event, or as a line."""
    return b"data: " + value + b"\n\n" if piece.startswith((b"data:", b"event:", b"id:", b":")) else value + b"\n"
