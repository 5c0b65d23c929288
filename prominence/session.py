"""A session owns what is shared by everything that talks to one service: client, watcher and sender."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from prominence.client.api import ProminenceClient
from prominence.exceptions import InvalidDescription, ProminenceError
from prominence.sources import JobSource, WorkflowSource
from prominence.threads import WorkThreads
from prominence.watch import OUTAGE_TOLERANCE_S, Watcher

if TYPE_CHECKING:
    from random import Random

    from prominence.clock import Clock
    from prominence.settings import Settings
    from prominence.snapshot import JobSnapshot, WorkflowSnapshot

SENDERS: Final = 16


class _Parts(NamedTuple):
    client: ProminenceClient
    watcher: Watcher[JobSnapshot]
    workflow_watcher: Watcher[WorkflowSnapshot]
    sender: WorkThreads

    def close(self) -> None:
        self.sender.join()
        self.watcher.close()
        self.workflow_watcher.close()
        self.client.close()


class Session:
    """One service, one pool of connections, a watcher thread each for jobs and workflows, and 16 that send.

    Nothing is contacted before it is needed. A context manager; closing it affects no job. A wait bears with
    ``outage_tolerance`` seconds without any usable answer before it raises ServiceUnavailable.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        client: ProminenceClient | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        outage_tolerance: float = OUTAGE_TOLERANCE_S,
    ) -> None:
        if not outage_tolerance >= 0:
            raise InvalidDescription("outage_tolerance", outage_tolerance, "seconds, 0 or more")
        self._settings = settings
        self.outage_tolerance = outage_tolerance
        self._given_client = client
        self._clock = clock
        self._random = random
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._made: _Parts | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def default(cls) -> Session:
        """The session of this process, made from the environment when it is first needed."""
        global _default  # noqa: PLW0603 - a process has one
        with _default_lock:
            if _default is None or _default._process != os.getpid():  # noqa: SLF001
                _default = cls()
            return _default

    @property
    def client(self) -> ProminenceClient:
        self._check_process()
        return self._parts.client

    @property
    def watcher(self) -> Watcher[JobSnapshot]:
        self._check_process()
        return self._parts.watcher

    @property
    def workflow_watcher(self) -> Watcher[WorkflowSnapshot]:
        self._check_process()
        return self._parts.workflow_watcher

    @property
    def sender(self) -> WorkThreads:
        self._check_process()
        return self._parts.sender

    def close(self) -> None:
        """End the session's threads and connections; jobs go on, and the session may be used again."""
        with self._lock:
            parts, self._made = self._made, None
        if parts is not None:
            parts.close()

    @property
    def _parts(self) -> _Parts:
        with self._lock:
            if self._made is None:
                client = self._given_client or self._make_client()
                sender = WorkThreads("prominence-sender", SENDERS)
                jobs = Watcher(JobSource(client), client.clock, self._random, self.outage_tolerance)
                workflows = Watcher(WorkflowSource(client), client.clock, self._random, self.outage_tolerance)
                self._made = _Parts(client, jobs, workflows, sender)
            return self._made

    def _make_client(self) -> ProminenceClient:
        return ProminenceClient(settings=self._settings, clock=self._clock, random=self._random)

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise ProminenceError("this session belongs to the parent process: make a new one after fork")


_default: Session | None = None
_default_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_default=None, _default_lock=threading.Lock()))
