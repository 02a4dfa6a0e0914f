"""What only Parrot promises: the fields that it sends, and what it makes of the bytes that come back."""

from providerkit_parrot import Parrot

import providerkit
from providerkit import Finish, ResponseHead, TextDelta, Usage

EVENTS = b'data: {"text": "Hello"}\n\ndata: {"finish": "length"}\n\ndata: {"usage": {"input": 1, "output": 2}}\n\n'


def test_bytes_become_events():
    decoder = Parrot().parse_stream(ResponseHead(200))
    assert decoder.feed(EVENTS) == [TextDelta("Hello"), Usage(1, 2)]
    assert decoder.feed(b"data: [DONE]\n\n") == [Finish("length", raw="length")]


def test_an_error_is_told_in_its_own_words():
    error = Parrot().parse_error(ResponseHead(429), b'{"error": {"message": "too fast", "code": "busy"}}')
    assert isinstance(error, providerkit.RateLimited)
    assert (error.args, error.code) == (("too fast",), "busy")


def test_a_chat_is_answered_over_loopback():
    with providerkit.sandbox(Parrot) as base_url:
        reply = providerkit.run("Hello", provider=Parrot, base_url=base_url, temperature=0.5).result()
    assert (reply.text, reply.finish_reason, reply.usage) == ("You said: Hello", "stop", Usage(3, 3))
