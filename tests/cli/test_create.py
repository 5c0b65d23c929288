"""``prominence create``: from options to the JSON that is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.command import Command

BASE = {
    "name": "",
    "resources": {"nodes": 1, "cpus": 1, "memory": 1, "disk": 10},
    "tasks": [{"image": "alpine", "runtime": "singularity", "cmd": "true"}],
}


def dry_run(command: Command, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = command.json("create", "--dry-run", *options, "alpine", "true")
    return found


def test_options_that_are_left_out_are_left_out(command: Command) -> None:
    assert dry_run(command) == BASE
    assert command.json("create", "--dry-run", "alpine")["tasks"] == [
        {"image": "alpine", "runtime": "singularity"}
    ]
    assert not (command.directory.parent / "state").exists()  # no service was started


@pytest.mark.parametrize(
    ("options", "resources"),
    [
        (
            "--cpus 4 --memory 2.5 --disk 20 --walltime 30",
            {"cpus": 4, "memory": 2.5, "disk": 20, "walltime": 30},
        ),
        ("--memory 8.0", {"memory": 8}),
        ("--memory-per-cpu 2", {"memory": None, "memoryPerCpu": 2}),
        ("--cpus-range 2,8", {"cpus": None, "cpusRange": [2, 8]}),
        ("--cpus-options 2,8", {"cpus": None, "cpusOptions": [2, 8]}),
        ("--nodes 2 --openmpi", {"nodes": 2}),
        (
            "--mpich --total-cpus-range 4,8 --cpus-range 2,4",
            {"nodes": None, "cpus": None, "cpusRange": [2, 4], "totalCpusRange": [4, 8]},
        ),
    ],
)
def test_resources(command: Command, options: str, resources: dict[str, Any]) -> None:
    wanted = {**BASE["resources"], **resources}

    found = dry_run(command, *options.split())["resources"]

    assert found == {name: value for name, value in wanted.items() if value is not None}
    assert type(found.get("memory", 1)) is type(wanted.get("memory") or 1)


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ("--openmpi", {"type": "openmpi"}),
        ("--mpich --procs-per-node 1", {"type": "mpich", "procsPerNode": 1}),
        (
            "--intelmpi --cpus 8 --omp-procs-per-node 2",
            {"type": "intelmpi", "procsPerNode": 4, "env": {"OMP_NUM_THREADS": "2"}},
        ),
        ("--workdir data --runtime udocker", {"workdir": "data", "runtime": "udocker"}),
        ("--env A=b=c --env D=", {"env": {"A": "b=c", "D": ""}}),
    ],
)
def test_the_task(command: Command, options: str, task: dict[str, Any]) -> None:
    assert dry_run(command, *options.split())["tasks"] == [{**BASE["tasks"][0], **task}]


def test_an_archive_as_image_needs_udocker(command: Command) -> None:
    found = command.json("create", "--dry-run", "https://images.example/alpine.tar")

    assert found["tasks"][0]["runtime"] == "udocker"


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("--name study", {"name": "study"}),
        ("--label a=b --label c=d", {"labels": {"a": "b", "c": "d"}}),
        (
            "--output a.txt --output b.txt --outputdir c",
            {"outputFiles": ["a.txt", "b.txt"], "outputDirs": ["c"]},
        ),
        (
            "--artifact mesh.tgz --artifact https://host.example:8443/x.tgz:x:/mnt/x",
            {
                "artifacts": [
                    {"url": "mesh.tgz"},
                    {"url": "https://host.example:8443/x.tgz", "mountpoint": "x:/mnt/x"},
                ]
            },
        ),
        (
            "--retries 2 --task-retries 3 --max-time-in-queue 60 --leave-in-queue --priority 5",
            {
                "policies": {
                    "maximumRetries": 2,
                    "maximumTaskRetries": 3,
                    "maximumTimeInQueue": 60,
                    "leaveInQueue": True,
                    "priority": 5,
                }
            },
        ),
    ],
)
def test_the_job(command: Command, options: str, fields: dict[str, Any]) -> None:
    assert dry_run(command, *options.split()) == {**BASE, **fields}


def test_input_files_are_read_in(command: Command) -> None:
    command.write("in.txt", "hello\n")

    assert dry_run(command, "--input", "in.txt")["inputs"] == [{"filename": "in.txt", "content": "aGVsbG8K"}]


@pytest.mark.parametrize(
    "text",
    [
        '{"storage": {"type": "b2drop", "mountpoint": "/data"}}',
        '{"type": "b2drop", "mountpoint": "/data"}',
        '"storage": {"type": "b2drop", "mountpoint": "/data"}',
    ],
)
def test_storage_is_passed_on(command: Command, text: str) -> None:
    found = dry_run(command, "--storage", command.write("storage.json", text))

    assert found["storage"] == {"type": "b2drop", "mountpoint": "/data"}


@pytest.mark.parametrize("content", [b"not JSON", b"\xff\xfe"])
def test_storage_that_cannot_be_read_is_named(command: Command, content: bytes) -> None:
    (command.directory / "storage.json").write_bytes(content)

    assert "storage.json" in command("create", "--storage", "storage.json", "alpine", code=2).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--memory 4 --memory-per-cpu 2", "memoryPerCpu"),
        ("--cpus 4 --cpus-range 2,4", "cpusRange"),
        ("--nodes 2", "--openmpi"),
        ("--nodes 2 --openmpi --total-cpus-range 2,4", "only one of --nodes and --total-cpus-range"),
        ("--total-cpus-range 2,4", "--openmpi"),
        ("--procs-per-node 2", "--procs-per-node needs one of --openmpi"),
        ("--openmpi --cpus 4 --procs-per-node 2 --omp-procs-per-node 2", "only one of --procs-per-node"),
        ("--openmpi --omp-procs-per-node 2", "needs --cpus 2 or more"),
        ("--cpus 0", "--cpus"),
        ("--cpus-range 2-4", "'2-4' is not two whole numbers"),
        ("--memory much", "'much' is not a number"),
        ("--env A", "'A' is not of the form name=value"),
        ("--label my-label=b", "labels.my-label"),
        ("--retries 9", "policies.maximumRetries"),
        ("--input missing.txt", "missing.txt"),
        ("--directory missing", "missing"),
        ("--storage missing.json", "missing.json"),
        ("--no-such-option", "--no-such-option"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_sent(command: Command, options: str, message: str) -> None:
    done = command("create", *options.split(), "alpine", "true", code=2)

    assert message in done.stderr
    assert done.stdout == ""
    assert not (command.directory.parent / "state").exists()


def test_a_directory_goes_along_and_is_not_uploaded_by_a_dry_run(served: Command) -> None:
    (served.directory / "case").mkdir()
    (served.directory / "case" / "mesh.txt").write_text("1 2 3\n")
    options = ("--directory", "case", "alpine", "cat mesh.txt")

    (artifact,) = served.json("create", "--dry-run", *options)["artifacts"]
    assert artifact["url"] not in served("ls").stdout
    job = served.id("create", *options)

    served("wait", job)
    assert served("stdout", job).stdout == "1 2 3\n"


def test_the_id_can_be_had_as_json(served: Command) -> None:
    job = served.json("create", "--json", "alpine", "true")["id"]

    assert served.json("describe", "--json", job)["id"] == job


def test_a_submitted_job_is_told_on_standard_error(served: Command) -> None:
    done = served("create", "alpine", "true")

    assert done.stderr == f"job {done.stdout.strip()} was created\n"
