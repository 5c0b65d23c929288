"""A job's output, followed while it is written, and begun anew."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.fake_service import FakeService, Received, Reply, page, says
from support.service import job as described

from prominence import Job, ProminenceClient, Session
from prominence.exceptions import InvalidDescription, NotFound, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.clock import VirtualClock
    from support.service import LocalService

ANEW = "\n[job 7 was started again: its output begins anew]\n"


@pytest.fixture
def session(client: ProminenceClient, clock: VirtualClock) -> Iterator[Session]:
    with Session(client=client, clock=clock, random=Random(1)) as session:
        yield session


class State(NamedTuple):
    """A running job at one moment; ``retries`` is None where the service does not tell it."""

    output: bytes
    status: str = "running"
    start: int | None = 100
    retries: int | None = None


class Writer:
    """A job that is in the next of these states at each request, and stays in the last."""

    def __init__(self, fake: FakeService, *states: State, stream: str = "stdout") -> None:
        self._states = list(states)
        fake.script("GET", "/jobs/7", self._describe)
        fake.script("GET", f"/jobs/7/{stream}", self._read)

    def _next(self) -> State:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    def _describe(self, _: Received) -> Reply:
        state = self._next()
        events = {"createTime": 90} | ({"startTime": state.start} if state.start else {})
        events |= {"endTime": 500} if state.status not in {"idle", "running"} else {}
        execution = {} if state.retries is None else {"retries": state.retries}
        return says([{"id": 7, "status": state.status, "events": events, "execution": execution}])

    def _read(self, request: Received) -> Reply:
        return Reply(body=self._next().output[int(request.query["offset"]) :], content_type="text/html")


def followed(session: Session) -> str:
    return "".join(Job(id=7, session=session).logs(follow=True))


def offsets(fake: FakeService) -> list[int]:
    return [int(each.query["offset"]) for each in fake.received if each.path == "/jobs/7/stdout"]


def test_output_is_read_by_offset_to_the_end(fake: FakeService, session: Session) -> None:
    whole = "".join(f"line {number}\n" for number in range(200)).encode()
    writing = [State(whole[:size]) for size in range(0, len(whole), 100) for _ in range(2)]
    Writer(fake, State(b"", "idle", None), *writing, State(whole, "completed"))

    assert followed(session) == whole.decode()

    assert sorted(offsets(fake)) == offsets(fake)
    assert offsets(fake)[-1] == len(whole) - 64


def test_a_character_that_an_offset_cuts_is_whole(fake: FakeService, session: Session) -> None:
    whole = "aé€😀\n".encode()
    states = [State(whole[:size]) for size in range(len(whole)) for _ in range(2)]
    Writer(fake, *states, State(whole, "completed"))
    assert followed(session) == "aé€😀\n"


def test_a_character_that_is_never_completed_is_told_as_such(fake: FakeService, session: Session) -> None:
    Writer(fake, State("é".encode()[:1], "completed"))
    assert followed(session) == "\ufffd"


def test_a_job_that_waits_first_has_not_begun_anew(fake: FakeService, session: Session) -> None:
    idle = State(b"", "idle", None)
    Writer(fake, idle, idle, idle, State(b"one\n"), State(b"one\n"), State(b"one\n", "completed"))
    assert followed(session) == "one\n"


RESTARTS = {
    "another start": [State(b"first\n"), State(b"sec", start=160), State(b"second\n", "completed", 160)],
    "another start, and the same words": [
        State(b"first\n"),
        State(b"first\n", start=160),
        State(b"first\nsecond\n", "completed", 160),
    ],
    "another try in the same second": [
        State(b"first\n", retries=0),
        State(b"first\n", retries=1),
        State(b"first\nsecond\n", "completed", retries=1),
    ],
    "another try that is told while it waits": [
        State(b"first\n", retries=0),
        State(b"first\n", "idle", retries=1),
        State(b"sec", start=160, retries=1),
        State(b"second\n", "completed", 160, retries=1),
    ],
    "another try that is told while it waits, in the same second": [
        State(b"first\n", retries=0),
        State(b"first\n", "idle", retries=1),
        State(b"first\n", retries=1),
        State(b"first\nsecond\n", "completed", retries=1),
    ],
    "shorter, the same start": [State(b"first\n"), State(b"sec"), State(b"second\n", "completed")],
    "waiting in between with the old output": [
        State(b"first\n"),
        State(b"first\n", "idle"),
        State(b"", "idle"),
        State(b"sec", start=160),
        State(b"second\n", "completed", 160, retries=1),
    ],
}


@pytest.mark.parametrize("states", RESTARTS.values(), ids=RESTARTS.keys())
def test_output_that_begins_anew_is_said_so_once(
    states: list[State], fake: FakeService, session: Session
) -> None:
    first, *middle, last = states
    Writer(fake, *[first] * 3, *(each for each in middle for _ in range(4)), last)
    text = followed(session)
    assert text.startswith("first\n" + ANEW)
    assert text.count(ANEW) == 1
    assert text.split(ANEW)[1] == last.output.decode()


def test_output_that_has_outgrown_the_old_one_is_not_mixed_with_it(
    fake: FakeService, session: Session
) -> None:
    """It was started again, and wrote more than before, between a description and a look at its output."""
    old, new = State(b"a" * 100), State(b"b" * 300, start=160)
    Writer(fake, old, old, old, new, new, new, State(new.output, "completed", 160))
    assert followed(session) == "a" * 100 + ANEW + "b" * 300


def test_a_restart_that_is_told_after_its_output_was_seen_is_said_once(
    fake: FakeService, session: Session
) -> None:
    old, lagging, new = State(b"first\n"), State(b"sec"), State(b"sec", start=160)
    Writer(fake, old, old, old, lagging, lagging, new, new, State(b"second\n", "completed", 160))
    assert followed(session) == f"first\n{ANEW}second\n"


def test_a_number_of_retries_that_is_told_at_the_end_alone_is_no_restart(
    fake: FakeService, session: Session
) -> None:
    second_try = State(b"second\n", start=160)
    Writer(fake, *[second_try] * 5, State(b"second\n", "completed", 160, retries=1))
    assert followed(session) == "second\n"


def test_the_output_of_another_node_and_stream(fake: FakeService, session: Session) -> None:
    Writer(fake, State(b"oops\n", "completed"), stream="stderr")
    assert "".join(Job(id=7, session=session).logs(follow=True, stream="stderr", node=3)) == "oops\n"
    assert {each.query["node"] for each in fake.received if each.path == "/jobs/7/stderr"} == {"3"}


def test_output_so_far_is_read_at_once(fake: FakeService, session: Session) -> None:
    Writer(fake, State(b"so far"))
    assert list(Job(id=7, session=session).logs()) == ["so far"]


@pytest.mark.parametrize("place", [{"node": -1}, {"offset": -1}])
def test_a_negative_place_is_refused(
    place: dict[str, int], fake: FakeService, client: ProminenceClient
) -> None:
    with pytest.raises(InvalidDescription, match=f"{next(iter(place))} = -1: 0 or more"):
        client.read_output(7, "stdout", **place)
    assert fake.received == []


def test_following_a_job_nobody_knows(fake: FakeService, session: Session) -> None:
    fake.script("GET", "/jobs/7", says([]))
    with pytest.raises(NotFound):
        followed(session)


class Outage(Writer):
    """A job whose service does not answer between two moments."""

    def __init__(self, fake: FakeService, clock: VirtualClock, end: float) -> None:
        self._clock = clock
        self._end = end
        super().__init__(fake, State(b"a" * 100), State(b"a" * 100), State(b"a" * 200, "completed"))

    def _describe(self, request: Received) -> Reply:
        return self._unless_away() or super()._describe(request)

    def _read(self, request: Received) -> Reply:
        return self._unless_away() or super()._read(request)

    def _unless_away(self) -> Reply | None:
        self._clock.advance(0.1)
        return page(503) if 0.25 <= self._clock.elapsed < self._end else None


def test_an_outage_is_borne(fake: FakeService, session: Session, clock: VirtualClock) -> None:
    Outage(fake, clock, 1800)
    assert followed(session) == "a" * 200
    assert clock.elapsed >= 1800


def test_an_outage_without_end_is_told(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    Outage(fake, clock, 1e9)
    with (
        Session(client=client, clock=clock, random=Random(1), outage_tolerance=300) as session,
        pytest.raises(ServiceUnavailable),
    ):
        followed(session)
    assert 300 <= clock.elapsed < 500


def test_the_end_of_a_quiet_job_is_heard_of_where_the_service_tells_changes(
    service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_SHORTEST_PAUSE_S", "_LONGEST_PAUSE_S"):
        monkeypatch.setattr(f"prominence.following.{limit}", 3600.0)
    with Session(client=ProminenceClient(service.endpoint.url, service.endpoint.token)) as session:
        job_id = session.client.create_job(described("sh -c 'echo begun; sleep 1'")).id

        assert "".join(Job(id=job_id, session=session).logs(follow=True)) == "begun\n"
