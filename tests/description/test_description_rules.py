"""The rules: each answer recorded from a real service, and each rule that none was recorded for."""

from __future__ import annotations

import copy
import itertools
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prominence.description import Violation, check_job, check_workflow

RECORDED = json.loads(Path(__file__).with_name("recorded_answers.json").read_text())
CHECKS = {"job": check_job, "workflow": check_workflow}

# Refused for what a service has stored, which a description does not tell.
NEED_A_STORE = {"artifact missing object", "image object missing"}

# Refused, though documented or let through by the service's own validator: a warning.
WARNINGS = {
    "policy maximumTimeInQueue -1": "the maximum time in queue must be an integer",
    "wf name missing": "Workflow submission failed",
    "wf name empty": "Workflow submission failed",
    "wf name with space": "Workflow submission failed",
    "input content not base64": "each input must contain base64 encoded content",
    "wf jobs empty": "a workflow must contain jobs",
    "wf dependency unknown parent": 'parent job "zz" is not actually defined',
    "wf dependency cycle": "dependencies form a cycle",
}


def by_kind(found: list[Violation], kind: str) -> list[Violation]:
    return [violation for violation in found if violation.kind == kind]


@pytest.mark.parametrize("case", RECORDED, ids=[case["label"] for case in RECORDED])
def test_recorded_answers(case: dict[str, Any]) -> None:
    before = copy.deepcopy(case["body"])
    found = CHECKS[case["kind"]](case["body"])
    assert case["body"] == before
    invalid = by_kind(found, "invalid")
    label = case["label"]
    if label in WARNINGS:
        assert invalid == []
        assert WARNINGS[label] in [v.message[: len(WARNINGS[label])] for v in found]
    elif label in NEED_A_STORE or case["status"] == 201:
        assert found == []
    elif case["status"] == 400:
        assert invalid[0].message == case["error"]
    else:
        assert case["status"] == 500
        assert len(invalid) == 1


TASK = {"image": "a", "runtime": "singularity", "cmd": "true"}
JOB: dict[str, Any] = {
    "name": "x",
    "resources": {"cpus": 4, "memory": 1, "disk": 1, "nodes": 1, "walltime": 1},
    "tasks": [TASK],
}


def with_task(**fields: Any) -> dict[str, Any]:
    return {**JOB, "tasks": [{**TASK, **fields}]}


def with_resources(*without: str, **fields: Any) -> dict[str, Any]:
    kept = {name: value for name, value in JOB["resources"].items() if name not in without}
    return {**JOB, "resources": {**kept, **fields}}


def with_policy(**fields: Any) -> dict[str, Any]:
    return {**JOB, "policies": fields}


PROCS_LESS = "number of processes per node must be less than number of CPU cores per node"
MPIRUN = "it is not necessary to include mpirun in the cmd if an MPI flavour has been specified"
MPI_COMMAND = "A command to execute must be specified for MPI jobs"
CREDENTIAL = "a username and token must be specified in the image pull credential"
RANGE = "cpusRange must be a list containing the min and max allowed number of CPUs"
TOTAL = "totalCpusRange must be a list containing the min and max allowed total number of CPUs"
OPTIONS = "cpusOptions must be a list containing the two possible number of CPUs"
NOT_BASE64 = "each input must contain base64 encoded content"
ENVIRONMENT = "environment variables must be strings or numbers"
EMAIL = {"event": "jobFinished", "type": "email"}
STAGEOUT = "Stageout failed due to no such file or directory"
TASK_RETRIES = "the number of task retries must be an integer"
QUEUE = "the maximum time in queue must be less than 44640"
IDLE = "the maximum idle time per resource must be"

