"""Stream answers to a browser: one page, and a handler of aiohttp.web that sends server-sent events.

    python examples/web_page.py                                  # then open http://127.0.0.1:8080
    python examples/web_page.py --base-url https://koala.sh      # ask the service, not its sandbox

Closing the tab ends the provider's stream: aiohttp cancels the handler (`handler_cancellation`,
which is off by default), and leaving `async with` closes the connection. Whoever reaches the
page asks at your expense, so put a sign-in before it where that can be others.
"""

import argparse
import json
from contextlib import nullcontext, suppress

from aiohttp import web

import providerkit

PAGE = """<!doctype html>
<title>Ask</title>
<form><input name="prompt" placeholder="Why is the sky blue?" autofocus> <button>Ask</button></form>
<pre style="white-space: pre-wrap"></pre>
<script>
  const answer = document.querySelector("pre")
  let source
  document.querySelector("form").onsubmit = submitted => {
    submitted.preventDefault()
    source?.close()
    answer.textContent = ""
    source = new EventSource("answer?" + new URLSearchParams(new FormData(submitted.target)))
    source.addEventListener("text", event => answer.append(JSON.parse(event.data)))
    source.addEventListener("failure", event => answer.append(`\\n[${JSON.parse(event.data)}]`))
    source.addEventListener("end", () => source.close())
    source.onerror = () => source.close()  // or the browser would ask again
  }
</script>
"""


def application(**options):
    """Make the web application; the options are those of `run`."""

    async def page(request):
        return web.Response(text=PAGE, content_type="text/html")

    async def answer(request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)

        async def send(name, value):
            await response.write(f"event: {name}\ndata: {json.dumps(value)}\n\n".encode())

        with suppress(ConnectionResetError):  # the tab was closed while this wrote
            try:
                async with providerkit.run(request.query.get("prompt", ""), **options) as run:
                    async for text in run:
                        await send("text", text)
            except providerkit.ProviderKitError as error:
                await send("failure", str(error))
            await send("end", None)
        return response

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/answer", answer)
    return app


def main():
    """Serve it on this machine until interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--base-url", help="where Koala is; its sandbox, if not given")
    options = parser.parse_args()
    with nullcontext(options.base_url) if options.base_url else providerkit.sandbox("koala") as base_url:
        app = application(provider="koala", base_url=base_url)
        serving = {"handler_cancellation": True, "access_log": None, "shutdown_timeout": 1}  # a log would tell prompts
        web.run_app(app, host="127.0.0.1", port=options.port, **serving)


if __name__ == "__main__":
    main()
