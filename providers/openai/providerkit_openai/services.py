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
"""

from __future__ import annotations

from .dialect import PLAIN, SEEING, THINKING, Dialect
from .plugin import OpenAI

openai = OpenAI()
openrouter = OpenAI(
    Dialect(
        "openrouter",
        "https://openrouter.ai",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        "openrouter/auto",
        asks_usage=False,
    )
)
groq = OpenAI(
    Dialect("groq", "https://groq.com", "https://api.groq.com/openai/v1", "GROQ_API_KEY", "openai/gpt-oss-20b")
)
deepseek = OpenAI(
    Dialect(
        "deepseek",
        "https://deepseek.com",
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        "deepseek-v4-flash",
        supports=PLAIN - {"seed"} | {"reasoning"},
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
        asks_usage=False,
        call_ids="[A-Za-z0-9]{9}",
    )
)
together = OpenAI(
    Dialect("together", "https://together.ai", "https://api.together.ai/v1", "TOGETHER_API_KEY", "openai/gpt-oss-20b")
)
fireworks = OpenAI(
    Dialect("fireworks", "https://fireworks.ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY")
)
xai = OpenAI(
    Dialect(
        "xai", "https://x.ai", "https://api.x.ai/v1", "XAI_API_KEY", "grok-4.5", supports=SEEING, thinkers=("grok-",)
    )
)
ollama = OpenAI(Dialect("ollama", "https://ollama.com", "http://127.0.0.1:11434/v1", "OLLAMA_API_KEY", keyless=True))
vllm = OpenAI(
    Dialect("vllm", "https://vllm.ai", "http://127.0.0.1:8000/v1", "VLLM_API_KEY", keyless=True, one_system=True)
)
llamacpp = OpenAI(
    Dialect(
        "llamacpp",
        "https://github.com/ggml-org/llama.cpp",
        "http://127.0.0.1:8080/v1",
        "LLAMA_API_KEY",
        keyless=True,
        one_system=True,
    )
)
lmstudio = OpenAI(Dialect("lmstudio", "https://lmstudio.ai", "http://127.0.0.1:1234/v1", keyless=True, one_system=True))
openai_compatible = OpenAI(
    Dialect("openai-compatible", supports=THINKING, keyless=True, asks_usage=False, one_system=True)
)