# What is sent, the path that is named, the text.
INVALID_JOBS: list[tuple[Any, str, str]] = [
    (with_task(cmd="echo 'a"), "tasks[0].cmd", "cmd cannot be split into words"),
    (with_task(cmd="echo a\\"), "tasks[0].cmd", "cmd cannot be split into words"),
    (
        {**JOB, "artifacts": [{"url": "ftp://host.example/set.tgz"}]},
        "artifacts[0].url",
        "Artifact ftp://host.example/set.tgz does not exist",
    ),
    (None, "description", "a job description must be a JSON object"),
    ([], "description", "a job description must be a JSON object"),
    ({**JOB, "name": "a\nb"}, "name", "invalid job name"),
    ({**JOB, "name": "ä"}, "name", "invalid job name"),
    (
        {**JOB, "labels": {"a" * 513: "x"}},
        "labels." + "a" * 513,
        "label names must be less than 512 characters in length",
    ),
    (
        {**JOB, "labels": {"a": "x" * 513}},
        "labels.a",
        "label values must be less than 512 characters in length",
    ),
    ({**JOB, "labels": {"a": "x\n"}}, "labels.a", 'label value "x\n" is invalid'),
    ({**JOB, "resources": None}, "resources", "resources must be an object"),
    (with_resources(cpus=True), "resources.cpus", "number of cpus must be an integer"),
    (with_resources(nodes="1"), "resources.nodes", "number of nodes must be an integer"),
    (with_resources(disk=0), "resources.disk", "disk must be at least 1"),
    (with_resources(disk=1.5), "resources.disk", "required disk must be an integer"),
    (with_resources("disk"), "resources.disk", "disk must be defined"),
    (with_resources(walltime="60"), "resources.walltime", "required walltime must be an integer"),
    (with_resources(memory="1"), "resources.memory", "memory must be an integer"),
    (with_resources(memory=-0.5), "resources.memory", "memory must be at least 1"),
    (with_resources(memory=float("nan")), "resources.memory", "memory must be an integer"),
    (
        with_resources("memory", memoryPerCpu=0),
        "resources.memoryPerCpu",
        "memoryPerCpu must be at least 1",
    ),
    (
        with_resources(memoryPerCpu=1),
        "resources.memoryPerCpu",
        "memory and memoryPerCpu cannot both be defined",
    ),
    (
        with_resources(cpusRange=[1, 2]),
        "resources.cpusRange",
        "cpus and cpusRange cannot both be defined",
    ),
    (
        with_resources(cpusOptions=[1, 2]),
        "resources.cpusOptions",
        "cpus and cpusOptions cannot both be defined",
    ),
    (
        with_resources("cpus", cpusRange=[1, 2], cpusOptions=[1, 2]),
        "resources.cpusOptions",
        "cpusRange and cpusOptions cannot both be defined",
    ),
    (with_resources("cpus", cpusRange=[1]), "resources.cpusRange", RANGE),
    (with_resources("cpus", cpusRange=[0, 2]), "resources.cpusRange", RANGE),
    (with_resources("cpus", cpusOptions="1,2"), "resources.cpusOptions", OPTIONS),
    (with_resources(totalCpusRange=[1, 2, 3]), "resources.totalCpusRange", TOTAL),
    (
        with_resources("cpus", totalCpusRange=[1, 2]),
        "resources.cpus",
        "one of cpus, cpusRange, cpusOptions must be defined",
    ),
    ({**JOB, "tasks": ["a"]}, "tasks[0]", "each task must be an object"),
    (with_task(image=""), "tasks[0].image", "each task must specify a container image"),
    (with_task(env={"A": None}), "tasks[0].env.A", ENVIRONMENT),
    (with_task(env={"A": ["b"]}), "tasks[0].env.A", ENVIRONMENT),
    (with_task(workdir=5), "tasks[0].workdir", "workdir must be a string"),
    (with_task(stdout=5), "tasks[0].stdout", "stdout must be the name of a file"),
    (with_task(stdout="a/.."), "tasks[0].stdout", "stdout must be the name of a file"),
    (with_task(cmd="a\0b"), "tasks[0].cmd", "cmd has characters that no program can get"),
    (with_task(env={"A=B": "c"}), "tasks[0].env.A=B", ENVIRONMENT),
    (with_task(env={"A": "\ud800"}), "tasks[0].env.A", ENVIRONMENT),
    (with_task(imageSha256=5), "tasks[0].imageSha256", "imageSha256 must be a string"),
    (with_task(app=5), "tasks[0].app", "app must be a string"),
    (
        with_task(app="main", runtime="udocker"),
        "tasks[0].app",
        "app can only be used with the singularity runtime",
    ),
    (with_task(imagePullCredential={"token": "t"}), "tasks[0].imagePullCredential", CREDENTIAL),
    (with_task(imagePullCredential="t"), "tasks[0].imagePullCredential", CREDENTIAL),
    (
        with_task(procsPerNode="2"),
        "tasks[0].procsPerNode",
        "number of processes per node must be an integer",
    ),
    (
        with_task(procsPerNode=0),
        "tasks[0].procsPerNode",
        "number of processes per node must be at least 1",
    ),
    (with_task(procsPerNode=5), "tasks[0].procsPerNode", PROCS_LESS),
    (with_task(type="openmpi", cmd="mpirun -n 2 a"), "tasks[0].cmd", MPIRUN),
    (with_task(type="mpich", cmd="mpirun a"), "tasks[0].cmd", MPIRUN),
    (with_task(type="intelmpi", cmd=""), "tasks[0].cmd", MPI_COMMAND),
    ({**JOB, "artifacts": {}}, "artifacts", "an array of artifacts must be provided"),
    ({**JOB, "artifacts": [{"url": "a", "x": 1}]}, "artifacts[0].x", "invalid item x in artifact"),
    (
        {**JOB, "artifacts": [{"url": "a", "mountpoint": "b"}]},
        "artifacts[0].mountpoint",
        "invalid mountpoint for artifact",
    ),
    (
        {**JOB, "artifacts": [{"url": "a", "mountpoint": "b:/d:ro"}]},
        "artifacts[0].mountpoint",
        "the mountpoint for an artifact must be one path, and not that of all files",
    ),
    (
        {**JOB, "artifacts": [{"url": "a", "mountpoint": "b:/"}]},
        "artifacts[0].mountpoint",
        "the mountpoint for an artifact must be one path, and not that of all files",
    ),
    (
        {**JOB, "artifacts": [{"url": "a", "mountpoint": "b/c:/d"}]},
        "artifacts[0].mountpoint",
        "invalid source in mountpoint for artifact",
    ),
    ({**JOB, "outputDirs": [1]}, "outputDirs[0]", "outputDirs must be a list of strings"),
    ({**JOB, "inputs": {}}, "inputs", "an array of inputs must be provided"),
    (
        {**JOB, "inputs": [{"content": ""}]},
        "inputs[0].filename",
        "each input must contain a filename",
    ),
    (
        {**JOB, "inputs": [{"filename": "a", "content": "", "x": 1}]},
        "inputs[0].x",
        "invalid item x in input",
    ),
    ({**JOB, "inputs": [{"filename": "a", "content": 5}]}, "inputs[0].content", NOT_BASE64),
    ({**JOB, "inputs": [{"filename": "a", "content": "ä"}]}, "inputs[0].content", NOT_BASE64),
    ({**JOB, "storage": []}, "storage", "storage must be an object"),
    ({**JOB, "policies": []}, "policies", "policies must be an object"),
    (
        with_policy(maximumRetries="1"),
        "policies.maximumRetries",
        "the number of retries must be an integer",
    ),
    (with_policy(maximumTaskRetries=1.5), "policies.maximumTaskRetries", TASK_RETRIES),
    (with_policy(maximumTimeInQueue=44641), "policies.maximumTimeInQueue", QUEUE),
    (
        with_policy(maximumTimeInQueue=-2),
        "policies.maximumTimeInQueue",
        "the maximum time in queue must be an integer",
    ),
    (
        with_policy(maximumIdleTimePerResource=0),
        "policies.maximumIdleTimePerResource",
        f"{IDLE} greater than 0",
    ),
    (
        with_policy(maximumIdleTimePerResource=44641),
        "policies.maximumIdleTimePerResource",
        f"{IDLE} less than 44640",
    ),
    (
        with_policy(autoScalingType="x"),
        "policies.autoScalingType",
        "autoScalingType, if defined, must be none, dedicated or shared",
    ),
    (with_policy(priority=1.5), "policies.priority", "the priority must be an integer"),
    (
        with_policy(placement={"x": {}}),
        "policies.placement.x",
        'invalid item "x" in placement policy',
    ),
    (
        with_policy(placement={"requirements": {"x": []}}),
        "policies.placement.requirements.x",
        'invalid item "x" in requirements',
    ),
    (
        with_policy(placement={"preferences": {"sites": "A"}}),
        "policies.placement.preferences.sites",
        "sites in preferences must be a list",
    ),
    *[
        (with_policy(**{flag: 1}), f"policies.{flag}", f"{flag} must be either true or false")
        for flag in (
            "ignoreTaskFailures",
            "runSerialTasksOnAllNodes",
            "reportJobSuccessOnTaskFailure",
        )
    ],
    (
        {**JOB, "notifications": {}},
        "notifications",
        "notifications must be in the form of a list",
    ),
    (
        {**JOB, "notifications": [{"event": "jobFinished", "type": "sms"}]},
        "notifications[0].type",
        'invalid notification type "sms"',
    ),
    (
        {**JOB, "notifications": [{**EMAIL, "x": 1}]},
        "notifications[0].x",
        'invalid item "x" in notifications',
    ),
    (
        {**JOB, "notifications": [{"type": "email"}]},
        "notifications[0].event",
        "a notification must contain an event",
    ),
    (
        {**JOB, "notifications": [{"event": "jobFinished"}]},
        "notifications[0].type",
        "a notification must contain a type",
    ),
    (
        {**JOB, "notifications": [{"event": "workflowFinished", "type": "email"}]},
        "notifications[0].event",
        'invalid notification event "workflowFinished"',
    ),
]


