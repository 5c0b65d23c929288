"""Scripts written for the service's own client, version 0.21: its names, its arguments, not its mistakes."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support.clock import VirtualClock
from support.fake_service import FakeService, page, says
from support.service import job as job_json

import prominence
from prominence import (
    InputFile,
    Job,
    JobPolicies,
    ParameterSet,
    ProminenceClient,
    Repeat,
    Resources,
    Session,
    Task,
    Workflow,
    WorkflowPolicies,
)
from prominence._compat.client import PublicClient
from prominence.exceptions import (
    AuthenticationError,
    ConfigurationError,
    ContentMismatch,
    InvalidDescription,
    NotFound,
    ProminenceError,
    ServiceUnavailable,
    WrongService,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.service import LocalService

SURFACE = json.loads(Path(__file__).with_name("public_client_surface.json").read_text())["modules"]
NOT_KEPT = {
    "prominence.auth.create_config_dir": "a step of logging in",
    "prominence.client.calculate_sha256": "a step of uploading",
    "prominence.client.filter_job": "a step of describe_job",
    "prominence.client.filter_workflow": "a step of describe_workflow",
    "prominence.factory.Factory": "of no use but as the base of the three",
    "prominence.job.Events": "made by a job's events alone, which have its properties",
    "prominence.job.Execution": "made by a job's execution alone, which has its properties",
    "prominence.job.get_or_download": "a step of get_output_file",
    "prominence.job.read_from_tarfile": "a step of get_snapshot",
    "prominence.workflow.JobFactory": "without any use",
}
RENAMED = {"num": "number"}  # the argument of Repeat; `num` works too
KEPT = [
    pytest.param(module, name, thing, id=f"{module}.{name}")
    for module, names in SURFACE.items()
    for name, thing in names.items()
    if f"{module}.{name}" not in NOT_KEPT
]
CLASSES = [each for each in KEPT if each.values[2]["kind"] == "class"]  # type: ignore[index]


def resolved(module: str, name: str) -> Any:
    found = getattr(importlib.import_module(module), name)
    return PublicClient if found is ProminenceClient else found


def assert_takes(function: Callable[..., Any], parameters: list[dict[str, Any]], *before: object) -> None:
    """That the arguments may be given as they were: by position, by name, and left out."""
    signature = inspect.signature(function)
    values = {each["name"]: object() for each in parameters}
    by_position = signature.bind(*before, *values.values()).arguments
    for name, value in values.items():
        assert by_position.get(name, by_position.get(RENAMED.get(name, ""))) is value
    signature.bind(*before, **values)
    signature.bind(*before, **{each["name"]: 0 for each in parameters if "default" not in each})


@pytest.mark.parametrize(("module", "name", "thing"), KEPT)
def test_every_name_is_still_there(module: str, name: str, thing: dict[str, Any]) -> None:
    found = resolved(module, name)
    if thing["kind"] == "function":
        assert_takes(found, thing["parameters"])
    elif thing["kind"] == "exception":
        assert issubclass(found, ProminenceError)
        assert str(found("a text")) == "a text"
    else:
        assert inspect.isclass(found)


@pytest.mark.parametrize(("module", "name", "thing"), CLASSES)
def test_every_method_takes_the_arguments_that_it_took(module: str, name: str, thing: dict[str, Any]) -> None:
    found = resolved(module, name)
    assert_takes(found, thing["parameters"])
    for method, parameters in thing["methods"].items():
        is_delegated = not hasattr(found, method)
        assert_takes(getattr(ProminenceClient if is_delegated else found, method), parameters, "self")


@pytest.mark.parametrize(("module", "name", "thing"), CLASSES)
def test_every_property_can_be_read(module: str, name: str, thing: dict[str, Any]) -> None:
    kind = resolved(module, name)
    instance = kind(*("x" for each in thing["parameters"] if "default" not in each))
    for each in thing["properties"]:
        assert hasattr(instance, each), each


def test_what_is_not_kept_was_there() -> None:
    assert set(NOT_KEPT) <= {f"{module}.{name}" for module, names in SURFACE.items() for name in names}


def test_nothing_of_it_is_imported_before_it_is_asked_for() -> None:
    script = (
        "import sys, prominence, prominence.exceptions; "
        "print([name for name in sys.modules if name.startswith('prominence._compat')])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_an_error_that_never_was_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchError"):
        prominence.exceptions.NoSuchError  # type: ignore[attr-defined]  # noqa: B018


# ---- the client that the old arguments make


@pytest.fixture
def client(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublicClient]:
    monkeypatch.setenv("PROMINENCE_URL", service.endpoint.url)
    monkeypatch.setenv("PROMINENCE_TOKEN", service.endpoint.token)
    client: Any = ProminenceClient(authenticated=True)  # type: ignore[call-arg]
    yield client
    client.close()


@pytest.mark.parametrize(
    "arguments", [((), {"authenticated": False}), ((False,), {}), ((), {"timeout": 30}), ((False, 30), {})]
)
def test_the_old_arguments_make_the_old_client(arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    positional, named = arguments
    made: object = ProminenceClient(*positional, **named)
    assert isinstance(made, PublicClient)


def test_new_arguments_make_the_new_client() -> None:
    assert type(ProminenceClient("http://127.0.0.1:9", "token")) is ProminenceClient


def test_without_a_token_an_authenticated_client_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMINENCE_URL", "http://127.0.0.1:9")
    with pytest.raises(prominence.exceptions.TokenError, match="there is no token"):  # type: ignore[attr-defined]
        ProminenceClient(authenticated=True)  # type: ignore[call-arg]


def test_a_client_without_a_token_says_so_at_its_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMINENCE_URL", "http://127.0.0.1:9")
    client: Any = ProminenceClient(authenticated=False)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="there is no token"):
        client.list_jobs()


def test_a_job_from_its_description_to_its_output(client: PublicClient) -> None:
    description = job_json("echo hello", name="old", labels={"kind": "old"})
    del description["tasks"][0]["runtime"]
    job_id = client.create_job(description)
    assert isinstance(job_id, int)
    assert "runtime" not in description["tasks"][0]
    Job(id=job_id).wait()

    found = client.describe_job(job_id)
    assert (found["id"], found["status"]) == (job_id, "completed")
    assert job_id in [each["id"] for each in client.list_jobs("completed", -1, "kind=old")]
    assert job_id in [each["id"] for each in client.list_jobs(status="all", name_constraint="old")]
    assert client.stdout_job(job_id, 0) == "hello\n"
    assert client.stdout_generic("jobs", job_id, 0, offset=2) == "llo\n"
    assert client.stderr_job(job_id, 0) == client.stderr_generic("jobs", job_id, 0) == ""
    assert "execution" not in client.describe_job(job_id, True)
    assert client.describe_job(job_id, input_only=True)["tasks"][0]["runtime"] == "singularity"


def test_a_description_for_a_new_job_is_one_that_can_be_submitted(client: PublicClient) -> None:
    first = client.create_job(job_json("touch out.dat", outputFiles=["out.dat"], name="again"))
    Job(id=first).wait()
    again = client.create_job(client.describe_job(first, input_only=True))
    assert again != first
    assert Job(id=again).wait() == "completed"


def test_an_image_that_is_an_archive_runs_with_udocker(fake: FakeService, faked: PublicClient) -> None:
    fake.script("POST", "/jobs", says({"id": 7}, 201))
    description = job_json("true", task={"image": "image.tar.gz"})
    del description["tasks"][0]["runtime"]
    assert faked.create_job(description) == 7
    assert fake.received[-1].json()["tasks"][0]["runtime"] == "udocker"


def test_tasks_of_a_workflow_get_a_runtime_too(fake: FakeService, faked: PublicClient) -> None:
    fake.script("POST", "/workflows", says({"id": 7}, 201))
    description = job_json("true", name="a")
    del description["tasks"][0]["runtime"]
    assert faked.create_workflow({"name": "w", "jobs": [description]}) == 7
    assert fake.received[-1].json()["jobs"][0]["tasks"][0]["runtime"] == "singularity"


def test_a_job_that_cannot_be_is_refused_before_it_is_sent(client: PublicClient) -> None:
    with pytest.raises(prominence.exceptions.JobCreationError, match="iamge"):  # type: ignore[attr-defined]
        client.create_job({"tasks": [{"iamge": "busybox"}], "resources": {"cpus": 1, "memory": 1, "disk": 1}})


def test_deleting_says_true_or_raises(client: PublicClient) -> None:
    job_id = client.create_job(job_json("sleep 60"))
    assert client.delete_job(job_id) is True
    with pytest.raises(prominence.exceptions.DeletionError):  # type: ignore[attr-defined]
        client.delete_job(job_id)


def test_unknown_things_raise(client: PublicClient) -> None:
    with pytest.raises(prominence.exceptions.JobGetError):  # type: ignore[attr-defined]
        client.describe_job(999_999)
    with pytest.raises(prominence.exceptions.NoSuchKey):  # type: ignore[attr-defined]
        client.kv_get("no/such/key")
    for call in (client.clone, client.remove):
        with pytest.raises(InvalidDescription, match="resource_type"):
            call("jobs", 1)
    with pytest.raises(InvalidDescription, match="status"):
        client.list_jobs("finished")


def test_the_key_value_store(client: PublicClient) -> None:
    client.kv_set("old/a", "1")
    assert client.kv_get("old/a") == "1"
    assert client.kv_list("/old") == ["/old/a"]
    assert client.kv_delete("/old", True) is True
    assert client.kv_list("old") == []


def test_stored_objects(client: PublicClient, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"\xff\x00 not text")
    assert client.upload("old.bin", str(path)) is True
    assert "old.bin" in [each["name"] for each in client.list_objects(None)]
    with pytest.raises(ContentMismatch):
        client.upload("old.bin", str(path), "0" * 64)
    assert client.delete_object("old.bin") is True


def test_new_calls_are_there_too(client: PublicClient) -> None:
    assert client.is_healthy()
    with pytest.raises(AttributeError):
        client.no_such_call()


# ---- mistakes of the public client, which are not kept


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


@pytest.fixture
def sent(fake: FakeService) -> Iterator[Session]:
    """A session with a service that takes anything."""
    for path in ("/jobs", "/workflows"):
        fake.script("POST", path, says({"id": 7}, 201))
    with Session(client=ProminenceClient(fake.url, "a-token")) as session:
        yield session


def small_job(**fields: Any) -> Job:
    return Job(name="a", tasks=[Task(image="alpine", command="true")], **fields)


def test_the_policy_ignore_task_failures_is_spelt_right(fake: FakeService, sent: Session) -> None:
    job = small_job(session=sent)
    job.policies.ignore_task_failures = True
    job.create()
    assert fake.received[-1].json()["policies"] == {"ignoreTaskFailures": True}


def test_a_repeat_sends_its_number() -> None:
    repeat = Repeat()
    repeat.num = 3
    assert repeat.to_dict()["number"] == Repeat(3).number == Repeat(num=3).num == 3
    assert "num" not in repeat.to_dict()


def test_a_workflow_knows_its_own_status(fake: FakeService, sent: Session) -> None:
    fake.script("GET", "/workflows/9", says([{"id": 9, "status": "running"}]))
    workflow = Workflow(id=9, session=sent)
    assert (workflow.status, workflow.done()) == ("running", False)
    assert ("GET", "/jobs/9") not in fake.sent


def test_a_wait_for_a_workflow_ends(fake: FakeService, sent: Session) -> None:
    progress = {"total": 2, "done": 2, "failed": 0, "queued": 0, "waiting": 0}
    fake.script("GET", "/workflows", says([{"id": 9, "status": "completed", "progress": progress}]))
    fake.script("GET", "/workflows/9", says([{"id": 9, "status": "completed", "progress": progress}]))
    assert Workflow(id=9, session=sent).wait() == "completed"


def test_a_workflow_without_a_name_is_found_before_it_is_sent() -> None:
    assert [each.field for each in Workflow(jobs=[small_job()]).validate()] == ["name"]


def test_a_time_in_the_queue_that_services_refuse_is_found_before_it_is_sent() -> None:
    job = small_job()
    job.policies.maximum_time_in_queue = -1
    assert [each.field for each in job.validate()] == ["policies.maximumTimeInQueue"]


def test_a_workflow_has_policies() -> None:
    workflow = Workflow(name="w", jobs=[small_job()])
    workflow.policies = WorkflowPolicies()
    workflow.policies.maximum_retries = 2
    assert workflow.to_dict()["policies"] == {"maximumRetries": 2}


def test_policies_that_are_not_set_are_not_sent() -> None:
    assert JobPolicies().to_dict() == WorkflowPolicies().to_dict() == {}


def test_a_wait_for_a_job_that_does_not_exist_ends(client: PublicClient, service: LocalService) -> None:
    del client
    with Session(service.settings()) as session, pytest.raises(NotFound):
        Job(id=999_999, session=session).wait()


def test_a_wait_with_a_token_that_is_not_accepted_ends(fake: FakeService, sent: Session) -> None:
    refusal = says({"error": "Authentication failure"}, 401)
    fake.script("GET", "/jobs", refusal)
    fake.script("GET", "/jobs/7", refusal)
    with pytest.raises(AuthenticationError):
        Job(id=7, session=sent).wait()


def test_a_wait_for_a_service_that_is_away_ends() -> None:
    clock = VirtualClock()
    nowhere = ProminenceClient("http://127.0.0.1:9/prominence/v1", "a-token", clock=clock, random=Random(1))
    with Session(client=nowhere) as session, pytest.raises(ServiceUnavailable):
        Job(id=7, session=session).wait()
    assert clock.elapsed < 2 * 3600


def test_binary_outputs_are_bytes_and_those_that_are_missing_are_errors(
    session: Session, tmp_path: Path
) -> None:
    job = small_job(session=session, output_files=["out.bin"], output_directories=["results"])
    job.tasks[0].command = r"/bin/sh -c 'printf \\377\\000 > out.bin; mkdir results; cp out.bin results'"
    job.create()
    job.wait()
    assert job.get_output_file("out.bin", encoding=None) == b"\xff\x00"
    job.get_output_file("out.bin", str(tmp_path / "saved.bin"))
    assert (tmp_path / "saved.bin").read_bytes() == b"\xff\x00"
    with tarfile.open(fileobj=io.BytesIO(job.get_output_directory("results"))) as archive:
        assert "results/out.bin" in archive.getnames()
    with pytest.raises(NotFound, match="no output 'other'"):
        job.get_output_file("other")


def test_a_job_without_outputs_has_none(session: Session) -> None:
    job = small_job(session=session)
    job.create()
    job.wait()
    with pytest.raises(NotFound, match="it has none"):
        job.get_output_file("out.bin")


@pytest.mark.parametrize(("content", "encoded"), [(b"\xff\x00", "/wA="), ("", ""), ("text", "dGV4dA==")])
def test_an_input_file_may_be_binary_or_empty(content: str | bytes, encoded: str) -> None:
    assert InputFile("x", content).to_dict() == {"filename": "x", "content": encoded}


def test_events_and_execution_are_there_before_a_job_is() -> None:
    job = small_job()
    assert (job.events.create, job.events.start, job.events.end) == (None, None, None)
    assert job.execution.tasks is None


def test_a_walltime_is_sent_though_nobody_chose_one() -> None:
    assert Resources().to_dict()["walltime"] == 720


@pytest.fixture
def faked(fake: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublicClient]:
    """The client of old, at a service that a test scripts."""
    monkeypatch.setenv("PROMINENCE_URL", fake.url)
    monkeypatch.setenv("PROMINENCE_TOKEN", "a-token")
    made: Any = ProminenceClient(authenticated=True)  # type: ignore[call-arg]
    assert isinstance(made, PublicClient)
    yield made
    made.close()


def test_an_html_page_is_an_error_of_the_service_not_of_json(fake: FakeService, faked: PublicClient) -> None:
    fake.script("GET", "/jobs/7/stdout", page(404))
    with pytest.raises(WrongService, match="not part of a PROMINENCE API"):
        faked.stdout_job(7, 0)
    fake.script("POST", "/jobs/7/exec", page(500))
    with pytest.raises(ServiceUnavailable, match="500"):
        faked.execute_command(7, ["true"])


def test_all_jobs_of_a_workflow_are_listed_unless_a_status_is_asked_for(
    fake: FakeService, faked: PublicClient
) -> None:
    jobs = [{"id": 11, "status": "completed"}, {"id": 12, "status": "running"}]
    fake.script("GET", "/jobs", says(jobs))
    assert faked.list_jobs(workflow_id=10) == faked.list_jobs("all", workflow_id=10) == jobs
    assert faked.list_jobs("running", workflow_id=10) == jobs[1:]
    assert fake.received[-1].query == {"id": "10", "workflow": "true", "all": "true"}


def test_a_command_with_a_comma_is_refused_rather_than_changed(client: PublicClient) -> None:
    with pytest.raises(InvalidDescription, match="comma"):
        client.execute_command(7, ["echo", "a,b"])


def test_the_output_of_a_workflows_job_is_found_by_its_name(fake: FakeService, faked: PublicClient) -> None:
    names = {11: "flow/a", 12: "flow/ba", 13: "flow/s/0", 14: "flow/s/1", 15: "flow/s/1"}
    fake.script("GET", "/jobs", says([{"id": each, "name": name} for each, name in names.items()]))
    for each in names:
        for stream in ("stdout", "stderr"):
            fake.script("GET", f"/jobs/{each}/{stream}", says(f"{stream} of {each}"))
    assert "stdout of 11" in faked.stdout_workflow(10, "a", 0)
    assert "stdout of 15" in faked.stdout_workflow(10, "s", 0, 1)
    assert "stderr of 11" in faked.stderr_workflow(10, 0, "a")
    assert "stderr of 13" in faked.stderr_generic("workflows", 10, 0, "s", 0)
    assert "stdout of 11" in faked.stdout_generic("jobs", 11, 0)
    with pytest.raises(NotFound, match="no job b"):
        faked.stdout_workflow(10, "b", 0)


def test_values_of_a_parameter_may_be_given_by_position() -> None:
    assert ParameterSet("x", None, None, None, [1, 2]) == ParameterSet("x", values=[1, 2])


# ---- whole scripts, as people wrote them

ONE_JOB = """
from prominence import Job, Resources, Task

