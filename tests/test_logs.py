"""What the packages log: under which names, about which job, and what is never in it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.arrays import array_of, value
from support.until import until

from prominence import Job, Task, Workflow
from prominence_executors import ProminenceExecutor, Retries

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from support.service import LocalService

    from prominence import Session

ROOT = Path(__file__).parents[1]
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log", "tell"}
OF_JOB = re.compile(r"\b(job|workflow|attempt|call|twin|fence|submission)s? %")
SUBJECT = re.compile(r"(job|workflow) (\d+|\(.+?\)): ")


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("prominence", "prominence_executors"):
        for file in (ROOT / package).rglob("*.py"):
            yield file.relative_to(ROOT), ast.parse(file.read_text())


def told(caplog: pytest.LogCaptureFixture, job: Job) -> list[str]:
    """What was logged about a job, without its name."""
    texts = [record.getMessage() for record in caplog.records if getattr(record, "job_id", None) == job.id]
    return [text.removeprefix(f"job {job.id}: ") for text in texts]


def test_there_is_one_way_to_a_logger() -> None:
    makers = {
        str(path)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "getLogger"
    }

    not_to_log = {"prominence/notices.py", "prominence/client/urls.py", "prominence/local/__main__.py"}
    assert makers - not_to_log == {"prominence/logs.py"}


def test_no_record_names_a_job_in_a_way_of_its_own() -> None:
    """What is logged with a module's own logger is about no job in particular."""
    named = [
        f"{path}:{node.lineno}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _has_own_logger(node)
        for text in node.args
        if isinstance(text, ast.Constant) and OF_JOB.search(str(text.value))
    ]

    assert named == []


def _has_own_logger(call: ast.Call) -> bool:
    made = call.func
    if not isinstance(made, ast.Attribute) or made.attr not in LEVELS:
        return False
    logger = call.args[0] if made.attr == "tell" and call.args else made.value
    return isinstance(logger, ast.Name) and logger.id == "log"


def test_the_life_of_a_call_is_told(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "prominence")
    with ProminenceExecutor(session=session) as executor:
        succeeds, raises = executor.submit(pow, 2, 3), executor.submit(divmod, 1, 0)
        fails = executor.with_options(retries=Retries(user=1)).submit("sh -c 'exit 3'")
        assert succeeds.result() == 8
        assert isinstance(raises.exception(), ZeroDivisionError)
        assert fails.exception() is not None

    first, *_, state, last = told(caplog, succeeds.job)
    assert first.startswith("submitted as 'pow', submission ")
    assert (state, last) == ("completed", "its call has ended with a value")
    assert told(caplog, raises.job)[-1] == "its call has ended with ZeroDivisionError"
    before, job = (attempt.job for attempt in fails.attempts)
    assert told(caplog, before)[-1] == "tried again as a new job, after TaskExitError"
    assert told(caplog, job)[-1] == "its call has ended with TaskExitError"


def test_every_record_about_a_job_says_so_in_the_same_way(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "prominence")

    def fall_over(_: object) -> None:
        raise SystemExit

    with ProminenceExecutor(session=session, kill_when_cancelled=True) as executor:
        future = executor.submit("sleep 600")
        future.add_done_callback(fall_over)
        until(lambda: future.status == "running")
        future.cancel()
        executor.submit(sys._getframe).exception()  # its value cannot be pickled
        executor.submit(print, sys._getframe()).exception()  # nor can this argument
        assert [value(future) for future in array_of(executor, abs, range(3))] == [0, 1, 2]
    workflow = Workflow(
        name="w", jobs=[Job(name="j", tasks=[Task(image="i", command="true")])], session=session
    )
    workflow.create()
    workflow.wait()

    ours = [record for record in caplog.records if record.name.startswith("prominence")]
    assert [record.name for record in ours if not record.name.startswith("prominence.")] == []
    assert "prominence.executors.call" in {record.name for record in ours}
    for record in ours:
        subject = SUBJECT.match(record.getMessage())
        assert (subject is not None) == hasattr(record, "job_id"), record.getMessage()
        if subject is not None and subject[2].isdecimal():
            assert int(subject[2]) == getattr(record, f"{subject[1]}_id")
        if subject is None:
            assert not re.search(r"\bjob\b", record.getMessage())
    assert f"job {future.job.id}: a callback of its future failed" in caplog.text
    assert f"workflow {workflow.id}: completed" in caplog.text


def test_secrets_are_in_no_record(
    service: LocalService, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with ProminenceExecutor(session=session) as executor:
        data = executor.put(b"x" * 3_000_000)
        assert executor.submit(len, data).result() == 3_000_000
        executor.close(delete=True)

    assert service.endpoint.token not in caplog.text
    assert "signature=" not in caplog.text
