"""What is logged of a run, and what is not."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from asking import KEY, ask, failure
from loopback import chunked, http, serve
from parrots import Macaw, Parrot

import providerkit
from providerkit import Message, Usage
from providerkit.extensions.log import JSONFormatter, Log

WORDS = chunked(b'data: "sea"\n\n', b'data: "sons"\n\n', b"data: [DONE]\n\n")
UNENDED = chunked(b'data: "sea"\n\n', end=False)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "providerkit.log")
    return lambda: [record for record in caplog.records if record.name == "providerkit.log"]


class Counting(Macaw):
    """Count tokens, too."""

    @providerkit.hookimpl
    def parse_stream(self, head):
        return providerkit.EventStream(
            lambda data, event: [providerkit.TextDelta(providerkit.loads(data)), Usage(7, 2, reasoning_tokens=0)]
        )


def fields(record: logging.LogRecord) -> dict[str, object]:
    kept = vars(record).keys() - vars(logging.makeLogRecord({})).keys() - {"message", "seconds", "run", "taskName"}
    return {name: getattr(record, name) for name in kept}


async def test_a_run_is_told_from_its_attempt_to_its_end(records):
    async with serve(WORDS) as server:
        await ask(server.base_url, Counting, extensions=["log"])
    attempt, head, finish = records()
    host = server.base_url.removeprefix("http://")
    assert fields(attempt) == {"event": "attempt", "route": "parrot/grey", "host": host, "bytes": 31}
    assert fields(head) == {"event": "head", "status": 200}
    assert isinstance(finish.__dict__.pop("first_event"), float)
    assert fields(finish) == {
        "event": "finish",
        "route": "parrot/grey",
        "reason": "stop",
        "proven": True,
        "attempts": 1,
        "source": "network",
        "input_tokens": 7,
        "output_tokens": 2,
        "reasoning_tokens": 0,
    }
    assert [record.levelno for record in records()] == [logging.DEBUG, logging.DEBUG, logging.INFO]
    assert len({record.run for record in records()}) == 1
    assert finish.seconds >= head.seconds >= attempt.seconds >= 0


async def test_runs_are_told_apart(records):
    async with serve(WORDS) as server:
        for _ in range(2):
            await ask(server.base_url, Macaw, extensions=[Log])
    assert len({record.run for record in records()}) == 2


async def test_a_blocking_run_is_told_too(records):
    with providerkit.sandbox("koala") as base_url:
        providerkit.run("Hello", provider="koala", base_url=base_url, extensions=["log"]).result()
    assert [record.event for record in records()] == ["attempt", "head", "finish"]


async def test_a_retry_warns_and_a_failure_is_an_error(records):
    async with serve(http(b"no", status=429, Retry_After="0", x_request_id="r-1")) as server:
        retry = providerkit.Retry(attempts=2)
        await failure(providerkit.RateLimited, ask(server.base_url, extensions=[Log()], retry=retry))
    known = {"error": "RateLimited", "status": 429, "request_id": "r-1", "retry_after": 0.0}
    warned, told = (record for record in records() if record.levelno > logging.INFO)
    assert (warned.levelno, fields(warned)) == (logging.WARNING, {"event": "retry", "delay": 0.0, **known})
    assert (told.levelno, fields(told)) == (logging.ERROR, {"event": "error", **known})


async def test_after_a_retry_the_first_event_is_that_of_the_answer(records):
    answers = iter([UNENDED, WORDS])

    async def answer(received, writer):
        writer.write(next(answers))
        writer.close()

    async with serve(answer) as server:
        await ask(server.base_url, Macaw, extensions=[Log], retry=providerkit.Retry(attempts=2, base=0))
    _, _, retry, _, _, finish = records()
    assert retry.event == "retry"
    assert finish.first_event >= retry.seconds


async def test_a_run_that_is_left_is_no_error(records):
    async with serve(UNENDED) as server, providerkit.Client(extensions=[Log]) as client:
        run = client.run("Hello", provider=Macaw, base_url=server.base_url)
        async for _ in run:
            break
        await run.aclose()
    assert [(record.levelname, record.event) for record in records()[-1:]] == [("INFO", "left")]


async def everything(records, content: bool, body: bytes, caplog) -> str:
    """Return all that is logged of a run that fails and one that answers, in both forms."""
    async with serve(http(b'{"no": "secret word"}', status=400)) as server:

        class Quoting(Parrot):
            @providerkit.hookimpl
            def build_request(self, endpoint):
                return providerkit.Request.json(endpoint.url(f"/say?key={endpoint.api_key.reveal()}"), {})

            @providerkit.hookimpl
            def parse_error(self, head, body):
                return providerkit.BadRequest(f"it says {body.decode()}")

        await failure(
            providerkit.BadRequest,
            ask(server.base_url, Quoting, extensions=[Log(content=content)]),
        )
    async with serve(body) as server:
        provider = type("Free", (Macaw,), {"supports": frozenset({"system"})})
        async with providerkit.Client(extensions=[Log(content=content)]) as client:
            messages = [Message("system", "secret rule"), Message("user", "secret question")]
            await client.run(messages, provider=provider, base_url=server.base_url, api_key=KEY)
    return caplog.text + "".join(map(JSONFormatter().format, records()))


@pytest.mark.parametrize("content", [False, True])
async def test_content_is_logged_where_it_is_asked_for_and_a_key_never(records, caplog, content):
    shown = await everything(records, content, WORDS, caplog)
    assert KEY not in shown
    for secret in ("secret rule", "secret question", "seasons", "secret word"):
        assert (secret in shown) is content, secret


async def test_what_nobody_listens_to_is_not_made(caplog):
    caplog.set_level(logging.ERROR, "providerkit.log")
    async with serve(WORDS) as server:
        await ask(server.base_url, Macaw, extensions=[Log])
    assert [record for record in caplog.records if record.name == "providerkit.log"] == []


def record(**extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "n", "levelname": "INFO", "created": 0.5, "msg": "%s there", "args": ("hi",)})
    vars(made).update(extra)
    return made


def test_a_record_in_words_can_be_read_and_parsed(records):
    logger = logging.getLogger("providerkit.log")
    observer = Log().observe(providerkit.Chat((Message("user", "hi"),)), providerkit.Model("m"))
    observer._log(logging.INFO, "odd", plain="a/b", words='two "words"', line="a\nb", empty="", pair="a=b", none=None)
    [told] = records()
    head, _, rest = told.getMessage().partition(" seconds=")
    assert head == f"event=odd run={told.run}"
    assert rest.partition(" ")[2] == r'plain=a/b words="two \"words\"" line="a\nb" empty="" pair="a=b"'
    assert logger.name == told.name


def test_json_has_the_fields_of_a_record_or_its_message():
    formatter = JSONFormatter()
    head = {"time": "1970-01-01T00:00:00.500+00:00", "level": "info", "logger": "n"}
    assert json.loads(formatter.format(record())) == {**head, "message": "hi there"}
    odd = record(event="finish", seconds=1.5, path=object, taskName="t")
    assert json.loads(formatter.format(odd)) == {**head, "event": "finish", "seconds": 1.5, "path": str(object)}


def test_json_has_the_traceback_of_an_exception():
    try:
        raise KeyError("lost")
    except KeyError:
        line = JSONFormatter().format(record(exc_info=sys.exc_info()))
    assert "KeyError: 'lost'" in json.loads(line)["exception"]
