"""Whatever can be said comes back the same from its JSON."""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from prominence.description import (
    ArtifactDescription,
    Dependency,
    InputFile,
    JobDescription,
    JobPolicies,
    Notification,
    ParameterSet,
    ParameterSweep,
    Repeat,
    Resources,
    Task,
    WorkflowDescription,
    WorkflowPolicies,
    Zip,
    check_job,
    check_workflow,
)

quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)

plain_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
words = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
counts = st.integers(1, 6)
pairs = st.tuples(counts, counts).map(sorted)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


tasks = st.builds(
    Task,
    image=words,
    command=words,
    runtime=st.sampled_from(["singularity", "udocker"]),
    type=maybe(st.sampled_from(["basic", "openmpi", "mpich"])),
    workdir=maybe(words),
    env=st.dictionaries(words, plain_text | st.integers(), max_size=2),
    procs_per_node=maybe(st.just(1)),
    stdout=maybe(words),
    image_pull_credential=maybe(st.just({"username": "u", "token": "t"})),
    image_sha256=maybe(words),
)
shared = {"disk": counts, "nodes": maybe(counts), "walltime": maybe(counts)}
resources = st.one_of(
    st.builds(Resources, cpus=counts, memory=counts, **shared),
    st.builds(Resources, memory_per_cpu=counts, total_cpus_range=maybe(pairs), **shared),
    st.builds(Resources, cpus_range=pairs, **shared),
    st.builds(Resources, cpus_options=pairs, **shared),
)
flags = maybe(st.booleans())
jobs = st.builds(
    JobDescription,
    name=words,
    labels=st.dictionaries(words, words, max_size=2),
    resources=resources,
    tasks=st.lists(tasks, min_size=1, max_size=2),
    input_files=st.lists(
        st.builds(
            InputFile,
            words,
            st.binary(max_size=10) | st.text(max_size=10),
            executable=st.booleans(),
        ),
        max_size=2,
        unique_by=lambda file: file.filename,
    ),
    artifacts=st.lists(
        st.builds(
            ArtifactDescription,
            words.map(lambda word: word + ".tgz"),
            maybe(words),
            maybe(words.map(lambda word: "/" + word)),
            executable=st.booleans(),
        ),
        max_size=2,
    ),
    output_files=st.lists(words, max_size=2, unique=True),
    output_directories=st.lists(words, max_size=2, unique=True),
    policies=st.builds(
        JobPolicies,
        maximum_retries=maybe(counts),
        maximum_task_retries=maybe(counts),
        maximum_time_in_queue=maybe(st.integers(0, 44640)),
        priority=maybe(counts),
        leave_in_queue=flags,
        ignore_task_failures=flags,
        preemptible=flags,
    ),
    notifications=st.lists(st.just(Notification("jobFinished", "email")), max_size=1),
    storage=maybe(st.dictionaries(words, words, min_size=1, max_size=2)),
)


@quick
@given(jobs)
def test_jobs(job: JobDescription) -> None:
    sent = job.to_dict()
    assert check_job(sent) == []
    assert job.validate() == []
    again = JobDescription.from_dict(json.loads(json.dumps(sent)))
    assert again == job
    assert again.to_dict() == sent


def _ascending(name: str, start: float, length: int, step: int) -> ParameterSet:
    return ParameterSet(name, start, start + length, step)


numbers = st.integers(-5, 5) | st.floats(-5, 5)
factories = st.one_of(
    st.builds(Repeat, name=words, jobs=st.just(["1-first"]), number=counts),
    st.builds(
        ParameterSweep,
        name=words,
        jobs=st.just(["1-first"]),
        parameters=st.lists(
            st.builds(_ascending, words, numbers, counts, counts),
            min_size=1,
            max_size=4,
            unique_by=lambda parameter: parameter.name,
        ),
    ),
    st.builds(
        Zip,
        name=words,
        jobs=st.just(["1-first"]),
        parameters=st.lists(
            st.builds(ParameterSet, words, values=st.lists(words | numbers, min_size=2, max_size=2)),
            min_size=1,
            max_size=3,
            unique_by=lambda parameter: parameter.name,
        ),
    ),
)


@quick
@given(jobs, jobs, st.lists(factories, max_size=2), words, st.booleans())
def test_workflows(
    first: JobDescription,
    second: JobDescription,
    made: list[Repeat | ParameterSweep | Zip],
    name: str,
    depends: bool,
) -> None:
    first.name, second.name = "1-first", "2-second"
    flow = WorkflowDescription(
        name=name,
        labels={"a": "b"},
        jobs=[first, second],
        dependencies=[Dependency(first, second)] if depends else [],
        factories=made,
        policies=WorkflowPolicies(maximum_reruns=2),
    )
    sent = flow.to_dict()
    assert check_workflow(sent) == []
    again = WorkflowDescription.from_dict(json.loads(json.dumps(sent)))
    assert again == flow
    assert again.to_dict() == sent
