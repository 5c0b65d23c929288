"""What may be submitted, and the call that each becomes: functions, commands, tasks, jobs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final

from prominence import Job, ParameterSet, Session, Task, Workflow, Zip
from prominence.description.checks import is_splittable
from prominence.description.task import literally
from prominence.exceptions import ProminenceError
from prominence_executors.arrays import Array
from prominence_executors.call import Call
from prominence_executors.calls import packing
from prominence_executors.future import ProminenceFuture
from prominence_executors.jobs import CallJobs
from prominence_executors.work import ChunkWork, CommandWork, FunctionWork, JobWork, TaskWork

if TYPE_CHECKING:
    from prominence_executors.calls.objects import Copy
    from prominence_executors.calls.packing import PackedCall, Packer
    from prominence_executors.fence import Guarantee
    from prominence_executors.groups import Group
    from prominence_executors.options import JobOptions
    from prominence_executors.work import Work

_NOT_IN_NAMES: Final = re.compile(r"[^\w./-]+", re.ASCII)
_NOT_IN_WORKFLOW_NAMES: Final = re.compile(r"[ /]+")
_NAME_CHARACTERS: Final = 100
_LONGEST_PROGRAM: Final = 4096  # characters, as of a path
_MOST_BYTES_OF_ITEMS: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Submittable:
    """Makes calls with some options, for one session and group."""

    options: JobOptions
    session: Session
    packer: Packer
    guarantee: Guarantee
    group: Group

    def call(self, what: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Raises TypeError for what cannot be submitted, and whatever its description lacks."""
        if callable(what):
            return self._function(what, args, kwargs)
        if args or kwargs:
            raise TypeError("only functions take further arguments: put a command's into its line or list")
        if isinstance(what, str):
            return self._command(what)
        if isinstance(what, Task):
            return self._task(what)
        if isinstance(what, Job):
            return self._job(what)
        if isinstance(what, Sequence) and not isinstance(what, bytes | bytearray):
            return self._command(_literally(what))
        raise TypeError(
            f"a function, a command line, a list of words, a Task or a Job is needed, not {what!r}"
        )

    def _function(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Call:
        name = function_name(function)
        try:
            packed = self.packer.call(function, args, kwargs)
        except Exception as error:  # noqa: BLE001 - pickling runs users' code
            return self._refused(name, error)
        return self._call(self._work(packed, name), packed.contents)

    def chunk(self, function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> Call:
        """The calls of a function with each of some items, as one job; its future gives their outcomes."""
        name = function_name(function)
        try:
            packed = self.packer.chunks(function, [items])
        except Exception as error:  # noqa: BLE001 - the same
            return self._refused(name, error)
        return self._call(ChunkWork(self._work(packed, name), 0), packed.contents)

    def array(
        self, function: Callable[..., Any], chunks: Sequence[Sequence[tuple[Any, ...]]]
    ) -> Array | None:
        """The same for each of several chunks, as the jobs of one workflow.

        None where that does not pay, as each job would have to fetch too much for all the others. Raises
        whatever pickling raises.
        """
        name = function_name(function)
        packed = self.packer.chunks(function, chunks)
        if packed.bytes_of_items > _MOST_BYTES_OF_ITEMS:
            return None
        work = self._work(packed, name)
        calls = [self._call(ChunkWork(work, index)) for index in range(len(chunks))]
        template = work.job_for(f"${packing.INDEX}")
        return Array(calls, partial(self._workflow, template), packed.contents)

    def _workflow(self, template: Job, indexes: Sequence[int]) -> Workflow:
        name, job = _NOT_IN_WORKFLOW_NAMES.sub("-", str(template.name)), copy(template)
        job.name, job.tasks = "call", [copy(task) for task in template.tasks]
        values = ParameterSet(packing.INDEX, values=list(indexes))
        factory = Zip(name="calls", jobs=[job], parameters=[values])
        return Workflow(session=self.session, name=name, jobs=[job], factories=[factory])

    def _work(self, packed: PackedCall, name: str) -> FunctionWork:
        return FunctionWork(self.options, self.session, packed.files, name)

    def _refused(self, name: str, error: BaseException) -> Call:
        call = self._call(CommandWork(self.options, self.session, "true", name))
        call.future.set_running_or_notify_cancel()
        call.future.set_exception(error)
        return call

    def _command(self, command: str) -> Call:
        name = _name(_program(command).rpartition("/")[2])
        return self._checked(CommandWork(self.options, self.session, command, name))

    def _task(self, task: Task) -> Call:
        name = _name(str(task.command or task.image).partition(" ")[0].rpartition("/")[2])
        return self._checked(TaskWork(self.options, self.session, task, name))

    def _job(self, job: Job) -> Call:
        if job.id is not None:
            raise ProminenceError(f"job {job.id} is submitted already: wait for it with job.wait()")
        job.use(self.session)
        job.validate()
        return self._call(JobWork(self.options, job), job=job)

    def _checked(self, work: Work) -> Call:
        work.job().validate()
        return self._call(work)

    def call_for(self, work: Work) -> Call:
        """The call of a work that was sent already, or needs nothing stored."""
        return self._call(work)

    def _call(
        self, work: Work, contents: Mapping[str, Copy] | None = None, *, job: Job | None = None
    ) -> Call:
        in_background = self.session.sender.add if self.options.kill_when_cancelled else None
        jobs = CallJobs(work, job)
        future: ProminenceFuture[Any] = ProminenceFuture(jobs, in_background=in_background)
        return Call(future, jobs, self.group, self.options, self.guarantee, contents or None)


def function_name(function: Callable[..., Any]) -> str:
    """What the job of a call is named after."""
    while isinstance(function, partial):
        function = function.func
    return _name(getattr(function, "__name__", type(function).__name__))


def _literally(words: Sequence[Any]) -> str:
    words = [fspath(word) if isinstance(word, PathLike) else word for word in words]
    for number, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(
                f"command[{number}] is {word!r}: every word of a command must be a string or a path"
            )
    return literally(words)


def _program(command: str) -> str:
    """The first word; of one that is too long for ``shlex`` to be quick with, its beginning as written."""
    if not is_splittable(command):
        text = "a quote is open, or it ends with a backslash"
        raise ValueError(f"the command {command!r} cannot be split into words: {text}")
    lexer = shlex.shlex(command[:_LONGEST_PROGRAM], posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        word = lexer.get_token()
    except ValueError:
        return command[:_LONGEST_PROGRAM]
    if word is None:
        raise ValueError("the command is empty")
    return word


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text).strip("-")[:_NAME_CHARACTERS] or "call"
