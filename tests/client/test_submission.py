"""Submitting once, though answers get lost."""

from __future__ import annotations

import pickle
import re
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import (
    RESET,
    FakeService,
    Received,
    Reply,
    cut_short,
    labelled,
    page,
    refuses,
    says,
    truncated,
)

from prominence import Job, ProminenceClient, Resources, Session, Settings, Task
from prominence.client.submission import Submission
from prominence.client.submitting import submit
from prominence.client.transport import SETTLE_LOCAL_S, SETTLE_REMOTE_S, Transport
from prominence.description.rules import SUBMISSION_LABEL
from prominence.exceptions import (
    AuthenticationError,
    DuplicateRun,
    FeatureDisabled,
    InvalidDescription,
    PermissionDenied,
    ProminenceError,
    ServiceError,
    ServiceUnavailable,
    SubmissionUncertain,
    WrongService,
)
from prominence.settings import LocalSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.clock import VirtualClock

JOB: dict[str, Any] = {"name": "x", "labels": {"study": "one"}, "tasks": []}
IDEMPOTENT = {"Prominence-Features": "wait,idempotent-submission"}
LOST = {
    "reset": RESET,
    "cut short": cut_short({"id": 7}, status=201),
    "truncated": truncated({"id": 7}, status=201),
    "502": page(502),
}


def tag_of(request: Received) -> str:
    return str(request.json()["labels"][SUBMISSION_LABEL])


def posts(fake: FakeService) -> list[Received]:
    return [each for each in fake.received if each.method == "POST"]


class Accepting:
    """Takes jobs in, though the first ``lost`` answers get lost; lists them only from a time on."""

    def __init__(
        self, clock: VirtualClock, *, lost: int, lists_from: float = 0, commits: bool = True
    ) -> None:
        self._clock = clock
        self._lost = lost
        self._lists_from = lists_from
        self._commits = commits
        self._jobs: list[tuple[str, int]] = []
        self.times: list[float] = []
        self.status = "running"

    def post(self, request: Received) -> Reply:
        self.times.append(self._clock.elapsed)
        is_lost = len(self.times) <= self._lost
        if self._commits or not is_lost:
            self._jobs.append((tag_of(request), 40 + len(self.times)))
        return RESET if is_lost else says({"id": 40 + len(self.times)}, 201)

    def list(self, request: Received) -> Reply:
        name, _, tag = request.query["constraint"].partition("=")
        assert (name, request.query["all"]) == (SUBMISSION_LABEL, "true")
        if self._clock.elapsed < self._lists_from:
            return says([])
        mine = [job for its_tag, job in self._jobs if its_tag == tag]
        return says([{"id": job, "status": self.status, "labels": {name: tag}} for job in mine])

    def serve(self, fake: FakeService) -> None:
        fake.script("POST", "/jobs", self.post)
        fake.script("GET", "/jobs", self.list)


