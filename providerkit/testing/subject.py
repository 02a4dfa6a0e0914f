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
from inspect import signature
from itertools import product
from types import ModuleType
from typing import Any, NoReturn
from unittest.mock import patch

import attrs

from ..chat.embeddings import Embeddings
from ..chat.events import Event, ReasoningDelta, TextDelta, ToolCallDelta
from ..chat.messages import Message
from ..chat.models import Model, Page, ProviderInfo
from ..chat.options import OPTIONS, Chat
from ..chat.parts import ProviderData
from ..chat.provider_data import data_of, own_messages
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
from ..plugins.hookspecs import HOOKS, hookimpl
from ..plugins.loading import EXTENSIONS_VARIABLE, find_provider
from ..plugins.plugin import Plugin
from ..runs import Run
from ..sandboxes import Sandbox
from ..wire.decoder import Decoder
from ..wire.requests import Endpoint, Request, ResponseHead
from ..wire.secrets import Secret, Token
from ..wire.strict_json import loads
from .faults import Fault, FaultServer, healthy
from .purity import watch_calls
from .recordings import Recording, record
from .trials import ASKED, CALL_ONE, CHATS, HANGING, KEY, hello, sandbox_tools

BASE_URL = "http://127.0.0.1:9/a/prefix"
SOON = 10.0  # seconds, after which what should have happened at once never will
HASTE = Timeouts(first_event=0.05, idle=0.05)  # for where nothing comes
LIMITS = Limits(event=2**20)
TYPED = (ProviderError, StreamError, TransportError)


@attrs.frozen
class Answer:
    """What the sandbox answered to a chat: under which key it was asked, and the bytes."""

    chat: Chat
    key: str | None
    recording: Recording

    @property
    def body(self) -> bytes:
        """Return the bytes."""
        return self.recording.body


@attrs.frozen
class Decoded:
    """What a decoder makes of an answer: its events, or those before its typed error.

    `marked` says that the wire has said the end before the body ended.
    """

    events: list[Event]
    reply: Reply
    error: ProviderKitError | None = None
    marked: bool = False

    @property
    def joined(self) -> list[Event]:
        """Return the events, neighbours of one kind as one: where they are cut is nobody's business."""
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
    """Return what a caller must not lose of an answer."""
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


@attrs.frozen
class Talk:
    """One turn of a conversation with the sandbox: its reply, the history behind it, and the requests it took."""

    reply: Reply
    messages: tuple[Message, ...]
    requests: list[Request]

    @property
    def kept(self) -> list[ProviderData]:
        """Return the data that the provider wants back, in order."""
        return data_of(self.messages)


