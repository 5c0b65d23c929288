"""What may be submitted, and the call that each becomes: functions, commands, tasks, jobs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from prominence import Job, ParameterSet, Session, Task, Workflow, Zip
from prominence.description.task import literally
from prominence.exceptions import ProminenceError
from prominence_executors.arrays import Array
from prominence_executors.attempts import Call
from prominence_executors.calls import packing
from prominence_executors.fence import guarantee_in_force
from prominence_executors.future import ProminenceFuture
from prominence_executors.outcome import call_value, completed_command, item_outcomes

if TYPE_CHECKING:
    from prominence.snapshot import JobSnapshot
    from prominence_executors.calls.packing import PackedCall, Packer
    from prominence_executors.calls.results import ItemOutcome
    from prominence_executors.fence import Claim, Guarantee
    from prominence_executors.options import JobOptions

_INTERPRETER_VARIABLE: Final = "PROMINENCE_LOCAL_PYTHON"
_NOT_IN_NAMES: Final = re.compile(r"[^\w./-]+", re.ASCII)
_NOT_IN_WORKFLOW_NAMES: Final = re.compile(r"[ /]+")
_NAME_CHARACTERS: Final = 100
_MOST_BYTES_OF_ITEMS: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Submittable:
    """Makes calls with some options, for one session."""

    options: JobOptions
    session: Session
    packer: Packer
    guarantee: Guarantee

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
        if isinstance(what, Sequence):
            return self._command(_literally(what))
        raise TypeError(
            f"a function, a command line, a list of words, a Task or a Job is needed, not {what!r}"
        )

    def _function(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Call:
        name = function_name(function)
        outcome = partial(call_value, self.session, name=name, image=self.options.image)
        return self._packed(name, lambda: self.packer.call(function, args, kwargs), outcome)

    def chunk(self, function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> Call:
        """The calls of a function with each of some items, as one job; its future gives their outcomes."""
        name = function_name(function)
        outcome = self._outcomes_of(items, name)
        call = self._packed(name, lambda: self.packer.chunk(function, items), outcome)
        call.items = len(items)
        return call

    def array(
        self, function: Callable[..., Any], chunks: Sequence[Sequence[tuple[Any, ...]]]
    ) -> Array | None:
        """The same for each of several chunks, as the jobs of one workflow.

        None where that does not pay, as each job would have to fetch too much for all the others, or where
        the jobs must claim their calls one by one. Raises whatever pickling raises.
        """
        name = function_name(function)
        if (
            guarantee_in_force(self.session.client, self.guarantee, may_rerun=self.options.may_rerun)
            == "fence"
        ):
            return None
        packed = self.packer.chunks(function, chunks)
        if packed.bytes_of_items > _MOST_BYTES_OF_ITEMS:
            return None
        template = self._job_of(packed, name)
        calls = [self._call(template, self._outcomes_of(items, name)) for items in chunks]
        for index, call in enumerate(calls):
            call.described = _with_index(template, index)
        return Array(calls, partial(self._workflow, template), packed.contents)

    def _workflow(self, template: Job, indexes: Sequence[int]) -> Workflow:
        name, job = _NOT_IN_WORKFLOW_NAMES.sub("-", str(template.name)), copy(template)
        job.name = "call"
        values = ParameterSet(packing.INDEX, values=list(indexes))
        factory = Zip(name="calls", jobs=[job], parameters=[values])
        return Workflow(session=self.session, name=name, jobs=[job], factories=[factory])

    def _outcomes_of(
        self, items: Sequence[Any], name: str
    ) -> Callable[[Job, JobSnapshot, Claim | None], list[ItemOutcome]]:
        return partial(item_outcomes, self.session, name=name, image=self.options.image, count=len(items))

    def _packed(
        self,
        name: str,
        pack: Callable[[], PackedCall],
        outcome: Callable[[Job, JobSnapshot, Claim | None], Any],
    ) -> Call:
        try:
            packed = pack()
        except Exception as error:  # noqa: BLE001 - pickling runs users' code
            return _refused(self.options.job("true", session=None, default_name=name), error)
        call = self._call(self._job_of(packed, name), outcome)
        call.contents = packed.contents
        call.kind = "function"
        call.guarantee = self.guarantee
        call.may_rerun = self.options.may_rerun
        return call

    def _job_of(self, packed: PackedCall, name: str) -> Job:
        env = {}
        if self.session.client.is_on_loopback:  # of use to the local service alone, and ignored by others
            env[_INTERPRETER_VARIABLE] = self.session.client.settings.local.python
        return self.options.job(
            packed.command,
            session=self.session,
            default_name=name,
            env=env,
            artifacts=packed.artifacts,
            input_files=packed.input_files,
            output_files=[packing.RESULT],
        )

    def _command(self, command: str) -> Call:
        name = _name(_words(command)[0].rpartition("/")[2])
        job = self.options.job(command, session=self.session, default_name=name)
        return self._described(job, command)

    def _task(self, task: Task) -> Call:
        command = str(task.command or task.image)  # without a command the image's own is run
        name = _name(command.partition(" ")[0].rpartition("/")[2])
        job = self.options.job_of(task, session=self.session, default_name=name)
        return self._described(job, command)

    def _job(self, job: Job) -> Call:
        if job.id is not None:
            raise ProminenceError(f"job {job.id} is submitted already: wait for it with job.wait()")
        job.use(self.session)
        return self._described(job, "; ".join(str(task.command or task.image) for task in job.tasks))

    def _described(self, job: Job, command: str) -> Call:
        job.validate()
        check = self.options.check
        return self._call(
            job, lambda job, snapshot, _: completed_command(job, snapshot, command, check=check)
        )

    def _call(self, job: Job, outcome: Callable[[Job, JobSnapshot, Claim | None], Any]) -> Call:
        in_background = self.session.sender.add if self.options.kill_when_cancelled else None
        future: ProminenceFuture[Any] = ProminenceFuture(job, in_background=in_background)
        return Call(
            future,
            job,
            outcome,
            forwards_output=self.options.forward_output,
            retries=self.options.retries,
            kind="command" if self.options.check else "unchecked",
        )


def _with_index(template: Job, index: int) -> Job:
    """The job that a factory makes of a template, as one of its own."""
    job, task = copy(template), copy(template.tasks[0])
    task.command = str(task.command).replace(f"${packing.INDEX}", str(index))
    job.tasks = [task]
    return job


def function_name(function: Callable[..., Any]) -> str:
    """What the job of a call is named after."""
    while isinstance(function, partial):
        function = function.func
    return _name(getattr(function, "__name__", type(function).__name__))


def _refused(job: Job, error: BaseException) -> Call:
    future: ProminenceFuture[Any] = ProminenceFuture(job)
    future.set_running_or_notify_cancel()
    future.set_exception(error)
    return Call(future, job, lambda *_: None)


def _literally(words: Sequence[Any]) -> str:
    for number, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"word {number} of the command is {word!r}: every word must be a string")
    return literally(words)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"the command {command!r} cannot be split into words: {error}") from error
    if not words:
        raise ValueError("the command is empty")
    return words


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text).strip("-")[:_NAME_CHARACTERS] or "call"
