"""Heads of HTTP that come in pieces, with anything behind them."""

import asyncio

import pytest
from aiohttp.client_proto import ResponseHandler

from providerkit.engine import aiohttp_seams


@pytest.mark.parametrize("line", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["", "after an interim one"])
async def test_a_head_that_is_cut_anywhere_outlives_the_garbage_behind_it(line, interim):
    head = interim + line.join([b"HTTP/1.1 503 Busy", b"X-Team: blue", b"Transfer-Encoding: chunked", b"", b""])
    for place in range(len(head)):
        protocol = ResponseHandler(asyncio.get_running_loop())
        protocol.set_response_params()
        aiohttp_seams._HeadFirst(protocol)
        for packet in (head[:place], head[place:] + b"no size of a chunk\r\n\r\n"):
            protocol.data_received(packet)
        codes = []
        while not codes or codes[-1] < 200:
            message, _ = await protocol.read()
            codes.append(message.code)
        assert (codes[-1], message.headers["X-Team"]) == (503, "blue"), place
