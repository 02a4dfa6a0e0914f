"""The server that breaks as it is told: its script, its log, its times, and how it is left."""

from __future__ import annotations

import asyncio
import inspect
import socket
import subprocess
import sys
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from asking import ONCE
from chat_completions import ChatCompletions
from parrots import Macaw, Parrot

import providerkit
from providerkit.testing import faults
from providerkit.testing.faultserver import Act, Fault, FaultServer
from providerkit.testing.recordings import Recording, record

A, DONE = b'data: "a"\n\n', b"data: [DONE]\n\n"
ANSWER = Recording([A, DONE])


async def ask(url: str, **options: object) -> str:
    return (await providerkit.run("hi", **{"provider": Macaw, "base_url": url, "retry": ONCE, **options})).text  # type: ignore[arg-type]


async def test_the_last_fault_of_a_script_repeats():
    server = FaultServer([faults.status(500), faults.status(503)], answer=ANSWER)
    statuses = []
    async with server as url:
        for _ in range(3):
            with pytest.raises(providerkit.ServerError) as caught:
                await ask(url)
            statuses.append(caught.value.status)
    assert statuses == [500, 503, 503]
    assert repr([visit.fault for visit in server.log]) == "[status(code=500), status(code=503), status(code=503)]"


async def test_a_script_may_be_a_function_of_the_visit():
    now = 100.0
    server = FaultServer(
        lambda visit: faults.status(503) if visit.at < 60 else faults.healthy(), answer=ANSWER, clock=lambda: now
    )
    async with server as url:
        with pytest.raises(providerkit.ServerError):
            await ask(url)
        now += 60
        assert (await ask(url), server.seconds) == ("a", 60)
    assert [(visit.number, visit.at) for visit in server.log] == [(0, 0), (1, 60)]


async def test_the_log_holds_what_came_and_what_went():
    server = FaultServer(faults.healthy(), answer=ANSWER)
    async with server as url, providerkit.Client(retry=ONCE) as client:
        asked = asyncio.create_task(server.asked(2))
        for _ in range(2):
            await client.run("hi", provider=Macaw, base_url=url, headers={"X-Mark": "1"})
        visit = await asked
        assert (visit.closed, visit.closed_at) == (None, None)
    ended = await server.closed(2)
    assert visit is server.log[1]
    assert (visit.number, visit.connection, visit.method, visit.path) == (1, 0, "POST", "/say")
    assert (visit.headers["x-mark"], providerkit.loads(visit.body)["text"]) == ("1", "hi")
    assert (visit.sent, visit.complete, visit.fault) == (len(b"".join(ANSWER.wire())), True, faults.healthy())
    assert (ended.closed, visit.at <= (ended.closed_at or 0)) == ("FIN", True)
    assert "hi" not in repr(visit)


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_the_log_says_how_the_client_left(how: str):
    server = FaultServer(faults.stall(after=None), answer=ANSWER)
    async with server as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(DONE)
        if how == "RST":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()
        assert (await server.closed()).closed == how
        assert not server.log[0].complete


async def test_leaving_ends_what_is_open():
    server = FaultServer(faults.stall(after=None), answer=ANSWER)
    async with server as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(DONE)
    await reader.read()
    writer.close()
    assert [visit.closed for visit in server.log] == ["server"]


async def test_a_connection_without_a_request_is_no_visit():
    server = FaultServer(faults.healthy(), answer=ANSWER)
    async with server as url:
        for sent in (b"", b"GET", b"GET / HTTP/1.1\r\n" + b"x" * 2**21):
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
            writer.write(sent)
            writer.write_eof()
            with suppress(ConnectionResetError):  # it was not read to its end
                assert await reader.read() == b""
            writer.close()
    assert (server.log, server.connections) == ([], 3)


async def test_a_fault_that_acts_on_new_connections_leaves_those_at_rest_alone():
    server = FaultServer([faults.healthy(), faults.reset_on_accept(), faults.healthy()], answer=ANSWER)
    async with server as url, providerkit.Client(retry=ONCE) as client:
        assert (await client.run("hi", provider=Macaw, base_url=url)).text == "a"
        with pytest.raises(providerkit.Disconnected):
            await client.run("hi", provider=Macaw, base_url=url)
        assert (await client.run("hi", provider=Macaw, base_url=url)).text == "a"
    assert [(visit.connection, visit.method) for visit in server.log] == [(0, "POST"), (0, "POST"), (1, "POST")]