@pytest.mark.parametrize("length", range(6))
def test_a_command_is_taken_where_it_can_be_split(length: int) -> None:
    for letters in itertools.product("a '\"\\\n", repeat=length):
        command = "".join(letters)
        try:
            shlex.split(command)
        except ValueError:
            expected = ["cmd cannot be split into words"]
        else:
            expected = []
        assert [each.message for each in check_job(with_task(cmd=command))] == expected, command


@pytest.mark.parametrize(("body", "field", "message"), INVALID_JOBS)
def test_what_is_refused_in_a_job(body: Any, field: str, message: str) -> None:
    found = check_job(body)
    assert [(v.field, v.message, v.kind, v.hangs) for v in found] == [(field, message, "invalid", False)]
    assert found[0].rule


VALID_JOBS: list[dict[str, Any]] = [
    {**JOB, "name": ""},
    {**JOB, "name": "a-b_c d.e/F0"},
    {**JOB, "name": "a" * 512},
    {**JOB, "labels": {"a" * 512: "x" * 512, "b": "a-b_c.d/é"}},
    with_resources("nodes", "walltime"),
    with_resources("cpus", cpusRange=[1, 8]),
    with_resources("cpus", cpusOptions=[8, 2]),
    with_resources("memory", memoryPerCpu=2, totalCpusRange=[4, 4]),
    with_task(env={"A": "x y", "B": 5, "C": 1.5}, procsPerNode=4, type="openmpi"),
    with_task(image="a", runtime="udocker", imagePullCredential={"username": "u", "token": "t"}),
    {**JOB, "tasks": [{**TASK, "type": "sidecar"}, TASK]},
    {**JOB, "tasks": [{"image": "a", "runtime": "singularity"}]},
    {**JOB, "inputs": [{"filename": "d/a", "content": "YWJj\nYWJj", "executable": True}]},
    {**JOB, "artifacts": [{"url": "http://h/a.tgz", "mountpoint": "a:/a"}, {"url": "b"}]},
    {**JOB, "storage": {"anything": ["goes"]}},
    with_policy(maximumTimeInQueue=44640, maximumRetries=6, maximumTaskRetries=1, priority=0),
    with_policy(autoScalingType=None, preemptible=True, maximumIdleTimePerResource=1),
    with_policy(placement={"requirements": {"sites": ["A"]}, "preferences": {"regions": []}}),
]