def test_a_job_is_sent_with_a_fresh_tag_beside_its_own_labels(
    fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("POST", "/jobs", says({"id": 7}, 201), says({"id": 8}, 201))
    assert [client.create_job(JOB).id, client.create_job(JOB).id] == [7, 8]
    sent = [each.json() for each in fake.received]
    tags = [each["labels"].pop(SUBMISSION_LABEL) for each in sent]
    assert sent == [JOB, JOB]
    assert JOB["labels"] == {"study": "one"}
    assert tags[0] != tags[1]
    assert all(re.fullmatch("[0-9a-f]{32}", tag) for tag in tags)
    assert fake.received[0].headers["Content-Type"] == "application/json"


def test_a_given_tag_is_used(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("POST", "/jobs", says({"id": 7}, 201))
    client.create_job({}, submission=Submission("feed"))
    assert tag_of(fake.received[0]) == "feed"


def test_a_job_that_is_too_large_is_not_sent(fake: FakeService, client: ProminenceClient) -> None:
    with pytest.raises(InvalidDescription, match=r"^name = .*, which may have 1048576"):
        client.create_job({"name": "x" * 1024 * 1024})
    assert fake.connections == 0


def test_the_revision_of_the_answer_is_handed_on(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("POST", "/jobs", says({"id": 7}, 201, headers={"Prominence-Revision": "12"}))
    assert client.create_job({}) == (7, 12)


@pytest.mark.parametrize("lost", LOST)
def test_a_job_whose_answer_was_lost_is_found_and_adopted(
    lost: str, fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("POST", "/jobs", LOST[lost])
    fake.script("GET", "/jobs", labelled(7))
    assert client.create_job(JOB).id == 7
    assert fake.sent == [("POST", "/jobs"), ("GET", "/jobs")]
    constraint = f"{SUBMISSION_LABEL}={tag_of(fake.received[0])}"
    assert fake.received[1].query == {"all": "true", "constraint": constraint, "detail": "true"}


def test_a_job_that_shows_late_is_adopted_and_not_sent_again(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    service = Accepting(clock, lost=1, lists_from=100)
    service.serve(fake)
    assert client.create_job(JOB).id == 41
    assert len(posts(fake)) == 1
    assert 100 <= clock.elapsed < SETTLE_REMOTE_S


def test_a_job_is_sent_again_only_after_the_settle_window(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    service = Accepting(clock, lost=1, commits=False)
    service.serve(fake)
    assert client.create_job(JOB).id == 42
    first, second = service.times
    assert SETTLE_REMOTE_S <= second - first < SETTLE_REMOTE_S + 10
    assert len({each.body for each in posts(fake)}) == 1


def test_a_job_that_shows_after_it_was_sent_again_is_reported_with_both_ids(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    service = Accepting(clock, lost=2, lists_from=SETTLE_REMOTE_S + 20)
    service.serve(fake)
    with pytest.raises(DuplicateRun, match="41, 42") as caught:
        client.create_job(JOB, submission=Submission("feed"))
    assert (caught.value.tag, caught.value.ids) == ("feed", (41, 42))


def test_a_submission_that_never_gets_an_answer_ends_as_uncertain(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    service = Accepting(clock, lost=1000, commits=False)
    service.serve(fake)
    with pytest.raises(SubmissionUncertain, match=f"{SUBMISSION_LABEL}=feed"):
        client.create_job(JOB, submission=Submission("feed"))
    assert 1 < len(posts(fake)) < 5
    assert {tag_of(each) for each in posts(fake)} == {"feed"}
    assert clock.elapsed < 3600


def test_a_submission_that_cannot_be_looked_up_is_uncertain(
    fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", page(503))
    with pytest.raises(SubmissionUncertain) as caught:
        client.create_job(JOB, submission=Submission("feed"))
    assert caught.value.tag == "feed"
    assert isinstance(caught.value.__cause__, ServiceUnavailable)
    assert len(posts(fake)) == 1


def test_a_look_up_that_fails_once_is_repeated(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", page(503), RESET, labelled(7))
    assert client.create_job(JOB).id == 7
    assert len(posts(fake)) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refuses("a job must contain tasks"), ServiceError),
        (refuses("Authentication failure", 401), AuthenticationError),
        (refuses("Functionality disabled", 401), FeatureDisabled),
        (refuses("no", 403), PermissionDenied),
        (page(404), WrongService),
        (page(413), ServiceError),
        (refuses("no", 200), ServiceError),
    ],
)
def test_a_refused_job_is_a_typed_error_at_once(
    reply: Reply, kind: type[ServiceError], fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("POST", "/jobs", reply)
    with pytest.raises(ServiceError) as caught:
        client.create_job(JOB)
    assert type(caught.value) is kind
    assert fake.sent == [("POST", "/jobs")]


def test_a_job_that_was_refused_when_it_was_sent_again_is_a_typed_error(
    fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("POST", "/jobs", RESET, refuses("quota"))
    fake.script("GET", "/jobs", says([]))
    with pytest.raises(ServiceError, match="quota"):
        client.create_job(JOB)


@pytest.mark.parametrize("answer", [[], {}, {"id": None}, {"id": "7"}])
def test_a_job_that_was_accepted_without_an_id_is_looked_up(
    answer: object, fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("POST", "/jobs", says(answer, 201))
    fake.script("GET", "/jobs", labelled(7))
    assert client.create_job(JOB).id == 7


def test_a_job_that_certainly_did_not_arrive_is_not_uncertain(token: str, clock: VirtualClock) -> None:
    with (
        FakeService(listening=False) as fake,
        ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client,
        pytest.raises(ServiceUnavailable, match="cannot be reached"),
    ):
        client.create_job(JOB)
    assert clock.elapsed < 60


# ---- a service that takes the tag as a key


@pytest.fixture
def idempotent(fake: FakeService, client: ProminenceClient) -> FakeService:
    """A service that has said so in an answer."""
    fake.script("GET", "/jobs/1", says([], headers=IDEMPOTENT))
    client.describe_job(1)
    fake.received.clear()
    return fake


@pytest.mark.parametrize("lost", LOST)
def test_an_idempotent_service_is_simply_asked_again(
    lost: str, idempotent: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    idempotent.script("POST", "/jobs", LOST[lost], says({"id": 7}, 201, headers=IDEMPOTENT))
    assert client.create_job(JOB).id == 7
    assert idempotent.sent == [("POST", "/jobs")] * 2
    assert len({each.body for each in idempotent.received}) == 1
    assert clock.elapsed < SETTLE_LOCAL_S


def test_an_idempotent_service_that_loses_every_answer_is_not_asked_for_ever(
    idempotent: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    def lose(_: Received) -> Reply:
        clock.advance(20)
        return RESET

    idempotent.script("POST", "/jobs", lose)
    with pytest.raises(SubmissionUncertain):
        client.create_job(JOB)
    assert len({tag_of(each) for each in posts(idempotent)}) == 1
    assert clock.elapsed < 3600


def test_there_are_pauses_between_questions_to_an_idempotent_service(
    idempotent: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    idempotent.script("POST", "/jobs", *[RESET] * 10, says({"id": 7}, 201))
    assert client.create_job(JOB).id == 7
    assert clock.elapsed > 0


def test_a_job_that_was_found_does_not_count_as_followed_from_there(
    fake: FakeService, client: ProminenceClient
) -> None:
    """The job may have ended before it was found; whoever waits for it has to ask."""
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", labelled(7, headers={"Prominence-Revision": "12"}))
    assert client.create_job(JOB) == (7, None)


def test_an_interrupted_submission_is_looked_up_before_it_is_sent_again(
    fake: FakeService, client: ProminenceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    fake.script("POST", "/jobs", says({"id": 7}, 201))
    submission = Submission()
    with monkeypatch.context() as interrupting:
        interrupting.setattr(Transport, "_read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.create_job(JOB, submission=submission)
    assert fake.sent == [("POST", "/jobs")]

    fake.script("GET", "/jobs", labelled(7))
    assert client.create_job(JOB, submission=submission).id == 7
    assert len(posts(fake)) == 1


def test_a_refused_look_up_ends_the_looking(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", refuses("Authentication failure", 401))
    with pytest.raises(SubmissionUncertain, match="cannot be looked up") as caught:
        client.create_job(JOB)
    assert isinstance(caught.value.__cause__, AuthenticationError)
    assert fake.sent == [("POST", "/jobs"), ("GET", "/jobs")]


def test_other_answers_to_a_look_up_do_not(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", page(404), page(400), labelled(7))
    assert client.create_job(JOB).id == 7


def test_a_service_that_asks_to_wait_is_looked_at_later(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("POST", "/jobs", page(503, headers={"Retry-After": "9"}))
    fake.script("GET", "/jobs", labelled(7))
    assert client.create_job(JOB).id == 7
    assert clock.sleeps == [9]


class Embedded:
    """The service on this machine, as the transport sees it."""

    is_embedded = True
    files = None

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    def look_again(self) -> None:
        return


@pytest.fixture
def local_transport(fake: FakeService, token: str, clock: VirtualClock) -> Iterator[Transport]:
    transport = Transport(Embedded(fake.url, token), ssl_verify=True, clock=clock, random=Random(1))
    yield transport
    transport.close()


def test_the_settle_window_of_this_machine_is_short(
    local_transport: Transport, fake: FakeService, clock: VirtualClock
) -> None:
    service = Accepting(clock, lost=1, commits=False)
    service.serve(fake)
    assert submit(local_transport, "/jobs", JOB, Submission("feed")).id == 42
    first, second = service.times
    assert SETTLE_LOCAL_S <= second - first < 10


def test_the_settle_window_is_a_setting(
    fake: FakeService, token: str, clock: VirtualClock, tmp_path: Path
) -> None:
    service = Accepting(clock, lost=1, commits=False)
    service.serve(fake)
    settings = Settings(fake.url, token, LocalSettings(tmp_path), settle_window=30)
    with ProminenceClient(settings=settings, clock=clock, random=Random(1)) as client:
        client.create_job(JOB)
    first, second = service.times
    assert 30 < second - first < 32


# ---- jobs


@pytest.fixture
def job(client: ProminenceClient) -> Iterator[Job]:
    with Session(client=client) as session:
        task = Task(image="busybox", command="true")
        yield Job(session=session, name="x", resources=Resources(cpus=1, memory=1), tasks=[task])


def test_create_again_looks_before_it_sends(fake: FakeService, job: Job) -> None:
    fake.script("POST", "/jobs", RESET)
    fake.script("GET", "/jobs", page(503))
    with pytest.raises(SubmissionUncertain) as caught:
        job.create()
    fake.received.clear()

    fake.script("POST", "/jobs", says({"id": 99}, 201))
    fake.script("GET", "/jobs", labelled(7))
    assert job.create() == 7
    assert fake.received[0].query["constraint"] == f"{SUBMISSION_LABEL}={caught.value.tag}"
    assert posts(fake) == []


def test_create_after_a_refusal_sends_again(fake: FakeService, job: Job) -> None:
    fake.script("POST", "/jobs", refuses("no"), says({"id": 7}, 201))
    with pytest.raises(ServiceError):
        job.create()
    assert job.create() == 7


def test_a_created_job_is_not_created_again(fake: FakeService, job: Job) -> None:
    fake.script("POST", "/jobs", says({"id": 7}, 201))
    job.create()
    with pytest.raises(ProminenceError, match="as 7"):
        job.create()
    assert len(fake.received) == 1


def test_uncertainty_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(SubmissionUncertain("why", "feed", 2)))  # noqa: S301 - made here
    assert (str(error), error.tag, error.sends) == ("why", "feed", 2)
    twice = pickle.loads(pickle.dumps(DuplicateRun("why", (1, 2), "feed")))  # noqa: S301 - made here
    assert (str(twice), twice.ids, twice.tag) == ("why", (1, 2), "feed")
