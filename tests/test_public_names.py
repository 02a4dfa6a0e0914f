"""The public names, pinned: adding or removing one is a decision."""

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import providerkit

NAMES = """
Answered Argument Attempt AuthenticationError BadRequest ByContent CassetteError Chat Client Clock ConfigurationError
ConnectError ContentFiltered ContextLengthExceeded Conversation Decoder DecoderWrapper Disconnected Embeddings
Endpoint Event EventStream FilePart Finish Headers ImagePart InvalidMessages InvalidOption JSONBody JSONLines
JSONLinesDecoder Limits Lookup Mask Message MissingAPIKey Model NotFound Observer Overloaded Page Part Phrase
PluginError Provider ProviderData ProviderError ProviderInfo ProviderKitError QuotaExhausted RateLimited
ReasoningDelta ReasoningPart Reply Request Response ResponseHead Restart Retry Route Run RunConsumed SSEDecoder Secret
ServerError ServerSentEvent StreamError StreamMalformed StreamTruncated TextDelta TextPart TimedOut Timeouts Token
Tool ToolCall ToolCallDelta ToolResult Transport TransportError TransportWrapper UnexpectedContent UnknownExtension
UnknownModel UnknownProvider UnmatchedRequest UnsupportedFeature Usage __version__ activate embed hookimpl hookspec
loads merge_extra note_left_out pause_clocks provider providers record replay run sandbox
""".split()  # noqa: SIM905 - a list would be a screen long


def test_the_public_names_are_these():
    assert sorted(providerkit.__all__) == sorted(NAMES)
    assert dir(providerkit) == sorted(providerkit.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_documented(name):
    value = getattr(providerkit, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert inspect.getdoc(value)


def test_no_public_name_is_a_modules():
    modules = {path.stem for path in Path(providerkit.__file__).parent.iterdir()}
    assert modules.isdisjoint(NAMES)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="rum"):
        providerkit.rum  # noqa: B018 - the access is what is tested


OPTIONS = """
provider model system tools tool_choice parallel_tool_calls reasoning response_format temperature top_p max_tokens stop
seed extra api_key base_url headers proxy connector timeouts extensions fallback retry on_interrupt rounds
""".split()  # noqa: SIM905 - as above
REACHING = ["api_key", "base_url", "headers", "proxy", "connector", "timeouts", "extensions"]
EMBEDDING = ["model", "extra", *REACHING, "fallback", "retry"]
CALLS = {
    providerkit.run: ["messages", *OPTIONS],
    providerkit.Client.run: ["self", "messages", *OPTIONS],
    providerkit.Provider.run: ["self", "messages", *OPTIONS[1:]],
    providerkit.Conversation.send: ["self", "message", *OPTIONS],
    providerkit.embed: ["texts", "provider", *EMBEDDING],
    providerkit.Provider.embed: ["self", "texts", *EMBEDDING],
    providerkit.Provider.models: ["self", *REACHING, "retry"],
}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__qualname__)
def test_the_signature_of_a_call_is_final(call):
    assert list(inspect.signature(call).parameters) == CALLS[call]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__qualname__)
def test_help_shows_every_keyword_with_its_type(call):
    head, _, told = pydoc.plain(pydoc.render_doc(call)).partition("\n\n")[2].partition("\n")
    assert re.findall(r"(\w+): '[^']+' = None", head.partition("*, ")[2]) == [
        name for name in CALLS[call] if name not in ("self", "messages", "message", "texts")
    ]
    assert "ForwardRef" not in head
    assert told.strip()


def test_importing_the_package_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import providerkit; print(*set(sys.modules) - before)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["providerkit"]


def test_run_is_had_with_few_modules_beside_those_it_stands_on():
    """What it takes to begin is counted in modules, not in milliseconds; those that would bring many are named."""
    code = (
        "import sys, attrs, pluggy, orjson, asyncio; before = set(sys.modules); "
        "import providerkit; providerkit.run; print(*set(sys.modules) - before)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    others = {name for name in output.split() if name.partition(".")[0] != "providerkit"}
    assert others.isdisjoint({"aiohttp", "click", "email", "importlib.metadata", "random", "zipfile"})
    assert len(others) <= 12
