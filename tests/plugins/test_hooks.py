"""Each hook does what its documentation says; a test is named for its hook."""

from __future__ import annotations

import ast
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

import prominence_executors
from prominence import Job, Resources, Task, Workflow
from prominence.cli import prominence
from prominence.exceptions import JobFailedError, ProminenceError, TaskExitError
from prominence.plugins import hookspecs as core_hooks
from prominence_executors import ProminenceExecutor, hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence import Session
    from prominence.description import JobDescription
    from prominence.snapshot import JobSnapshot

ROOT = Path(__file__).parent.parent.parent
HOOKS = {
    name: value
    for module in (core_hooks, hookspecs)
    for name, value in vars(module).items()
    if name.startswith("prominence_")
}


class LicenceMissing(JobFailedError):
    """No licence was free."""


class Opaque:
    """Has what cannot be pickled."""

    def __init__(self, number: int) -> None:
        self.lock = threading.Lock()
        self.number = number


def _job(session: Session, **fields: Any) -> Job:
    return Job(
        session=session,
        name="hooked",
        tasks=[Task(image="none", command="true")],
        resources=Resources(cpus=1, memory=1),
        **fields,
    )


def test_prominence_executors_adds_one_by_name(implement: Callable[..., None]) -> None:
    implement(prominence_executors=lambda: {"threads": ThreadPoolExecutor})

    with prominence_executors.create("threads", max_workers=1) as executor:
        assert executor.submit(sum, [1, 2]).result() == 3


def test_prominence_executors_of_the_plugin_registered_last_wins(implement: Callable[..., None]) -> None:
    implement(prominence_executors=lambda: {"some": dict})
    implement(prominence_executors=lambda: {"some": list})

    assert prominence_executors.available()["some"] is list


def test_prominence_host_adapters_are_named_and_not_imported(implement: Callable[..., None]) -> None:
    implement(prominence_host_adapters=lambda: {"luigi": "no_such_module:Task"})

    assert prominence_executors.host_adapters()["luigi"] == "no_such_module:Task"


def test_prominence_commands_adds_a_verb(implement: Callable[..., None]) -> None:
    @click.command()
    def hello() -> None:
        click.echo("hello from a plugin")

    implement(prominence_commands=lambda: [hello])

    assert CliRunner().invoke(prominence, ["hello"]).output == "hello from a plugin\n"


def test_prominence_prepare_job_changes_what_is_submitted(
    implement: Callable[..., None], session: Session
) -> None:
    def label(job: JobDescription) -> None:
        job.labels = {**job.labels, "project": "climate"}

    implement(prominence_prepare_job=label)

    job = _job(session)
    job.create()
    workflow = Workflow(session=session, name="hooked", jobs=[_job(session)])
    workflow.create()
    with ProminenceExecutor(session=session) as executor:
        done = executor.submit("true")

    assert [entry["id"] for entry in _labelled(session, job.id)] == [job.id]
    assert workflow.to_dict()["jobs"][0]["labels"] == {"project": "climate"}
    assert _labelled(session, done.job.id)


def _labelled(session: Session, job_id: int | None) -> list[dict[str, Any]]:
    found = session.client.list_jobs(everything=True, label=("project", "climate"), detail=True).entries
    return [entry for entry in found if entry["id"] == job_id]


def test_prominence_prepare_job_vetoes_by_raising(implement: Callable[..., None], session: Session) -> None:
    def veto(job: JobDescription) -> None:
        raise ProminenceError(f"job {job.name} is over budget")

    implement(prominence_prepare_job=veto)
    job = _job(session)

    with pytest.raises(ProminenceError, match="job hooked is over budget"):
        job.create()
    with ProminenceExecutor(session=session) as executor, pytest.raises(ProminenceError, match="over budget"):
        executor.submit("true").result()
    assert job.id is None


def test_prominence_reducers_pickle_what_has_no_pickle(
    implement: Callable[..., None], session: Session
) -> None:
    implement(prominence_reducers=lambda: {Opaque: lambda opaque: (complex, (opaque.number,))})

    with ProminenceExecutor(session=session) as executor:
        assert executor.submit(abs, Opaque(-7)).result() == 7
        assert executor.submit(max, [Opaque(-7)], key=abs).result() == complex(-7)


def test_prominence_job_changed_sees_each_state_and_may_fail(
    implement: Callable[..., None], session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, str]] = []

    def see(job: Job, snapshot: JobSnapshot) -> None:
        seen.append((snapshot.id, snapshot.status))
        raise ValueError(f"no counter for {job.name}")

    implement(prominence_job_changed=see)

    with ProminenceExecutor(session=session) as executor:
        future = executor.submit("true")

    assert future.result().returncode == 0
    assert seen[-1] == (future.job.id, "completed")
    assert f"job {future.job.id}: a plugin failed" in caplog.text
    assert "no counter for true" in caplog.text


def test_prominence_classify_failure_comes_before_the_rules(
    implement: Callable[..., None], session: Session
) -> None:
    def classify(job: Job, snapshot: JobSnapshot) -> type[JobFailedError] | None:
        return LicenceMissing if job.name and 42 in snapshot.exit_codes else None

    implement(prominence_classify_failure=classify)

    with ProminenceExecutor(session=session) as executor:
        with pytest.raises(LicenceMissing) as told:
            executor.submit(["sh", "-c", "exit 42"]).result()
        with pytest.raises(LicenceMissing):
            executor.submit(os._exit, 42).result()
        with pytest.raises(TaskExitError):
            executor.submit("false").result()
    assert told.value.exit_codes == (42,)


def test_prominence_classify_failure_that_fails_hides_nothing(
    implement: Callable[..., None], session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    def classify(job: Job) -> None:
        raise ValueError(job.name)

    implement(prominence_classify_failure=classify)

    with ProminenceExecutor(session=session) as executor, pytest.raises(TaskExitError):
        executor.submit("false").result()
    assert "a plugin could not classify its failure" in caplog.text


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_every_hook_says_when_it_is_called_and_shows_an_example(hook: str) -> None:
    text = HOOKS[hook].__doc__ or ""

    assert "Called " in text
    assert f"@hookimpl\n        def {hook}(" in text
    assert f"| `{hook}(" in (ROOT / "docs" / "plugins.md").read_text()


def test_every_hook_has_a_test() -> None:
    tests = {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    }

    untested = [hook for hook in HOOKS if not any(name.startswith(f"test_{hook}_") for name in tests)]

    assert not untested
