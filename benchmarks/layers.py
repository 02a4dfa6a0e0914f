"""Where does the CPU of a whole call go? The same call, from aiohttp alone to `run`, a layer more each time.

    python -m benchmarks.layers

Koala's wire, one call after another over an open connection, all in one process and in turn.
A layer is what its row takes more than the one before it. Alone in a loop the same code
takes half as long or less: between two answers of a server, caches and predictions are lost.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

import aiohttp
import providerkit_koala

import providerkit
from providerkit.chat.replies import Transcript
from providerkit.engine.exchange import Exchange
from providerkit.engine.routing import Routing
from providerkit.engine.run_state import RunState
from providerkit.engine.targets import merge_headers

from .bench import cores, upstream
from .calls import WORDS
from .client import pin

ROUNDS, CALLS = 15, 300


class Layers:
    """Make one call in every way, from the least to the whole."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession, client: providerkit.Client) -> None:
        self._session = session
        self._client = client
        self._base_url = base_url
        run = self._ask()
        self._bound, self._question = run._bound, run._question
        target = self._bound.first
        self._request = merge_headers(self._question.build_request(target), target.endpoint)
        self._headers = dict(self._request.headers.items())

    def _ask(self) -> providerkit.Run:
        return self._client.run("Hello", provider=providerkit_koala.Koala, api_key="a key", base_url=self._base_url)

    async def bare(self) -> None:
        """Have aiohttp write and read the JSON."""
        async with self._session.post(self._request.url, headers=self._headers, json={"input": "Hello"}) as response:
            await response.json()

    async def same(self) -> None:
        """Have aiohttp send the bytes that we send, and give those that come."""
        async with self._session.post(
            self._request.url, headers=self._headers, data=self._request.body, allow_redirects=False
        ) as response:
            await response.read()

    async def transport(self) -> None:
        """Send the request, and read the answer."""
        async with self._bound.network.send(self._request) as response:
            async for _ in response.chunks():
                pass

    async def exchange(self) -> None:
        """Make one attempt."""
        state = RunState(self._bound, "chat")
        await _end(Exchange(state, self._bound.first, self._question, Transcript(state.attempts)))

    async def routing(self) -> None:
        """Make as many as it takes."""
        state = RunState(self._bound, "chat")
        await _end(Routing(state, self._question, Transcript(state.attempts), collected=True))

    async def run(self) -> None:
        """Do what a user does."""
        await self._ask()


async def _end(steps: Exchange | Routing) -> None:
    while await steps.next() is not None:
        pass
    await steps.aclose()


async def measure(base_url: str) -> dict[str, list[float]]:
    """Return the microseconds of CPU of a call in each way, round by round."""
    async with aiohttp.ClientSession() as session, providerkit.Client() as client:
        layers = Layers(f"{base_url}/koala-json/{WORDS}/1/0", session, client)
        ways = {
            "aiohttp, its own JSON in and out": layers.bare,
            "aiohttp, our bytes in, bytes out": layers.same,
            "+ transport: faults told apart": layers.transport,
            "+ exchange: hooks, clocks, decoding": layers.exchange,
            "+ routing: attempts, health": layers.routing,
            "+ run: options checked, Reply": layers.run,
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                started = time.process_time()
                for _ in range(CALLS):
                    await way()
                taken[name].append(1e6 * (time.process_time() - started) / CALLS)
        return taken


def main() -> None:
    """Measure and show."""
    core, other = cores()
    with upstream(other) as base_url:
        pin(core)
        taken = asyncio.run(measure(base_url))
    bare = next(iter(taken.values()))
    before = 0.0
    for name, runs in taken.items():
        ratio = median(one / limit for one, limit in zip(runs, bare, strict=True))
        print(f"{name:36} {median(runs):6.0f} µs {ratio:6.2f} {median(runs) - before:+6.0f}")
        before = median(runs)


if __name__ == "__main__":
    main()
