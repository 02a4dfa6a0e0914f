"""Parrots that break the contract, each in one way: what catches it, and in which words."""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any

import attrs
from aiohttp import web
from providerkit_parrot import Parrot

from providerkit import (
    DecoderWrapper,
    EventStream,
    Finish,
    JSONBody,
    Model,
    ProviderError,
    ProviderInfo,
    Request,
    StreamMalformed,
    TextDelta,
    hookimpl,
    loads,
)


@attrs.frozen
class Broken:
    """Say which check catches a plugin, in which of its cases (none where it has one only), and what it says."""

    plugin: type
    check: str
    says: str
    case: str | None


BROKEN: list[Broken] = []


def breaks(check: str, says: str, case: str | None = None) -> Any:
    """Enter a plugin into the table."""

    def entered(plugin: type) -> type:
        BROKEN.append(Broken(plugin, f"test_{check}", says, case))
        return plugin

    return entered


KNOWN = {"default_base_url": "https://parrot.example", "default_model": "small", "api_key_env": "PARROT_API_KEY"}


def described(**facts: Any) -> Any:
    return hookimpl(lambda self: ProviderInfo("parrot", **(KNOWN | facts)), specname="describe")


def requested(change: Any, **facts: Any) -> type:
    """Make a Parrot whose request `change` makes of its body, chat and endpoint: another body, and further headers."""

    class Requesting(Parrot):
        describe = described(supports={"system", "history"}, **facts)

        @hookimpl
        def build_request(self, chat, model, endpoint):
            body = {"messages": [{"role": turn.role, "content": turn.text} for turn in chat.messages]}
            body["messages"] += [{"role": "system", "content": chat.system}] if chat.system else []
            headers = {"Authorization": f"Bearer {endpoint.api_key.reveal()}"} if endpoint.api_key else {}
            body, more = change(body, chat, endpoint)
            return Request.json(endpoint.url("/chat"), body, headers | more)

    return Requesting


def serving(*pieces: bytes, content_type: str = "text/event-stream", status: int = 200) -> Any:
    """Make a sandbox that answers by these bytes."""

    async def say(request):
        response = web.StreamResponse(status=status, headers={"Content-Type": content_type})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    def sandbox(self):
        app = web.Application()
        app.router.add_post("/chat", say)
        return app

    return hookimpl(sandbox)


def text_of(data: bytes, event: str = "") -> list[Any]:
    value = loads(data)
    if isinstance(value, dict) and value.get("error"):
        raise ProviderError("no")
    return [TextDelta(value["text"])] if isinstance(value, dict) and isinstance(value.get("text"), str) else []


WORDS = [b'data: {"text": "Hello"}\n\n', b'data: {"text": " you"}\n\n', b'data: {"text": " there"}\n\n']
DONE = b"data: [DONE]\n\n"


class Marked(Parrot):
    """Say three words, and the end."""

    sandbox = serving(*WORDS, DONE)


class Unmarked(Parrot):
    """Say three words; the end of the body is the end of the answer."""

    sandbox = serving(*WORDS)

    @hookimpl
    def parse_stream(self, head):
        return EventStream(text_of, end=Finish("stop"))


# What it is


@breaks("it_loads", "it has no hook")
class Bare:
    pass


@breaks("it_loads", "parse_error is async")
class Sleepy(Parrot):
    @hookimpl
    async def parse_error(self, head, body):
        return None


@breaks("it_loads", "did you mean 'parse_error'")
class Misspelt(Parrot):
    @hookimpl
    def parse_eror(self, head, body):
        return None


@breaks("it_is_described_always_alike", "then ProviderInfo")
class Changing(Parrot):
    count = 0

    @hookimpl
    def describe(self):
        Changing.count += 1
        return ProviderInfo("parrot", default_base_url="https://parrot.example", default_model=f"small-{self.count}")


@breaks("it_is_described_always_alike", "base_url is 'parrot.example'")
class Homeless(Parrot):
    describe = described(default_base_url="parrot.example")


@breaks("a_model_is_never_taken_for_another", "a name that it does not know is taken for 'small'")
class Stubborn(Parrot):
    @hookimpl
    def resolve_model(self, name):
        return Model("small")


