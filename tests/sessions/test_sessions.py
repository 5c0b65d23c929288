"""Sessions with a name: found again by other processes, driven by one at a time."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.clock import VirtualClock
from support.programs import started
from support.until import until

from prominence import Session
from prominence.exceptions import (
    InvalidDescription,
    JobDeleted,
    ProminenceError,
    SessionInUse,
    SessionMismatch,
    SessionNotFound,
    TaskExitError,
)
from prominence_executors import ProminenceExecutor
from prominence_executors.sessions.process import this_process

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService


def _detached(session: Session, name: str) -> ProminenceExecutor:
    return ProminenceExecutor(session=name, service=session, on_exit="detach")


def _fail() -> None:
    raise KeyError("lost")


def test_what_was_left_is_attached_with_every_kind_of_outcome(session: Session) -> None:
    with _detached(session, "kinds") as executor:
        executor.submit(pow, 2, 5)
        executor.submit(_fail)
        executor.submit("sh -c 'echo seen; exit 3'")
        executor.with_options(check=False).submit(["sh", "-c", "echo told; exit 4"])

    with ProminenceExecutor.attach("kinds", service=session) as attached:
        value, error, failed, told = attached.attached
        assert value.result() == 32
        assert isinstance(error.exception(), KeyError)
        assert isinstance(failed.exception(), TaskExitError)
        assert (told.result().returncode, told.result().stdout) == (4, "told\n")
        assert attached.unsent == ()
        attached.close(delete=True)


def _reciprocal(number: int) -> float:
    return 1 / number


def test_chunks_of_a_map_are_attached_with_the_failures_of_their_items(session: Session) -> None:
    with _detached(session, "mapped") as executor:
        results = executor.map(_reciprocal, range(4), chunksize=2)
        assert executor._group.unfinished()

    with ProminenceExecutor.attach("mapped", service=session) as attached:
        first, second = (future.result() for future in attached.attached)
        assert isinstance(first[0], ZeroDivisionError)
        chunk = attached.attached[0]
        assert chunk.is_chunk
        assert f"<ProminenceFuture job={chunk.job_id} chunk=True status=completed at" in repr(chunk)
        told = chunk.explain()
        assert told.startswith(f"job {chunk.job_id} (_reciprocal), a chunk of a map, succeeded\n")
        assert told.endswith("use future.result(), a list with the value or the exception of each item\n")
        assert first[1:] + second == [1, 1 / 2, 1 / 3]
        attached.close(delete=True)
    results.close()


def test_queued_and_running_calls_are_attached_too(session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with _detached(session, "under-way") as executor:
        for _ in range(10):  # more than there are cpus
            executor.submit(f"sh -c 'until [ -e {go} ]; do sleep 0.05; done; echo through'")

    with ProminenceExecutor.attach("under-way", service=session) as attached:
        assert len(attached.attached) == 10
        assert not any(future.done() for future in attached.attached)
        go.touch()
        assert [future.result().stdout for future in attached.attached] == ["through\n"] * 10
        attached.close(delete=True)


def test_detaching_sends_also_what_waits_for_its_turn(session: Session) -> None:
    with ProminenceExecutor(1, session="turns", service=session, on_exit="detach") as executor:
        for number in range(5):
            executor.submit(pow, number, 2)

    with ProminenceExecutor.attach("turns", service=session) as attached:
        assert [future.result() for future in attached.attached] == [0, 1, 4, 9, 16]
        attached.close(delete=True)


def test_cancelling_at_the_end_ends_jobs_and_cancels_what_was_not_sent(session: Session) -> None:
    with ProminenceExecutor(1, session=session, on_exit="cancel") as executor:
        running = executor.submit("sleep 600")
        until(lambda: running.status == "running")
        pending = executor.submit("true")

    assert isinstance(running.exception(), JobDeleted)
    assert pending.cancelled()


def test_a_session_can_be_attached_again_and_goes_on(session: Session) -> None:
    with _detached(session, "on-and-on") as first:
        first.submit(pow, 2, 2)
    with ProminenceExecutor.attach("on-and-on", service=session, on_exit="detach") as second:
        second.submit(pow, 3, 2)

    with ProminenceExecutor.attach("on-and-on", service=session) as third:
        assert [future.result() for future in third.attached] == [4, 9]
        third.close(delete=True)


def test_calls_that_are_there_and_not_taken_over_are_told(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with ProminenceExecutor(session="again", service=session) as executor:
            executor.submit("true")
            executor.submit(abs, -1)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == [
        "session again has 2 calls already; ProminenceExecutor.attach('again') takes them over, this does not"
    ]

    caplog.clear()
    with ProminenceExecutor.attach("again", service=session) as attached:
        assert len(attached.attached) == 4
        attached.close(delete=True)
    ProminenceExecutor(session="again", service=session).close(delete=True)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_two_sessions_do_not_mix_even_where_one_name_begins_as_the_other(session: Session) -> None:
    with _detached(session, "mix") as short, _detached(session, "mix-2") as longer:
        short.submit(pow, 2, 2)
        longer.submit(pow, 3, 2)
        stored = longer.put([1, 2, 3])

    with ProminenceExecutor.attach("mix", service=session) as attached:
        assert [future.result() for future in attached.attached] == [4]
        attached.close(delete=True)

    assert stored.name in {entry["name"] for entry in session.client.list_objects()}
    with ProminenceExecutor.attach("mix-2", service=session) as attached:
        assert [future.result() for future in attached.attached] == [9]
        assert attached.submit(sum, stored).result() == 6
        attached.close(delete=True)
    assert stored.name not in {entry["name"] for entry in session.client.list_objects()}
    assert not session.client.kv_list("prominence/mix-2/")


def test_every_job_carries_its_session_and_users_do_not_see_that(session: Session) -> None:
    with ProminenceExecutor(session="marked", service=session, labels={"project": "x"}) as executor:
        future = executor.submit("true")
    with ProminenceExecutor(session=session) as unnamed:
        other = unnamed.submit("true")

    (entry,) = _jobs_of(session, "marked")
    assert entry["id"] == future.job.id
    assert entry["labels"]["project"] == "x"
    assert future.job.labels == {"project": "x"}
    (entry,) = session.client.describe_job(int(str(other.job.id))).entries
    assert entry["labels"]["prominencesession"]
    with pytest.raises(InvalidDescription, match="reserved"):
        ProminenceExecutor(session=session, labels={"prominencesession": "mine"})


def test_a_session_that_is_driven_cannot_be_taken(session: Session) -> None:
    with ProminenceExecutor(session="driven", service=session) as driver:
        driver.submit("true")
        with pytest.raises(SessionInUse, match="session 'driven' is driven by another process"):
            ProminenceExecutor.attach("driven", service=session)
        with pytest.raises(SessionInUse):
            ProminenceExecutor(session="driven", service=session)

    ProminenceExecutor.attach("driven", service=session).close(delete=True)


def _driver_elsewhere(session: Session, name: str, **about: Any) -> str:
    """As a driver on another machine leaves it; the key of its lease."""
    described = {
        "format": 1,
        "prominence": "1.0",
        "python": "3.11.2",
        "began": 1.0,
        "process": {"machine": "elsewhere", "pid": 1, "started": 1.0},
    }
    session.client.kv_set(f"prominence/{name}/drivers/abcd", json.dumps({**described, **about}))
    session.client.kv_set(f"prominence/{name}/lease", "abcd:7")
    return f"prominence/{name}/lease"


def test_a_lease_that_is_not_renewed_for_a_minute_is_taken(service: LocalService) -> None:
    clock = VirtualClock()
    with Session(replace(service.settings(), settle_window=0.2), clock=clock) as session:
        _driver_elsewhere(session, "quiet")
        attached = ProminenceExecutor.attach("quiet", service=session)
        assert sum(clock.sleeps) >= 60
        attached.close(delete=True)


def test_a_lease_of_a_process_of_this_machine_that_is_gone_is_taken_at_once(service: LocalService) -> None:
    clock = VirtualClock()
    with Session(service.settings(), clock=clock) as session:
        lived_before = {**this_process(), "started": 1.0}  # the number is another process's by now
        _driver_elsewhere(session, "gone", process=lived_before)
        attached = ProminenceExecutor.attach("gone", service=session)
        assert not clock.sleeps
        attached.close(delete=True)


def test_a_lease_that_is_renewed_elsewhere_is_not_taken(service: LocalService) -> None:
    clock = VirtualClock()
    with Session(service.settings(), clock=clock) as session:
        lease = _driver_elsewhere(session, "lively")
        clock.on_sleep = lambda: session.client.kv_set(lease, "abcd:8")
        with pytest.raises(SessionInUse, match="driver abcd"):
            ProminenceExecutor.attach("lively", service=session)
    assert sum(clock.sleeps) < 60


def test_who_lost_the_lease_sends_nothing_more(session: Session) -> None:
    executor = ProminenceExecutor(session="lost-lease", service=session)
    sent = executor.submit(pow, 2, 2)
    assert sent.result() == 4

    session.client.kv_set("prominence/lost-lease/lease", "other:1")
    executor._dispatcher._driving._lease._renew()  # type: ignore[union-attr]  # what happens every 15 s
    refused = executor.submit(pow, 2, 3)

    assert isinstance(refused.exception(), SessionInUse)
    assert refused.job.id is None
    executor.shutdown()
    assert session.client.kv_get("prominence/lost-lease/lease") == "other:1"


def test_a_session_of_another_release_is_refused(session: Session) -> None:
    _driver_elsewhere(session, "future", format=2, prominence="9.0")

    with pytest.raises(SessionMismatch, match=r"form 2 \(release 9.0\)"):
        ProminenceExecutor.attach("future", service=session)


def test_calls_of_a_deleted_session_are_not_those_of_the_next_with_its_name(session: Session) -> None:
    with ProminenceExecutor(session="twice", service=session) as executor:
        executor.submit(abs, -1)
        executor.submit("true")
        executor.close(delete=True)
    with ProminenceExecutor(session="twice", service=session) as executor:
        kept = executor.submit(abs, -2)

    with ProminenceExecutor.attach("twice", service=session) as attached:
        assert [future.job_id for future in attached.attached] == [kept.job_id]
        assert attached.unsent == ()
        attached.close(delete=True)


def test_an_unknown_session_is_not_made_by_attaching(session: Session) -> None:
    with pytest.raises(SessionNotFound, match="no session 'nowhere' of this user; `prominence sessions`"):
        ProminenceExecutor.attach("nowhere", service=session)

    assert not session.client.kv_list("prominence/nowhere/")


@pytest.mark.parametrize("name", ["", "a b", "-x", "a/b", "x_internal_y", "ü", "a" * 65])
def test_names_that_cannot_be_kept_are_refused(session: Session, name: str) -> None:
    with pytest.raises(InvalidDescription, match="session"):
        ProminenceExecutor(session=name, service=session)


@pytest.mark.parametrize(
    ("on_exit", "rule"), [("leave", "'wait', 'detach' or"), ("detach", "name as session")]
)
def test_ways_out_are_checked(session: Session, on_exit: Any, rule: str) -> None:
    with pytest.raises(InvalidDescription, match=rule):
        ProminenceExecutor(session=session, on_exit=on_exit)


def test_calls_are_noted_together_and_never_above_a_keys_size(session: Session) -> None:
    with ProminenceExecutor(1, session="many", service=session, on_exit="cancel") as executor:
        first = executor.submit("sleep 600")
        named = executor.with_options(name="x" * 90)
        for _ in range(400):
            named.submit("true")
        until(lambda: _noted(session, "many") == 401)
        values = session.client.kv_values("prominence/many/calls")
        assert max(len(value.encode()) for value in values.values()) <= 15_967
        assert len(values) < 100
        first.kill()
    executor.close(delete=True)


def _noted(session: Session, name: str) -> int:
    pages = session.client.kv_values(f"prominence/{name}/calls").values()
    return sum(len(json.loads(page)["calls"]) for page in pages)


def test_closing_the_service_tells_detached_futures_so(service: LocalService) -> None:
    session = Session(service.settings())
    with _detached(session, "told") as executor:
        future = executor.submit("sleep 600")
    session.close()

    with pytest.raises(ProminenceError, match="the jobs are not affected"):
        future.result()
    with ProminenceExecutor.attach("told", service=session, on_exit="cancel") as attached:
        assert len(attached.attached) == 1
    session.close()


_WAITING_FOR_TURNS = """
import sys
from prominence_executors import ProminenceExecutor
executor = ProminenceExecutor(1, session="left-unsent")
executor.submit("sleep 600")
for name in ("first", "second"):
    executor.with_options(name=name).submit("true")
