"""Tasks of several kinds, and the nodes that they run on."""

from __future__ import annotations

import base64
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import requests
from support.service import is_alive, shell
from support.until import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService


def post(service: LocalService, *tasks: dict[str, Any], **fields: Any) -> int:
    resources = {"cpus": 1, "memory": 1, "disk": 1, "nodes": 1, **fields.pop("resources", {})}
    described = [{"image": "none", "runtime": "singularity", **task} for task in tasks]
    answer = service.request("POST", "/jobs", json={"resources": resources, "tasks": described, **fields})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def codes(ended: dict[str, Any]) -> list[int]:
    return [task["exitCode"] for task in ended["execution"]["tasks"]]


def test_a_sidecar_runs_beside_the_tasks_and_ends_with_them(service: LocalService, tmp_path: Path) -> None:
    pid, asked, answered = (tmp_path / name for name in ("pid", "asked", "answered"))
    helper = f"echo helper; echo $$ > {pid}; while ! test -e {asked}; do sleep 0.01; done; touch {answered}"
    job_id = post(
        service,
        {"cmd": shell(f"touch {asked}; while ! test -e {answered}; do sleep 0.01; done; echo one")},
        {"cmd": shell(f"{helper}; exec sleep 600"), "type": "sidecar"},
        {"cmd": "echo two"},
    )

    ended = service.ended(job_id)

    assert (ended["status"], codes(ended)) == ("completed", [0, 0])
    assert sorted(service.output(job_id).split()) == ["helper", "one", "two"]
    assert not is_alive(int(pid.read_text()))


