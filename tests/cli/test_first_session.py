"""A first session at a shell, as a new user types it: the real command, a process for each line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.programs import started

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from support.service import LocalService

PROMINENCE = Path(sys.executable).with_name("prominence")
SWEEP = """
name: sweep
jobs:
  - name: square
    tasks:
      - image: alpine
        cmd: sh -c '(test $n -lt 4 || test -e {marker}) && echo $(($n * $n)) > square_$n.txt'
    resources: {{cpus: 1, memory: 1, disk: 1, nodes: 1}}
    outputFiles: ["square_$n.txt"]
factories:
  - name: numbers
    type: parameterSweep
    jobs: [square]
    parameters: [{{name: n, start: 2, end: 4, step: 1}}]
"""


class Shell:
    def __init__(self, directory: Path, service: LocalService) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "PROMINENCE_URL": service.endpoint.url,
            "PROMINENCE_TOKEN": service.endpoint.token,
        }

    def start(self, *arguments: object) -> AbstractContextManager[subprocess.Popen[str]]:
        return started(
            [PROMINENCE, *map(str, arguments)],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *arguments: object, code: int = 0) -> str:
        with self.start(*arguments) as process:
            printed, messages = process.communicate()
        assert process.returncode == code, messages
        return printed


@pytest.fixture
def shell(tmp_path: Path, service: LocalService) -> Shell:
    return Shell(tmp_path, service)


def test_a_job_from_its_creation_to_its_files(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("b\na\n")

    job = shell(
        *("create", "--name", "sorting", "--input", "words.txt", "--output", "sorted.txt", "alpine"),
        "sh -c 'sort words.txt | tee sorted.txt'",
    ).strip()

    assert shell("logs", "-f", job) == "a\nb\n"
    assert shell("wait", job).splitlines()[1].split() == [job, "completed", "0"]
    assert job in shell("list", "--completed", "-n", "50")
    assert shell("stdout", job) == "a\nb\n"
    assert json.loads(shell("describe", job))["name"] == "sorting"
    assert shell("download", job) == "sorted.txt\n"
    assert (tmp_path / "sorted.txt").read_text() == "a\nb\n"


def test_a_workflow_with_a_sweep_a_failure_and_a_rerun(shell: Shell, tmp_path: Path) -> None:
    marker = tmp_path / "mended"
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(marker=marker))
    shell("validate", "sweep.yaml")

    first = shell("run", "sweep.yaml").strip()
    assert " failed" in shell("wait", "workflow", first, code=1)
    marker.touch()
    again = shell("rerun", first).strip()
    shell("wait", "workflow", again)

    assert len(shell("list", "jobs", first).splitlines()) == 4
    assert first in shell("list", "workflows", "-a")
    assert shell("download", "workflow", first, "--dir", code=1).count("square_") == 2
    assert {file.read_text() for file in tmp_path.glob("*/square_*.txt")} == {"4\n", "9\n"}
    shell("download", "workflow", again)
    assert (tmp_path / "square_4.txt").read_text() == "16\n"


def test_keys_objects_and_usage(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mesh.txt").write_text("1 2 3\n")

    shell("kv", "set", "shell/best", "0.42")
    assert shell("kv", "get", "shell/best") == "0.42\n"
    assert shell("kv", "list", "shell") == "/shell/best\n"
    shell("kv", "delete", "--prefix", "shell")
    shell("kv", "get", "shell/best", code=3)
    shell("upload", "--name", "shell-mesh", "--filename", "mesh.txt")
    assert shell("submit", "--artifact", "shell-mesh", "--", "cat", "shell-mesh") == "1 2 3\n"
    assert "shell-mesh" in shell("ls", "-l")
    shell("rm", "shell-mesh")
    assert "JOBS" in shell("usage", "2020-01-01", "2099-12-31")
    assert "local" in shell("resources")


def test_submit_is_as_if_the_command_ran_here(shell: Shell) -> None:
    with shell.start("submit", "sh", "-c", 'echo "$0 $$ out"; echo err >&2; exit 7', "a  b") as process:
        printed, messages = process.communicate()

    assert process.returncode == 7
    assert printed.startswith("a  b ")
    assert "err\n" in messages


def test_interrupted_waiting_leaves_the_job_and_says_how_to_come_back(
    shell: Shell, service: LocalService
) -> None:
    job = shell("create", "alpine", "sh -c 'echo begun; exec sleep 600'").strip()
    with shell.start("logs", "-f", job) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "begun\n"
        waiting.send_signal(signal.SIGINT)
        _, messages = waiting.communicate()

    assert waiting.returncode == 130
    assert f"prominence wait {job}" in messages
    assert service.describe(int(job))["status"] == "running"
    shell("delete", job)
    shell("wait", job, code=1)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("prominence desc", "plain,describe"), ("prominence list --comp", "plain,--completed")],
)
def test_a_shell_completes_verbs_and_options(shell: Shell, typed: str, completed: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    shell.environment |= {"_PROMINENCE_COMPLETE": "bash_complete", **words}

    assert completed in shell().splitlines()
