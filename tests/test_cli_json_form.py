"""What programs read of the command line is JSON on one line, whatever a provider or a plugin has sent."""

import io
import json
import sys

import pytest
from commands import call
from parrots import Parrot
from test_json_form import CASES, Mute, circular, each_case

import providerkit
from providerkit import EventStream, Finish, hookimpl
from providerkit.chat.json_form import plain_event
from providerkit.cli import json_form
from providerkit.cli.terminal import clean


@each_case
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_every_value_is_one_line_that_a_terminal_and_an_encoding_take(value, read, encoding):
    text = json_form.dumps(value, encoding)
    assert json.loads(text) == read
    assert text.splitlines() == [text]
    assert clean(text) == text
    assert text.encode(encoding).decode(encoding) == text


class Odd(Parrot):
    """Send what no wire can bring, but a plugin can make."""

    values = tuple(value for case, (value, _) in CASES.items() if case != "too deep")

    @hookimpl
    def parse_stream(self, head):
        events = [providerkit.ProviderData(value) for value in (*self.values, circular(), Mute())]
        text = providerkit.TextDelta("half \ud83d")
        return EventStream(lambda value, event: [text, *events], end=Finish("stop"))


@pytest.mark.parametrize("routes", [("-p", "parrot"), ("-m", "parrot/one", "-m", "parrot/two")], ids=str)
def test_the_command_line_prints_json_whatever_comes(install, mocked, routes):
    install("parrot", Odd)
    mocked.post("http://parrot.invalid/say", body="data: 1\n\n", repeat=True)
    code, output, errors = call("run", *routes, "--events", "hi")
    found = [json.loads(line) for line in output.splitlines()]
    assert (code, errors) == (0, "")
    expected = [read for case, (_, read) in CASES.items() if case != "too deep"]
    for route in {event.get("route") for event in found}:
        data = [event["value"] for event in found if event["type"] == "provider_data" and event.get("route") == route]
        assert data[: len(expected)] == expected
    code, output, errors = call("run", *routes, "--json", "hi")
    replies = json.loads(output)
    assert (code, errors) == (0, "")
    assert {reply["text"] for reply in ([replies] if isinstance(replies, dict) else replies)} == {"half \ufffd"}


def test_json_fits_an_output_that_is_not_utf8(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert json_form.dumps("é🐨") == '"\\u00e9\\ud83d\\udc28"'
    monkeypatch.setattr(sys, "stdout", None)
    assert json_form.dumps("é") == '"\\u00e9"'


def test_an_event_of_a_tool_has_the_fields_of_its_call():
    event = plain_event(providerkit.ToolResult(providerkit.ToolCall("i", "n", "{}"), "done"))
    call_read = {"type": "tool_call", "id": "i", "name": "n", "arguments": "{}"}
    read = {"type": "tool_result", "call": call_read, "content": "done", "failed": False}
    assert json.loads(json_form.dumps(event)) == read


def test_the_errors_of_attempts_speak_of_options():
    error = providerkit.TimedOut("slow", clock="idle")
    reply = providerkit.Reply(attempts=(providerkit.Attempt("koala/x", error, 1.0, None),))
    read = json.loads(json_form.dumps(json_form.of_reply(reply, error)))
    assert read["error"]["message"] == read["attempts"][0]["error"]["message"]
    assert read["error"]["message"].endswith("--timeout SECONDS")
