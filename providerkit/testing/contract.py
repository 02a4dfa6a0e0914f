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

import math
import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import getdoc
from itertools import product
from typing import ClassVar, ParamSpec
from unittest.mock import patch

import pytest

from ..chat.events import Finish, Usage
from ..chat.options import FEATURES, OPTIONS, Chat
from ..chat.parts import ProviderData, ToolCall
from ..chat.provider_data import data_of
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
from ..wire.requests import Request, ResponseHead
from ..wire.strict_json import loads
from . import faults, trials
from .faults import Fault
from .marks import is_told_alike, lost_marks, strings_of
from .subject import (
    BASE_URL,
    LOOKED_UP,
    Answer,
    Decoded,
    Subject,
    Talk,
    content,
    endpoint,
    events_of,
    in_an_answer,
    like,
    undisturbed,
)
from .trials import CHATS, KEY, OTHER_KEY, hello

P = ParamSpec("P")

PAGE = "docs/writing-a-provider.md"
LONGEST = 1000  # characters of what was found, which may be a whole answer
VALUE = 400  # characters of each of two values that differ
REFUSED = (InvalidMessages, UnsupportedFeature)
# What answers of most wires call their reasons and their counts.
REASON = re.compile(rb'"(\w*reason|finish)"\s*:\s*"[^"\\]*"', re.IGNORECASE)
TOKENS = re.compile(rb'"\w*(?:tokens|TokenCount)"\s*:\s*\d')
COUNTED = {
    re.compile(rb'"(\w*cache(?!\w*miss)\w*)"\s*:\s*\d', re.IGNORECASE): ("cache_read_tokens", "cache_write_tokens"),
    re.compile(rb'"(\w*(?:reasoning|thoughts|thinking)_?tokens?\w*)"\s*:\s*\d', re.IGNORECASE): ("reasoning_tokens",),
}
COUNT = 31337
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


def shown(sent: tuple[object, ...]) -> str:
    """Return a request as it was sent, without the key."""
    return repr(sent).replace(KEY, "***")


def demand(holds: object, found: str) -> None:
    """Fail with what was found, unless it holds."""
    if not holds:
        raise AssertionError(found)


