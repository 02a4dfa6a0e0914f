"""Each fault, by name: what the caller gets without any retry, what the server saw, and that the client lives on."""

from __future__ import annotations

import asyncio
import gc
import ssl
import sys
import time
from email.utils import formatdate
from typing import Any

import aiohttp
import attrs
import pytest
import trustme
from asking import KEY, ONCE, ask, failure
from chat_completions import ChatCompletions, answer, chunk, event, refusal, tool_call, usage
from clocks import HandClock
from loopback import UNHURRIED, until
from parrots import Macaw, Parrot

import providerkit
from providerkit import Limits, StreamMalformed, StreamTruncated, TimedOut, Timeouts, ToolCall, Usage, loads
from providerkit.testing import faults
from providerkit.testing.faults import FAULTS, Fault, FaultServer, Recording, healthy
from providerkit.testing.faultserver import TURNS, Script

A, B, C, DONE = b'data: "a"\n\n', b'data: "b"\n\n', b'data: "c"\n\n', b"data: [DONE]\n\n"
ABC = Recording([A, B, C, DONE])
CHAT = ChatCompletions(tokens=3)
Ends = frozenset[str | None]
CLIENT, SERVER, STAYS_OPEN = Ends({"FIN", "RST"}), Ends({"server"}), Ends({None})


@attrs.frozen
class Case:
    """State what one fault comes to: an error and its partial text, or an answer; and who ends the connection."""

    fault: Fault
    gets: type[providerkit.ProviderKitError] | None
    text: str = ""
    ends: Ends = CLIENT
    fields: dict[str, object] = attrs.field(factory=dict)
    limits: Limits = Limits()
    provider: object = Macaw
    answer: object = attrs.Factory(lambda case: case.provider if case.provider is CHAT else ABC, takes_self=True)

    @property
    def healthy(self) -> str:
        """Return the text that the next request gets."""
        if isinstance(self.answer, Recording):
            return "".join(loads(piece[6:]) for piece in self.answer.pieces if piece != DONE)
        return CHAT.text


def first_event(fault: Fault) -> Case:
    return Case(fault, TimedOut, fields={"clock": "first_event"})


def idle(fault: Fault, text: str = "a") -> Case:
    return Case(fault, TimedOut, text, fields={"clock": "idle"})


def told(
    fault: Fault, gets: type[providerkit.ProviderKitError], text: str = "", ends: Ends = CLIENT, **more: Any
) -> Case:
    return Case(fault, gets, text, ends, **more)


def answers(fault: Fault, text: str = "abc", ends: Ends = STAYS_OPEN, **more: Any) -> Case:
    return Case(fault, None, text, ends, **more)


