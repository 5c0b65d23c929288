"""What becomes of a job or workflow when something fails, waits or ends, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from prominence.description.base import Description

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Policies(Description):
    """Policies that are 0, False or not set are left to the service."""

    def _left_out(self, _attribute: str, value: object) -> bool:
        return not value


class JobPolicies(_Policies):
    """How the service treats a job.

    - ``maximum_task_retries``: how often a failed task is tried again within the job, 1 to 6
    - ``maximum_retries``: how often a failed job is run again, 1 to 6
    - ``maximum_time_in_queue``: minutes, up to 44640; 0 waits until the job runs or fails. The
      documented -1 is refused by some servers
    - ``priority``: a larger number runs earlier, among the user's own jobs
    - ``leave_in_queue``: whether the ended job stays visible until it is removed, or for 90 days
    - ``ignore_task_failures``: whether the tasks after a failed one are run
    - ``run_serial_tasks_on_all_nodes``: whether tasks without MPI run on each node of a job
    - ``report_job_success_on_task_failure``: whether a workflow counts the job as successful though
      a task failed
    - ``auto_scaling_type``: ``none``, ``dedicated`` or ``shared``
    - ``maximum_idle_time_per_resource``: minutes, 1 to 44640
    - ``placement``: ``{"requirements": ..., "preferences": ...}``, each with lists of ``sites`` and
      ``regions``
    - ``preemptible``: whether the job may run where it can be interrupted
    """

    _wire: ClassVar[Mapping[str, str]] = {
        "maximum_task_retries": "maximumTaskRetries",
        "maximum_retries": "maximumRetries",
        "maximum_time_in_queue": "maximumTimeInQueue",
        "priority": "priority",
        "leave_in_queue": "leaveInQueue",
        "ignore_task_failures": "ignoreTaskFailures",
        "run_serial_tasks_on_all_nodes": "runSerialTasksOnAllNodes",
        "report_job_success_on_task_failure": "reportJobSuccessOnTaskFailure",
        "auto_scaling_type": "autoScalingType",
        "maximum_idle_time_per_resource": "maximumIdleTimePerResource",
        "placement": "placement",
        "preemptible": "preemptible",
    }

    def __init__(
        self,
        *,
        maximum_task_retries: int | None = None,
        maximum_retries: int | None = None,
        maximum_time_in_queue: int | None = None,
        priority: int | None = None,
        leave_in_queue: bool | None = None,
        ignore_task_failures: bool | None = None,
        run_serial_tasks_on_all_nodes: bool | None = None,
        report_job_success_on_task_failure: bool | None = None,
        auto_scaling_type: str | None = None,
        maximum_idle_time_per_resource: int | None = None,
        placement: Mapping[str, Any] | None = None,
        preemptible: bool | None = None,
    ) -> None:
        self.maximum_task_retries = maximum_task_retries
        self.maximum_retries = maximum_retries
        self.maximum_time_in_queue = maximum_time_in_queue
        self.priority = priority
        self.leave_in_queue = leave_in_queue
        self.ignore_task_failures = ignore_task_failures
        self.run_serial_tasks_on_all_nodes = run_serial_tasks_on_all_nodes
        self.report_job_success_on_task_failure = report_job_success_on_task_failure
        self.auto_scaling_type = auto_scaling_type
        self.maximum_idle_time_per_resource = maximum_idle_time_per_resource
        self.placement = placement
        self.preemptible = preemptible


class WorkflowPolicies(_Policies):
    """How the service treats a workflow.

    - ``maximum_retries``: how often each failed job is run again, 1 to 10
    - ``maximum_reruns``: how often a failed workflow is run again, 1 to 10
    - ``leave_in_queue``: whether the ended workflow stays visible until it is removed, or for 90
      days
    - ``placement``: as for jobs
    """

    _wire: ClassVar[Mapping[str, str]] = {
        "maximum_retries": "maximumRetries",
        "maximum_reruns": "maximumReruns",
        "leave_in_queue": "leaveInQueue",
        "placement": "placement",
    }

    def __init__(
        self,
        *,
        maximum_retries: int | None = None,
        maximum_reruns: int | None = None,
        leave_in_queue: bool | None = None,
        placement: Mapping[str, Any] | None = None,
    ) -> None:
        self.maximum_retries = maximum_retries
        self.maximum_reruns = maximum_reruns
        self.leave_in_queue = leave_in_queue
        self.placement = placement


class Notification(Description):
    """A message sent when something happens.

    ``event`` is ``jobFinished`` for jobs and ``workflowFinished`` for workflows, ``type`` is
    ``email``.
    """

    _wire: ClassVar[Mapping[str, str]] = {"event": "event", "type": "type"}

    def __init__(
        self,
        event: str | None = None,
        type: str | None = None,  # noqa: A002 - the specification's name
    ) -> None:
        self.event = event
        self.type = type