@pytest.mark.parametrize("body", VALID_JOBS)
def test_what_is_accepted_in_a_job(body: dict[str, Any]) -> None:
    assert check_job(body) == []


JOB_WARNINGS = [
    (with_resources(memory=0.5), "resources.memory", "memory must be an integer"),
    (with_resources(memory=1.0), "resources.memory", "memory must be an integer"),
    (
        with_resources("memory", memoryPerCpu=1.5),
        "resources.memoryPerCpu",
        "memoryPerCpu must be an integer",
    ),
    (with_resources("cpus", cpusRange=[4, 2]), "resources.cpusRange", RANGE),
    (
        with_policy(maximumTimeInQueue=-1),
        "policies.maximumTimeInQueue",
        "the maximum time in queue must be an integer",
    ),
    ({**JOB, "inputs": [{"filename": "a", "content": "YW*Jj"}]}, "inputs[0].content", NOT_BASE64),
    (
        {**JOB, "inputs": [{"filename": "a/x", "content": ""}, {"filename": "x", "content": ""}]},
        "inputs[1]",
        'inputs must have different base names: "x" is used more than once',
    ),
    (
        {**JOB, "outputFiles": ["a/x.dat", "y", "b/x.dat"]},
        "outputFiles[2]",
        'outputFiles must have different base names: "x.dat" is used more than once',
    ),
    (
        {**JOB, "outputDirs": ["a/res/", "res"]},
        "outputDirs[1]",
        'outputDirs must have different base names: "res" is used more than once',
    ),
    *[({**JOB, "outputDirs": [path]}, "outputDirs[0]", STAGEOUT) for path in ("", ".", "a/..", "/")],
]


