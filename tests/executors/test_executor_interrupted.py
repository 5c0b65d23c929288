"""Ctrl-C while calls are taken: what was not sent is no call, and the executor goes on."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
from support.until import until

from prominence import Job, Task
from prominence_executors import ExecutorStats, ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prominence import Session


class Interrupted:
    """Does what it stands for, and then Ctrl-C comes; only the first time."""

    def __init__(self, function: Callable[..., Any], *, before: bool = False) -> None:
        self._function = function
        self._before = before
        self._has_come = False

    def __call__(self, *args: Any, **options: Any) -> Any:
        is_first, self._has_come = not self._has_come, True
        if is_first and self._before:
            raise KeyboardInterrupt
        found = self._function(*args, **options)
        if is_first:
            raise KeyboardInterrupt
        return found


@pytest.mark.parametrize("name", [None, "interrupted"])
def test_a_call_that_was_not_sent_is_not_waited_for(
    name: str | None, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"session": session} if name is None else {"session": name, "service": session}
    with ProminenceExecutor(**given) as executor:
        monkeypatch.setattr(session.sender, "add", Interrupted(session.sender.add, before=True))
        with pytest.raises(KeyboardInterrupt):
            executor.submit("true")
        assert executor.submit("true").result().returncode == 0

    assert executor.stats() == ExecutorStats(succeeded=1, cancelled=1)
    executor.close(delete=True)


def test_calls_are_taken_where_ctrl_c_does_not_come(
    executor: ProminenceExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def take(future: Future[Any]) -> bool:
        threads.append(threading.current_thread())
        return taken(future)

    taken = Future.set_running_or_notify_cancel
    monkeypatch.setattr(Future, "set_running_or_notify_cancel", take)

    assert list(executor.map(abs, [-1, 2])) == [1, 2]
    assert len(threads) == len([-1, 2])
    assert threading.main_thread() not in threads


def test_a_session_is_free_again_whose_executor_was_not_made(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        writes = session.client.kv_set

        def write(key: str, *args: Any, **options: Any) -> None:
            writes(key, *args, **options)
            if key.endswith("/lease"):
                raise KeyboardInterrupt

        patched.setattr(session.client, "kv_set", write)
        with pytest.raises(KeyboardInterrupt):
            ProminenceExecutor(session="not-made", service=session)

    with ProminenceExecutor(session="not-made", service=session) as executor:
        assert executor.submit("true").result().returncode == 0
    executor.close(delete=True)


def test_ctrl_c_while_calls_are_attached_is_no_outcome_of_them(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    with ProminenceExecutor(session="attached-again", service=session, on_exit="detach") as executor:
        executor.submit(f"sh -c 'until [ -e {go} ]; do sleep 0.05; done'")
    adds = session.watcher.add

    def add(*args: Any, **options: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        adds(*args, **options)

    monkeypatch.setattr(session.watcher, "add", add)
    with ProminenceExecutor.attach("attached-again", service=session) as attached:
        go.touch()
        assert [future.result().returncode for future in attached.attached] == [0]
    attached.close(delete=True)


def test_nothing_is_waited_for_when_attaching_was_interrupted(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProminenceExecutor(session="attaching", service=session, on_exit="detach") as executor:
        futures = [executor.submit("true") for _ in range(2)]
    with monkeypatch.context() as patched:
        patched.setattr(session.sender, "add", Interrupted(session.sender.add))
        with pytest.raises(KeyboardInterrupt):
            ProminenceExecutor.attach("attaching", service=session)

    with ProminenceExecutor.attach("attaching", service=session) as attached:
        assert [future.job_id for future in attached.attached] == [future.job_id for future in futures]
        assert all(future.result().returncode == 0 for future in attached.attached)
    attached.close(delete=True)


def test_one_thread_follows_jobs_also_when_ctrl_c_came_as_it_was_started(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(job: Job) -> None:
        session.watcher.watch(job.id or 0, ended.append, ended.append)

    def threads() -> int:
        return sum(thread.name == "prominence-watcher" for thread in threading.enumerate())

    until(lambda: not threads())
    ended: list[Any] = []
    job = Job(session=session, tasks=[Task(image="any", command="sleep 600")])
    job.create()
    with monkeypatch.context() as patched:
        starts = Interrupted(threading.Thread.start)

        def start(thread: threading.Thread) -> None:
            starts(thread)

        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            watch(job)
    watch(job)

    until(lambda: threads() == 1)
    job.delete()
    until(lambda: ended and ended[-1].has_ended)
