"""Workflows on the local service, driven over HTTP as any client would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
from support.service import job
from support.until import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService

SWEEP: dict[str, Any] = {"name": "f", "type": "parameterSweep", "jobs": ["a"]}
ENDED = {"completed", "failed", "deleted"}


def workflow(jobs: dict[str, str | dict[str, Any]], name: str = "wf", **fields: Any) -> dict[str, Any]:
    """A workflow in the API's JSON, of jobs that are given by a command or by their fields."""
    described = [
        {"name": each, **(job(said) if isinstance(said, str) else job(**said))} for each, said in jobs.items()
    ]
    return {"name": name, "jobs": described, **fields}


def submit(service: LocalService, description: dict[str, Any]) -> int:
    response = service.request("POST", "/workflows", json=description)
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def describe(service: LocalService, workflow_id: int) -> dict[str, Any]:
    found: dict[str, Any] = service.get(f"/workflows/{workflow_id}").json()[0]
    return found


def ended(service: LocalService, workflow_id: int) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        entry = describe(service, workflow_id)
        return entry if entry["status"] in ENDED else None

    return until(look)


def jobs_of(service: LocalService, workflow_id: int, **query: str) -> list[dict[str, Any]]:
    query = {"all": "true", **query}
    found: list[dict[str, Any]] = service.get("/jobs", id=str(workflow_id), workflow="true", **query).json()
    return found


def progress(total: int, done: int, failed: int = 0, queued: int = 0, waiting: int = 0) -> dict[str, int]:
    return {"total": total, "done": done, "failed": failed, "queued": queued, "waiting": waiting}