@pytest.mark.parametrize(("body", "field", "message"), JOB_WARNINGS)
def test_what_some_servers_choke_on_in_a_job(body: dict[str, Any], field: str, message: str) -> None:
    assert [(v.field, v.message, v.kind, v.hangs) for v in check_job(body)] == [
        (field, message, "server-bug", False)
    ]


def test_secrets_are_not_in_violations() -> None:
    body = with_task(imagePullCredential={"token": "s3cret"})
    body["storage"] = "s3cret"
    found = check_job(body)
    assert len(found) == 2
    assert "s3cret" not in repr(found)


def test_all_violations_are_found_in_the_services_order() -> None:
    body = {"foo": 1, "name": ";", "resources": {}, "policies": {"maximumRetries": 9}}
    assert [violation.field for violation in check_job(body)] == [
        "foo",
        "name",
        "resources.disk",
        "resources.cpus",
        "resources.memory",
        "tasks",
        "policies.maximumRetries",
    ]


def flow(*names: str, **fields: Any) -> dict[str, Any]:
    return {"name": "w", "jobs": [{**JOB, "name": name} for name in names], **fields}


def factory(**fields: Any) -> dict[str, Any]:
    return flow("a", factories=[{"name": "f", "jobs": ["a"], **fields}])


def sweep(*parameters: Any) -> dict[str, Any]:
    return factory(type="parameterSweep", parameters=list(parameters))


def zipped(*parameters: Any) -> dict[str, Any]:
    return factory(type="zip", parameters=list(parameters))


X = {"name": "x", "start": 0, "end": 1, "step": 1}
STEP = "a parameter must contain a step size or number of steps"
P0 = "factories[0].parameters[0]"

