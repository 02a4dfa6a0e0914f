"""What one service says of itself, and where it departs from OpenAI's wire: data, no code."""

from __future__ import annotations

import attrs

PLAIN = frozenset({"system", "history", "extra", "tools", "response_format", "stop"}) | {
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
}
SEEING = PLAIN | {"images"}
THINKING = SEEING | {"reasoning"}


@attrs.frozen
class Dialect:
    """Describe a service that speaks the chat-completions wire.

    `base_url` goes up to what stands before `/chat/completions`; where it is None, or
    `default_model` is, the caller must say it. `api_key_env` is the variable that holds
    the key, and `keyless` says that the service does without one. `supports` is as in
    ProviderInfo.

    `thinkers` are beginnings of the names of models that think before their first word,
    unheard: that they are silent is no sign of failure.

    `max_tokens` and `seed` are the wire's names for these options. `asks_usage`: it takes
    `stream_options`, without which it counts no tokens; `takes_schemas`: it answers by a
    JSON schema, not just in JSON; `finishes`: it says the end of a stream, by a finish
    reason or by [DONE]. Where it does neither, the end of the body is the end of the
    answer, and `reply.proven` says whether HTTP has shown that end.

    `call_ids` is a pattern of the ids of tool calls that it takes (None: any); others are
    replaced by nine letters and digits made of them. `one_system`: it refuses a second
    system message, or one after the first turn, so all of them are one, and first.
    """

    name: str
    url: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    default_model: str | None = None
    supports: frozenset[str] = attrs.field(default=THINKING, kw_only=True)
    thinkers: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    keyless: bool = attrs.field(default=False, kw_only=True)
    max_tokens: str = attrs.field(default="max_tokens", kw_only=True)
    seed: str = attrs.field(default="seed", kw_only=True)
    asks_usage: bool = attrs.field(default=True, kw_only=True)
    takes_schemas: bool = attrs.field(default=True, kw_only=True)
    finishes: bool = attrs.field(default=True, kw_only=True)
    call_ids: str | None = attrs.field(default=None, kw_only=True)
    one_system: bool = attrs.field(default=False, kw_only=True)
