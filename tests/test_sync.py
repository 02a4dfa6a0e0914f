"""The door between blocking callers and the event loop."""

import asyncio
import gc
import os
import signal
import threading
from contextlib import suppress

import pytest

import providerkit
from providerkit.engine import blocking as sync


class Source:
    """Hand out batches, and say how many, and whether it was closed."""

    def __init__(self, batches, error=None, *, endless=False):
        self.batches = list(batches)
        self.error = error
        self.endless = endless
        self.given = 0
        self.closed = False
        self.ended = asyncio.Event()

    async def next(self):
        if self.batches:
            self.given += 1
            return self.batches[0] if self.endless else self.batches.pop(0)
        if self.error:
            raise self.error
        return None

    async def aclose(self):
        self.closed = True
        self.ended.set()


async def answer(value):
    return value


def test_a_coroutine_runs_on_the_background_loop():
    async def where():
        return threading.current_thread().name

    assert sync.call(where()) == "providerkit"


def test_its_error_is_the_callers():
    async def fail():
        raise providerkit.ConnectError("no")

    with pytest.raises(providerkit.ConnectError):
        sync.call(fail())


def test_a_blocking_call_on_the_loops_own_thread_is_refused():
    async def wait_for_itself():
        sync.call(answer(1))

    with pytest.raises(providerkit.RunConsumed, match="wait for itself"):
        sync.call(wait_for_itself())


def test_batches_come_whole_and_in_order():
    batches = [[number] for number in range(1000)]
    source = Source(batches)
    assert list(sync.Iteration(source)) == [[number] for number in range(1000)]
    assert source.closed


def test_an_error_comes_after_the_batches_before_it():
    source = Source([[1], [2]], providerkit.StreamTruncated("cut"))
    batches = iter(sync.Iteration(source))
    assert [next(batches), next(batches)] == [[1], [2]]
    with pytest.raises(providerkit.StreamTruncated):
        next(batches)
    assert source.closed


def test_closing_an_iteration_closes_the_source_before_it_returns():
    source = Source([[1]], endless=True)
    iteration = sync.Iteration(source)
    batches = iter(iteration)
    next(batches)
    batches.close()
    iteration.close()
    iteration.close()
    assert source.closed


@pytest.mark.parametrize("cycle", [False, True])
def test_dropping_an_iterator_waits_for_nothing_whatever_locks_are_held(cycle):
    """The garbage collector drops it in the middle of anything, such as a log record that is being written."""
    lock = threading.Lock()

    class Locking(Source):
        async def aclose(self):
            with lock:
                await super().aclose()

    source = Locking([[1]], endless=True)
    held = [iter(sync.Iteration(source))]
    next(held[0])
    if cycle:
        held.append(held)
    with lock:
        del held
        gc.collect()
    sync.call(source.ended.wait())
    assert source.closed


def test_an_iterator_may_be_dropped_by_another_thread_than_it_was_made_by():
    source = Source([[1]], endless=True)
    held = [iter(sync.Iteration(source))]
    next(held[0])
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    sync.call(source.ended.wait())
    assert source.closed


def test_what_has_not_begun_ends_at_once():
    source = Source([[1]])
    iteration = sync.Iteration(source)
    iteration.close()
    assert not source.given


def test_a_fork_has_no_part_in_what_its_parent_iterates(monkeypatch):
    source = Source([[1], [2]], endless=True)
    iteration = sync.Iteration(source)
    batches = iter(iteration)
    next(batches)
    monkeypatch.setattr(sync, "_process", -1)
    with pytest.raises(providerkit.RunConsumed, match="before a fork"):
        next(batches)
    iteration.close()
    assert not source.closed
    monkeypatch.undo()
    iteration.close()
    assert source.closed


