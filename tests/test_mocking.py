"""The shim for aioresponses, on whichever aiohttp is installed."""

import aiohttp
import pytest
from aioresponses import CallbackResult
from asking import ONCE
from parrots import Parrot

import providerkit

URL = "http://parrot.invalid/say"


@pytest.mark.parametrize(
    "answer",
    [
        {"body": b'data: "squawk"\n\n'},
        {"body": 'data: "squawk"\n\n', "content_type": "text/event-stream"},
        {"callback": lambda url, **sent: CallbackResult(body=b'data: "squawk"\n\n')},
    ],
    ids=["json by default", "an event stream", "a callback"],
)
async def test_a_mocked_answer_is_a_reply_whose_end_is_not_proven(mocked, answer):
    mocked.post(URL, **answer)
    reply = await providerkit.run("hi", provider=Parrot)
    assert (reply.text, reply.finish_reason, reply.proven) == ("squawk", "stop", False)


async def test_a_length_of_its_own_proves_the_end_of_a_mocked_answer(mocked):
    mocked.post(URL, body=b'data: "squawk"\n\n', headers={"Content-Length": "16"})
    assert (await providerkit.run("hi", provider=Parrot)).proven


async def test_a_mocked_refusal_is_the_error_of_its_status(mocked):
    mocked.post(URL, status=429, headers={"Retry-After": "7"})
    with pytest.raises(providerkit.RateLimited) as caught:
        await providerkit.run("hi", provider=Parrot, retry=ONCE)
    assert caught.value.retry_after == 7


async def test_a_mocked_exception_is_an_error_of_providerkit(mocked):
    mocked.post(URL, exception=aiohttp.ServerDisconnectedError())
    with pytest.raises(providerkit.Disconnected):
        await providerkit.run("hi", provider=Parrot, retry=ONCE)


def test_blocking_calls_are_mocked_too(mocked):
    mocked.post(URL, body=b'data: "squawk"\n\n')
    assert list(providerkit.run("hi", provider=Parrot)) == ["squawk"]
