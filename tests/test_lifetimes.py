"""Programs that begin, end and leave in every way, and leave nothing behind.

Each runs in a process of its own with every warning an error, and must print nothing on
standard error.
"""

import subprocess
import sys

import pytest

PREAMBLE = """
import asyncio, gc, logging, os, stat, threading, providerkit
logging.getLogger("asyncio").setLevel(logging.ERROR)  # a machine may be slow, and that is no error

def ask(number=0, **options):
    return providerkit.run(str(number), provider="koala", base_url=base_url, **options)

async def whole(run):
    return await run

def is_socket(number):
    try:
        return stat.S_ISSOCK(os.fstat(int(number)).st_mode)
    except OSError:  # the loop's thread has closed it since it was listed
        return False

def sockets():
    return sum(map(is_socket, os.listdir("/dev/fd")))
"""

SERVED = """
from providerkit.engine import blocking as sync
sync.call(asyncio.sleep(0))
at_first = sockets()
with providerkit.sandbox("koala") as base_url:
    main()
gc.collect()
while sockets() > at_first: sync.call(asyncio.sleep(0))  # for ever, where one is left
"""

PROGRAMS = {
    "a script": "print(ask().result().text, *ask())",
    "ten threads": """
threads = [threading.Thread(target=lambda: print(*ask())) for _ in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""",
    "blocking under a running loop": """
async def inside(): print(ask().result().text, *ask())
asyncio.run(inside())
""",
    "ten loops, one after the other": """
async def inside(): print((await ask()).text, [text async for text in ask()])
for _ in range(10): asyncio.run(inside())
""",
    "a loop left early, the run kept": """
runs = []
async def inside():
    runs.append(ask())
    async for text in runs[0]: break
asyncio.run(inside())
runs.append(ask())
for text in runs[1]: break
print(len(runs))
""",
    "iterators never finished, kept to the end": """
global kept
kept = []
async def inside():
    kept.append(aiter(ask()))
    kept.append(aiter(ask().events()))
    print(await anext(kept[0]), await anext(kept[1]))
asyncio.run(inside())
kept.append(iter(ask()))
print(next(kept[2]))
""",
    "a host that has to be looked up": """
named = base_url.replace("127.0.0.1", "localhost")
print(providerkit.run("hi", provider="koala", base_url=named).result().text)
""",
    "runs never started": "print(ask(), ask().events(), aiter(ask()), iter(ask()))",
    "a client of its own, async and blocking": """
async def inside():
    async with providerkit.Client() as client:
        print((await client.run("hi", provider="koala", base_url=base_url)).text)
asyncio.run(inside())
with providerkit.Client() as client:
    print(client.run("hi", provider="koala", base_url=base_url).result().text)
""",
    "a client that nobody closed": """
async def inside(): print((await providerkit.Client().run("hi", provider="koala", base_url=base_url)).text)
asyncio.run(inside())
print(providerkit.Client().run("hi", provider="koala", base_url=base_url).result().text)
""",
    "a client that nobody closed, in a cycle": """
class Holder: pass
async def inside():
    holder = Holder()
    holder.client, holder.self = providerkit.Client(), holder
    print((await holder.client.run("hi", provider="koala", base_url=base_url)).text)
    del holder
    gc.collect()
asyncio.run(inside())
""",
    "a runner that is closed": """
with asyncio.Runner() as runner: print(runner.run(whole(ask())))
""",
    "cancelled in the middle": """
async def inside():
    task = asyncio.ensure_future(whole(ask()))
    await asyncio.sleep(0)
    task.cancel()
    print(await asyncio.gather(task, return_exceptions=True))
    await ask()  # so that the sandbox has taken the other connection, too, when it is closed
asyncio.run(inside())
""",
}


def run_program(body):
    indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
    code = f"{PREAMBLE}\ndef main():\n{indented}\n{SERVED}"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("body", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_leaves_nothing_behind(body):
    done = run_program(body)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.strip()


SEQUENTIAL = {
    "async": """
async def inside():
    await ask()
    gc.collect()
    before = sockets(), threading.active_count()
    for number in range(300): assert f"'{number}'" in (await ask(number)).text
    assert (sockets(), threading.active_count()) == before
    assert len(asyncio.all_tasks()) == 1
asyncio.run(inside())
print("done")
""",
    "blocking": """
ask().result()
before = sockets(), threading.active_count()
for number in range(300): assert f"'{number}'" in "".join(ask(number))
assert (sockets(), threading.active_count()) == before
print("done")
""",
    "200 at once, async": """
async def inside():
    replies = await asyncio.gather(*(whole(ask(number)) for number in range(200)))
    assert all(f"'{number}'" in reply.text for number, reply in enumerate(replies))
    assert len(asyncio.all_tasks()) == 1
asyncio.run(inside())
print("done")
""",
    "200 at once, blocking": """
before = threading.active_count()
def one(number):
    assert f"'{number}'" in ask(number).result().text
threads = [threading.Thread(target=one, args=(number,)) for number in range(200)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert threading.active_count() == before
print("done")
""",
}


@pytest.mark.parametrize("body", SEQUENTIAL.values(), ids=SEQUENTIAL)
def test_many_runs_leave_no_socket_task_or_thread(body):
    done = run_program(body)
    assert (done.stderr, done.returncode, done.stdout) == ("", 0, "done\n")
