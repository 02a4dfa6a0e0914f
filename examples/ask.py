"""Ask from a script: blocking, then async.

    python examples/ask.py "Why is the sky blue?"

Both ask Koala's sandbox, an imitation on this machine. Without `base_url`, they ask the service.
"""

import asyncio
import sys

import providerkit


def ask(question, **options):
    """Print the answer as it arrives; then how it ended."""
    run = providerkit.run(question, **options)
    for text in run:
        print(text, end="", flush=True)
    print(f"\n({run.reply.model}: {run.reply.finish_reason})")


async def ask_several(questions, **options):
    """Ask at the same time, and print each whole answer in the order of the questions."""
    for reply in await asyncio.gather(*(providerkit.run(question, **options) for question in questions)):
        print(reply.text)


if __name__ == "__main__":
    questions = sys.argv[1:] or ["Why is the sky blue?", "And at night?"]
    try:
        with providerkit.sandbox("koala") as base_url:
            ask(questions[0], provider="koala", base_url=base_url)
            asyncio.run(ask_several(questions, provider="koala", base_url=base_url))
    except providerkit.ProviderKitError as error:
        sys.exit(f"Error: {error}")