SMALL = Limits(event=100_000)
CASES = [
    answers(healthy()),
    answers(healthy(), CHAT.text, provider=CHAT),
    # before the answer
    told(faults.close_on_accept(), providerkit.Disconnected, ends=SERVER),
    told(faults.reset_on_accept(), providerkit.Disconnected, ends=SERVER),
    told(faults.close_unanswered(), providerkit.Disconnected, ends=SERVER),
    told(faults.reset_unanswered(), providerkit.Disconnected, ends=SERVER),
    first_event(faults.hold_on_accept()),
    first_event(faults.silence()),
    answers(faults.silence(seconds=0.001)),
    answers(faults.drip_head()),
    answers(faults.drip_head(seconds=0.0001)),
    first_event(faults.drip_head(seconds=1.0)),
    # the head
    told(faults.bad_status_line(), StreamMalformed, ends=SERVER),
    told(faults.long_header(), StreamMalformed),
    told(faults.many_headers(), StreamMalformed),
    told(faults.two_framings(), StreamMalformed),
    told(faults.two_lengths(), StreamMalformed),
    answers(faults.interim()),
    answers(faults.interim(100)),
    first_event(faults.interim(100, only=True)),
    first_event(faults.interim(103, only=True)),
    told(faults.no_content(204), StreamTruncated, ends=STAYS_OPEN),
    told(faults.no_content(205), StreamTruncated, ends=STAYS_OPEN),
    told(faults.no_content(304), providerkit.ProviderError, ends=STAYS_OPEN, fields={"status": 304}),
    *(
        told(faults.redirect(to, code), providerkit.ProviderError, ends=STAYS_OPEN, fields={"status": code})
        for code in (301, 302, 303, 307, 308)
        for to in ("/", "http://elsewhere.invalid/say", "file:///etc/passwd")
    ),
    answers(faults.mislabelled()),
    answers(faults.mislabelled("text/event-stream; charset=latin-1"), CHAT.text, provider=CHAT),
    answers(faults.mislabelled(), CHAT.text, provider=CHAT),
    told(faults.page(), StreamTruncated, ends=STAYS_OPEN),
    told(faults.page(), providerkit.UnexpectedContent, ends=STAYS_OPEN, provider=CHAT, fields={"status": 200}),
    told(faults.status(200, body=refusal()), providerkit.ProviderError, ends=STAYS_OPEN, provider=CHAT),
    told(faults.says(), StreamTruncated, ends=STAYS_OPEN),
    told(faults.says(), StreamTruncated, ends=STAYS_OPEN, provider=CHAT),
    told(faults.status(503, retry_after="2"), providerkit.ServerError, ends=STAYS_OPEN, fields={"retry_after": 2.0}),
    # the end of the body
    told(faults.close(after=0), StreamTruncated, ends=SERVER),
    told(faults.close(after=2), StreamTruncated, "ab", SERVER),
    told(faults.close(after=-1), StreamTruncated, "abc", SERVER),
    answers(faults.close(after=None), ends=SERVER),
    told(faults.close(after=None), StreamTruncated, "abc", SERVER, provider=Parrot, answer=Recording([A, B, C])),
    told(faults.reset(after=0), StreamTruncated, ends=SERVER),
    told(faults.reset(after=2), StreamTruncated, "ab", SERVER),
    answers(faults.reset(after=None), ends=SERVER),
    told(faults.reset(after=None), StreamTruncated, "abc", SERVER, provider=Parrot, answer=Recording([A, B, C])),
    answers(faults.close(after=-1), CHAT.text, SERVER, provider=CHAT, fields={"proven": False}),
    answers(faults.reset(after=-1), CHAT.text, SERVER, provider=CHAT, fields={"proven": False}),
    answers(faults.unframed(after=-1), CHAT.text, SERVER, provider=CHAT, fields={"proven": False}),
    answers(faults.without(-1), CHAT.text, provider=CHAT, fields={"proven": True}),
    first_event(faults.stall(after=0)),
    idle(faults.stall(after=1)),
    idle(faults.stall(after=2), "ab"),
    idle(faults.stall(after=-1), "abc"),
    answers(faults.stall(after=None), ends=CLIENT),
    answers(faults.stall(after=0, seconds=0.001)),
    answers(faults.stall(after=2, seconds=0.001)),
    answers(faults.stall(after=None, seconds=0.0)),
    told(faults.wrong_length(by=10), StreamTruncated, "abc", SERVER, provider=Parrot, answer=Recording([A, B, C])),
    told(faults.wrong_length(by=-len(C)), StreamTruncated, "abc", CLIENT | SERVER),
    answers(faults.wrong_length(by=-len(C)), "ab", CLIENT | SERVER, provider=Parrot, answer=Recording([A, B, C])),
    answers(faults.unframed(), ends=CLIENT | SERVER, fields={"proven": True}),
    told(faults.unframed(after=2), StreamTruncated, "ab", SERVER),
    answers(
        faults.unframed(after=2),
        "ab",
        SERVER,
        fields={"proven": False},
        provider=Parrot,
        answer=Recording([A, B, C]),
    ),
    told(faults.bad_chunk(), StreamTruncated, "a", CLIENT | SERVER),
    told(faults.bad_chunk(b"fffffffffffffffff"), StreamTruncated, "a", CLIENT | SERVER),
    told(faults.bad_chunk(b"5;" + b"x" * 2**17), StreamTruncated, "a", CLIENT | SERVER),
    told(faults.bad_chunk(after=0), StreamTruncated, ends=CLIENT | SERVER),
    answers(faults.close_idle(), ends=SERVER),
    answers(faults.garbage_after(), ends=CLIENT),
    answers(faults.garbage_after(b"garbage"), ends=CLIENT),
    answers(faults.garbage_after(Recording([A]).head()), ends=CLIENT),
    # the pace of the body
    answers(faults.drip(), ends=CLIENT | STAYS_OPEN),
    answers(faults.drip(seconds=0.0), ends=CLIENT | STAYS_OPEN),
    first_event(faults.drip(seconds=1.0)),
    answers(faults.split(at=3)),
    idle(faults.comments()),
    first_event(faults.comments(after=0, seconds=0.001)),
    told(faults.comments(line=b": ping\n\n" * 1000), StreamMalformed, "a", limits=SMALL),
    told(faults.endless_line(), StreamMalformed, "a", limits=SMALL),
    told(faults.endless_line(after=0), StreamMalformed, limits=SMALL),
    # what is in the body
    told(faults.garble(1), StreamMalformed, "a"),
    told(faults.garble(2), StreamMalformed, "chat0 chat1 ", provider=CHAT),
    told(faults.replace(1, b"data: {oops\n\n"), StreamMalformed, "a"),
    answers(faults.replace(-1, b"data: [DONE]")),
    answers(faults.insert(1, 'data: "\u2028\x85\\u0000"\n\n'.encode()), "a\u2028\x85\0bc"),
    answers(faults.insert(1, b'data: "\xff\\ud800"\n\n'), "a\ufffd\ufffdbc"),
    told(faults.insert(1, b'data: "\0"\n\n'), StreamMalformed, "a"),
    answers(faults.rewrite(b"\n", b"\r\n")),
    answers(faults.rewrite(b"\n", b"\r")),
    answers(faults.repeat(0), "aabc"),
    answers(faults.repeat(0, 100_000), "a" * 100_000 + "bc"),
    answers(faults.swap(0), "bac"),
    answers(faults.append(B + b"data: what\n\n")),
    told(faults.without(-1), StreamTruncated, "abc", ends=STAYS_OPEN),
    answers(faults.without(-1), provider=Parrot),
    answers(faults.without(0, -1), ""),
    answers(faults.without(1, 2), "ac"),
    told(faults.nested(before=1), StreamMalformed, "a"),
    told(faults.insert(1, b'data: "' + b"x" * 2**21 + b'"\n\n'), StreamMalformed, "a", limits=SMALL),
    answers(faults.insert(1, b'data: "' + b"x" * 2**21 + b'"\n\n'), "a" + "x" * 2**21 + "bc"),
    answers(faults.compressed()),
    answers(faults.compressed(keep=-10)),
    answers(faults.compressed(keep=-10), provider=Parrot, answer=Recording([A, B, C]), fields={"proven": False}),
    told(faults.compressed(keep=10), StreamTruncated, ends=STAYS_OPEN),
    told(faults.compressed(corrupt=0), StreamTruncated),
    told(faults.compressed(corrupt=-1), StreamTruncated),
    told(faults.gzip_bomb(2**21), StreamMalformed, limits=SMALL),
    told(faults.mystery_encoding(), StreamMalformed),
    answers(faults.mystery_encoding("mystery")),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.fault!r:.60}" for case in CASES])
