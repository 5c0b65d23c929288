"""Jobs on the local service, driven over HTTP as any client would."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from support.service import is_alive, job, shell
from support.until import until

if TYPE_CHECKING:
    from support.service import LocalService


def test_a_job_runs_and_tells_what_it_used(service: LocalService) -> None:
    job_id = service.post_job(shell("echo out; echo err >&2"), name="hello", labels={"app": "demo"})

    ended = service.ended(job_id)

    assert ended["status"] == "completed"
    assert ended["name"] == "hello"
    assert ended["labels"] == {"app": "demo"}
    assert set(ended["events"]) == {"createTime", "startTime", "endTime"}
    (task,) = ended["execution"]["tasks"]
    assert task["exitCode"] == 0
    assert task["retries"] == 0
    assert task["wallTimeUsage"] > 0
    assert task["cpuTimeUsage"] > 0
    assert task["maxResidentSetSizeKB"] > 0
    assert ended["execution"]["provisionedResources"] == {"cpus": 1, "memory": 1, "disk": 1, "nodes": 1}
    assert "host" in ended["execution"]["runtimeVersion"]
    assert service.output(job_id) == "out\n"
    assert service.output(job_id, "stderr") == "err\n"


@pytest.mark.parametrize(
    ("command", "task", "code", "complaint"),
    [
        (shell("exit 3"), {}, 3, ""),
        ("no-such-command", {}, 255, "no-such-command: command not found"),
        ("true", {"workdir": "nowhere"}, 255, "nowhere does not exist"),
        (shell("kill -9 $$"), {}, -9, ""),
    ],
)
def test_a_task_that_fails_leaves_the_job_completed(
    service: LocalService, command: str, task: dict[str, str], code: int, complaint: str
) -> None:
    job_id = service.post_job(command, task=task)

    ended = service.ended(job_id)

    assert (ended["status"], ended["execution"]["tasks"][0]["exitCode"]) == ("completed", code)
    assert "statusReason" not in ended
    assert complaint in service.output(job_id, "stderr")


def _job_of(*commands: str, **fields: object) -> dict[str, object]:
    description = job("true", **fields)
    description["tasks"] = [{"image": "none", "runtime": "singularity", "cmd": each} for each in commands]
    return description


def _post(service: LocalService, description: dict[str, object]) -> int:
    return int(service.request("POST", "/jobs", json=description).json()["id"])


def test_tasks_run_in_turn_until_one_fails(service: LocalService) -> None:
    job_id = _post(service, _job_of("echo one", "false", "echo three"))

    ended = service.ended(job_id)

    assert [task["exitCode"] for task in ended["execution"]["tasks"]] == [0, 1]
    assert service.output(job_id) == "one\n"


def test_all_tasks_run_when_failures_are_ignored(service: LocalService) -> None:
    job_id = _post(service, _job_of("false", "echo two", policies={"ignoreTaskFailures": True}))

    ended = service.ended(job_id)

    assert [task["exitCode"] for task in ended["execution"]["tasks"]] == [1, 0]
    assert service.output(job_id) == "two\n"


def test_a_failing_task_is_tried_again_in_place(service: LocalService) -> None:
    script = shell("echo try; test -e seen && exit 0; touch seen; exit 1")
    job_id = service.post_job(script, policies={"maximumTaskRetries": 3})

    (task,) = service.ended(job_id)["execution"]["tasks"]

    assert (task["exitCode"], task["retries"]) == (0, 1)
    assert service.output(job_id) == "try\ntry\n"


def test_a_failing_job_is_tried_again_with_empty_output(service: LocalService, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    job_id = service.post_job(
        shell(f"echo run >> {runs}; wc -l < {runs}; exit 1"), policies={"maximumRetries": 2}
    )

    ended = service.ended(job_id)

    assert runs.read_text().count("run") == 3
    assert ended["execution"]["retries"] == 2
    assert ended["execution"]["tasks"][0]["exitCode"] == 1
    assert service.output(job_id).split() == ["3"]


def test_the_environment_is_the_jobs_own(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "yes")
    env = {"DATA": "/home/user/data:/home/user", "OTHER": "/home/username"}
    job_id = service.post_job("env", task={"env": env})
    service.ended(job_id)

    seen = dict(line.split("=", 1) for line in service.output(job_id).splitlines())

    home = seen["HOME"]
    assert "LEAKED" not in seen
    assert seen["DATA"] == f"{home}/data:{home}"
    assert seen["OTHER"] == "/home/username"
    assert seen["PROMINENCE_JOB_ID"] == str(job_id)
    assert seen["PROMINENCE_URL"] == service.endpoint.url
    assert (seen["PROMINENCE_CPUS"], seen["PROMINENCE_MEMORY"], seen["PROMINENCE_TASK_NUM"]) == (
        "1",
        "1",
        "0",
    )
    assert seen["TMPDIR"] == seen["TMP"] == seen["TEMP"]
    assert requests.get(
        f"{seen['PROMINENCE_URL']}/jobs/{job_id}",
        headers={"Authorization": f"Bearer {seen['PROMINENCE_TOKEN']}"},
        timeout=10,
    ).ok


def test_ids_are_filled_in_and_dollars_can_be_escaped(service: LocalService) -> None:
    job_id = service.post_job("echo $PROMINENCE_JOB_ID ${PROMINENCE_JOB_ID} $$HOME $OTHER")
    service.ended(job_id)

    assert service.output(job_id) == f"{job_id} {job_id} $HOME $OTHER\n"


def test_inputs_lie_in_the_home_directory_under_their_base_names(service: LocalService) -> None:
    inputs = [
        {
            "filename": "dir/run.sh",
            "content": base64.b64encode(b"#!/bin/sh\necho ran").decode(),
            "executable": True,
        },
        {"filename": "../../bytes.bin", "content": base64.b64encode(b"\x00\xff").decode()},
    ]
    job_id = service.post_job(
        shell("./run.sh; stat -c %a run.sh bytes.bin; wc -c < bytes.bin"), inputs=inputs
    )

    described = service.ended(job_id)

    assert service.output(job_id).split() == ["ran", "775", "644", "2"]
    assert described["inputs"] == inputs


def test_outputs_are_behind_presigned_urls(service: LocalService) -> None:
    script = shell(
        "mkdir d; echo deep > d/f; echo data > data.txt; echo first > log1.log; echo more > log2.log"
    )
    job_id = service.post_job(script, outputFiles=["data.txt", "log*.log"], outputDirs=["d"])
    ended = service.ended(job_id)

    (data, log), (directory,) = ended["outputFiles"], ended["outputDirs"]
    assert (data["name"], data["size"]) == ("data.txt", 5)
    assert requests.get(data["url"], timeout=10).content == b"data\n"
    assert requests.get(data["url"], headers={"Range": "bytes=2-3"}, timeout=10).content == b"ta"
    assert requests.get(log["url"], timeout=10).content == b"first\n"
    with tarfile.open(fileobj=io.BytesIO(requests.get(directory["url"], timeout=10).content)) as archive:
        assert archive.extractfile("d/f").read() == b"deep\n"  # type: ignore[union-attr]


@pytest.mark.parametrize("change", ["Signature", "Expires", "path"])
def test_a_presigned_url_opens_one_file_only(service: LocalService, change: str) -> None:
    job_id = service.post_job(shell("echo 1 > a; echo 2 > b"), outputFiles=["a", "b"])
    url = service.ended(job_id)["outputFiles"][0]["url"]
    if change == "path":
        url = url.replace("/files/a?", "/files/b?")
    else:
        value = url.partition(f"{change}=")[2].partition("&")[0]
        url = url.replace(value, value[:-1] + ("0" if value[-1] != "0" else "1"))

    assert requests.get(url, timeout=10).status_code == 403


@pytest.mark.parametrize("name", ["missing.txt", "../secret", "link", "/etc/passwd", "d"])
def test_an_output_file_that_is_not_a_file_of_the_job_fails_it(service: LocalService, name: str) -> None:
    job_id = service.post_job(
        shell("ln -s /etc/passwd link; mkdir d; echo 1 > ../secret"), outputFiles=[name]
    )

    ended = service.ended(job_id)

    assert ended["status"] == "failed"
    assert ended["statusReason"] == "Stageout failed due to no such file or directory"
    assert ended["outputFiles"] == [{"name": name, "url": ""}]
    assert ended["execution"]["tasks"][0]["exitCode"] == 0


def test_outputs_are_kept_when_a_task_fails(service: LocalService) -> None:
    job_id = service.post_job(shell("echo part > result; exit 2"), outputFiles=["result"])

    ended = service.ended(job_id)

    assert requests.get(ended["outputFiles"][0]["url"], timeout=10).text == "part\n"


def test_a_task_can_copy_its_output_to_a_file(service: LocalService) -> None:
    job_id = service.post_job(
        shell("echo a; echo b >&2"), task={"stdout": "log.txt"}, outputFiles=["log.txt"]
    )

    ended = service.ended(job_id)

    assert requests.get(ended["outputFiles"][0]["url"], timeout=10).text == "a\nb\n"
    assert service.output(job_id) == "a\nb\n"


def test_output_can_be_read_while_the_job_runs(service: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job_id = service.post_job(shell(f"echo begin; read line < {gate}; echo end"))
    until(lambda: service.output(job_id) == "begin\n")

    assert service.describe(job_id)["status"] == "running"
    assert service.output(job_id, offset="6") == ""
    gate.write_text("go\n")
    service.ended(job_id)
    assert service.output(job_id, offset="6") == "end\n"
    assert service.output(job_id, offset="1000") == ""
    assert service.output(job_id, node="1") == "begin\nend\n"


_DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
        os.replace(sys.argv[1] + ".new", sys.argv[1])
        time.sleep(600)
    os._exit(0)
time.sleep(float(sys.argv[2]))
"""