@pytest.mark.parametrize(
    "fault",
    [faults.healthy(), faults.drip_head(), faults.stall(1, 0.001), faults.drip(), faults.split(3), faults.repeat(1, 1)],
    ids=repr,
)
@pytest.mark.parametrize("framing", ["chunks", "length", "end"])
async def test_a_fault_ends_an_answer_as_it_is_framed(fault: Fault, framing: str):
    async with FaultServer(fault, answer=Recording([A, A], framing=framing)) as url:
        reply = await providerkit.run("hi", provider=Parrot, base_url=url)
    assert (reply.text, reply.proven) == ("aa", framing != "end")


async def test_what_is_sent_waits_for_room():
    large = Recording([b": " + b"x" * 2**24 + b"\n\n", A, DONE])
    server = FaultServer([faults.close(after=2), faults.healthy()], answer=large)
    async with server as url:
        with pytest.raises(providerkit.StreamTruncated) as caught:
            await ask(url)
        assert (caught.value.partial, await ask(url)) == ("a", "a")
    assert server.log[0].sent > 2**24


async def test_no_more_is_sent_than_the_client_has_room_for():
    server = FaultServer(faults.endless_line(), answer=ANSWER)
    async with server as url:
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(1000):  # in each, a server that did not wait would send 64 KiB
            await asyncio.sleep(0)
        assert 0 < server.log[0].sent < 32 * 2**20
        writer.close()


@pytest.mark.parametrize("fault", [faults.close(1), faults.close_unanswered(), faults.close_on_accept()], ids=repr)
async def test_what_is_closed_ends_with_a_fin(fault: Fault):
    async with FaultServer(fault, answer=ANSWER) as url:
        assert (await received(url, asking=not fault.early)).endswith(A + b"\r\n" if fault.name == "close" else b"")


@pytest.mark.parametrize("fault", [faults.reset(1), faults.reset_unanswered(), faults.reset_on_accept()], ids=repr)
async def test_what_is_reset_ends_with_an_rst(fault: Fault):
    async with FaultServer(fault, answer=ANSWER) as url:
        with pytest.raises(ConnectionResetError):
            await received(url, asking=not fault.early)