def test_who_waits_when_the_interpreter_exits_ends_without_a_word(monkeypatch):
    home = sync.LoopThread()
    monkeypatch.setattr(sync, "_thread", home)
    begun = threading.Event()

    async def wait_forever():
        begun.set()
        await asyncio.Event().wait()

    ends = []

    def wait():
        try:
            sync.call(wait_forever())
        except BaseException as error:
            ends.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    home.stop()
    thread.join()
    assert ends == [SystemExit]


def test_the_loop_waits_where_the_caller_does_not_keep_up():
    source = Source([[1]], endless=True)
    batches = iter(sync.Iteration(source))
    for taken in range(1, 5 * sync.AHEAD):
        next(batches)
        sync.call(answer(None))  # lets the loop run as far as it can
        assert source.given <= taken + 2 * (sync.AHEAD + 1)
    assert source.given > 4 * sync.AHEAD
    batches.close()


def test_the_garbage_collector_may_leave_it_on_the_loops_own_thread():
    source = Source([[1]], endless=True)
    held = [iter(sync.Iteration(source))]
    next(held[0])

    async def drop():
        held.clear()
        await source.ended.wait()

    sync.call(drop())
    assert source.closed


def test_an_interrupt_ends_the_wait_and_the_coroutine():
    ended = threading.Event()

    async def wait_forever():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        sync.call(wait_forever())
    assert ended.is_set()


