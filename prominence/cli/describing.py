"""A job's description from the options of ``create`` and ``submit``."""

from __future__ import annotations

import json
import re
import secrets
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from prominence.artifact import Artifact
from prominence.cli.arguments import amount, interval, pair
from prominence.description import InputFile, JobPolicies, Resources, Task
from prominence.description.task import runtime_for
from prominence.exceptions import InvalidDescription
from prominence.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence.session import Session

_COUNT: Final = click.IntRange(min=1)
_MPI: Final = ("openmpi", "mpich", "intelmpi")
_MOUNTED: Final = re.compile(r"(?P<url>.+):(?P<directory>[^:/]+):(?P<mount>/.*)")
_OPTIONS: Final = (
    click.option("--name", default="", help="Name of the job."),
    click.option("--memory", type=amount, metavar="GB", help="Memory on each node; 1 if not given."),
    click.option(
        "--memory-per-cpu", type=amount, metavar="GB", help="Memory for each CPU, in place of --memory."
    ),
    click.option("--cpus", type=_COUNT, metavar="N", help="CPUs on each node; 1 if not given."),
    click.option(
        "--cpus-range",
        type=interval,
        metavar="MIN,MAX",
        help="Least and most CPUs on each node; more is better.",
    ),
    click.option(
        "--cpus-options",
        type=interval,
        metavar="X,Y",
        help="Two possible numbers of CPUs on each node; more is better.",
    ),
    click.option("--nodes", type=_COUNT, metavar="N", help="Number of nodes; 1 if not given. More need MPI."),
    click.option(
        "--total-cpus-range",
        type=interval,
        metavar="MIN,MAX",
        help="Least and most CPUs on all nodes together, in place of --nodes.",
    ),
    click.option(
        "--procs-per-node",
        type=_COUNT,
        metavar="N",
        help="MPI processes on each node; if not given, one per CPU.",
    ),
    click.option(
        "--omp-procs-per-node",
        type=_COUNT,
        metavar="N",
        help="OpenMP threads of each MPI process; there are as many fewer processes.",
    ),
    click.option("--disk", type=_COUNT, default=10, show_default=True, metavar="GB", help="Scratch space."),
    click.option("--walltime", type=_COUNT, metavar="MINUTES", help="Time after which the job is killed."),
    click.option("--openmpi", "mpi", flag_value="openmpi", default=None, help="An Open MPI job."),
    click.option("--mpich", "mpi", flag_value="mpich", default=None, help="An MPICH job."),
    click.option("--intelmpi", "mpi", flag_value="intelmpi", default=None, help="An Intel MPI job."),
    click.option(
        "--artifact",
        "artifacts",
        multiple=True,
        metavar="URL[:DIR:/MOUNT]",
        help="URL or uploaded object that is fetched; archives are unpacked, and their directory DIR "
        "can be mounted at an absolute path. Can be repeated.",
    ),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="FILE",
        help="File that is sent with the job. Can be repeated.",
    ),
    click.option(
        "--output", "outputs", multiple=True, metavar="FILE", help="File that is kept. Can be repeated."
    ),
    click.option(
        "--outputdir",
        "outputdirs",
        multiple=True,
        metavar="DIR",
        help="Directory that is kept. Can be repeated.",
    ),
    click.option("--workdir", help="Working directory in the container."),
    click.option(
        "--env",
        "env",
        type=pair,
        multiple=True,
        metavar="NAME=VALUE",
        help="Environment variable. Can be repeated.",
    ),
    click.option(
        "--label",
        "labels",
        type=pair,
        multiple=True,
        metavar="NAME=VALUE",
        help="Label to find the job by. Can be repeated.",
    ),
    click.option(
        "--runtime",
        type=click.Choice(["singularity", "udocker"]),
        help="Container runtime; if not given, udocker for an archive as image, else singularity.",
    ),
    click.option("--retries", type=int, metavar="N", help="How often a failed job is run again, 1 to 6."),
    click.option(
        "--task-retries",
        type=int,
        metavar="N",
        help="How often a failed task is tried again in the job, 1 to 6.",
    ),
    click.option(
        "--max-time-in-queue",
        type=int,
        metavar="MINUTES",
        help="How long the job may wait for resources, up to 44640.",
    ),
    click.option(
        "--leave-in-queue", is_flag=True, help="List the job as if it were active when it has ended."
    ),
    click.option("--priority", type=int, help="Jobs of larger priority run earlier among your own."),
    click.option(
        "--directory",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Local directory whose contents the job finds in its scratch directory.",
    ),
    click.option(
        "--storage",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="JSON file that describes external storage to mount.",
    ),
)


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that :class:`DescribedJob` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class DescribedJob:
    """A job as the options describe it; what it needs is uploaded when it is created."""

    def __init__(self, session: Session, image: str, command: str | None, options: dict[str, Any]) -> None:
        directory: Path | None = options.pop("directory")
        self._session = session
        self._upload = None if directory is None else (f"directory-{secrets.token_hex(8)}.tar.gz", directory)
        self.job = _job(session, image, command, options)
        if self._upload is not None:
            self.job.artifacts.append(Artifact(self._upload[0]))

    def create(self) -> int:
        """Submit it; its id."""
        self.job.validate()
        if self._upload is not None:
            _upload_directory(self._session, *self._upload)
        return self.job.create()