class _Wire:
    """An extension that keeps the requests of a run."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    @hookimpl
    def observe(self) -> _Wire:
        return self

    def attempt(self, route: str, request: Request) -> None:
        """Take a request that is about to be sent."""
        self.requests.append(request)


LOOKED_UP = "mark-of-what-was-looked-up"


def _look_up(place: str) -> str:
    return LOOKED_UP


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
        """Return the default model, and one that is made up if there is none."""
        return self.hooks.resolve_model(None if self.info.default_model else "contract")

    @property
    def state(self) -> dict[str, str]:
        """Show what the plugin holds."""
        held = getattr(self.implementation, "__dict__", {}).items()
        return {name: repr(value) for name, value in held if not name.startswith("__")}

    def has(self, hook: str) -> bool:
        """Return whether the plugin has an optional hook."""
        return callable(getattr(self.implementation, hook, None))

    def takes(self, hook: str, argument: str) -> bool:
        """Return whether a hook of the plugin takes an argument."""
        return self.has(hook) and argument in signature(getattr(self.implementation, hook)).parameters

    def is_whole(self, *pair: str) -> bool:
        """Return whether the plugin has both hooks of a pair, or neither; raises AssertionError if it has one alone."""
        found = [hook for hook in pair if self.has(hook)]
        if len(found) == 1:
            raise AssertionError(f"{pair[0]} and {pair[1]} are a pair; one of them is missing: found {found[0]} alone")
        return bool(found)

    # Requests

    def request(self, chat: Chat, *, key: str | None = KEY, base_url: str = BASE_URL) -> Request:
        """Build a request of a chat as the core gives it to this provider."""
        keeps = "provider_data" in self.info.supports
        messages = own_messages(chat.messages, self.info.name, keeps=keeps)
        if messages != chat.messages:
            chat = attrs.evolve(chat, messages=messages)
        return self.hooks.build_request(chat, self.model, endpoint(base_url, key))

    def requests(self) -> list[Request]:
        """Build a request of each kind that goes to the base URL."""
        found = [self.request(hello(), key=key) for key in self.keys]
        listing = self.models_request()
        found += [] if listing is None else [listing]
        return [*found, self.embed_request(("one", "two"))] if self.has("build_embed_request") else found

    def models_request(
        self, after: str | None = None, base_url: str = BASE_URL, key: str | None = KEY
    ) -> Request | None:
        """Build the request for a page of models."""
        return self.hooks.build_models_request(endpoint(base_url, key), after)

    def embed_request(self, texts: tuple[str, ...]) -> Request:
        """Build the request for the vectors of texts."""
        return self.hooks.build_embed_request(texts, self.model, endpoint(), {})

    def token_request(self, base_url: str = BASE_URL, key: str | None = KEY) -> Request:
        """Build the request for a token."""
        return self.hooks.build_token_request(endpoint(base_url, key))

    @property
    def keys(self) -> tuple[str | None, ...]:
        """Return the keys under which requests can be made: the two may differ in more than a header."""
        with suppress(MissingAPIKey):
            self.request(hello(), key=None)
            return None, KEY
        return (KEY,)

    def chats(self) -> list[Callable[[], Chat]]:
        """Return what makes the chats that the provider serves."""
        return [hello, *(make for make in CHATS.values() if self.serves(make()))]

    def serves(self, chat: Chat) -> bool:
        """Return whether the core would let this chat pass."""
        return self.info.supports.issuperset(chat.features())

    def as_sent(self, request: Request) -> tuple[object, ...]:
        """Return what must be the same of two requests: all but the ids."""
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
        """Ask the sandbox again."""
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
        recording = await self._sent(self.request(chat, key=await self._key(url, key), base_url=url))
        if not 200 <= recording.status < 300 or not recording.body:
            raise AssertionError(f"the sandbox answers {chat!r} by {recording.status} {recording.body!r:.200}")
        return Answer(chat, key, in_pieces(recording))

    async def _sent(self, request: Request) -> Recording:
        request = merge_headers(request, endpoint())
        return await record(request.url, method=request.method, headers=request.headers, body=request.body or b"")

    async def _key(self, url: str, key: str | None) -> str | None:
        """Return what stands in for the key, if the plugin gets a token first."""
        if not self.has("build_token_request"):
            return key
        recording = await self._sent(self.token_request(url, key))
        return self.hooks.parse_token(ResponseHead(recording.status, recording.headers), recording.body).secret.reveal()

    def refusals(self) -> list[bytes]:
        """Return the bodies by which the sandbox refuses what is not a request of its wire."""
        return asyncio.run(self._refusals())

    async def _refusals(self) -> list[bytes]:
        async with Sandbox(self.implementation) as url:
            request = self.request(hello(), key=await self._key(url, KEY), base_url=url)
            found = [await self._sent(attrs.evolve(request, body=body)) for body in (b"{}", b"[", b"7")]
        return list({recording.body.strip(): None for recording in found if recording.status >= 400})

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
        """Return a fresh decoder, ready to be fed."""
        framed = ("Transfer-Encoding", "chunked")  # as the sandbox's own was
        head = ResponseHead(answer.recording.status, [*answer.recording.headers, framed])
        return Feeding(self.hooks.parse_stream(head, self.model))

    # Over loopback

    def options(self, url: str, key: str | None = KEY) -> dict[str, Any]:
        """Return the options of `run` that ask this provider there."""
        return {"provider": self.implementation, "model": self.model.name, "base_url": url, "api_key": key}

    def options_of_faults(self, url: str, key: str | None = KEY) -> dict[str, Any]:
        """Return those for a server with one answer to all that it is asked, so that it is not asked for a token."""
        options = self.options(url, key)
        if self.has("build_token_request"):
            plain = ModuleType(type(self.implementation).__name__)
            hooks = HOOKS - {"build_token_request", "parse_token"}
            vars(plain).update({hook: getattr(self.implementation, hook) for hook in filter(self.has, hooks)})
            options["provider"] = plain
        return options

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

    def conversation(self, key: str | None) -> list[Talk]:
        """Talk to the sandbox twice in a row, with a tool if the provider has tools, and return how both went."""
        return asyncio.run(self._conversation(key))

    async def _conversation(self, key: str | None) -> list[Talk]:
        uses_tools = "tools" in self.info.supports
        tool = attrs.evolve(sandbox_tools()[0], function=_look_up)
        question = CALL_ONE if uses_tools else hello().messages[0].text
        found = []
        async with Sandbox(self.implementation) as url, Client(retry=Retry(attempts=1)) as client:
            wire = _Wire()
            options = self._talking() | self.options(url, key)
            chat = client.run(tools=[tool] if uses_tools else None, extensions=[wire], **options)
            for _ in range(2):
                wire.requests = []
                reply = await chat.send(question)
                found.append(Talk(reply, chat.messages, wire.requests))
        return found

    def _talking(self) -> dict[str, Any]:
        """Return the option that lets the sandbox think, if it can be asked to."""
        if "reasoning" in self.info.supports:
            with suppress(UnsupportedFeature):
                self.request(CHATS["reasoning"]())
                return {"reasoning": "high"}
        return {}

    def embeddings(self, texts: tuple[str, ...]) -> Embeddings:
        """Ask the sandbox for the vectors of texts."""
        return asyncio.run(self._embeddings(texts))

    async def _embeddings(self, texts: tuple[str, ...]) -> Embeddings:
        async with Sandbox(self.implementation) as url, Client() as client:
            return await client.embed(texts, **self.options(url))

    def token(self) -> Token:
        """Ask the sandbox for a token."""
        return asyncio.run(self._token())

    async def _token(self) -> Token:
        async with Sandbox(self.implementation) as url:
            recording = await self._sent(self.token_request(url))
            return self.hooks.parse_token(ResponseHead(recording.status, recording.headers), recording.body)

    def refusal(self, chat: Chat) -> tuple[str | None, int]:
        """Return the option that is refused of a chat, and how many requests were sent."""
        return asyncio.run(self._refusal(chat))

    async def _refusal(self, chat: Chat) -> tuple[str | None, int]:
        given = {option: getattr(chat, option) for option in OPTIONS}
        server = FaultServer(healthy())
        option = None
        async with server as url, Client(retry=Retry(attempts=1)) as client:
            try:
                await client.run(chat.messages, **self.options_of_faults(url), **given)
            except UnsupportedFeature as error:
                option = error.option
            except TYPED:
                pass  # it was sent, and the server has no answer
        return option, len(server.log)

    def meet(self, answer: Answer, fault: Fault) -> tuple[ProviderKitError | None, Reply]:
        """Return the typed error, if any, and what came, where an answer meets a fault; no error shows the key."""
        return asyncio.run(self._meet(answer, fault))

    async def _meet(self, answer: Answer, fault: Fault) -> tuple[ProviderKitError | None, Reply]:
        timeouts = HASTE if fault in HANGING else Timeouts()
        server = FaultServer(fault, answer=answer.recording)
        async with server as url, Client(retry=Retry(attempts=1), limits=LIMITS, timeouts=timeouts) as client:
            run = client.run(answer.chat.messages, tools=answer.chat.tools, **self.options_of_faults(url, answer.key))
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
            run = client.run(answer.chat.messages, tools=answer.chat.tools, **self.options_of_faults(url, answer.key))
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

    def first_page(self) -> Page:
        """Ask the sandbox for the first page of its models; an empty one if the provider can't be asked."""
        return asyncio.run(self._first_page())

    async def _first_page(self) -> Page:
        async with Sandbox(self.implementation) as url:
            request = self.hooks.build_models_request(endpoint(url, await self._key(url, KEY)), None)
            if request is None:
                return Page(())
            recording = await self._sent(request)
            return self.hooks.parse_models(ResponseHead(recording.status, recording.headers), recording.body)

    # Purity

    def build_each_request(self) -> None:
        """Ask each hook that builds a request."""
        for make, key in product(self.chats(), self.keys):
            with suppress(UnsupportedFeature):
                self.request(make(), key=key)
        self.requests()
        if self.has("build_token_request"):
            self.token_request()

    def read_each_answer(self, answers: Sequence[Answer]) -> None:
        """Ask each hook that reads an answer."""
        for answer in answers:
            self.decode(answer)
        self.hooks.parse_error(ResponseHead(500), b'{"error": "no"}')
        for parse in self.parsers():
            with suppress(*TYPED):
                parse(b"{}")

    def parsers(self) -> list[Callable[[bytes], object]]:
        """Return what reads the bodies that come whole."""
        head = ResponseHead(200)
        found: dict[str, Callable[[bytes], object]] = {
            "parse_models": lambda body: self.hooks.parse_models(head, body),
            "parse_embeddings": lambda body: self.hooks.parse_embeddings(head, body, 1),
            "parse_token": lambda body: self.hooks.parse_token(head, body),
        }
        return [parse for hook, parse in found.items() if self.has(hook)]

    def impure_calls(self, answers: Sequence[Answer]) -> list[str]:
        """Return the clocks and draws that hooks have called; ids to make are a reason to, for requests alone."""
        with watch_calls() as found:
            assemble(self.plugin, (Plugin("contract", _Wire()),))  # asks `describe`
            self.read_each_answer(answers)
            if not self.ids:
                self.build_each_request()
        return found

    @contextmanager
    def without_world(self) -> Iterator[None]:
        """Let every call fail that reaches for the world."""
        with ExitStack() as stack:
            for name in _WORLD:
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
    with ExitStack() as stack:
        for module in ("plan", "targets"):
            stack.enter_context(patch(f"providerkit.engine.{module}.find_key", _given_key))
        stack.enter_context(patch.dict(os.environ))
        os.environ.pop(EXTENSIONS_VARIABLE, None)
        yield