@breaks("a_model_is_never_taken_for_another", "describe() says 'small'")
class Undecided(Parrot):
    @hookimpl
    def resolve_model(self, name):
        return Model(name or "large")


@breaks("a_model_is_never_taken_for_another", "'fresh' is resolved in two ways")
class Fresh(Parrot):
    describe = described(models=("fresh",))

    @hookimpl
    def resolve_model(self, name):
        return Model(f"{name}-{uuid.uuid4()}" if name == "fresh" else name or "small")


# What it asks


@breaks("the_same_chat_makes_the_same_request", "the same chat was sent as")
class Counting(requested(lambda body, chat, endpoint: (body | {"id": uuid.uuid4().hex}, {}))):
    pass


@breaks("the_same_chat_makes_the_same_request", "the same chat was sent as")
class Visiting(
    requested(lambda body, chat, endpoint: (body, {} if endpoint.api_key else {"Visitor-ID": uuid.uuid4().hex}))
):
    """Makes up who asks, where nobody has said it."""


@breaks("the_same_chat_makes_the_same_request", "the same chat was sent as")
class Half(requested(lambda body, chat, endpoint: (body | {"id": uuid.uuid4().hex}, {"X-ID": uuid.uuid4().hex}))):
    """Declares one of its ids only."""

    wire_ids = ("ID",)


@breaks("the_same_chat_makes_the_same_request", "attributes are others than before")
class Hoarding(Parrot):
    def __init__(self):
        self.chats = []

    @hookimpl
    def build_request(self, chat, model, endpoint):
        self.chats.append(chat)
        return Parrot.build_request(self, chat, model, endpoint)


