"""Policies and notifications."""

from __future__ import annotations

from prominence.description import JobPolicies, Notification, WorkflowPolicies

JOB_POLICIES = {
    "maximum_task_retries": ("maximumTaskRetries", 2),
    "maximum_retries": ("maximumRetries", 3),
    "maximum_time_in_queue": ("maximumTimeInQueue", -1),
    "priority": ("priority", 5),
    "leave_in_queue": ("leaveInQueue", True),
    "ignore_task_failures": ("ignoreTaskFailures", True),
    "run_serial_tasks_on_all_nodes": ("runSerialTasksOnAllNodes", True),
    "report_job_success_on_task_failure": ("reportJobSuccessOnTaskFailure", True),
    "auto_scaling_type": ("autoScalingType", "dedicated"),
    "maximum_idle_time_per_resource": ("maximumIdleTimePerResource", 60),
    "placement": ("placement", {"requirements": {"sites": ["A"]}}),
    "preemptible": ("preemptible", True),
}
WORKFLOW_POLICIES = {
    "maximum_retries": ("maximumRetries", 10),
    "maximum_reruns": ("maximumReruns", 2),
    "leave_in_queue": ("leaveInQueue", True),
    "placement": ("placement", {"preferences": {"regions": ["B"]}}),
}


def test_job_policies_have_their_wire_names() -> None:
    policies = JobPolicies(**{name: value for name, (_, value) in JOB_POLICIES.items()})
    sent = dict(JOB_POLICIES.values())
    assert policies.to_dict() == policies.json() == sent
    assert JobPolicies.from_dict(sent) == policies
    assigned = JobPolicies()
    for name, (_, value) in JOB_POLICIES.items():
        setattr(assigned, name, value)
    assert assigned == policies


def test_workflow_policies_have_their_wire_names() -> None:
    policies = WorkflowPolicies(**{name: value for name, (_, value) in WORKFLOW_POLICIES.items()})
    assert policies.to_dict() == dict(WORKFLOW_POLICIES.values())
    assert WorkflowPolicies.from_dict(policies.to_dict()) == policies


def test_what_is_0_false_or_none_is_left_out() -> None:
    assert JobPolicies().to_dict() == {}
    assert (
        JobPolicies(
            maximum_retries=0,
            maximum_time_in_queue=0,
            priority=0,
            leave_in_queue=False,
            auto_scaling_type=None,
            placement={},
        ).to_dict()
        == {}
    )
    assert JobPolicies(priority=0) == JobPolicies()
    assert repr(JobPolicies(priority=0, maximum_retries=2)) == "JobPolicies(maximum_retries=2)"


def test_policies_of_jobs_and_workflows_differ_in_type() -> None:
    assert JobPolicies(maximum_retries=2) != WorkflowPolicies(maximum_retries=2)


def test_notification() -> None:
    notification = Notification("jobFinished", "email")
    assert notification.to_dict() == {"event": "jobFinished", "type": "email"}
    assert Notification.from_dict(notification.to_dict()) == notification
    assert Notification().to_dict() == {}
    assert repr(notification) == "Notification(event='jobFinished', type='email')"
