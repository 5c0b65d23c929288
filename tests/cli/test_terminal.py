"""What a terminal gets and a pipe does not: colours and progress; and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.programs import started
from support.terminal import run_on_terminal
from support.until import until

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from support.command import Command
    from support.service import LocalService

PROMINENCE = str(Path(sys.executable).with_name("prominence"))
ESCAPE = b"\x1b["


def on_terminal(*arguments: object) -> tuple[int, bytes]:
    """Exit code and all output of the command on a terminal of its own."""
    return run_on_terminal([PROMINENCE, *map(str, arguments)])


def test_progress_and_colours_are_for_terminals(served: Command) -> None:
    job = served.id("create", "alpine", "sleep 0.3")

    code, output = on_terminal("wait", job)

    assert code == 0
    assert b"0/1" in output
    assert b"\x1b[32mcompleted" in output
    assert ESCAPE.decode() not in served("wait", job).output


def test_transfers_show_progress(served: Command) -> None:
    served.write("large.bin", "x" * 3_000_000)
    job = served.id("create", "--output", "a.txt", "alpine", "sh -c 'echo a > a.txt'")
    served("wait", job)

    code, output = on_terminal("upload", "--filename", "large.bin")
    assert code == 0
    assert b"uploading large.bin" in output
    code, output = on_terminal("download", job)

    assert code == 0
    assert b"downloading" in output
    assert (served.directory / "a.txt").read_text() == "a\n"
    served("rm", "large.bin")


def interrupted(waiting: subprocess.Popen[str]) -> str:
    """The messages of a command after Ctrl-C."""
    waiting.send_signal(signal.SIGINT)
    _, messages = waiting.communicate()
    assert waiting.returncode == 130, messages
    return messages


def start(*arguments: object) -> AbstractContextManager[subprocess.Popen[str]]:
    words = [PROMINENCE, *map(str, arguments)]
    return started(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads of a process are seen in /proc")
def test_an_interrupted_wait_leaves_the_job_and_says_how_to_come_back(
    served: Command, service: LocalService
) -> None:
    job = served.id("create", "alpine", "sleep 600")
    with start("wait", job) as waiting:
        until(lambda: len(list(Path(f"/proc/{waiting.pid}/task").iterdir())) > 1)  # the watcher's thread
        assert f"prominence wait {job}\n" in interrupted(waiting)

    assert service.describe(job)["status"] in {"idle", "running"}
    served("delete", job)


def test_an_interrupted_submit_leaves_the_job_too(served: Command, service: LocalService) -> None:
    with start("submit", "--", "sh", "-c", "echo begun; exec sleep 600") as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "begun\n"
        messages = interrupted(waiting)

    job = int(messages.split()[1])
    assert f"prominence logs -f {job}\n" in messages
    assert service.describe(job)["status"] == "running"
    served("delete", job)