def test_jobs_run_after_those_they_depend_on(service: LocalService, tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands: dict[str, Any] = {each: f'sh -c "echo {each} >> {log}"' for each in ("a", "b", "c", "d")}
    dependencies = {"d": ["c", "b"], "c": ["a"], "b": ["a"]}

    workflow_id = submit(service, workflow(commands, "diamond", dependencies=dependencies))

    entry = ended(service, workflow_id)
    assert (entry["status"], entry["progress"]) == ("completed", progress(4, 4))
    assert set(entry["events"]) == {"createTime", "startTime", "endTime"}
    assert entry["dependencies"] == dependencies
    order = log.read_text().split()
    assert (order[0], sorted(order[1:3]), order[3]) == ("d", ["b", "c"], "a")
    assert sorted(each["name"] for each in jobs_of(service, workflow_id)) == [
        f"diamond/{each}" for each in "abcd"
    ]


def test_a_failed_job_keeps_its_descendants_from_running_and_nothing_else(service: LocalService) -> None:
    jobs: dict[str, Any] = {"a": "true", "b": "false", "c": "true", "d": "true", "e": "true"}
    dependencies = {"a": ["b", "e"], "b": ["c"], "c": ["d"]}

    workflow_id = submit(service, workflow(jobs, "partly", dependencies=dependencies))

    entry = ended(service, workflow_id)
    assert (entry["status"], entry["progress"]) == ("failed", progress(5, 2, failed=1))
    assert entry["statusReason"] == "1 of 5 jobs failed, 2 were not run"
    found = {each["name"]: each["status"] for each in jobs_of(service, workflow_id)}
    assert found == {"partly/a": "completed", "partly/b": "completed", "partly/e": "completed"}


def test_names_in_dependencies_match_whole_names(service: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs: dict[str, Any] = {
        "a": "true",
        "ab": f'sh -c "until test -e {gate}; do sleep 0.05; done"',
        "c": "true",
    }

    workflow_id = submit(service, workflow(jobs, dependencies={"a": ["c"]}))

    until(lambda: describe(service, workflow_id)["progress"] == progress(3, 2, queued=1))
    gate.touch()
    assert ended(service, workflow_id)["status"] == "completed"


def test_a_job_whose_task_failure_is_to_be_reported_as_success(service: LocalService) -> None:
    jobs = {"a": {"command": "false", "policies": {"reportJobSuccessOnTaskFailure": True}}, "b": "true"}

    workflow_id = submit(service, workflow(jobs, dependencies={"a": ["b"]}))

    entry = ended(service, workflow_id)
    assert (entry["status"], entry["progress"]) == ("completed", progress(2, 2))


def sweep(*parameters: tuple[str, float, float, float]) -> dict[str, Any]:
    described = [{"name": n, "start": start, "end": end, "step": step} for n, start, end, step in parameters]
    return {"name": "f", "type": "parameterSweep", "jobs": ["s"], "parameters": described}


def outputs(service: LocalService, workflow_id: int) -> dict[str, str]:
    assert ended(service, workflow_id)["status"] == "completed"
    return {each["name"]: service.output(each["id"]) for each in jobs_of(service, workflow_id)}


def test_a_sweep_runs_every_combination(service: LocalService) -> None:
    jobs: dict[str, Any] = {"s": "echo $v ${w}x $$v $v_w", "g": "true"}
    factory = sweep(("v", 0, 1, 0.5), ("w", 10, 20, 10))

    workflow_id = submit(service, workflow(jobs, "sw", factories=[factory], dependencies={"s": ["g"]}))

    texts = outputs(service, workflow_id)
    assert texts.pop("sw/g") == ""
    assert texts == {
        f"sw/s/{number}": f"{v} {w}x $v $v_w\n"
        for number, (v, w) in enumerate((v, w) for v in ("0", "0.5", "1") for w in ("10", "20"))
    }
    parameters = {each["name"]: each.get("parameters") for each in jobs_of(service, workflow_id)}
    assert parameters["sw/s/3"] == {"v": 0.5, "w": 20}
    assert parameters["sw/g"] is None


def test_a_zip_fills_in_commands_outputs_and_the_environment(service: LocalService) -> None:
    script = "sh -c 'echo $x-$y > out_$x; echo $$PROMINENCE_PARAMETER_y $$PROMINENCE_WORKFLOW_ID'"
    jobs = {"z": {"command": script, "outputFiles": ["out_$x"], "labels": {"kind": "zip"}}}
    parameters = [{"name": "x", "values": [1, 2.5, "three"]}, {"name": "y", "values": ["a", "b c", "$x $$y"]}]
    factory = {"name": "f", "type": "zip", "jobs": ["z"], "parameters": parameters}

    workflow_id = submit(service, workflow(jobs, "zips", factories=[factory], labels={"proj": "p1"}))

    assert outputs(service, workflow_id) == {
        "zips/z/0": f"a {workflow_id}\n",
        "zips/z/1": f"b c {workflow_id}\n",
        "zips/z/2": f"$x $$y {workflow_id}\n",
    }
    for each in jobs_of(service, workflow_id, detail="true"):
        (output,) = each["outputFiles"]
        assert output["name"] == "out_$x"
        assert each["labels"] == {"kind": "zip"}
        assert output["size"] == len(requests.get(output["url"], timeout=10).content)


def test_each_instance_gets_its_own_artifact(service: LocalService) -> None:
    for name in ("one", "two"):
        url = service.request("POST", f"/data?name=part_{name}.txt").json()["url"]
        requests.put(url, data=f"this is {name}", timeout=10)
    jobs = {"z": {"command": "cat part_$x.txt", "artifacts": [{"url": "part_$x.txt"}]}}
    parameters = [{"name": "x", "values": ["one", "two"]}]
    factory = {"name": "f", "type": "zip", "jobs": ["z"], "parameters": parameters}

    workflow_id = submit(service, workflow(jobs, "parts", factories=[factory]))

    assert outputs(service, workflow_id) == {"parts/z/0": "this is one", "parts/z/1": "this is two"}


def test_a_value_that_leaves_a_quote_open_is_told_by_its_job(service: LocalService) -> None:
    parameters = [{"name": "x", "values": ["fine", '"']}]
    factory = {"name": "f", "type": "zip", "jobs": ["z"], "parameters": parameters}

    workflow_id = submit(service, workflow({"z": "echo $x"}, "quotes", factories=[factory]))

    assert ended(service, workflow_id)["progress"] == progress(2, 1, failed=1)
    (failed,) = [each for each in jobs_of(service, workflow_id) if each["name"] == "quotes/z/1"]
    assert "cannot be split into words" in service.output(failed["id"], "stderr")


def test_copies_have_no_parameters_but_names_of_their_own(service: LocalService) -> None:
    factory = {"name": "f", "type": "repeat", "jobs": ["r"], "number": 3}

    workflow_id = submit(service, workflow({"r": "env"}, "rep", factories=[factory]))

    assert ended(service, workflow_id)["progress"] == progress(3, 3)
    found = jobs_of(service, workflow_id)
    assert sorted(each["name"] for each in found) == ["rep/r/0", "rep/r/1", "rep/r/2"]
    assert [each["parameters"] for each in found] == [{}, {}, {}]
    assert "PROMINENCE_PARAMETER" not in service.output(found[0]["id"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"jobs": None}, "jobs must be a list"),
        ({"foo": 1}, 'invalid item "foo" in workflow description'),
        ({"name": "with blank"}, "Workflow submission failed: a workflow needs a name, without blanks"),
        ({"name": ""}, "Workflow submission failed: a workflow needs a name, without blanks"),
        ({"dependencies": {"a": ["zz"]}}, 'child job "zz" is not actually defined'),
        ({"dependencies": {"zz": ["a"]}}, 'parent job "zz" is not actually defined'),
        ({"dependencies": {"a": ["b"], "b": ["a"]}}, "dependencies form a cycle: "),
        ({"dependencies": {"a": ["a"]}}, "dependencies form a cycle: a -> a"),
        ({"factories": [{"name": "f", "type": "x", "jobs": ["a"]}]}, "invalid factory type"),
        (
            {"factories": [{"name": "f", "type": "repeat", "jobs": ["a"], "number": 10**6}]},
            "the workflow would have 1000001 jobs, at most 100000 are possible",
        ),
        (
            {"factories": [{"name": n, "type": "repeat", "jobs": ["a"], "number": 2} for n in "fg"]},
            'job "a" is in two factories (f and g): its jobs would have equal names',
        ),
        ({"jobs": [{"name": "a", **job("")}]}, "job a: "),
        (
            {
                "factories": [
                    {
                        **SWEEP,
                        "parameters": [{"name": "v", "start": 10**400, "end": 10**400 + 1, "step": 0.3}],
                    }
                ]
            },
            "factory f has values that are too large: ",
        ),
        (
            {
                "factories": [
                    {**SWEEP, "parameters": [{"name": "v", "start": 0, "end": 1e300, "step": 1e-300}]}
                ]
            },
            "the workflow would have far too many jobs",
        ),
    ],
)
def test_what_can_never_run_is_refused_with_a_reason(
    service: LocalService, changes: dict[str, Any], reason: str
) -> None:
    before = service.get("/workflows", all="true").json()

    refused = service.request("POST", "/workflows", json={**workflow({"a": "true", "b": "true"}), **changes})

    assert (refused.status_code, refused.json()["error"][: len(reason)]) == (400, reason)
    assert service.get("/workflows", all="true").json() == before


