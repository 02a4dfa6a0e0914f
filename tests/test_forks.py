"""Forks in mid-answer: the parent's answers go on to their end, the child's runs are its own."""

from __future__ import annotations

import os

import pytest
from programs import hosting, inside

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

CHILD = """
def refused(use):
    try: use()
    except providerkit.RunConsumed as error: assert "before a fork" in str(error), error
    else: raise AssertionError

def in_child(run, texts, use):
    gc.collect()
    if use == "used":
        if texts is not None and hasattr(texts, "close"): refused(lambda: next(texts))
        refused(lambda: ask_before.result())
        if not hasattr(texts, "aclose"): run.close()
        client.run("whole", provider=Macaw, base_url=sys.argv[1]).result()
        assert ask("whole").result().text == "whole"
        assert list(ask("whole")) == ["whole"]
        assert asyncio.run(whole(ask("whole"))) == "whole"
        chat.send("whole").result()
    gc.collect()

async def whole(run): return (await run).text

ask_before = ask("whole")
client = providerkit.Client()
chat = providerkit.run(provider=Macaw, base_url=sys.argv[1])

def fork(run, texts, use, leave):
    chat_texts = iter(chat.send("whole"))
    next(chat_texts)
    pid = os.fork()
    if pid == 0:
        in_child(run, texts, use)
        leave()
        return
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ask("go on").result().text == "whole"

def process(run, texts, use, leave):
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(run, texts, use))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert ask("go on").result().text == "whole"
"""

PARENTS = {
    "blocking": """
run = ask("stream")
texts = iter(run)
got = [next(texts)]
FORK
say(*got, *texts)
""",
    "blocking, in a for": """
run = ask("stream")
got = []
for text in run:
    if not got: FORK
    got.append(text)
say(*got)
""",
    "blocking, in a with": """
texts = None
with ask("stream") as run:
    texts = iter(run)
    got = [next(texts)]
    FORK
    say(*got, *texts)
""",
    "async": inside("""
        run = ask("stream")
        texts = aiter(run)
        got = [await anext(texts)]
        FORK
        say(*got, *[text async for text in texts])
    """),
    "async, in an async with": inside("""
        async with ask("stream") as run:
            texts = aiter(run)
            got = [await anext(texts)]
            FORK
            say(*got, *[text async for text in texts])
    """),
    "async, collected": inside("""
        begun = asyncio.Event()
        class Watcher:
            @providerkit.hookimpl
            def observe(self): return self
            def head(self, head): begun.set()
        run = ask("stream", extensions=[Watcher()])
        task = asyncio.ensure_future(whole(run))
        await begun.wait()
        texts = None
        FORK
        say(await task)
    """),
}
LEAVES = {
    "sys.exit": "fork(run, {}, {!r}, sys.exit)",
    "os._exit": "fork(run, {}, {!r}, lambda: os._exit(0))",
    "multiprocessing": "process(run, {}, {!r}, None)",
}


@pytest.fixture
def host():
    with hosting() as host:
        yield host


@pytest.mark.parametrize(("leave", "use"), [("sys.exit", "left alone"), *((leave, "used") for leave in LEAVES)])
@pytest.mark.parametrize("parent", PARENTS)
def test_the_parents_answer_goes_on_and_the_childs_runs_are_its_own(host, parent, leave, use):
    texts = "None" if "in a for" in parent else "texts"
    program = host.start(CHILD + PARENTS[parent].replace("FORK", LEAVES[leave].format(texts, use)))
    output, errors, status = program.end()
    assert not errors, errors
    assert (output.strip().replace(" ", ""), status) == ("onetwothree", 0)
    host.until_closed()


@pytest.mark.parametrize("body", ["for text in ask('stream'): break", inside("async for text in ask('stream'): BREAK")])
def test_a_child_does_not_hold_the_connections_of_its_parent_open(host, body):
    fork = """
def fork():
    global child
    child = os.fork()
    if child == 0: os.read(there, 1); os._exit(0)
there, here = os.pipe()
"""
    body = body.replace("break", "fork(); break").replace("BREAK", "fork(); break")
    program = host.start(f"{fork}\n{body}\ninput()\nos.write(here, b'.')\nos.waitpid(child, 0)")
    host.until_begun()
    host.until_closed()
    program.tell()
    assert program.end() == ("", "", 0)
