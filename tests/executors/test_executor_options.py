"""Options are checked when they are given: the error names field, value and rule, and nothing is sent."""

from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.until import until

from prominence import Artifact, InputFile, JobPolicies, Resources, Session
from prominence.exceptions import InvalidDescription
from prominence_executors import JobOptions, ProminenceExecutor, Retries

if TYPE_CHECKING:
    from collections.abc import Iterator

WRONG: list[tuple[str, Any, str, str]] = [
    ("image", 5, "tasks[0].image", "the name of an image"),
    ("image", "", "tasks[0].image", "needed"),
    ("runtime", "docker", "tasks[0].runtime", "one of singularity, udocker"),
    ("resources", {"cpus": 2}, "resources", "a Resources object"),
    ("resources", Resources(cpus=0), "resources.cpus", "at least 1"),
    ("resources", Resources(walltime=1.5), "resources.walltime", "a whole number"),  # type: ignore[arg-type]
    ("env", None, "env", "an object of names and values"),
    ("env", {"A": None}, "tasks[0].env.A", "a string"),
    ("env", {"PROMINENCE_TOKEN": "5ec7e7"}, "env.PROMINENCE_TOKEN", "set by the service"),
    ("env", {"PROMINENCE_FENCE": "key"}, "env.PROMINENCE_FENCE", "set by the executor"),
    ("labels", [], "labels", "an object of names and values"),
    ("labels", {"a-b": "c"}, "labels.a-b", "letters and digits"),
    ("labels", {"prominenceSubmission": "c"}, "labels.prominenceSubmission", "reserved"),
    ("policies", {}, "policies", "a JobPolicies object"),
    ("policies", JobPolicies(maximum_retries=-1), "policies.maximumRetries", "at least 1"),
    ("artifacts", "x", "artifacts", "a list"),
    ("artifacts", [5], "artifacts[0]", "an Artifact"),
    ("artifacts", [Artifact("")], "artifacts[0].url", "the name of an uploaded object"),
    ("input_files", None, "input_files", "a list"),
    ("input_files", ["x"], "input_files[0]", "an InputFile"),
    ("input_files", [{"filename": "x"}], "input_files[0]", "an InputFile"),
    ("input_files", [InputFile("/no/such/file")], "inputs[0].filename", "cannot be read"),
    ("input_files", [InputFile("prominence-call.bin", "x")], "input_files[0]", "a call's own file"),
    ("input_files", [InputFile("large", bytes(800_000))], "inputs[0].content", "which may have 1048576"),
    ("output_files", "x", "output_files", "a list"),
    ("output_files", [5], "outputFiles[0]", "strings"),
    ("output_files", ["a", "prominence-result.bin"], "output_files[1]", "a call's own file"),
    ("output_directories", "x", "output_directories", "a list"),
    ("output_directories", [None], "outputDirs[0]", "strings"),
    ("workdir", 5, "tasks[0].workdir", "a string"),
    ("name", "a;b", "name", "letters, digits"),
    ("check", 1, "check", "True or False"),
    ("ship", "model", "ship", '"auto", None, or a list'),
    ("ship", [5], "ship[0]", "a module, or the name of one"),
    ("ship", ["no_such_module"], "ship[0]", "cannot be imported here"),
    ("ship", [builtins], "ship[0]", "no Python file"),
    ("forward_output", None, "forward_output", "True or False"),
    ("kill_when_cancelled", "yes", "kill_when_cancelled", "True or False"),
    ("retries", 3, "retries", "a Retries object"),
    ("retries", Retries(user=-1), "retries.user", "0 or more"),
    ("initializer", "setup", "initializer", "something to call"),
    ("initargs", "x", "initargs", "a list"),
    ("rerun", "always", "rerun", "'allowed' or 'never'"),
]


@pytest.fixture(scope="module")
def unused() -> Iterator[ProminenceExecutor]:
    """An executor whose service is never asked for."""
    with ProminenceExecutor() as executor:
        yield executor


@pytest.mark.parametrize(("name", "value", "field", "rule"), WRONG)
def test_a_wrong_value(name: str, value: Any, field: str, rule: str, unused: ProminenceExecutor) -> None:
    with pytest.raises(InvalidDescription) as later:
        unused.with_options(**{name: value})
    with pytest.raises(InvalidDescription) as first:
        ProminenceExecutor(**{name: value})

    assert (later.value.field, later.value.rule) == (first.value.field, first.value.rule)
    assert later.value.field == field
    assert rule in later.value.rule
    assert str(later.value).startswith(field)


