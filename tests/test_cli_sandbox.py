"""`providerkit sandbox`: it serves until it is interrupted."""

import signal
from types import SimpleNamespace

from commands import call, finished, interrupt, said, start
from loopback import serve


async def test_sandbox_prints_its_url_first_and_serves_until_it_is_interrupted():
    process = await start("sandbox", "koala", "--port", "0")
    url = (await process.stdout.readline()).decode().strip()
    assert url.startswith("http://127.0.0.1:")
    assert await finished("run", "-p", "koala", "--base-url", url, "hi") == (0, said("hi"), "")
    process.send_signal(signal.SIGINT)
    output, errors = await process.communicate()
    assert (process.returncode, output) == (0, b"")
    assert errors.decode() == f"Ctrl-C stops it. Try: providerkit run -p koala --base-url {url} Hello\n"


async def test_sandbox_serves_at_the_port_that_is_asked_for():
    async with serve(b"") as server:
        port = server.base_url.rpartition(":")[2]
        code, output, errors = await finished("sandbox", "koala", "--port", port)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert f"can't have port {port}" in errors
    process = await start("sandbox", "koala", "--port", port)
    assert (await process.stdout.readline()).decode() == f"http://127.0.0.1:{port}\n"
    process.send_signal(signal.SIGINT)
    await process.communicate()


def test_sandbox_ends_well_when_it_is_interrupted(monkeypatch):
    monkeypatch.setattr("providerkit.cli.sandbox.threading", SimpleNamespace(Event=interrupt))
    code, output, _ = call("sandbox", "koala")
    assert (code, output.startswith("http://127.0.0.1:")) == (0, True)