task = Task()
task.image = 'centos:7'
task.runtime = 'singularity'
task.command = 'echo out of the job'

job = Job()
job.name = 'one'
job.resources = Resources(1, 1, 10, 1)
job.labels = {'app': 'one'}
job.tasks.append(task)
job.create()
job.wait()

print(job.status, job.done(), job.execution.tasks[0]['exitCode'])
assert job.events.create <= job.events.start <= job.events.end
print(job.stdout(), end='')
"""

FILES = """
import tarfile
from prominence import InputFile, Job, JobPolicies, Task
from prominence import exceptions

def make(command):
    job = Job()
    job.name = 'files'
    task = Task()
    task.image = 'centos:7'
    task.command = command
    job.tasks = [task]
    job.input_files.append(InputFile('in.txt', content='from the input'))
    job.policies = JobPolicies()
    job.policies.maximum_task_retries = 1
    return job

good = make('/bin/sh -c "cp in.txt out.txt; mkdir results; cp in.txt results"')
good.output_files.append('out.txt')
good.output_directories = ['results']
good.create()
good.wait(timeout=100)
print(good.get_output_file('out.txt'))
good.get_output_file('out.txt', 'saved.txt')
print(open('saved.txt').read())
good.get_output_directory('results', save_as='results.tgz')
print(sorted(tarfile.open('results.tgz').getnames()))