INVALID_WORKFLOWS: list[tuple[Any, str, str]] = [
    (None, "description", "a workflow description must be a JSON object"),
    ({**flow("a"), "name": "a;b"}, "name", "invalid workflow name"),
    (
        {**flow("a"), "name": "a" * 513},
        "name",
        "workflow name must be less than 512 characters in length",
    ),
    ({"name": "w", "jobs": {}}, "jobs", "jobs must be a list"),
    (flow("a", labels={"a-b": "x"}), "labels.a-b", 'label name "a-b" is invalid'),
    (flow("a", dependencies=[]), "dependencies", "dependencies must be a dict"),
    (
        flow("a", policies={"maximumRetries": 11}),
        "policies.maximumRetries",
        "the number of retries must be less than 10",
    ),
    (
        flow("a", policies={"maximumReruns": 0}),
        "policies.maximumReruns",
        "the number of reruns must be greater than 0",
    ),
    (
        flow("a", policies={"leaveInQueue": "no"}),
        "policies.leaveInQueue",
        "leaveInQueue must be either true or false",
    ),
    (
        flow("a", policies={"ignoreTaskFailures": True}),
        "policies.ignoreTaskFailures",
        'invalid item "ignoreTaskFailures" in policies',
    ),
    (
        flow("a", notifications=[{"event": "jobFinished", "type": "email"}]),
        "notifications[0].event",
        'invalid notification event "jobFinished"',
    ),
    (flow("a", factories={}), "factories", "factories must be a list"),
    (flow("a", factories=["f"]), "factories[0]", "a factory must be an object"),
    (factory(), "factories[0].type", "a factory type must be specified"),
    (
        flow("a", factories=[{"name": "f", "type": "repeat", "number": 1}]),
        "factories[0].jobs",
        "a list of jobs must be specified",
    ),
    (factory(type="repeat", jobs="a", number=1), "factories[0].jobs", "jobs must be a list"),
    (
        factory(type="repeat", number="2"),
        "factories[0].number",
        "number of repeats must be an integer",
    ),
    (
        factory(type="repeat", number=0),
        "factories[0].number",
        "number of repeats must be at least 1",
    ),
    (
        factory(type="zip"),
        "factories[0].parameters",
        "a factory of type zip must have parameters specified",
    ),
    (
        factory(type="parameterSweep"),
        "factories[0].parameters",
        "a factory of type parameterSweep must have parameters specified",
    ),
    (factory(type="zip", parameters={}), "factories[0].parameters", "parameters must be a list"),
    (zipped({"values": [1]}), f"{P0}.name", "a parameter must contain a name"),
    (zipped({"name": "x"}), f"{P0}.values", "a parameter must contain a list of values"),
    (zipped({"name": "x", "values": "ab"}), f"{P0}.values", "values must be a list"),
    (sweep({**X, "start": None}), f"{P0}.start", "a parameter must contain a start value"),
    (sweep({**X, "end": "1"}), f"{P0}.end", "a parameter must contain an end value"),
    (sweep({**X, "step": 0}), f"{P0}.step", STEP),
    (sweep({**X, "start": 2, "end": 1.5}), f"{P0}.end", "the sweep has no values"),
    (sweep(X, X), "factories[0].parameters", "each parameter must have a unique name"),
    (
        sweep(*({**X, "name": name} for name in "abcde")),
        "factories[0].parameters",
        "Currently only parameter sweeps up to 4D are supported",
    ),
]


@pytest.mark.parametrize(("body", "field", "message"), INVALID_WORKFLOWS)
def test_what_is_refused_in_a_workflow(body: Any, field: str, message: str) -> None:
    found = check_workflow(body)
    assert [(v.field, v.message, v.kind) for v in found] == [(field, message, "invalid")]


@pytest.mark.parametrize(
    "body",
    [
        flow("a", "b", "c", dependencies={"a": ["b", "c"], "b": ["c"]}),
        flow("a", "ab"),
        flow("a", policies={"maximumRetries": 10, "maximumReruns": 1, "placement": {}}),
        zipped({"name": "x", "values": [1, 2.5, "u"]}, {"name": "y", "values": ["a", "b/c", "d"]}),
        sweep(X, {**X, "name": "y", "start": 0.5, "step": 0.25}),
        factory(type="repeat", number=1),
    ],
)
def test_what_is_accepted_in_a_workflow(body: dict[str, Any]) -> None:
    assert check_workflow(body) == []


@pytest.mark.parametrize("value", [None, True, ["a"], {}, float("inf")])
def test_values_that_cannot_be_put_into_a_command_are_told(value: Any) -> None:
    (found,) = check_workflow(zipped({"name": "x", "values": ["a", value]}))
    assert (found.field, found.rule) == (f"{P0}.values[1]", "strings or numbers")
    assert (found.kind, found.hangs) == ("server-bug", False)


