"""More than one thing with the tag of a submission: twins, clones, and what is not ours at all."""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import RESET, FakeService, Received, Reply, page, refuses, says

from prominence import Job, ProminenceClient, Resources, Session, Task
from prominence.client.submission import Submission
from prominence.client.transport import SETTLE_REMOTE_S
from prominence.description.rules import SUBMISSION_LABEL
from prominence.exceptions import DuplicateRun, ServiceError, ServiceUnavailable, SubmissionUncertain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.clock import VirtualClock

TAG = "feed"
NOT_BEGUN: dict[str, Any] = {"status": "idle", "events": {"createTime": 1}}
BEGUN: dict[str, Any] = {"status": "running", "events": {"createTime": 1, "startTime": 2}}
ENDED: dict[str, Any] = {"status": "completed", "events": {"createTime": 1, "startTime": 2, "endTime": 3}}
DELETED: dict[str, Any] = {"status": "deleted", "events": {"createTime": 1, "endTime": 3}}
DELETED_LATE: dict[str, Any] = {**ENDED, "status": "deleted"}


def entry(job: int, state: dict[str, Any], tag: str | None = TAG) -> dict[str, Any]:
    return {"id": job, "labels": {SUBMISSION_LABEL: tag} if tag else {}, **state}


class Queue:
    """Two requests were lost and both arrived, the first after the window; their states are what a test says.

    ``when_deleted`` is what a job is after its deletion.
    """

    def __init__(self, fake: FakeService, clock: VirtualClock, **states: dict[str, Any]) -> None:
        self.jobs = {int(name.removeprefix("job")): state for name, state in states.items()}
        self.when_deleted = DELETED
        self._clock = clock
        fake.script("POST", "/jobs", RESET)
        fake.script("GET", "/jobs", self._list)
        for job in self.jobs:
            fake.script("GET", f"/jobs/{job}", self._describe)
            fake.script("DELETE", f"/jobs/{job}", self._delete)

    def _list(self, _: Received) -> Reply:
        shown = self.jobs if self._clock.elapsed > SETTLE_REMOTE_S + 5 else {}
        return says([entry(job, state) for job, state in shown.items()])

    def _describe(self, request: Received) -> Reply:
        job = int(request.path.rpartition("/")[2])
        return says([entry(job, self.jobs[job])])

    def _delete(self, request: Received) -> Reply:
        self.jobs[int(request.path.rpartition("/")[2])] = self.when_deleted
        return says({})


def create(client: ProminenceClient) -> int:
    return client.create_job({"name": "x"}, submission=Submission(TAG)).id


def deleted(fake: FakeService) -> list[str]:
    return [path for method, path in fake.sent if method == "DELETE"]


