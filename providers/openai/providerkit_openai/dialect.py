"""What one service says of itself, and where it departs from OpenAI's wire: data, no code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs

PLAIN = frozenset({"system", "history", "extra", "tools", "tool_choice", "response_format", "stop"}) | {
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
}
SEEING = PLAIN | {"images"}
FULL = SEEING | {"parallel_tool_calls"}


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@attrs.frozen
class Kept:
    """The fields that a service wants back unchanged, by what they belong to.

    `message` are fields of an assistant's message, `tool_call` of a call, `part` of a part
    of the content, and `content` are types of parts that have no form of ours. `others` says
    that it is also sent fields that are not named here (but `id`), if a user's own messages
    have them.
    """

    message: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    tool_call: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    part: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    content: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    others: bool = False


NOTHING = Kept()
Efforts: TypeAlias = Mapping[str, Mapping[str, Any]]
# The fields that each value of `reasoning` is sent as: by OpenAI's name, then DeepSeek's, Together's, OpenRouter's.
EFFORTS: Efforts = {effort: {"reasoning_effort": effort} for effort in ("none", "low", "medium", "high")}
SWITCH: Efforts = {**EFFORTS, "none": {"thinking": {"type": "disabled"}}}
TOGGLE: Efforts = {**EFFORTS, "none": {"reasoning": {"enabled": False}}}
UNIFIED: Efforts = {effort: {"reasoning": {"effort": effort}} for effort in EFFORTS}


@attrs.frozen
class Dialect:
    """Describe a service that speaks the chat-completions wire.

    `base_url` goes up to what stands before `/chat/completions`. If it is None, or
    `default_model` is, the caller must say it. `api_key_env` is the variable that holds the
    key, and `keyless` says that the service does without one. `supports` is as in
    ProviderInfo; `reasoning`, `files` and `provider_data` are added if the rows below have
    something.

    `thinkers` are beginnings of the names of models that think before their first word,
    unheard: that they are silent is not a sign of failure.

    `max_tokens` and `seed` are the wire's names for these options, and `efforts` the fields
    that each value of `reasoning` is sent as. `files` says how it takes files: "data",
    "url", "id", and "audio" for the wire's own form of that. `embeds`: it has embeddings.
    `kept` are the fields that it wants back unchanged.

    `asks_usage`: it takes `stream_options`, without which it counts no tokens;
    `takes_schemas`: it answers by a JSON schema, not just in JSON; `finishes`: it says the
    end of a stream, by a finish reason or by [DONE]. If it does neither, the end of the body
    is the end of the answer, and `reply.proven` says whether HTTP has shown that end.

    `call_ids` is a pattern of the ids of tool calls that it takes (None: any); others are
    replaced by nine letters and digits made of them. `one_system`: it refuses a second
    system message, or one after the first turn, so all of them are one, and first.
    """

    name: str
    url: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    default_model: str | None = None
    supports: frozenset[str] = attrs.field(default=FULL, kw_only=True)
    thinkers: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    keyless: bool = attrs.field(default=False, kw_only=True)
    max_tokens: str = attrs.field(default="max_tokens", kw_only=True)
    seed: str = attrs.field(default="seed", kw_only=True)
    efforts: Efforts = attrs.field(factory=dict, hash=False, kw_only=True)
    files: frozenset[str] = attrs.field(default=frozenset(), converter=_names, kw_only=True)
    kept: Kept = attrs.field(default=NOTHING, kw_only=True)
    embeds: bool = attrs.field(default=True, kw_only=True)
    asks_usage: bool = attrs.field(default=True, kw_only=True)
    takes_schemas: bool = attrs.field(default=True, kw_only=True)
    finishes: bool = attrs.field(default=True, kw_only=True)
    call_ids: str | None = attrs.field(default=None, kw_only=True)
    one_system: bool = attrs.field(default=False, kw_only=True)

    @property
    def features(self) -> frozenset[str]:
        """Return all that it supports, in words of ProviderInfo."""
        more = {"reasoning": self.efforts, "files": self.files, "provider_data": self.kept != NOTHING}
        return self.supports | {feature for feature, has in more.items() if has}