def test_a_blank_in_a_zip_value_holds_for_ever() -> None:
    body = zipped({"name": "x", "values": [1, 2]}, {"name": "y", "values": ["ok", "not ok"]})
    (found,) = check_workflow(body)
    assert (found.field, found.value) == ("factories[0].parameters[1].values[1]", "not ok")
    assert (found.kind, found.hangs) == ("server-bug", True)


@pytest.mark.parametrize(
    ("names", "dependencies"),
    [
        ("ab", {"a": ["b"], "b": ["a"]}),
        ("abc", {"a": ["b"], "b": ["c"], "c": ["a"]}),
        ("a", {"a": ["a"]}),
    ],
)
def test_a_cycle_never_ends(names: str, dependencies: dict[str, list[str]]) -> None:
    (found,) = check_workflow(flow(*names, dependencies=dependencies))
    assert (found.field, found.kind, found.hangs) == ("dependencies", "server-bug", True)
    assert "cycle" in found.message


def test_names_within_names() -> None:
    harmless = check_workflow(flow("a", "ab", "c", dependencies={"a": ["c"]}))
    assert [(v.value, v.kind, v.hangs) for v in harmless] == [("a", "server-bug", False)]
    assert '"a" also matches "ab"' in harmless[0].message
    # For a server, postrun is its own parent: its name contains run.
    looping = check_workflow(flow("run", "postrun", dependencies={"run": ["postrun"]}))
    assert [(v.kind, v.hangs) for v in looping] == [("server-bug", False), ("server-bug", True)]
    unrelated = check_workflow(flow("a", "ab", "c", "d", dependencies={"c": ["d"]}))
    assert unrelated == []


@pytest.mark.parametrize(
    ("output", "lost"),
    [("out_$x", True), ("out_${x}", True), ("out_$y", False), ("out_$xy", False), ("out", False)],
)
def test_only_the_last_parameter_is_replaced_in_output_names(output: str, lost: bool) -> None:
    body = zipped({"name": "x", "values": [1]}, {"name": "y", "values": [2]})
    for field in ("outputFiles", "outputDirs"):
        body["jobs"][0][field] = [output]
        found = [(v.field, v.value, v.kind, v.hangs) for v in check_workflow(body)]
        path = f"jobs[0].{field}[0]"
        assert found == ([(path, output, "server-bug", False)] if lost else [])
        del body["jobs"][0][field]
    body["jobs"][0]["outputFiles"] = [output]
    body["factories"][0]["parameters"].pop()
    assert check_workflow(body) == []


def test_names_of_a_workflows_jobs_are_checked_beside_their_warnings() -> None:
    body = flow("a", "a")
    body["jobs"][0]["resources"] = {**JOB["resources"], "memory": 0.5}
    assert [(v.field, v.kind) for v in check_workflow(body)] == [
        ("jobs[0].resources.memory", "server-bug"),
        ("jobs[1].name", "invalid"),
    ]


WORDS = st.sampled_from(
    [
        *("name", "labels", "resources", "tasks", "inputs", "artifacts", "policies", "jobs"),
        *("dependencies", "factories", "parameters", "values", "type", "zip", "repeat", "cmd"),
        *("outputFiles", "notifications", "storage", "cpus", "cpusRange", "memory", "disk", "a"),
        *("content", "filename", "url", "mountpoint", "placement", "procsPerNode", "env", "x y"),
        *("parameterSweep", "openmpi", "start", "end", "step", "number", "app", "type"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(JSON, st.dictionaries(WORDS, JSON, max_size=5))
def test_no_json_is_too_strange(anything: Any, fields: dict[str, Any]) -> None:
    for check in CHECKS.values():
        for body in (anything, fields, {**JOB, **fields}, {**zipped(), **fields}):
            assert all(isinstance(violation, Violation) for violation in check(body))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(RECORDED), JSON, st.randoms(use_true_random=False))
def test_one_strange_value_anywhere(case: dict[str, Any], value: Any, random: Any) -> None:
    body = copy.deepcopy(case["body"])
    place = body
    while True:
        places = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not places:
            return
        chosen = random.choice(places)
        if not isinstance(place[chosen], dict | list) or random.random() < 0.2:
            place[chosen] = value
            break
        place = place[chosen]
    assert isinstance(CHECKS[case["kind"]](body), list)
