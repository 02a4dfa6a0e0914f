"""What runs cost, where that is known."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

import attrs
import pytest
from asking import ask, failure
from chat_completions import ChatCompletions, answer
from genai_prices import Usage as Counted, calc_price
from loopback import chunked, http, serve

import providerkit
from providerkit import Attempt, Reply, Usage, hookimpl
from providerkit.extensions.cost import Cost

MODEL = "gpt-4o-mini"
OPENAI = ChatCompletions("openai")
ANSWER = chunked(*answer({"content": "a"}, {"content": "b"}))


def price(model: str = MODEL, **tokens: int) -> Decimal:
    return calc_price(Counted(**tokens), model, provider_id="openai").total_price


def reply(*counts: int | None, provider: str = "openai", model: str = MODEL, source: str = "network") -> Reply:
    attempt = Attempt(f"{provider}/{model}", None, 1.0, source)
    return Reply(usage=Usage(*counts) if counts else None, provider=provider, model=model, attempts=(attempt,))


def test_a_reply_is_priced_by_provider_model_and_counts():
    assert Cost().of(reply(1000, 100)) == price(input_tokens=1000, output_tokens=100) > 0
    cached = price(input_tokens=1000, output_tokens=100, cache_read_tokens=900)
    assert Cost().of(reply(1000, 100, 900)) == cached < price(input_tokens=1000, output_tokens=100)
    assert Cost().of(reply(0, 0)) == 0


@pytest.mark.parametrize(
    "unpriced",
    [
        reply(),
        reply(1000, None),
        reply(None, 100),
        reply(10, 100, 900),  # more read from the cache than was read at all
        reply(1000, 100, model="gpt-of-mine"),
        reply(1000, 100, provider="koala"),
        reply(1000, 100, provider="openai-compatible"),  # a stranger's, though its name holds one that is known
        attrs.evolve(reply(1000, 100), model=None),
        Reply(),
    ],
)
def test_what_is_not_known_is_none(unpriced: Reply):
    assert Cost().of(unpriced) is None


def test_a_provider_is_known_by_its_letters_or_by_the_name_that_is_given():
    model = "grok-3-mini"
    expected = calc_price(Counted(input_tokens=1000, output_tokens=100), model, provider_id="x-ai").total_price
    assert Cost().of(reply(1000, 100, provider="xai", model=model)) == expected
    assert Cost(providers={"office": "openai"}).of(reply(1000, 100, provider="office")) == Cost().of(reply(1000, 100))


@pytest.mark.parametrize("source", ["cache", "cassette"])
def test_what_was_not_asked_has_cost_nothing(source: str):
    assert Cost().of(reply(1000, 100, source=source)) == 0
    assert Cost().of(reply(source=source)) == 0


@pytest.mark.parametrize("blocking", [False, True])
async def test_the_runs_add_up(blocking: bool):
    cost = Cost()
    assert (cost.total, cost.known, cost.unpriced, repr(cost)) == (0, 0, 0, "<Cost: 0 USD, 0 unpriced>")
    async with serve(ANSWER) as server, providerkit.Client(extensions=[cost]) as client:

        def run() -> providerkit.Run:
            return client.run("Hello", provider=OPENAI, model=MODEL, base_url=server.base_url)

        replies = [await asyncio.to_thread(run().result) if blocking else await run() for _ in range(3)]
        await asyncio.to_thread(client.close)
    expected = price(input_tokens=7, output_tokens=2)
    assert [cost.of(reply) for reply in replies] == [expected] * 3
    assert (cost.total, cost.known, cost.unpriced) == (3 * expected, 3 * expected, 0)


async def test_an_unknown_price_makes_the_total_unknown():
    cost = Cost()
    async with serve(ANSWER) as server:
        await ask(server.base_url, OPENAI, model=MODEL, extensions=[cost])
        await ask(server.base_url, OPENAI, model="mine", extensions=[cost])
    expected = price(input_tokens=7, output_tokens=2)
    assert (cost.total, cost.known, cost.unpriced) == (None, expected, 1)
    assert repr(cost) == f"<Cost: {expected} USD, 1 unpriced>"


async def test_an_answer_that_broke_off_has_a_price_nobody_knows_and_a_refusal_none():
    whole, broken, refused = ANSWER, chunked(*answer({"content": "a"})[:1], end=False), http(b"{}", status=500)
    answers = iter([refused, broken, whole])

    async def next_answer(received, writer):
        writer.write(data := next(answers))
        if data is broken:
            writer.close()

    cost = Cost()
    async with serve(next_answer) as server:
        retry = providerkit.Retry(attempts=3, base=0)
        await ask(server.base_url, OPENAI, model=MODEL, extensions=[cost], retry=retry)
    assert (cost.total, cost.known, cost.unpriced) == (None, price(input_tokens=7, output_tokens=2), 1)


async def test_an_answer_that_broke_off_is_counted_once():
    answers = iter([chunked(*answer({"content": "a"})[:1], end=False), http(b"{}", status=401)])

    async def next_answer(received, writer):
        writer.write(next(answers))
        writer.close()

    cost = Cost()
    async with serve(next_answer) as server:
        retry = providerkit.Retry(attempts=2, base=0)
        await failure(providerkit.AuthenticationError, ask(server.base_url, OPENAI, extensions=[cost], retry=retry))
    assert cost.unpriced == 1


async def test_nothing_is_due_for_what_was_refused():
    cost = Cost()
    async with serve(http(b"{}", status=401)) as server:
        await failure(providerkit.AuthenticationError, ask(server.base_url, OPENAI, extensions=[cost]))
    assert (cost.total, cost.unpriced) == (0, 0)


async def test_an_answer_that_was_left_has_a_price_nobody_knows():
    cost = Cost()
    async with serve(chunked(*answer({"content": "a"})[:1], end=False)) as server:
        run = providerkit.run("Hello", provider=OPENAI, base_url=server.base_url, extensions=[cost])
        async for _ in run:
            break
        await run.aclose()
    assert (cost.total, cost.unpriced) == (None, 1)


def test_threads_add_up_to_the_same():
    cost, each = Cost(), Decimal("0.5")

    def add() -> None:
        for _ in range(1000):
            cost._add(each)
            cost._add(None)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cost.known, cost.unpriced) == (2000, 4000)


async def test_a_wrapper_of_usage_is_believed():
    class Doubled:
        @hookimpl(wrapper=True)
        def parse_stream(self):
            decoder = yield
            return Doubling(decoder)

    class Doubling(providerkit.DecoderWrapper):
        def transform(self, events):
            return [Usage(14, 4) if isinstance(event, Usage) else event for event in events]

    cost = Cost()
    async with serve(ANSWER) as server:
        await ask(server.base_url, OPENAI, model=MODEL, extensions=[cost, Doubled])
    assert cost.total == price(input_tokens=14, output_tokens=4)