async def received(url: str, *, asking: bool) -> bytes:
    """Return all that a server sends; one that closes before it is asked is not asked, which would be an RST."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" if asking else b"")
        return await reader.read()
    finally:
        writer.close()


async def test_a_client_that_leaves_while_the_server_waits_for_room_is_noticed():
    server = FaultServer([faults.endless_line(), faults.healthy()], answer=ANSWER)
    async with server as url, providerkit.Client(retry=ONCE) as client:
        async for _ in client.run("hi", provider=Macaw, base_url=url):
            await server.asked()
            break
        assert (await server.closed()).closed in {"FIN", "RST"}
        assert (await client.run("hi", provider=Macaw, base_url=url)).text == "a"


async def test_pauses_are_slept_by_the_sleep_that_was_given():
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with FaultServer(faults.stall(after=1, seconds=3600), answer=ANSWER, sleep=sleep) as url:
        assert await ask(url) == "a"
    assert slept == [3600]


@pytest.mark.parametrize("provider", ["koala", ChatCompletions(tokens=3)], ids=["by name", "a plugin"])
async def test_the_answer_is_that_of_the_providers_sandbox(provider: object):
    server = FaultServer([faults.healthy(), faults.close(after=2), faults.healthy()], answer=provider)
    async with server as url, providerkit.sandbox(provider) as sandbox:
        whole = await ask(sandbox, provider=provider)
        assert await ask(url, provider=provider) == whole
        with pytest.raises(providerkit.StreamTruncated) as caught:
            await ask(url, provider=provider)
        assert await ask(url, provider=provider) == whole
    assert caught.value.partial in ("You said:", "chat0 chat1 ")
    assert whole.startswith(caught.value.partial)


async def test_a_refusal_of_the_sandbox_is_an_answer_too():
    provider = ChatCompletions(prefill=False)
    async with FaultServer(faults.healthy(), answer=provider) as url:
        with pytest.raises(providerkit.BadRequest, match="may not be the assistant's"):
            await providerkit.run(
                [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
                provider=provider,
                base_url=url,
            )


async def test_what_a_script_raises_is_raised_on_leaving():
    server = FaultServer(lambda visit: 1 // 0, answer=ANSWER)  # type: ignore[arg-type, return-value]
    url = await server.__aenter__()
    with pytest.raises(providerkit.Disconnected):
        await ask(url)
    with pytest.raises(ZeroDivisionError):
        await server.__aexit__(None, None, None)


async def test_what_a_script_raises_hides_no_other_failure():
    with pytest.raises(providerkit.Disconnected):
        async with FaultServer(lambda visit: 1 // 0, answer=ANSWER) as url:  # type: ignore[arg-type, return-value]
            await ask(url)


async def test_a_fault_of_ones_own_is_a_list_of_steps():
    hiccup = Fault("hiccup", lambda answer: [b"HTTP/1.1 2", Act.TURN, Act.CLOSE])
    async with FaultServer(hiccup) as url:
        with pytest.raises(providerkit.Disconnected):
            await ask(url)


def test_blocking_callers_are_served():
    server = FaultServer([faults.reset(after=1), faults.healthy()], answer="koala")
    with server as url:
        with pytest.raises(providerkit.StreamTruncated) as caught:
            providerkit.run("hi", provider="koala", base_url=url, retry=ONCE).result()
        assert caught.value.partial == "You"
        assert providerkit.run("hi", provider="koala", base_url=url, retry=ONCE).result().proven
    assert [visit.complete for visit in server.log] == [True, True]


def test_what_a_script_raises_is_raised_to_blocking_callers():
    server = FaultServer(lambda visit: 1 // 0)  # type: ignore[arg-type, return-value]
    url = server.__enter__()
    with pytest.raises(providerkit.Disconnected):
        providerkit.run("hi", provider=Macaw, base_url=url, retry=ONCE).result()
    with pytest.raises(ZeroDivisionError):
        server.__exit__(None, None, None)


async def test_one_runs_once_at_a_time():
    server = FaultServer(faults.healthy(), answer=ANSWER)
    await server.__aexit__(None, None, None)
    for _ in range(2):
        async with server as url:
            assert await ask(url) == "a"
            with pytest.raises(providerkit.ConfigurationError, match="already"):
                await server.__aenter__()


def test_a_script_is_not_empty():
    with pytest.raises(providerkit.ConfigurationError, match="empty"):
        FaultServer([])


def test_faults_are_made_by_name():
    assert faults.named("reset", after=3) == faults.reset(after=3) == faults.reset(3)
    with pytest.raises(providerkit.ConfigurationError, match=r"'meteor'; there are healthy, refused"):
        faults.named("meteor")


def test_arguments_are_checked_when_a_fault_is_made():
    with pytest.raises(TypeError, match="code"):
        faults.status()  # type: ignore[call-arg]


def test_the_table_reads_as_a_table():
    for name, row in faults.FAULTS.items():
        assert row.name == name
        assert "answer" not in inspect.signature(row.make).parameters
        assert row.does.split("\n")[0].endswith(".")
        assert row.gets
        assert not row.gets.endswith(".")


def test_neither_pytest_nor_aiohttp_is_imported():
    unwanted = {"pytest", "aiohttp", "trustme"}
    code = f"import sys, providerkit.testing.faults; print([*{unwanted} & {{*sys.modules}}])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# recordings


@pytest.mark.parametrize("framing", ["chunks", "length", "end"])
async def test_a_recording_is_what_the_server_sent(framing: str):
    answer = Recording([A, DONE], 201, {"Content-Type": "text/event-stream", "X-Mark": "1"}, framing)
    server = FaultServer(faults.healthy(), answer=answer)
    async with server as url:
        taken = await record(url + "/say?x=1", headers={"x-asked": "yes", "Connection": "keep-alive"}, body=b"hi")
    assert (taken.status, taken.headers, taken.framing, taken.body) == (201, answer.headers, framing, answer.body)
    assert taken.pieces == ((A, DONE) if framing == "chunks" else (A + DONE,))
    visit = server.log[0]
    assert (visit.path, visit.body, visit.headers["X-Asked"], visit.headers["Connection"]) == (
        "/say?x=1",
        b"hi",
        "yes",
        "close",
    )


async def test_a_request_in_chunks_is_read_whole():
    server = FaultServer(faults.healthy(), answer=ANSWER)
    async with server as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n1\r\n!\r\n0\r\n\r\n")
        await reader.readuntil(DONE)
        writer.close()
    assert server.log[0].body == b"hi!"


async def test_what_can_not_be_recorded_raises():
    with faults.refused() as url, pytest.raises(ConnectionRefusedError):
        await record(url)
    async with FaultServer(faults.close(after=1), answer=ANSWER) as url:
        with pytest.raises(asyncio.IncompleteReadError):
            await record(url)


def test_a_status_without_a_name_has_a_phrase_all_the_same():
    assert Recording(status=529).head().startswith(b"HTTP/1.1 529 Unknown\r\n")
    with pytest.raises(ValueError, match="framing"):
        Recording(framing="guess")
