"""What becomes of a call when its provider fails: sixteen scenarios, four kinds of caller.

    python -m benchmarks.recovery

Each has a provider that fails as told, a healthy fallback, two retries and a limit of
30 seconds. What the caller got and what the providers saw are both checked, with the full
clocks; the tests run the same table with time scaled down, and look at order and counts
alone. The faults are those of a public scorecard of 12 September 2026.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

import providerkit
from providerkit import Retry, Route, Timeouts
from providerkit.testing import faults
from providerkit.testing.faults import Fault, FaultServer, Visit
from tests.chat_completions import ChatCompletions, refusal

LIMITS = Timeouts(idle=10, total=30)
RETRY = Retry(attempts=3)
TOKENS = 60

# Who calls: `async for`, `for`, `await`, and events() with on_interrupt="restart".
KINDS = ("stream", "blocking", "collect", "restart")
ALL = frozenset(KINDS)
WATCHING = frozenset({"stream", "blocking"})  # they were given what broke off


@attrs.frozen
class Scaled:
    """Keep the time of the event loop, so many times faster."""

    factor: float

    def now(self) -> float:
        """Return the time."""
        return time.monotonic() * self.factor

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds / self.factor)

    def jitter(self) -> float:
        """Return the middle, so that a run can be repeated."""
        return 0.5

    def call_later(self, seconds: float, ring: Callable[[], None]) -> asyncio.TimerHandle:
        """Have the loop call `ring`."""
        return asyncio.get_running_loop().call_later(seconds / self.factor, ring)


@attrs.frozen
class Outcome:
    """Say what a caller got: the text, or the error and the text before it; and how long it took."""

    reply: providerkit.Reply
    shown: str
    error: providerkit.ProviderKitError | None
    seconds: float


@attrs.frozen
class Scenario:
    """Say what the first provider does, and what must come of it.

    `asked` is how often each provider is asked, least and most; `answers` which of them
    gives the whole answer, `tells` the error of those callers who had begun to read it.
    `within` bounds the seconds of the call, `gap` those between its first two attempts.
    """

    number: int
    what: str
    primary: Sequence[Fault]
    asked: tuple[range, range]
    answers: str | None = "fallback"
    tells: type[providerkit.ProviderKitError] | None = None
    partial: int = 0
    within: float = 30.0
    gap: tuple[float, float] = (0.0, 30.0)
    takes_prefill: bool = True

    @property
    def name(self) -> str:
        """Name it as the scorecard does."""
        return f"S{self.number:02}"


def times(least: int, most: int | None = None) -> range:
    """Return the counts from `least` to `most`."""
    return range(least, (least if most is None else most) + 1)


ONCE, NEVER = times(1), times(0)
TOO_LONG = refusal("This model's maximum context length is 8192 tokens.", code="context_length_exceeded")
FILTERED = refusal("Your prompt was flagged.", code="content_policy_violation")

SCENARIOS = [
    Scenario(
        1, "429 once, Retry-After: 2", [faults.status(429, retry_after="2"), faults.healthy()],
        (times(2), NEVER), answers="primary", gap=(1.9, 4.0),
    ),
    Scenario(2, "429 always, no header", [faults.status(429)], (times(2, 4), ONCE), within=6),
    Scenario(3, "500 once", [faults.status(500), faults.healthy()], (times(2), NEVER), answers="primary", within=4),
    Scenario(4, "503 always", [faults.status(503)], (times(1, 3), ONCE), within=6),
    Scenario(
        5, "reset before the headers, once", [faults.reset_unanswered(), faults.healthy()],
        (times(2), NEVER), answers="primary", within=4,
    ),
    Scenario(6, "accepts, never answers", [faults.silence()], (ONCE, ONCE), within=15),
    Scenario(
        7, "headers at once, first token after 20 s", [faults.stall(after=0, seconds=20)], (ONCE, ONCE), within=15
    ),
    Scenario(
        8, "dies after 40 of 60 tokens", [faults.close(after=40)], (times(1, 3), times(0, 1)),
        tells=providerkit.StreamTruncated, partial=40, within=6,
    ),
    Scenario(
        9, "silent after 20 tokens", [faults.stall(after=20)], (ONCE, times(0, 1)),
        tells=providerkit.TimedOut, partial=20, within=20,
    ),
    Scenario(
        10, "the tenth event is invalid JSON", [faults.garble(9)], (times(1, 3), times(0, 1)),
        tells=providerkit.StreamMalformed, partial=9, within=6,
    ),
    Scenario(
        11, "complete, but no [DONE]", [faults.stall(after=-1)], (ONCE, NEVER), answers="primary", within=5,
    ),
    Scenario(12, "400 context_length_exceeded", [faults.status(400, body=TOO_LONG)], (ONCE, ONCE), within=4),
    Scenario(
        13, "400 content_policy_violation", [faults.status(400, body=FILTERED)], (ONCE, NEVER),
        answers=None, tells=providerkit.ContentFiltered, within=4,
    ),
    Scenario(
        14, "as S08, the fallback refuses a prefill", [faults.close(after=40)], (times(1, 3), times(0, 1)),
        tells=providerkit.StreamTruncated, partial=40, within=6, takes_prefill=False,
    ),
    Scenario(16, "503 always: who is billed", [faults.status(503)], (times(1, 3), ONCE), within=6),
]  # fmt: skip


@attrs.frozen
class Providers:
    """Two providers on loopback and a client that knows both."""

    client: providerkit.Client
    plugins: tuple[ChatCompletions, ChatCompletions]
    servers: tuple[FaultServer, FaultServer]
    urls: tuple[str, str]

    def run(self, **options: Any) -> providerkit.Run:
        """Ask the first, and the second where that one can't answer."""
        (primary, fallback), (here, there) = self.plugins, self.urls
        return self.client.run(
            "Count.", provider=primary, base_url=here, fallback=[Route(fallback, base_url=there)], **options
        )

    def text(self, name: str, tokens: int = TOKENS) -> str:
        """Return what the provider of this name says, as far as so many tokens."""
        return "".join(f"{name}{number} " for number in range(tokens))


