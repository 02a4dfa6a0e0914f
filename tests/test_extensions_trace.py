"""Spans and metrics of runs, read from OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from asking import KEY, ask, failure
from chat_completions import ChatCompletions, answer, tool_call
from loopback import chunked, http, serve
from opentelemetry import trace as otel
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from parrots import Macaw

import providerkit
from providerkit import ImagePart, Message, Model, TextPart, Tool, ToolCall, Usage, hookimpl
from providerkit.extensions import conventions, spans
from providerkit.extensions.trace import Trace

OPENAI = ChatCompletions("openai")
ANSWER = chunked(*answer({"content": "a"}, {"content": "b"}))  # 7 tokens in, 2 out
UNENDED = chunked(*answer({"content": "a"})[:1], end=False)


@attrs.frozen
class Collected:
    """What was given to OpenTelemetry."""

    spans: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    tracers: TracerProvider = attrs.field(factory=TracerProvider)
    meters: MeterProvider = attrs.field()

    @meters.default
    def _meters(self) -> MeterProvider:
        return MeterProvider([self.reader], shutdown_on_exit=False)

    def __attrs_post_init__(self) -> None:
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))

    def trace(self, **options: object) -> Trace:
        return Trace(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def span(self):
        [span] = self.spans.get_finished_spans()
        return span

    def metrics(self) -> dict[str, list]:
        """Return the points of every metric."""
        data = self.reader.get_metrics_data()
        [scope] = data.resource_metrics[0].scope_metrics
        return {metric.name: list(metric.data.data_points) for metric in scope.metrics}


@pytest.fixture
def collected() -> Collected:
    return Collected()


def port(server) -> int:
    return int(server.base_url.rpartition(":")[2])


async def test_a_run_is_one_span(collected: Collected):
    options = {"temperature": 0.5, "max_tokens": 9, "model": "gpt-4o-mini"}
    async with serve(ANSWER) as server:
        await ask(server.base_url, OPENAI, extensions=[collected.trace()], **options)
    span = collected.span
    told = dict(span.attributes)
    assert 0 < told.pop("gen_ai.response.time_to_first_chunk") <= (span.end_time - span.start_time) / 1e9
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.model": "gpt-4o-mini",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": port(server),
        "providerkit.attempts": 1,
        "providerkit.source": "network",
    }
    assert (span.name, span.kind, span.parent) == ("chat gpt-4o-mini", otel.SpanKind.CLIENT, None)
    assert (span.status.status_code, list(span.events)) == (otel.StatusCode.UNSET, [])
    scope = span.instrumentation_scope
    assert (scope.name, scope.version) == ("providerkit", providerkit.__version__)


async def test_the_span_is_the_current_ones_child(collected: Collected):
    tracer = collected.tracers.get_tracer("test")
    async with serve(ANSWER) as server:
        with tracer.start_as_current_span("outer") as outer:
            await ask(server.base_url, OPENAI, extensions=[collected.trace()])
            assert otel.get_current_span() is outer
    inner, _ = collected.spans.get_finished_spans()
    assert (inner.parent.span_id, inner.context.trace_id) == (outer.context.span_id, outer.context.trace_id)


@pytest.mark.parametrize("stream", [True, False])
def test_that_of_a_blocking_run_too_whose_work_another_thread_does(collected: Collected, stream: bool):
    tracer, threads = collected.tracers.get_tracer("test"), []

    class Where:
        @hookimpl
        def observe(self):
            return self

        def attempt(self, *facts):
            threads.append(threading.current_thread())

    named = [collected.trace(), Where()]
    with (
        providerkit.sandbox("koala") as base_url,
        providerkit.Client() as client,
        tracer.start_as_current_span("outer") as outer,
    ):
        run = client.run("Hello", provider="koala", base_url=base_url, extensions=named)
        assert list(run) if stream else run.result()
    inner, _ = collected.spans.get_finished_spans()
    assert inner.parent.span_id == outer.context.span_id
    assert threads != [threading.current_thread()]


async def test_the_parent_is_that_of_the_start_wherever_it_is_iterated(collected: Collected):
    tracer = collected.tracers.get_tracer("test")
    async with serve(ANSWER) as server, providerkit.Client(extensions=[collected.trace()]) as client:
        with tracer.start_as_current_span("start") as start:
            texts = aiter(client.run("Hello", provider=OPENAI, base_url=server.base_url))
        with tracer.start_as_current_span("elsewhere"):
            assert [text async for text in texts] == ["a", "b"]
    inner = next(span for span in collected.spans.get_finished_spans() if span.name.startswith("chat"))
    assert inner.parent.span_id == start.context.span_id


async def test_what_is_traced_while_a_request_is_sent_is_its_child(collected: Collected):
    @attrs.frozen
    class Inner:
        """Trace each request, as instrumentation of an HTTP client does."""

        inner: providerkit.Transport = None

        @hookimpl(wrapper=True)
        def wrap_transport(self):
            return Inner((yield))

        @asynccontextmanager
        async def send(self, request):
            with collected.tracers.get_tracer("http").start_as_current_span(request.method):
                sending = self.inner.send(request)
                response = await sending.__aenter__()
            yield response
            await sending.__aexit__(None, None, None)

    one, other = collected.trace(), Collected()
    async with serve(ANSWER) as server:
        await ask(server.base_url, OPENAI, extensions=[one, Inner(), other.trace()])
        assert otel.get_current_span() is otel.INVALID_SPAN
        await providerkit.provider(OPENAI).run("Hello", base_url=server.base_url, extensions=[one, Inner()])
        listing = ListingMacaw()
        async with serve(http(b"grey")) as models:
            await providerkit.provider(listing).models(base_url=models.base_url, extensions=[one, Inner()])
    first, outer, second, other_outer, listed = collected.spans.get_finished_spans()
    assert first.parent.span_id == outer.context.span_id
    assert second.parent.span_id == other_outer.context.span_id
    assert listed.parent is None
    assert len(other.spans.get_finished_spans()) == 1


class ListingMacaw(Macaw):
    @hookimpl
    def build_models_request(self, endpoint):
        return providerkit.Request("GET", endpoint.url("/models"), {})

    @hookimpl
    def parse_models(self, head, body):
        return [Model(body.decode())]


async def test_one_span_covers_all_attempts(collected: Collected):
    answers = iter([http(b"{}", status=500), UNENDED, ANSWER])

    async def next_answer(received, writer):
        writer.write(data := next(answers))
        if data is UNENDED:
            writer.close()

    async with serve(next_answer) as server:
        retry = providerkit.Retry(attempts=3, base=0)
        await ask(server.base_url, OPENAI, extensions=[collected.trace()], retry=retry)
    events = [(event.name, dict(event.attributes)) for event in collected.span.events]
    assert events == [
        (
            "providerkit.retry",
            {"error.type": "ServerError", "providerkit.retry.delay": 0.0, "providerkit.retry.status": 500},
        ),
        ("providerkit.retry", {"error.type": "StreamTruncated", "providerkit.retry.delay": 0.0}),
    ]
    assert collected.span.attributes["providerkit.attempts"] == 3
    assert set(collected.metrics()) == {
        conventions.RELEASED.duration,
        conventions.RELEASED.first_chunk,
        conventions.RELEASED.sizes["input"],
    }


async def test_after_a_fallback_it_names_who_answered(collected: Collected):
    async with serve(http(status=401)) as down, serve(ANSWER) as up:
        route = providerkit.Route(ChatCompletions("other"), "big", base_url=up.base_url)
        await ask(down.base_url, OPENAI, extensions=[collected.trace()], model="small", fallback=[route])
    told = collected.span.attributes
    names = ("gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "server.port")
    assert [told[name] for name in names] == ["other", "small", "big", port(up)]


async def test_a_failure_is_an_error_without_what_the_provider_said(collected: Collected):
    body = json.dumps({"error": {"message": "secret word", "code": "odd"}}).encode()
    async with serve(http(body, status=400)) as server:
        await failure(providerkit.BadRequest, ask(server.base_url, OPENAI, extensions=[collected.trace()]))
    span = collected.span
    assert (span.status.status_code, span.status.description) == (otel.StatusCode.ERROR, None)
    assert span.attributes["error.type"] == "BadRequest"
    assert "secret" not in span.to_json()
    [point] = collected.metrics()[conventions.RELEASED.duration]
    assert point.attributes["error.type"] == "BadRequest"
    assert set(collected.metrics()) == {conventions.RELEASED.duration}


async def test_a_call_that_is_refused_before_its_first_attempt_has_a_span(collected: Collected):
    class Keyed(Macaw):
        @hookimpl
        def build_request(self, endpoint):
            raise providerkit.MissingAPIKey("there is none")

    async with serve(ANSWER) as server:
        refused = ask(server.base_url, OPENAI, extensions=[collected.trace()], fallback=[(Keyed, None)])
        await failure(providerkit.MissingAPIKey, refused)
    assert collected.span.attributes["error.type"] == "MissingAPIKey"
    assert "server.address" not in collected.span.attributes


async def test_a_run_that_is_left_ends_its_span_without_an_error(collected: Collected):
    async with serve(UNENDED) as server, providerkit.Client(extensions=[collected.trace()]) as client:
        run = client.run("Hello", provider=OPENAI, base_url=server.base_url)
        async for _ in run:
            break
        await run.aclose()
    assert collected.span.status.status_code is otel.StatusCode.UNSET
    assert "gen_ai.response.finish_reasons" not in collected.span.attributes


async def test_a_run_that_is_never_begun_has_no_span(collected: Collected):
    async with providerkit.Client(extensions=[collected.trace()]) as client:
        run = client.run("Hello", provider=OPENAI, base_url="http://127.0.0.1:1")
        texts = aiter(run)
        await texts.aclose()
    assert collected.spans.get_finished_spans() == ()


TOLD = [
    Message(
        "user",
        (
            TextPart("secret question"),
            ImagePart("https://h.invalid/a.png"),
            ImagePart(data=b"i", media_type="image/png"),
        ),
    ),
    Message("assistant", "", tool_calls=[ToolCall("c1", "weather", '{"city": "secret city"}')]),
    Message("tool", "secret rain", tool_call_id="c1"),
    Message("user", "And now?"),
]


class Seeing(ChatCompletions):
    """Take images, too."""

    @hookimpl
    def describe(self):
        info = super().describe()
        return attrs.evolve(info, supports=info.supports | {"images", "response_format"})


@pytest.mark.parametrize("content", [False, True])
async def test_content_is_told_where_it_is_asked_for_and_a_key_never(collected: Collected, content: bool):
    tools = [Tool("weather", "Secret tool", {"type": "object"})]
    deltas = (
        {"reasoning_content": "secret thought"},
        {"content": "secret answer"},
        *tool_call('{"city": "secret town"}'),
    )
    async with serve(chunked(*answer(*deltas, reason="tool_calls"))) as server:
        options = {"tools": tools, "system": "secret rule", "api_key": KEY, "base_url": server.base_url}
        traced = collected.trace(content=content)
        await providerkit.run(TOLD, provider=Seeing("openai"), extensions=[traced], **options)
    span = collected.span.to_json()
    assert KEY not in span
    assert ("ecret" in span) is content
    names = ("gen_ai.input.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.output.messages")
    if not content:
        assert not set(names) & set(collected.span.attributes)
        return
    asked, system, defined, said = (json.loads(collected.span.attributes[name]) for name in names)
    assert asked == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "secret question"},
                {"type": "uri", "modality": "image", "uri": "https://h.invalid/a.png"},
                {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aQ=="},
            ],
        },
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": '{"city": "secret city"}'}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "secret rain"}]},
        {"role": "user", "parts": [{"type": "text", "content": "And now?"}]},
    ]
    assert system == [{"type": "text", "content": "secret rule"}]
    assert defined == [
        {"type": "function", "name": "weather", "description": "Secret tool", "parameters": {"type": "object"}}
    ]
    assert said == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "secret thought"},
                {"type": "text", "content": "secret answer"},
                {"type": "tool_call", "id": "call-0", "name": "weather", "arguments": '{"city": "secret town"}'},
            ],
            "finish_reason": "tool_calls",
        }
    ]


async def test_with_content_an_error_says_what_was_said(collected: Collected):
    body = json.dumps({"error": {"message": "secret word"}}).encode()
    async with serve(http(body, status=400)) as server:
        await failure(providerkit.BadRequest, ask(server.base_url, OPENAI, extensions=[collected.trace(content=True)]))
    assert "secret word" in collected.span.status.description


async def test_a_schema_asks_for_json(collected: Collected):
    async with serve(ANSWER) as server:
        await ask(server.base_url, Seeing("openai"), extensions=[collected.trace()], response_format={"type": "object"})
    assert collected.span.attributes["gen_ai.output.type"] == "json"


@pytest.mark.parametrize(
    ("base_url", "port"), [("https://h.invalid", 443), ("http://h.invalid", 80), ("https://h.invalid:8443", 8443)]
)
def test_a_port_is_that_of_the_scheme_where_none_is_named(collected: Collected, base_url: str, port: int):
    observer = collected.trace()._telemetry.begin("p", providerkit.Chat((Message("user", "hi"),)), Model("m"))
    observer.attempt("p/m", providerkit.Request("POST", base_url, {}))
    observer.error(None)
    assert (collected.span.attributes["server.address"], collected.span.attributes["server.port"]) == (
        "h.invalid",
        port,
    )


COUNTS = Usage(70, 20, 30, 10, 5)


class Counting(Macaw):
    """Count all there is to count."""

    @hookimpl
    def parse_stream(self, head):
        return providerkit.EventStream(lambda data, event: [providerkit.TextDelta(providerkit.loads(data)), COUNTS])


@pytest.mark.parametrize(
    ("latest", "cache_write"), [(False, "cache_creation"), (True, "cache_write")], ids=["released", "latest"]
)
async def test_metrics_count_and_time_each_run(collected: Collected, latest: bool, cache_write: str):
    seen = asyncio.Queue()

    async def one_by_one(received, writer):
        writer.write(chunked(end=False))
        for piece in (b'data: "a"\n\n', b'data: "b"\n\n'):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await seen.get()
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    async with serve(one_by_one) as server, providerkit.Client(extensions=[collected.trace(latest=latest)]) as client:
        async for _ in client.run("Hello", provider=Counting, base_url=server.base_url):
            seen.put_nowait(None)
    edition = conventions.LATEST if latest else conventions.RELEASED
    metrics, common = (
        collected.metrics(),
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "parrot",
            "gen_ai.request.model": "grey",
            "gen_ai.response.model": "grey",
            "server.address": "127.0.0.1",
            "server.port": port(server),
        },
    )
    usage = {name: value for name, value in collected.span.attributes.items() if name.startswith("gen_ai.usage.")}
    assert usage == {
        "gen_ai.usage.input_tokens": 70,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 30,
        f"gen_ai.usage.{cache_write}.input_tokens": 10,
        "gen_ai.usage.reasoning.output_tokens": 5,
    }
    for name in (edition.duration, edition.first_chunk):
        [point] = metrics.pop(name)
        assert (dict(point.attributes), point.count) == (common, 1)
        assert point.explicit_bounds == conventions.SECONDS
    [point] = metrics.pop(edition.each_chunk)
    assert point.count == 1
    sums = {}
    for name, points in metrics.items():
        for point in points:
            kind = point.attributes.get("gen_ai.token.type")
            assert {**common, **({"gen_ai.token.type": kind} if kind else {})} == dict(point.attributes)
            sums[name, kind] = point.value if hasattr(point, "value") else point.sum
            assert not hasattr(point, "count") or (point.count, point.explicit_bounds) == (1, conventions.TOKENS)
    if latest:
        inference = "gen_ai.client.inference"
        assert sums == {
            (f"{inference}.operation.input_tokens", None): 70,
            (f"{inference}.operation.output_tokens", None): 20,
            (f"{inference}.usage.input_tokens", None): 70,
            (f"{inference}.usage.output_tokens", None): 20,
            (f"{inference}.usage.cache_read.input_tokens", None): 30,
            (f"{inference}.usage.cache_write.input_tokens", None): 10,
            (f"{inference}.usage.reasoning.output_tokens", None): 5,
        }
    else:
        assert sums == {("gen_ai.client.token.usage", "input"): 70, ("gen_ai.client.token.usage", "output"): 20}


async def test_what_was_not_counted_is_no_zero(collected: Collected):
    async with serve(chunked(b'data: "a"\n\n', b"data: [DONE]\n\n")) as server:
        await ask(server.base_url, Macaw, extensions=[collected.trace(latest=True)])
    edition = conventions.LATEST
    assert set(collected.metrics()) == {edition.duration, edition.first_chunk}
    assert not [name for name in collected.span.attributes if "usage" in name]


async def test_an_answer_without_content_has_no_first_chunk(collected: Collected):
    async with serve(chunked(*answer())) as server:
        await ask(server.base_url, OPENAI, extensions=[collected.trace()])
    assert "gen_ai.response.time_to_first_chunk" not in collected.span.attributes
    assert conventions.RELEASED.first_chunk not in collected.metrics()


@pytest.mark.parametrize(
    ("variable", "latest"),
    [
        ("", False),
        ("http", False),
        ("gen_ai_latest_experimental", True),
        ("http/dup, gen_ai_latest_experimental", True),
    ],
)
def test_the_environment_chooses_the_names(collected: Collected, monkeypatch, variable: str, latest: bool):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", variable)
    assert collected.trace()._telemetry.edition is (conventions.LATEST if latest else conventions.RELEASED)
    assert collected.trace(latest=False)._telemetry.edition is conventions.RELEASED


async def test_it_works_with_the_global_providers_where_nobody_has_set_any():
    async with serve(ANSWER) as server:
        assert (await ask(server.base_url, OPENAI, extensions=["trace"])).text == "ab"


def strings(module) -> set[str]:
    """Return every name that the module holds."""
    found, todo = set(), [value for name, value in vars(module).items() if not name.startswith("_")]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, conventions.Edition):
            todo += attrs.astuple(value, recurse=False)
    return found


def test_the_released_names_are_those_of_opentelemetrys_own_package():
    # Here, for it calls them moved: where it drops them, nothing but this test is to go.
    from opentelemetry.semconv import schemas
    from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes, server_attributes
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

    known = {
        value
        for module in (gen_ai_attributes, gen_ai_metrics, error_attributes, server_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    released = {*strings(conventions)} - {
        name
        for value in attrs.astuple(conventions.LATEST, recurse=False)
        for name in (value.values() if isinstance(value, dict) else [value])
    }
    ours = {name for name in released if name.startswith(("gen_ai.", "server.", "error."))}
    assert len(ours) > 20
    assert ours <= known
    assert conventions.RELEASED.schema_url == schemas.Schemas.V1_41_0.value


def test_no_other_module_says_a_name():
    folder = Path(inspect.getfile(conventions)).parent
    names = {name for name in strings(conventions) if "." in name}
    for path in folder.glob("*.py"):
        if path.name != "conventions.py":
            assert not [name for name in names if f'"{name}"' in path.read_text("utf-8")]


def test_every_part_of_a_message_has_a_form_and_what_is_one_providers_alone_has_none():
    written = spans._message(
        providerkit.Message(
            "assistant",
            [
                providerkit.ReasoningPart("Hm."),
                providerkit.ProviderData("signed", keep=True),
                providerkit.FilePart(id="file-1"),
                providerkit.FilePart(b"x", media_type="audio/wav"),
                providerkit.FilePart(url="https://birds.example/a.pdf"),
            ],
        )
    )
    assert written["parts"] == [
        {"type": "reasoning", "content": "Hm."},
        {"type": "file", "file_id": "file-1"},
        {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "eA=="},
        {"type": "uri", "uri": "https://birds.example/a.pdf"},
    ]