sys.stdin.read()
"""


def test_calls_that_a_killed_driver_had_not_sent_are_named(service: LocalService, session: Session) -> None:
    with started(
        [sys.executable, "-c", _WAITING_FOR_TURNS], env=_access(service), stdin=subprocess.PIPE
    ) as driver:
        until(lambda: _noted(session, "left-unsent") == 3 and _jobs_of(session, "left-unsent"))
        driver.kill()

    with ProminenceExecutor.attach("left-unsent", service=session, on_exit="cancel") as attached:
        assert [(call.name, call.number) for call in attached.unsent] == [("first", 1), ("second", 2)]
        assert len(attached.attached) == 1
    attached.close(delete=True)


def _jobs_of(session: Session, name: str) -> list[dict[str, Any]]:
    return session.client.list_jobs(everything=True, label=("prominencesession", name), detail=True).entries


def _access(service: LocalService) -> dict[str, str]:
    return {
        **os.environ,
        "PROMINENCE_URL": service.endpoint.url,
        "PROMINENCE_TOKEN": service.endpoint.token,
    }


_INTERRUPTED = """
import sys
from prominence_executors import ProminenceExecutor
with ProminenceExecutor(session="interrupted") as executor:
    future = executor.submit("sleep 600")
    while future.status != "running":
        pass
    print("running", flush=True)
    future.result()
"""


def test_ctrl_c_twice_leaves_the_session_to_be_attached(
    service: LocalService, session: Session, tmp_path: Path
) -> None:
    errors_file = tmp_path / "errors"
    with (
        errors_file.open("w") as stderr,
        started(
            [sys.executable, "-c", _INTERRUPTED],
            env=_access(service),
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as program,
    ):
        assert program.stdout is not None
        assert program.stdout.readline() == "running\n"
        program.send_signal(signal.SIGINT)
        until(lambda: "Ctrl-C again" in errors_file.read_text())
        program.send_signal(signal.SIGINT)
        program.wait()
    errors = errors_file.read_text()

    assert "ProminenceExecutor.attach('interrupted')" in errors
    with ProminenceExecutor.attach("interrupted", service=session, on_exit="cancel") as attached:
        (future,) = attached.attached
        assert not future.done()
    assert isinstance(future.exception(), JobDeleted)