async def test_a_fault_is_told_or_survived_and_the_next_request_is_answered(case: Case):
    server, clock = FaultServer([case.fault, healthy()], answer=case.answer), HandClock()
    async with server as url, providerkit.Client(retry=ONCE, limits=case.limits, clock=clock) as client:
        options: dict[str, Any] = {"provider": case.provider, "base_url": url, "api_key": KEY}
        run = client.run("hello", **options)
        if case.gets:
            error = await failure(case.gets, late(run, case.gets, case.text, server, clock))
            outcome, text = error, error.partial
        else:
            outcome = await run
            text = outcome.text
        assert text == case.text
        assert {name: getattr(outcome, name) for name in case.fields} == case.fields
        assert [visit.fault for visit in server.log] == [case.fault]
        if case.ends == SERVER or (case.gets and None not in case.ends):
            assert (await server.closed()).closed in case.ends
        await turns()
        assert (await client.run("hello", **options)).text == case.healthy
        assert len(server.log) == 2
        assert server.log[0].closed in case.ends
        assert (server.log[0].connection == server.log[1].connection) is (server.log[0].closed is None)


async def late(run: providerkit.Run, gets: type[Exception], text: str, server: FaultServer, clock: HandClock) -> None:
    """Await a run; where it is to time out, let a minute pass once its text has come."""
    async with asyncio.TaskGroup() as group:
        if gets is TimedOut:
            group.create_task(_pass_a_minute(run, text, server, clock))
        try:
            await run
        except providerkit.ProviderKitError as error:
            failed = error
    raise failed


async def _pass_a_minute(run: providerkit.Run, text: str, server: FaultServer, clock: HandClock) -> None:
    await server.asked()
    while run.reply.text != text:  # noqa: ASYNC110 - a Run has no event for it, and needs none
        await asyncio.sleep(0)
    await turns()
    clock.advance(61)


