"""A workflow of jobs."""

from __future__ import annotations

from typing import ClassVar

from prominence.description import WorkflowDescription
from prominence.job import Job


class Workflow(WorkflowDescription):
    """Jobs, the order between them, and factories that make many of them from one."""

    job_type: ClassVar[type[Job]] = Job
