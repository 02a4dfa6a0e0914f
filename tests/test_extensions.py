"""The extensions beside each other: on any provider, in any order, async and blocking; each on public names alone."""

from __future__ import annotations

import ast
import logging
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import attrs
import pytest
from loopback import chunked, serve
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from parrots import Macaw

import providerkit
from providerkit import extensions
from providerkit.extensions.cache import Cache
from providerkit.extensions.cost import Cost
from providerkit.extensions.limit import Limit
from providerkit.extensions.log import Log
from providerkit.extensions.trace import Trace
from providerkit.plugins import loading as plugins
from providerkit.plugins.discovery import EXTENSIONS
from providerkit.plugins.loading import load

MODULES = sorted(Path(extensions.__file__).parent.glob("*.py"))
OURS = {"cost": Cost, "limit": Limit, "log": Log, "trace": Trace}
NEEDED = {"cost": ("genai_prices", "genai-prices"), "trace": ("opentelemetry", "opentelemetry-api")}
PROVIDERS = ["koala", "openai"]


@attrs.frozen
class Watching:
    """One of each extension, and tell what each has seen of the runs."""

    caplog: pytest.LogCaptureFixture
    spans: InMemorySpanExporter
    log: Log
    trace: Trace
    limit: Limit
    cost: Cost
    taken: list[float]

    def seen(self, name: str) -> int:
        match name:
            case "log":
                return sum(record.msg == "%s" and record.event == "finish" for record in self.caplog.records)
            case "trace":
                return len(self.spans.get_finished_spans())
            case "limit":
                return len(self.taken)
            case _:
                return self.cost.unpriced + (self.cost.known > 0)


@pytest.fixture
def watching(caplog: pytest.LogCaptureFixture) -> Watching:
    caplog.set_level(logging.INFO, "providerkit.log")
    spans, taken = InMemorySpanExporter(), []
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))

    class Counted(Limit):
        async def _wait(self, request: providerkit.Request) -> None:
            taken.append(1)
            await super()._wait(request)

    trace = Trace(tracer_provider=provider, meter_provider=MeterProvider())
    return Watching(caplog, spans, Log(), trace, Counted(requests=1000, tokens=1_000_000), Cost(), taken)


