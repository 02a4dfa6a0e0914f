"""Programs that are interrupted or end in mid-answer: the connection closes, nothing is printed, what follows works."""

from __future__ import annotations

import signal

import pytest
from programs import Host, Program, hosting, inside


@pytest.fixture
def host():
    with hosting() as host:
        yield host


BLOCKING = {
    "result": "RUN.result()",
    "for": "for text in RUN: pass",
    "with": """
with RUN as run:
    for text in run: pass
""",
}


def asking(text: str, way: str) -> str:
    return way.replace("RUN", f"ask({text!r}, extensions=[Witness])")


def begun(host: Host, program: Program, text: str) -> None:
    """Wait until a question has come so far that it waits."""
    if text == "throttled":
        assert program.hear() == "waits"
    else:
        host.until_begun()


@pytest.mark.parametrize("way", BLOCKING.values(), ids=BLOCKING)
@pytest.mark.parametrize("text", ["silent", "stream", "throttled"])
def test_an_interrupt_closes_the_connection_and_a_later_call_works(host, text, way):
    body = "\n".join(
        [
            "def work():",
            *(f"    {line}" for line in asking(text, way).strip().splitlines()),
            "try: work()",
            "except KeyboardInterrupt: say('interrupted')",
            "input()",
            "say(ask('whole').result().text, *ask('whole'))",
        ]
    )
    program = host.start(body)
    begun(host, program, text)
    program.interrupt()
    assert program.hear() == "interrupted"
    if text != "throttled":  # that answer was whole, so its connection may be used again
        host.until_closed()
    program.tell()
    assert program.end() == ("whole whole\n", "", 0)
    host.until_closed()


def test_an_interrupt_while_the_caller_works_on_a_piece(host):
    body = """
    try:
        for text in ask("stream"):
            say(text)
            threading.Event().wait()
    except KeyboardInterrupt: say("interrupted")
    input()
    say(ask("whole").result().text)
    """
    program = host.start(body)
    assert program.hear() == "one"
    program.interrupt()
    assert program.hear() == "interrupted"
    host.until_closed()
    program.tell()
    assert program.end() == ("whole\n", "", 0)


@pytest.mark.parametrize("way", [BLOCKING["result"], BLOCKING["for"]], ids=["result", "for"])
@pytest.mark.parametrize("text", ["silent", "stream", "throttled"])
def test_an_interrupt_that_nobody_catches_shows_itself_alone(host, text, way):
    program = host.start(asking(text, way))
    begun(host, program, text)
    program.interrupt()
    _, errors, status = program.end()
    assert_alone(errors, "KeyboardInterrupt")
    assert status == -signal.SIGINT
    host.until_closed()


def assert_alone(errors: str, name: str) -> None:
    """See that one traceback was printed, and nothing else."""
    lines = errors.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith(name)
    assert [line for line in lines[1:-1] if not line.startswith("  ")] == [], errors