def demand_same(expected: object, found: object, what: str) -> None:
    """Fail with both values, from where they differ, unless they are the same."""
    if expected != found:
        one, other = (repr(value).replace(KEY, "***") for value in (expected, found))
        pairs = enumerate(zip(one, other, strict=False))
        same = next((place for place, pair in pairs if pair[0] != pair[1]), min(len(one), len(other)))
        start = max(0, same - VALUE // 4)
        raise AssertionError(f"{what}: expected {_from(one, start)}, found {_from(other, start)}")


def _from(text: str, start: int) -> str:
    cut = text[start : start + VALUE]
    return f"{'... ' if start else ''}{cut}{' ...' if start + VALUE < len(text) else ''}"


@contextmanager
def given(data: object) -> Iterator[None]:
    """Say with what is raised what the plugin was given."""
    try:
        yield
    except Exception as error:
        error.add_note(f"given: {data!r}")
        raise


class ProviderContract:
    """A provider to the contract; a subclass says which: `provider = Koala()`, or the name of an installed one.

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
        demand_same(info, again, "describe() gives another answer the second time")
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
            demand_same(resolve(name), resolve(name), f"{name!r} is resolved in two ways")
        with suppress(UnknownModel):
            model = resolve("contract/no-such-model:1")
            demand(
                model.name != default.name,
                f"a name that it does not know is taken for {model.name!r}; expected another model, or UnknownModel",
            )

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
                demand_same(first, again, "the same chat was sent as two requests")
        demand(before == it.state, "the plugin's attributes are others than before")

    @law("the-four-questions")
    def test_hooks_do_no_input_or_output(self) -> None:
        """Hooks are pure: no files, no sockets, no threads, no waiting, no clock, no chance (but for `wire_ids`)."""
        it = self._subject
        answers = self._answers(it)
        it.build_each_request()  # a hook may import what it needs, once
        it.read_each_answer(answers)
        with it.without_world():
            it.build_each_request()
            it.read_each_answer(answers)
        calls = it.impure_calls(answers)
        demand(not calls, f"a hook has called {', '.join(calls)}; expected nothing but its arguments")

    @law("the-four-questions")
    def test_what_it_is_given_is_never_changed(self) -> None:
        """Messages and options are the caller's, down to what is within them."""
        it = self._subject
        for make in it.chats():
            chat = make()
            with suppress(UnsupportedFeature):
                it.request(chat)
            demand_same(make(), chat, "build_request was given a chat and changed it")

    @law("the-four-questions")
    def test_requests_go_to_the_base_url(self) -> None:
        """Addresses are made by `endpoint.url(path)`, so that `base_url=` works."""
        for request in self._subject.requests():
            demand(request.url.startswith(f"{BASE_URL}/"), f"expected an address below {BASE_URL!r}, found {request!r}")

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
        for variable in it.info.key_variables:
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
                words = f"of a chat of {roles} the request has lost {', '.join(lost)}; expected them, found {sent}"
                demand(not lost, words)
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
                words = f"`supports` lists {option!r}, but with it and without it the request is {shown(without)}"
                demand(not same, words)

    @law("the-four-questions")
    def test_what_it_does_not_support_is_refused_unsent(self) -> None:
        """An option that `supports` does not list is UnsupportedFeature before anything is sent."""
        it = self._subject
        for feature in sorted(FEATURES - it.info.supports):
            chat = trials.kept(it.info.name) if feature == "provider_data" else CHATS[feature]()
            refused, sent = it.refusal(chat)
            demand(
                refused is not None and not sent,
                f"{feature!r} is sent; expected UnsupportedFeature before anything is sent",
            )

    @law("what-is-sent")
    @pytest.mark.parametrize("what", trials.MARKED)
    def test_all_that_a_chat_says_is_sent_or_refused(self, what: str) -> None:
        """Texts, tools, schemas, calls, arguments, results, images and files are in the request, or are refused."""
        it = self._subject
        make, marks = trials.MARKED[what]
        if it.serves(make()):
            self._demand_marks(it, what, make, marks)

    @law("what-is-sent")
    def test_kept_data_is_sent_back_or_refused(self) -> None:
        """Data that the provider is said to have given is in the request, or is refused, never dropped."""
        it = self._subject
        if {"provider_data", "history"} <= it.info.supports:
            self._demand_marks(it, "kept data", lambda: trials.kept(it.info.name), trials.KEPT_MARKS)

    def _demand_marks(self, it: Subject, what: str, make: Callable[[], Chat], marks: tuple[str, ...]) -> None:
        for key in it.keys:
            with suppress(*REFUSED):
                request = it.request(make(), key=key)
                lost = ", ".join(map(repr, lost_marks(marks, request)))
                demand(not lost, f"of {what} the request has lost {lost}; expected them in it, found {request.body!r}")

    @law("what-is-sent")
    @pytest.mark.parametrize("what", trials.DIFFERENT)
    def test_what_differs_is_sent_or_refused(self, what: str) -> None:
        """Two chats that mean different things make two requests, or one of them is refused."""
        it = self._subject
        make, make_other = trials.DIFFERENT[what]
        if it.serves(make()) and it.serves(make_other()):
            for key in it.keys:
                with suppress(*REFUSED):
                    one, other = (it.as_sent(it.request(chat(), key=key)) for chat in (make, make_other))
                    demand(one != other, f"{what}: expected two requests that differ, found twice {shown(one)}")

    @law("what-is-sent")
    def test_a_result_names_its_call(self) -> None:
        """If the wire has ids of calls, the id of a call and that of its result are one and the same."""
        it = self._subject
        if it.serves(trials.renamed("1")):
            for key in it.keys:
                with suppress(*REFUSED):
                    one, other = (it.request(trials.renamed(number), key=key) for number in ("1", "3"))
                    demand(
                        is_told_alike(one, other),
                        "the id of a call and that of its result are not the same: "
                        f"expected one id at both, found {one.body!r}",
                    )

    # What it reads

    @law("a-sandbox")
    def test_its_sandbox_answers(self) -> None:
        """The sandbox answers over loopback, async and blocking, with some content and a proven end."""
        awaited, waited, text = self._subject.replies()
        for reply in (awaited, waited):
            demand(reply.text or reply.tool_calls, f"the answer is empty: expected text or calls, found {reply!r}")
            demand_same(text, reply.text, "the text is not that of the pieces")
            demand(reply.proven, "the end of the answer is not proven: say the end, or let HTTP frame the body")

    @law("a-sandbox")
    def test_its_sandbox_calls_tools(self) -> None:
        """A sandbox calls the tools that the last message of the user names, each once, with arguments that fit."""
        it = self._subject
        if "tools" in it.info.supports:
            answered = [(answer.body, whole.reply) for answer, whole in self._decoded() if answer.chat.tools]
            demand(answered, f"to {trials.CALL_BOTH!r} it answers as to a chat without tools")
            for body, reply in answered:
                found = [(call.name, _kinds(call)) for call in reply.tool_calls]
                expected = [("look_up", "place: str")]  # the first is called, and the next if its name is in the answer
                expected += [("add_up", "count: int")] if b"add_up" in body else []
                demand(found == expected, f"expected the calls {expected}, found {found} in {reply.tool_calls}")
                ids = [call.id for call in reply.tool_calls if call.id]
                demand(len(set(ids)) == len(ids), f"expected ids that differ, found {ids}")

    @law("a-sandbox")
    def test_a_conversation_goes_on(self) -> None:
        """Two turns of a conversation with the sandbox end in words; results and kept data are sent in each round."""
        it = self._subject
        if "history" in it.info.supports:
            self._answers(it)
            for key in it.keys:
                first, second = it.conversation(key)
                for talk in (first, second):
                    demand(talk.reply.text, f"expected an answer in words, found {talk.reply!r}")
                    demand(talk.reply.proven, "the end of the answer is not proven")
                if "tools" in it.info.supports:
                    for talk in (first, second):
                        _demand_a_round(talk)
                else:
                    _demand_kept(first.kept, second.requests[-1])

    @law("decoders")
    def test_a_reason_is_the_one_that_the_wire_gives(self) -> None:
        """An answer that calls tools ends with the reason tool_calls; a reason that is not known is not called stop."""
        it = self._subject
        for answer, whole in self._decoded():
            reason = whole.reply.finish_reason
            called = bool(whole.reply.tool_calls)
            demand(not called or reason == "tool_calls", f"it calls tools: expected 'tool_calls', found {reason!r}")
            body = REASON.sub(rb'"\1": "mark_of_a_reason"', answer.body)
            if body != answer.body:
                with given(body):
                    found = it.decode(answer, [body])
                    reason = found.reply.finish_reason
                    demand(found.error or reason != "stop", f"expected 'other' for an unknown reason, found {reason!r}")

    @law("decoders")
    def test_what_an_answer_costs_is_told(self) -> None:
        """The tokens that an answer counts are its Usage, those of the cache and of reasoning among them."""
        it = self._subject
        for answer, whole in self._decoded():
            if TOKENS.search(answer.body):
                usage = whole.reply.usage or Usage()
                told = usage.input_tokens is not None or usage.output_tokens is not None
                demand(told, f"expected tokens of input and output, found {whole.reply.usage!r} of {answer.body!r}")
            for pattern, counts in COUNTED.items():
                for name in sorted(set(pattern.findall(answer.body))):
                    body = re.sub(rb'("%s"\s*:\s*)\d+' % re.escape(name), rb"\g<1>%d" % COUNT, answer.body)
                    counted = it.decode(answer, [body]).reply.usage
                    found = [getattr(counted, count, None) for count in counts]
                    words = f"{name.decode()} is {COUNT}: expected it as {' or '.join(counts)}, found {counted!r}"
                    demand(COUNT in found, words)

    @law("errors")
    def test_an_error_within_an_answer_is_an_error(self) -> None:
        """An error in the middle of an answer, as the sandbox words its errors, ends it, whatever follows."""
        it = self._subject
        bodies = [body for body in it.refusals() if _is_object(body)]
        for answer in self._answers(it):
            events = events_of(answer.body)
            forms = [form for body in (*bodies, *trials.ERRORS) for form in in_an_answer(events, body)]
            known = [form for form in forms if isinstance(it.decode(answer, [form]).error, ProviderError)]
            demand(known or not bodies, f"expected a ProviderError of one of {forms!r}, found none")
            places = sorted({1, len(events) // 2} & set(range(1, len(events))))
            for form, place in product(known, places):
                with given(body := [*events[:place], form, *events[place:]]):
                    found = it.decode(answer, body)
                    demand(found.error, f"expected an error, found {found.events!r}")

    @law("decoders")
    def test_every_answer_ends_with_one_finish(self) -> None:
        """A decoder gives events, exactly one Finish among them, last, with a reason that users know."""
        for _, whole in self._decoded():
            demand(whole.error is None, f"the sandbox's answer is an error: {whole.error!r}")
            last = whole.events[-1]
            demand(isinstance(last, Finish) and last.reason in REASONS, f"{last!r}; reasons are {', '.join(REASONS)}")

    @law("decoders")
    def test_an_answer_cut_at_any_byte_gives_the_same_events(self) -> None:
        """Bytes come cut anywhere; the events are the same. A long answer is cut at 200 places."""
        it = self._subject
        for answer, whole in self._decoded():
            body = answer.body
            for pieces in (
                [body],
                [bytes([byte]) for byte in body],
                *([body[:at], body[at:]] for at in trials.sample(len(body))),
            ):
                with given(pieces):
                    found = it.decode(answer, pieces)
                    demand_same(whole.joined, found.error or found.joined, "cut elsewhere it is another answer")

    @law("decoders")
    def test_an_answer_that_stops_early_is_no_success(self) -> None:
        """An answer that stops anywhere is an error; where its wire has no mark of its end, it is not proven."""
        it = self._subject
        for answer, whole in self._decoded():
            for end in trials.sample(len(answer.body)):
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
                demand_same(whole.events, feeding.events, "beside others it is another answer")

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
                    found = it.decode(answer, [body])
                    demand(found.error, f"it is a success: expected an error, found {found.events!r}")

    @law("errors")
    def test_errors_of_any_kind_are_read_or_left(self) -> None:
        """parse_error takes any body at any status, and gives a ProviderError or None."""
        parse_error = self._subject.hooks.parse_error
        for status in (200, *trials.STATUSES):
            for body in trials.BODIES:
                with given(body):
                    error = parse_error(ResponseHead(status), body)
                    demand(
                        error is None or error.status in (None, status),
                        f"{error!r} has another status: expected {status}",
                    )

    @law("errors")
    @pytest.mark.parametrize("status", trials.STATUSES)
    def test_a_status_is_its_error(self, status: int) -> None:
        """A status is the error of that status where the body does not say more; the provider is named."""
        it = self._subject
        wanted = type(ProviderError.from_status(status, ""))
        for body in (b"", b"<html>Sorry</html>"):
            error, _ = it.meet(self._answers(it)[0], faults.status(status, body=body))
            demand(isinstance(error, wanted), f"at {status}: expected {wanted.__name__}, found {error!r}")
            named = getattr(error, "status", None), getattr(error, "provider", None)
            demand_same((status, it.info.name), named, "the error does not name status and provider")

    @law("errors")
    @pytest.mark.parametrize("fault", trials.ENDING + trials.HANGING, ids=trials.named)
    def test_a_fault_that_leaves_no_answer_is_a_typed_error(self, fault: Fault) -> None:
        """Where no answer comes, it is a ProviderError, TransportError or StreamError."""
        for _, error, reply in self._met(fault):
            demand(error is not None, f"it is a success: expected an error, found {content(reply)!r}")

    @law("decoders")
    @pytest.mark.parametrize("fault", trials.HARMLESS, ids=trials.named)
    def test_what_http_allows_changes_no_answer(self, fault: Fault) -> None:
        """However HTTP brings an answer, it is the same."""
        for whole, error, reply in self._met(fault):
            demand(error is None, f"it is {error!r}")
            demand_same(content(whole), content(reply), "it is another answer")

    @law("decoders")
    @pytest.mark.parametrize("fault", trials.CUTTING, ids=trials.named)
    def test_an_answer_that_breaks_off_is_no_success(self, fault: Fault) -> None:
        """An answer that breaks off is a typed error that holds what had come, or has not lost any of its content."""
        for whole, error, reply in self._met(fault):
            unproven = not reply.proven and fault.name in trials.IN_GOOD_ORDER
            lost = error is None and not unproven and content(reply) != content(whole)
            demand(not lost, f"it is a success: {content(reply)!r}; expected an error, or {content(whole)!r}")
            demand(_begins(whole.text, reply.text), f"expected text of {whole.text!r}, found {reply.text!r}")

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
        has_pair = it.is_whole("build_models_request", "parse_models")
        names = [model.name for model in it.models()]
        demand(all(names) and len(set(names)) == len(names), f"expected names that differ, found {names}")
        demand(names or not has_pair, "the sandbox lists no model")

    @law("listing-models")
    def test_the_next_page_of_models_is_asked_for(self) -> None:
        """The mark that a page of models ends with is in the request for the next one."""
        it = self._subject
        marks = ["4711"] if it.takes("build_models_request", "after") else []
        if it.has("parse_models"):
            after = it.first_page().after
            marks += [] if after is None else [after]
        for mark in marks:
            request = it.models_request(mark)
            demand(request is not None and not lost_marks([mark], request), f"expected {mark!r} in {request!r}")

    @law("embeddings")
    def test_embeddings_come_in_the_order_of_the_texts(self) -> None:
        """The pair that embeds is whole; every text is sent, and vectors come in the order of the texts."""
        it = self._subject
        if it.is_whole("build_embed_request", "parse_embeddings"):
            texts = ("mark-one", "mark-two", "mark-three")
            request = it.embed_request(texts)
            lost = lost_marks(texts, request)
            demand(not lost, f"expected {texts} in the request, found {request.body!r}")
            found, turned = (it.embeddings(asked).vectors for asked in (texts, texts[::-1]))
            demand(len(set(found)) == len(texts), f"expected a vector of its own for each text, found {found}")
            demand(found == turned[::-1], f"of the same texts in turn: expected {found[::-1]}, found {turned}")

    @law("tokens")
    def test_a_token_is_asked_for_alike(self) -> None:
        """The pair that gets a token is whole, the same each time, and read as one that lasts."""
        it = self._subject
        if it.is_whole("build_token_request", "parse_token"):
            first, again = it.token_request(), it.token_request()
            demand(KEY not in first.url, "the key is in the address, which servers and proxies log")
            one, other = it.as_sent(first), it.as_sent(again)
            demand(one == other, f"expected the same request twice, found {shown(one)}, then {shown(other)}")
            token = it.token()
            demand(0 < token.seconds < math.inf, f"expected seconds above 0, found {token!r}")

    @law("listing-models")
    def test_a_whole_body_is_read_or_an_error(self) -> None:
        """parse_models, parse_embeddings and parse_token take any body, or raise a ProviderError or StreamError."""
        for parse in self._subject.parsers():
            for body in (*trials.BODIES, *trials.NO_MODELS):
                with given(body), suppress(ProviderError, StreamError):
                    parse(body)

    @law("testing")
    @pytest.mark.parametrize("fault", [faults.silence(), faults.stall(after=1)], ids=trials.named)
    def test_who_cancels_closes_the_connection(self, fault: Fault) -> None:
        """Who is cancelled, before the answer or within it, has its connection closed."""
        it = self._subject
        closed = it.cancel(self._answers(it)[0], fault)
        demand(closed in ("FIN", "RST"), f"it was closed by {closed}; expected FIN or RST")

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
        """Yield for each answer what is whole, and then error and Reply if it meets a fault."""
        it = self._subject
        for answer, whole in self._decoded():
            if fault in trials.HANGING and answer is not self._answers(it)[0]:
                break  # to wait for one that never comes is as good as to wait for all
            with given(fault):
                yield whole.reply, *it.meet(answer, fault)


def _kinds(call: ToolCall) -> str:
    """Return the names and types of a call's arguments; the arguments themselves if they can't be read."""
    with suppress(StreamError):
        return ", ".join(f"{name}: {type(value).__name__}" for name, value in call.parsed.items())
    return call.arguments


def _is_object(body: bytes) -> bool:
    with suppress(StreamError):
        return isinstance(loads(body), dict)
    return False


def _demand_a_round(talk: Talk) -> None:
    """Demand that the tool was asked and its result sent, with what was kept since the user's last message."""
    last = max(place for place, message in enumerate(talk.messages) if message.role == "user")
    said = talk.messages[last + 1 : -1]
    results = [message for message in said if message.role == "tool"]
    demand(results, f"expected a call of {trials.CALL_ONE!r}, found {talk.reply!r}")
    demand(not any(message.failed for message in results), f"expected results, found {results!r}")
    request = talk.requests[-1]
    demand(not lost_marks([LOOKED_UP], request), f"expected {LOOKED_UP!r} in the request, found {request.body!r}")
    _demand_kept(data_of(said), request)


def _demand_kept(kept: list[ProviderData], request: Request) -> None:
    for data in kept:
        lost = lost_marks(strings_of(data.value), request)
        demand(not lost, f"expected all of {data.value!r} in the request, found {request.body!r}")


class _Passing:
    """Wrap an answer, and change nothing of it."""

    @hookimpl(wrapper=True)
    def describe(self) -> Iterator[None]:
        return (yield)


def _begins(whole: str, part: str) -> bool:
    return whole.startswith(part.rstrip("\ufffd"))  # of a character that was cut


def _demand_no_success(stopped: Decoded, whole: Decoded) -> None:
    demand(
        _begins(whole.reply.text, stopped.reply.text),
        f"expected text of {whole.reply.text!r}, found {stopped.reply.text!r}",
    )
    if stopped.error is None and content(stopped.reply) != content(whole.reply):
        proven = stopped.marked or (whole.marked and stopped.reply.proven)
        demand(not proven, f"without its end it is a success: {stopped.events!r}; expected an error")
