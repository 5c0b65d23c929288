"""The service as plain as a real one, and as rough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests
from support.service import LocalService, job
from support.until import until

from prominence import Job, Session, Task, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("rough"), cpus=8, memory=64, rough=True) as running:
        yield running


def test_the_same_submission_label_is_another_job(rough: LocalService) -> None:
    description = job("true", labels={"prominencesubmission": "abc123"})

    ids = {rough.request("POST", "/jobs", json=description).json()["id"] for _ in range(3)}

    assert len(ids) == 3
    found = rough.get("/jobs", all="true", constraint="prominencesubmission=abc123").json()
    assert {each["id"] for each in found} == ids
    for each in ids:
        rough.ended(each)


def test_no_answer_has_more_than_the_api_says(rough: LocalService) -> None:
    job_id = rough.post_job("true")
    answers = [rough.get("/jobs"), rough.get(f"/jobs/{job_id}"), rough.get("/resources"), rough.get("/x")]

    assert not [name for answer in answers for name in answer.headers if name.startswith("Prominence-")]
    assert rough.ended(job_id)["status"] == "completed"


@pytest.fixture
def stirred(rough: LocalService) -> Iterator[LocalService]:
    yield rough
    rough.stir()


def listed(service: LocalService, *ids: int) -> list[int]:
    return [each["id"] for each in service.get("/jobs", id=",".join(map(str, ids))).json()]


def test_a_job_is_missing_once_from_answers_with_several(stirred: LocalService) -> None:
    ids = [stirred.post_job("true") for _ in range(3)]
    stirred.stir(missing=1.0)

    assert listed(stirred, ids[0]) == ids[:1]
    assert listed(stirred, *ids) == []
    assert listed(stirred, *ids) == ids


def test_a_running_job_is_called_idle_with_an_end(stirred: LocalService) -> None:
    job_id = stirred.post_job("sleep 60")
    until(lambda: stirred.describe(job_id)["status"] == "running")
    stirred.stir(backward=1.0)

    entry = stirred.describe(job_id)
    stirred.stir()

    assert (entry["status"], "endTime" in entry["events"]) == ("idle", True)
    assert stirred.describe(job_id)["status"] == "running"
    stirred.request("DELETE", f"/jobs/{job_id}")


def test_a_workflows_progress_lags(stirred: LocalService) -> None:
    slow = {**job("sleep 60"), "name": "slow"}
    response = stirred.request("POST", "/workflows", json={"name": "w", "jobs": [slow]})
    path = f"/workflows/{response.json()['id']}"
    stirred.stir(lagging=1.0)
    first = stirred.get(path).json()[0]["progress"]

    stirred.request("DELETE", path)
    told = [stirred.get(path).json()[0]["progress"] for _ in range(5)]
    stirred.stir()

    assert told[:4] == [first] * 4
    assert stirred.get(path).json()[0]["progress"] == told[4]


def test_commands_fail_until_one_has_worked(stirred: LocalService) -> None:
    job_id = stirred.post_job("sleep 60")
    until(lambda: stirred.describe(job_id)["status"] == "running")
    command = f"/jobs/{job_id}/exec?command=true"
    stirred.stir(exec=1.0)

    failed = stirred.request("POST", command)
    stirred.stir()
    worked = stirred.request("POST", command)
    stirred.stir(exec=1.0)

    assert (failed.status_code, failed.json()) == (400, {"error": "Unable to execute command"})
    assert worked.status_code == 200
    assert stirred.request("POST", command).status_code == 200
    stirred.request("DELETE", f"/jobs/{job_id}")


def test_connections_are_closed_without_a_word(stirred: LocalService) -> None:
    stirred.stir(closed=1.0)
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {stirred.endpoint.token}"
        answer = session.get(f"{stirred.endpoint.url}/jobs", stream=True, timeout=10)
        connection = answer.raw._connection.sock
        answer.json()

        assert "Connection" not in answer.headers
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"rates": {"storms": 1}}, "the kinds of turbulence are"),
        ({"rates": {"exec": 2}}, "the rate of exec must be a number from 0 to 1"),
        ({"rates": {}, "seed": "x"}, "the seed must be a whole number"),
        ([], "must be a JSON object"),
    ],
)
def test_turbulence_that_there_is_not_is_refused(rough: LocalService, body: object, reason: str) -> None:
    response = rough.request("PUT", "/local/rough", json=body)

    assert response.status_code == 400
    assert reason in response.json()["error"]


def test_only_a_rough_service_has_turbulence(service: LocalService) -> None:
    assert service.request("PUT", "/local/rough", json={}).status_code == 404


@pytest.mark.parametrize("kind", ["missing", "backward", "lagging", "closed", "exec"])
def test_our_client_survives_each_kind_of_turbulence(stirred: LocalService, kind: str) -> None:
    stirred.stir(seed=1, **{kind: 0.4})
    with Session(stirred.settings()) as session:
        jobs = [
            Job(session=session, tasks=[Task(image="none", command=f"sh -c 'sleep 0.2; exit {code}'")])
            for code in (0, 1, 0, 2)
        ]
        for each in jobs:
            each.create()
        nodes = [Job(name=name, tasks=[Task(image="none", command="true")]) for name in ("a", "b")]
        workflow = Workflow(session=session, name="w", jobs=nodes)
        workflow.create()
        watched = Job(session=session, tasks=[Task(image="none", command="sleep 60")])
        watched.create()
        until(lambda: watched.status == "running")

        assert watched.execute("echo there") == "there\n"
        watched.delete()
        assert [each.wait() for each in jobs] == ["completed"] * 4
        assert [each.exit_codes for each in jobs] == [(0,), (1,), (0,), (2,)]
        assert workflow.wait() == "completed"
        assert watched.wait() == "deleted"