def _post_daemon(service: LocalService, pid_file: Path, parent_s: float, **fields: object) -> int:
    content = base64.b64encode(_DAEMON.encode()).decode()
    inputs = [{"filename": "daemon.py", "content": content}]
    return service.post_job(f"python3 daemon.py {pid_file} {parent_s}", inputs=inputs, **fields)


def test_the_walltime_ends_every_descendant(own_service: LocalService, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    job_id = _post_daemon(own_service, pid_file, 600, resources={"walltime": 1})

    ended = own_service.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("killed", "Walltime limit exceeded")
    assert ended["execution"]["tasks"][0]["exitCode"] == -9
    assert not is_alive(int(pid_file.read_text()))


def test_deleting_a_running_job_ends_every_descendant(service: LocalService, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    job_id = _post_daemon(service, pid_file, 600)
    until(pid_file.exists)

    assert service.request("DELETE", f"/jobs/{job_id}").json() == {}

    entry = service.describe(job_id)
    assert (entry["status"], entry["statusReason"]) == ("deleted", "Job deleted by user")
    until(lambda: not is_alive(int(pid_file.read_text())))
    until(lambda: "endTime" in service.describe(job_id)["events"])
    again = service.request("DELETE", f"/jobs/{job_id}")
    assert (again.status_code, again.json()) == (400, {"error": "No such job(s)"})


def test_what_a_task_left_running_ends_with_the_job(service: LocalService, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    job_id = _post_daemon(service, pid_file, 0)
    until(lambda: service.describe(job_id)["status"] != "idle")

    ended = service.ended(job_id)

    assert ended["status"] == "completed"
    assert not pid_file.exists() or not is_alive(int(pid_file.read_text()))


def test_the_scratch_directory_goes_with_the_job(service: LocalService) -> None:
    job_id = service.post_job("pwd")
    service.ended(job_id)

    assert not Path(service.output(job_id).strip()).exists()


def test_jobs_wait_for_cpus_and_start_by_priority(own_service: LocalService) -> None:
    blocker = own_service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: own_service.describe(blocker)["status"] == "running")
    low = own_service.post_job("sleep 600", resources={"cpus": 10})
    high = own_service.post_job("sleep 600", resources={"cpus": 10}, policies={"priority": 5})

    assert own_service.get("/resources").json()["existing"][0]["free"]["cpus"] == 0
    own_service.request("DELETE", f"/jobs/{blocker}")
    until(lambda: own_service.describe(high)["status"] == "running")
    assert own_service.describe(low)["status"] == "idle"


def test_jobs_wait_for_memory(own_service: LocalService) -> None:
    blocker = own_service.post_job("sleep 600", resources={"memory": 60})
    until(lambda: own_service.describe(blocker)["status"] == "running")
    large = own_service.post_job("true", resources={"memory": 10})
    small = own_service.post_job("true", resources={"memory": 1})

    assert own_service.ended(small)["status"] == "completed"
    assert own_service.describe(large)["status"] == "idle"
    own_service.request("DELETE", f"/jobs/{blocker}")
    assert own_service.ended(large)["status"] == "completed"


@pytest.mark.parametrize("resources", [{"cpus": 1000}, {"memory": 5000}])
def test_a_job_larger_than_the_machine_fails_at_once(
    service: LocalService, resources: dict[str, int]
) -> None:
    job_id = service.post_job("true", resources=resources)

    ended = service.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("failed", "No matching resources")


def test_listings(service: LocalService) -> None:
    tag = {"listing": "yes"}
    ended = [service.post_job("true", name="listed", labels=tag) for _ in range(3)]
    for job_id in ended:
        service.ended(job_id)
    running = service.post_job("sleep 600", name="listed.on", labels={"listing": "no"})

    def ids(**query: str) -> list[int]:
        return [entry["id"] for entry in service.get("/jobs", **query).json()]

    assert running in ids()
    assert not set(ended) & set(ids())
    assert ids(all="", constraint="listing=yes") == ended
    assert ids(constraint="listing=yes") == []
    assert ids(completed="true", constraint="listing=yes") == [ended[-1]]
    assert sorted(ids(completed="true", num="2", constraint="listing=yes")) == ended[1:]
    assert sorted(ids(completed="true", num="-1", constraint="listing=yes")) == ended
    assert ids(all="", name="listed") == ended
    assert sorted(ids(id=f"{running},{ended[0]},{ended[0]},987654")) == [ended[0], running]
    assert ids(id=f"{running},{ended[0]}", status="running") in ([running], [])
    assert ids(id="987654") == []
    assert service.get("/jobs/987654").json() == []
    assert service.get("/jobs", status="done").json() == {"error": "invalid status specified"}
    assert service.get("/jobs", constraint="a=b=c").json() == {"error": "Invalid constraint"}
    assert service.get("/jobs", id="1,x").status_code == 400
    plain, detailed = service.get("/jobs", id=str(ended[0])).json()[0], service.describe(ended[0])
    assert "execution" not in plain
    assert service.get("/jobs", id=str(ended[0]), detail="").json() == [detailed]


def test_the_same_submission_label_is_the_same_job(service: LocalService, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    description = job(shell(f"echo run >> {runs}"), labels={"prominencesubmission": "abc123"})

    ids = {service.request("POST", "/jobs", json=description).json()["id"] for _ in range(3)}

    (job_id,) = ids
    service.ended(job_id)
    assert runs.read_text() == "run\n"


def test_a_long_poll_answers_at_the_next_change(service: LocalService) -> None:
    job_id = service.post_job("sleep 600")
    seen = until(lambda: service.get("/jobs", id=str(job_id), status="running").headers)
    since = seen["Prominence-Revision"]
    service.request("DELETE", f"/jobs/{job_id}")

    answer = service.get("/jobs", since=since, wait="30")

    assert any(entry["id"] == job_id and entry["status"] == "deleted" for entry in answer.json())
    assert int(answer.headers["Prominence-Revision"]) > int(since)
    assert "wait" in answer.headers["Prominence-Features"]


def test_a_long_poll_without_a_change_ends_empty(service: LocalService) -> None:
    for entry in service.get("/jobs").json():
        service.request("DELETE", f"/jobs/{entry['id']}")
    until(lambda: all("endTime" in each["events"] for each in service.get("/jobs", all="").json()))
    since = service.get("/jobs").headers["Prominence-Revision"]

    assert service.get("/jobs", since=since, wait="0.05").json() == []


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ({}, "a job must contain resources"),
        (job("true", foo=1), 'invalid item "foo" in job description'),
        (job("true", resources={"cpus": 0}), "number of cpus must be at least 1"),
        (job("", task={}), "a task needs a cmd where no container runs (there is no entry point)"),
        (
            job("true", artifacts=[{"url": "http://x.test/a", "mountpoint": "d:/mnt"}]),
            "a mountpoint needs a container: set PROMINENCE_LOCAL_RUNTIME, or leave it out",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_the_reason(
    service: LocalService, description: dict[str, object], reason: str
) -> None:
    answer = service.request("POST", "/jobs", json=description)

    assert (answer.status_code, answer.json()) == (400, {"error": reason})


def test_bad_bodies_are_refused(service: LocalService) -> None:
    assert service.request("POST", "/jobs", data="{").status_code == 400
    large = json.dumps(job("true", inputs=[{"filename": "x", "content": "A" * 1024 * 1024}]))
    assert service.request("POST", "/jobs", data=large).status_code == 413


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Bearer"}])
def test_a_request_needs_a_token(service: LocalService, headers: dict[str, str]) -> None:
    answer = requests.get(f"{service.endpoint.url}/jobs", headers=headers, timeout=10)

    assert (answer.status_code, answer.json()) == (401, {"error": "Authentication failure"})


def test_health_needs_no_token(service: LocalService) -> None:
    assert requests.get(f"{service.endpoint.url}/health", timeout=10).status_code == 204


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_web_pages_cannot_reach_the_service(service: LocalService, headers: dict[str, str]) -> None:
    assert service.request("GET", "/jobs", headers=headers).status_code == 403
    url = f"{service.endpoint.url}/health"
    assert requests.get(url, headers=headers, timeout=10).status_code == 403


def test_nobody_else_can_read_the_services_files(service: LocalService) -> None:
    job_id = service.post_job("true")
    service.ended(job_id)

    assert stat.S_IMODE(service.directory.stat().st_mode) == 0o700
    secrets = [service.directory / name for name in ("secret", "endpoint.json")]
    secrets.append(service.state.attempts / f"{job_id}-1" / "attempt.json")
    for file in secrets:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_routes_that_do_not_exist_answer_404(service: LocalService) -> None:
    for path in ("/nothing", "/jobs/1/", "/jobs/abc", "/jobs/1/other"):
        assert service.get(path).status_code == 404, path
    assert service.request("PATCH", "/jobs").status_code == 405


@pytest.mark.parametrize("name", ["x#1.dat", "q?.txt", "%41.txt", "a b+c&d.txt", "é.txt", "run?.log"])
def test_outputs_may_have_any_name(service: LocalService, name: str) -> None:
    written = name if name != "run?.log" else "run1.log"
    job_id = service.post_job(f"sh -c \"echo data > '{written}'\"", outputFiles=[name])

    (output,) = service.ended(job_id)["outputFiles"]

    assert requests.get(output["url"], timeout=10).text == "data\n"


def test_a_pipe_in_the_way_of_a_copied_output_holds_up_nothing(service: LocalService) -> None:
    job_id = service.post_job(shell("mkfifo log; echo hello"), task={"stdout": "log"}, outputFiles=["log"])

    ended = service.ended(job_id)

    assert ended["status"] == "completed"
    assert requests.get(ended["outputFiles"][0]["url"], timeout=10).text == "hello\n"


def test_a_long_output_is_served_from_any_place(service: LocalService) -> None:
    job_id = service.post_job("head -c 3000000 /dev/zero")
    service.ended(job_id)

    assert len(service.get(f"/jobs/{job_id}/stdout").content) == 3_000_000
    assert len(service.get(f"/jobs/{job_id}/stdout", offset="2999000").content) == 1_000


_LARGE = "9" * 25


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", f"/jobs/{_LARGE}", {}, 200),
        ("DELETE", f"/jobs/{_LARGE}", {}, 400),
        ("GET", f"/jobs/{_LARGE}/stdout", {}, 400),
        ("GET", "/jobs/1/stdout", {"offset": _LARGE}, 400),
        ("GET", "/jobs/1/stdout", {"node": "9" * 5000}, 400),
        ("GET", "/jobs/1/stdout", {"offset": "-1"}, 400),
        ("GET", "/jobs", {"id": _LARGE}, 400),
        ("GET", "/jobs", {"since": "0", "wait": "nan"}, 400),
        ("GET", "/jobs", {"since": "-1"}, 400),
        ("GET", "/jobs", {"num": "many"}, 400),
    ],
)
def test_strange_numbers_get_an_answer(
    service: LocalService, method: str, path: str, query: dict[str, str], status: int
) -> None:
    assert service.request(method, path, params=query).status_code == status


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/objects/jobs/1/files/x?Expires=" + "9" * 5000, {}, 403),
        ("/objects/jobs/1/files/x?Expires=9999999999&Signature=%C3%A9", {}, 403),
        ("/objects/%2e%2e/secret", {}, 403),
        ("/prominence/v1/health", {"Host": "["}, 403),
        ("/prominence/v1/health", {"Host": "[::1]:80"}, 204),
    ],
)
def test_strangers_get_an_answer_and_nothing_more(
    service: LocalService, path: str, headers: dict[str, str], status: int
) -> None:
    base = service.endpoint.url.removesuffix("/prominence/v1")

    assert requests.get(base + path, headers=headers, timeout=10).status_code == status


@pytest.mark.parametrize(
    "description",
    [
        job("true", resources={"walltime": 10**400}),
        job("true", resources={"cpus": 10**400}),
        job("true", inputs=[{"filename": "..", "content": ""}]),
        job("true", inputs=[{"filename": "x" * 300, "content": ""}]),
        job("true", task={"env": {"A": "\0"}}),
        job("tr\0ue"),
        job("true", outputFiles=["x" * 300]),
        "[" * 100_000,
    ],
    ids=["walltime", "cpus", "dots", "long input", "nul in env", "nul in cmd", "long output", "nested"],
)
def test_what_no_machine_can_do_is_refused(service: LocalService, description: object) -> None:
    if isinstance(description, str):
        answer = service.request("POST", "/jobs", data=description)
    else:
        answer = service.request("POST", "/jobs", json=description)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]


def test_many_changes_come_page_by_page(service: LocalService) -> None:
    answer = service.get("/jobs", since="0")
    revisions = [int(answer.headers["Prominence-Revision"])]
    while answer.json():
        answer = service.get("/jobs", since=str(revisions[-1]))
        revisions.append(int(answer.headers["Prominence-Revision"]))

    assert revisions == sorted(revisions)
