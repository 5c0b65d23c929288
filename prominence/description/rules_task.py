"""Rules for one task: its container, its command, and MPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prominence.description.checks import (
    Checker,
    Field,
    Violation,
    first_of,
    hidden,
    is_file_name,
    is_named,
    is_plain_text,
    is_splittable,
    is_text,
    is_whole,
    join,
    mapping,
    require,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNTIMES: Final = ("singularity", "udocker")
MPI_TYPES: Final = ("openmpi", "intelmpi", "mpich")
TASK_TYPES: Final = ("basic", "sidecar", *MPI_TYPES)

_PROCS_NOT_WHOLE: Final = "number of processes per node must be an integer"
_TOO_MANY_PROCS: Final = "number of processes per node must be less than number of CPU cores per node"
_MPIRUN: Final = "it is not necessary to include mpirun in the cmd if an MPI flavour has been specified"


def _text(name: str) -> Field:
    return Field(
        first_of(
            require(is_text, "a string", f"{name} must be a string"),
            require(
                is_plain_text,
                "text that a program can be given",
                f"{name} has characters that no program can get",
            ),
        )
    )


def _each_variable(path: str, value: dict[Any, Any]) -> Iterator[Violation]:
    # Numbers are accepted by the service, which writes them as text.
    for name, content in value.items():
        is_value = is_plain_text(content) or isinstance(content, int | float)
        if not is_named(name) or "=" in name or not is_plain_text(name) or not is_value:
            yield Violation(
                join(path, str(name)),
                content,
                "a name without =, and a string (no NUL) or a number",
                "environment variables must be strings or numbers",
                "invalid",
            )


_environment = first_of(
    require(
        lambda value: isinstance(value, dict),
        "an object of names and values",
        "environment variables must be defined as a dict",
    ),
    _each_variable,
)

_credential = hidden(
    require(
        lambda value: isinstance(value, dict) and "username" in value and "token" in value,
        "an object with username and token",
        "a username and token must be specified in the image pull credential",
    )
)

TASK_FIELDS: Final = {
    "image": Field(
        require(is_named, "the name of an image", "each task must specify a container image"),
        missing="each task must specify a container image",
    ),
    "imagePullCredential": Field(_credential),
    "imageSha256": _text("imageSha256"),
    "runtime": Field(
        require(
            lambda value: value in RUNTIMES,
            f"one of {', '.join(RUNTIMES)}",
            "the container runtime must be either udocker or singularity",
        ),
        missing="a container runtime must be defined",
    ),
    "env": Field(_environment),
    "procsPerNode": Field(
        whole(
            _PROCS_NOT_WHOLE,
            least=1,
            too_small="number of processes per node must be at least 1",
        )
    ),
    "cmd": Field(
        first_of(
            require(is_text, "a string; of a list of words shlex.join makes one", "cmd must be a string"),
            _text("cmd").check,
            require(
                is_splittable,
                "words as a shell reads them, each quote closed and no backslash at the end",
                "cmd cannot be split into words",
            ),
        )
    ),
    "workdir": _text("workdir"),
    "app": _text("app"),
    "stdout": Field(require(is_file_name, "the name of a file", "stdout must be the name of a file")),
    "type": Field(
        require(lambda value: value in TASK_TYPES, f"one of {', '.join(TASK_TYPES)}", "invalid task type")
    ),
}


def _mpi(path: str, task: dict[str, Any]) -> Iterator[Violation]:
    """An MPI task needs a command, and the service puts mpirun before it."""
    command = task.get("cmd", "")
    if task.get("type") not in MPI_TYPES or not isinstance(command, str):
        return
    where = join(path, "cmd")
    if not command:
        message = "A command to execute must be specified for MPI jobs"
        yield Violation(where, command, "needed for an MPI task", message, "invalid")
    elif command.startswith("mpirun "):
        yield Violation(where, command, "without mpirun for an MPI task", _MPIRUN, "invalid")


def _app(path: str, task: dict[str, Any]) -> Iterator[Violation]:
    if task.get("app") and task.get("runtime") == "udocker":
        rule = "only with the runtime singularity"
        message = "app can only be used with the singularity runtime"
        yield Violation(join(path, "app"), task["app"], rule, message, "invalid")


task: Final[Checker] = mapping(
    TASK_FIELDS, 'invalid item "{}" in task', "each task must be an object", _mpi, _app
)


def enough_cpus(path: str, job: dict[str, Any]) -> Iterator[Violation]:
    """For each task of a job: not more processes on a node than it has CPUs."""
    resources, tasks = job.get("resources"), job.get("tasks")
    cpus: Any = resources.get("cpus") if isinstance(resources, dict) else None
    if not is_whole(cpus) or not isinstance(tasks, list):
        return
    for index, entry in enumerate(tasks):
        procs: Any = entry.get("procsPerNode") if isinstance(entry, dict) else None
        if is_whole(procs) and procs > cpus:
            where = join(path, f"tasks[{index}].procsPerNode")
            rule = f"at most the number of cpus, {cpus}"
            yield Violation(where, procs, rule, _TOO_MANY_PROCS, "invalid")


def one_standard_task(path: str, tasks: list[Any]) -> Iterator[Violation]:
    """A job needs a task that is not a sidecar: sidecars end when the last other task ends."""
    types = [entry.get("type", "basic") if isinstance(entry, dict) else None for entry in tasks]
    if all(kind == "sidecar" for kind in types):
        rule = "a list with at least one task that is not a sidecar"
        message = "a job cannot contain only sidecar tasks"
        yield Violation(path, types, rule, message, "invalid")
