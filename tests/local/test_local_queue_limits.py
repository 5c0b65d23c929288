"""Jobs that are not willing to wait for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.until import until

if TYPE_CHECKING:
    from support.service import LocalService


def _blocked(service: LocalService) -> int:
    """A job that occupies the whole service until it is deleted."""
    blocker = service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: service.describe(blocker)["status"] == "running")
    return blocker


def test_a_job_that_waits_too_long_fails(own_service: LocalService) -> None:
    _blocked(own_service)
    job_id = own_service.post_job("true", policies={"maximumTimeInQueue": 1, "maximumRetries": 3})

    ended = own_service.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("failed", "Maximum time queued was exceeded")
    assert "startTime" not in ended["events"]
    assert ended["events"]["endTime"] >= ended["events"]["createTime"]


@pytest.mark.parametrize("limit", [0, -1, None])
def test_other_jobs_wait(own_service: LocalService, limit: int | None) -> None:
    blocker = _blocked(own_service)
    policies = {} if limit is None else {"maximumTimeInQueue": limit}
    job_id = own_service.post_job("true", policies=policies)
    own_service.ended(own_service.post_job("true", policies={"maximumTimeInQueue": 1}))

    assert own_service.describe(job_id)["status"] == "idle"
    own_service.request("DELETE", f"/jobs/{blocker}")
    assert own_service.ended(job_id)["status"] == "completed"


def test_a_job_that_runs_waits_no_more(own_service: LocalService) -> None:
    limit = {"maximumTimeInQueue": 3}
    running = own_service.post_job("sleep 600", resources={"cpus": 10}, policies=limit)
    until(lambda: own_service.describe(running)["status"] == "running")

    own_service.ended(own_service.post_job("true", policies=limit))

    assert own_service.describe(running)["status"] == "running"


def test_time_in_the_queue_goes_on_without_a_service(own_service: LocalService) -> None:
    blocker = _blocked(own_service)
    job_id = own_service.post_job("true", policies={"maximumTimeInQueue": 2})
    own_service.kill()
    own_service.start()

    assert own_service.ended(job_id)["statusReason"] == "Maximum time queued was exceeded"
    assert own_service.describe(blocker)["status"] == "running"


def test_a_job_of_a_workflow_that_waits_too_long_fails_it(own_service: LocalService) -> None:
    _blocked(own_service)
    task = {"image": "none", "runtime": "singularity", "cmd": "true"}
    job = {
        "name": "late",
        "resources": {"cpus": 1, "memory": 1, "disk": 1},
        "tasks": [task],
        "policies": {"maximumTimeInQueue": 1},
    }
    answer = own_service.request("POST", "/workflows", json={"name": "w", "jobs": [job]})
    workflow = answer.json()["id"]

    def ended() -> bool:
        return bool(own_service.get(f"/workflows/{workflow}").json()[0]["status"] == "failed")

    until(ended)
    (late,) = own_service.get("/jobs", id=str(workflow), workflow="true", all="true").json()
    assert late["statusReason"] == "Maximum time queued was exceeded"
