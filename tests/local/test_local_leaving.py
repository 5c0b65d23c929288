"""Jobs that stay in the queue after their end, jobs that are cloned, and what they all have used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.service import LocalService

KEPT = {"policies": {"leaveInQueue": True}}


def active(service: LocalService) -> list[int]:
    return [each["id"] for each in service.get("/jobs").json()]


def test_a_job_that_is_left_in_the_queue_stays_there_until_it_is_removed(service: LocalService) -> None:
    job_id = service.post_job("true", **KEPT)
    service.ended(job_id)
    listed = active(service)

    removed = service.request("PUT", f"/jobs/{job_id}/remove")
    again = service.request("PUT", f"/jobs/{job_id}/remove")

    assert job_id in listed
    assert (removed.status_code, removed.json()) == (200, {})
    assert (again.status_code, again.json()) == (400, {"error": "Job is no longer in the queue"})
    assert job_id not in active(service)
    assert service.describe(job_id)["status"] == "completed"


def test_a_job_that_is_removed_while_it_runs_leaves_the_queue_at_its_end(service: LocalService) -> None:
    job_id = service.post_job("sleep 0.2", **KEPT)

    assert service.request("PUT", f"/jobs/{job_id}/remove").status_code == 200

    assert service.ended(job_id)["status"] == "completed"
    assert job_id not in active(service)


def test_deleting_an_ended_job_in_the_queue_only_changes_what_it_is_called(service: LocalService) -> None:
    job_id = service.post_job("true", **KEPT)
    before = service.ended(job_id)

    deleted = service.request("DELETE", f"/jobs/{job_id}")
    again = service.request("DELETE", f"/jobs/{job_id}")

    assert (deleted.status_code, again.status_code) == (200, 400)
    expected = {**before, "status": "deleted", "statusReason": "Job deleted by user"}
    assert service.describe(job_id) == expected
    assert service.request("PUT", f"/jobs/{job_id}/remove").status_code == 200


def test_an_ended_job_that_was_not_to_stay_cannot_be_removed(service: LocalService) -> None:
    job_id = service.post_job("true")
    service.ended(job_id)

    ended = service.request("PUT", f"/jobs/{job_id}/remove")
    unknown = service.request("PUT", "/jobs/999999/remove")

    assert (ended.status_code, ended.json()) == (400, {"error": "Job is no longer in the queue"})
    assert (unknown.status_code, unknown.json()) == (400, {"error": "Job does not exist"})


def test_a_clone_runs_the_same_and_is_not_taken_for_the_original(service: LocalService) -> None:
    fields: dict[str, Any] = {
        "labels": {"app": "cloned", "prominencesubmission": "a1b2"},
        "inputs": [{"filename": "in.txt", "content": "aGVsbG8="}],
        "outputFiles": ["in.txt"],
    }
    original = service.post_job("cat in.txt", name="sheep", **fields)

    response = service.request("PUT", f"/jobs/{original}/clone")
    clone = response.json()["id"]
    ended = service.ended(clone)

    assert (response.status_code, clone > original) == (201, True)
    assert service.output(clone) == "hello"
    assert ended["name"] == "sheep"
    assert ended["labels"] == {"app": "cloned"}
    looked_up = service.get("/jobs", all="true", constraint="prominencesubmission=a1b2").json()
    assert [each["id"] for each in looked_up] == [original]


def test_a_clone_of_nothing_is_refused(service: LocalService) -> None:
    response = service.request("PUT", "/jobs/999999/clone")

    assert (response.status_code, response.json()) == (400, {"error": "Job does not exist"})


def today(days: int = 0) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def test_accounting_adds_up_what_jobs_used(own_service: LocalService) -> None:
    burn = "python3 -c 'import time\nwhile time.process_time() < 0.2: pass'"
    first = own_service.ended(own_service.post_job(burn, resources={"cpus": 2}))
    second = own_service.ended(own_service.post_job("true"))
    (burnt,), (idle,) = (each["execution"]["tasks"] for each in (first, second))

    usage = own_service.get("/accounting", start=today(-1), end=today()).json()["usage"]
    (figures,) = usage["users"].values()

    assert figures["numberOfJobs"] == 2
    assert figures["cpuTime"] * 3600 == pytest.approx(burnt["cpuTimeUsage"] + idle["cpuTimeUsage"])
    assert figures["wallTime"] * 3600 == pytest.approx(2 * burnt["wallTimeUsage"] + idle["wallTimeUsage"])
    assert usage["groups"] == {}


def test_accounting_is_for_a_span_of_days_and_by_group_if_asked(own_service: LocalService) -> None:
    own_service.ended(own_service.post_job("true"))

    before = own_service.get("/accounting", start="2001-01-01", end="2001-12-31").json()["usage"]
    for_ever = own_service.get("/accounting", start=today(-1), end="9999-12-31").json()["usage"]
    by_group = own_service.get("/accounting", start=today(-1), end=today(1), by_group="true").json()["usage"]

    assert before == {"users": {}, "groups": {}}
    assert [each["numberOfJobs"] for each in for_ever["users"].values()] == [1]
    assert by_group["users"] == {}
    assert [each["numberOfJobs"] for each in by_group["groups"].values()] == [1]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "Start date must be provided"),
        ({"start": "2026-01-01"}, "End date must be provided"),
        ({"start": "yesterday", "end": "2026-01-01"}, "Start date must have the form YYYY-MM-DD"),
    ],
)
def test_accounting_needs_two_dates(service: LocalService, query: dict[str, str], reason: str) -> None:
    response = service.get("/accounting", **query)

    assert (response.status_code, response.json()) == (400, {"error": reason})
