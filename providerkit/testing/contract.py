"""The contract of a provider, as a pytest class: one method a law.

    from providerkit.testing import ProviderContract
    from providerkit_parrot import Parrot

    class TestParrot(ProviderContract):
        provider = Parrot()

It asks the plugin's hooks with values and bytes, and its sandbox over loopback; nothing
else is needed, and no network. The methods are plain functions, so it makes no difference
whether pytest-asyncio is there. A check that fails says what the contract wants, what it
found, and which section of "Writing a provider" tells more.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import getdoc
from itertools import product
from typing import ClassVar, ParamSpec
from unittest.mock import patch

import pytest

from ..chat.events import Finish
from ..chat.options import FEATURES, OPTIONS, Chat
from ..chat.replies import Reply
from ..errors import (
    InvalidMessages,
    MissingAPIKey,
    ProviderError,
    ProviderKitError,
    StreamError,
    UnknownModel,
    UnsupportedFeature,
)
from ..plugins.assembly import assemble
from ..plugins.hookspecs import hookimpl
from ..plugins.loading import find_provider
from ..plugins.plugin import Plugin
from ..wire.requests import ResponseHead
from . import faults, trials
from .faults import Fault
from .subject import BASE_URL, Answer, Decoded, Subject, content, endpoint, like, undisturbed
from .trials import CHATS, KEY, OTHER_KEY, hello

P = ParamSpec("P")

PAGE = "docs/writing-a-provider.md"
LONGEST = 1000  # characters of what was found, which may be a whole answer
REASONS = ("stop", "length", "tool_calls", "content_filter", "pause", "error", "other")


def law(section: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a check that fails in words: what its docstring wants, what was found, and the section that explains it."""

    def told(check: Callable[P, None]) -> Callable[P, None]:
        @wraps(check)
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                with undisturbed():
                    check(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the plugin's code runs here, and may raise anything
                found = _found(error)
            else:
                return
            wants = " ".join((getdoc(check) or "").split())
            words = f"The contract wants: {wants}\nIt found: {found}\nTo read: {PAGE}#{section}"
            pytest.fail(words, pytrace=False)

        checked.section = section  # type: ignore[attr-defined]  # for who lists the laws
        return checked

    return told


def _found(error: Exception) -> str:
    notes = getattr(error, "__notes__", [])
    if isinstance(error, AssertionError):
        return "\n".join(map(_shortened, [str(error), *notes]))
    if isinstance(error, ProviderKitError):
        return "\n".join([f"{type(error).__name__}: {error}", *notes])
    return "\n" + "".join(traceback.format_exception(error)).rstrip()


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def demand(holds: object, found: str) -> None:
    """Fail with what was found, unless it holds."""
    if not holds:
        raise AssertionError(found)


@contextmanager
def given(data: object) -> Iterator[None]:
    """Say with what is raised what the plugin was given."""
    try:
        yield
    except Exception as error:
        error.add_note(f"given: {data!r}")
        raise


class ProviderContract:
    """Hold a provider to the contract; a subclass says which: `provider = Koala()`, or the name of an installed one.

    The plugin brings a sandbox, whose answers are short: each is cut at every byte. Where
    its wire demands ids that are new with every request, `wire_ids` of the plugin names the
    headers, and the fields of a JSON body, that hold them: `wire_ids = ("Visitor-ID",)`.
    """

    provider: ClassVar[object]

    # What it is

    @law("what-goes-wrong")
    def test_it_loads(self) -> None:
        """A plugin has the required hooks, marked, spelt and written as hooks are."""
        Subject(self.provider)

    @law("packaging")
    def test_importing_it_does_no_work(self) -> None:
        """Importing a plugin reaches no network, starts nothing, writes nothing, and brings no aiohttp."""
        found = self._subject.imported()
        demand(not found["did"], f"the import does this: {', '.join(found['did'])}")
        demand(not found["aiohttp"], "the import brings aiohttp; import it where the sandbox is made")

    @law("the-four-questions")
    def test_it_is_described_always_alike(self) -> None:
        """A provider is described always alike, with an address that paths can be appended to."""
        info = self._subject.info
        again = assemble(find_provider(self.provider), (Plugin("contract", _Passing()),)).info
        demand(info == again, f"describe() gave {info!r}, then {again!r}")
        if info.default_base_url is not None:
            endpoint(info.default_base_url)

    @law("the-four-questions")
    def test_a_model_is_never_taken_for_another(self) -> None:
        """The default and the known models are resolved; a name that is not known is passed through, or refused."""
        resolve, info = self._subject.hooks.resolve_model, self._subject.info
        default = resolve(None)
        demand(
            info.default_model is None or resolve(info.default_model) == default,
            f"without a name {default!r} is meant, but describe() says {info.default_model!r}",
        )
        for name in info.models:
            demand(resolve(name) == resolve(name), f"{name!r} is resolved in two ways")
        with suppress(UnknownModel):
            model = resolve("contract/no-such-model:1")
            demand(model.name != default.name, f"a name that it does not know is taken for {model.name!r}")

    # What it asks

    @law("the-four-questions")
    def test_the_same_chat_makes_the_same_request(self) -> None:
        """A request depends on its arguments alone, but for the ids that `wire_ids` names; no call leaves a trace."""
        it = self._subject
        before = it.state
        for make, key in product(it.chats(), it.keys):
            with suppress(UnsupportedFeature):
                first = it.as_sent(it.request(make(), key=key))
                it.request(hello(), key=OTHER_KEY)
                again = it.as_sent(it.request(make(), key=key))
                demand(first == again, f"the same chat was sent as {first!r}, then as {again!r}".replace(KEY, "***"))
        demand(before == it.state, "the plugin's attributes are others than before")

    @law("the-four-questions")
    def test_hooks_do_no_input_or_output(self) -> None:
        """Hooks are pure: no files, no sockets, no processes, no threads, no waiting, no clock (but for `wire_ids`)."""
        it = self._subject
        answers = self._answers(it)
        it.ask_each_hook(answers)  # a hook may import what it needs, once
        with it.without_world():
            it.ask_each_hook(answers)

    @law("the-four-questions")
    def test_what_it_is_given_is_never_changed(self) -> None:
        """Messages and options are the caller's, down to what is within them."""
        it = self._subject
        for make in it.chats():
            chat = make()
            with suppress(UnsupportedFeature):
                it.request(chat)
            demand(chat == make(), f"build_request was given {make()!r} and left {chat!r}")

    @law("the-four-questions")
    def test_requests_go_to_the_base_url(self) -> None:
        """Addresses are made by `endpoint.url(path)`, so that `base_url=` works."""
        for request in self._subject.requests():
            demand(request.url.startswith(f"{BASE_URL}/"), f"with base_url={BASE_URL!r} it is {request!r}")

    @law("the-four-questions")
    def test_a_key_is_sent_in_a_header_and_shown_nowhere(self) -> None:
        """A key goes into a header and nowhere else, and no repr shows it."""
        it = self._subject
        for request in it.requests():
            demand(KEY not in request.url, "the key is in the address, which servers and proxies log")
            demand(KEY.encode() not in (request.body or b""), "the key is in the body")
        demand(KEY not in repr(it.state), "the plugin keeps the key, where a repr shows it")

    @law("the-four-questions")
    def test_a_key_is_the_callers(self) -> None:
        """The key that is sent is the one of `endpoint`: where `api_key_env` names a variable, the core has read it."""
        it = self._subject
        variable = it.info.api_key_env
        if variable is not None:
            with patch.dict(os.environ, {variable: OTHER_KEY}), suppress(MissingAPIKey):
                bare, keyed = it.request(hello(), key=None), it.request(hello())
                demand(OTHER_KEY not in repr(dict(bare.headers)), "the plugin reads the environment itself")
                demand(dict(bare.headers) != dict(keyed.headers), "with a key it sends the same headers as without")

    @law("the-four-questions")
    def test_a_history_is_sent_whole_or_refused(self) -> None:
        """Every message of a chat is in the request, or the chat is InvalidMessages: nothing is lost in silence."""
        it = self._subject
        for chat, key in product(filter(it.serves, trials.histories()), it.keys):
            with suppress(InvalidMessages, UnsupportedFeature):
                sent = (it.request(chat, key=key).body or b"").decode("utf-8", "replace")
                lost = [word for word in trials.words_of(chat) if word not in sent]
                roles = " ".join(message.role for message in chat.messages)
                demand(not lost, f"of a chat of {roles} the request has lost {', '.join(lost)}")
        it.request(hello())  # these are in order everywhere, and are not refused
        for feature in {"system", "history"} & it.info.supports:
            it.request(CHATS[feature]())

    @law("the-four-questions")
    def test_what_it_supports_is_sent_or_refused(self) -> None:
        """What `supports` lists changes the request, or its value is refused as UnsupportedFeature."""
        it = self._subject
        for option, key in product(sorted(it.info.supports.intersection(OPTIONS)), it.keys):
            with suppress(UnsupportedFeature):
                chat = CHATS[option]()
                without = it.as_sent(it.request(Chat(chat.messages), key=key))
                same = it.as_sent(it.request(chat, key=key)) == without
                demand(not same, f"`supports` lists {option!r}, but with it and without it the request is the same")

    @law("the-four-questions")
    def test_what_it_does_not_support_is_refused_unsent(self) -> None:
        """An option that `supports` does not list is UnsupportedFeature before anything is sent."""
        it = self._subject
        for feature in sorted(FEATURES - it.info.supports - {"reasoning"}):
            refused, sent = it.refusal(CHATS[feature]())
            demand(refused is not None and not sent, f"{feature!r} is sent")

    # What it reads

    @law("a-sandbox")
    def test_its_sandbox_answers(self) -> None:
        """The sandbox answers over loopback, async and blocking, with some content and a proven end."""
        awaited, waited, text = self._subject.replies()
        for reply in (awaited, waited):
            demand(reply.text or reply.tool_calls, f"the answer is empty: {reply!r}")
            demand(reply.text == text, f"the text is {reply.text!r}, and in pieces {text!r}")
            demand(reply.proven, "the end of the answer is not proven: say the end, or let HTTP frame the body")

    @law("decoders")
    def test_every_answer_ends_with_one_finish(self) -> None:
        """A decoder gives events, exactly one Finish among them, last, with a reason that users know."""
        for _, whole in self._decoded():
            demand(whole.error is None, f"the sandbox's answer is an error: {whole.error!r}")
            last = whole.events[-1]
            demand(isinstance(last, Finish) and last.reason in REASONS, f"{last!r}; reasons are {', '.join(REASONS)}")

    @law("decoders")
    def test_an_answer_cut_at_any_byte_gives_the_same_events(self) -> None:
        """Bytes come cut anywhere; the events are the same."""
        it = self._subject
        for answer, whole in self._decoded():
            body = answer.body
            for pieces in (
                [body],
                [bytes([byte]) for byte in body],
                *([body[:at], body[at:]] for at in range(len(body))),
            ):
                with given(pieces):
                    found = it.decode(answer, pieces)
                    demand(found.joined == whole.joined, f"{found.error or found.joined!r}, and not {whole.joined!r}")

    @law("decoders")
    def test_an_answer_that_stops_early_is_no_success(self) -> None:
        """An answer that stops anywhere is an error; where its wire has no mark of its end, it is not proven."""
        it = self._subject
        for answer, whole in self._decoded():
            for end in range(len(answer.body)):
                with given(answer.body[:end]):
                    _demand_no_success(it.decode(answer, [answer.body[:end]]), whole)

    @law("decoders")
    def test_every_decoder_is_fresh(self) -> None:
        """parse_stream gives a new decoder each time: answers that come at once do not mix."""
        it = self._subject
        for answer, whole in self._decoded():
            it.feeding(answer).feed(answer.recording.pieces[0])  # and nobody reads on
            both = it.feeding(answer), it.feeding(answer)
            for piece in answer.recording.pieces:
                for feeding in both:
                    feeding.feed(piece)
            for feeding in both:
                feeding.close()
                demand(feeding.events == whole.events, f"beside others it is {feeding.events!r}, not {whole.events!r}")

    @law("errors")
    def test_what_it_does_not_expect_breaks_nothing(self) -> None:
        """JSON of another shape, and bodies of another kind, are passed over, or a ProviderError or StreamError."""
        it = self._subject
        for answer in self._answers(it):
            pieces = answer.recording.pieces
            odd = [
                [*pieces[:place], like(pieces[place], value), *pieces[place:]]
                for value in (*trials.VALUES, trials.ERROR)
                for place in sorted({0, len(pieces) // 2, len(pieces) - 1})
            ]
            for body in [[body] for body in trials.BODIES] + odd:
                with given(body):
                    it.decode(answer, body)

    @law("errors")
    def test_an_answer_that_is_none_is_no_success(self) -> None:
        """No bytes, a page of HTML, and an error at status 200 are errors, each where an answer should be."""
        it = self._subject
        for answer in self._answers(it):
            error = like(answer.recording.pieces[0], trials.ERROR)
            for body in (b"", b" \r\n", b"<!doctype html><title>Log in</title>", trials.ERROR, error):
                with given(body):
                    demand(it.decode(answer, [body]).error, "it is a success")

    @law("errors")
    def test_errors_of_any_kind_are_read_or_left(self) -> None:
        """parse_error takes any body at any status, and gives a ProviderError or None."""
        parse_error = self._subject.hooks.parse_error
        for status in (200, *trials.STATUSES):
            for body in trials.BODIES:
                with given(body):
                    error = parse_error(ResponseHead(status), body)
                    demand(error is None or error.status in (None, status), f"{error!r} has another status")

    @law("errors")
    @pytest.mark.parametrize("status", trials.STATUSES)
    def test_a_status_is_its_error(self, status: int) -> None:
        """A status is the error of that status where the body does not say more; the provider is named."""
        it = self._subject
        wanted = type(ProviderError.from_status(status, ""))
        for body in (b"", b"<html>Sorry</html>"):
            error, _ = it.meet(self._answers(it)[0], faults.status(status, body=body))
            demand(isinstance(error, wanted), f"at {status} it is {error!r}, and no {wanted.__name__}")
            named = getattr(error, "status", None), getattr(error, "provider", None)
            demand(named == (status, it.info.name), f"the error names status and provider as {named!r}")

    @law("errors")
    @pytest.mark.parametrize("fault", trials.ENDING + trials.HANGING, ids=trials.named)
    def test_a_fault_that_leaves_no_answer_is_a_typed_error(self, fault: Fault) -> None:
        """Where no answer comes, it is a ProviderError, TransportError or StreamError."""
        for _, error, _ in self._met(fault):
            demand(error is not None, "it is a success")

    @law("decoders")
    @pytest.mark.parametrize("fault", trials.HARMLESS, ids=trials.named)
    def test_what_http_allows_changes_no_answer(self, fault: Fault) -> None:
        """However HTTP brings an answer, it is the same."""
        for whole, error, reply in self._met(fault):
            demand(error is None, f"it is {error!r}")
            demand(content(reply) == content(whole), f"it is {content(reply)!r}, not {content(whole)!r}")

    @law("decoders")
    @pytest.mark.parametrize("fault", trials.CUTTING, ids=trials.named)
    def test_an_answer_that_breaks_off_is_no_success(self, fault: Fault) -> None:
        """An answer that breaks off is a typed error that holds what had come, or has not lost any of its content."""
        for whole, error, reply in self._met(fault):
            unproven = not reply.proven and fault.name in trials.IN_GOOD_ORDER
            lost = error is None and not unproven and content(reply) != content(whole)
            demand(not lost, f"it is a success: {content(reply)!r}")
            demand(_begins(whole.text, reply.text), f"its text is {reply.text!r}, of {whole.text!r}")

    @law("errors")
    @pytest.mark.parametrize("fault", trials.GARBLING, ids=trials.named)
    def test_an_answer_that_is_garbled_breaks_nothing(self, fault: Fault) -> None:
        """An answer that is garbled is read as it is, or is a typed error."""
        for _ in self._met(fault):
            pass  # it is typed, else it would have been raised

    # What else it does

    @law("listing-models")
    def test_models_are_listed(self) -> None:
        """The pair that lists models is whole, and the sandbox answers it; the names are distinct."""
        it = self._subject
        pair = {it.has(name) for name in ("build_models_request", "parse_models")}
        demand(len(pair) == 1, "build_models_request and parse_models are a pair; one of them is missing")
        names = [model.name for model in it.models()]
        demand(all(names) and len(set(names)) == len(names), f"the models are {names}")
        demand(names or pair == {False}, "the sandbox lists no model")

    @law("listing-models")
    def test_a_list_of_models_that_is_none_is_an_error(self) -> None:
        """parse_models takes any body, and gives models, or raises a ProviderError or StreamError."""
        it = self._subject
        if it.has("parse_models"):
            for body in (*trials.BODIES, *trials.NO_MODELS):
                with given(body), suppress(ProviderError, StreamError):
                    it.hooks.parse_models(ResponseHead(200), body)

    @law("testing")
    @pytest.mark.parametrize("fault", [faults.silence(), faults.stall(after=1)], ids=trials.named)
    def test_who_cancels_closes_the_connection(self, fault: Fault) -> None:
        """Who is cancelled, before the answer or within it, has its connection closed."""
        it = self._subject
        closed = it.cancel(self._answers(it)[0], fault)
        demand(closed in ("FIN", "RST"), f"it was closed by {closed}")

    # Whom to ask

    @property
    def _subject(self) -> Subject:
        try:
            return Subject(self.provider)
        except ProviderKitError:
            pytest.skip("it does not load: see test_it_loads")

    def _answers(self, it: Subject) -> tuple[Answer, ...]:
        try:
            return it.answers()
        except (AssertionError, ProviderKitError):
            pytest.skip("its sandbox does not answer: see test_its_sandbox_answers")

    def _decoded(self) -> Iterator[tuple[Answer, Decoded]]:
        it = self._subject
        for answer in self._answers(it):
            yield answer, it.decode(answer)

    def _met(self, fault: Fault) -> Iterator[tuple[Reply, ProviderKitError | None, Reply]]:
        """Give for each answer what is whole, and then error and Reply where it meets a fault."""
        it = self._subject
        for answer, whole in self._decoded():
            if fault in trials.HANGING and answer is not self._answers(it)[0]:
                break  # to wait for one that never comes is as good as to wait for all
            with given(fault):
                yield whole.reply, *it.meet(answer, fault)


class _Passing:
    """Wrap an answer, and change nothing of it."""

    @hookimpl(wrapper=True)
    def describe(self) -> Iterator[None]:
        return (yield)


def _begins(whole: str, part: str) -> bool:
    return whole.startswith(part.rstrip("\ufffd"))  # of a character that was cut


def _demand_no_success(stopped: Decoded, whole: Decoded) -> None:
    demand(
        _begins(whole.reply.text, stopped.reply.text), f"the text is {stopped.reply.text!r}, of {whole.reply.text!r}"
    )
    if stopped.error is None and content(stopped.reply) != content(whole.reply):
        proven = stopped.marked or (whole.marked and stopped.reply.proven)
        demand(not proven, f"without its end it is a success: {stopped.events!r}")
