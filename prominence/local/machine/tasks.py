"""Running a job's tasks: sidecars beside, the others in turn, each on the nodes that it is meant for."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING, Any, Final

from prominence.local.machine.limits import MEMORY_REASON, Stop
from prominence.local.machine.runtimes.base import (
    NOT_RUNNABLE,
    Image,
    ImageUnavailable,
    Mount,
    Mpi,
    NotRunnable,
    Start,
    UsedTooMuchMemory,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prominence.local.machine.children import Children, Ended
    from prominence.local.machine.files import AttemptFiles, Node
    from prominence.local.machine.limits import Limits
    from prominence.local.machine.runtimes.base import Finished, Runtime

IMAGE_REASON: Final = "Container image pull failed"
KILLED_EXIT_CODE: Final = -9  # what the service shows for a task cut short
_SIDECAR: Final = "sidecar"
_IDS: Final = ("PROMINENCE_JOB_ID", "PROMINENCE_WORKFLOW_ID")


@dataclass
class TaskRecord:
    """What the service reports of one task."""

    exit_code: int | None = None
    retries: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_kb: int = 0
    image: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        if self.exit_code is None:
            return self.image
        return {
            **self.image,
            "exitCode": self.exit_code,
            "retries": self.retries,
            "wallTimeUsage": self.wall_s,
            "cpuTimeUsage": self.cpu_s,
            "maxResidentSetSizeKB": self.peak_kb,
        }


@dataclass(frozen=True, slots=True)
class _Place:
    """A node, and where what is written there goes."""

    node: Node
    stdout: int
    stderr: int


@dataclass
class Tasks:
    """The tasks of one attempt; ``records`` are those of all that began, but for sidecars."""

    files: AttemptFiles
    job: Mapping[str, Any]
    environment: Mapping[str, str]
    nodes: list[Node]
    cpus: int
    runtime: Runtime
    objects: Mapping[str, str]
    children: Children
    limits: Limits
    records: list[TaskRecord] = field(default_factory=list)
    _sidecars: list[int] = field(default_factory=list)
    _starts: int = 0
    _cut_short: TaskRecord | None = None

    @property
    def has_sidecars(self) -> bool:
        return bool(self._sidecars)

    def run(self) -> None:
        """Run until the last task has ended, or one failed for good; sidecars may go on.

        Raises Stop when the attempt has to end before.
        """
        policies = self.job.get("policies") or {}
        with ExitStack() as stack:
            places = [self._open_streams(node, stack) for node in self.nodes]
            on_all = places if policies.get("runSerialTasksOnAllNodes") else places[:1]
            tasks = list(enumerate(self.job["tasks"]))
            for number, task in tasks:
                if task.get("type") == _SIDECAR:
                    self._start_sidecar(task, number, on_all)
            for number, task in tasks:
                kind = task.get("type", "basic")
                if kind == _SIDECAR:
                    continue
                record = TaskRecord()
                self.records.append(record)
                where = on_all if kind == "basic" else places[:1]
                for attempt in range(policies.get("maximumTaskRetries", 0) + 1):
                    record.retries = attempt
                    self._run_task(task, number, record, where)
                    if record.exit_code == 0:
                        break
                if record.exit_code != 0 and not policies.get("ignoreTaskFailures"):
                    return

    def add_usage_of_killed(self) -> None:
        """Complete the record of the task that was cut short, once its processes have ended."""
        if self._cut_short is not None:
            self._add_usage(self._cut_short)

    def _open_streams(self, node: Node, stack: ExitStack) -> _Place:
        opened = [
            stack.enter_context(self.files.stream(name, node.number).open("ab", buffering=0)).fileno()
            for name in ("stdout", "stderr")
        ]
        return _Place(node, *opened)

    def _start_sidecar(self, task: Mapping[str, Any], number: int, places: list[_Place]) -> None:
        image = self._image(task, {})
        for place in places:
            try:
                self._sidecars.append(self._start(task, number, image, place)[0])
            except (NotRunnable, OSError, ValueError) as error:
                _complain(place, error)

    def _run_task(
        self, task: Mapping[str, Any], number: int, record: TaskRecord, places: list[_Place]
    ) -> None:
        self.limits.check()
        image = self._image(task, record.image)
        begin_output = [os.fstat(place.stdout).st_size for place in places]
        self.children.forget_ended()
        begin = time.monotonic()
        started: list[tuple[int, str]] = []
        try:
            for place in places:
                started.append(self._start(task, number, image, place))
        except (NotRunnable, OSError, ValueError) as error:
            _complain(place, error)
            record.exit_code = NOT_RUNNABLE
            if not started:
                return
        try:
            ended = self.children.wait_for(pid for pid, _ in started)
        except Stop:
            self._cut(record)
            raise
        finally:
            record.wall_s += time.monotonic() - begin
        codes = [self._exit_code(name, each, record) for (_, name), each in zip(started, ended, strict=True)]
        if len(started) == len(places):
            record.exit_code = next((code for code in codes if code != 0), 0)
        self._add_usage(record)
        if task.get("stdout"):
            for place, position in zip(places, begin_output, strict=True):
                self._copy_output(place.node, position, task["stdout"])

    def _exit_code(self, name: str, ended: Ended, record: TaskRecord) -> int:
        try:
            return self.runtime.exit_code(name, os.waitstatus_to_exitcode(ended.status))
        except UsedTooMuchMemory:
            self._cut(record)
            raise Stop("killed", MEMORY_REASON) from None

    def _cut(self, record: TaskRecord) -> None:
        record.exit_code = KILLED_EXIT_CODE
        self._cut_short = record

    def _add_usage(self, record: TaskRecord) -> None:
        usage = self.children.usage(besides=self._sidecars)
        record.cpu_s += usage.cpu_s
        record.peak_kb = max(record.peak_kb, usage.peak_kb)

    def _image(self, task: Mapping[str, Any], record: dict[str, Any]) -> Image:
        """Have the image ready, and say in ``record`` how long that took."""
        if not self.runtime.has_images:
            return Image(task["image"])
        begin = time.monotonic()
        helpers = _Helpers(self.children, self.limits, self.files.root)
        try:
            with self.limits.not_counted():
                image = self.runtime.prepare(task, self.objects, helpers)
        except ImageUnavailable as error:
            record |= {"imagePullStatus": "failed", "imagePullTime": time.monotonic() - begin}
            name = task["image"].partition("?")[0]  # what follows may be a signature
            raise Stop("failed", IMAGE_REASON, f"image {name}: {error}") from error
        if image.is_new:
            record |= {"imagePullStatus": "completed", "imagePullTime": time.monotonic() - begin}
        else:
            record.setdefault("imagePullStatus", "cached")
        if image.sha256:
            record["imageSha256"] = image.sha256
        return image

    def _start(self, task: Mapping[str, Any], number: int, image: Image, place: _Place) -> tuple[int, str]:
        """Start a task on one node; returns its process and its name."""
        self._starts += 1
        environment = {
            **self.environment,
            "PROMINENCE_CONTAINER_RUNTIME": self.runtime.name,
            "PROMINENCE_NODE_NUM": str(place.node.number),
            "PROMINENCE_TASK_NUM": str(number),
        }
        start = Start(
            task=task,
            words=_words(task.get("cmd") or "", environment),
            mpi=self._mpi(task),
            workdir=fill_in_ids(task.get("workdir") or "", environment),
            environment=environment,
            node=place.node,
            mounts=self._mounts(),
            image=image,
            name=self.files.container_name(self._starts) if self.runtime.has_images else "",
            memory_bytes=self.limits.memory_bytes // len(self.nodes),
            private=self.files.root,
        )
        command = self.runtime.command(start)
        if self.runtime.has_images:
            self.files.note_container(start.name)
        pid = self.children.start(command, place.stdout, place.stdout if task.get("stdout") else place.stderr)
        self.files.note_task(pid)
        return pid, start.name

    def _mpi(self, task: Mapping[str, Any]) -> Mpi | None:
        kind = task.get("type", "basic")
        if kind in {"basic", _SIDECAR}:
            return None
        return Mpi(kind, len(self.nodes) * task.get("procsPerNode", self.cpus))

    def _mounts(self) -> tuple[Mount, ...]:
        artifacts = self.job.get("artifacts") or []
        return tuple(Mount(*each["mountpoint"].split(":", 1)) for each in artifacts if "mountpoint" in each)

    def _copy_output(self, node: Node, begin: int, name: str) -> None:
        target = node.scratch / os.path.basename(name)  # noqa: PTH119 - as the service does
        target.unlink(missing_ok=True)  # it may be a link or a pipe of the task's
        with self.files.stream("stdout", node.number).open("rb") as source, target.open("xb") as copy:
            source.seek(begin)
            shutil.copyfileobj(source, copy)


@dataclass(frozen=True, slots=True)
class _Helpers:
    """What runtimes need to have images ready."""

    children: Children
    limits: Limits
    directory: Path

    def run(self, argv: Sequence[str], environment: Mapping[str, str]) -> Finished:
        return self.children.run(argv, environment, self.directory)

    def check(self) -> None:
        self.limits.check()


def fill_in_ids(text: str, environment: Mapping[str, str]) -> str:
    """Fill in what the service fills in before a command runs: the ids; ``$$`` becomes ``$``."""
    return Template(text).safe_substitute({name: environment[name] for name in _IDS if name in environment})


def _words(command: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(fill_in_ids(command, environment)))
    except ValueError as error:
        raise NotRunnable(f"cmd cannot be split into words: {error}") from error


def _complain(place: _Place, error: Exception) -> None:
    with suppress(OSError):  # of a full disk, which is no reason to end the attempt
        os.write(place.stderr, f"prominence: {error}\n".encode(errors="backslashreplace"))
