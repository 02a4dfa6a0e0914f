"""The transport, over real sockets: what goes out, what comes in, and how each break of the wire is told."""

from __future__ import annotations

import asyncio
import base64
import gc
import socket
import ssl
import subprocess
import sys
import weakref
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp_socks import ProxyConnector
from asking import KEY, ONCE, ask, failure, on_the_wire
from loopback import Handler, Received, chunked, http, reset, serve, serve_elsewhere
from parrots import Macaw, Parrot

import providerkit
from providerkit import Limits, Request, Timeouts, hookimpl, transport
from providerkit.transport import Connections, NetworkTransport

EVENT = b'data: "a"\n\n'
ANSWER = chunked(EVENT, b"data: [DONE]\n\n")
OPEN = chunked(EVENT, end=False)


async def test_a_request_names_us_asks_for_plain_bytes_and_carries_the_plugins_headers():
    async with serve(ANSWER) as server:
        await ask(server.base_url)
    (received,) = server.requests
    assert received.headers["user-agent"] == f"providerkit/{providerkit.__version__}"
    assert received.headers["accept-encoding"] == "identity"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in received.headers


@pytest.mark.parametrize("name", ["User-Agent", "accept-encoding", "Content-Type", "AUTHORIZATION", "X-New"])
async def test_the_callers_headers_override_any(name: str):
    async with serve(ANSWER) as server:
        await ask(server.base_url, headers={name: "of the caller"})
    assert server.requests[0].headers[name.lower()] == "of the caller"


async def test_an_answer_that_comes_whole_may_be_compressed():
    whole = on_the_wire(
        Parrot,
        build_request=hookimpl(
            lambda self, endpoint: Request.json(endpoint.url("/say"), {"text": "hello"}, stream=False)
        ),
    )
    async with serve(ANSWER) as server:
        await ask(server.base_url, whole)
    assert "gzip" in server.requests[0].headers["accept-encoding"]


@pytest.mark.parametrize("size", [0, 2**20, 2**20 + 1, 2**22])
async def test_a_request_of_any_size_arrives_whole(size: int):
    large = on_the_wire(
        Parrot, build_request=hookimpl(lambda self, endpoint: Request("POST", endpoint.url("/"), body=b"x" * size))
    )
    async with serve(ANSWER) as server:
        await ask(server.base_url, large)
    assert server.requests[0].body == b"x" * size
    assert server.requests[0].headers["content-length"] == str(size)


async def test_cookies_are_not_kept():
    async with serve(http(EVENT, Set_Cookie="crumb=1")) as server, providerkit.Client() as client:
        url = server.base_url.replace("127.0.0.1", "localhost")  # aiohttp keeps none of an address
        for _ in range(2):
            await client.run("hello", provider=Parrot, base_url=url)
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_error_and_its_target_sees_nothing(status: int):
    async with serve(ANSWER) as elsewhere, serve(http(status=status, Location=elsewhere.base_url)) as server:
        error = await failure(providerkit.ProviderError, ask(server.base_url))
    assert (error.status, "base_url" in str(error)) == (status, True)
    assert elsewhere.connections == 0


async def test_a_refused_connection_names_the_place():
    async with serve(ANSWER) as server:
        pass
    error = await failure(providerkit.ConnectError, ask(server.base_url))
    assert server.base_url.removeprefix("http://") in str(error)


async def test_a_host_that_does_not_exist_is_named():
    error = await failure(providerkit.ConnectError, ask("http://nope.invalid"))
    assert "nope.invalid" in str(error)


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".invalid"])
async def test_what_can_be_no_host_is_a_wrong_base_url(host: str):
    error = await failure(providerkit.InvalidOption, ask(f"http://{host}"))
    assert (error.option, host in str(error)) == ("base_url", True)


async def test_a_url_without_a_host_is_refused():
    lost = on_the_wire(Parrot, build_request=hookimpl(lambda self: Request("POST", "http:///say")))
    await failure(providerkit.InvalidOption, ask("http://nope.invalid", lost))


async def test_a_url_that_is_none_is_refused_as_the_plugin_makes_it():
    lost = on_the_wire(Parrot, build_request=hookimpl(lambda self: Request("POST", "/say")))
    error = await failure(providerkit.PluginError, ask("http://nope.invalid", lost))
    assert "build_request raised: PluginError: a request goes to an http or https address, not '/say'" in str(error)


async def test_any_other_failure_is_told_by_its_name_alone():
    rude = on_the_wire(
        Parrot, build_request=hookimpl(lambda self, endpoint: Request(endpoint.api_key.reveal() + "\n", "http://x"))
    )
    error = await failure(providerkit.TransportError, ask("http://nope.invalid", rude))
    assert str(error) == "the request to x failed: ValueError"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> aiohttp.TCPConnector:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return aiohttp.TCPConnector(ssl=context)


