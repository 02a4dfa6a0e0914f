"""Programs in processes of their own, that talk with a server in the test's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import dedent, indent

import attrs
from loopback import Received, Server, http, serve_elsewhere

from providerkit import loads
from providerkit.engine import blocking as sync


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST = chunk(b'data: "one"\n\n')
REST = chunk(b'data: "two"\n\n') + chunk(b'data: "three"\n\n') + chunk(b"data: [DONE]\n\n") + chunk(b"")
WHOLE = http(b'data: "whole"\n\ndata: [DONE]\n\n')

PREAMBLE = """
import asyncio, gc, logging, multiprocessing, os, signal, sys, threading, warnings
import providerkit
from parrots import Macaw
logging.getLogger("asyncio").setLevel(logging.ERROR)  # a machine may be slow, and that is no error
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # Python 3.12, of any fork

class Witness:
    @providerkit.hookimpl
    def observe(self): return self
    def retry(self, error, delay): say("waits")

def say(*words): os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # a daemon thread at print aborts an end
def ask(text, **options): return providerkit.run(text, provider=Macaw, base_url=sys.argv[1], **options)
"""


@attrs.define
class Host:
    """Answer by what is asked.

    "whole" is answered at once, "silent" never, "throttled" with a long time to wait;
    "stream" is answered with a beginning, and goes on once somebody asks "go on".
    """

    server: Server
    begun: int = 0  # answers that wait to go on, or silent
    programs: list[Program] = attrs.field(factory=list)

    def start(self, body: str) -> Program:
        """Start a program that asks here."""
        program = Program(body, self.server.base_url)
        self.programs.append(program)
        return program

    def begin(self) -> None:
        self.begun += 1
        self.server.changed.set()

    def until_begun(self, number: int = 1) -> None:
        """Wait until so many answers have begun."""
        sync.call(self.server.until(lambda: self.begun >= number))

    def until_closed(self) -> None:
        """Wait until no connection is left."""
        sync.call(self.server.until(lambda: self.server.open == 0))


@contextmanager
def hosting() -> Iterator[Host]:
    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        match loads(received.body)["text"]:
            case "whole":
                writer.write(WHOLE)
            case "go on":
                goes_on.set()
                writer.write(WHOLE)
            case "throttled":
                writer.write(http(b"", status=429, Retry_After="100"))
            case "silent":
                host.begin()
                await asyncio.Event().wait()
            case "stream":
                writer.write(HEAD + FIRST)
                await writer.drain()
                host.begin()
                await goes_on.wait()
                writer.write(REST)

    goes_on = asyncio.Event()
    with serve_elsewhere(answer) as server:
        host = Host(server)
        try:
            yield host
        finally:
            for program in host.programs:
                program.kill()


class Program:
    """Run a program with every warning an error; `say` of its preamble is heard by `hear`."""

    def __init__(self, body: str, base_url: str) -> None:
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", PREAMBLE + dedent(body), base_url]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)

    def hear(self) -> str:
        """Wait for a line."""
        line = self._process.stdout.readline()
        assert line, self.end()[1]
        return line.strip()

    def tell(self) -> None:
        """Let the program go on that waits in `input()`; one that does not may have ended."""
        with suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[str, str, int]:
        """Wait for the end, and give what is left of its output, what it printed on standard error, and its status."""
        output, errors = self._process.communicate()
        return output, errors, self._process.returncode

    def kill(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError), self._process:
            pass


def inside(body: str) -> str:
    """Put a body into an async function that a loop runs."""
    return f"async def main():\n{indent(dedent(body), '    ')}\nasyncio.run(main())\n"
