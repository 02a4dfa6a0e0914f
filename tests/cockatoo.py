"""A provider whose wire has all that a wire may have, so that a plugin can lose any of it."""

from __future__ import annotations

from base64 import b64encode

from providerkit import (
    Answered,
    Embeddings,
    EventStream,
    FilePart,
    Finish,
    ImagePart,
    InvalidMessages,
    Model,
    Page,
    ProviderData,
    ProviderError,
    ProviderInfo,
    ReasoningDelta,
    ReasoningPart,
    Request,
    Secret,
    TextDelta,
    TextPart,
    Token,
    ToolCall,
    ToolCallDelta,
    Usage,
    hookimpl,
    loads,
)
from providerkit.chat.options import FEATURES

REASONS = {"end": "stop", "calls": "tool_calls"}
NUMBERS = ("temperature", "top_p", "max_tokens", "seed", "tool_choice", "parallel_tool_calls", "reasoning")


class Cockatoo:
    """Talk to Cockatoo: keep all that a chat says."""

    supports = FEATURES

    @hookimpl
    def describe(self):
        return ProviderInfo(
            "cockatoo", default_base_url="https://cockatoo.example", default_model="white", supports=self.supports
        )

    @hookimpl
    def resolve_model(self, name):
        return Model(name or "white")

    @hookimpl
    def build_request(self, chat, model, endpoint):
        options = {name: getattr(chat, name) for name in NUMBERS if getattr(chat, name) is not None}
        body = {
            "model": model.name,
            "system": chat.system,
            "turns": [self.turn(turn) for turn in chat.messages],
            "tools": [self.tool(tool) for tool in chat.tools],
            "format": chat.response_format,
            "stop": list(chat.stop),
            **options,
            **chat.extra,
        }
        return Request.json(endpoint.url("/say"), body, headers(endpoint))

    def tool(self, tool):
        return {"name": tool.name, "about": tool.description, "schema": dict(tool.parameters)}

    def turn(self, turn):
        parts = [part for part in turn.parts if not isinstance(part, ReasoningPart)]
        said = {"role": turn.role, "said": [self.part(part) for part in parts]}
        return said | ({"answers": self.answered(turn), "failed": turn.failed} if turn.role == "tool" else {})

    def answered(self, turn):
        return turn.tool_call_id

    def part(self, part):
        match part:
            case TextPart(text):
                return {"text": text}
            case ToolCall(call_id, name, arguments):
                return {"call": call_id, "tool": name, "arguments": arguments}
            case ImagePart() | FilePart():
                data = None if part.data is None else b64encode(part.data).decode()
                return {"data": data, "url": part.url, "id": getattr(part, "id", None)}
            case ProviderData(value):
                return value
        raise InvalidMessages(f"cockatoo takes no {type(part).__name__}")

    @hookimpl
    def parse_stream(self, head):
        return EventStream(self.parse, done=None)

    def parse(self, data, event):
        match loads(data):
            case {"error": {"message": str(words)}}:
                raise ProviderError(words)
            case {"by": str(name)}:
                return [Answered(name)]
            case {"thought": str(thought), "sign": str()} as value:
                return [ReasoningDelta(thought), ProviderData(value, keep=True)]
            case {"text": str(text)}:
                return [TextDelta(text)]
            case {"call": int(index), "id": str(call_id), "tool": str(name), "arguments": str(arguments)}:
                return [ToolCallDelta(self.index(index), call_id, name, arguments)]
            case {"tokens": dict(tokens), "finish": str(reason)}:
                return [self.usage(tokens), Finish(self.reason(reason))]
        return []

    def index(self, index):
        return index

    def usage(self, tokens):
        return Usage(
            tokens.get("input_tokens"),
            tokens.get("output_tokens"),
            tokens.get("cache_read_tokens"),
            tokens.get("cache_write_tokens"),
            tokens.get("reasoning_tokens"),
        )

    def reason(self, word):
        return REASONS.get(word, "other")

    @hookimpl
    def parse_error(self, head, body):
        match loads(body):
            case {"error": {"message": str(words)}}:
                return ProviderError.from_status(head.status, words)
        return None

    @hookimpl
    def build_models_request(self, endpoint, after):
        query = "" if after is None else f"?after={after}"
        return Request("GET", endpoint.url(f"/models{query}"), headers(endpoint), stream=False)

    @hookimpl
    def parse_models(self, head, body):
        match loads(body):
            case {"models": [*names], "next": after}:
                return Page([Model(str(name)) for name in names], None if after is None else str(after))
        raise ProviderError("no models")

    @hookimpl
    def build_embed_request(self, texts, model, endpoint, extra):
        return Request.json(endpoint.url("/vectors"), {"texts": list(texts), **extra}, headers(endpoint), stream=False)

    @hookimpl
    def parse_embeddings(self, head, body):
        return Embeddings([vector for _, vector in sorted(pairs(body))])

    @hookimpl
    def build_token_request(self, endpoint):
        return Request.json(endpoint.url("/token"), {}, headers(endpoint), stream=False)

    @hookimpl
    def parse_token(self, head, body):
        match loads(body):
            case {"token": str(token), "seconds": int(seconds)} if token and seconds > 0:
                return Token(Secret(token), seconds)
        raise ProviderError("no token")

    @hookimpl
    def sandbox(self):
        from cockatoo_sandbox import application  # brings aiohttp's server

        return application()


def headers(endpoint):
    return {"Authorization": f"Bearer {endpoint.api_key.reveal()}"} if endpoint.api_key else {}


def pairs(body):
    """Return the vectors of an answer, each behind its number."""
    match loads(body):
        case {"vectors": [*found]}:
            return [(item["of"], item["is"]) for item in found if is_vector(item)]
    raise ProviderError("no vectors")


def is_vector(item):
    return isinstance(item, dict) and isinstance(item.get("of"), int) and isinstance(item.get("is"), list)