def test_every_option_is_tried() -> None:
    assert {name for name, *_ in WRONG} == JobOptions.names()


def test_a_signature_in_a_misplaced_url_is_not_shown(unused: ProminenceExecutor) -> None:
    with pytest.raises(InvalidDescription, match=r"artifacts\[0\] = 'https://store/data\?\*\*\*'"):
        unused.with_options(artifacts=["https://store/data?X-Amz-Signature=5ec7e7"])


def test_a_token_for_jobs_is_not_shown(unused: ProminenceExecutor) -> None:
    with pytest.raises(InvalidDescription) as caught:
        unused.with_options(env={"PROMINENCE_TOKEN": "5ec7e7"})
    assert "5ec7e7" not in str(caught.value)


def test_an_unknown_option_is_named_with_those_there_are(unused: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match=r"unknown options gpus; there are .*resources"):
        unused.with_options(gpus=1)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("session", 5, "a Session, or a name"),
        ("session", "a b", "letters, digits"),
        ("service", "here", "a Session"),
        ("on_exit", "leave", "'wait', 'detach' or 'cancel'"),
        ("on_exit", "detach", "only with a name as session"),
        ("guarantee", "idempotent", "'fence' or 'settle'"),
    ],
)
def test_what_is_the_executors_own(name: str, value: Any, rule: str) -> None:
    with pytest.raises(InvalidDescription) as caught:
        ProminenceExecutor(**{name: value})

    assert (caught.value.field, caught.value.value) == (name, value)
    assert rule in caught.value.rule


def test_a_service_belongs_to_a_name() -> None:
    with Session() as one, Session() as other, pytest.raises(InvalidDescription, match="only with a name"):
        ProminenceExecutor(session=one, service=other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chunksize", 0),
        ("chunksize", "automatic"),
        ("chunksize", True),
        ("return_exceptions", "x"),
        ("buffersize", 0),
        ("buffersize", True),
        ("timeout", "1 s"),
        ("timeout", float("nan")),
    ],
)
def test_what_is_maps_own(name: str, value: Any, unused: ProminenceExecutor) -> None:
    with pytest.raises(InvalidDescription) as caught:
        unused.map(len, ["text"], **{name: value})

    assert caught.value.field == name


@pytest.mark.parametrize("what", [("true",), (len, "")], ids=["command", "function"])
def test_options_are_those_of_the_job(
    what: tuple[Any, ...], executor: ProminenceExecutor, session: Session
) -> None:
    special = executor.with_options(
        image="alpine",
        runtime="udocker",
        resources=Resources(cpus=2, memory=3, walltime=9),
        env={"WORD": "1"},
        labels={"study": "one"},
        policies=JobPolicies(maximum_retries=2, priority=1),
        artifacts=[Artifact("http://127.0.0.1:9/some.tgz")],
        input_files=[InputFile("in.txt", "x")],
        output_files=["out.txt"],
        output_directories=["folder"],
        workdir="folder",
        name="named",
    )
    future = special.submit(*what)
    until(lambda: future.job.id or future.done())
    future.kill()

    (sent,) = session.client.describe_job(future.job.id).entries
    (task,) = sent["tasks"]
    assert (task["image"], task["runtime"], task["workdir"]) == ("alpine", "udocker", "folder")
    assert task["env"]["WORD"] == "1"
    assert (sent["name"], sent["labels"]["study"]) == ("named", "one")
    assert [sent["resources"][name] for name in ("cpus", "memory", "walltime")] == [2, 3, 9]
    assert (sent["policies"]["maximumRetries"], sent["policies"]["priority"]) == (2, 1)
    assert "http://127.0.0.1:9/some.tgz" in [each["url"] for each in sent["artifacts"]]
    assert "in.txt" in [each["filename"] for each in sent["inputs"]]
    assert "out.txt" in [each["name"] for each in sent["outputFiles"]]
    assert "folder" in [each["name"] for each in sent["outputDirs"]]


def test_the_default_image_has_the_callers_python(executor: ProminenceExecutor) -> None:
    future = executor.submit(len, "")
    future.result()

    assert future.job.tasks[0].image == "python:{}.{}-slim".format(*sys.version_info)


def test_options_are_replaced_whole_and_others_kept(executor: ProminenceExecutor) -> None:
    first = executor.with_options(env={"A": "1"}, labels={"study": "one"})
    second = first.with_options(env={"B": "2"})

    job = second.submit("true").job
    assert job.tasks[0].env == {"B": "2"}
    assert job.labels == {"study": "one"}
