"""A workflow with a life: submitted, waited for, run again, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from prominence.description import WorkflowDescription
from prominence.job import Job
from prominence.life import Life
from prominence.live import was_done
from prominence.snapshot import WorkflowSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prominence.client.calls import Listing
    from prominence.client.submission import Submission, Submitted
    from prominence.description import JobDescription
    from prominence.session import Session
    from prominence.watch import Watcher


class Workflow(Life[WorkflowSnapshot], WorkflowDescription):  # type: ignore[misc]  # as for jobs
    """Jobs, the order between them, and factories that make many of them from one.

    ``Workflow(name=..., jobs=[...])`` describes a new one, ``Workflow(id=9)`` attaches to one that exists.
    """

    _what = "workflow"
    _snapshot_type = WorkflowSnapshot
    job_type: ClassVar[type[Job]] = Job

    def __init__(self, id: int | None = None, *, session: Session | None = None, **description: Any) -> None:  # noqa: A002
        WorkflowDescription.__init__(self, **description)
        Life.__init__(self, id, session)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], session: Session | None = None) -> Self:
        """A new workflow that has this JSON; raises InvalidDescription where that has another structure."""
        made = super().from_dict(data)
        made._given_session = session  # noqa: SLF001 - of its own class
        return made

    @property
    def progress(self) -> dict[str, int]:
        """Numbers of jobs: ``total``, ``done``, ``failed``, ``queued``, ``waiting``; may lag by a minute."""
        return {} if self._id is None else self._current().progress

    @property
    def succeeded(self) -> bool:
        """True when the workflow has completed and all its jobs are done."""
        return self._id is not None and self._current().succeeded

    def _numbers(self, known: WorkflowSnapshot) -> Mapping[str, object]:
        return known.progress

    def delete(self) -> bool:
        """End the workflow and its jobs; False when it had ended before, or is not known."""
        return self._session.client.delete_workflow(self._known_id())

    def remove(self) -> bool:
        """Take the ended workflow out of the queue (policy ``leave_in_queue``); True when that was done."""
        return was_done(lambda: self._session.client.remove_workflow(self._known_id()))

    def rerun(self) -> int:
        """Run again what failed, once this workflow has ended; id of the new workflow.

        It is asked for once: SubmissionUncertain means that it may or may not have been made.
        """
        return self._session.client.rerun_workflow(self._known_id())

    def list_jobs(self) -> list[Job]:
        """The workflow's jobs as the service has them, those of its factories among them."""
        found = self._session.client.list_workflow_jobs(self._known_id()).entries
        return [Job.attached(entry, self._given_session) for entry in found]

    @property
    def _watcher(self) -> Watcher[WorkflowSnapshot]:
        return self._session.workflow_watcher

    def _look_for_twins(self, submission: Submission) -> None:
        self._session.client.check_workflow_is_single(submission)

    def _jobs_to_prepare(self) -> Iterable[JobDescription]:
        return self.jobs

    def _submit(self, description: dict[str, Any]) -> Submitted:
        if marks := self._submission.marks:
            for job in description["jobs"]:  # which are not given the labels of their workflow
                job["labels"] = {**job.get("labels", {}), **marks}
        return self._session.client.create_workflow(description, submission=self._submission)

    def _described(self) -> Listing:
        return self._session.client.describe_workflow(self._known_id())
