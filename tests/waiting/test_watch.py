"""Following jobs: when they have ended, what is asked for, and who is told."""

from __future__ import annotations

import threading
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import pytest
from support.scripted_service import ENDED, GONE, LIMIT_S, Listener, ScriptedService, entry

from prominence.exceptions import (
    AuthenticationError,
    NotFound,
    ProminenceError,
    ServiceUnavailable,
)
from prominence.sources import JobSource, WorkflowSource
from prominence.watch import Watcher
from prominence.watched import CallbackWatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.clock import VirtualClock

    from prominence import ProminenceClient
    from prominence.snapshot import JobSnapshot


@pytest.fixture
def watcher(service: ScriptedService) -> Iterator[Watcher]:
    watcher = Watcher(JobSource(cast("ProminenceClient", service)), service.clock, Random(1))
    yield watcher
    service.end()
    watcher.close()


def watch(watcher: Watcher, job_id: int = 7, revision: int | None = None) -> Listener:
    listener = Listener()
    watcher.watch(job_id, listener.on_change, listener.on_failure, revision)
    return listener


# ---- what ends a job


def test_each_new_state_is_told_once(service: ScriptedService, watcher: Watcher) -> None:
    idle, running = entry("idle"), entry("running")
    service.script(idle, idle, idle, running, running, entry("completed", **ENDED))
    assert watch(watcher).wait().statuses == ["idle", "running", "completed"]