def _job(session: Session, image: str, command: str | None, options: dict[str, Any]) -> Job:
    resources = _resources(options)
    env = dict(options["env"])
    task = Task(
        image=image,
        command=command,
        runtime=options["runtime"] or runtime_for(image),
        type=options["mpi"],
        workdir=options["workdir"],
        procs_per_node=_processes(resources, options, env),
        env=env,
    )
    return Job(
        session=session,
        name=options["name"],
        tasks=[task],
        resources=resources,
        labels=dict(options["labels"]),
        artifacts=[_artifact(each) for each in options["artifacts"]],
        input_files=[InputFile(each) for each in options["inputs"]],
        output_files=options["outputs"],
        output_directories=options["outputdirs"],
        storage=None if options["storage"] is None else _storage(options["storage"]),
        policies=JobPolicies(
            maximum_retries=options["retries"],
            maximum_task_retries=options["task_retries"],
            maximum_time_in_queue=options["max_time_in_queue"],
            leave_in_queue=options["leave_in_queue"],
            priority=options["priority"],
        ),
    )


def _resources(options: dict[str, Any]) -> Resources:
    """What is asked for; an option that was not given leaves the default, which gives way to others."""
    nodes, total = options["nodes"], options["total_cpus_range"]
    if nodes is not None and nodes > 1 and total:
        raise click.UsageError("only one of --nodes and --total-cpus-range can be given")
    if ((nodes or 1) > 1 or total) and options["mpi"] is None:
        raise click.UsageError(f"more than one node needs one of {', '.join(f'--{kind}' for kind in _MPI)}")
    names = ("cpus", "memory", "memory_per_cpu", "cpus_range", "cpus_options", "total_cpus_range")
    given = {name: options[name] for name in names if options[name] is not None}
    return Resources(
        disk=options["disk"], nodes=None if total else (nodes or 1), walltime=options["walltime"], **given
    )


def _processes(resources: Resources, options: dict[str, Any], env: dict[str, str]) -> int | None:
    """MPI processes on each node: as many as leave a CPU for each OpenMP thread."""
    processes, threads = options["procs_per_node"], options["omp_procs_per_node"]
    given = "--procs-per-node" if threads is None else "--omp-procs-per-node"
    if processes is None and threads is None:
        return None
    if options["mpi"] is None:
        raise click.UsageError(f"{given} needs one of {', '.join(f'--{kind}' for kind in _MPI)}")
    if threads is None:
        return int(processes)
    if processes is not None:
        raise click.UsageError("only one of --procs-per-node and --omp-procs-per-node can be given")
    if resources.cpus is None or resources.cpus < threads:
        raise click.UsageError(f"{given} {threads} needs --cpus {threads} or more")
    env["OMP_NUM_THREADS"] = str(threads)
    return resources.cpus // int(threads)


def _artifact(text: str) -> Artifact:
    mounted = _MOUNTED.fullmatch(text)
    return Artifact(mounted["url"], mounted["directory"], mounted["mount"]) if mounted else Artifact(text)


def _storage(path: Path) -> dict[str, Any]:
    """The value of ``storage`` in the file; braces around it all may be missing, and so may the name."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        found = json.loads(text if text.startswith("{") else f"{{{text}}}")
    except ValueError as error:
        raise InvalidDescription("storage", str(path), f"UTF-8 with a JSON object in it ({error})") from None
    storage: dict[str, Any] = found.get("storage", found)
    return storage


def _upload_directory(session: Session, name: str, directory: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / name
        with tarfile.open(archive, "w:gz") as file:
            file.add(directory, arcname=".")
        session.client.upload_object(name, archive)
