"""The supervisor's side of its child processes: starting them, waiting for them, ending them."""

from __future__ import annotations

import os
import select
import signal
import socket
import tempfile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prominence.local.machine import processes
from prominence.local.machine.runtimes.base import Command, Finished

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from prominence.local.machine.limits import Limits

_PLAIN_SIGNALS: Final = (  # Python or we changed these; tasks get the defaults back
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGCHLD,
)


class Ended(NamedTuple):
    """A child that was collected: its wait status, and the resources that it and its children used."""

    status: int
    usage: Any


class Usage(NamedTuple):
    """What processes used: seconds of processors, and KB of memory by the largest of them."""

    cpu_s: float
    peak_kb: int


class Children:
    """This process's descendants, which all come to it when their own parents end.

    Signals wake whoever waits here; TERM asks for the attempt's end.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ended: dict[int, Ended] = {}
        processes.adopt_orphans()
        self._wake, writer = socket.socketpair()
        self._wake.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)

    def start(self, command: Command, stdout: int, stderr: int) -> int:
        """Start a command in a session of its own; returns its process id."""
        os.chdir(command.directory)  # posix_spawn has no other way to set it
        return os.posix_spawn(
            command.path,
            command.argv,
            command.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_PLAIN_SIGNALS,
        )

    def wait_for(self, pids: Iterable[int]) -> list[Ended]:
        """How these children ended, in their order, once all have. Raises Stop when a limit is reached."""
        wanted = list(pids)
        while True:
            self.reap()
            if all(pid in self._ended for pid in wanted):
                return [self._ended[pid] for pid in wanted]
            self._limits.check()
            if select.select([self._wake], [], [], self._limits.patience_s())[0]:
                self._wake.recv(4096)

    def run(self, argv: Sequence[str], environment: Mapping[str, str], directory: Path) -> Finished:
        """Run a helper program to its end; it ends with the attempt if that is ended meanwhile."""
        with tempfile.TemporaryFile(dir=directory) as output:
            command = Command(argv[0], list(argv), dict(environment), directory)
            pid = self.start(command, output.fileno(), output.fileno())
            (ended,) = self.wait_for([pid])
            output.seek(0)
            return Finished(os.waitstatus_to_exitcode(ended.status), output.read().decode(errors="replace"))

    def forget_ended(self) -> None:
        """Begin a new account of ended children; a new process may get the number of one that ended."""
        self.reap()
        self._ended.clear()

    def usage(self, besides: Iterable[int] = ()) -> Usage:
        """What all children used that ended since :meth:`forget_ended`, ``besides`` left out."""
        left_out = set(besides)
        counted = [ended.usage for pid, ended in self._ended.items() if pid not in left_out]
        return Usage(
            sum(usage.ru_utime + usage.ru_stime for usage in counted),
            max((usage.ru_maxrss for usage in counted), default=0),
        )

    def end_all(self, grace_s: float) -> None:
        """TERM to every descendant, KILL after ``grace_s``, until none is left."""
        processes.end_descendants(grace_s, self.reap)

    def reap(self) -> bool:
        """Collect every child that has ended, tasks and orphans alike; True while children are left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._ended[pid] = Ended(status, usage)

    def _on_term(self, *_: object) -> None:
        self._limits.cancelled = True
