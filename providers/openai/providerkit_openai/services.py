"""The services: one row each, every row an entry point of its own.

None of it was tried against a service: it is what is written about them, read in November
2026. Addresses and key variables of the first eight, and the ports of the others, are those
of the vendors' pages:

    openai      platform.openai.com/docs/api-reference/chat
    openrouter  openrouter.ai/docs/api-reference/overview; usage comes unasked, and asking
                for it has no effect (openrouter.ai/docs/use-cases/usage-accounting)
    groq        console.groq.com/docs/openai, console.groq.com/docs/models
    deepseek    api-docs.deepseek.com
    mistral     docs.mistral.ai/api; that it takes ids of nine letters and digits alone is said
                by its error 3280; `random_seed` is in its OpenAPI description, and that it
                refuses `stream_options` and counts unasked in reports of its users
                (github.com/BerriAI/litellm/issues/8978)
    together    docs.together.ai/docs/inference/openai-compatibility
    fireworks   docs.fireworks.ai/tools-sdks/openai-compatibility; it names no variable for
                the key, this one is what its users' libraries read
    xai         docs.x.ai, which calls this wire deprecated and says that it gives no reasoning
    ollama      docs.ollama.com/api/openai-compatibility; the variable is that of its cloud
    vllm        docs.vllm.ai/en/latest/serving/openai_compatible_server.html; as with llamacpp
                and lmstudio, the chat template of the model decides whether a second system
                message is an error, which those of Qwen and Mistral say
    llamacpp    github.com/ggml-org/llama.cpp, tools/server/README.md
    lmstudio    lmstudio.ai/docs/developer/openai-compat

Not found on a page of the vendor's, so more likely to be wrong: the default model of xai
(docs.litellm.ai/docs/providers/xai names it), which models think unheard, that deepseek
takes no images, seed or schema, and the key variables of vllm and llamacpp. A service
without a `default_model` has none that is sure to be there.

Which fields go back and how `reasoning` is called is from these pages, of November 2026:

    openrouter  openrouter.ai/docs/use-cases/reasoning-tokens, openrouter.ai/docs/features/multimodal
    groq        console.groq.com/docs/reasoning; it refuses `reasoning_content`
                (github.com/janhq/jan/issues/8136)
    deepseek    api-docs.deepseek.com/guides/thinking_mode: without the `reasoning_content` of every
                answer that called a tool, the next request is an error; of others it is ignored
    mistral     docs.mistral.ai/inference/conversations/reasoning
    together    docs.together.ai/docs/reasoning-overview
    fireworks   docs.fireworks.ai/guides/reasoning
    ollama      docs.ollama.com/api/openai-compatibility, and its pull request 14821 for the efforts
    Google, Moonshot and LiteLLM are spoken to as openai-compatible, whose row has their fields:
                ai.google.dev/gemini-api/docs/thought-signatures, platform.moonshot.ai/docs,
                docs.litellm.ai/docs/providers/gemini
"""

from __future__ import annotations

from .dialect import EFFORTS, PLAIN, SEEING, SWITCH, TOGGLE, UNIFIED, Dialect, Kept
from .plugin import OpenAI

openai = OpenAI()
openrouter = OpenAI(
    Dialect(
        "openrouter",
        "https://openrouter.ai",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        "openrouter/auto",
        efforts=UNIFIED,
        files={"audio", "data", "url"},
        kept=Kept(message={"reasoning_details"}, part={"cache_control"}),
        asks_usage=False,
    )
)
groq = OpenAI(
    Dialect(
        "groq",
        "https://groq.com",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        "openai/gpt-oss-20b",
        efforts=EFFORTS,
        embeds=False,
    )
)
deepseek = OpenAI(
    Dialect(
        "deepseek",
        "https://deepseek.com",
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        "deepseek-v4-flash",
        supports=PLAIN - {"seed"},
        efforts=SWITCH,
        kept=Kept(message={"reasoning_content"}),
        embeds=False,
        takes_schemas=False,
    )
)
mistral = OpenAI(
    Dialect(
        "mistral",
        "https://mistral.ai",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        "mistral-small-latest",
        seed="random_seed",
        efforts=EFFORTS,
        kept=Kept(content={"thinking"}),
        asks_usage=False,
        call_ids="[A-Za-z0-9]{9}",
    )
)
together = OpenAI(
    Dialect(
        "together",
        "https://together.ai",
        "https://api.together.ai/v1",
        "TOGETHER_API_KEY",
        "openai/gpt-oss-20b",
        supports=SEEING,
        efforts=TOGGLE,
    )
)
fireworks = OpenAI(
    Dialect(
        "fireworks",
        "https://fireworks.ai",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        supports=SEEING,
        efforts=EFFORTS,
        kept=Kept(message={"reasoning_content"}),
    )
)
xai = OpenAI(
    Dialect(
        "xai",
        "https://x.ai",
        "https://api.x.ai/v1",
        "XAI_API_KEY",
        "grok-4.5",
        thinkers=("grok-",),
        embeds=False,
    )
)
ollama = OpenAI(
    Dialect(
        "ollama",
        "https://ollama.com",
        "http://127.0.0.1:11434/v1",
        "OLLAMA_API_KEY",
        supports=SEEING,
        keyless=True,
        efforts=EFFORTS,
        kept=Kept(message={"reasoning"}),
    )
)
vllm = OpenAI(
    Dialect(
        "vllm",
        "https://vllm.ai",
        "http://127.0.0.1:8000/v1",
        "VLLM_API_KEY",
        keyless=True,
        efforts=EFFORTS,
        files={"audio"},
        kept=Kept(message={"reasoning", "reasoning_content"}, others=True),
        one_system=True,
    )
)
llamacpp = OpenAI(
    Dialect(
        "llamacpp",
        "https://github.com/ggml-org/llama.cpp",
        "http://127.0.0.1:8080/v1",
        "LLAMA_API_KEY",
        keyless=True,
        files={"audio"},
        kept=Kept(message={"reasoning_content"}, others=True),
        one_system=True,
    )
)
lmstudio = OpenAI(
    Dialect(
        "lmstudio",
        "https://lmstudio.ai",
        "http://127.0.0.1:1234/v1",
        supports=SEEING,
        keyless=True,
        one_system=True,
    )
)
openai_compatible = OpenAI(
    Dialect(
        "openai-compatible",
        keyless=True,
        efforts=EFFORTS,
        files={"audio", "data", "id", "url"},
        kept=Kept(
            message={"extra_content", "reasoning", "reasoning_content", "reasoning_details"},
            tool_call={"extra_content", "provider_specific_fields"},
            content={"thinking"},
            others=True,
        ),
        asks_usage=False,
        one_system=True,
    )
)