@pytest.fixture(params=PROVIDERS)
def asked(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Return the options that lead to a provider's sandbox."""
    with providerkit.sandbox(request.param) as base_url:
        yield {"provider": request.param, "base_url": base_url}


async def one_by_one(client: providerkit.Client, **options: object) -> providerkit.Reply:
    run = client.run("Hello", **options)
    assert [text async for text in run]
    return run.reply


async def whole(client: providerkit.Client, **options: object) -> providerkit.Reply:
    return await client.run("Hello", **options)


async def blocking(client: providerkit.Client, **options: object) -> providerkit.Reply:
    run = client.run("Hello", **options)
    assert list(run)
    return run.reply


async def blocking_whole(client: providerkit.Client, **options: object) -> providerkit.Reply:
    return client.run("Hello", **options).result()


ORDERS = [*((name,) for name in OURS), tuple(OURS), tuple(reversed(OURS))]


@pytest.mark.parametrize("ask", [one_by_one, whole, blocking, blocking_whole])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_each_sees_a_run_and_leaves_its_answer_as_it_is(watching: Watching, asked, order, ask):
    def told(reply: providerkit.Reply) -> providerkit.Reply:
        return attrs.evolve(reply, attempts=[attrs.evolve(attempt, seconds=0) for attempt in reply.attempts])

    async with providerkit.Client() as client:
        plain = await ask(client, **asked)
        reply = await ask(client, **asked, extensions=[getattr(watching, name) for name in order])
        client.close()
    assert told(reply) == told(plain)
    assert {name: watching.seen(name) for name in OURS} == {name: int(name in order) for name in OURS}


@pytest.mark.parametrize("turn", [list, lambda named: named[::-1]], ids=["in order", "reversed"])
async def test_a_cache_and_a_cassette_stand_beside_them(watching: Watching, asked, turn, tmp_path: Path):
    cassette = tmp_path / "cassette.jsonl"
    others = [*(getattr(watching, name) for name in OURS), Cache(tmp_path / "cache.sqlite")]
    plain = await providerkit.run("Hello", **asked)
    recorded = await providerkit.run("Hello", **asked, extensions=turn([*others, providerkit.record(cassette)]))
    cached = await providerkit.run("Hello", **asked, extensions=turn(others))
    replayed = await providerkit.run("Hello", **asked, extensions=turn([*others[:-1], providerkit.replay(cassette)]))
    assert [reply.attempts[0].source for reply in (recorded, cached, replayed)] == ["network", "cache", "cassette"]
    assert {reply.text for reply in (plain, recorded, cached, replayed)} == {plain.text}
    assert (watching.seen("log"), watching.seen("trace")) == (3, 3)


@pytest.mark.parametrize("order", ORDERS[-2:], ids="-".join)
async def test_all_see_a_run_that_is_left(watching: Watching, order):
    named = [getattr(watching, name) for name in order]
    async with serve(chunked(b'data: "a"\n\n', b'data: "b"\n\n', end=False)) as server:
        async for _ in (run := providerkit.run("Hello", provider=Macaw, base_url=server.base_url, extensions=named)):
            break
        await run.aclose()
    [span] = watching.spans.get_finished_spans()
    [record] = [record for record in watching.caplog.records if record.name == "providerkit.log"]
    assert (record.event, watching.cost.unpriced, watching.taken, span.status.is_unset) == ("left", 1, [1], True)


async def test_models_are_listed_through_all_of_them(watching: Watching):
    named = [getattr(watching, name) for name in OURS]
    with providerkit.sandbox("openai") as base_url:
        models = await providerkit.provider("openai").models(base_url=base_url, extensions=named)
    assert [model.name for model in models] == ["sandbox", "sandbox-reasoning"]
    assert {name: watching.seen(name) for name in OURS} == {"cost": 0, "limit": 1, "log": 0, "trace": 0}


@pytest.mark.parametrize("name", OURS)
def test_each_is_announced_by_its_name(name, monkeypatch):
    monkeypatch.setenv("PROVIDERKIT_LIMIT_REQUESTS", "1000")
    assert type(load(EXTENSIONS, name).implementation) is OURS[name]


@pytest.mark.parametrize("name", NEEDED)
async def test_a_package_that_is_missing_is_told_before_anything_is_sent(name, monkeypatch):
    package, distribution = NEEDED[name]
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "providerkit.extensions.spans", raising=False)
    monkeypatch.setattr(plugins, "_loaded", {})  # one that was loaded before has found its package
    plugins._instance_of.cache_clear()
    advice = rf"^the extension {name} needs .*: pip install {distribution}$"
    for extension in (name, OURS[name](), OURS[name]):
        run = providerkit.run("Hello", provider="koala", base_url="http://127.0.0.1:1", extensions=[extension])
        with pytest.raises(providerkit.ConfigurationError, match=advice) as caught:
            await run
        assert type(caught.value) is providerkit.ConfigurationError


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_is_made_of_public_names_alone(path: Path):
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    taken = {alias.name for node in froms if node.level == 2 for alias in node.names}
    assert taken <= set(providerkit.__all__)
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    absolute = whole | {str(node.module) for node in froms if not node.level}
    assert not [name for name in absolute if name.partition(".")[0] == "providerkit"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_spans_imports_a_package_of_an_extra_at_once(path: Path):
    tops = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in tops if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in tops if isinstance(node, ast.ImportFrom) and not node.level and node.module}
    foreign = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"attrs", "orjson"}
    assert foreign == ({"opentelemetry"} if path.stem == "spans" else set())
    assert import_module(f"providerkit.extensions.{path.stem}").__doc__
