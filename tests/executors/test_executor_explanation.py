"""What `future.explain()` says."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.items import reciprocal
from support.until import until

from prominence import Resources, exceptions
from prominence.exceptions import ProminenceError
from prominence_executors import ProminenceExecutor, Retries
from prominence_executors.advice import next_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prominence import Session
    from prominence_executors import ProminenceFuture


def told(future: ProminenceFuture[object]) -> str:
    """The explanation of a future that has its outcome, with ids and times left out."""
    future.exception()
    text = re.sub(r"job \d+", "job N", future.explain())
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "WHEN", text)


def test_an_exit_code(executor: ProminenceExecutor) -> None:
    assert told(executor.submit("sh -c 'echo because >&2; exit 3'")) == (
        "job N (sh) failed\n"
        "timeline, by the service's clock:\n"
        "  WHEN  created\n"
        "  WHEN  started\n"
        "  WHEN  ended: completed\n"
        "cause: TaskExitError: job N (sh -c 'echo because >&2; exit 3') ended with exit code 3; "
        "look at its standard error\n"
        "evidence:\n"
        "  exit codes of its tasks: 3\n"
        "  site: local\n"
        "  last lines of its standard error:\n"
        "    because\n"
        "next step: look at its standard error\n"
    )


def test_an_exception(executor: ProminenceExecutor) -> None:
    text = told(executor.submit(reciprocal, 0))

    assert "cause: ZeroDivisionError: division by zero\n" in text
    assert "  where it was raised in the job:\n    Traceback (most recent call last):\n" in text
    assert "    ZeroDivisionError: division by zero\nnext step: correct the function" in text


def test_a_file_that_the_job_does_not_see(executor: ProminenceExecutor) -> None:
    text = told(executor.submit(lambda: Path("data.csv").read_text(encoding="utf-8")))

    assert "cause: FileNotFoundError: [Errno 2] No such file or directory: 'data.csv'\n" in text
    assert "next step: send the file as one of input_files, or name it by a path that the job can see" in text


def test_a_reason_of_the_service(executor: ProminenceExecutor) -> None:
    text = told(executor.with_options(resources=Resources(cpus=1000)).submit("true"))

    assert "cause: NoMatchingResources: job N (true) failed: No matching resources; ask for fewer" in text
    assert "  the service's reason: No matching resources\n" in text
    assert text.endswith("next step: ask for fewer cpus or less memory, or for a longer time in the queue\n")


def test_a_lost_process(executor: ProminenceExecutor) -> None:
    text = told(executor.submit(lambda: os.kill(os.getpid(), 9)))

    assert "cause: CallLost: job N (lambda) was ended by signal 9 (SIGKILL); " in text
    assert "  exit codes of its tasks: -9\n" in text


def test_what_was_never_sent(executor: ProminenceExecutor) -> None:
    assert told(executor.submit(len, threading.Lock())) == (
        "len failed and was never sent\n"
        "cause: TypeError: cannot pickle '_thread.lock' object\n"
        "next step: correct the function, or what it was given\n"
    )


def test_attempts_before(executor: ProminenceExecutor, tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.mkdir()

    (tmp_path / "there").mkdir()
    text = told(executor.with_options(retries=Retries(user=1)).submit(make, tmp_path / "there"))

    assert "evidence:\n  job N was tried before: FileExistsError: [Errno 17]" in text
    assert "cause: FileExistsError" in text


def test_success(executor: ProminenceExecutor) -> None:
    text = told(executor.submit(reciprocal, 4))

    assert text.startswith("job N (reciprocal) succeeded\ntimeline")
    assert text.endswith("next step: use future.result()\n")


def test_what_is_under_way(session: Session) -> None:
    with ProminenceExecutor(max_workers=1, session=session) as executor:
        first, second = executor.submit("sleep 600"), executor.submit("true")
        until(lambda: first.status == "running")

        running, waiting = first.explain(), second.explain()
        second.cancel()
        first.kill()

    assert re.match(r"job \d+ \(sleep\) is running, as last heard\n", running)
    assert waiting == (
        "true waits here for its turn to be sent\n"
        "next step: wait for it, look at future.logs(), or end it with future.kill()\n"
    )
    assert second.explain() == (
        "true was cancelled before it was sent\nnext step: submit it again if it is wanted after all\n"
    )


BASES = {exceptions.RequestFailure, exceptions.SessionError}  # nothing is raised as just these


def kinds(root: type[ProminenceError]) -> Iterator[type[ProminenceError]]:
    for kind in root.__subclasses__():
        if kind.__module__ == exceptions.__name__:
            yield kind
            yield from kinds(kind)


@pytest.mark.parametrize("kind", sorted({*kinds(ProminenceError)} - BASES, key=str))
def test_every_failure_has_a_next_step(kind: type[ProminenceError]) -> None:
    assert next_step(kind)
