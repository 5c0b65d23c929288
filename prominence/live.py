"""What is done with a job while it runs: commands beside it, snapshots of its files.

Real services refuse every command and make no snapshot for 8 to 25 seconds after they first say that a
job runs, with the same answer that a failing command gets. So readiness is found out with ``true``, and
the user's own command is sent once.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from prominence.client.job_calls import command_text
from prominence.exceptions import NotFound, ServiceError, ServiceUnavailable
from prominence.outputs import fetch
from prominence.replacing import check_replaceable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike
    from pathlib import Path

    from prominence.client.api import ProminenceClient
    from prominence.client.downloads import Progress

_NOT_READY: Final = "Unable to execute command"
_READY_S: Final = 60.0
_PROBE_PAUSE_S: Final = 2.0
_SNAPSHOT_S: Final = 30.0


def execute(client: ProminenceClient, job_id: int, command: str | Sequence[str]) -> str:
    """What a command printed that was run beside a running job; its standard error is mixed in.

    Raises ServiceError when the job does not run, or the command ends with another exit code than 0.
    """
    words = command.strip().split(" ") if isinstance(command, str) else list(command)
    command_text([] if words == [""] else words)  # before a probe is sent
    if not isinstance(command, str):
        words = [shlex.quote(word) for word in words]  # the service has them read by a shell
    wait_until_ready(client, job_id)
    return client.execute_command(job_id, words).decode("utf-8", "replace")


def wait_until_ready(client: ProminenceClient, job_id: int) -> None:
    """Return when a running job takes commands; at most a minute after it was asked first."""
    end = client.clock.monotonic() + _READY_S
    while True:
        try:
            client.execute_command(job_id, ["true"])
        except (ServiceError, ServiceUnavailable) as error:
            may_become_ready = error.args[0].startswith(_NOT_READY) or isinstance(error, ServiceUnavailable)
            if not may_become_ready or client.clock.monotonic() >= end:
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

    def place() -> str:
        return client.get_snapshot_url(job_id)

    if save_as is not None:
        check_replaceable(save_as)
    wait_until_ready(client, job_id)
    client.create_snapshot(job_id, path)
    end = client.clock.monotonic() + _SNAPSHOT_S
    while True:
        try:
            return fetch(client, place(), save_as, renew=place, progress=progress)
        except NotFound as error:
            if client.clock.monotonic() >= end:
                raise NotFound(f"no snapshot of {path!r} was made: does it exist in job {job_id}?") from error
        client.clock.sleep(_PROBE_PAUSE_S)


def was_done(call: Callable[[], None]) -> bool:
    """False when the service says that something is not in its queue any more."""
    try:
        call()
    except ServiceError as error:
        if error.args[0].endswith("no longer in the queue"):
            return False
        raise
    return True