MODES = {
    "async": inside("async for text in ask('stream'): END"),
    "async, collected": inside("""
        task = asyncio.ensure_future(ask('stream'))
        await asyncio.to_thread(input)
        END
    """),
    "async, the Run and its iterator kept": "kept = []\n"
    + inside("""
        run = ask('stream')
        kept.extend((run, aiter(run)))
        await anext(kept[1])
        END
    """),
    "blocking": "for text in ask('stream'): END",
    "blocking, the Run and its iterator kept": """
run = ask('stream')
texts = iter(run)
next(texts)
END
""",
    "blocking, in a cycle": """
class Holder: pass
holder = Holder()
holder.self, holder.texts = holder, iter(ask('stream'))
next(holder.texts)
END
""",
    "in a thread, streamed": """
def work():
    for text in ask('stream'): ready.set()
ready = threading.Event()
threading.Thread(target=work, daemon=True).start()
ready.wait()
END
""",
    "in a thread, collected": """
threading.Thread(target=lambda: ask('stream').result(), daemon=True).start()
input()
END
""",
    "in a thread that has left its loop, the Run kept": """
def work():
    run = ask('stream')
    for text in run: break
    kept.append(run)
kept = []
thread = threading.Thread(target=work)
thread.start()
thread.join()
END
""",
    "both at once": inside("""
        texts = iter(ask('stream'))
        next(texts)
        async for text in ask('stream'): END
    """),
}
ENDS = {
    "its end": ("break", "", 0),
    "sys.exit": ("sys.exit(3)", "", 3),
    "an exception": ("raise KeyError", "KeyError", 1),
    "os._exit": ("os._exit(4)", "", 4),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mode", MODES)
def test_a_program_that_ends_in_mid_answer_closes_its_connections(host, mode, end):
    statement, error, status = ENDS[end]
    if ": END" not in MODES[mode]:
        statement = statement.replace("break", "pass")
    program = host.start(MODES[mode].replace("END", statement))
    host.until_begun()
    program.tell()
    output, errors, returncode = program.end()
    if error:
        assert_alone(errors, error)
    else:
        assert errors == ""
    assert (output, returncode) == ("", status)
    host.until_closed()


SILENT = """
import socket
def silent(host, *rest, real=socket.getaddrinfo, **more):
    if host == "silent.invalid":
        say("asks")
        threading.Event().wait()  # as the system does for a long time if no name server answers
    return real(host, *rest, **more)
socket.getaddrinfo = silent
def ask_silent(**options):
    return providerkit.run("hi", provider=Macaw, base_url="http://silent.invalid", **options)
"""
SHORT = "timeouts=providerkit.Timeouts(connect=0.1), retry=providerkit.Retry(attempts=1)"
TOLD = {
    "blocking": f"""
try: ask_silent({SHORT}).result()
except providerkit.TimedOut: say("told")
""",
    "async": inside(f"""
        try: await ask_silent({SHORT})
        except providerkit.TimedOut: say("told")
    """),
}


@pytest.mark.parametrize("mode", TOLD)
def test_a_program_ends_though_a_name_server_is_silent(host, mode):
    program = host.start(SILENT + TOLD[mode])
    assert program.end() == ("asks\ntold\n", "", 0)


@pytest.mark.parametrize("mode", ["ask_silent().result()", inside("await ask_silent()")], ids=["blocking", "async"])
def test_an_interrupt_ends_a_program_though_a_name_server_is_silent(host, mode):
    program = host.start(SILENT + mode)
    assert program.hear() == "asks"
    program.interrupt()
    _, errors, status = program.end()
    assert errors.splitlines()[-1].startswith("KeyboardInterrupt")
    assert "exception was ignored" not in errors
    assert status == -signal.SIGINT


def test_an_interrupt_ends_the_command_line_though_a_name_server_is_silent(host):
    program = host.start(
        f"""
{SILENT}
from providerkit.cli import start
sys.stdin = None  # which is a pipe that stays open
sys.argv = ["providerkit", "run", "-p", "koala", "--base-url", "http://silent.invalid", "hi"]
start()
"""
    )
    assert program.hear() == "asks"
    program.interrupt()
    assert program.end()[2] == 130


BLOCKS = """
from chat_completions import ChatCompletions, answer, tool_call
from providerkit.testing import faults
from providerkit.testing.faults import FaultServer
def block():
    say("blocks")
    threading.Event().wait()
async def block_elsewhere():
    await asyncio.to_thread(block)
answers = FaultServer([faults.says(*answer(*tool_call("{}", name="block"), reason="tool_calls"))])
def send(url, tool):
    tools = [providerkit.Tool("block", function=tool)]
    return providerkit.run(provider=ChatCompletions("chat"), base_url=url, tools=tools).send("?")
def work():
    with answers as url: send(url, TOOL).result()
"""
BLOCKED = {
    "an interrupt of a blocking caller": ("work()", -signal.SIGINT),
    "an interrupt of an async caller": (
        inside("""
            async with answers as url: await send(url, block)
        """),
        -signal.SIGINT,
    ),
    "its end": (
        """
threading.Thread(target=work, daemon=True).start()
input()
""",
        0,
    ),
}


@pytest.mark.parametrize("tool", ["block", "block_elsewhere"])
@pytest.mark.parametrize("mode", BLOCKED)
def test_a_program_ends_though_a_tool_blocks(host, mode, tool):
    body, status = BLOCKED[mode]
    program = host.start(BLOCKS.replace("TOOL", tool) + body)
    assert program.hear() == "blocks"
    if status:
        program.interrupt()
    program.tell()
    assert program.end()[2] == status