def test_a_sidecar_that_does_not_heed_the_end_is_killed(service: LocalService, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stubborn = f"trap : TERM; echo $$ > {pid}.new; mv {pid}.new {pid}; while :; do sleep 0.1; done"
    job_id = post(
        service,
        {"cmd": shell(stubborn), "type": "sidecar"},
        {"cmd": shell(f"while ! test -e {pid}; do sleep 0.01; done")},
    )

    assert codes(service.ended(job_id)) == [0]
    assert not is_alive(int(pid.read_text()))


def test_a_sidecar_that_cannot_start_is_told_and_the_job_goes_on(service: LocalService) -> None:
    job_id = post(service, {"cmd": "no-such-helper", "type": "sidecar"}, {"cmd": "echo done"})

    assert codes(service.ended(job_id)) == [0]
    assert service.output(job_id) == "done\n"
    assert service.output(job_id, "stderr") == "prominence: no-such-helper: command not found\n"


def test_every_node_has_files_of_its_own(service: LocalService) -> None:
    report = shell("echo $PROMINENCE_NODE_NUM of $PROMINENCE_NODES; pwd; echo $TMPDIR; cat in; echo x >> in")
    inputs = [{"filename": "in", "content": "aW4K"}]
    job_id = post(
        service,
        {"cmd": report},
        inputs=inputs,
        outputFiles=["in"],
        resources={"nodes": 3},
        policies={"runSerialTasksOnAllNodes": True},
    )

    ended = service.ended(job_id)

    outputs = [service.output(job_id, node=str(node)).splitlines() for node in range(3)]
    assert [lines[0] for lines in outputs] == ["0 of 3", "1 of 3", "2 of 3"]
    assert [lines[3:] for lines in outputs] == [["in"]] * 3
    assert len({path for lines in outputs for path in lines[1:3]}) == 6
    assert codes(ended) == [0]
    assert ended["execution"]["provisionedResources"]["nodes"] == 3
    assert requests.get(ended["outputFiles"][0]["url"], timeout=10).text == "in\nx\n"


def test_serial_tasks_run_on_the_first_node_alone_unless_told_otherwise(service: LocalService) -> None:
    job_id = post(service, {"cmd": "echo once"}, resources={"nodes": 2})
    service.ended(job_id)

    assert service.output(job_id) == "once\n"
    assert service.output(job_id, node="1") == ""


def test_a_failure_on_any_node_is_the_tasks(service: LocalService) -> None:
    job_id = post(
        service,
        {"cmd": shell("test $PROMINENCE_NODE_NUM = 0 || exit 4")},
        {"cmd": "echo never"},
        resources={"nodes": 2},
        policies={"runSerialTasksOnAllNodes": True},
    )

    assert codes(service.ended(job_id)) == [4]
    assert service.output(job_id) == ""


@pytest.mark.parametrize(
    ("kind", "launcher"),
    [("openmpi", "mpirun.openmpi"), ("mpich", "mpirun.mpich"), ("intelmpi", "mpirun.mpich")],
)
def test_mpi_tasks_run_with_as_many_processes_as_asked_for(
    service: LocalService, kind: str, launcher: str
) -> None:
    if shutil.which(launcher) is None:
        pytest.skip(f"{launcher} is not installed")
    rank = "${OMPI_COMM_WORLD_RANK:-$PMI_RANK} of ${OMPI_COMM_WORLD_SIZE:-$PMI_SIZE}"
    job_id = post(
        service,
        {"cmd": shell(f'echo "{rank}"'), "type": kind, "procsPerNode": 2},
        resources={"nodes": 2, "cpus": 2},
    )

    ended = service.ended(job_id)

    assert codes(ended) == [0], service.output(job_id, "stderr")
    assert sorted(service.output(job_id).splitlines()) == [f"{rank} of 4" for rank in range(4)]


def test_a_missing_mpi_program_is_a_missing_command(service: LocalService) -> None:
    job_id = post(service, {"cmd": "no-such-solver", "type": "openmpi"})

    assert codes(service.ended(job_id)) == [255]
    assert "no-such-solver: command not found" in service.output(job_id, "stderr")


_GROW = "python3 -c 'import time; held = bytearray({size}); time.sleep({seconds})'"


def test_a_job_that_takes_too_much_memory_is_killed(service: LocalService) -> None:
    job_id = post(service, {"cmd": _GROW.format(size=300_000_000, seconds=600)}, resources={"memory": 0.2})

    ended = service.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("killed", "Job used too much memory")
    assert codes(ended) == [-9]
    assert ended["execution"]["maxMemoryUsageKB"] > 0.2 * 2**20
    assert "of 0.2 GB asked for" in service.output(job_id, "stderr")


def test_memory_counts_over_all_processes_and_shared_pages_once(
    service: LocalService, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    script = f"""
import os, sys, time
held = bytearray(100_000_000)
for _ in range(4):
    if os.fork() == 0:
        break
else:
    open({str(ready)!r}, "w").close()
time.sleep(1)
"""
    job_id = post(
        service,
        {"cmd": "python3 share.py"},
        inputs=[_input("share.py", script)],
        resources={"memory": 0.25},
    )
    until(ready.exists)

    ended = service.ended(job_id)

    assert (ended["status"], codes(ended)) == ("completed", [0])
    assert 90_000 < ended["execution"]["maxMemoryUsageKB"] < 0.25 * 2**20


def test_what_orphans_of_a_task_used_is_the_tasks(service: LocalService, tmp_path: Path) -> None:
    done = tmp_path / "done"
    burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
    job_id = post(
        service,
        {"cmd": shell("(setsid sh burn &); while ! test -e done; do sleep 0.02; done; sleep 0.1")},
        inputs=[_input("burn", f"{burn}; touch done {done}")],
    )

    (task,) = service.ended(job_id)["execution"]["tasks"]

    assert done.exists()
    assert task["cpuTimeUsage"] > 0.05


def test_what_a_task_used_that_ended_by_a_signal_counts_once(service: LocalService) -> None:
    burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; times > used; kill -9 $$"
    job_id = post(service, {"cmd": "sh burn"}, inputs=[_input("burn", burn)], outputFiles=["used"])

    ended = service.ended(job_id)

    (task,) = ended["execution"]["tasks"]
    told = requests.get(ended["outputFiles"][0]["url"], timeout=10).text.split()[:2]
    used = sum(60 * float(each.partition("m")[0]) + float(each.partition("m")[2][:-1]) for each in told)
    assert task["exitCode"] == -9
    assert used <= task["cpuTimeUsage"] < 1.5 * used + 0.02


def _input(name: str, text: str) -> dict[str, str]:
    return {"filename": name, "content": base64.b64encode(text.encode()).decode()}
