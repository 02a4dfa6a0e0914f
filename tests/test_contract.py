"""The contract: the providers here keep it, and a plugin that is broken in any of many ways does not."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import web
from broken_parrots import (
    BROKEN,
    DONE,
    WORDS,
    Alone,
    Bare,
    Half,
    Keyless,
    Marked,
    Refusing,
    described,
    serving,
    text_of,
)
from cockatoo import Cockatoo
from providerkit_koala import Koala
from providerkit_parrot import Parrot
from test_docs import rows, slugs

import providerkit.testing
from providerkit import (
    DecoderWrapper,
    EventStream,
    Finish,
    MissingAPIKey,
    ReasoningDelta,
    Request,
    ResponseHead,
    TextDelta,
    ToolCallDelta,
    hookimpl,
)
from providerkit.chat.options import FEATURES
from providerkit.chat.replies import Reply
from providerkit.testing import ProviderContract, faults, trials
from providerkit.testing.contract import PAGE, demand_same, law
from providerkit.testing.faults import FAULTS
from providerkit.testing.recordings import Recording
from providerkit.testing.subject import Decoded, Feeding, Subject, events_of, in_pieces

ROOT = Path(__file__).parent.parent
CHECKS = {name: check for name, check in vars(ProviderContract).items() if name.startswith("test_")}


class TestParrot(ProviderContract):
    """What `providerkit new` writes."""

    provider = Parrot


class TestCockatoo(ProviderContract):
    """A provider with all that a wire may have."""

    provider = Cockatoo()


def contract_of(plugin):
    return type("Contract", (ProviderContract,), {"provider": plugin})()


def cases_of(check):
    """Return the cases of a check, if it has several."""
    return [case for mark in getattr(check, "pytestmark", ()) if mark.name == "parametrize" for case in mark.args[1]]


def case_of(check, start):
    """Return the case of a check that begins so; nothing where there is but one."""
    return () if start is None else (next(case for case in cases_of(check) if repr(case).startswith(start)),)


@pytest.mark.parametrize("broken", BROKEN, ids=[f"{broken.plugin.__name__}-{broken.check}" for broken in BROKEN])
def test_a_broken_plugin_is_caught(broken):
    check = CHECKS[broken.check]
    with pytest.raises(pytest.fail.Exception) as caught:
        check(contract_of(broken.plugin), *case_of(check, broken.case))
    wants, found, read = re.fullmatch(
        "The contract wants: (.*?)\nIt found: (.*)\nTo read: (.*)", str(caught.value), re.DOTALL
    ).groups()
    assert wants == " ".join(inspect.getdoc(check).split())
    assert broken.says in found
    assert read.startswith(PAGE)


OF_THE_CORE = {"test_what_it_does_not_support_is_refused_unsent", "test_who_cancels_closes_the_connection"}


def test_every_check_has_a_plugin_that_it_catches():
    assert {broken.check for broken in BROKEN} == set(CHECKS) - OF_THE_CORE - {"test_importing_it_does_no_work"}


def test_what_the_core_promises_for_all_is_caught_too(monkeypatch):
    with pytest.raises(pytest.fail.Exception, match="it was closed by server"):
        contract_of(Parrot).test_who_cancels_closes_the_connection(faults.close_unanswered())
    monkeypatch.setattr("providerkit.engine.operations.ChatOperation.check", lambda operation, target: None)
    with pytest.raises(pytest.fail.Exception, match="'extra' is sent"):
        contract_of(Parrot).test_what_it_does_not_support_is_refused_unsent()


IMPORTS = {
    "import aiohttp": "the import brings aiohttp",
    "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()": "start a thread",
    "import socket\nsocket.getaddrinfo('localhost', 80)": "socket.getaddrinfo",
    "open(__file__ + '.log', 'w').close()": "write to",
    "import sys\nsys.exit('no')": "can't be imported: no",
}


@pytest.mark.parametrize(("work", "says"), IMPORTS.items(), ids=IMPORTS.values())
def test_work_at_import_is_caught(work, says, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "busy_parrot.py").write_text(work, "utf-8")
    plugin = type("Busy", (Parrot,), {"__module__": "busy_parrot"})
    with pytest.raises(pytest.fail.Exception, match=re.escape(says)):
        contract_of(plugin).test_importing_it_does_no_work()


def test_a_plugin_may_demand_a_key():
    class Demanding(Parrot):
        @hookimpl
        def build_request(self, chat, model, endpoint):
            if endpoint.api_key is None:
                raise MissingAPIKey("a key, please")
            return Parrot.build_request(self, chat, model, endpoint)

    contract_of(Demanding).test_the_same_chat_makes_the_same_request()
    contract_of(Demanding).test_a_key_is_the_callers()
    contract_of(Demanding).test_every_decoder_is_fresh()


def test_a_wire_that_may_leave_out_its_mark_is_to_say_so():
    class Honest(Marked):
        @hookimpl
        def parse_stream(self, head):
            return EventStream(text_of, end=Finish("stop", proven=False))

    contract_of(Honest).test_an_answer_that_stops_early_is_no_success()


def test_ids_that_are_declared_may_be_new_each_time():
    class Numbered(Half):
        wire_ids = ("ID", "x-id")

    contract_of(Numbered).test_the_same_chat_makes_the_same_request()
    contract_of(Numbered).test_hooks_do_no_input_or_output()
    for body in (b"[1]", b"plain text"):
        assert body in Subject(Numbered).as_sent(Request("POST", "http://127.0.0.1", body=body))


def test_a_plugin_may_be_named_and_have_no_default_model():
    contract_of("openai-compatible").test_its_sandbox_answers()
    contract_of("openai-compatible").test_models_are_listed()
    contract_of("openai-compatible").test_it_is_described_always_alike()


def test_what_a_developer_has_set_changes_nothing(monkeypatch):
    monkeypatch.setenv("KOALA_API_KEY", "no key that\ncan be sent")
    monkeypatch.setenv("PROVIDERKIT_EXTENSIONS", "none-that-is-installed")
    contract_of(Koala()).test_its_sandbox_answers()
    contract_of(Koala()).test_what_http_allows_changes_no_answer(faults.healthy())
    assert os.environ["PROVIDERKIT_EXTENSIONS"] == "none-that-is-installed"


def test_a_long_answer_is_cut_at_so_many_places():
    body = b"".join(WORDS * 500) + DONE
    fed = []

    class Counting(DecoderWrapper):
        def feed(self, data):
            fed.append(len(data))
            return super().feed(data)

    class Long(Marked):
        sandbox = serving(*WORDS * 500, DONE)

        @hookimpl
        def parse_stream(self, head):
            return Counting(EventStream(text_of))

    contract_of(Long()).test_an_answer_cut_at_any_byte_gives_the_same_events()
    pieces = 1501  # as the sandbox wrote them
    assert len(fed) == pieces + 1 + len(body) + 2 * trials.MOST_CUTS
    fed.clear()
    contract_of(Long()).test_an_answer_that_stops_early_is_no_success()
    assert len(fed) == pieces + trials.MOST_CUTS


def test_cuts_are_at_the_same_places_each_time_both_ends_among_them():
    assert trials.sample(200) == list(range(200))
    places = trials.sample(10_000)
    assert places == trials.sample(10_000) == sorted(set(places))
    assert (len(places), places[:20], places[-20:]) == (200, list(range(20)), list(range(9980, 10_000)))


def test_a_provider_may_take_simple_messages_only():
    class Plain(Cockatoo):
        supports = FEATURES - {"provider_data"}

    contract = contract_of(Plain())
    contract.test_a_conversation_goes_on()
    contract.test_kept_data_is_sent_back_or_refused()
    contract.test_what_it_does_not_support_is_refused_unsent()
    for what in trials.MARKED:
        contract.test_all_that_a_chat_says_is_sent_or_refused(what)


def test_a_provider_may_answer_one_message_only():
    class Forgetting(Marked):
        describe = described(supports=())

    contract_of(Forgetting()).test_a_conversation_goes_on()


def test_a_provider_may_know_its_models_only():
    class Unlisted(Parrot):
        build_models_request = None

    contract_of(Unlisted()).test_the_next_page_of_models_is_asked_for()


def test_a_sandbox_may_refuse_without_words_of_its_wire():
    class Rude(Marked):
        @hookimpl
        def sandbox(self):
            async def say(request):
                await request.json()
                return web.Response(body=b"".join([*WORDS, DONE]), content_type="text/event-stream")

            app = web.Application()
            app.router.add_post("/chat", say)
            return app

    contract_of(Rude()).test_an_error_within_an_answer_is_an_error()


def test_a_plugin_may_need_no_key():
    class Free(Keyless):
        describe = described(api_key_env=None)

    contract_of(Free).test_a_key_is_the_callers()


def test_a_plugin_may_be_a_module(monkeypatch):
    module = ModuleType("parrot_module")
    vars(module).update({name: getattr(Parrot(), name) for name in dir(Parrot) if name[0] != "_"})
    contract_of(module).test_it_loads()
    contract_of(module).test_the_same_chat_makes_the_same_request()
    with pytest.raises(pytest.fail.Exception, match="the module 'parrot_module' can't be imported"):
        contract_of(module).test_importing_it_does_no_work()


def test_what_hangs_on_another_check_is_skipped():
    with pytest.raises(pytest.skip.Exception, match="see test_it_loads"):
        contract_of(Bare).test_every_decoder_is_fresh()
    for plugin in (Alone, Refusing):
        with pytest.raises(pytest.skip.Exception, match="see test_its_sandbox_answers"):
            contract_of(plugin).test_every_decoder_is_fresh()


def test_what_was_found_is_told_briefly():
    @law("testing")
    def check():
        """Be brief."""
        raise AssertionError("x" * 10_000)

    with pytest.raises(pytest.fail.Exception) as caught:
        check()
    assert len(str(caught.value)) < 1_200


def test_both_values_are_told_from_where_they_differ_however_long_they_are():
    with pytest.raises(AssertionError) as caught:
        demand_same("a" * 5000 + "b" + "c" * 5000, "a" * 5000 + "d" + "c" * 5000, "they differ")
    same, rest = "a" * 100, "c" * 299
    assert str(caught.value) == f"they differ: expected ... {same}b{rest} ..., found ... {same}d{rest} ..."
    with pytest.raises(AssertionError, match="they differ: expected 1, found 2"):
        demand_same(1, 2, "they differ")
    demand_same(1, 1, "they differ")


# What is put to a plugin


def test_every_fault_is_met_but_those_that_never_reach_a_plugin():
    met = {case.name for check in CHECKS.values() for case in cases_of(check) if isinstance(case, faults.Fault)}
    elsewhere = {"refused", "unknown_host", "full_backlog", "tls_to_plain", "bad_certificate", "cut_handshake"}
    assert set(FAULTS) - met == elsewhere | {"refusing_proxy", "silent_proxy"}


def test_every_word_of_supports_has_a_chat_that_needs_it():
    assert set(trials.CHATS) == FEATURES - {"provider_data"}
    for word, make in trials.CHATS.items():
        assert word in set(make().features()), word


def test_neighbouring_pieces_are_one():
    events = [
        ReasoningDelta("a"),
        ReasoningDelta("b"),
        TextDelta("c"),
        TextDelta("d"),
        ToolCallDelta(0, "id", "name", "{"),
        ToolCallDelta(0, arguments="}"),
        ToolCallDelta(1, "other"),
        Finish("stop"),
    ]
    assert Decoded(events, Reply()).joined == [
        ReasoningDelta("ab"),
        TextDelta("cd"),
        ToolCallDelta(0, "id", "name", "{}"),
        ToolCallDelta(1, "other"),
        Finish("stop"),
    ]


def test_after_its_finish_a_decoder_is_fed_no_more():
    feeding = Feeding(Marked().parse_stream(ResponseHead(200)))
    for piece in (WORDS[0], DONE, WORDS[1]):
        feeding.feed(piece)
    feeding.close()
    assert feeding.events == [TextDelta("Hello"), Finish("stop")]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: 1\n\nevent: a\ndata: 2\n\n", [b"data: 1\n\n", b"event: a\ndata: 2\n\n"]),
        (b"data: 1\r\n\r\ndata: 2", [b"data: 1\n\n", b"data: 2"]),
        (b'{"a": 1}\n{"b": 2}\n', [b'{"a": 1}\n', b'{"b": 2}\n']),
        (b'{"a": 1}', [b'{"a": 1}']),
    ],
)
def test_an_answer_is_cut_behind_its_events(body, events):
    assert events_of(body) == events


def test_an_answer_in_one_piece_is_put_to_faults_in_three():
    assert in_pieces(Recording([b"abcdef"], framing="end")) == Recording([b"ab", b"cd", b"ef"])
    assert in_pieces(Recording([b"a", b"b", b"c", b"d"])) == Recording([b"a", b"b", b"c", b"d"])


# Where it is told, and how it is run


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_a_check_leads_to_a_section_that_is_there(check):
    assert check.section in slugs(ROOT / PAGE)


def test_the_page_lists_every_check_with_what_it_wants():
    told = [(cells[0].strip("`"), cells[1]) for cells in rows((ROOT / PAGE).read_text("utf-8")) if "`test_" in cells[0]]
    assert told == [(name, " ".join(inspect.getdoc(check).split())) for name, check in CHECKS.items()]


@pytest.mark.parametrize(
    "options",
    [["-p", "no:asyncio"], ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]],
    ids=["bare", "asyncio"],
)
def test_it_runs_under_plain_pytest(options, tmp_path):
    code = """
from broken_parrots import Alone
from providerkit_koala import Koala
from providerkit_parrot import Parrot
from providerkit.testing import ProviderContract

class TestParrot(ProviderContract):
    provider = Parrot()

class TestAlone(ProviderContract):
    provider = Alone()
"""
    (tmp_path / "test_birds.py").write_text(code, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", "utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        "-k",
        "sandbox_answers or fresh",
        ".",
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert "1 failed, 2 passed, 1 skipped" in done.stdout, done.stdout
    assert f"To read: {PAGE}#a-sandbox" in done.stdout


def test_the_contract_brings_pytest_only_to_those_who_ask_for_it():
    code = "import sys, providerkit.testing; from providerkit.testing import faults; print('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    assert providerkit.testing.ProviderContract is ProviderContract
    with pytest.raises(AttributeError, match="Contrakt"):
        providerkit.testing.Contrakt  # noqa: B018 - the access is what is tested
