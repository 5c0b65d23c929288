"""What became of a future's job, in words: timeline, cause, evidence, next step."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import JobFailedError
from prominence_executors.advice import next_step
from prominence_executors.calls.results import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prominence.snapshot import JobSnapshot
    from prominence_executors.future import ProminenceFuture

_LONGEST_LINE: Final = 500  # characters
_LONGEST_TRACEBACK: Final = 10_000
_MOMENTS: Final = (("created", "createTime"), ("started", "startTime"), ("ended", "endTime"))


def explain(future: ProminenceFuture[Any]) -> str:
    """Plain text of a few lines; made of what is known here, without asking the service."""
    error = future.exception() if future.done() and not future.cancelled() else None
    headline, next_step = _headline(future, error), _next_step(future, error)
    return _text(headline, future.last_snapshot, error, next_step, earlier=_earlier_attempts(future))


def explain_job(snapshot: JobSnapshot, name: str, error: JobFailedError | None) -> str:
    """The same of a job that no future of this process has: without what only its program knows."""
    number = snapshot.id
    if error is not None:
        ended, step = " failed", next_step(error)
    elif snapshot.has_ended:
        ended, step = " succeeded", f"see its output: prominence stdout {number}"
    else:
        ended = f" is {snapshot.status}"
        step = f"wait for it (prominence wait {number}), or look at its output (prominence logs -f {number})"
    return _text(f"job {number} ({name}){ended}", snapshot, error, step)


def _text(
    headline: str,
    snapshot: JobSnapshot | None,
    error: BaseException | None,
    next_step: str,
    *,
    earlier: Iterable[str] = (),
) -> str:
    parts = [headline]
    if snapshot is not None and (moments := list(_moments(snapshot))):
        parts.append("timeline, by the service's clock:\n" + _indented(moments))
    if error is not None:
        parts.append(f"cause: {in_a_line(error)}")
    if evidence := [*earlier, *_evidence(snapshot, error)]:
        parts.append("evidence:\n" + _indented(evidence))
    parts.append(f"next step: {next_step}")
    return "\n".join(parts) + "\n"


def in_a_line(error: BaseException) -> str:
    """Its type and the first line of its text, which is the user's own and may be missing or endless."""
    try:
        text = str(error).partition("\n")[0]
    except (Exception, SystemExit):  # noqa: BLE001 - the text is made by users' code
        text = "(its text cannot be made)"
    if len(text) > _LONGEST_LINE:
        text = text[:_LONGEST_LINE] + "..."
    return f"{type(error).__name__}: {text}"


def _headline(future: ProminenceFuture[Any], error: BaseException | None) -> str:
    job = future.job
    name = f"job {job.id} ({job.name})" if job.id is not None else f"{job.name}"
    if future.is_chunk:
        name += ", a chunk of a map,"
    if future.cancelled():
        return f"{name} was cancelled before it was sent"
    if future.done():
        sent = "" if job.id is not None else " and was never sent"
        return f"{name} {'succeeded' if error is None else 'failed'}{sent}"
    if job.id is not None:
        return f"{name} is {future.status}, as last heard"
    return f"{name} is being sent" if future.running() else f"{name} waits here for its turn to be sent"


def _moments(snapshot: JobSnapshot) -> Iterator[str]:
    for what, name in _MOMENTS:
        if (moment := snapshot.events.get(name)) is not None:
            end = f": {snapshot.status}" if what == "ended" and snapshot.has_ended else ""
            yield f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC  {what}{end}"


def _earlier_attempts(future: ProminenceFuture[Any]) -> Iterator[str]:
    for attempt in future.attempts:
        if attempt.job is not future.job and attempt.error is not None:
            yield f"job {attempt.job.id} was tried before: {in_a_line(attempt.error)}"


def _evidence(snapshot: JobSnapshot | None, error: BaseException | None) -> Iterator[str]:
    if snapshot is not None:
        if snapshot.reason:
            yield f"the service's reason: {snapshot.reason}"
        if snapshot.exit_codes:
            yield f"exit codes of its tasks: {', '.join(map(str, snapshot.exit_codes))}"
        execution = snapshot.execution
        for name, value in (("site", execution.site), ("tries before this one", execution.get("retries"))):
            if value:
                yield f"{name}: {value}"
    if isinstance(error, JobFailedError) and error.stderr:
        yield "last lines of its standard error:\n" + _indented([error.stderr])
    cause = getattr(error, "__cause__", None)
    if isinstance(cause, RemoteTraceback):
        text = cause.text.strip()
        if len(text) > _LONGEST_TRACEBACK:
            text = f"{text[: _LONGEST_TRACEBACK // 2]}\n...\n{text[-_LONGEST_TRACEBACK // 2 :]}"
        yield "where it was raised in the job:\n" + _indented([text])


def _next_step(future: ProminenceFuture[Any], error: BaseException | None) -> str:
    if error is not None:
        return next_step(error) or "correct the function, or what it was given"
    if future.cancelled():
        return "submit it again if it is wanted after all"
    if future.done():
        is_list = ", a list with the value or the exception of each item" if future.is_chunk else ""
        return f"use future.result(){is_list}"
    return "wait for it, look at future.logs(), or end it with future.kill()"


def _indented(lines: list[str]) -> str:
    return textwrap.indent("\n".join(lines), "  ")