async def turns() -> None:
    """Let the client notice what the server has done."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def test_every_fault_of_the_table_has_its_case_or_its_own_test():
    own = {"refused", "unknown_host", "full_backlog", "tls_to_plain", "bad_certificate", "cut_handshake"}
    own |= {"refusing_proxy", "silent_proxy", "close_at", "reset_at"}
    assert {case.fault.name for case in CASES} | own == set(FAULTS)


async def said(fault: Fault, provider: object = CHAT, **options: Any) -> providerkit.Reply:
    """Return what the caller gets of one fault."""
    async with FaultServer(fault, answer=CHAT) as url, providerkit.Client(retry=ONCE) as client:
        return await client.run("hello", provider=provider, base_url=url, api_key=KEY, **options)


STATUSES = (401, 402, 403, 404, 409, 413, 422, 429, 498, 500, 502, 503, 504, 529)
BODIES = {
    "empty": b"",
    "HTML": b"<html>" + KEY.encode(),
    "JSON cut short": refusal("no " * 9)[:-9],
    "10 MB": b"x" * 10_000_000,
    "a list of errors": b"[" + refusal("no", code="busy") + b"]",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_status_is_its_error_whatever_its_body(body: bytes):
    for code in STATUSES:
        error = await failure(
            type(providerkit.ProviderError.from_status(code, "")), said(faults.status(code, body=body))
        )
        assert (error.status, error.code) == (code, "busy" if body.startswith(b"[") else None)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("context_length_exceeded", providerkit.ContextLengthExceeded),
        ("content_policy_violation", providerkit.ContentFiltered),
        ("content_filter", providerkit.ContentFiltered),
        ("insufficient_quota", providerkit.QuotaExhausted),
        ("credit_balance_exhausted", providerkit.QuotaExhausted),
        ("rate_limit_exceeded", providerkit.RateLimited),
        (None, providerkit.RateLimited),
    ],
)
@pytest.mark.parametrize("name", ["code", "type"])
async def test_the_providers_code_says_what_an_error_is(code: str, kind: type[providerkit.ProviderError], name: str):
    error = await failure(kind, said(faults.status(429, body=refusal("the reason", **{name: code}))))
    assert (error.status, error.code, "the reason" in str(error)) == (429, code, True)
    for piece in (refusal("the reason", **{name: code}), b'"the reason"'):
        stream = faults.insert(1, b"data: " + piece + b"\n\n")
        inner = kind if code and code != "rate_limit_exceeded" else providerkit.ProviderError
        error = await failure(inner if piece.startswith(b"{") else StreamMalformed, said(stream))
        assert error.partial == "chat0 "


NOW = time.time()


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": formatdate(NOW + 60, usegmt=True), "Date": formatdate(NOW, usegmt=True)}, 60.0),
        ({"Retry-After": formatdate(NOW - 60, usegmt=True)}, 0.0),
        ({"Retry-After": "86400"}, 86400.0),
        ({"Retry-After": "Fri, 31 Dec 99999 23:59:59 GMT"}, None),
        ({"Retry-After": "-10"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
    ],
)
async def test_what_a_provider_asks_to_wait_is_told_in_seconds(headers: dict[str, str], wait: float | None):
    error = await failure(providerkit.RateLimited, said(faults.status(429, headers=headers)))
    assert error.retry_after == wait


async def test_a_storm_passes():
    server = FaultServer([*[faults.status(503)] * 3, healthy()], answer=CHAT)
    async with server as url, providerkit.Client(retry=ONCE) as client:
        for _ in range(3):
            await failure(providerkit.ServerError, client.run("hi", provider=CHAT, base_url=url, api_key=KEY))
        assert (await client.run("hi", provider=CHAT, base_url=url)).text == CHAT.text
    assert server.connections == 1


async def test_a_wait_that_the_body_asks_for_is_the_plugins_to_find():
    class Hinting(ChatCompletions):
        @providerkit.hookimpl
        def parse_error(self, head: providerkit.ResponseHead, body: bytes) -> providerkit.ProviderError:
            (detail,) = loads(body)["error"]["details"]
            return providerkit.RateLimited("later", retry_after=float(detail["retryDelay"].removesuffix("s")))

    hint = refusal(details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5.3s"}])
    error = await failure(providerkit.RateLimited, said(faults.status(429, body=hint), Hinting()))
    assert error.retry_after == 5.3


HELLO = answer({"content": "Hel"}, {"content": "lo"})
FINISH, USAGE = HELLO[2:4]


def instead(*pieces: bytes) -> Fault:
    return faults.says(HELLO[0], *pieces, *HELLO[2:])


LO = {"content": "lo"}
WHOLE = event({"choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]})[6:]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.says(*(piece.replace(b"data: ", b"data:") for piece in HELLO)), id="D1 no space"),
        pytest.param(faults.says(*(piece.replace(b"data: {", b"data:\n {") for piece in HELLO)), id="D2 next line"),
        pytest.param(instead(b": OPENROUTER PROCESSING\n\n", HELLO[1], b": ping\n\n"), id="D3 comments"),
        pytest.param(faults.says(*HELLO[:-1], b": cost 0\n" + HELLO[-1]), id="D4 a comment before the end"),
        pytest.param(faults.says(*(piece.replace(b"\n", b"\r\n") for piece in HELLO)), id="D5 CRLF"),
        pytest.param(faults.says(*HELLO[:-1], b"data: [DONE]"), id="D6 no blank line"),
        pytest.param(faults.says(*HELLO[:-1]), id="D7 no mark"),
        pytest.param(instead(b"event: ping\ndata: {}\n\n", b"data:\n\n", HELLO[1]), id="D12 pings"),
        pytest.param(faults.says(WHOLE), id="D14 a JSON body"),
        pytest.param(
            faults.says(
                chunk(prompt_filter_results=[]), *HELLO[:2], chunk({}).replace(b'"delta": {}, ', b""), *HELLO[2:]
            ),
            id="D15 no choices, no delta",
        ),
        pytest.param(faults.says(*HELLO[:2], chunk({}, finish_reason="stop"), b"data: [DONE]\n\n"), id="D16 no usage"),
        pytest.param(faults.says(*HELLO[:2], HELLO[-1]), id="D17 the mark alone"),
        pytest.param(instead(chunk({**LO, "reasoning_content": "Hm."})), id="D21 reasoning_content"),
        pytest.param(instead(chunk({**LO, "reasoning": "Hm.", "role": ""})), id="D21 reasoning"),
        pytest.param(instead(chunk({"content": [{"type": "text", "text": "lo"}]})), id="D20 content of parts"),
        pytest.param(
            instead(chunk({"content": [{"type": "thinking", "thinking": [{"text": "Hm."}]}]}), HELLO[1]),
            id="D20 thinking in parts",
        ),
        pytest.param(faults.says(b"\n\n\n", WHOLE), id="D22 blank lines"),
        pytest.param(instead(chunk({**LO, "refusal": None}, obfuscation="xyz")), id="D23 unknown fields"),
        pytest.param(faults.says(b"\xef\xbb\xbf", *HELLO), id="D25 a BOM"),
        pytest.param(faults.says(HELLO[0], FINISH, HELLO[1], *HELLO[3:]), id="text after the reason"),
        pytest.param(instead(HELLO[1], FINISH.replace(b"stop", b"length")), id="two reasons"),
    ],
)
async def test_what_servers_do_to_the_wire_takes_nothing_from_the_answer(fault: Fault):
    assert (await said(fault)).text == "Hello"


@pytest.mark.parametrize(
    ("fault", "kind", "partial"),
    [
        pytest.param(faults.says(b'error: {"message": "no"}\n\n', HELLO[-1]), providerkit.ProviderError, "", id="D8"),
        pytest.param(instead(event({"error": {"message": "no"}})), providerkit.ProviderError, "Hel", id="D9"),
        pytest.param(instead(event({"error": "no"})), providerkit.ProviderError, "Hel", id="D9 a bare string"),
        pytest.param(
            instead(event({"object": "error", "message": "no"})), providerkit.ProviderError, "Hel", id="D9 vLLM"
        ),
        pytest.param(
            instead(event({"error": {"code": 429, "message": "no"}, "choices": [{"finish_reason": "error"}]})),
            providerkit.RateLimited,
            "Hel",
            id="D10",
        ),
        pytest.param(instead(b'event: error\ndata: {"message": "no"}\n\n'), providerkit.ProviderError, "Hel", id="D11"),
        pytest.param(faults.says(refusal()), providerkit.ProviderError, "", id="D14 a JSON error"),
        pytest.param(faults.page(), providerkit.UnexpectedContent, "", id="D14 a page"),
        pytest.param(faults.says(*HELLO[:2]), StreamTruncated, "Hello", id="D17 no reason, no mark"),
        pytest.param(instead(b"data: 7\n\n"), StreamMalformed, "Hel", id="no object"),
        pytest.param(faults.nested(before=1), StreamMalformed, "chat0 ", id="deep"),
    ],
)
async def test_what_servers_say_of_their_errors_is_told(
    fault: Fault, kind: type[providerkit.ProviderKitError], partial: str
):
    assert (await failure(kind, said(fault))).partial == partial


async def test_text_that_splits_lines_elsewhere_is_text():
    """D18: U+2028, U+2029 and U+0085 end no line here."""
    assert (await said(instead(chunk({"content": "lo\u2028\u2029\x85"})))).text == "Hello\u2028\u2029\x85"


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        (tool_call(), [ToolCall("call-0", "weather", '{"city": "Oslo"}')]),
        (
            [*tool_call("[1]"), *tool_call("[2]", index=1, name="time")],
            [ToolCall("call-0", "weather", "[1]"), ToolCall("call-1", "time", "[2]")],
        ),
        (
            [*tool_call("[2]", index=1, name="time"), *tool_call("[1]")],
            [ToolCall("call-0", "weather", "[1]"), ToolCall("call-1", "time", "[2]")],
        ),
        (tool_call("{oops"), [ToolCall("call-0", "weather", "{oops")]),
        (
            [{"tool_calls": [{"id": "call-0", "function": {"arguments": None}}, {"function": {"name": "late"}}]}],
            [ToolCall("call-0", "", ""), ToolCall("call_0", "late", "")],
        ),
        (
            [{"tool_calls": [{"index": 0, "id": "", "function": {"name": "weather", "arguments": {"a": 1}}}]}],
            [ToolCall("call_0", "weather", '{"a": 1}')],
        ),
    ],
    ids=["split", "two", "two in another order", "invalid JSON", "no index, no arguments", "an object"],
)
async def test_tool_calls_are_joined_as_they_came(deltas: list[dict[str, Any]], calls: list[ToolCall]):
    """D19, too."""
    reply = await said(faults.says(*answer(*deltas, reason="tool_calls")))
    assert (list(reply.tool_calls), reply.finish_reason) == (calls, "tool_calls")


@pytest.mark.parametrize(
    ("counted", "counts"),
    [
        ([usage(7, 2)], Usage(7, 2)),
        ([], None),
        ([None], None),
        ([usage(-1, "2")], Usage(None, None)),
        ([usage(7, 1), usage(7, 2)], Usage(7, 2)),
    ],
    ids=["once", "missing", "null", "no counts", "twice"],
)
async def test_usage_is_what_was_said_last(counted: list[Any], counts: Usage | None):
    pieces = [chunk(model="model", usage=count) for count in counted]
    assert (await said(faults.says(*HELLO[:3], *pieces, HELLO[-1]))).usage == counts


@pytest.mark.parametrize("make", [faults.close_at, faults.reset_at])
async def test_a_break_at_any_byte_is_told_and_only_a_proven_end_is_an_answer(make: Any):
    wire = b"".join(ABC.wire())
    proven = wire.index(DONE) + len(DONE)
    server = FaultServer(lambda visit: make(visit.number), answer=ABC)
    async with server as url, providerkit.Client(retry=ONCE) as client:
        for offset in range(len(wire) + 1):
            run = client.run("hello", provider=Macaw, base_url=url)
            if offset >= proven:
                assert (await run).text == "abc"
                continue
            with pytest.raises(providerkit.ProviderKitError) as caught:
                await run
            expected = providerkit.Disconnected if offset < wire.index(b"\r\n\r\n") + 4 else StreamTruncated
            assert type(caught.value) is expected, offset
            assert caught.value.partial == "".join(text for text in "abc" if _has(wire[:offset], text)), offset
    assert len(server.log) == len(wire) + 1


def _has(wire: bytes, text: str) -> bool:
    return f'data: "{text}"\n\n'.encode() in wire


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a BOM"])
async def test_a_body_that_is_cut_anywhere_gives_the_same_answer(start: bytes):
    pieces = [start, 'data: "\u00e9\U0001f99c"\r\n\r\n'.encode(), b"data: [DONE]\r\n\r\n"]
    size = len(b"".join(pieces))
    server = FaultServer(lambda visit: faults.split(visit.number), answer=Recording(pieces))
    async with server as url, providerkit.Client(retry=ONCE) as client:
        for _ in range(size + 1):
            assert (await client.run("hello", provider=Macaw, base_url=url)).text == "\u00e9\U0001f99c"


# places


@pytest.mark.parametrize("code", [407, 502])
async def test_a_proxy_that_refuses(code: int):
    proxy = faults.refusing_proxy(code)
    async with proxy as url:
        error = await failure(providerkit.ConnectError, ask("https://parrot.invalid", proxy=url))
        assert str(code) in str(error)
        kind = type(providerkit.ProviderError.from_status(code, ""))
        assert (await failure(kind, ask("http://parrot.invalid", proxy=url))).status == code
    assert [visit.method for visit in proxy.log] == ["CONNECT", "POST"]


async def test_a_proxy_that_is_silent():
    proxy = faults.silent_proxy()
    async with proxy as url:
        hurry = Timeouts(connect=0.3, first_event=0.4)
        slow = Timeouts(connect=0.3)
        error = await failure(TimedOut, ask("https://parrot.invalid", proxy=url, timeouts=slow))
        assert error.clock == "connect"
        error = await failure(TimedOut, ask("http://parrot.invalid", proxy=url, timeouts=hurry))
        assert error.clock == "first_event"
        assert (await proxy.closed(2)).closed in CLIENT


async def test_a_proxy_that_is_not_there():
    with faults.refused() as url:
        assert "proxy" in str(await failure(providerkit.ConnectError, ask("http://parrot.invalid", proxy=url)))


async def test_a_place_that_refuses_connections():
    with faults.refused() as url:
        error = await failure(providerkit.ConnectError, ask(url))
    assert url.removeprefix("http://") in str(error)


async def test_a_host_that_does_not_exist():
    with faults.unknown_host() as url:
        assert "provider.invalid" in str(await failure(providerkit.ConnectError, ask(url)))


async def test_a_place_that_takes_no_connection():
    with faults.full_backlog() as url:
        error = await failure(TimedOut, ask(url, timeouts=Timeouts(connect=0.05)))
    assert (error.clock, error.seconds) == ("connect", 0.05)


async def test_a_plain_server_that_is_asked_for_tls():
    server = faults.tls_to_plain()
    async with server as url:
        assert str(await failure(providerkit.ConnectError, ask(url))).startswith("no TLS with 127.0.0.1")
    assert [visit.method for visit in server.log] == [""]


async def test_a_handshake_that_is_never_answered():
    server = FaultServer(faults.hold_on_accept(), scheme="https")
    async with server as url:
        error = await failure(TimedOut, ask(url, timeouts=Timeouts(connect=0.3)))
        assert (error.clock, (await server.closed()).closed) == ("connect", "FIN")


async def test_a_handshake_that_is_cut():
    server = FaultServer([faults.cut_handshake(), faults.close_on_accept()], scheme="https")
    async with server as url:
        for _ in range(2):
            await failure(providerkit.ConnectError, ask(url))
    assert [visit.fault for visit in server.log] == [faults.cut_handshake(), faults.close_on_accept()]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("issuer", "unable to get local issuer"), ("date", "expired"), ("host", "not valid for '127.0.0.1'")],
)
async def test_a_certificate_that_is_wrong(wrong: str, words: str):
    authority = trustme.CA()
    context = ssl.create_default_context()
    if wrong != "issuer":
        authority.configure_trust(context)
    server = faults.bad_certificate(wrong, authority)
    async with server as url, aiohttp.TCPConnector(ssl=context) as connector:
        assert words in str(await failure(providerkit.ConnectError, ask(url, connector=connector)))
    assert server.log == []


async def test_a_certificate_that_is_right_serves_faults_by_tls():
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = FaultServer([faults.reset(2), healthy()], answer=ABC, tls=faults.certified(authority=authority))
    async with server as url, aiohttp.TCPConnector(ssl=context) as connector:
        error = await failure(StreamTruncated, ask(url, Macaw, connector=connector))
        assert error.partial == "ab"
        assert (await ask(url, Macaw, connector=connector)).text == "abc"


def test_certificates_need_trustme(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(providerkit.ConfigurationError, match="pip install trustme"):
        faults.bad_certificate()


# connections that are used again


async def test_a_request_that_loses_the_race_for_an_idle_connection_is_told_as_never_answered():
    server = FaultServer([healthy(), faults.close_unanswered(), healthy()], answer=ABC)
    async with server as url, providerkit.Client(retry=ONCE) as client:
        assert (await client.run("hello", provider=Macaw, base_url=url)).text == "abc"
        await failure(providerkit.Disconnected, client.run("hello", provider=Macaw, base_url=url, api_key=KEY))
        assert (await client.run("hello", provider=Macaw, base_url=url)).text == "abc"
    assert [visit.connection for visit in server.log] == [0, 0, 1]


async def test_an_answer_that_nobody_asked_for_is_nobodys_answer():
    unasked = b"".join(Recording([b'data: "of another"\n\n', DONE]).wire())
    server = FaultServer([faults.garbage_after(unasked), healthy()], answer=ABC)
    async with server as url, providerkit.Client(retry=ONCE) as client:
        for _ in range(2):
            assert (await client.run("hello", provider=Macaw, base_url=url)).text == "abc"
    assert [visit.connection for visit in server.log] == [0, 1]


# leaving


async def test_a_run_that_is_cancelled_while_it_connects_leaves_nothing():
    with faults.full_backlog() as url:
        async with providerkit.Client(retry=ONCE) as client:
            before = asyncio.all_tasks()
            task = asyncio.create_task(_collect(client.run("hello", provider=Macaw, base_url=url)))
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == before


LONG = 3600.0
WAITS = [
    faults.silence(LONG),
    faults.drip_head(LONG),
    faults.stall(0, LONG),
    faults.stall(1, LONG),
    faults.stall(-1, LONG),
    faults.drip(LONG),
    faults.comments(1, LONG),
]


@pytest.mark.parametrize("fault", WAITS, ids=repr)
async def test_a_run_that_is_cancelled_closes_its_connection_wherever_it_waits(fault: Fault):
    waiting = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        waiting.release()
        await asyncio.Event().wait()

    server = FaultServer([fault, healthy()], answer=ABC, sleep=sleep)
    async with server as url, providerkit.Client(retry=ONCE) as client:
        before = asyncio.all_tasks()
        run = client.run("hello", provider=Macaw, base_url=url)
        task = asyncio.create_task(_collect(run))
        await waiting.acquire()
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await server.closed()).closed in CLIENT
        assert not server.log[0].complete
        assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()
        assert (await client.run("hello", provider=Macaw, base_url=url)).text == "abc"


async def _collect(run: providerkit.Run) -> providerkit.Reply:
    return await run


async def test_a_thousand_runs_that_are_cancelled_at_once_leave_nothing():
    server = FaultServer(faults.stall(1), answer=ABC)
    async with server as url, providerkit.Client(retry=ONCE, timeouts=UNHURRIED) as client:
        before = asyncio.all_tasks()
        tasks = [asyncio.create_task(_collect(client.run("hi", provider=Macaw, base_url=url))) for _ in range(1000)]
        await until(lambda: len(server.log) == 1000, *tasks)
        for task in tasks:
            task.cancel()
        assert {type(done) for done in await asyncio.gather(*tasks, return_exceptions=True)} == {asyncio.CancelledError}
        await server.closed(1000)
        await turns()
        assert {visit.closed for visit in server.log} <= CLIENT
        assert asyncio.all_tasks() == before
    gc.collect()


SIXTY = ChatCompletions()
FORTY_OF_SIXTY = "".join(f"chat{number} " for number in range(40))


@pytest.mark.parametrize(
    ("script", "kind", "partial"),
    [
        ([faults.status(429, retry_after="2"), healthy()], providerkit.RateLimited, ""),
        (faults.status(503), providerkit.ServerError, ""),
        (faults.reset(after=40), StreamTruncated, FORTY_OF_SIXTY),
        (faults.stall(after=20), TimedOut, FORTY_OF_SIXTY[:130]),
        (faults.stall(after=0), TimedOut, ""),
        (faults.garble(9), StreamMalformed, FORTY_OF_SIXTY[:54]),
        (faults.silence(), TimedOut, ""),
    ],
    ids=["429 once", "503 always", "dies", "goes silent", "no first token", "garbled", "never answers"],
)
async def test_a_scenario_is_told_token_by_token(
    script: Script, kind: type[providerkit.ProviderKitError], partial: str
):
    server, clock = FaultServer(script, answer=SIXTY), HandClock()
    async with server as url, providerkit.Client(retry=ONCE, clock=clock) as client:
        run = client.run("hello", provider=SIXTY, base_url=url, api_key=KEY)
        error = await failure(kind, late(run, kind, partial, server, clock))
    assert error.partial == partial
    assert (run.reply.text, run.reply.finish_reason, run.reply.usage) == (partial, None, None)
    assert len(server.log) == 1


async def test_a_scenario_that_is_an_answer():
    for fault in (healthy(), faults.without(-1), faults.stall(after=0, seconds=0.001)):
        async with FaultServer(fault, answer=SIXTY) as url:
            reply = await ask(url, SIXTY)
        assert (reply.text, reply.finish_reason, reply.proven) == (SIXTY.text, "stop", True)
        assert reply.usage == Usage(7, 60)