def test_an_interrupt_before_the_start_leaves_nothing(monkeypatch):
    def interrupt(job):
        raise KeyboardInterrupt

    monkeypatch.setattr("providerkit.engine.blocking._Job.start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sync.call(answer(1))


def test_stopping_cancels_what_runs_and_is_done_once():
    home = sync.LoopThread()
    started, ended = threading.Event(), threading.Event()

    async def wait_forever():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(wait_forever(), home.loop)
    started.wait()
    home.stop()
    home.stop()
    assert ended.is_set()
    assert future.cancelled()


def test_a_loop_that_has_died_is_made_anew(monkeypatch):
    dead = sync.LoopThread()
    dead.stop()
    monkeypatch.setattr(sync, "_thread", dead)
    assert sync.call(answer(1)) == 1
    sync.loop_thread().stop()


def test_a_fork_gets_a_thread_of_its_own(monkeypatch):
    before = sync.loop_thread()
    monkeypatch.setattr(sync, "_process", -1)
    after = sync.loop_thread()
    assert after is not before
    before.stop()  # it is its parent's, so this leaves it alone
    assert not before.loop.is_closed()
    after.stop()
    monkeypatch.undo()
    before.stop()


def test_a_fork_is_another_process(monkeypatch: pytest.MonkeyPatch):
    """What a child does first; that it does is seen in test_forks.py."""
    monkeypatch.setattr(sync, "_process", -1)
    sync._note_fork()
    assert sync.process() == os.getpid()


def raises(error):
    raise error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("place", ["a callback", "a task"])
def test_what_others_do_on_the_loop_ends_nobody_elses_call(place, error, caplog):
    """These two leave an event loop of asyncio; it goes on, and so does a call that was under way."""
    home = sync.loop_thread()
    source = Source([[1]], endless=True)
    batches = iter(sync.Iteration(source))
    next(batches)

    async def disturb():
        if place == "a task":
            with pytest.raises(type(error)):
                await asyncio.create_task(fail())
        else:
            asyncio.get_running_loop().call_soon(raises, error)
        await asyncio.sleep(0)

    async def fail():
        raise error

    sync.call(disturb())
    for _ in range(2 * sync.AHEAD):
        next(batches)
    batches.close()
    assert sync.loop_thread() is home
    assert f"a callback on the event loop of blocking calls raised {type(error).__name__}" in caplog.messages


def test_a_loop_that_others_stop_goes_on():
    home = sync.loop_thread()

    async def stop():
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return 1

    assert sync.call(stop()) == 1
    assert sync.loop_thread() is home


def test_a_call_that_others_cancel_is_an_error_of_its_own():
    begun = threading.Event()

    async def wait_forever():
        begun.set()
        await asyncio.Event().wait()

    async def cancel_all():
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    ends = []

    def wait():
        try:
            sync.call(wait_forever())
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    sync.call(cancel_all())
    thread.join()
    assert [type(end) for end in ends] == [providerkit.PluginError]
    assert "other code cancelled this call" in str(ends[0])


@pytest.fixture
def broken_home(monkeypatch):
    """Return what breaks the loop of blocking calls: it can't wait, once."""
    home = sync.LoopThread()
    monkeypatch.setattr(sync, "_thread", home)

    def break_it():
        select = home.loop._selector.select

        def lose(*timeout):
            home.loop._selector.select = select
            raise OSError("no such file")

        def replace():
            home.loop._selector.select = lose

        home.loop.call_soon_threadsafe(replace)
        home._thread.join()

    yield break_it
    if (latest := sync.loop_thread()) is not home:
        latest.stop()


@pytest.mark.parametrize("way", ["collected", "streamed"])
def test_a_loop_that_breaks_lets_every_caller_go_and_the_next_call_starts_another(broken_home, way):
    begun = threading.Barrier(3, timeout=60)

    class Silent(Source):
        async def next(self):
            asyncio.get_running_loop().run_in_executor(None, begun.wait)
            await asyncio.Event().wait()

    async def wait_forever():
        await Silent([]).next()

    ends = []

    def wait():
        try:
            list(sync.Iteration(Silent([]))) if way == "streamed" else sync.call(wait_forever())
        except BaseException as error:
            ends.append(error)

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    broken_home()
    for thread in threads:
        thread.join()
    assert [str(end) for end in ends] == [
        "the event loop of blocking calls broke: OSError: no such file; call again",
    ] * 2
    assert {type(end) for end in ends} == {providerkit.PluginError}
    assert sync.call(answer(1)) == 1


def test_a_call_that_was_made_before_the_loop_broke_is_let_go(broken_home):
    late, closed, queued = sync.Iteration(Source([[1]])), sync.Iteration(Source([[1]])), sync._Job(answer(1))
    queued._home.jobs.add(queued)  # as one whose start the loop did not come to
    broken_home()
    closed.close()
    for ask in (lambda: list(late), queued.result):
        with pytest.raises(providerkit.PluginError, match="broke: OSError: no such file; call again"):
            ask()


def test_a_loop_that_can_not_clean_up_ends_all_the_same(monkeypatch, caplog):
    home = sync.LoopThread()
    monkeypatch.setattr(sync, "_thread", home)
    started = threading.Event()
    tasks = {}

    async def leave():
        tasks["leaves"] = asyncio.current_task()
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise SystemExit(3)

    async def stay():
        tasks["stays"] = asyncio.current_task()
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()

    job = sync._Job(stay())
    job.start()
    asyncio.run_coroutine_threadsafe(leave(), home.loop)
    started.wait()
    home.stop()
    assert (home.is_alive(), home.loop.is_closed()) == (False, True)
    assert caplog.messages == ["the event loop of blocking calls did not end in order: SystemExit: 3"]
    with pytest.raises(SystemExit):
        job.result()
    assert type(tasks["leaves"].exception()) is SystemExit  # asyncio complains of one that nobody looks at
    tasks["stays"]._log_destroy_pending = False  # its loop is gone, so nothing can end it


def test_stopping_waits_only_so_long_for_what_does_not_end(monkeypatch):
    """The end of a program must not hang on a task that will not be cancelled."""
    monkeypatch.setattr(sync, "EXIT_TIMEOUT", 0.01)
    home = sync.LoopThread()
    started, released = threading.Event(), asyncio.Event()

    async def stay():
        started.set()
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    asyncio.run_coroutine_threadsafe(stay(), home.loop)
    started.wait()
    home.stop()
    assert home.is_alive()
    home.loop.call_soon_threadsafe(released.set)
    home._thread.join()
    home.stop()
    assert home.loop.is_closed()