async def test_tls_works_through_a_connector_that_trusts(authority: trustme.CA):
    async with serve(ANSWER, ssl=serving(authority, "127.0.0.1")) as server, trusting(authority) as connector:
        assert (await ask(server.base_url, connector=connector)).text == "a"


async def test_an_untrusted_certificate_is_a_connect_error(authority: trustme.CA):
    async with serve(ANSWER, ssl=serving(authority, "127.0.0.1")) as server:
        error = await failure(providerkit.ConnectError, ask(server.base_url))
    assert str(error).startswith("no TLS with 127.0.0.1")
    assert server.requests == []


async def test_a_certificate_of_another_host_is_a_connect_error(authority: trustme.CA):
    async with serve(ANSWER, ssl=serving(authority, "parrot.invalid")) as server, trusting(authority) as connector:
        error = await failure(providerkit.ConnectError, ask(server.base_url, connector=connector))
    assert "not valid for '127.0.0.1'" in str(error)
    assert server.requests == []


async def test_a_plain_server_asked_for_tls_is_a_connect_error():
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(status=400))
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(providerkit.ConnectError, ask(f"https://127.0.0.1:{port}"))
    assert str(error).startswith("no TLS with 127.0.0.1")


async def test_a_connection_that_does_not_come_in_time_fires_the_connect_clock():
    async with serve(OPEN) as server, providerkit.Client(limits=Limits(connections=1)) as client:
        holder = aiter(client.run("hello", provider=Parrot, base_url=server.base_url))
        await anext(holder)
        waiting = client.run("hello", provider=Parrot, base_url=server.base_url, timeouts=Timeouts(connect=0.01))
        error = await failure(providerkit.TimedOut, waiting)
        await holder.aclose()
    assert (error.clock, error.seconds) == ("connect", 0.01)
    assert isinstance(error, TimeoutError)


