"""What `concurrent.futures` promises, and what this executor adds to its futures."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from support.clock import VirtualClock
from support.items import doubled
from support.programs import started
from support.requests_sent import RequestsSent
from support.until import until

from prominence import Session
from prominence.exceptions import ConfigurationError, InvalidDescription, JobDeleted, ServiceUnavailable
from prominence.settings import Settings
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService


def test_it_is_an_executor_with_real_futures(executor: ProminenceExecutor) -> None:
    future = executor.submit(doubled, 4)

    assert isinstance(executor, concurrent.futures.Executor)
    assert executor.with_options(name="other")._max_workers == 1000  # hosts read it
    assert isinstance(future, concurrent.futures.Future)
    assert concurrent.futures.wait([future]).done == {future}
    assert list(concurrent.futures.as_completed([future])) == [future]


@pytest.mark.parametrize("workers", [0, -1])
def test_the_number_of_workers_must_be_positive(workers: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        ProminenceExecutor(max_workers=workers)


@pytest.mark.parametrize("workers", ["3", 2.5, True, None])
def test_the_number_of_workers_is_whole(workers: Any) -> None:
    with pytest.raises(InvalidDescription, match=r"max_workers = .*a whole number above 0"):
        ProminenceExecutor(max_workers=workers)


def test_map_keeps_the_order_and_takes_its_inputs_at_once(executor: ProminenceExecutor) -> None:
    taken = []

    def numbers() -> object:
        for number in range(12):
            taken.append(number)
            yield number

    results = executor.map(doubled, numbers())

    assert taken == list(range(12))
    assert list(results) == [2 * number for number in range(12)]


def test_map_raises_at_the_place_of_the_failure(executor: ProminenceExecutor) -> None:
    results = executor.map(lambda x: 1 // x, [1, 0, 1])

    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_gives_up_after_its_timeout(executor: ProminenceExecutor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    with pytest.raises(TimeoutError):
        next(executor.map(lambda gate: until(gate.exists), [gate], timeout=0.05))
    gate.touch()


def test_only_so_many_jobs_are_sent_and_the_rest_can_be_cancelled(session: Session) -> None:
    with ProminenceExecutor(max_workers=1, session=session) as executor:
        first = executor.submit("sleep 600")
        second, third = executor.submit(doubled, 1), executor.submit(doubled, 2)
        until(lambda: first.status == "running")

        assert (first.cancel(), second.cancel()) == (False, True)
        assert (second.cancelled(), second.job.id) == (True, None)
        assert third.status == "pending"
        assert first.kill()
        assert third.result() == 4


def test_kill_ends_the_job(executor: ProminenceExecutor) -> None:
    future = executor.submit("sleep 600")
    until(lambda: future.status == "running")

    assert future.kill()
    with pytest.raises(JobDeleted):
        future.result()
    assert not future.kill()
    assert future.status == "deleted"


def test_kill_reaches_a_job_that_is_being_sent(executor: ProminenceExecutor) -> None:
    futures = [executor.submit("sleep 600") for _ in range(20)]

    assert all(future.kill() for future in futures)
    for future in futures:
        assert future.cancelled() or isinstance(future.exception(), JobDeleted)


def test_the_job_is_on_the_future(executor: ProminenceExecutor) -> None:
    future = executor.submit(doubled, 1)
    future.result()

    assert future.job.id is not None
    assert future.job.name == "doubled"
    assert future.job.exit_codes == (0,)
    assert str(future.job.id) in repr(future)


def test_what_has_ended_is_not_asked_for_again(executor: ProminenceExecutor) -> None:
    future = executor.submit("true")
    job = future.job
    future.result()

    with RequestsSent() as sent:
        assert (job.status, job.succeeded) == ("completed", True)
    assert list(sent.matching(f"/jobs/{job.id}")) == []


def test_no_futures_after_shutdown(session: Session) -> None:
    executor = ProminenceExecutor(session=session)
    future = executor.submit(doubled, 3)
    executor.shutdown(wait=False)

    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(doubled, 3)
    assert future.result() == 6


def test_shutdown_waits(session: Session) -> None:
    executor = ProminenceExecutor(session=session)
    futures = [executor.submit(doubled, number) for number in range(5)]

    executor.shutdown()

    assert all(future.done() for future in futures)


def test_shutdown_can_cancel_what_was_not_sent(session: Session) -> None:
    executor = ProminenceExecutor(max_workers=2, session=session)
    futures = [executor.submit(doubled, number) for number in range(30)]

    executor.shutdown(cancel_futures=True)

    assert [future.result() for future in futures[:2]] == [0, 2]
    assert sum(future.cancelled() for future in futures) > 20


def test_a_child_ends_alone_and_a_parent_with_its_children(session: Session) -> None:
    parent = ProminenceExecutor(session=session)
    first, second = parent.with_options(name="first"), parent.with_options(name="second")
    with first:
        assert first.submit(doubled, 1).result() == 2
    future = second.submit(doubled, 2)
    with pytest.raises(RuntimeError):
        first.submit(doubled, 1)
    assert parent.submit(doubled, 3).result() == 6

    parent.shutdown()

    assert future.done()
    with pytest.raises(RuntimeError):
        second.submit(doubled, 1)


def test_no_thread_is_left_after_shutdown(service: LocalService) -> None:
    before = set(threading.enumerate())
    session = Session(service.settings())
    with ProminenceExecutor(session=session) as executor:
        assert list(executor.map(doubled, range(5))) == [0, 2, 4, 6, 8]
    session.close()

    assert set(threading.enumerate()) <= before


def test_few_threads_wait_for_many_jobs(session: Session) -> None:
    before = threading.active_count()
    with ProminenceExecutor(session=session) as executor:
        futures = [executor.submit("sleep 600") for _ in range(60)]
        until(lambda: all(future.job.id for future in futures))
        until(lambda: threading.active_count() - before <= 4)
        for future in futures:
            future.kill()


class Thing:
    def __init__(self, size: int) -> None:
        self.content = pickle.PickleBuffer(bytearray(size))


@pytest.mark.parametrize("size", [10, 200_000])
def test_arguments_are_let_go_without_a_garbage_collection(executor: ProminenceExecutor, size: int) -> None:
    gc.disable()
    try:
        thing = Thing(size)
        argument = weakref.ref(thing)
        future = executor.submit(len, [thing])
        del thing

        assert future.result() == 1
        assert until(lambda: argument() is None)
    finally:
        gc.enable()


def test_arguments_and_results_are_let_go(executor: ProminenceExecutor) -> None:
    class Thing:
        pass

    thing = Thing()
    argument = weakref.ref(thing)
    future = executor.submit(lambda given: given, thing)
    del thing
    result = weakref.ref(future.result())

    until(lambda: gc.collect() >= 0 and argument() is None)
    del future
    until(lambda: gc.collect() >= 0 and result() is None)


def test_a_program_that_ends_waits_for_its_futures(service: LocalService) -> None:
    script = (
        "from prominence_executors import ProminenceExecutor\n"
        "executor = ProminenceExecutor()\n"
        "executor.submit(sum, [1, 2]).add_done_callback(lambda f: print('result', f.result(), flush=True))\n"
    )
    environment = {
        **os.environ,
        "PROMINENCE_URL": service.endpoint.url,
        "PROMINENCE_TOKEN": service.endpoint.token,
    }

    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("result 3\n", "")


def test_a_service_that_is_not_there_fails_the_future(service: LocalService) -> None:
    nowhere = Settings(url="http://127.0.0.1:9/prominence/v1", token="made-up-token", local=service.local)
    with (
        Session(nowhere, clock=VirtualClock()) as session,
        ProminenceExecutor(session=session) as executor,
    ):
        error = executor.submit("true").exception()

    assert isinstance(error, ServiceUnavailable)
    assert "http://127.0.0.1:9/prominence/v1" in str(error)
    assert "made-up-token" not in str(error)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit()])
def test_a_failing_callback_disturbs_nobody(executor: ProminenceExecutor, error: BaseException) -> None:
    def fail(_: object) -> None:
        raise error

    future = executor.submit("true")
    future.add_done_callback(fail)
    future.exception()

    executor.shutdown()

    assert future.done()


def test_shutdown_in_a_callback_does_not_wait_for_itself(executor: ProminenceExecutor) -> None:
    ended = threading.Event()

    def end(_: object) -> None:
        executor.shutdown()
        ended.set()

    executor.submit("true").add_done_callback(end)

    assert ended.wait(30)


def test_what_keeps_calls_from_being_sent_is_raised_by_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMINENCE_URL", "ftp://host")

    with ProminenceExecutor() as executor, pytest.raises(ConfigurationError, match="ftp://host"):
        executor.submit("true")


def test_a_forked_child_ends_and_its_futures_raise(service: LocalService) -> None:
    script = (
        "import multiprocessing, sys\n"
        "from prominence.exceptions import ProminenceError\n"
        "from prominence_executors import ProminenceExecutor\n"
        "executor = ProminenceExecutor()\n"
        "future = executor.submit('sleep 600')\n"
        "def child():\n"
        "    try:\n"
        "        future.result()\n"
        "    except ProminenceError as error:\n"
        "        sys.exit(7 if 'parent process' in str(error) else 1)\n"
        "process = multiprocessing.get_context('fork').Process(target=child)\n"
        "process.start(); process.join()\n"
        "future.kill()\n"
        "sys.exit(process.exitcode)\n"
    )
    environment = {
        **os.environ,
        "PROMINENCE_URL": service.endpoint.url,
        "PROMINENCE_TOKEN": service.endpoint.token,
    }

    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 7


def test_the_library_works_without_standard_streams(service: LocalService) -> None:
    script = "from prominence_executors import create\ncreate().submit('true').result()"
    closed = f'{sys.executable} -c "$0" <&- >&- 2>&-'
    environment = {**os.environ, "PROMINENCE_LOCAL_DIR": str(service.directory)}

    assert subprocess.run(["sh", "-c", closed, script], env=environment, check=False).returncode == 0


def test_ctrl_c_says_what_is_waited_for_and_a_second_one_leaves(service: LocalService) -> None:
    script = (
        "from prominence_executors import ProminenceExecutor\n"
        "with ProminenceExecutor() as executor:\n"
        "    future = executor.submit('sleep 600')\n"
        "    while future.status != 'running': pass\n"
        "    print('running', flush=True)\n"
        "    future.result()\n"
    )
    environment = {**os.environ, "PROMINENCE_URL": "local", "PROMINENCE_LOCAL_DIR": str(service.directory)}
    words = [sys.executable, "-c", script]
    with started(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        assert driver.stderr is not None
        assert driver.stdout.readline() == "running\n"

        driver.send_signal(signal.SIGINT)
        assert "waiting for 1 jobs; Ctrl-C again leaves them" in driver.stderr.readline()
        driver.send_signal(signal.SIGINT)
        left = driver.stderr.readline()
        driver.communicate()

    assert "1 jobs are left to go on (ids " in left
    job_id = int(left.rpartition("ids ")[2].rstrip(")\n"))
    assert service.describe(job_id)["status"] == "running"
    service.request("DELETE", f"/jobs/{job_id}")


@pytest.fixture
def killing(executor: ProminenceExecutor) -> ProminenceExecutor:
    return executor.with_options(kill_when_cancelled=True)


def test_cancelling_can_end_the_job(killing: ProminenceExecutor) -> None:
    future = killing.submit("sleep 600")
    until(lambda: future.status == "running")

    assert not future.cancel()
    with pytest.raises(JobDeleted):
        future.result()
    assert not future.cancel()


def test_shutdown_does_not_end_what_was_sent(killing: ProminenceExecutor) -> None:
    with killing:
        future = killing.submit(doubled, 4)
        until(lambda: future.job.id)
        killing.shutdown(wait=False, cancel_futures=True)

    assert future.result() == 8


def test_a_forgotten_executor_finishes_its_calls_and_ends(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMINENCE_URL", service.endpoint.url)
    monkeypatch.setenv("PROMINENCE_TOKEN", service.endpoint.token)
    before = set(threading.enumerate())
    executor = ProminenceExecutor()
    futures = [executor.submit(doubled, number) for number in range(3)]
    forgotten = weakref.ref(executor)

    del executor

    until(lambda: gc.collect() >= 0 and forgotten() is None)
    assert [future.result() for future in futures] == [0, 2, 4]
    until(lambda: set(threading.enumerate()) <= before)


def test_calls_fail_where_no_thread_can_be_started(
    executor: ProminenceExecutor, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert executor.submit(doubled, 1).result() == 2
    session.close()
    start = threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    future = executor.submit(doubled, 2)
    assert isinstance(future.exception(), RuntimeError)

    monkeypatch.setattr(threading.Thread, "start", start)
    assert executor.submit(doubled, 3).result() == 6
    assert future.job.id is None