@pytest.mark.parametrize("path", ["/jobs", "/workflows"])
@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_what_only_python_takes_for_a_number_is_refused(service: LocalService, path: str, name: str) -> None:
    refused = service.request("POST", path, data=f'{{"name": [{name}]}}')

    assert refused.status_code == 400
    assert refused.json() == {"error": f"the request is not JSON: {name} is no number"}


def test_a_failed_job_is_tried_again_as_a_job_of_its_own(service: LocalService, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f'sh -c "test -e {seen} && exit 0; touch {seen}; exit 3"'
    policies = {"maximumRetries": 2}

    workflow_id = submit(service, workflow({"a": script, "b": "true"}, "tries", policies=policies))

    assert ended(service, workflow_id)["progress"] == progress(2, 2)
    codes = [
        each["execution"]["tasks"][0]["exitCode"]
        for each in jobs_of(service, workflow_id, detail="true")
        if each["name"] == "tries/a"
    ]
    assert sorted(codes) == [0, 3]


def test_tries_of_a_job_come_to_an_end(service: LocalService) -> None:
    workflow_id = submit(service, workflow({"a": "false"}, policies={"maximumRetries": 2}))

    entry = ended(service, workflow_id)
    assert (entry["status"], entry["progress"]) == ("failed", progress(1, 0, failed=1))
    assert len(jobs_of(service, workflow_id)) == 3


def test_what_failed_is_run_again_by_itself_when_nothing_else_can_go_on(
    service: LocalService, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    script = f'sh -c "echo x >> {count}; test $$(wc -l < {count}) -eq 3"'
    jobs: dict[str, Any] = {"a": "true", "b": script, "c": "true"}

    workflow_id = submit(service, workflow(jobs, dependencies={"b": ["c"]}, policies={"maximumReruns": 2}))

    assert ended(service, workflow_id)["progress"] == progress(3, 3)
    assert len(jobs_of(service, workflow_id)) == 5


def test_a_rerun_keeps_what_succeeded(service: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs: dict[str, Any] = {"a": "echo kept", "s": f'sh -c "test $v = 0 || test -e {gate}"', "z": "echo last"}
    description = workflow(
        jobs,
        "again",
        dependencies={"a": ["s"], "s": ["z"]},
        factories=[sweep(("v", 0, 2, 1))],
        labels={"proj": "again"},
    )
    first = submit(service, description)
    assert ended(service, first)["progress"] == progress(5, 2, failed=2)
    gate.touch()

    rerun = service.request("PUT", f"/workflows/{first}")
    second = rerun.json()["id"]

    entry = ended(service, second)
    assert (rerun.status_code, entry["progress"], entry["labels"]) == (200, progress(5, 5), {"proj": "again"})
    names = sorted(each["name"] for each in jobs_of(service, second))
    assert names == ["again/s/1", "again/s/2", "again/z"]
    assert service.get(f"/workflows/{second}/a/stdout").text == "kept\n"
    assert describe(service, first)["status"] == "failed"
    refused = service.request("PUT", f"/workflows/{second}")
    assert (refused.status_code, refused.json()) == (400, {"error": "Workflow resubmission failed"})


def test_a_rerun_of_a_rerun_keeps_what_both_have_done(service: LocalService, tmp_path: Path) -> None:
    gates = [tmp_path / "0", tmp_path / "1"]
    jobs: dict[str, Any] = {each: f'sh -c "test -e {gate}"' for each, gate in zip("ab", gates, strict=True)}
    chain = {"a": ["b"], "b": ["c"]}
    workflow_id = submit(service, workflow({**jobs, "c": "true"}, "chain", dependencies=chain))
    for gate in gates:
        assert ended(service, workflow_id)["status"] == "failed"
        gate.touch()
        workflow_id = int(service.request("PUT", f"/workflows/{workflow_id}").json()["id"])

    assert ended(service, workflow_id)["progress"] == progress(3, 3)
    assert [each["name"] for each in jobs_of(service, workflow_id)] == ["chain/b", "chain/c"]


def test_a_clone_is_the_same_anew_without_the_submission_label(service: LocalService) -> None:
    labels = {"proj": "cloned", "prominencesubmission": "77"}
    first = submit(service, workflow({"a": "true"}, "clone", labels=labels))
    ended(service, first)

    response = service.request("PUT", f"/workflows/{first}/clone")

    second = response.json()["id"]
    assert response.status_code == 201
    assert ended(service, second)["labels"] == {"proj": "cloned"}
    assert [each["name"] for each in jobs_of(service, second)] == ["clone/a"]
    by_tag = service.get("/workflows", all="true", constraint="prominencesubmission=77").json()
    assert [each["id"] for each in by_tag] == [first]


def test_the_same_submission_label_is_the_same_workflow(service: LocalService) -> None:
    description = workflow({"a": "true"}, labels={"prominencesubmission": "88"})

    ids = {submit(service, description) for _ in range(3)}

    assert len(ids) == 1
    assert ended(service, ids.pop())["progress"] == progress(1, 1)


def test_deleting_ends_the_jobs_and_makes_no_more(service: LocalService) -> None:
    jobs: dict[str, Any] = {"a": "sleep 600", "b": "true"}
    workflow_id = submit(service, workflow(jobs, dependencies={"a": ["b"]}))
    until(lambda: describe(service, workflow_id)["status"] == "running")

    assert service.request("DELETE", f"/workflows/{workflow_id}").json() == {}

    entry = describe(service, workflow_id)
    assert (entry["status"], entry["statusReason"]) == ("deleted", "Workflow deleted by user")
    assert entry["progress"] == progress(2, 0, failed=1, waiting=1)
    (job_entry,) = jobs_of(service, workflow_id)
    assert (job_entry["status"], job_entry["statusReason"]) == (
        "deleted",
        "Job part of a workflow which was deleted by user",
    )
    assert "endTime" in service.ended(job_entry["id"])["events"] or until(
        lambda: "endTime" in service.describe(job_entry["id"])["events"]
    )
    again = service.request("DELETE", f"/workflows/{workflow_id}")
    assert (again.status_code, again.json()) == (400, {"error": "No such workflow(s)"})


def test_a_deleted_workflow_can_be_run_again(service: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs: dict[str, Any] = {"a": "true", "b": f'sh -c "test -e {gate} || sleep 600"', "c": "true"}
    workflow_id = submit(service, workflow(jobs, dependencies={"a": ["b"], "b": ["c"]}))
    until(lambda: describe(service, workflow_id)["progress"]["done"] == 1)
    service.request("DELETE", f"/workflows/{workflow_id}")
    gate.touch()

    rerun = service.request("PUT", f"/workflows/{workflow_id}").json()["id"]

    assert ended(service, rerun)["progress"] == progress(3, 3)
    assert len(jobs_of(service, rerun)) == 2


def test_a_deleted_job_counts_as_failed_and_is_not_tried_again(service: LocalService) -> None:
    jobs: dict[str, Any] = {"a": "sleep 600", "b": "true"}
    workflow_id = submit(service, workflow(jobs, dependencies={"a": ["b"]}, policies={"maximumRetries": 3}))
    (job_entry,) = until(lambda: jobs_of(service, workflow_id))

    service.request("DELETE", f"/jobs/{job_entry['id']}")

    assert ended(service, workflow_id)["progress"] == progress(2, 0, failed=1)
    assert len(jobs_of(service, workflow_id)) == 1


def test_one_that_stays_in_the_queue_until_it_is_removed(service: LocalService) -> None:
    workflow_id = submit(service, workflow({"a": "true"}, policies={"leaveInQueue": True}))
    ended(service, workflow_id)

    def listed() -> bool:
        return workflow_id in [each["id"] for each in service.get("/workflows").json()]

    assert listed()
    assert service.request("PUT", f"/workflows/{workflow_id}/remove").json() == {}
    assert not listed()
    again = service.request("PUT", f"/workflows/{workflow_id}/remove")
    assert (again.status_code, again.json()) == (400, {"error": "Workflow is no longer in the queue"})


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("DELETE", "/workflows/999999", "No such workflow(s)"),
        ("DELETE", "/workflows", "a workflow id or list of workflow ids must be provided"),
        ("PUT", "/workflows/999999/clone", "Workflow does not exist"),
        ("PUT", "/workflows/999999/remove", "Workflow does not exist"),
        ("GET", "/workflows/999999/a/stdout", "Workflow does not exist"),
        (
            "PUT",
            "/workflows/999999",
            "Unable to find re-run workflow as the original workflow is not in a suitable state",
        ),
    ],
)
def test_an_unknown_workflow(service: LocalService, method: str, path: str, reason: str) -> None:
    response = service.request(method, path)

    assert (response.status_code, response.json()) == (400, {"error": reason})
    assert service.get("/workflows/999999").json() == []


def test_output_by_the_names_of_jobs(service: LocalService) -> None:
    jobs: dict[str, Any] = {"plain": "echo plain", "s": "echo $v"}
    workflow_id = submit(service, workflow(jobs, factories=[sweep(("v", 3, 4, 1))]))
    ended(service, workflow_id)

    def text(path: str) -> str:
        return service.get(f"/workflows/{workflow_id}/{path}").text

    assert (text("plain/stdout"), text("s/1/stdout"), text("plain/stderr")) == ("plain\n", "4\n", "")
    missing = service.get(f"/workflows/{workflow_id}/s/7/stdout")
    assert (missing.status_code, missing.json()) == (400, {"error": "Job does not exist"})
    assert service.get(f"/workflows/{workflow_id}/plain/nonsense").status_code == 404


def test_listings(service: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f'sh -c "until test -e {gate}; do sleep 0.05; done"'
    jobs: dict[str, Any] = {"a": "true", "b": script}
    description = workflow(jobs, "listed", labels={"proj": "listed"}, dependencies={"a": ["b"]})
    workflow_id = submit(service, description)
    until(lambda: describe(service, workflow_id)["progress"] == progress(2, 1, queued=1))

    def ids(path: str, **query: str) -> list[int]:
        return [each["id"] for each in service.get(path, **query).json()]

    assert workflow_id in ids("/workflows")
    assert workflow_id in ids("/workflows", status="running")
    assert workflow_id not in ids("/workflows", status="idle")
    assert ids("/workflows", name="listed") == [workflow_id]
    assert ids("/workflows", constraint="proj=listed") == [workflow_id]
    assert ids("/workflows", id=f"999999,{workflow_id}") == [workflow_id]
    assert ids("/jobs", id=str(workflow_id)) == []
    assert ids("/jobs", all="true", constraint="proj=listed") == []
    (running,) = service.get("/jobs", id=str(workflow_id), workflow="true").json()
    assert running["name"] == "listed/b"
    assert len(jobs_of(service, workflow_id)) == 2
    (entry,) = service.get("/workflows", id=str(workflow_id)).json()
    assert set(entry) == {"id", "name", "status", "events", "progress"}
    (entry,) = service.get("/workflows", id=str(workflow_id), detail="true").json()
    assert entry["jobs"] == description["jobs"]
    gate.touch()
    ended(service, workflow_id)
    assert ids("/workflows", completed="true") == [workflow_id]


def test_a_workflow_without_jobs_is_complete(service: LocalService) -> None:
    empty = {"name": "f", "type": "zip", "jobs": ["a"], "parameters": [{"name": "x", "values": []}]}
    nothing = submit(service, workflow({}))
    no_values = submit(
        service, workflow({"a": "true", "b": "true"}, factories=[empty], dependencies={"a": ["b"]})
    )

    assert ended(service, nothing)["progress"] == progress(0, 0)
    assert ended(service, no_values)["progress"] == progress(1, 1)


def test_changes_are_told_to_those_who_wait_for_them(service: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f'sh -c "until test -e {gate}; do sleep 0.05; done"'
    response = service.request("POST", "/workflows", json=workflow({"a": script}, "told"))
    workflow_id, since = response.json()["id"], response.headers["Prominence-Revision"]
    seen = []
    while not seen or seen[-1]["status"] not in ENDED:
        answer = service.get("/workflows", since=since, wait="30")
        since = answer.headers["Prominence-Revision"]
        changed = [each for each in answer.json() if each["id"] == workflow_id]
        if changed and not seen:
            gate.touch()
        seen += changed

    assert [each["status"] for each in seen][-2:] == ["running", "completed"]
    assert seen[-1]["progress"] == progress(1, 1)
    assert service.get("/workflows", since=since, wait="0.05").json() == []


def test_a_long_listing_has_everything_once(own_service: LocalService) -> None:
    blocker = own_service.post_job("sleep 600", resources={"cpus": 10})
    factory = {"name": "f", "type": "repeat", "jobs": ["r"], "number": 1200}
    workflow_id = submit(
        own_service, workflow({"r": {"command": "true", "labels": {"n": "1"}}}, factories=[factory])
    )
    until(lambda: len(jobs_of(own_service, workflow_id)) == 1200)

    answer = own_service.get("/jobs", detail="true")

    assert [each["id"] for each in answer.json()] == [blocker, *range(workflow_id + 1, workflow_id + 1201)]
    assert answer.json()[-1]["labels"] == {"n": "1"}
    assert int(answer.headers["Prominence-Revision"]) > 1200
    own_service.request("DELETE", f"/workflows/{workflow_id}")
    assert [each["id"] for each in own_service.get("/jobs").json()] == [blocker]
