"""What the service relies on in an engine, on this machine's and on one that is quite different."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from support.service import LocalService, job
from support.until import until

from prominence.exceptions import LocalServiceError
from prominence.local.engine import EngineSetup
from prominence.local.engines import make_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES = ("machine", "pool")
_TESTS = Path(__file__).parent.parent


def _with_engine(engine: str, directory: Path, retention: str = "forever") -> LocalService:
    """A service with that engine; the pool is installed for it as a plugin is."""
    info = directory / "site" / "pool-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pool\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[prominence]\npool = support.engine\n")
    path = f"{info.parent}:{_TESTS}"
    return LocalService(
        directory / "service",
        cpus=2,
        memory=8,
        engine=engine,
        retention=retention,
        environment={"PYTHONPATH": path},
    )


@pytest.fixture(scope="module", params=ENGINES)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalService]:
    with _with_engine(request.param, tmp_path_factory.mktemp("engine")) as service:
        yield service


@pytest.fixture(params=ENGINES)
def killable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalService]:
    with _with_engine(request.param, tmp_path) as service:
        yield service


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[LocalService]:
    with _with_engine("pool", tmp_path) as service:
        yield service


def _waiting(gate: Path, then: str = "true") -> str:
    return f'sh -c "while ! test -e {gate}; do sleep 0.02; done; {then}"'


def test_tasks_run_and_their_exit_codes_are_told(served: LocalService) -> None:
    tasks = [{"image": "none", "runtime": "singularity", "cmd": each} for each in ("true", 'sh -c "exit 3"')]
    good, bad = served.post_job("true"), served.post_job("true", tasks=tasks)

    for job_id, codes in ((good, [0]), (bad, [0, 3])):
        ended = served.ended(job_id)
        assert ended["status"] == "completed"
        assert [task["exitCode"] for task in ended["execution"]["tasks"]] == codes
        assert ended["events"]["createTime"] <= ended["events"]["startTime"] <= ended["events"]["endTime"]


def test_output_is_read_from_any_offset_while_a_job_runs(served: LocalService, tmp_path: Path) -> None:
    job_id = served.post_job(
        f'sh -c "echo 0123456789; echo e >&2; while ! test -e {tmp_path}/go; do sleep 0.02; done"'
    )

    assert until(lambda: served.output(job_id)) == "0123456789\n"
    assert until(lambda: served.output(job_id, "stderr")) == "e\n"
    assert served.output(job_id, offset="4") == "456789\n"
    assert served.output(job_id, offset="400") == ""
    assert served.describe(job_id)["status"] == "running"
    (tmp_path / "go").touch()
    assert served.ended(job_id)["status"] == "completed"
    assert served.output(job_id) == "0123456789\n"


def test_outputs_can_be_fetched(served: LocalService) -> None:
    script = 'sh -c "echo data > data.txt; mkdir d; echo deep > d/f"'
    job_id = served.post_job(script, outputFiles=["data.txt"], outputDirs=["d"])

    (file,), (directory,) = (served.ended(job_id)[kind] for kind in ("outputFiles", "outputDirs"))

    assert (file["name"], file["size"]) == ("data.txt", 5)
    assert requests.get(file["url"], timeout=10).text == "data\n"
    with tarfile.open(fileobj=io.BytesIO(requests.get(directory["url"], timeout=10).content)) as archive:
        assert archive.extractfile("d/f").read() == b"deep\n"  # type: ignore[union-attr]


def test_running_and_queued_jobs_can_be_deleted(served: LocalService, tmp_path: Path) -> None:
    ids = [served.post_job(_waiting(tmp_path / "never")) for _ in range(3)]
    until(lambda: len(served.get("/jobs", status="running").json()) == 2)

    assert served.request("DELETE", f"/jobs?id={','.join(map(str, ids))}").status_code == 200

    for job_id in ids:
        assert until(lambda job_id=job_id: served.describe(job_id)["events"].get("endTime"))  # type: ignore[misc]
        assert served.describe(job_id)["status"] == "deleted"
    assert served.ended(served.post_job("true"))["status"] == "completed"


def test_a_failure_is_tried_again_as_a_new_attempt(served: LocalService, tmp_path: Path) -> None:
    tries, second = tmp_path / "tries", tmp_path / "second"
    script = f"echo try >> {tries}; echo out; test -e {second} || {{ touch {second}; exit 4; }}"
    job_id = served.post_job(f'sh -c "{script}"', policies={"maximumRetries": 2})

    ended = served.ended(job_id)

    assert (ended["status"], ended["execution"]["tasks"][0]["exitCode"]) == ("completed", 0)
    assert ended["execution"]["retries"] == 1
    assert tries.read_text() == "try\n" * 2
    assert served.output(job_id) == "out\n"


def test_the_environment_names_the_job(served: LocalService) -> None:
    job_id = served.post_job("printenv PROMINENCE_JOB_ID")

    assert served.ended(job_id)["status"] == "completed"
    assert served.output(job_id) == f"{job_id}\n"


def test_commands_and_snapshots_reach_a_running_job(served: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = served.post_job(
        f'sh -c "echo deep > file; echo ready; while ! test -e {gate}; do sleep 0.02; done"'
    )
    until(lambda: served.output(job_id))

    def execute(command: str) -> tuple[int, str]:
        answer = served.request("POST", f"/jobs/{job_id}/exec", params={"command": command})
        return answer.status_code, answer.text

    assert execute("cat,file") == (200, "deep\n")
    assert execute("false")[0] == 400
    assert served.request("PUT", f"/jobs/{job_id}/snapshot", params={"path": "file"}).status_code == 200
    url = served.request("GET", f"/jobs/{job_id}/snapshot", params={"path": "file"}).json()["url"]
    with tarfile.open(fileobj=io.BytesIO(requests.get(url, timeout=10).content)) as archive:
        assert archive.extractfile("file").read() == b"deep\n"  # type: ignore[union-attr]
    gate.touch()
    assert served.ended(job_id)["status"] == "completed"
    assert execute("true")[0] == 400


def test_uploads_and_keys_do_not_need_the_engine(served: LocalService) -> None:
    url = served.request("POST", "/data/upload", json={"filename": "x", "checksum": None}).json()["url"]
    assert requests.put(url, data=b"content", timeout=10).status_code == 200
    assert [each["name"] for each in served.get("/data").json()] == ["x"]
    assert served.request("POST", "/kv/a/b", data=b"value").status_code == 201
    assert served.get("/kv/a/b").text == "value"


def test_old_jobs_are_forgotten_by_the_engine_too(tmp_path: Path) -> None:
    service = _with_engine("pool", tmp_path, retention="30d")
    with service:
        old = service.post_job("true")
        service.ended(old)
        last = service.post_job("true")
        service.ended(last)
    connection = sqlite3.connect(service.state.database)
    with connection:
        connection.execute("update jobs set ended = ended - 3000000 where id = ?", (old,))
    connection.close()

    with service:
        until(lambda: not (service.state.attempts / f"{old}-1").exists())
        until(lambda: service.get(f"/jobs/{old}").json() == [])
        assert (service.state.attempts / f"{last}-1").exists()


def test_resources_are_the_engines(served: LocalService) -> None:
    shown = served.get("/resources").json()["existing"][0]

    assert shown["capacity"]["cpus"] == 2
    assert shown["free"]["cpus"] <= 2


def test_a_killed_service_finds_every_attempt_again(killable: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ended = killable.post_job('sh -c "exit 5"')
    killable.ended(ended)
    runs = [tmp_path / f"runs{number}" for number in range(6)]
    ids = [
        killable.post_job(_waiting(gate, f"echo run >> {each}; exit {number}"))
        for number, each in enumerate(runs)
    ]
    until(lambda: len(killable.get("/jobs", status="running").json()) == 2)

    killable.kill()
    killable.start()
    gate.touch()

    for number, (job_id, each) in enumerate(zip(ids, runs, strict=True)):
        assert killable.ended(job_id)["execution"]["tasks"][0]["exitCode"] == number
        assert each.read_text() == "run\n"
    assert killable.describe(ended)["execution"]["tasks"][0]["exitCode"] == 5


def test_jobs_deleted_as_the_service_dies_are_ended(killable: LocalService, tmp_path: Path) -> None:
    ids = [killable.post_job(_waiting(tmp_path / "never")) for _ in range(3)]
    until(lambda: len(killable.get("/jobs", status="running").json()) == 2)

    killable.request("DELETE", f"/jobs?id={','.join(map(str, ids))}")
    killable.kill()
    killable.start()

    for job_id in ids:
        assert until(lambda job_id=job_id: killable.describe(job_id)["events"].get("endTime"))  # type: ignore[misc]
    assert killable.ended(killable.post_job("true"))["status"] == "completed"


def test_a_workflow(served: LocalService, tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands = {"a": f"sh -c 'echo $i >> {log}'", "b": f"sh -c 'echo last >> {log}'"}
    values = {"name": "i", "values": ["one", "two words"]}
    factory = {"name": "f", "type": "zip", "jobs": ["a"], "parameters": [values]}
    description = {
        "name": "both",
        "jobs": [{"name": name, **job(command)} for name, command in commands.items()],
        "factories": [factory],
        "dependencies": {"a": ["b"]},
    }

    workflow_id = served.request("POST", "/workflows", json=description).json()["id"]

    until(lambda: served.get(f"/workflows/{workflow_id}").json()[0]["status"] == "completed")
    lines = log.read_text().splitlines()
    assert (sorted(lines[:2]), lines[2:]) == (["one", "two words"], ["last"])


def test_jobs_that_an_engine_loses_are_evicted_or_tried_again(pool: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f'sh -c "echo began; while ! test -e {gate}; do sleep 0.02; done"'
    lost = pool.post_job(script, labels={"fate": "lost"})
    lost_twice = pool.post_job(script, labels={"fate": "lost"}, policies={"maximumRetries": 1})

    for job_id, retries in ((lost, None), (lost_twice, 1)):
        ended = pool.ended(job_id)
        assert (ended["status"], ended["statusReason"]) == ("failed", "Job was evicted")
        assert ended["execution"].get("retries") == retries


def test_a_job_that_an_engine_queues_again_is_idle_again(pool: LocalService, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    early = [pool.post_job(_waiting(first)) for _ in range(2)]
    until(lambda: {pool.describe(each)["status"] for each in early} == {"running"})
    late = [pool.post_job(_waiting(second)) for _ in range(2)]
    evicted = pool.post_job(
        f'sh -c "echo began; while ! test -e {second}; do sleep 0.02; done; exit 6"',
        labels={"fate": "evicted"},
    )

    first.touch()
    until(lambda: {pool.describe(each)["status"] for each in late} == {"running"})

    assert pool.describe(evicted)["status"] == "idle"
    assert pool.describe(evicted)["events"].keys() == {"createTime", "startTime"}
    second.touch()
    assert pool.ended(evicted)["execution"]["tasks"][0]["exitCode"] == 6
    assert pool.output(evicted) == "began\n"


def test_ends_may_be_told_in_any_order(pool: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ids = [pool.post_job(_waiting(gate, f"exit {number}")) for number in range(7)]
    gate.touch()

    codes = [pool.ended(each)["execution"]["tasks"][0]["exitCode"] for each in ids]

    assert codes == list(range(7))


def test_what_an_engine_refuses_is_not_accepted(pool: LocalService) -> None:
    answer = pool.request(
        "POST",
        "/jobs",
        json={
            "name": "gpu",
            "resources": {"cpus": 1, "memory": 1, "disk": 1},
            "tasks": [{"image": "none", "runtime": "singularity", "cmd": "true"}],
        },
    )

    assert (answer.status_code, answer.json()["error"]) == (400, "the pool has no GPUs")


def test_prominence_local_engine_that_no_plugin_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalServiceError, match="no plugin has an engine named 'pond'"):
        make_engine("pond", EngineSetup(tmp_path))
