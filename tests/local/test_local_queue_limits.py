"""Jobs that are not willing to wait for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.until import until

if TYPE_CHECKING:
    from support.service import LocalService


def _blocked(service: LocalService) -> int:
    """A job that occupies the whole service until it is deleted."""
    blocker = service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: service.describe(blocker)["status"] == "running")
    return blocker


def test_a_job_that_waits_too_long_fails_and_others_go_on(own_service: LocalService) -> None:
    running = own_service.post_job("sleep 600", resources={"cpus": 10}, policies={"maximumTimeInQueue": 5})
    until(lambda: own_service.describe(running)["status"] == "running")
    patient = [
        own_service.post_job("true", policies=policies)
        for policies in ({"maximumTimeInQueue": 0}, {"maximumTimeInQueue": -1}, {})
    ]
    job_id = own_service.post_job("true", policies={"maximumTimeInQueue": 5, "maximumRetries": 3})

    ended = own_service.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("failed", "Maximum time queued was exceeded")
    assert "startTime" not in ended["events"]
    assert own_service.describe(running)["status"] == "running"
    assert [own_service.describe(each)["status"] for each in patient] == ["idle"] * 3
    own_service.request("DELETE", f"/jobs/{running}")
    assert [own_service.ended(each)["status"] for each in patient] == ["completed"] * 3


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
