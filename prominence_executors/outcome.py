"""What a future gives for a job that has ended: a value, or an exception.

Two sources tell: the result that the runner of a function call wrote, and the state of the job. What the
runner recorded counts first.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import (
    CallLost,
    InterruptedAfterStart,
    JobDeleted,
    JobFailedError,
    NotFound,
    OutcomeUnknown,
    ProminenceError,
    PythonMismatch,
    ResultError,
    StoreUnreachable,
    TaskExitError,
)
from prominence.following import bearing_outages
from prominence.logs import about, logger
from prominence.outputs import missing_outputs
from prominence_executors.calls import packing
from prominence_executors.calls.results import ChunkOutcomes, ItemOutcome, Record
from prominence_executors.failures import exit_code, failure, kind_of

if TYPE_CHECKING:
    from prominence import Job, Session
    from prominence.snapshot import JobSnapshot
    from prominence_executors.fence import Claim

log = logger(__name__)

_NOT_BEGUN: Final[dict[str, tuple[type[JobFailedError], str]]] = {
    "interrupted": (InterruptedAfterStart, "was started again, and the call is not to be made twice"),
    "no-store": (StoreUnreachable, "did not make the call, for it could not claim it"),
    "others": (
        JobDeleted,
        "did not make the call: its claim was deleted, with the session that it belongs to",
    ),
    "late": (JobDeleted, "did not make the call: it came when that had been given up, with its driver"),
}
_NO_SUCH_COMMAND: Final = frozenset({127, 255})  # of shells, and of the service's containers


@dataclass(frozen=True)
class CompletedJob:
    """A command that has run: its exit code, and its output, fetched when first asked for."""

    job: Job
    command: str
    returncode: int

    @cached_property
    def stdout(self) -> str:
        return self.job.stdout()

    @cached_property
    def stderr(self) -> str:
        return self.job.stderr()

    def __repr__(self) -> str:
        return f"CompletedJob(id={self.job.id}, command={self.command!r}, returncode={self.returncode})"


def completed_command(job: Job, snapshot: JobSnapshot, command: str, *, check: bool) -> CompletedJob:
    """The outcome of a command; raises the failure, other than an exit code with ``check=False``."""
    code = exit_code(snapshot)
    if snapshot.status == "completed" and code is not None and (code == 0 or not check):
        return CompletedJob(job, command, code)
    raise failure(job, snapshot, command)


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A function call whose job has ended; ``name`` and ``image`` are for the texts of errors."""

    session: Session
    job: Job
    snapshot: JobSnapshot
    claim: Claim | None
    name: str
    image: str

    def value(self) -> Any:
        """The value of the call; raises its exception, or the error that says how its job failed.

        Behind a fence, what was committed there is the outcome, or else what the run wrote that claimed it
        last.
        """
        if self.claim is not None and self.claim.outcome is not None:
            return Record.parse(self.claim.outcome).value(self.image)
        record = Record.parse(self._result_file())
        self._check_has_begun(record)
        if not record.tells_the_outcome:
            raise self._lost(was_started=True)
        if record.kind == "value" and self._lacks_outputs():
            raise self._failure()
        return record.value(self.image)

    def item_outcomes(self) -> ChunkOutcomes:
        """Of the items of a chunk; those after a crash have the error that says how the job failed."""
        committed = None if self.claim is None else self.claim.outcome
        content = self._result_file() if committed is None else committed
        records = list(Record.parse_all(content))
        beginning = records.pop(0) if records else Record.parse(content)  # which says what is wrong with it
        self._check_has_begun(beginning)
        if not beginning.is_beginning:
            beginning.value(self.image)
        found = [outcome for record in records for outcome in record.item_outcomes(self.image)]
        count = int(beginning.header["items"])
        missing = count - len(found)
        if missing and self.snapshot.succeeded:
            raise ResultError(
                f"the result file of job {self.snapshot.id} is damaged: {missing} of {count} are missing"
            )
        if missing:
            found += [ItemOutcome(error=self._lost(was_started=True))] * missing
        elif committed is None and self._lacks_outputs():
            raise self._failure()
        return ChunkOutcomes(found)

    def _lacks_outputs(self) -> bool:
        """Whether outputs of the user's own are missing; a value alone is then not all that was asked for."""
        missing = missing_outputs(self.snapshot, besides=[packing.RESULT])
        return self.snapshot.status != "completed" and bool(missing)

    def _result_file(self) -> bytes:
        def fetch() -> bytes:
            return self.job.get_output_file(packing.RESULT, encoding=None)

        try:
            session = self.session
            return bearing_outages(fetch, session.client, session.outage_tolerance, was_good=True)
        except NotFound:  # that it wrote no result follows from how it ended
            has_begun = self.claim is not None and self.claim.job_id is not None
            raise self._lost(was_started=has_begun) from None

    def _check_has_begun(self, record: Record) -> None:
        """Raise the error that says why user code was not begun, or that what it wrote does not count."""
        if record.kind == "python":
            raise self._made_for_another_python(record)
        if record.kind in _NOT_BEGUN:
            is_late = record.kind == "others" and self.claim is not None
            kind, text = _NOT_BEGUN["late" if is_late else record.kind]
            text += f": {record.header['text']}" if "text" in record.header else ""
            raise self._failure(kind, text)
        if self.claim is not None and record.header.get("nonce") != self.claim.nonce:
            raise self._failure(OutcomeUnknown, "left the result of an earlier run")

    def _lost(self, *, was_started: bool) -> JobFailedError:
        kind, code = kind_of(self.snapshot), exit_code(self.snapshot)
        if kind is OutcomeUnknown and code == 0:
            return self._failure(
                CallLost, "ended with exit code 0 before it could tell what came of the call"
            )
        if not issubclass(kind, TaskExitError):
            return self._failure()
        if not was_started and code in _NO_SUCH_COMMAND:
            return self._failure(PythonMismatch, f"could not be started: its image has no {packing.PYTHON}")
        return self._failure(CallLost)

    def _made_for_another_python(self, record: Record) -> JobFailedError:
        there = ".".join(str(part) for part in record.header["here"])
        here = "{}.{}".format(*sys.version_info)
        text = f"was not made: its image has Python {there}, and the caller Python {here}"
        return self._failure(PythonMismatch, text)

    def _failure(self, kind: type[JobFailedError] | None = None, text: str = "") -> JobFailedError:
        return failure(self.job, self.snapshot, self.name, kind=kind, text=text)


def forward_output(job: Job) -> None:
    """Write what the job has written to this process's own streams, as far as it can be had."""
    for read, stream in ((job.stdout, sys.stdout), (job.stderr, sys.stderr)):
        if stream is None:
            continue
        try:
            stream.write(read())
            stream.flush()
        except (ProminenceError, OSError, ValueError) as error:  # a closed stream raises ValueError
            about(log, "job", job.id).warning("its output cannot be shown: %s", error)