def _given_key(info: ProviderInfo, given: str | None = None) -> Secret | None:
    return Secret(given) if given else None


def endpoint(base_url: str = BASE_URL, key: str | None = KEY) -> Endpoint:
    """Return where to ask, and as whom."""
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


_EVENT = (b"data:", b"event:", b"id:", b":")  # what a server-sent event begins with


def like(piece: bytes, value: bytes) -> bytes:
    """Put a JSON value on the wire as this piece of it was: as a server-sent event, or as a line."""
    return b"data: " + value + b"\n\n" if piece.startswith(_EVENT) else value + b"\n"


def events_of(body: bytes) -> list[bytes]:
    """Return an answer cut behind each of its events or lines, however its server wrote them."""
    end = b"\n\n" if body.startswith(_EVENT) else b"\n"
    *events, rest = body.replace(b"\r\n", b"\n").split(end)
    return [*(event + end for event in events), *([rest] if rest else [])]


def in_an_answer(pieces: Sequence[bytes], value: bytes) -> list[bytes]:
    """Return the ways to put a JSON value into an answer: as its pieces are, and as an event of the type error."""
    value = json.dumps(json.loads(value)).encode()
    typed = any(piece.startswith(b"event:") for piece in pieces)
    return [like(pieces[0], value), *([b"event: error\ndata: " + value + b"\n\n"] if typed else [])]