bad = make('true')
bad.policies.maximum_task_retries = 1000
try:
    bad.create()
except exceptions.JobCreationError as err:
    print('refused')

running = make('sleep 100')
running.create()
print(running.delete())
running.wait()
print(Job(id=running.id).status)
"""

CAMPAIGN = """
import time
from prominence import ProminenceClient
from prominence import exceptions

client = ProminenceClient(authenticated=True)

resources = {'cpus': 1, 'memory': 1, 'disk': 10, 'nodes': 1}
ids = []
for number in range(3):
    job = {'name': 'campaign', 'resources': resources, 'labels': {'campaign': 'c1'},
           'tasks': [{'image': 'busybox', 'cmd': 'echo %d' % number}]}
    try:
        ids.append(client.create_job(job))
    except exceptions.JobCreationError as err:
        print('cannot submit', err)

while True:
    jobs = client.list_jobs(status='all', constraint='campaign=c1')
    if all(job['status'] not in ('idle', 'running', 'deploying') for job in jobs):
        break
    time.sleep(0.1)

print(sorted(client.stdout_job(id, 0).strip() for id in ids))
for id in ids:
    job = client.describe_job(id)
    assert job['execution']['tasks'][0]['exitCode'] == 0
try:
    client.delete_job(ids[0])
except exceptions.DeletionError:
    print('has ended')
"""


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        (ONE_JOB, "completed True 0\nout of the job\n"),
        (
            FILES,
            "from the input\nfrom the input\n['results', 'results/in.txt']\nrefused\nTrue\ndeleted\n",
        ),
        (CAMPAIGN, "['0', '1', '2']\nhas ended\n"),
    ],
    ids=["one job", "files", "campaign"],
)
def test_a_script_runs_as_it_is(script: str, printed: str, service: LocalService, tmp_path: Path) -> None:
    endpoint = service.endpoint
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PROMINENCE_URL": endpoint.url, "PROMINENCE_TOKEN": endpoint.token},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", printed)