@pytest.mark.parametrize("connections", [1, 3], ids=["full pool", "new connection"])
async def test_a_client_that_closes_while_a_run_waits_for_its_connection_says_so(connections: int):
    async with serve(OPEN) as server:
        client = providerkit.Client(limits=Limits(connections=connections))
        texts = aiter(client.run("hello", provider=Parrot, base_url=server.base_url))
        await anext(texts)

        async def wait() -> providerkit.Reply:
            return await client.run("hello", provider=Parrot, base_url=server.base_url)

        waiting, cancelled = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        cancelled.cancel()
        await client.aclose()
        await failure(providerkit.ConfigurationError, waiting)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await texts.aclose()


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        pytest.param(providerkit.Disconnected, b"RST", id="reset"),
        pytest.param(providerkit.Disconnected, b"", id="closed"),
        pytest.param(providerkit.Disconnected, b"HTTP/1.1 200 OK\r\nContent-", id="closed in the head"),
        pytest.param(providerkit.StreamMalformed, b"HTTP/9.9 abc\r\n\r\n", id="no such version"),
        pytest.param(providerkit.StreamMalformed, b"<html>" + KEY.encode() + b"</html>\r\n\r\n", id="no status line"),
        pytest.param(providerkit.StreamMalformed, http(X_Long="x" * 9000), id="a header over the cap"),
        pytest.param(providerkit.StreamMalformed, http(X_Echo=KEY * 500), id="a header over the cap, with the key"),
    ],
)
async def test_an_answer_that_is_no_http(kind: type[providerkit.ProviderKitError], answer: bytes):
    async def broken(received: Received, writer: asyncio.StreamWriter) -> None:
        if answer == b"RST":
            reset(writer)
        else:
            writer.write(answer)
            writer.close()

    async with serve(broken) as server:
        error = await failure(kind, ask(server.base_url))
    assert server.base_url.removeprefix("http://") in str(error)
    assert "\n" not in str(error)
    assert error.partial == ""


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OPEN, id="chunks without an end"),
        pytest.param(chunked(EVENT, end=False) + b"5\r\nda", id="a chunk cut short"),
        pytest.param(chunked(EVENT, end=False) + b"what\r\n", id="a chunk without a size"),
        pytest.param(http(EVENT).replace(b"Length: ", b"Length: 1"), id="a length not reached"),
    ],
)
@pytest.mark.parametrize("provider", [Parrot, Macaw])
async def test_a_body_cut_short_is_an_error_that_holds_the_text(answer: bytes, provider: type[Parrot]):
    start, _, rest = answer.partition(EVENT)

    async def cut(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(start + EVENT)
        await delivered.wait()
        writer.write(rest)
        writer.close()

    delivered = asyncio.Event()
    texts = []
    async with serve(cut) as server, providerkit.Client() as client:
        run = client.run("hello", provider=provider, api_key=KEY, base_url=server.base_url)

        async def consume() -> None:
            async for text in run:
                texts.append(text)
                delivered.set()

        error = await failure(providerkit.StreamTruncated, consume())
    assert (texts, error.partial, run.reply.text, run.reply.finish_reason) == (["a"], "a", "a", None)
    assert [attempt.error for attempt in run.reply.attempts] == [error]


async def test_a_reset_in_mid_answer_is_an_error_that_holds_the_text():
    async def broken(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(OPEN)
        await delivered.wait()
        reset(writer)

    delivered = asyncio.Event()
    async with serve(broken) as server, providerkit.Client() as client:
        run = client.run("hello", provider=Parrot, api_key=KEY, base_url=server.base_url)

        async def consume() -> None:
            async for _ in run:
                delivered.set()

        error = await failure(providerkit.StreamTruncated, consume())
    assert error.partial == "a"


UNTIL_THE_END = {
    "no frame": http(EVENT, framed=False),
    "HTTP/1.0": http(EVENT, framed=False).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "Connection: close": http(EVENT, framed=False, Connection="close"),
    "chunks that were wrapped": http(EVENT, framed=False, Transfer_Encoding="chunked, gzip"),
    "no such coding": http(EVENT, framed=False, Transfer_Encoding="x-chunked"),
    "identity": http(EVENT, framed=False, Transfer_Encoding="identity"),
}


@asynccontextmanager
async def called_by_tls(handler: Handler, authority: trustme.CA) -> AsyncIterator[tuple[str, dict[str, object]]]:
    async with serve(handler, ssl=serving(authority, "127.0.0.1")) as server, trusting(authority) as connector:
        yield server.base_url, {"connector": connector}


@asynccontextmanager
async def called_by_socks(handler: Handler, authority: trustme.CA) -> AsyncIterator[tuple[str, dict[str, object]]]:
    async with serve_socks(handler) as (url, _):
        yield "http://parrot.invalid", {"proxy": url}


@asynccontextmanager
async def called_by_proxy(handler: Handler, authority: trustme.CA) -> AsyncIterator[tuple[str, dict[str, object]]]:
    async with serve(handler) as server:
        yield "http://parrot.invalid", {"proxy": server.base_url}


@asynccontextmanager
async def called(handler: Handler, authority: trustme.CA) -> AsyncIterator[tuple[str, dict[str, object]]]:
    async with serve(handler) as server:
        yield server.base_url, {}


@pytest.mark.parametrize("answer", UNTIL_THE_END.values(), ids=UNTIL_THE_END)
@pytest.mark.parametrize("way", [called, called_by_tls, called_by_socks, called_by_proxy])
@pytest.mark.parametrize("ends", ["RST", "FIN"])
async def test_a_body_that_ends_with_its_connection_is_broken_by_a_reset_and_never_proven(
    way: Any, answer: bytes, ends: str, authority: trustme.CA
):
    async def answer_and_end(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        await delivered.wait()
        if ends == "RST":
            reset(writer)
        else:
            writer.close()

    delivered = asyncio.Event()
    async with way(answer_and_end, authority) as (base_url, options), providerkit.Client(retry=ONCE) as client:
        run = client.run("hello", provider=Parrot, api_key=KEY, base_url=base_url, **options)

        async def consume() -> None:
            async for _ in run:
                delivered.set()

        if ends == "RST":
            error = await failure(providerkit.StreamTruncated, consume())
            assert (error.partial, "reset" in str(error)) == ("a", True)
        else:
            await consume()
    assert (run.reply.text, run.reply.proven) == ("a", False)


GARBAGE = [b"GARBAGE\r\n\r\n", b"\r\n\r\n", b"\0", http(b"x"), b"HTTP/1.1 101 Up\r\nUpgrade: x\r\n\r\nx", b"\r\nX: y"]


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
@pytest.mark.parametrize("answer", [ANSWER, http(EVENT), chunked(EVENT)], ids=["marked", "with a length", "chunked"])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"], ids=["at once", "after hints"])
async def test_a_whole_answer_outlives_what_comes_behind_it_in_its_packet(
    garbage: bytes, answer: bytes, interim: bytes
):
    provider = Macaw if answer == ANSWER else Parrot

    async def answer_too_much(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(interim + answer + garbage)

    async with serve(answer_too_much) as server, providerkit.Client(retry=ONCE) as client:
        for _ in range(2):
            reply = await client.run("hello", provider=provider, base_url=server.base_url)
            assert (reply.text, reply.proven) == ("a", True)
    assert (len(server.requests), server.connections) == (2, 1 if garbage.isspace() else 2)


@pytest.mark.parametrize("cut", range(1, len(chunked(EVENT)) + 3))
async def test_a_head_is_read_wherever_its_packets_are_cut(cut: int):
    async def answer_in_two(received: Received, writer: asyncio.StreamWriter) -> None:
        wire = chunked(EVENT) + b"\0\0\0"
        writer.write(wire[:cut])
        for _ in range(5):
            await asyncio.sleep(0)
        writer.write(wire[cut:])

    async with serve(answer_in_two) as server:
        reply = await ask(server.base_url)
    assert (reply.text, reply.proven) == ("a", True)


async def test_an_answer_that_goes_over_to_another_protocol_is_an_error():
    async with serve(b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nGARBAGE") as server:
        error = await failure(providerkit.ProviderError, ask(server.base_url))
    assert error.status == 101


async def test_a_connection_that_closes_as_it_is_used_again_names_no_query():
    async def refuse(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"", status=503))
        writer.close()

    def build_request(self: object, endpoint: providerkit.Endpoint) -> Request:
        return Request.json(endpoint.url("/say?session=s3cret"), {"text": "hello"})

    secretive = on_the_wire(Parrot, build_request=hookimpl(build_request))
    async with serve(refuse) as server, providerkit.Client(retry=providerkit.Retry(attempts=3, base=0)) as client:
        run = client.run("hello", provider=secretive, api_key=KEY, base_url=server.base_url)
        with pytest.raises(providerkit.ProviderKitError) as caught:
            await run
    assert len(run.reply.attempts) == 3
    assert "s3cret" not in "".join((*caught.value.__notes__, *(str(attempt.error) for attempt in run.reply.attempts)))


async def test_what_came_before_a_break_counts_however_slow_the_consumer():
    async def broken(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(OPEN)
        await held.wait()
        writer.write(b'17\r\ndata: "b"\n\ndata: [DONE]\r\n2\r\n\n\n')
        reset(writer)

    held = asyncio.Event()
    async with serve(broken) as server, providerkit.Client() as client:
        run = client.run("hello", provider=Macaw, api_key=KEY, base_url=server.base_url)
        async for _ in run:
            if not held.is_set():
                held.set()
                await server.closed.get()
                for _ in range(5):
                    await asyncio.sleep(0)
    assert (run.reply.text, run.reply.proven) == ("ab", True)


async def test_a_body_that_ends_with_its_connection_is_unproven():
    async with serve(http(EVENT, framed=False)) as server:
        reply = await ask(server.base_url)
        assert (reply.text, reply.finish_reason, reply.proven) == ("a", "stop", False)
    async with serve(http(EVENT)) as server:
        assert (await ask(server.base_url)).proven


async def test_a_mark_of_the_end_proves_a_body_without_a_frame():
    async with serve(http(EVENT + b"data: [DONE]\n\n", framed=False)) as server:
        assert (await ask(server.base_url, Macaw)).proven


async def test_header_bytes_that_are_no_text_are_replaced():
    answer = b"HTTP/1.1 200 \xff\r\nX-Request-ID: \xff\xe2\x82\xac\r\nContent-Type: \xed\xa0\x80\r\n\r\n<html>"
    choosy = on_the_wire(Parrot, parse_stream=hookimpl(lambda self, head: providerkit.ByContent(head)))
    async with serve(answer) as server:
        error = await failure(providerkit.UnexpectedContent, ask(server.base_url, choosy))
    assert error.request_id == "\ufffd€"
    assert "got \ufffd\ufffd\ufffd that starts" in str(error)


def gzipped(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(body) + compressor.flush(zlib.Z_SYNC_FLUSH)


async def test_a_compressed_body_is_read_though_none_was_asked_for_and_proves_nothing():
    cut = gzipped(EVENT)  # the trailer is missing, and yet it ends cleanly
    async with serve(http(cut, Content_Encoding="gzip")) as server:
        reply = await ask(server.base_url, Parrot)
        assert (reply.text, reply.proven) == ("a", False)
        error = await failure(providerkit.StreamTruncated, ask(server.base_url, Macaw))
        assert error.partial == "a"


async def test_a_body_in_a_compression_that_is_none_is_truncated():
    async with serve(http(EVENT, Content_Encoding="gzip")) as server:
        await failure(providerkit.StreamTruncated, ask(server.base_url))


def ending_late(turns: int) -> Handler:
    """Answer, and end the body some turns of the loop after its mark."""

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER.removesuffix(b"0\r\n\r\n"))
        for _ in range(turns):
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    return answer


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_the_end_of_a_body_that_follows_its_mark_frees_the_connection(turns: int):
    async with serve(ending_late(turns)) as server, providerkit.Client() as client:
        for _ in range(3):
            await client.run("hello", provider=Macaw, base_url=server.base_url)
    assert (len(server.requests), server.connections) == (3, 1)


async def test_an_error_that_was_read_whole_frees_the_connection():
    async with serve(http(b"busy", status=503)) as server, providerkit.Client(retry=ONCE) as client:
        for _ in range(2):
            run = client.run("hello", provider=Parrot, api_key=KEY, base_url=server.base_url)
            await failure(providerkit.ServerError, run)
    assert server.connections == 1


async def test_a_run_left_early_closes_its_connection_and_the_next_opens_another():
    async with serve(OPEN) as server, providerkit.Client() as client:
        for _ in range(2):
            run = client.run("hello", provider=Parrot, base_url=server.base_url)
            async for _ in run:
                break
            await run.aclose()
            await server.closed.get()
    assert server.connections == 2


async def test_an_error_body_over_the_cap_is_not_drained():
    async with serve(http(b"x" * 2**21, status=500)) as server, providerkit.Client(retry=ONCE) as client:
        for _ in range(2):
            run = client.run("hello", provider=Parrot, api_key=KEY, base_url=server.base_url)
            await failure(providerkit.ServerError, run)
    assert server.connections == 2


async def test_a_connector_that_is_passed_is_used_and_not_closed():
    async with serve(ANSWER) as server, aiohttp.TCPConnector() as connector:
        for _ in range(2):
            await ask(server.base_url, connector=connector)
        assert not connector.closed
    assert server.connections == 1


async def test_a_failed_run_does_not_close_the_connector_either():
    async with serve(OPEN) as server, aiohttp.TCPConnector() as connector:
        await failure(providerkit.ConnectError, ask("http://nope.invalid", connector=connector))
        assert not connector.closed
        async for _ in providerkit.run("hello", provider=Parrot, base_url=server.base_url, connector=connector):
            break
        await server.closed.get()
        assert not connector.closed


async def test_a_connector_that_is_closed_is_refused():
    connector = aiohttp.TCPConnector()
    await connector.close()
    error = await failure(providerkit.InvalidOption, ask("http://nope.invalid", connector=connector))
    assert error.option == "connector"


def test_a_connector_of_another_loop_is_refused():
    async def make() -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector()

    with asyncio.Runner() as runner, asyncio.Runner() as other:
        connector = other.run(make())
        error = runner.run(failure(providerkit.InvalidOption, ask("http://nope.invalid", connector=connector)))
        assert error.option == "connector"
        other.run(connector.close())


def test_a_pool_ends_with_its_loop_and_is_forgotten():
    connections = Connections(Limits())

    async def closed_sessions() -> list[bool]:
        await connections.session()
        return [session.closed for session, _ in connections._pools.values()]

    assert [asyncio.run(closed_sessions()) for _ in range(3)] == [[False], [False], [False]]


async def test_a_session_that_was_closed_is_replaced():
    connections = Connections(Limits())
    first = await connections.session()
    assert await connections.session() is first
    await first.close()
    assert await connections.session() is not first
    await connections.close()
    await connections.close()
    with pytest.raises(providerkit.ConfigurationError, match="closed"):
        await connections.session()
    await connections.close()


async def test_what_a_connection_has_carried_is_not_kept():
    connections = Connections(Limits())
    async with serve(ending_late(5)) as server:
        sending = NetworkTransport(connections).send(Request("GET", server.base_url))
        async with sending as response:
            assert [chunk async for chunk in response.chunks()]
        carried = weakref.ref(response)
        del response, sending
        assert carried() is None
        await connections.close()
    assert server.connections == 1


async def test_a_connection_that_breaks_at_rest_is_nobodys_business(caplog: pytest.LogCaptureFixture):
    async def leave(received: Received, writer: asyncio.StreamWriter) -> None:
        await ending_late(2)(received, writer)
        await answered.wait()
        reset(writer)

    answered = asyncio.Event()
    async with serve(leave) as server, providerkit.Client() as client:
        await client.run("hello", provider=Macaw, base_url=server.base_url)
        answered.set()
        await server.closed.get()
        for _ in range(5):
            await asyncio.sleep(0)
        await client.run("hello", provider=Macaw, base_url=server.base_url)
    gc.collect()
    assert (server.connections, caplog.messages) == (2, [])


@pytest.mark.parametrize("late", [False, True], ids=["with the end of the body", "on the idle connection"])
async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(late: bool):
    async def answer_twice(received: Received, writer: asyncio.StreamWriter) -> None:
        unasked = http(b'data: "of another"\n\ndata: [DONE]\n\n')
        writer.write(OPEN)
        for _ in range(5):
            await asyncio.sleep(0)
        writer.write(ANSWER.removeprefix(OPEN) + (b"" if late else unasked))
        if late:
            await answered.wait()
            writer.write(unasked)

    answered = asyncio.Event()
    async with serve(answer_twice) as server, providerkit.Client() as client:
        for _ in range(2):
            reply = await client.run("hello", provider=Macaw, base_url=server.base_url)
            assert reply.text == "a"
            answered.set()
            for _ in range(5):
                await asyncio.sleep(0)
    assert (len(server.requests), server.connections) == (2, 2)


BASIC = "Basic " + base64.b64encode(b"polly:pa55 word").decode()


async def test_an_http_proxy_is_asked_in_place_of_the_host():
    async with serve(ANSWER) as proxy:
        url = proxy.base_url.replace("http://", "http://polly:pa55%20word@")
        assert (await ask("http://parrot.invalid", proxy=url)).text == "a"
        assert (await ask("http://parrot.invalid", proxy=proxy.base_url)).text == "a"
    received, without = proxy.requests
    assert received.path == "http://parrot.invalid/say"
    assert (received.headers["proxy-authorization"], "proxy-authorization" in without.headers) == (BASIC, False)


async def test_an_http_proxy_that_refuses_to_connect_is_a_connect_error():
    async with serve(http(status=407)) as proxy:
        url = proxy.base_url.replace("http://", "http://polly:pa55%20word@")
        error = await failure(providerkit.ConnectError, ask("https://parrot.invalid", proxy=url), "pa55")
    (received,) = proxy.requests
    assert (received.method, received.headers["proxy-authorization"]) == ("CONNECT", BASIC)
    assert "407" in str(error)


async def test_no_key_of_a_connection_holds_the_password_of_a_proxy():
    connections = Connections(Limits())
    async with serve(ANSWER) as proxy:
        url = proxy.base_url.replace("http://", "http://polly:pa55word@")
        async with NetworkTransport(connections, proxy=url).send(Request("GET", "http://parrot.invalid")):
            session = await connections.session()
            assert "polly" not in repr(session.connector._acquired_per_host)  # which aiohttp shows in its warnings
    await connections.close()


SOCKS = ("socks4", "socks4a", "socks5", "socks5h")
PROXIES = ("http", "https", *SOCKS, "HTTP", "SOCKS5")


@pytest.mark.parametrize("scheme", PROXIES)
@pytest.mark.parametrize("target", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_a_connect_error(scheme: str, target: str):
    async with serve(ANSWER) as proxy:
        place = proxy.base_url.removeprefix("http://")
    error = await failure(
        providerkit.ConnectError, ask(f"{target}://127.0.0.1:1", proxy=f"{scheme}://polly:pa55word@{place}"), "pa55word"
    )
    assert str(error).startswith(f"can't reach the proxy {place} on the way to 127.0.0.1:1: Connect call failed")


@pytest.mark.parametrize("scheme", PROXIES)
@pytest.mark.parametrize("target", ["http", "https"])
async def test_a_proxy_whose_name_nobody_knows_is_to_blame_for_it(scheme: str, target: str):
    proxy = f"{scheme}://polly:pa55word@proxy.invalid:1080"
    error = await failure(providerkit.ConnectError, ask(f"{target}://127.0.0.1:1", proxy=proxy), "pa55word")
    assert str(error) == "can't find the proxy proxy.invalid:1080; is it spelt right, is the network up?"


@asynccontextmanager
async def serve_bytes(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer the first bytes of each connection with these, and close; give the place, and what came."""
    came: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(2**16))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1") as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", came


@pytest.mark.parametrize("scheme", ["http", *SOCKS, "SOCKS5"])
@pytest.mark.parametrize("answer", [b"", b"\x05", b"HTTP/1.1 2"], ids=repr)
async def test_a_handshake_with_a_proxy_that_is_cut_is_tried_again_and_names_the_proxy(scheme: str, answer: bytes):
    retry = providerkit.Retry(attempts=2, base=0)
    async with serve_bytes(answer) as (place, came):
        proxy = f"{scheme}://polly:pa55word@{place}"
        error = await failure(
            providerkit.ConnectError, ask("https://127.0.0.1:1", proxy=proxy, retry=retry), "pa55word"
        )
        assert str(error).startswith(f"the proxy {place} ")
        assert len(came) == 2
        assert {first[:1] for first in came} == {{"5": b"\x05", "4": b"\x04"}.get(scheme[5:6], b"C")}


@pytest.mark.parametrize(
    ("answer", "kind"), [(b"", providerkit.Disconnected), (b"\x05\xff", providerkit.ConnectError)], ids=repr
)
async def test_a_socks_proxy_of_the_callers_own_connector_that_fails_is_an_error_of_ours(answer: bytes, kind: type):
    async with serve_bytes(answer) as (place, _), ProxyConnector.from_url(f"socks5://{place}") as connector:
        await failure(kind, ask("http://parrot.invalid", connector=connector))


async def test_a_connection_through_a_proxy_that_breaks_once_it_is_there_is_no_failure_to_connect():
    async with serve_bytes(b"") as (place, _):
        error = await failure(providerkit.Disconnected, ask("http://parrot.invalid", proxy=f"http://{place}"))
    assert str(error).startswith("parrot.invalid closed the connection before it answered")


async def test_a_proxy_that_does_not_speak_http_is_named():
    async with serve_bytes(b"220 smtp.example ESMTP\r\n") as (place, _):
        error = await failure(providerkit.ConnectError, ask("https://127.0.0.1:1", proxy=f"http://{place}"))
    assert str(error).startswith(f"the proxy {place} did not answer in HTTP: ")


async def test_a_proxy_without_the_tls_that_it_was_named_with_is_to_blame_for_it():
    async with serve_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (place, _):
        error = await failure(providerkit.ConnectError, ask("http://127.0.0.1:1", proxy=f"https://{place}"))
    assert str(error).startswith(f"no TLS with the proxy {place}: ")


async def tunnel(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    writer.write(b"no TLS here, only words\r\n" * 10)
    await writer.drain()
    writer.close()


async def test_a_host_behind_a_proxy_that_speaks_no_tls_is_to_blame_for_it():
    async with serve(tunnel) as proxy:
        error = await failure(providerkit.ConnectError, ask("https://parrot.invalid", proxy=proxy.base_url))
    assert str(error).startswith(("no TLS with parrot.invalid", "can't connect to parrot.invalid"))


async def test_a_host_behind_a_socks_proxy_that_speaks_no_tls_is_to_blame_for_it():
    async with serve_socks(b"no TLS here, only words\r\n" * 10, wait=False) as (url, _):
        error = await failure(providerkit.ConnectError, ask("https://parrot.invalid", proxy=url))
    assert str(error).startswith("no TLS with parrot.invalid")


@asynccontextmanager
async def serve_socks(
    answer: bytes | Handler, *, reply: int = 0, wait: bool = True
) -> AsyncIterator[tuple[str, asyncio.Queue[bytes]]]:
    """Play a SOCKS5 proxy (RFC 1928) and the host behind it; give its URL and the hosts it was asked for."""
    hosts: asyncio.Queue[bytes] = asyncio.Queue()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        *_, length = await reader.readexactly(5)
        hosts.put_nowait(await reader.readexactly(length))
        await reader.readexactly(2)
        writer.write(bytes((5, reply, 0, 1)) + bytes(6))
        if not reply:
            await (reader.readuntil(b"\r\n\r\n") if wait else reader.read(1))
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                await answer(Received("POST", "/", {}, b""), writer)
        await reader.read()
        hosts.put_nowait(b"closed")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1") as server:
        yield f"socks5://127.0.0.1:{server.sockets[0].getsockname()[1]}", hosts


LOOP_CLOSED_EARLY = """
import asyncio, gc, sys
import providerkit
from parrots import Parrot

url, left, key = sys.argv[1:]

async def begin():
    run = providerkit.Client().run("hello", provider=Parrot, base_url="http://parrot.invalid", api_key=key, proxy=url)
    texts = aiter(run)
    assert await anext(texts) == "a"
    if left == "in a task":
        asyncio.get_running_loop().stop()
        await anext(texts)
    return texts

loop = asyncio.new_event_loop()
task = loop.create_task(begin())
loop.run_forever() if left == "in a task" else loop.run_until_complete(task)
loop.close()
if left == "later":
    async def leave(texts):
        await texts.aclose()
    asyncio.run(leave(task.result()))
del task
gc.collect()
"""


@pytest.mark.parametrize("left", ["in a task", "never", "later"])
@pytest.mark.parametrize("mode", ["-Walways", "-Xdev"])
def test_a_loop_that_is_closed_in_mid_answer_leaves_no_connection_to_complain_of(left: str, mode: str):
    with serve_elsewhere(OPEN) as proxy:
        url = proxy.base_url.replace("//", "//polly:pa55word@")
        program = [sys.executable, mode, "-c", LOOP_CLOSED_EARLY, url, left, KEY]
        done = subprocess.run(program, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    said = done.stdout + done.stderr
    assert [word for word in ("Unclosed connection", "Unclosed response", "pa55word", KEY) if word in said] == []


@pytest.mark.filterwarnings("ignore:[Uu]nclosed:ResourceWarning")  # of what can be closed on its own loop alone
def test_an_answer_whose_loop_is_closed_closes_its_connection():
    connections = Connections(Limits())
    loop = asyncio.new_event_loop()
    with serve_elsewhere(OPEN) as server:
        sending = NetworkTransport(connections).send(Request("GET", server.base_url))
        loop.run_until_complete(sending.__aenter__())
        loop.close()
        response = sending._response
        del sending
        gc.collect()
        assert response.closed
        assert response.connection is None or response.connection._protocol is None
        del response
        gc.collect()


async def test_an_answer_that_is_left_twice_is_left_once():
    async with serve(OPEN) as server:
        sending = NetworkTransport(Connections(Limits())).send(Request("GET", server.base_url))
        await sending.__aenter__()
        for _ in range(2):
            await sending.__aexit__(asyncio.CancelledError, None, None)
        assert sending._response is None


async def test_an_answer_that_is_forgotten_in_the_middle_closes_its_connection():
    connections = Connections(Limits())
    async with serve(OPEN) as server:
        sending = NetworkTransport(connections).send(Request("GET", server.base_url))
        await sending.__aenter__()
        del sending
        gc.collect()
        await server.closed.get()
        await connections.close()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS5", "Socks5H"])
async def test_a_socks_proxy_is_asked_for_the_host_and_let_go(scheme: str):
    async with serve_socks(ANSWER) as (url, hosts):
        assert (await ask("http://parrot.invalid", proxy=url.replace("socks5", scheme))).text == "a"
        assert [await hosts.get(), await hosts.get()] == [b"parrot.invalid", b"closed"]


async def test_a_socks_proxy_that_refuses_is_a_connect_error():
    async with serve_socks(b"", reply=5) as (url, _):
        error = await failure(providerkit.ConnectError, ask("http://parrot.invalid", proxy=url))
    place = url.removeprefix("socks5://")
    assert str(error) == f"the proxy {place} does not lead to parrot.invalid: Connection refused by destination host"


async def test_a_socks_proxy_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    error = await failure(providerkit.ConfigurationError, ask("http://x.invalid", proxy="socks5://127.0.0.1:1080"))
    assert "pip install aiohttp-socks" in str(error)


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        "localhost",
        "ftp://u:pa55word@h:1",
        "http://",
        "http://u:pa55word@h:port",
        "socks5://h",
        8080,
        "http://u:pa55word@a b:1",
        "http://u:pa55word@h:1\n",
        "http://h:0",
        f"http://u:pa55word@{'h' * 64}:1",
        "socks://h:1",
        "http://[h:1",
        b"http://h:1",
    ],
)
async def test_a_proxy_that_is_none_is_refused_before_anything_is_sent(proxy: str):
    error = await failure(providerkit.InvalidOption, ask("http://parrot.invalid", proxy=proxy), "pa55word")
    assert error.option == "proxy"


async def test_a_response_knows_its_head_and_where_it_came_from():
    connections = Connections(Limits())
    async with serve(chunked(b"one", b"two", content_type="Text/Plain; x=y")) as server:
        async with NetworkTransport(connections).send(Request("GET", server.base_url + "/?q=1")) as response:
            assert (response.source, response.head.status, response.head.content_type) == ("network", 200, "text/plain")
            assert b"".join([chunk async for chunk in response.chunks()]) == b"onetwo"
        await connections.close()
    assert (server.requests[0].method, server.requests[0].path) == ("GET", "/?q=1")


async def test_what_a_fork_does_to_inherited_sockets_closes_them_quietly(monkeypatch: pytest.MonkeyPatch):
    """Called here, where nobody else holds them, it lets the server see the end; what is idle or closed, too."""
    monkeypatch.setattr(transport, "_sockets", weakref.WeakSet())

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(OPEN if received.path == "/say" else ANSWER)
        await asyncio.Event().wait()

    async with serve(answer) as server, providerkit.Client() as client:
        texts = aiter(client.run("hi", provider=Parrot, base_url=server.base_url))
        left = aiter(client.run("hi", provider=Parrot, base_url=server.base_url))
        assert [await anext(texts), await anext(left)] == ["a", "a"]
        await left.aclose()
        await server.closed.get()
        transport._let_go_of_sockets()
        await server.closed.get()
        await texts.aclose()


async def test_an_address_with_a_scope_is_named_by_the_system(monkeypatch: pytest.MonkeyPatch):
    """Link-local addresses of IPv6 (RFC 4007) have one; aiohttp asks a loop for it, and here a thread."""
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 2))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **hints: found)
    monkeypatch.setattr(socket, "getnameinfo", lambda address, flags: ("fe80::1%eth0", str(address[1])))
    resolved = await transport._resolver().resolve("here", 80, socket.AF_INET6)
    assert [(place["host"], place["port"]) for place in resolved] == [("fe80::1%eth0", 80)]