def test_the_same_state_in_more_words_is_no_news(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"), GONE, entry("running"), entry("completed", **ENDED))
    service.script_alone(entry("running", execution={"site": "here"}, labels={"a": "b"}))
    assert watch(watcher).wait().statuses == ["running", "completed"]
    assert service.of("alone") == [7]


def test_a_status_that_goes_backwards_does_not_end_a_wait(service: ScriptedService, watcher: Watcher) -> None:
    again = entry("idle", **ENDED, execution={"tasks": [{"exitCode": 6}]})
    service.script(
        entry("running"), again, entry("running", events={"startTime": 30}), entry("completed", **ENDED)
    )
    listener = watch(watcher).wait()
    assert listener.statuses == ["running", "idle", "running", "completed"]
    assert listener.error is None


@pytest.mark.parametrize(
    "status", ["running", "idle", "pending", "deploying", "waiting", "created", "new-one"]
)
def test_an_end_time_and_an_exit_code_do_not_end_a_wait(
    status: str, service: ScriptedService, watcher: Watcher
) -> None:
    done_but = entry(status, **ENDED, execution={"tasks": [{"exitCode": 0}]})
    service.script(done_but, entry("completed", **ENDED))
    assert watch(watcher).wait().statuses == [status, "completed"]


@pytest.mark.parametrize("status", ["completed", "failed", "deleted", "killed"])
def test_four_statuses_end_a_wait(status: str, service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"), entry(status, **ENDED))
    assert watch(watcher).wait().statuses == ["running", status]


@pytest.mark.parametrize("status", ["deleted", "completed", "killed"])
def test_an_end_without_an_end_time_is_one(
    status: str, service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.script(entry(status))
    assert watch(watcher).wait().statuses == [status]
    assert clock.elapsed < 1


def test_the_end_is_told_with_its_detail(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"), entry("completed", **ENDED))
    last = watch(watcher).wait().snapshots[-1]
    assert last.exit_codes == (0,)
    assert last.succeeded
    assert service.requests[-1] == ("detail", [7])


def test_an_end_that_is_taken_back_in_the_detail_is_none(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("killed", **ENDED), entry("completed", **ENDED))
    service.script_detail(entry("idle"), entry("completed", **ENDED))
    assert watch(watcher).wait().statuses == ["idle", "completed"]


def test_a_job_that_is_missing_from_the_detail_is_asked_for_again(
    service: ScriptedService, watcher: Watcher
) -> None:
    service.script(entry("completed", **ENDED))
    service.script_detail(GONE, entry("completed", **ENDED))
    assert watch(watcher).wait().statuses == ["completed"]


def test_failed_without_an_end_time_is_held_for_two_minutes(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.script(entry("failed"))
    assert watch(watcher).wait().statuses == ["failed"]
    assert 120 <= clock.elapsed < 140
    assert len(service.requests) > 5


def test_a_held_job_may_come_back(service: ScriptedService, watcher: Watcher) -> None:
    held = [entry("failed")] * 5
    service.script(entry("running"), *held, entry("idle"), *held, entry("completed", **ENDED))
    assert watch(watcher).wait().statuses == ["running", "idle", "completed"]


def test_a_held_job_that_gets_its_end_time_has_ended(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.script(entry("failed"), entry("failed"), entry("failed", **ENDED))
    assert watch(watcher).wait().statuses == ["failed"]
    assert clock.elapsed < 60


def test_a_second_hold_is_as_long_as_the_first(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    def hold_again() -> None:
        is_held = clock.elapsed < 60 or 300 < clock.elapsed < 390
        ended = entry("completed", **ENDED)
        service.script(entry("failed") if is_held else entry("running") if clock.elapsed < 500 else ended)

    service.during_bulk = hold_again
    service.script(entry("running"))
    listener = Listener()
    watcher.watch(7, listener.on_change, listener.on_failure)
    assert listener.wait().statuses == ["running", "completed"]


# ---- jobs that are not there


def test_a_job_that_is_missing_once_is_asked_for_alone(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"), GONE, entry("completed", **ENDED))
    service.script_alone(entry("running"))
    listener = watch(watcher).wait()
    assert listener.statuses == ["running", "completed"]
    assert listener.error is None
    assert service.of("alone") == [7]


def test_only_the_missing_ones_are_asked_for_alone(service: ScriptedService, watcher: Watcher) -> None:
    for job_id in (7, 8, 9):
        service.script(entry("running", job_id), entry("completed", job_id, **ENDED), job_id=job_id)
    service.script(GONE, entry("completed", 8, **ENDED), job_id=8)
    service.script_alone(entry("running", 8), job_id=8)
    with watcher._condition:  # the first round sees all
        listeners = [watch(watcher, job_id) for job_id in (7, 8, 9)]
    assert [listener.wait().statuses for listener in listeners] == [["running", "completed"]] * 3
    assert service.of("alone") == [8]


def test_a_job_that_stays_away_for_two_minutes_is_not_found(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.script(GONE)
    service.script(entry("running", 8), job_id=8)
    other = watch(watcher, 8)
    listener = watch(watcher).wait()
    assert isinstance(listener.error, NotFound)
    assert "7" in str(listener.error)
    assert listener.statuses == []
    assert clock.elapsed >= 120
    assert not other.is_done


def test_an_id_that_only_the_caller_has_named_is_given_up_soon(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.script(GONE)
    listener = Listener()
    watcher.watch(7, listener.on_change, listener.on_failure, is_known=False)
    assert isinstance(listener.wait().error, NotFound)
    assert 2 <= clock.elapsed < 10


def test_what_was_seen_once_is_not_given_up_soon(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.script(entry("running"), GONE)
    service.script_alone(GONE)
    listener = Listener()
    watcher.watch(7, listener.on_change, listener.on_failure, is_known=False)
    assert isinstance(listener.wait().error, NotFound)
    assert clock.elapsed >= 120


def test_of_many_missing_jobs_some_are_asked_for_alone_at_a_time(
    service: ScriptedService, watcher: Watcher
) -> None:
    for job_id in range(1, 61):
        service.script(GONE, job_id=job_id)
    with watcher._condition:
        listeners = [watch(watcher, job_id) for job_id in range(1, 61)]
    assert all(isinstance(listener.wait().error, NotFound) for listener in listeners)
    kinds = [kind for kind, _ in service.requests]
    rounds = "".join(kind[0] for kind in kinds).split("b")
    assert max(map(len, rounds)) == 16
    assert set(service.of("alone")) == set(range(1, 61))


def test_two_short_absences_are_not_added_up(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    absent = deque([100.0, 300.0])

    def be_absent() -> None:
        begin = absent[0] if absent else float("inf")
        is_away = begin <= clock.elapsed < begin + 90
        if absent and clock.elapsed >= begin + 90:
            absent.popleft()
        service.script(GONE if is_away else entry("running" if absent else "completed", **ENDED))

    service.during_bulk = be_absent
    listener = watch(watcher).wait()
    assert listener.error is None
    assert listener.statuses == ["running", "completed"]
    assert service.of("alone")


def test_jobs_that_were_not_asked_for_are_dropped(service: ScriptedService, watcher: Watcher) -> None:
    service.foreign = [entry("completed", 8, **ENDED), {"status": "completed"}, entry("failed", 70, **ENDED)]
    service.script(entry("running"), entry("completed", **ENDED))
    listener = watch(watcher).wait()
    assert [snapshot.id for snapshot in listener.snapshots] == [7, 7]
    assert {str(wanted) for wanted in service.of("bulk")} == {"[7]"}
    assert service.of("detail") == [[7]]


# ---- how much is asked


def requests_for(service: ScriptedService, watcher: Watcher, ids: list[int]) -> list[tuple[str, Any]]:
    """What is asked when these jobs are seen idle, running and completed."""
    for job_id in ids:
        states = [entry("idle", job_id), entry("running", job_id), entry("completed", job_id, **ENDED)]
        service.script(*states, job_id=job_id)
    with watcher._condition:  # the first round sees all
        listeners = [watch(watcher, job_id) for job_id in ids]
    for listener in listeners:
        assert listener.wait().statuses == ["idle", "running", "completed"]
    return service.requests


def test_many_jobs_are_asked_for_in_hundreds(service: ScriptedService, watcher: Watcher) -> None:
    requests = requests_for(service, watcher, list(range(1, 251)))
    assert [(kind, len(ids)) for kind, ids in requests] == [
        *[("bulk", 100), ("bulk", 100), ("bulk", 50)] * 3,
        *[("detail", 100), ("detail", 100), ("detail", 50)],
    ]


def test_urls_are_short_whatever_the_ids(service: ScriptedService, watcher: Watcher) -> None:
    ids = list(range(10**17, 10**17 + 150))
    for _, wanted in requests_for(service, watcher, ids):
        query = urlencode({"id": ",".join(map(str, wanted)), "detail": "true"})
        assert len(f"https://a-host-of-some-length.example.org/prominence/v1/jobs?{query}") < 1500
    asked = [job_id for wanted in service.of("detail") for job_id in wanted]
    assert sorted(asked) == ids


@pytest.mark.parametrize("base", [24, 500, 1300, 1449, 1600])
def test_the_whole_url_counts(base: int, service: ScriptedService) -> None:
    service.url = "https://" + "h" * (base - 8)
    ids = [10**digits + number for digits in (1, 6, 11) for number in range(70)]
    parts = list(JobSource(cast("ProminenceClient", service)).parts(ids))
    assert [job_id for part in parts for job_id in part] == ids
    assert max(map(len, parts)) <= 100
    for part in parts:
        query = urlencode({"id": ",".join(map(str, part)), "detail": "true"})
        assert len(f"{service.url}/jobs?{query}") <= 1500 or len(part) == 1


def test_jobs_that_have_ended_are_not_asked_for_again(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("completed", **ENDED))
    service.script(entry("idle", 8), entry("running", 8), entry("completed", 8, **ENDED), job_id=8)
    with watcher._condition:
        listeners = [watch(watcher), watch(watcher, 8)]
    for listener in listeners:
        listener.wait()
    assert service.of("bulk") == [[7, 8], [8], [8]]


def test_two_listeners_of_one_job_cost_nothing_more(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"), entry("completed", **ENDED))
    with watcher._condition:
        first, second = watch(watcher), watch(watcher)
    assert first.wait().statuses == second.wait().statuses == ["running", "completed"]
    assert service.requests == [("bulk", [7]), ("bulk", [7]), ("detail", [7])]


def test_pauses_grow_with_the_age_of_jobs_up_to_a_limit(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    def end_after_two_hours() -> None:
        if clock.elapsed > 7200:
            service.script(entry("completed", **ENDED))

    service.during_bulk = end_after_two_hours
    service.script(entry("running"))
    watch(watcher).wait()
    pauses = [later - earlier for earlier, later in zip(service.times, service.times[1:], strict=False)]
    assert pauses[0] < 0.1
    assert 13 < max(pauses) <= 15.001
    assert 7200 / 17 < len(service.requests) < 1200


def test_slow_answers_are_asked_for_less_often(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.during_bulk = lambda: clock.advance(1)
    service.script(entry("idle"), entry("running"), entry("completed", **ENDED))
    watch(watcher).wait()
    assert service.times[1] - service.times[0] >= 1 + 0.9 * 10


# ---- a service that does not answer


def test_an_outage_of_almost_an_hour_is_survived(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.be_away(3500)
    service.script(entry("completed", **ENDED))
    listener = watch(watcher).wait()
    assert listener.statuses == ["completed"]
    assert clock.elapsed >= 3500


def test_an_outage_of_more_than_an_hour_ends_a_wait(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    service.be_away(100_000)
    service.script(entry("running"))
    listener = watch(watcher).wait()
    assert isinstance(listener.error, ServiceUnavailable)
    assert "may still run" in str(listener.error)
    assert "Job(id=" in str(listener.error)
    assert 3600 <= clock.elapsed < 4000


def test_patience_with_outages_can_be_chosen(service: ScriptedService, clock: VirtualClock) -> None:
    source = WorkflowSource(cast("ProminenceClient", service))
    watcher = Watcher(source, clock, Random(1), outage_tolerance_s=300)
    service.be_away(100_000)
    listener = Listener()
    watcher.watch(7, listener.on_change, listener.on_failure)
    error = listener.wait().error
    watcher.close()
    assert isinstance(error, ServiceUnavailable)
    assert "Workflow(id=" in str(error)
    assert str(error.__cause__) == "nobody there"
    assert 300 <= clock.elapsed < 500


def test_two_outages_are_not_added_up(service: ScriptedService, watcher: Watcher) -> None:
    looks = iter(range(1000))

    def be_away_twice() -> None:
        if next(looks) in {1, 3}:
            service.be_away(2400)

    service.during_bulk = be_away_twice
    running = [entry("running", look=look) for look in range(5)]
    service.script(*running, entry("completed", **ENDED))
    listener = watch(watcher).wait()
    assert listener.error is None
    assert listener.statuses[-1] == "completed"
    assert service.clock.elapsed > 4800


def test_all_listeners_hear_of_the_end_of_patience(service: ScriptedService, watcher: Watcher) -> None:
    service.be_away(100_000)
    with watcher._condition:
        listeners = [watch(watcher, job_id) for job_id in (7, 8, 9)]
    for listener in listeners:
        assert isinstance(listener.wait().error, ServiceUnavailable)


def test_a_token_that_is_refused_from_the_first_ends_a_wait(
    service: ScriptedService, watcher: Watcher
) -> None:
    service.fail(AuthenticationError("no"))
    assert isinstance(watch(watcher).wait().error, AuthenticationError)


def test_a_wait_bears_with_a_token_that_is_refused_later(
    service: ScriptedService, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    looks = iter(range(1000))

    def refuse_for_a_while() -> None:
        if 2 <= next(looks) < 20:
            raise AuthenticationError("expired")

    service.during_bulk = refuse_for_a_while
    running = [entry("running", look=look) for look in range(5)]
    service.script(*running, entry("completed", **ENDED))
    assert watch(watcher).wait().statuses[-1] == "completed"
    assert "expired; log in again" in caplog.text


def test_a_token_that_stays_refused_ends_a_wait_in_the_end(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    looks = iter(range(10_000))

    def refuse_after_a_while() -> None:
        if next(looks) >= 2:
            raise AuthenticationError("expired")

    service.during_bulk = refuse_after_a_while
    service.script(entry("running"))
    error = watch(watcher).wait().error
    assert isinstance(error, AuthenticationError)
    assert "Job(id=" in str(error)
    assert clock.elapsed >= 3600


def test_a_wait_that_begins_while_the_token_is_refused_ends_and_leaves_the_others_alone(
    service: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    looks = iter(range(10_000))
    newcomer = Listener()

    def refuse_after_a_while() -> None:
        look = next(looks)
        if look == 20:
            clock.advance(60)
            watcher.watch(8, newcomer.on_change, newcomer.on_failure)
        if 2 <= look < 30:
            raise AuthenticationError("expired")

    service.during_bulk = refuse_after_a_while
    service.script(entry("running"), entry("running"), entry("completed", **ENDED))
    assert watch(watcher).wait().statuses[-1] == "completed"
    assert isinstance(newcomer.error, AuthenticationError)


# ---- listeners and the thread


def test_a_listener_that_raises_does_not_disturb_others(
    service: ScriptedService, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    def fall_over(_: object) -> None:
        raise ValueError("not me")

    service.script(entry("running"), entry("completed", **ENDED))
    with watcher._condition:
        watcher.watch(7, fall_over, fall_over)
        listener = watch(watcher)
    assert listener.wait().statuses == ["running", "completed"]
    assert "not me" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_that_raises_at_a_failure_does_not_disturb_others(
    service: ScriptedService, watcher: Watcher
) -> None:
    def fall_over(_: object) -> None:
        raise ValueError("not me")

    service.script(GONE)
    with watcher._condition:
        watcher.watch(7, fall_over, fall_over)
        listener = watch(watcher)
    assert isinstance(listener.wait().error, NotFound)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_waiters_hear_of_an_error_that_nobody_thought_of(service: ScriptedService, watcher: Watcher) -> None:
    service.fail(TypeError("surprise"))
    assert "surprise" in str(watch(watcher).wait().error)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_jobs_can_be_watched_after_an_error_that_nobody_thought_of(
    service: ScriptedService, watcher: Watcher
) -> None:
    service.script(entry("completed", **ENDED))
    service.fail(TypeError("surprise"))
    thread = watch(watcher).wait().thread
    assert thread is not None
    thread.join(LIMIT_S)
    assert watch(watcher).wait().statuses == ["completed"]


def test_jobs_can_be_watched_after_no_thread_could_be_started(
    service: ScriptedService, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    service.script(entry("completed", **ENDED))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            watch(watcher)
    assert watch(watcher).wait().statuses == ["completed"]
    assert service.of("bulk") == [[7]]


def test_nothing_is_told_after_the_end_by_a_thread_that_was_overtaken(
    service: ScriptedService, watcher: Watcher
) -> None:
    """Who begins to watch is told by its own thread what is known; the end may come meanwhile."""
    first, late = Listener(), Listener()
    service.script(entry("running"))
    heard = threading.Event()
    watcher.watch(7, lambda _: heard.set(), first.on_failure)
    assert heard.wait(LIMIT_S)
    tell = watcher._tell

    def overtaken(news: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            service.script(entry("completed", **ENDED))
            late.wait()
        tell(news)

    watcher._tell = overtaken  # type: ignore[method-assign]
    watcher.watch(7, late.on_change, late.on_failure)
    assert late.statuses == ["completed"]


def test_a_listener_may_watch_another_job(service: ScriptedService, watcher: Watcher) -> None:
    second = Listener()

    def go_on(snapshot: JobSnapshot) -> None:
        if snapshot.has_ended:
            watcher.watch(8, second.on_change, second.on_failure)

    service.script(entry("completed", **ENDED))
    service.script(entry("completed", 8, **ENDED), job_id=8)
    watcher.watch(7, go_on, second.on_failure)
    assert second.wait().statuses == ["completed"]


def _ends(listener: Listener) -> bool:
    assert listener.thread is not None
    listener.thread.join(LIMIT_S)
    return not listener.thread.is_alive()


def test_the_thread_ends_when_nothing_is_watched_and_starts_again(
    service: ScriptedService, watcher: Watcher
) -> None:
    service.script(entry("completed", **ENDED))
    first = watch(watcher).wait()
    assert first.thread is not threading.current_thread()
    assert _ends(first)
    second = watch(watcher).wait()
    assert second.thread is not first.thread


def test_the_thread_ends_when_nobody_listens_any_more(service: ScriptedService, watcher: Watcher) -> None:
    heard = threading.Event()
    listener = Listener()

    def hear(snapshot: JobSnapshot) -> None:
        listener.on_change(snapshot)
        heard.set()

    service.script(entry("running"))
    watch = watcher.watch(7, hear, listener.on_failure)
    assert heard.wait(LIMIT_S)
    watcher.unwatch(watch)
    watcher.unwatch(watch)
    assert _ends(listener)
    assert not listener.is_done


def test_others_go_on_listening_to_a_job(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"), entry("completed", **ENDED))
    with watcher._condition:
        dropped = Listener()
        watcher.unwatch(watcher.watch(7, dropped.on_change, dropped.on_failure))
        unknown = CallbackWatch(99, dropped.on_change, dropped.on_failure)
        watcher.unwatch(unknown)
        first = watcher.watch(7, dropped.on_change, dropped.on_failure)
        listener = watch(watcher)
        watcher.unwatch(first)
    assert listener.wait().statuses == ["running", "completed"]
    assert dropped.statuses == []


def test_close_joins_the_thread_and_asks_no_more(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"))
    watch(watcher)
    service.wait_for_requests(("bulk", [7]))
    watcher.close()
    asked = len(service.requests)
    assert "prominence-watcher" not in {thread.name for thread in threading.enumerate()}
    assert len(service.requests) == asked
    watcher.close()


def test_a_listener_may_close_the_watcher(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("completed", **ENDED))
    listener = Listener()

    def close(snapshot: JobSnapshot) -> None:
        watcher.close()
        listener.on_change(snapshot)

    watcher.watch(7, close, listener.on_failure)
    assert _ends(listener.wait())


def test_who_waits_hears_of_the_close(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"))
    listener = watch(watcher)
    service.wait_for_requests(("bulk", [7]))
    watcher.close()
    assert listener.wait().error is not None


def test_a_closed_watcher_leaves_nobody_waiting(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("completed", **ENDED))
    watcher.close()
    try:
        listener = watch(watcher)
    except ProminenceError:
        return
    listener.wait()


# ---- the feed of changes


def test_with_the_revision_of_its_submission_a_job_is_never_asked_for(
    following: ScriptedService, watcher: Watcher
) -> None:
    listener = watch(watcher, revision=5)
    following.tell(6, entry("running"))
    following.tell(7, entry("completed", **ENDED, execution={"tasks": [{"exitCode": 3}]}))
    assert listener.wait().statuses == ["running", "completed"]
    assert listener.snapshots[-1].exit_codes == (3,)
    assert following.requests == [("feed", 5), ("feed", 6)]


def test_without_a_revision_a_job_is_asked_for_once_and_then_followed(
    following: ScriptedService, watcher: Watcher
) -> None:
    following.script(entry("running"))
    listener = watch(watcher)
    following.tell(6, entry("completed", **ENDED))
    assert listener.wait().statuses == ["running", "completed"]
    assert following.requests == [("bulk", [7]), ("feed", 5)]


def test_a_job_older_than_the_feed_is_asked_for(following: ScriptedService, watcher: Watcher) -> None:
    first = watch(watcher, 8, revision=5)
    following.tell(9, entry("running", 8))
    following.wait_for_requests(("feed", 9))
    following.script(entry("running"))
    late = watch(watcher, 7, revision=3)
    following.tell(9)
    following.wait_for_requests(("bulk", [7]))
    following.tell(10, entry("completed", **ENDED), entry("completed", 8, **ENDED))
    assert late.wait().statuses == ["running", "completed"]
    assert first.wait().statuses == ["running", "completed"]
    assert {str(ids) for ids in following.of("bulk")} == {"[7]"}


def test_without_the_feature_a_revision_is_not_followed(service: ScriptedService, watcher: Watcher) -> None:
    service.script(entry("running"), entry("completed", **ENDED))
    assert watch(watcher, revision=5).wait().statuses == ["running", "completed"]
    assert service.of("feed") == []


def test_a_change_that_came_before_the_watch_is_not_lost(
    following: ScriptedService, watcher: Watcher
) -> None:
    watch(watcher, 8, revision=5)
    following.tell(7, entry("completed", **ENDED))
    following.wait_for_requests(("feed", 7))
    listener = watch(watcher, 7, revision=6)
    assert listener.wait().statuses == ["completed"]
    assert following.of("bulk") == []


def test_a_change_that_was_forgotten_among_very_many_is_asked_for(
    following: ScriptedService, watcher: Watcher
) -> None:
    watch(watcher, 8, revision=5)
    following.tell(10, entry("completed", **ENDED))
    following.tell(3000, *(entry("completed", 1000 + number, **ENDED) for number in range(2500)))
    following.wait_for_requests(("feed", 3000))
    following.script(entry("completed", **ENDED))
    listener = watch(watcher, 7, revision=6)
    assert listener.wait().statuses == ["completed"]
    assert [7] in following.of("bulk")


def test_the_thread_ends_after_a_job_that_had_ended_before_the_watch(
    following: ScriptedService, watcher: Watcher
) -> None:
    other = watch(watcher, 8, revision=5)
    following.tell(7, entry("completed", **ENDED))
    following.wait_for_requests(("feed", 7))
    watch(watcher, 7, revision=6).wait()
    following.tell(8, entry("completed", 8, **ENDED))
    other.wait()
    following.end()
    assert _ends(other)


def test_a_job_that_ended_without_end_time_before_the_watch_is_held_too(
    following: ScriptedService, watcher: Watcher
) -> None:
    watch(watcher, 8, revision=5)
    following.tell(7, entry("failed"))
    following.wait_for_requests(("feed", 7))
    following.script(entry("running"))
    listener = watch(watcher, 7, revision=6)
    following.tell(8, entry("completed", 7, **ENDED))
    assert listener.wait().statuses[-1] == "completed"


def test_a_job_is_followed_after_the_watcher_rested(following: ScriptedService, watcher: Watcher) -> None:
    first = watch(watcher, 8, revision=5)
    following.tell(6, entry("completed", 8, **ENDED))
    assert _ends(first.wait())
    listener = watch(watcher, 7, revision=9)
    following.tell(12, entry("completed", **ENDED))
    assert listener.wait().statuses == ["completed"]
    assert following.of("feed") == [5, 6]


@pytest.mark.parametrize("revision", [3, None], ids=["went back", "not given any more"])
def test_after_a_revision_that_went_back_all_jobs_are_asked_for_afresh(
    revision: int | None, following: ScriptedService, watcher: Watcher
) -> None:
    following.script(entry("completed", **ENDED))
    following.script(entry("running", 8), job_id=8)
    with watcher._condition:
        listener, other = watch(watcher, revision=5), watch(watcher, 8, revision=5)
    following.tell(revision, entry("deleted", **ENDED))
    assert listener.wait().statuses == ["completed"]
    assert not other.is_done
    assert following.requests[:2] == [("feed", 5), ("bulk", [7, 8])]


def test_a_job_submitted_after_a_revision_went_back_does_not_stop_the_asking(
    following: ScriptedService, watcher: Watcher
) -> None:
    """The new job comes while the others are asked for: the feed must begin before that question."""
    following.script(entry("running"))
    following.script(entry("running", 8), job_id=8)
    listener = watch(watcher)
    following.wait_for_requests(("feed", 5))

    def submit_another() -> None:
        following.during_bulk = lambda: None
        watch(watcher, 8, revision=4)

    following.during_bulk = submit_another
    following.revision = 2
    following.tell(1)
    following.tell(9, entry("completed", **ENDED))
    listener.wait()
    assert following.of("feed")[:2] == [5, 2]


def test_a_held_job_of_the_feed_is_looked_at_again(
    following: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    following.script(entry("failed"))
    listener = watch(watcher, revision=5)
    following.tell(6, entry("failed"))
    following.end()
    assert listener.wait().statuses == ["failed"]
    assert clock.elapsed >= 120


def test_a_job_missing_from_the_detail_is_not_lost_to_the_feed(
    following: ScriptedService, watcher: Watcher
) -> None:
    following.script(entry("completed", **ENDED))
    following.script_detail(GONE, entry("completed", **ENDED))
    listener = watch(watcher)
    following.end()
    assert listener.wait().statuses == ["completed"]


def test_changes_between_the_first_two_requests_are_not_missed(
    following: ScriptedService, watcher: Watcher
) -> None:
    """Of 150 jobs, one of the first hundred changes while the others are asked for."""
    for job_id in range(1, 151):
        following.script(entry("running", job_id), job_id=job_id)

    def change_between() -> None:
        following.revision = 5 + len(following.of("bulk"))

    following.during_bulk = change_between
    with watcher._condition:
        listeners = [watch(watcher, job_id) for job_id in range(1, 151)]
    following.wait_for_requests(("feed", 6))
    following.tell(8, entry("completed", 1, **ENDED))
    assert listeners[0].wait().statuses == ["running", "completed"]
    assert following.of("feed")[0] == 6


def test_on_a_feed_too_an_id_that_only_the_caller_has_named_is_given_up_soon(
    following: ScriptedService, watcher: Watcher, clock: VirtualClock
) -> None:
    following.script(GONE)
    listener = Listener()
    watcher.watch(7, listener.on_change, listener.on_failure, is_known=False)
    assert isinstance(listener.wait().error, NotFound)
    assert clock.elapsed < 10


def test_after_an_outage_followed_jobs_are_asked_for(following: ScriptedService, watcher: Watcher) -> None:
    following.fail(ServiceUnavailable("nobody there"))
    following.script(entry("completed", **ENDED))
    assert watch(watcher, revision=5).wait().statuses == ["completed"]
    assert following.requests[:2] == [("feed", 5), ("bulk", [7])]