def two(one: dict[str, Any], other: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"job41": one, "job42": other}


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (two(NOT_BEGUN, NOT_BEGUN), 41),
        (two(BEGUN, NOT_BEGUN), 41),
        (two(NOT_BEGUN, BEGUN), 42),
        (two(NOT_BEGUN, ENDED), 42),
        (two({"status": "pending"}, {"status": "deploying"}), 41),
    ],
)
def test_a_twin_that_has_not_begun_is_deleted(
    states: dict[str, Any], kept: int, fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Queue(fake, clock, **states)
    assert create(client) == kept
    assert deleted(fake) == [f"/jobs/{41 + 42 - kept}"]


@pytest.mark.parametrize("states", list(product([BEGUN, ENDED, DELETED_LATE], repeat=2)))
def test_two_that_have_begun_are_reported(
    states: tuple[dict[str, Any], ...], fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Queue(fake, clock, **two(*states))
    with pytest.raises(DuplicateRun, match=r"41, 42 \(more than one of them has begun\)") as caught:
        create(client)
    assert (caught.value.ids, caught.value.tag) == ((41, 42), TAG)
    assert deleted(fake) == []


def test_a_job_between_two_attempts_of_the_service_has_begun(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    again = {"status": "idle", "events": {"createTime": 1, "startTime": 2, "endTime": 3}}
    Queue(fake, clock, job41=BEGUN, job42=again)
    with pytest.raises(DuplicateRun):
        create(client)


def test_a_twin_that_begins_before_it_is_deleted_is_reported(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Queue(fake, clock, job41=BEGUN, job42=NOT_BEGUN)
    fake.script("GET", "/jobs/42", says([entry(42, BEGUN)]))
    with pytest.raises(DuplicateRun, match="42 has begun meanwhile"):
        create(client)
    assert deleted(fake) == []


def test_a_twin_that_had_begun_when_it_was_deleted_is_reported(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    queue = Queue(fake, clock, job41=BEGUN, job42=NOT_BEGUN)
    queue.when_deleted = DELETED_LATE
    with pytest.raises(DuplicateRun, match="42 had begun when it was deleted"):
        create(client)


def test_a_twin_that_ends_before_it_is_deleted_is_reported(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Queue(fake, clock, job41=BEGUN, job42=NOT_BEGUN)
    fake.script("GET", "/jobs/42", says([entry(42, NOT_BEGUN)]), says([entry(42, ENDED)]))
    fake.script("DELETE", "/jobs/42", refuses("No such job(s)"))
    with pytest.raises(DuplicateRun, match="42 had begun"):
        create(client)


def test_the_times_of_a_deleted_twin_are_waited_for(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Queue(fake, clock, job41=BEGUN, job42=NOT_BEGUN)
    bare = {"status": "deleted", "events": {"createTime": 1}}
    states = [NOT_BEGUN, bare, bare, DELETED_LATE]
    fake.script("GET", "/jobs/42", says([]), *(says([entry(42, state)]) for state in states))
    with pytest.raises(DuplicateRun, match="42 had begun"):
        create(client)


def test_a_twin_that_cannot_be_ended_is_reported(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    queue = Queue(fake, clock, job41=BEGUN, job42=NOT_BEGUN)
    queue.when_deleted = NOT_BEGUN
    with pytest.raises(DuplicateRun, match="it is idle after it was deleted"):
        create(client)


@pytest.mark.parametrize("broken", ["GET", "DELETE"])
def test_a_twin_of_which_nothing_can_be_learned_is_reported(
    broken: str, fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Queue(fake, clock, job41=BEGUN, job42=NOT_BEGUN)
    fake.script(broken, "/jobs/42", page(503))
    with pytest.raises(DuplicateRun, match="cannot be seen") as caught:
        create(client)
    assert isinstance(caught.value.__cause__, ServiceUnavailable)


def test_a_twin_that_was_deleted_before_it_began_does_not_count(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Queue(fake, clock, job41=DELETED, job42=BEGUN)
    assert create(client) == 42
    assert deleted(fake) == []


def test_a_twin_that_shows_when_the_other_was_accepted_is_reported(
    fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("POST", "/jobs", RESET, says({"id": 42}, 201))
    both = says([entry(41, BEGUN), entry(42, BEGUN)])
    fake.script("GET", "/jobs", lambda _: both if fake.sent.count(("POST", "/jobs")) == 2 else says([]))
    with pytest.raises(DuplicateRun, match="41, 42"):
        create(client)


# ---- what is not a twin


def test_a_clone_of_what_was_sent_once_is_not_touched(fake: FakeService, client: ProminenceClient) -> None:
    """Real services copy labels to clones; the older one is the one that was sent."""
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", says([entry(43, BEGUN), entry(41, NOT_BEGUN), entry(42, NOT_BEGUN)]))
    assert create(client) == 41
    assert deleted(fake) == []


def test_more_than_were_sent_are_reported_and_not_touched(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Queue(fake, clock, job41=NOT_BEGUN, job42=NOT_BEGUN, job43=NOT_BEGUN)
    with pytest.raises(DuplicateRun, match="which of them are twins") as caught:
        create(client)
    assert caught.value.ids == (41, 42, 43)
    assert deleted(fake) == []


def test_what_another_call_sent_is_not_deleted(fake: FakeService, client: ProminenceClient) -> None:
    """Time has passed since: somebody may have cloned it."""
    fake.script("GET", "/jobs", says([entry(41, NOT_BEGUN), entry(42, NOT_BEGUN)]))
    with pytest.raises(DuplicateRun, match="41, 42"):
        client.create_job({"name": "x"}, submission=Submission(TAG, sends=2))
    assert {method for method, _ in fake.sent} == {"GET"}


def test_jobs_without_the_tag_are_not_adopted(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    """Some services drop the filter of a listing and answer with every job."""
    others = says([entry(5, BEGUN, None), entry(6, BEGUN, "beef"), {"id": 7, "status": "idle"}])
    fake.script("POST", "/jobs", RESET, says({"id": 42}, 201))
    fake.script("GET", "/jobs", others)
    assert create(client) == 42
    assert clock.elapsed >= SETTLE_REMOTE_S


def test_the_one_with_the_tag_is_found_among_all_jobs(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", says([entry(5, BEGUN, None), entry(41, BEGUN), entry(6, BEGUN, "beef")]))
    assert create(client) == 41


@pytest.mark.parametrize("answer", [{}, {"id": 7}, "text"])
def test_a_listing_that_is_none_does_not_end_the_looking(
    answer: object, fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", says(answer), says([entry(41, BEGUN)]))
    assert create(client) == 41


# ---- workflows


def test_a_workflow_has_begun_when_one_of_its_jobs_has(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    """An idle workflow has a start time on real services, and its progress lags."""
    state = {"status": "idle", "events": {"createTime": 1, "startTime": 1}}
    jobs = {"41": [entry(51, BEGUN, None)], "42": [entry(52, NOT_BEGUN, None)]}

    def shown(_: Received) -> Reply:
        return says([entry(41, state), entry(42, state)] if clock.elapsed > SETTLE_REMOTE_S + 5 else [])

    fake.script("POST", "/workflows", RESET)
    fake.script("GET", "/workflows", shown)
    fake.script("GET", "/jobs", lambda request: says(jobs[request.query["id"]]))
    fake.script("GET", "/workflows/42", says([entry(42, state)]), says([entry(42, DELETED)]))
    fake.script("DELETE", "/workflows/42", says({}))

    assert client.create_workflow({"name": "x"}, submission=Submission(TAG)).id == 41
    assert deleted(fake) == ["/workflows/42"]


# ---- what shows after the id is known


@pytest.fixture
def job(client: ProminenceClient, clock: VirtualClock) -> Iterator[Job]:
    with Session(client=client, clock=clock) as session:
        task = Task(image="busybox", command="true")
        yield Job(session=session, name="x", resources=Resources(cpus=1, memory=1), tasks=[task])


def end(fake: FakeService, job: Job) -> None:
    """The job ends, and its waiter knows."""
    fake.script("GET", f"/jobs/{job.id}", says([entry(job.id or 0, ENDED)]))
    assert job.done()


def test_a_twin_that_comes_later_is_told_to_the_waiter_once(fake: FakeService, job: Job) -> None:
    fake.script("POST", "/jobs", RESET, says({"id": 42}, 201))
    fake.script("GET", "/jobs", says([]))
    assert job.create() == 42
    end(fake, job)
    tag = fake.received[0].json()["labels"][SUBMISSION_LABEL]
    fake.script("GET", "/jobs", page(400), says([entry(42, ENDED, tag), entry(43, BEGUN, tag)]))

    with pytest.raises(ServiceError, match="400"):
        job.wait()  # nothing is told yet
    with pytest.raises(DuplicateRun, match="42, 43"):
        job.wait()
    assert job.wait() == "completed"


@pytest.mark.parametrize("states", [two(BEGUN, BEGUN), two(NOT_BEGUN, BEGUN), two(DELETED, ENDED)])
def test_twins_behind_a_fence_are_left_alone(
    states: dict[str, dict[str, Any]],
    fake: FakeService,
    client: ProminenceClient,
    clock: VirtualClock,
) -> None:
    Queue(fake, clock, **states)
    submission = Submission(TAG)
    submission.has_fence = True
    assert client.create_job({"name": "x"}, submission=submission).id == 41
    assert deleted(fake) == []


def test_a_twin_behind_a_fence_that_comes_later_is_not_looked_for(fake: FakeService, job: Job) -> None:
    fake.script("POST", "/jobs", RESET, says({"id": 42}, 201))
    fake.script("GET", "/jobs", says([]))
    assert job.create(has_fence=True) == 42
    end(fake, job)
    fake.received.clear()
    assert job.wait() == "completed"
    assert fake.received == []


@pytest.mark.parametrize("posts", [[says({"id": 42}, 201)], [refuses("busy", 429), says({"id": 42}, 201)]])
def test_a_job_that_was_sent_once_is_not_looked_up_at_its_end(
    posts: list[Reply], fake: FakeService, job: Job
) -> None:
    fake.script("POST", "/jobs", *posts)
    job.create()
    end(fake, job)
    fake.received.clear()
    assert job.wait() == "completed"
    assert fake.received == []


# ---- over several calls


def test_a_window_that_has_passed_is_not_waited_for_again(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    submission = Submission(TAG)
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", page(503))
    with pytest.raises(SubmissionUncertain) as caught:
        client.create_job({"name": "x"}, submission=submission)
    assert (caught.value.tag, caught.value.sends) == (TAG, 1)
    clock.advance(SETTLE_REMOTE_S)
    before = clock.elapsed
    fake.script("POST", "/jobs", says({"id": 7}, 201))
    fake.script("GET", "/jobs", says([]))
    assert client.create_job({"name": "x"}, submission=submission).id == 7
    assert clock.elapsed - before < 5


def test_another_process_waits_for_the_whole_window(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("POST", "/jobs", says({"id": 7}, 201))
    fake.script("GET", "/jobs", says([]))
    assert client.create_job({"name": "x"}, submission=Submission(TAG, sends=1)).id == 7
    assert clock.elapsed >= SETTLE_REMOTE_S


def test_one_listing_without_the_job_is_not_believed(fake: FakeService, client: ProminenceClient) -> None:
    """A job that moves to a real service's history is in neither place for a moment."""
    submission = Submission(TAG, sends=1)
    submission.begin_window(settle_s=0, now=0)
    fake.script("POST", "/jobs", says({"id": 99}, 201))
    fake.script("GET", "/jobs", says([]), says([entry(41, ENDED)]))
    assert client.create_job({"name": "x"}, submission=submission).id == 41


def test_a_later_send_opens_the_window_again(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    times: list[float] = []

    def lose_two(_: Received) -> Reply:
        times.append(clock.elapsed)
        return RESET if len(times) < 3 else says({"id": 43}, 201)

    fake.script("POST", "/jobs", lose_two)
    fake.script("GET", "/jobs", says([]))
    assert create(client) == 43
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(SETTLE_REMOTE_S < pause < SETTLE_REMOTE_S + 2 for pause in pauses)
