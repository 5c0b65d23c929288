"""The two specifications, heading by heading: names, parameters, defaults, and what is returned.

``*.outline`` hold their headings, signatures, parameters and return types. What a call is said to return
is looked at by calling it, on the local service.
"""

from __future__ import annotations

import ast
import inspect
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.until import until

import prominence
from prominence import InputFile, Job, JobPolicies, Session, Task, Workflow, WorkflowPolicies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.service import LocalService

DOCUMENTS = ("python-client", "python-api")
NEEDED = {"Artifact": ("data.tgz",), "InputFile": ("text.txt",)}
"""Arguments without which there is no object to look at."""

READ_ONLY = {"id", "status"}

DIFFERENT_DEFAULTS = {("python-api", "Resources", "walltime"): 720}
"""Where the specifications contradict each other: the other one says 720 minutes."""


@dataclass(frozen=True)
class Entry:
    """A line of a specification's outline, below the heading of a class."""

    document: str
    heading: str
    kind: str
    name: str = ""
    parameters: tuple[tuple[str, Any], ...] = ()
    returns: str = ""

    def __str__(self) -> str:
        return f"{self.document}: {self.heading} {self.name}".rstrip()


REQUIRED = inspect.Parameter.empty


def _signature(text: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    call = ast.parse(f"def {text}: ...").body[0]
    assert isinstance(call, ast.FunctionDef)
    names = [argument.arg for argument in call.args.args]
    defaults = [ast.literal_eval(default) for default in call.args.defaults]
    return call.name, tuple(zip(names, [REQUIRED] * (len(names) - len(defaults)) + defaults, strict=True))


def _entries(document: str) -> Iterator[Entry]:
    heading = ""
    for line in Path(__file__).with_name(f"{document}.outline").read_text().splitlines():
        text = line.strip()
        if line and not line.startswith(" "):
            heading = text
            yield Entry(document, heading, "heading")
        elif text.startswith("class "):
            _, parameters = _signature(text.removeprefix("class "))
            yield Entry(document, heading, "class", "()", parameters)
        elif text.startswith("property "):
            yield Entry(document, heading, "property", text.removeprefix("property "))
        elif text.endswith(")"):
            name, parameters = _signature(text)
            yield Entry(document, heading, "method", name, parameters)


def _returns() -> list[tuple[str, str, str]]:
    found = []
    heading = method = ""
    for line in Path(__file__).with_name("python-client.outline").read_text().splitlines():
        text = line.strip()
        if line and not line.startswith(" "):
            heading = text
        elif text.endswith(")"):
            method = text.partition("(")[0]
        elif text.startswith("returns "):
            found.append((heading, method, text.removeprefix("returns ")))
    return found


ENTRIES = [entry for document in DOCUMENTS for entry in _entries(document)]


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_what_is_specified_is_there(entry: Entry) -> None:
    made = _made(entry.heading)
    match entry.kind:
        case "class":
            _check_parameters(entry, type(made))
        case "method":
            _check_parameters(entry, getattr(made, entry.name))
        case "property":
            value = getattr(made, entry.name)
            assert value is None or entry.name not in READ_ONLY
            if entry.name not in READ_ONLY:
                setattr(made, entry.name, value)
                assert getattr(made, entry.name) == value


def _made(heading: str) -> Any:
    return getattr(prominence, heading)(*NEEDED.get(heading, ()))


def _check_parameters(entry: Entry, called: Callable[..., Any]) -> None:
    """The specified parameters come first, in order, with their defaults; others may be left out."""
    found = list(inspect.signature(called).parameters.values())
    positional = [each for each in found if each.kind is each.POSITIONAL_OR_KEYWORD]
    for each, (name, default) in zip(positional, entry.parameters, strict=False):
        assert each.name == name
        assert each.default == DIFFERENT_DEFAULTS.get((entry.document, entry.heading, name), default)
    assert len(positional) >= len(entry.parameters)
    for each in found[len(entry.parameters) :]:
        assert each.default is not REQUIRED or each.kind in {each.VAR_KEYWORD, each.VAR_POSITIONAL}


@pytest.mark.parametrize("heading", sorted({entry.heading for entry in ENTRIES}))
def test_json_and_to_dict_are_the_same(heading: str) -> None:
    made = _made(heading)
    if isinstance(made, InputFile):
        made.content = "x"
    assert made.json() == made.to_dict()
    assert isinstance(made.to_dict(), dict)


# ---- results


@pytest.fixture
def session(service: LocalService) -> Iterator[Session]:
    """Nothing that a test has created goes on after it."""
    with Session(service.settings()) as session:
        yield session
        for workflow in session.client.list_workflows(name="specified").entries:
            session.client.delete_workflow(workflow["id"])
        for job in session.client.list_jobs(name="specified").entries:
            session.client.delete_job(job["id"])


def created(session: Session, command: str, **description: Any) -> Job:
    task = Task(image="none", command=command)
    made = Job(session=session, name="specified", tasks=[task], **description)
    made.create()
    return made


def ended(session: Session, command: str, **description: Any) -> Job:
    made = created(session, command, **description)
    made.wait()
    return made


def running(session: Session) -> Job:
    made = created(session, "sh -c 'mkdir res; echo part > res/part; sleep 600'")
    until(lambda: made.status == "running")
    return made


def created_workflow(session: Session, command: str, **description: Any) -> Workflow:
    jobs = [Job(name="a", tasks=[Task(image="none", command=command)])]
    made = Workflow(session=session, name="specified", jobs=jobs, **description)
    made.create()
    return made


def ended_workflow(session: Session, command: str, **description: Any) -> Workflow:
    made = created_workflow(session, command, **description)
    made.wait()
    return made


def with_outputs(session: Session) -> Job:
    command = "sh -c 'mkdir res; printf out > res/out; cp res/out .'"
    return ended(session, command, output_files=["out"], output_directories=["res"])


def members(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        return sorted(found.getnames())


def removed(session: Session, *, is_kept: bool) -> tuple[bool, bool]:
    of_job, of_workflow = JobPolicies(leave_in_queue=is_kept), WorkflowPolicies(leave_in_queue=is_kept)
    return (
        ended(session, "true", policies=of_job).remove(),
        ended_workflow(session, "true", policies=of_workflow).remove(),
    )


def test_done_tells_whether_it_has_ended(session: Session) -> None:
    assert running(session).done() is False
    assert ended(session, "true").done() is True
    assert created_workflow(session, "sleep 600").done() is False
    assert ended_workflow(session, "false").done() is True


def test_delete_tells_whether_it_was_deleted(session: Session) -> None:
    assert running(session).delete() is True
    assert ended(session, "true").delete() is False
    assert created_workflow(session, "sleep 600").delete() is True
    assert ended_workflow(session, "true").delete() is False


def test_remove_tells_whether_it_was_removed(session: Session) -> None:
    assert removed(session, is_kept=True) == (True, True)
    assert removed(session, is_kept=False) == (False, False)


def test_rerun_returns_the_id_of_the_new_workflow(session: Session) -> None:
    failed = ended_workflow(session, "false")

    new = failed.rerun()

    assert type(new) is int
    assert new != failed.id
    assert Workflow(id=new, session=session).wait() == "failed"


def test_text_results_are_text(session: Session) -> None:
    written = ended(session, "sh -c 'echo out; echo err >&2'", input_files=[InputFile("in", "text")])

    assert (written.stdout(), written.stdout(0)) == ("out\n", "out\n")
    assert (written.stderr(), written.stderr(node=0)) == ("err\n", "err\n")
    assert written.get_input_file("in") == "text"
    assert with_outputs(session).get_output_file("out") == "out"


def test_archives_are_bytes(session: Session) -> None:
    """A stated departure: the specification calls the content of a directory text."""
    assert members(with_outputs(session).get_output_directory("res")) == ["res", "res/out"]


def test_outputs_can_be_saved(session: Session, tmp_path: Path) -> None:
    made = with_outputs(session)

    assert made.get_output_file("out", str(tmp_path / "out")).read_text() == "out"
    assert members(made.get_output_directory("res", tmp_path / "res.tgz").read_bytes()) == ["res", "res/out"]


def test_a_running_job_is_asked(session: Session, tmp_path: Path) -> None:
    made = running(session)

    assert made.execute("cat res/part") == "part\n"
    assert members(made.get_snapshot("res")) == ["res", "res/part"]
    assert "res/part" in members(made.get_snapshot("res", save_as=tmp_path / "res.tgz").read_bytes())


RETURNED = {
    ("Job", "done", "bool"): test_done_tells_whether_it_has_ended,
    ("Job", "delete", "bool"): test_delete_tells_whether_it_was_deleted,
    ("Job", "remove", "bool"): test_remove_tells_whether_it_was_removed,
    ("Job", "stdout", "str"): test_text_results_are_text,
    ("Job", "stderr", "str"): test_text_results_are_text,
    ("Job", "get_input_file", "str"): test_text_results_are_text,
    ("Job", "get_output_file", "str"): test_text_results_are_text,
    ("Job", "get_output_directory", "str"): test_archives_are_bytes,
    ("Workflow", "done", "bool"): test_done_tells_whether_it_has_ended,
    ("Workflow", "delete", "bool"): test_delete_tells_whether_it_was_deleted,
    ("Workflow", "remove", "bool"): test_remove_tells_whether_it_was_removed,
    ("Workflow", "rerun", "integer"): test_rerun_returns_the_id_of_the_new_workflow,
}


def test_every_specified_return_value_is_looked_at() -> None:
    assert set(RETURNED) == set(_returns())
