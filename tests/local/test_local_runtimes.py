"""What container programs are told, word for word, whether or not they are installed here."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from prominence.exceptions import LocalServiceError
from prominence.local.machine.files import Node
from prominence.local.machine.runtimes import choose_runtime, runtime_of
from prominence.local.machine.runtimes.base import (
    Finished,
    Image,
    ImageUnavailable,
    Mount,
    Mpi,
    NotRunnable,
    Start,
)
from prominence.settings import RuntimeSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prominence.local.machine.runtimes.base import Runtime

_DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs appear under their plain names, and the user is an ordinary one."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "getgid", lambda: 1000)


def runtime(tmp_path: Path, name: str, options: str = "") -> Runtime:
    return runtime_of(RuntimeSettings(name, options), tmp_path / "images")


def start(tmp_path: Path, **changes: Any) -> Start:
    node = Node(0, tmp_path / "scratch", tmp_path / "tmp")
    for directory in (node.scratch / "sub", node.scratch / "set", node.tmp):
        directory.mkdir(parents=True)
    fields: dict[str, Any] = {
        "task": {"image": "alpine", "env": {"A": "b c"}},
        "words": ("solve", "--fast", "a b"),
        "mpi": None,
        "workdir": "sub",
        "environment": {"PROMINENCE_TOKEN": "secret", "PROMINENCE_LOCAL_PYTHON": "/usr/bin/python3"},
        "node": node,
        "mounts": (Mount("set", "/mnt/set"),),
        "image": Image("alpine:3"),
        "name": "prominence-x-1",
        "memory_bytes": 2**30,
        "private": tmp_path,
    }
    return Start(**fields | changes)


class Script:
    """Stands in for programs: tells what was run, and answers what a test wants."""

    def __init__(self, answer: Callable[[Sequence[str]], tuple[int, str]] = lambda _: (0, "")) -> None:
        self.ran: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self._answer = answer

    def run(self, argv: Sequence[str], environment: Mapping[str, str]) -> Finished:
        self.ran.append(list(argv))
        self.environments.append(environment)
        for word in argv:
            if word.endswith(".new.sif"):
                Path(word).write_bytes(b"an image")
        return Finished(*self._answer(argv))

    def check(self) -> None:
        """The attempt goes on."""


def test_apptainer_runs_a_command(tmp_path: Path) -> None:
    task = {"image": "x", "app": "tools", "env": {"LINES": "1\n2"}}

    command = runtime(tmp_path, "apptainer", "--silent").command(start(tmp_path, task=task))

    assert command.argv == [
        "apptainer",
        "--silent",
        "exec",
        "--contain",
        "--cleanenv",
        f"--home={tmp_path}/scratch:/home/user",
        f"--bind={tmp_path}/tmp:/tmp",
        f"--bind={tmp_path}/scratch/set:/mnt/set",
        "--pwd=/home/user/sub",
        "--app=tools",
        "alpine:3",
        "solve",
        "--fast",
        "a b",
    ]
    assert command.environment["APPTAINERENV_PROMINENCE_TOKEN"] == "secret"
    assert command.environment["APPTAINERENV_LINES"] == "1\n2"
    assert command.environment["APPTAINERENV_TMPDIR"] == "/tmp"
    assert "APPTAINERENV_PROMINENCE_LOCAL_PYTHON" not in command.environment
    assert "APPTAINERENV_HOME" not in command.environment


def test_singularity_goes_by_its_older_names(tmp_path: Path) -> None:
    command = runtime(tmp_path, "singularity").command(start(tmp_path, words=(), workdir="/tmp"))

    assert command.argv[:2] == ["singularity", "run"]
    assert command.argv[-2:] == ["--pwd=/tmp", "alpine:3"]
    assert command.environment["SINGULARITYENV_A"] == "b c"


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_podman_and_docker_run_a_command(tmp_path: Path, name: str) -> None:
    command = runtime(tmp_path, name, "--log-level debug").command(start(tmp_path))

    user = "0:0" if name == "podman" else "1000:1000"
    limits = [word for word in command.argv if word.startswith(("--ulimit=nofile=", "--ulimit=nproc="))]
    assert [word for word in command.argv if word not in limits] == [
        name,
        "--log-level",
        "debug",
        "run",
        "--network=host",
        "--pid=host",
        "--security-opt=label=disable",
        *([] if name == "podman" else [f"--memory={2**30}", f"--memory-swap={2**30}"]),
        "--name=prominence-x-1",
        f"--user={user}",
        "--workdir=/home/user/sub",
        f"--env-file={tmp_path}/prominence-x-1.env",
        f"--volume={tmp_path}/scratch:/home/user",
        f"--volume={tmp_path}/tmp:/tmp",
        f"--volume={tmp_path}/scratch/set:/mnt/set",
        "--entrypoint=",
        "alpine:3",
        "solve",
        "--fast",
        "a b",
    ]
    assert len(limits) == (2 if name == "podman" else 0)
    file = tmp_path / "prominence-x-1.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {"HOME=/home/user", "PROMINENCE_TOKEN=secret", "A=b c"} <= set(file.read_text().splitlines())
    assert "secret" not in str(command.argv)


def test_the_images_own_command_is_not_replaced(tmp_path: Path) -> None:
    command = runtime(tmp_path, "podman").command(start(tmp_path, words=()))

    assert command.argv[-2:] == [f"--volume={tmp_path}/scratch/set:/mnt/set", "alpine:3"]


def test_a_variable_of_several_lines_is_passed_by_its_name(tmp_path: Path) -> None:
    task = {"image": "x", "env": {"LINES": "1\n2"}}

    command = runtime(tmp_path, "docker").command(start(tmp_path, task=task))

    assert "--env=LINES" in command.argv
    assert command.environment["LINES"] == "1\n2"
    assert "LINES" not in (tmp_path / "prominence-x-1.env").read_text()


def test_udocker_runs_a_command(tmp_path: Path) -> None:
    command = runtime(tmp_path, "udocker").command(start(tmp_path))

    assert command.argv == [
        "udocker",
        "run",
        "--rm",
        "--nobanner",
        "--name=prominence-x-1",
        "--workdir=/home/user/sub",
        f"--env-file={tmp_path}/prominence-x-1.env",
        f"--volume={tmp_path}/scratch:/home/user",
        f"--volume={tmp_path}/tmp:/tmp",
        f"--volume={tmp_path}/scratch/set:/mnt/set",
        "--entrypoint=",
        "alpine:3",
        "solve",
        "--fast",
        "a b",
    ]


@pytest.mark.parametrize(
    ("kind", "launcher"),
    [
        ("openmpi", ["mpirun", "--allow-run-as-root", "--oversubscribe"]),
        ("mpich", ["mpirun"]),
        ("intelmpi", ["mpirun"]),
    ],
)
def test_mpi_tasks_are_launched_inside_of_the_container(
    tmp_path: Path, kind: str, launcher: list[str]
) -> None:
    command = runtime(tmp_path, "podman").command(start(tmp_path, mpi=Mpi(kind, 6)))

    after_image = command.argv[command.argv.index("alpine:3") + 1 :]
    assert after_image == [*launcher, "-np", "6", "solve", "--fast", "a b"]


@pytest.mark.parametrize("name", ["apptainer", "podman", "udocker"])
@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"workdir": "nowhere"}, "working directory nowhere does not exist"),
        ({"mounts": (Mount("none", "/mnt"),)}, "there is no directory none"),
        ({"mounts": (Mount("../tmp", "/mnt"),)}, r"there is no directory \.\./tmp"),
    ],
)
def test_what_cannot_be_started_is_told_before(
    tmp_path: Path, name: str, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(NotRunnable, match=complaint):
        runtime(tmp_path, name).command(start(tmp_path, **changes))


def _is_absent(argv: Sequence[str]) -> tuple[int, str]:
    return (1, "no such image") if "inspect" in argv else (0, "")


def test_apptainer_pulls_an_image_once(tmp_path: Path) -> None:
    task = {"image": "alpine:3", "imagePullCredential": {"username": "me", "token": "secret"}}
    script = Script()
    apptainer = runtime(tmp_path, "apptainer")

    first, second = (apptainer.prepare(task, {}, script) for _ in range(2))

    (argv,) = script.ran
    assert (argv[:3], argv[4:]) == (["apptainer", "pull", "--force"], ["docker://alpine:3"])
    assert script.environments[0]["APPTAINER_DOCKER_PASSWORD"] == "secret"
    assert first.reference.endswith(".sif")
    assert (first.is_new, second.is_new) == (True, False)
    assert first.sha256 == second.sha256 != ""


def test_apptainer_takes_images_that_are_files_or_directories_as_they_are(tmp_path: Path) -> None:
    sif, tree, script = tmp_path / "x.sif", tmp_path / "tree", Script()
    sif.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0")
    tree.mkdir()
    apptainer = runtime(tmp_path, "apptainer")

    assert apptainer.prepare({"image": str(tree)}, {}, script) == Image(str(tree))
    assert apptainer.prepare({"image": "x.sif"}, {"x.sif": str(sif)}, script).reference == str(sif)
    assert script.ran == []


def test_an_image_of_another_digest_is_refused(tmp_path: Path) -> None:
    sif = tmp_path / "x.sif"
    sif.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0")

    with pytest.raises(ImageUnavailable, match=f"the task says {_DIGEST}"):
        runtime(tmp_path, "apptainer").prepare({"image": str(sif), "imageSha256": _DIGEST}, {}, Script())


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("docker://alpine:3", "docker.io/library/alpine:3"),
        ("team/tool:1", "docker.io/team/tool:1"),
        ("registry.example.org/team/tool", "registry.example.org/team/tool"),
        ("localhost:5000/tool", "localhost:5000/tool"),
    ],
)
def test_podman_asks_the_registry_that_a_name_means(tmp_path: Path, image: str, pulled: str) -> None:
    script = Script(_is_absent)

    found = runtime(tmp_path, "podman").prepare({"image": image}, {}, script)

    assert script.ran[-2] == ["podman", "pull", "--quiet", pulled]
    assert (found.reference, found.is_new) == (pulled, True)


def test_an_image_that_is_here_is_not_pulled(tmp_path: Path) -> None:
    script = Script(lambda _: (0, f"sha256:{_DIGEST}\n"))

    assert runtime(tmp_path, "docker").prepare({"image": "tool"}, {}, script) == Image("tool", _DIGEST)
    assert script.ran == [["docker", "image", "inspect", "--format={{.Id}}", "tool"]]


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_credentials_are_in_a_file_while_an_image_is_pulled(tmp_path: Path, name: str) -> None:
    task = {"image": "r.test/tool", "imagePullCredential": {"username": "me", "token": "secret"}}
    seen: list[str] = []

    def answer(argv: Sequence[str]) -> tuple[int, str]:
        if "pull" in argv:
            words = [word.partition("=")[2] for word in argv if word.startswith("--authfile=")]
            directory = script.environments[-1].get("DOCKER_CONFIG")
            file = words[0] if words else f"{directory}/config.json"
            seen.append(Path(file).read_text())
        return _is_absent(argv)

    script = Script(answer)
    runtime(tmp_path, name).prepare(task, {}, script)

    assert seen == ['{"auths": {"r.test": {"auth": "bWU6c2VjcmV0"}}}']
    assert "secret" not in str(script.ran)


@pytest.mark.parametrize(
    ("name", "image", "complaint"),
    [
        ("podman", "library://tool", "only apptainer can fetch from library://"),
        ("udocker", "shub://tool", "only apptainer can fetch from shub://"),
        ("docker", "/nowhere/x.tar", "there is no such file or directory"),
        ("apptainer", "/nowhere/x.sif", "there is no such file or directory"),
    ],
)
def test_images_that_cannot_be_had_are_told(tmp_path: Path, name: str, image: str, complaint: str) -> None:
    with pytest.raises(ImageUnavailable, match=complaint):
        runtime(tmp_path, name).prepare({"image": image}, {}, Script())


def test_a_failed_pull_tells_what_the_program_said(tmp_path: Path) -> None:
    script = Script(lambda _: (1, "connection refused\n"))

    for name in ("apptainer", "podman", "udocker"):
        with pytest.raises(ImageUnavailable, match="connection refused"):
            runtime(tmp_path, name).prepare({"image": "alpine"}, {}, script)


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ([], "host"),
        (["podman", "udocker"], "podman"),
        (["singularity", "podman"], "singularity"),
        (["docker"], "host"),  # its program alone, without a daemon, is of no use
        (["docker", "udocker"], "udocker"),
    ],
)
def test_auto_is_the_first_that_works(tmp_path: Path, installed: list[str], chosen: str) -> None:
    (tmp_path / "bin").mkdir()
    for name in installed:
        program = tmp_path / "bin" / name
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)

    assert choose_runtime("auto") == chosen


def test_a_runtime_that_is_not_installed_is_told() -> None:
    with pytest.raises(LocalServiceError, match="PROMINENCE_LOCAL_RUNTIME is podman, but there is no such"):
        choose_runtime("podman")