@asynccontextmanager
async def providers(
    primary: Sequence[Fault] | Callable[[Visit], Fault], clock: Scaled, *, takes_prefill: bool = True
) -> AsyncIterator[Providers]:
    """Serve a provider that fails as told, and a healthy one."""
    plugins = ChatCompletions("primary"), ChatCompletions("fallback", prefill=takes_prefill)
    times: dict[str, Any] = {"clock": clock.now, "sleep": clock.sleep}
    first = FaultServer(primary, answer=plugins[0], **times)
    second = FaultServer(faults.healthy(), answer=plugins[1], **times)
    async with (
        first as here,
        second as there,
        providerkit.Client(clock=clock, timeouts=LIMITS, retry=RETRY) as client,
    ):
        yield Providers(client, plugins, (first, second), (here, there))
        await asyncio.to_thread(client.close)


async def call(pair: Providers, kind: str, clock: Scaled) -> Outcome:
    """Ask once, as a caller of this kind does."""
    run = pair.run(on_interrupt="restart" if kind == "restart" else "raise")
    shown: list[str] = []
    error = None
    started = clock.now()
    try:
        match kind:
            case "stream":
                async for text in run:
                    shown.append(text)  # noqa: PERF401 - what was shown before an error counts
            case "blocking":
                await asyncio.to_thread(lambda: shown.extend(run))
            case "restart":
                await _restarting(run, shown)
            case _:
                shown.append((await run).text)
    except providerkit.ProviderKitError as raised:
        error = raised
    return Outcome(run.reply, "".join(shown), error, clock.now() - started)


async def _restarting(run: providerkit.Run, shown: list[str]) -> None:
    async for event in run.events():
        if isinstance(event, providerkit.Restart):
            shown.clear()
        elif isinstance(event, providerkit.TextDelta):
            shown.append(event.text)


def faults_of(scenario: Scenario, kind: str, outcome: Outcome, pair: Providers) -> Iterable[str]:
    """Return what is not as it must be, without a look at the time."""
    primary, fallback = (len(server.log) for server in pair.servers)
    broken_off = scenario.tells is not None and (scenario.answers is None or kind in WATCHING)
    if broken_off:
        yield from _untold(scenario, outcome, pair)
    else:
        yield from _unanswered(scenario, outcome, pair)
    if primary not in scenario.asked[0]:
        yield f"the primary was asked {primary} times"
    if fallback not in (NEVER if broken_off else scenario.asked[1]):
        yield f"the fallback was asked {fallback} times"
    if len(outcome.reply.attempts) != primary + fallback:
        yield f"{len(outcome.reply.attempts)} attempts are told, {primary + fallback} were made"


def _untold(scenario: Scenario, outcome: Outcome, pair: Providers) -> Iterable[str]:
    assert scenario.tells is not None  # the caller has looked
    wanted = pair.text("primary", scenario.partial)
    if not isinstance(outcome.error, scenario.tells):
        yield f"{outcome.error!r} is no {scenario.tells.__name__}"
    elif outcome.error.partial != wanted or outcome.shown != wanted:
        yield f"the error holds {outcome.error.partial!r}, the caller {outcome.shown!r}"


def _unanswered(scenario: Scenario, outcome: Outcome, pair: Providers) -> Iterable[str]:
    answering = scenario.answers or "nobody"
    if scenario.tells and outcome.reply.text == pair.text("primary"):
        answering = "primary"
    if outcome.error is not None:
        yield f"failed: {outcome.error!r}"
    elif outcome.shown != pair.text(answering) or outcome.reply.text != outcome.shown:
        yield f"the answer is {outcome.shown!r}"
    elif (outcome.reply.provider, outcome.reply.usage) != (
        answering,
        providerkit.Usage(input_tokens=7, output_tokens=TOKENS),
    ):
        yield f"answered by {outcome.reply.provider}, billed {outcome.reply.usage}"


