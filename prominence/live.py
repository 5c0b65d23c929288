"""What is done with a job while it runs: following its output, commands beside it, snapshots of its files.

Real services refuse every command and make no snapshot for 8 to 25 seconds after they first say that a
job runs, with the same answer that a failing command gets. So readiness is found out with ``true``, and
the user's own command is sent once.
"""

from __future__ import annotations

import codecs
import shlex
from typing import TYPE_CHECKING, Final

from prominence.exceptions import NotFound, ServiceError
from prominence.outputs import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike
    from pathlib import Path

    from prominence.client import ProminenceClient, Stream
    from prominence.client.downloads import Progress
    from prominence.snapshot import JobSnapshot

_NOT_READY: Final = "Unable to execute command"
_READY_S: Final = 60.0
_PROBE_PAUSE_S: Final = 2.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_SNAPSHOT_S: Final = 30.0


def execute(client: ProminenceClient, job_id: int, command: str | Sequence[str]) -> str:
    """What a command printed that was run beside a running job; its standard error is mixed in.

    Raises ServiceError when the job does not run, or the command ends with another exit code than 0.
    """
    words = shlex.split(command) if isinstance(command, str) else list(command)
    if not words:
        raise ValueError("the command is empty")
    wait_until_ready(client, job_id)
    return client.execute_command(job_id, words).decode("utf-8", "replace")


def wait_until_ready(client: ProminenceClient, job_id: int) -> None:
    """Return when a running job takes commands; at most a minute after it was asked first."""
    end = client.clock.monotonic() + _READY_S
    while True:
        try:
            client.execute_command(job_id, ["true"])
        except ServiceError as error:
            if not error.args[0].startswith(_NOT_READY) or client.clock.monotonic() >= end:
                raise
        else:
            return
        client.clock.sleep(_PROBE_PAUSE_S)


def take_snapshot(
    client: ProminenceClient,
    job_id: int,
    path: str,
    save_as: str | PathLike[str] | None,
    progress: Progress | None,
) -> bytes | Path:
    """A file or directory of a running job in a ``.tgz`` archive: its bytes, or the path of the saved file.

    Raises NotFound when none was made: the service does not tell why, most often the path does not exist.
    """
    wait_until_ready(client, job_id)
    client.create_snapshot(job_id, path)
    end = client.clock.monotonic() + _SNAPSHOT_S
    while True:
        try:
            return fetch(client, client.get_snapshot_url(job_id), save_as, progress=progress)
        except NotFound as error:
            if client.clock.monotonic() >= end:
                raise NotFound(f"no snapshot of {path!r} was made: does it exist in job {job_id}?") from error
        client.clock.sleep(_PROBE_PAUSE_S)


def follow_output(
    client: ProminenceClient, job_id: int, stream: Stream, node: int, describe: Callable[[], JobSnapshot]
) -> Iterator[str]:
    """A job's output piece by piece as it is written, until the job has ended.

    Output begins anew when the job is started again; a line in brackets says so.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    offset, pause, run = 0, _FIRST_PAUSE_S, None
    while True:
        snapshot = describe()
        if run is not None and snapshot.run != run and offset:
            yield decoder.decode(b"", final=True)
            yield f"\n[job {job_id} was started again: its output begins anew]\n"
            decoder.reset()
            offset = 0
        run = snapshot.run
        piece = client.read_output(job_id, stream, node=node, offset=offset)
        offset += len(piece)
        if piece:
            yield decoder.decode(piece)
            pause = _FIRST_PAUSE_S
        elif snapshot.has_certainly_ended:
            if rest := decoder.decode(b"", final=True):
                yield rest
            return
        else:
            client.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def was_done(call: Callable[[], None]) -> bool:
    """False when the service says that something is not in its queue any more."""
    try:
        call()
    except ServiceError as error:
        if error.args[0].endswith("no longer in the queue"):
            return False
        raise
    return True
