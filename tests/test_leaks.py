"""Every place at which a text can leave, and every spelling of a key in it: none shows the key.

The places: what a server says, wherever in its answer; what a plugin raises, whatever it
puts the text into; and what shows it: errors with their tracebacks, drawn by rich with all
locals too, replies and their reprs, logs in words and in JSON, spans, metrics, cassettes,
and the command line in both of its forms.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ONCE
from click.testing import CliRunner
from loopback import chunked, http, serve
from parrots import Parrot
from rich.console import Console
from rich.traceback import Traceback
from spellings import KEYS, SPELLINGS, basic
from test_extensions_trace import Collected

import providerkit
from providerkit import Finish, Mask, ProviderError, Request, TextDelta, hookimpl, loads
from providerkit.cli.main import main
from providerkit.extensions.cost import Cost
from providerkit.extensions.log import JSONFormatter, Log

KEY = KEYS["base64"]
MASK = Mask([KEY])


class Holding(Parrot):
    """Send the key in three ways, and raise errors that hold what the server said."""

    supports = frozenset({"extra"})

    def __init__(self, hold: Callable[[str], Exception] = ProviderError) -> None:
        self._hold = hold

    @hookimpl
    def build_request(self, chat, endpoint):
        key = endpoint.api_key.reveal()
        headers = {"Authorization": f"Basic {basic('api', key)}", "X-Key": key}
        return Request.json(endpoint.url(f"/say?key={key}"), {"said": "hello"} | chat.extra, headers)

    @hookimpl
    def parse_stream(self, head):
        return providerkit.EventStream(self._read)

    def _read(self, data, event):
        value = loads(data)
        if "finish" in value:
            return [TextDelta("a"), Finish(value["finish"])]
        raise self._hold(value["error"])

    @hookimpl
    def parse_error(self, head, body):
        return self._hold(loads(body)["error"])


def holding(**field: Any) -> Callable[[str], ProviderError]:
    """Make an error that holds a text in a field of its own."""

    def hold(text: str) -> ProviderError:
        error = ProviderError("no")
        for name, make in field.items():
            setattr(error, name, make(text))
        return error

    return hold


def caused(text: str) -> ProviderError:
    error = ProviderError("no")
    error.__cause__ = ValueError(text)
    error.add_note(text)
    return error


def in_json(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


def event(text: str) -> bytes:
    return chunked(b"data: " + in_json(text) + b"\n\n")


HOLDERS = {
    "args": lambda text: ProviderError({"message": text}),
    "a text": holding(code=str),
    "a list": holding(details=lambda text: [{"message": text}]),
    "bytes": holding(body=str.encode),
    "an exception": holding(original=ValueError),
    "a cause and a note": caused,
    "an error of its own": lambda text: LookupError(text),
}
PLACES: dict[str, tuple[Callable[[str], bytes], Callable[[str], Exception]]] = {
    **{
        f"a refusal, kept in {name}": (lambda text: http(in_json(text), status=401), hold)
        for name, hold in HOLDERS.items()
    },
    **{f"an event, kept in {name}": (event, hold) for name, hold in HOLDERS.items()},
    "a refusal in no JSON": (lambda text: http(text.encode(), status=500, content_type="text/plain"), ProviderError),
    "the headers": (lambda text: http(status=500, x_request_id=text, retry_after=text, x_other=text), ProviderError),
    "the headers of an answer": (
        lambda text: chunked(b'data: {"finish": "stop"}\n\n').replace(
            b"\r\n", f"\r\nX-Request-Id: {text}\r\n".encode(), 1
        ),
        ProviderError,
    ),
    "the type of the answer": (lambda text: http(text.encode(), content_type=f"text/{text}"), ProviderError),
    "the reason to finish": (
        lambda text: chunked(b"data: " + json.dumps({"finish": text}).encode() + b"\n\n"),
        ProviderError,
    ),
    "the status line": (lambda text: f"HTTP/1.1 {text}\r\n\r\n".encode(), ProviderError),
    "a redirect": (lambda text: http(status=302, location=f"https://elsewhere.invalid/{text}"), ProviderError),
    "a page": (lambda text: http(f"<html>{text}".encode(), content_type="text/html"), ProviderError),
    "an event that is no JSON": (lambda text: chunked(b"data: " + text.encode() + b"\n\n"), ProviderError),
}


def drawn(error: BaseException) -> str:
    """Draw an error as rich does, with the locals of all frames of the library."""
    tree = error.__traceback__
    while tree is not None and "providerkit" not in Path(tree.tb_frame.f_code.co_filename).parent.parts[-2:]:
        tree = tree.tb_next
    out = io.StringIO()
    options = {"show_locals": True, "locals_max_length": 100, "locals_max_string": 10_000, "max_frames": 100}
    Console(file=out, width=1000).print(Traceback.from_exception(type(error), error, tree, **options))
    return out.getvalue()


def shown(error: BaseException, *, draw: bool = True) -> Iterator[str]:
    yield from (str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error)))
    if draw:
        yield drawn(error)


def words_of(records: list[logging.LogRecord]) -> str:
    return "".join(f"{record.getMessage()} {JSONFormatter().format(record)}" for record in records)


def contents(path: Path) -> str:
    return path.read_text("utf-8")


async def everything(place: str, text: str, tape: Path, caplog: pytest.LogCaptureFixture, *, draw: bool) -> str:
    """Ask once, watched by all that watches, and give all that comes out."""
    answer, hold = PLACES[place]
    collected, cost = Collected(), Cost()
    extensions = [Log(content=True), collected.trace(content=True), cost, providerkit.record(tape)]
    told: list[str] = []
    caplog.clear()
    async with serve(answer(text)) as server, providerkit.Client(retry=ONCE, extensions=extensions) as client:
        run = client.run("hello", provider=Holding(hold), base_url=server.base_url, api_key=KEY)
        try:
            told += [repr(await run)]
        except providerkit.ProviderKitError as error:
            told += shown(error, draw=draw)
        told += [repr(run), repr(run.reply), repr(cost), *(repr(attempt.error) for attempt in run.reply.attempts)]
    told += [span.to_json() for span in collected.spans.get_finished_spans()]
    return "\n".join((*told, repr(collected.metrics()), words_of(caplog.records), contents(tape)))


@pytest.mark.parametrize("place", PLACES)
async def test_no_place_shows_a_key_in_any_spelling(place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for name in ("", "providerkit", "providerkit.log"):
        caplog.set_level(logging.DEBUG, name)
    found = {}
    for spelling, spell in SPELLINGS.items():
        draw = spelling == "as it is"  # which takes longer than all else
        out = await everything(place, f"no {spell(KEY)} so", tmp_path / "tape.jsonl", caplog, draw=draw)
        assert "hello" in out
        if spell(KEY) in out or MASK.spans(out):
            found[spelling] = [out[max(first - 80, 0) : end + 40] for first, end in MASK.spans(out)]
    assert found == {}


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["words", "JSON"])
async def test_the_command_line_shows_a_key_in_no_spelling(form: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for spell in SPELLINGS.values():
        said = json.dumps({"error": {"message": f"no {spell(KEY)} so", "code": spell(KEY)}}).encode()
        async with serve(http(said, status=401, content_type="application/json", x_request_id=spell(KEY))) as server:
            arguments = ["run", "-p", "openai", "--base-url", server.base_url, *form, "hello"]
            done = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        assert done.exit_code == 1
        assert "***" in done.output
        assert MASK.spans(done.output) == []
        assert spell(KEY) not in done.output


@pytest.mark.parametrize(
    "options", [{"extra": {"x": object()}}, {"base_url": "http://127.0.0.1:1"}], ids=["body", "place"]
)
async def test_no_call_that_fails_is_drawn_with_the_key(options: dict[str, Any]):
    """A plugin's frames hold the key, and those of Request.json and of aiohttp the headers: an error comes without."""
    run = providerkit.run("hello", provider=Holding, api_key=KEY, **options)
    with pytest.raises(providerkit.ProviderKitError) as caught:
        await run
    out = "\n".join(shown(caught.value))
    assert "Request POST" in out or "Exchange" in out
    assert MASK.spans(out) == []
