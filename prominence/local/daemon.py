"""The embedded service as its clients see it: find it, start it, end it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from prominence.exceptions import LocalServiceError
from prominence.local.__main__ import READY, TAKEN
from prominence.local.directory import AlreadyServed, Endpoint, EndpointUnreadable, StateDirectory
from prominence.local.machine.files import AttemptFiles
from prominence.version import __version__

if TYPE_CHECKING:
    from prominence.settings import LocalSettings

_START_TIME_S: Final = 30.0
_STOP_TIME_S: Final = 30.0
_MOST_NAMED: Final = 5
_LOOK_S: Final = 0.02
_LOG_TAIL_BYTES: Final = 2000
_PASSED_ON: Final = (
    *("HOME", "USER", "LOGNAME", "PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"),
    *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_HOST"),  # container programs look for these
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),  # to fetch images
)
_FIRST_FREE_DESCRIPTOR: Final = 3


def running(settings: LocalSettings) -> Endpoint | None:
    """The service that runs now, if one does; starts nothing and makes no directory."""
    state = StateDirectory(settings.directory)
    return state.endpoint() if settings.directory.is_dir() else None


def ensure(settings: LocalSettings) -> Endpoint:
    """The running service, started if need be; however many clients ask at once, one is started."""
    if os.name != "posix":
        raise LocalServiceError(
            "the embedded service needs Linux or macOS: set PROMINENCE_URL and PROMINENCE_TOKEN"
        )
    state = StateDirectory(settings.directory)
    state.open()
    if (found := state.endpoint()) is not None:
        return found
    with state.starting():
        if (found := state.endpoint()) is None:
            found = _started(settings, state)
    if found is None:
        raise LocalServiceError(f"the local service ended right after its start; see {state.log}")
    return found


def check_runtime(endpoint: Endpoint, settings: LocalSettings) -> None:
    """Raise LocalServiceError where the running service runs commands with something else than is asked for.

    A job that is meant for a container must not run without one, nor the other way round.
    """
    wanted = settings.runtime.name
    if wanted and wanted != endpoint.runtime:
        raise LocalServiceError(
            f"PROMINENCE_LOCAL_RUNTIME is {wanted}, but the local service that runs was started with "
            f"{endpoint.runtime}: end it with `prominence local stop`, or unset the variable"
        )


def version_notice(endpoint: Endpoint) -> str | None:
    """What to say where the service that runs was started by another release, else None."""
    if endpoint.version == __version__:
        return None
    return (
        f"the local service that runs has version {endpoint.version}, this library {__version__}: "
        "`prominence local stop && prominence local start` replaces it; jobs go on meanwhile"
    )


def stop(settings: LocalSettings) -> bool:
    """End the service, and wait for its end; its jobs go on. False when none was running."""
    state = StateDirectory(settings.directory)
    try:
        endpoint = running(settings)
        process = None if endpoint is None else endpoint.pid
    except EndpointUnreadable:
        process = state.server()
    if process is None:
        return False
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIME_S
    while state.is_served():
        if time.monotonic() > deadline:
            raise LocalServiceError(
                f"the local service (process {process}) did not end in {_STOP_TIME_S:.0f} s"
            )
        time.sleep(_LOOK_S)
    return True


def command(settings: LocalSettings) -> list[str]:
    """The command line of a service in the foreground."""
    options = [f"--engine={settings.engine}", f"--runtime={json.dumps(asdict(settings.runtime))}"]
    options += [f"--retention={settings.retention}"]
    options += [f"--cpus={settings.cpus}"] if settings.cpus else []
    options += [f"--memory={settings.memory}"] if settings.memory else []
    return [sys.executable, "-P", "-m", "prominence.local", str(settings.directory), *options]


def erase(settings: LocalSettings) -> None:
    """Remove all that the service keeps: jobs, outputs, uploads, keys, its log.

    Raises LocalServiceError while a service or one of its jobs runs. A database that cannot be used is no
    obstacle.
    """
    state = StateDirectory(settings.directory)
    if not state.path.is_dir():
        return
    state.open()
    with state.starting(), state.vacant() as is_vacant:
        if not is_vacant:
            raise LocalServiceError(f"a service runs in {state.path}: stop it first")
        _wait_for_jobs(state)
        state.erase()


def _wait_for_jobs(state: StateDirectory) -> None:
    """Let jobs that are being ended come to their end; raises where one goes on."""
    deadline = time.monotonic() + _STOP_TIME_S
    while left := [each for each in AttemptFiles.below(state.attempts) if each.is_supervised()]:
        if time.monotonic() > deadline:
            names = ", ".join(each.root.name for each in left[:_MOST_NAMED])
            raise LocalServiceError(
                f"{len(left)} job attempts still run without a service ({names}): start one and delete them"
            )
        time.sleep(_LOOK_S)


def _started(settings: LocalSettings, state: StateDirectory) -> Endpoint | None:
    """A new service; or the one that came first, or a new one after that has come to its end."""
    deadline = time.monotonic() + _START_TIME_S
    while True:
        try:
            _start(settings, state)
        except AlreadyServed:
            if (found := state.endpoint()) is not None:
                return found
            if time.monotonic() > deadline:
                raise
        else:
            return state.endpoint()


def _start(settings: LocalSettings, state: StateDirectory) -> None:
    reader, writer = (_above_standard_streams(each) for each in os.pipe())
    try:
        with state.log.open("ab") as log:
            subprocess.run(
                [*command(settings), f"--ready-fd={writer}", "--detach"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                pass_fds=[writer],
                check=False,
            )
    except OSError as error:
        os.close(reader)
        raise LocalServiceError(f"the local service cannot be started: {error}") from error
    finally:
        os.close(writer)
    answer = _read_line(reader)
    if answer == TAKEN:
        raise AlreadyServed(f"another service already runs in {state.path}, and tells nobody where")
    if answer != READY:
        raise LocalServiceError(f"the local service did not start: {answer or _last_words(state)}")


def _above_standard_streams(descriptor: int) -> int:
    """The same pipe under a number that no standard stream has, for a caller that has closed some."""
    if descriptor >= _FIRST_FREE_DESCRIPTOR:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_DESCRIPTOR)
    os.close(descriptor)
    return moved


def _read_line(descriptor: int) -> str:
    """What the new service says, or "" when it ended without a word."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN | select.POLLHUP)
    with os.fdopen(descriptor, "rb") as pipe:
        if not waiting.poll(_START_TIME_S * 1000):
            raise LocalServiceError(f"the local service did not answer in {_START_TIME_S:.0f} s")
        return pipe.readline().decode().strip()


def _last_words(state: StateDirectory) -> str:
    with state.log.open("rb") as log:
        log.seek(max(0, state.log.stat().st_size - _LOG_TAIL_BYTES))
        return log.read().decode(errors="replace").strip()
