"""A workflow with a life: submitted, waited for, run again, deleted."""

from __future__ import annotations

import secrets
import threading
from typing import Any, ClassVar

from prominence.description import WorkflowDescription
from prominence.exceptions import NotFound, ProminenceError, SubmissionUncertain
from prominence.job import Job
from prominence.live import check_known, was_done
from prominence.session import Session
from prominence.snapshot import WorkflowSnapshot
from prominence.waiting import wait_for_end


class Workflow(WorkflowDescription):
    """Jobs, the order between them, and factories that make many of them from one.

    ``Workflow(name=..., jobs=[...])`` describes a new one, ``Workflow(id=9)`` attaches to one that exists.
    """

    job_type: ClassVar[type[Job]] = Job

    def __init__(self, id: int | None = None, *, session: Session | None = None, **description: Any) -> None:  # noqa: A002
        super().__init__(**description)
        self._id = id
        self._given_session = session
        self._tag = secrets.token_hex(16)
        self._was_sent = False
        self._creating = threading.Lock()
        self._snapshot: WorkflowSnapshot | None = None

    __hash__ = object.__hash__  # type: ignore[assignment]  # descriptions have none: they compare by value

    def __eq__(self, other: object) -> bool:
        """Two descriptions may be equal; a workflow that runs is only ever itself."""
        return self is other

    @property
    def id(self) -> int | None:
        """The service's number for the workflow; None before :meth:`create`."""
        return self._id

    @property
    def status(self) -> str | None:
        """``idle``, ``running``, and at the end ``completed``, ``failed`` or ``deleted``; None at first.

        Some services say ``completed`` before all jobs are done: see :attr:`succeeded`.
        """
        return None if self._id is None else self._current().status

    @property
    def status_reason(self) -> str:
        """Why the workflow has its status, in the service's words; often empty."""
        return "" if self._id is None else self._current().reason

    @property
    def events(self) -> dict[str, int]:
        """Unix epochs ``createTime``, ``startTime`` and ``endTime``, as far as they are known."""
        return {} if self._id is None else self._current().events

    @property
    def progress(self) -> dict[str, int]:
        """Numbers of jobs: ``total``, ``done``, ``failed``, ``queued``, ``waiting``; may lag by a minute."""
        return {} if self._id is None else self._current().progress

    @property
    def succeeded(self) -> bool:
        """True when the workflow has completed and all its jobs are done."""
        return self._id is not None and self._current().succeeded

    def create(self) -> int:
        """Submit the workflow; its id. See :meth:`Job.create`."""
        with self._creating:
            if self._id is not None:
                raise ProminenceError(f"the workflow is submitted already, as {self._id}")
            self.validate()
            client = self._session.client
            try:
                submitted = client.create_workflow(self.to_dict(), tag=self._tag, was_sent=self._was_sent)
            except SubmissionUncertain:
                self._was_sent = True
                raise
            self._id = submitted.id
            return self._id

    def wait(self, timeout: float = 0) -> str:
        """Wait until the workflow has ended; its last status.

        ``timeout`` is in seconds, 0 waits for ever. ``completed`` is only believed when all jobs are done, or
        two minutes after it was first seen. Raises as :meth:`Job.wait`.
        """
        if self._snapshot is not None and self._snapshot.has_certainly_ended:
            return self._snapshot.status
        watcher = self._session.workflow_watcher
        self._snapshot = wait_for_end(watcher, "workflow", self._known_id(), None, timeout)
        return self._snapshot.status

    def done(self) -> bool:
        """True when the workflow has ended, in whatever way; asks the service."""
        return self._current().has_certainly_ended

    def delete(self) -> bool:
        """End the workflow and its jobs; False when it had ended before, or is not known."""
        return self._session.client.delete_workflow(self._known_id())

    def remove(self) -> bool:
        """Take the ended workflow out of the queue (policy ``leave_in_queue``); True when that was done."""
        return was_done(lambda: self._session.client.remove_workflow(self._known_id()))

    def rerun(self) -> int:
        """Run again what failed, once this workflow has ended; id of the new workflow.

        It is never sent twice: ServiceUnavailable means that it may or may not have arrived.
        """
        return self._session.client.rerun_workflow(self._known_id())

    def list_jobs(self) -> list[Job]:
        """The workflow's jobs as the service has them, those of its factories among them."""
        found = self._session.client.list_workflow_jobs(self._known_id()).jobs
        return [Job.attached(entry, self._given_session) for entry in found]

    @property
    def _session(self) -> Session:
        return self._given_session or Session.default()

    def _known_id(self) -> int:
        return check_known(self._id, "workflow")

    def _current(self) -> WorkflowSnapshot:
        """The state now; what has ended is not asked for again."""
        if self._snapshot is None or not self._snapshot.has_certainly_ended:
            found = self._session.client.describe_workflow(self._known_id())
            if not found:
                raise NotFound(f"the service does not know workflow {self._id}, or it is somebody else's")
            self._snapshot = WorkflowSnapshot(found[0])
        return self._snapshot
