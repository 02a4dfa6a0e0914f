"""Names of OpenTelemetry's conventions for generative AI: all that `trace` says, and nothing else does.

Sources: github.com/open-telemetry/semantic-conventions v1.41, the last release that holds
them, and the main branch of semantic-conventions-genai, which is not released and renames
some. Both are "in development". Read in November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST_WANTED = "gen_ai_latest_experimental"

OPERATION = "gen_ai.operation.name"
CHAT = "chat"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
STREAM = "gen_ai.request.stream"
OUTPUT_TYPE = "gen_ai.output.type"
REQUEST = {  # options of a chat
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "stop": "gen_ai.request.stop_sequences",
    "seed": "gen_ai.request.seed",
}
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
ADDRESS = "server.address"
PORT = "server.port"
ERROR = "error.type"

# Content, on demand.
INPUT = "gen_ai.input.messages"
OUTPUT = "gen_ai.output.messages"
SYSTEM = "gen_ai.system_instructions"
TOOLS = "gen_ai.tool.definitions"

# Ours: the conventions have no name for them.
RETRY = "providerkit.retry"
DELAY = "providerkit.retry.delay"
STATUS = "providerkit.retry.status"
ATTEMPTS = "providerkit.attempts"
SOURCE = "providerkit.source"
REQUEST_ID = "providerkit.request_id"

SECONDS = tuple(0.01 * 2**power for power in range(14))
TOKENS = tuple(4**power for power in range(14))
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - a count of words, no secret


@attrs.frozen
class Edition:
    """Hold what the two editions name differently.

    `usage`: attributes of a span, by the fields of Usage. `sizes`: histograms of one
    operation's tokens, by their type, which is an attribute where both have one name.
    `sums`: counters, by the fields of Usage.
    """

    schema_url: str | None
    duration: str
    first_chunk: str
    each_chunk: str
    usage: Mapping[str, str]
    sizes: Mapping[str, str]
    sums: Mapping[str, str]


def _usage(prefix: str, cache_write: str) -> dict[str, str]:
    return {
        "input_tokens": f"{prefix}.input_tokens",
        "output_tokens": f"{prefix}.output_tokens",
        "cache_read_tokens": f"{prefix}.cache_read.input_tokens",
        "cache_write_tokens": f"{prefix}.{cache_write}.input_tokens",
        "reasoning_tokens": f"{prefix}.reasoning.output_tokens",
    }


RELEASED = Edition(
    schema_url="https://opentelemetry.io/schemas/1.41.0",
    duration="gen_ai.client.operation.duration",
    first_chunk="gen_ai.client.operation.time_to_first_chunk",
    each_chunk="gen_ai.client.operation.time_per_output_chunk",
    usage=_usage("gen_ai.usage", "cache_creation"),
    sizes={"input": "gen_ai.client.token.usage", "output": "gen_ai.client.token.usage"},
    sums={},
)
LATEST = Edition(
    schema_url=None,
    duration="gen_ai.client.inference.duration",
    first_chunk="gen_ai.client.inference.time_to_first_chunk",
    each_chunk="gen_ai.client.inference.time_per_output_chunk",
    usage=_usage("gen_ai.usage", "cache_write"),
    sizes={
        "input": "gen_ai.client.inference.operation.input_tokens",
        "output": "gen_ai.client.inference.operation.output_tokens",
    },
    sums=_usage("gen_ai.client.inference.usage", "cache_write"),
)
