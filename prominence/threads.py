"""Threads that exist only while there is work for them, and a condition for those that Ctrl-C interrupts."""

from __future__ import annotations

import threading
from _thread import RLock
from collections import deque
from typing import TYPE_CHECKING, Final

from prominence.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable

log = logger(__name__)

_IDLE_S: Final = 0.2


class InterruptibleCondition(RLock):  # type: ignore[misc]  # which is final in its stubs alone
    """What ``threading.Condition`` is with its default lock, for threads that Ctrl-C interrupts.

    An interrupted ``with`` block never keeps the lock: the interpreter itself takes it and gives it up, not
    methods in Python, which a signal can end when they have taken it or before they give it up. The waiting
    thread, which has taken the lock once, holds it again however its wait ends; that of the standard library
    is not yet ready for a signal that comes right after it has given up the lock, and KeyboardInterrupt is
    hidden by a RuntimeError. It also takes more than a kilobyte, of which each of thousands of futures would
    keep one.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: tuple[threading.Lock, ...] = ()
        """Each held, until its thread is to wake."""

    def wait(self, timeout: float | None = None) -> bool:
        """Give up the lock until notified; False when ``timeout`` seconds passed first."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters += (waiter,)
        try:
            self.release()
            try:
                return waiter.acquire(timeout=-1 if timeout is None else max(0, timeout))
            finally:
                self.acquire()
        except BaseException:
            if not self._is_owned():  # type: ignore[attr-defined]
                self.acquire()
            raise
        finally:
            self._waiters = tuple(each for each in self._waiters if each is not waiter)

    def notify(self) -> None:
        """Wake one thread that waits, if there is one."""
        for waiter in self._waiters[:1]:
            self._waiters = self._waiters[1:]
            waiter.release()

    def notify_all(self) -> None:
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            waiter.release()


class WorkThreads:
    """Runs callables in up to ``most`` threads, in order of arrival; idle threads end by themselves.

    Callables hand errors to whom they concern; what they raise all the same is logged.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._work: deque[Callable[[], None]] = deque()
        self._condition = InterruptibleCondition()
        self._threads: set[threading.Thread] = set()
        self._idle = 0

    def add(self, work: Callable[[], None]) -> None:
        """Raises RuntimeError, and forgets the work, when no thread is there and none can be started."""
        with self._condition:
            self._work.append(work)
            if self._idle >= len(self._work):
                self._condition.notify()
            elif len(self._threads) < self._most:
                number = len(self._threads)
                thread = threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    if self._threads:
                        return  # they come to it in their time
                    self._work.pop()
                    raise
                self._threads.add(thread)

    def join(self) -> None:
        """Return when all work is done and no thread is left."""
        while True:
            with self._condition:
                threads = list(self._threads)
                self._condition.notify_all()
            if not threads:
                return
            for thread in threads:
                thread.join()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except BaseException:  # a thread that ends unseen would take its work's waiters along
                log.exception("work in %s failed", self._name)
            del work

    def _next(self) -> Callable[[], None] | None:
        with self._condition:
            self._idle += 1
            if not self._work:
                self._condition.wait(_IDLE_S)
            self._idle -= 1
            if self._work:
                return self._work.popleft()
            self._threads.discard(threading.current_thread())
            return None