def too_slow(scenario: Scenario, outcome: Outcome, pair: Providers) -> Iterable[str]:
    """Return which times are not as they must be."""
    if outcome.seconds > scenario.within:
        yield f"took {outcome.seconds:.1f} s, at most {scenario.within:g} s are good"
    first, second = [visit.at for visit in pair.servers[0].log][:2] if len(pair.servers[0].log) > 1 else (0.0, 0.0)
    if second and not scenario.gap[0] <= second - first <= scenario.gap[1]:
        yield f"{second - first:.3f} s lay between the first two attempts"


@attrs.frozen
class Line:
    """One line of the table."""

    scenario: str
    what: str
    kind: str
    asked: str
    seconds: float
    got: str
    wrong: tuple[str, ...]


async def play(scenario: Scenario, kind: str, clock: Scaled) -> Line:
    """Play a scenario for a caller of this kind, then see that the same client is well."""
    recovered = False

    def script(visit: Visit) -> Fault:
        return faults.healthy() if recovered else scenario.primary[min(visit.number, len(scenario.primary) - 1)]

    async with providers(script, clock, takes_prefill=scenario.takes_prefill) as pair:
        outcome = await call(pair, kind, clock)
        asked = "+".join(str(len(server.log)) for server in pair.servers)
        wrong = [*faults_of(scenario, kind, outcome, pair)]
        if clock.factor == 1:
            wrong += too_slow(scenario, outcome, pair)
        recovered = True
        again = await call(pair, kind, clock)
        if again.error is not None or len(again.reply.text.split()) != TOKENS:
            wrong.append(f"not well afterwards: {again.error!r}")
    return Line(scenario.name, scenario.what, kind, asked, outcome.seconds, _got(outcome), tuple(wrong))


def _got(outcome: Outcome) -> str:
    if outcome.error is None:
        return str(outcome.reply.provider)
    held = f" with {len(outcome.shown.split())} tokens" if outcome.shown else ""
    return f"{type(outcome.error).__name__}{held}"


DOWN = 60.0  # seconds for which the provider of S15 is down
CALLS, PAUSE = 20, 4.0


async def play_outage(kind: str, clock: Scaled) -> Line:
    """Play S15: the primary is down for a minute, then healthy, while twenty calls come, 4 seconds apart."""
    wrong: list[str] = []
    async with providers(lambda visit: faults.status(503) if visit.at < DOWN else faults.healthy(), clock) as pair:
        primary, fallback = pair.servers
        started = clock.now()
        outcomes = []
        for number in range(CALLS):
            await clock.sleep(max(0.0, started + number * PAUSE - clock.now()))
            outcomes.append(await call(pair, kind, clock))
            if outcomes[-1].error is not None:
                wrong.append(f"call {number} failed: {outcomes[-1].error!r}")
        probes = sum(visit.at < DOWN for visit in primary.log)
        back = next((visit.at for visit in primary.log if visit.at >= DOWN), None)
        if probes > 3 + DOWN / 10:
            wrong.append(f"{probes} attempts reached the primary while it was down")
        if back is None or back > DOWN + 30:
            wrong.append("the primary was not asked again within 30 s of its recovery")
        elif outcomes[-1].reply.provider != "primary":
            wrong.append("the last call was not answered by the primary")
    got = f"{CALLS - len(wrong)} of {CALLS} answered, back after {(back or 0.0) - DOWN:.0f} s"
    asked = f"{len(primary.log)}+{len(fallback.log)}"
    return Line("S15", "down for 60 s, then healthy", kind, asked, clock.now() - started, got, tuple(wrong))


async def play_all(clock: Scaled) -> list[Line]:
    """Play every scenario for every caller, side by side."""
    plays = [play(scenario, kind, clock) for scenario in SCENARIOS for kind in KINDS]
    lines = await asyncio.gather(*plays, *(play_outage(kind, clock) for kind in KINDS))
    return sorted(lines, key=lambda line: (line.scenario, KINDS.index(line.kind)))


def table(lines: Iterable[Line]) -> str:
    """Write a row for each scenario, in Markdown: who answered or what was told, then attempts and seconds."""
    rows: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        told = "; ".join(line.wrong) or line.got
        rows.setdefault((line.scenario, line.what), []).append(f"{told} ({line.asked}, {line.seconds:.1f} s)")
    head = ["", "the provider", *KINDS]
    return "\n".join(
        f"| {' | '.join(cells)} |"
        for cells in (head, ["---"] * len(head), *([*key, *row] for key, row in rows.items()))
    )


def main() -> None:
    """Print the table, and fail where one of its lines is not as it must be."""
    argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__).parse_args()
    lines = asyncio.run(play_all(Scaled(1.0)))
    passed = {line.scenario for line in lines} - {line.scenario for line in lines if line.wrong}
    print(table(lines))
    print(f"\n{len(passed)} of {len({line.scenario for line in lines})} scenarios pass")
    sys.exit(any(line.wrong for line in lines))


if __name__ == "__main__":
    main()