@breaks("hooks_do_no_input_or_output", "a hook has called time.time")
class Timed(requested(lambda body, chat, endpoint: (body | {"day": int(time.time() // 86400)}, {}))):
    pass


@breaks("hooks_do_no_input_or_output", "a hook has called builtins.open")
class Reading(Parrot):
    @hookimpl
    def parse_stream(self, head):
        with open(os.devnull, encoding="utf-8") as file:  # noqa: PTH123 - whichever way
            file.read()
        return EventStream(text_of)


def _spoil(body, chat, endpoint):
    for value in chat.extra.values():
        value["nested"].append("more")
    return {**body, **chat.extra}, {}


@breaks("what_it_is_given_is_never_changed", "build_request was given")
class Spoiling(requested(_spoil)):
    describe = described(supports={"system", "history", "extra"})


@breaks("requests_go_to_the_base_url", "https://parrot.example/chat")
class Fixed(Parrot):
    @hookimpl
    def build_request(self, chat, model, endpoint):
        return Request.json("https://parrot.example/chat", {"text": chat.messages[-1].text})


@breaks("requests_go_to_the_base_url", "/models")
class HalfFixed(Parrot):
    @hookimpl
    def build_models_request(self, endpoint):
        return Request("GET", "https://parrot.example/models")


@breaks("a_key_is_sent_in_a_header_and_shown_nowhere", "the key is in the address")
class Logged(Parrot):
    @hookimpl
    def build_request(self, chat, model, endpoint):
        return Request.json(endpoint.url(f"/chat?key={endpoint.api_key and endpoint.api_key.reveal()}"), {})


@breaks("a_key_is_the_callers", "AttributeError: 'NoneType' object has no attribute 'reveal'")
class Assuming(Parrot):
    @hookimpl
    def build_request(self, chat, model, endpoint):
        return Request.json(endpoint.url("/chat"), {}, {"Key": endpoint.api_key.reveal()})


@breaks("a_key_is_sent_in_a_header_and_shown_nowhere", "the key is in the body")
class Telling(
    requested(lambda body, chat, endpoint: (body | {"key": endpoint.api_key and endpoint.api_key.reveal()}, {}))
):
    pass


@breaks("a_key_is_sent_in_a_header_and_shown_nowhere", "the plugin keeps the key")
class Keeping(Parrot):
    @hookimpl
    def build_request(self, chat, model, endpoint):
        self.key = endpoint.api_key and endpoint.api_key.reveal()
        return Parrot.build_request(self, chat, model, endpoint)


@breaks("a_key_is_the_callers", "the plugin reads the environment itself")
class Grabbing(requested(lambda body, chat, endpoint: (body, {"X-Key": os.environ["PARROT_API_KEY"]}))):
    pass


@breaks("a_key_is_the_callers", "with a key it sends the same headers as without")
class Keyless(Parrot):
    @hookimpl
    def build_request(self, chat, model, endpoint):
        return Request.json(endpoint.url("/chat"), {})


@breaks("a_history_is_sent_whole_or_refused", "of a chat of system the request has lost word-0-of-system")
class Forgetful(
    requested(
        lambda body, chat, endpoint: ({"messages": [turn.text for turn in chat.turns], "system": chat.system}, {})
    )
):
    pass


@breaks("a_history_is_sent_whole_or_refused", "IndexError")
class Narrow(requested(lambda body, chat, endpoint: (body | {"before": chat.turns[0].text}, {}))):
    pass


@breaks("what_it_supports_is_sent_or_refused", "`supports` lists 'temperature'")
class Boasting(requested(lambda body, chat, endpoint: (body, {}))):
    describe = described(supports={"system", "history", "temperature"})


# What it reads


@breaks("its_sandbox_answers", "brings no sandbox")
class Alone(Parrot):
    @hookimpl
    def sandbox(self):
        return None


@breaks("its_sandbox_answers", "the answer is empty")
class Silent(Parrot):
    sandbox = serving(b"data: {}\n\n", DONE)


@breaks("its_sandbox_answers", "is not proven")
class Doubtful(Unmarked):
    @hookimpl
    def sandbox(self):
        async def say(request):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Content-Encoding": "odd"})
            await response.prepare(request)
            await response.write(b"".join(WORDS))
            return response

        app = web.Application()
        app.router.add_post("/chat", say)
        return app


@breaks("its_sandbox_answers", "ServerError")
class Refusing(Parrot):
    sandbox = serving(b"{}", status=500)


@breaks("every_answer_ends_with_one_finish", "reasons are stop, length")
class Foreign(Marked):
    @hookimpl
    def parse_stream(self, head):
        return EventStream(text_of, end=Finish("STOP"))


@breaks("every_answer_ends_with_one_finish", "close() gave no Finish and raised nothing")
class Endless(Marked):
    @hookimpl
    def parse_stream(self, head):
        return Plain()


class Plain:
    """Give text, and no end."""

    ended = False

    def feed(self, data):
        return [TextDelta(data.decode("utf-8", "replace"))] if data else []

    def close(self):
        return []


@breaks("every_answer_ends_with_one_finish", "a Finish that is not its last event")
class Twofold(Marked):
    @hookimpl
    def parse_stream(self, head):
        return Twice(EventStream(text_of))


class Twice(DecoderWrapper):
    def transform(self, events):
        return [event for event in events for _ in range(2)]


@breaks("every_answer_ends_with_one_finish", "the sandbox's answer is an error")
class Deaf(Marked):
    @hookimpl
    def parse_stream(self, head):
        return JSONBody(lambda value: [])


@breaks("an_answer_cut_at_any_byte_gives_the_same_events", "given: [b")
class Hasty(Marked):
    """Takes each piece for an event."""

    @hookimpl
    def parse_stream(self, head):
        return Pieces()


class Pieces(Plain):
    def feed(self, data):
        if data == DONE:
            return [Finish("stop")]
        return text_of(data[6:]) if data.startswith(b'data: {"') and data.endswith(b"}\n\n") else []

    def close(self):
        return [Finish("stop")]


@breaks("an_answer_that_stops_early_is_no_success", "without its end it is a success")
class Trusting(Marked):
    """Takes the end of the body for the end of the answer, though its wire says the end."""

    @hookimpl
    def parse_stream(self, head):
        return EventStream(text_of, end=Finish("stop"))


@breaks("an_answer_that_stops_early_is_no_success", "without its end it is a success")
class Early(Unmarked):
    """Takes the first word for the end."""

    @hookimpl
    def parse_stream(self, head):
        return EventStream(lambda data, event: [*text_of(data), Finish("stop")])


@breaks("an_answer_that_stops_early_is_no_success", "JSONDecodeError")
class Raw(Parrot):
    """Parses what is there at the end in its own way."""

    sandbox = serving(b'{"text": "Hello"}', content_type="application/json")

    @hookimpl
    def parse_stream(self, head):
        return Whole()


class Whole(Plain):
    def __init__(self):
        self.body = b""

    def feed(self, data):
        self.body += data
        return []

    def close(self):
        return [TextDelta(json.loads(self.body)["text"]), Finish("stop")]


@breaks("every_decoder_is_fresh", "beside others it is")
class Shared(Marked):
    """Holds in the plugin what belongs to one answer."""

    @hookimpl
    def parse_stream(self, head):
        self.seen = set()
        return EventStream(self.parse)

    def parse(self, data, event):
        first = data not in self.seen
        self.seen.add(data)
        return text_of(data) if first else []


@breaks("an_answer_that_is_garbled_breaks_nothing", "KeyError: 'text'", "says(pieces=(b'data")
@breaks("what_it_does_not_expect_breaks_nothing", "KeyError: 'text'")
class Strict(Marked):
    @hookimpl
    def parse_stream(self, head):
        return EventStream(lambda data, event: [TextDelta(loads(data)["text"])])


@breaks("an_answer_that_is_none_is_no_success", 'given: b\'data: {"error"')
class Careless(Unmarked):
    """Passes over errors at status 200."""

    @hookimpl
    def parse_stream(self, head):
        return EventStream(lambda data, event: [] if b"error" in data else text_of(data), end=Finish("stop"))


@breaks("errors_of_any_kind_are_read_or_left", "TypeError: string indices")
class Literal(Parrot):
    @hookimpl
    def parse_error(self, head, body):
        return ProviderError.from_status(head.status, loads(body)["error"]["message"])


@breaks("errors_of_any_kind_are_read_or_left", "has another status")
class Mistaken(Parrot):
    @hookimpl
    def parse_error(self, head, body):
        return ProviderError("no", status=418)


@breaks("a_status_is_its_error", "and no RateLimited", "429")
class Plainspoken(Parrot):
    @hookimpl
    def parse_error(self, head, body):
        return ProviderError("no")


@breaks("a_status_is_its_error", "an error shows the key: Talkative", "429")
class Leaking(Keeping):
    @hookimpl
    def parse_error(self, head, body):
        key = self.key

        class Talkative(type(ProviderError.from_status(head.status, "no"))):
            def parts(self):  # the core redacts what an error holds, and this one holds nothing
                yield key

        return Talkative("no", status=head.status)


@breaks("a_fault_that_leaves_no_answer_is_a_typed_error", "it is a success", "page")
class Gullible(Unmarked):
    @hookimpl
    def parse_stream(self, head):
        return Satisfied()


class Satisfied(Plain):
    def close(self):
        return [Finish("stop")]


@breaks("what_http_allows_changes_no_answer", "it is StreamMalformed('no frame')", "unframed")
class Particular(Marked):
    @hookimpl
    def parse_stream(self, head):
        if not head.framed:
            raise StreamMalformed("no frame")
        return EventStream(text_of)


@breaks("an_answer_that_breaks_off_is_no_success", "it is a success: ('Hello'", "close(after=1)")
class Impatient(Marked):
    """Says after any word that the wire has said the end."""

    @hookimpl
    def parse_stream(self, head):
        return Ended(EventStream(text_of, end=Finish("stop")))


class Ended(DecoderWrapper):
    ended = True


@breaks("models_are_listed", "are a pair; one of them is missing")
class Lonely(Parrot):
    parse_models = None


@breaks("models_are_listed", "the models are ['one', 'one']")
class Repeating(Parrot):
    @hookimpl
    def parse_models(self, head, body):
        return [Model("one"), Model("one")]


@breaks("models_are_listed", "the sandbox lists no model")
class Listless(Parrot):
    @hookimpl
    def parse_models(self, head, body):
        return []


@breaks("a_list_of_models_that_is_none_is_an_error", "KeyError: 'data'")
class Sure(Parrot):
    @hookimpl
    def parse_models(self, head, body):
        return [Model(item["id"]) for item in loads(body)["data"]]
