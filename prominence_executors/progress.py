"""Progress of calls while they are under way, told by one thread for all executors and maps of the process.

::

    submit(), map()                  the display's thread
    ---------------                  --------------------
    row.begin()               -->    numbers = row.look()      four times a second, and in no more
                                     screen.show(row)          than a tenth of the time
    shutdown(), the last item
    row.end()                 -->    screen.show_last(row)     in the thread that calls it

The thread lives only while something is under way. A row holds neither the executor nor its futures.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from prominence.clock import MACHINE_CLOCK
from prominence.logs import logger
from prominence.progress import Pace, listed, whole_seconds
from prominence.threads import InterruptibleCondition
from prominence_executors.screens import let_go_of_screens, screen_here
from prominence_executors.stats import ExecutorStats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prominence.clock import Clock
    from prominence_executors.screens import Screen

log = logger(__name__)

_SHOWN_EVERY_S: Final = 0.25
_PAUSE_PER_LOOK: Final = 10.0
_IDLE_S: Final = 0.5


class Counted(NamedTuple):
    """Numbers as they are now; ``total`` is that of all, where it is known."""

    stats: ExecutorStats
    total: int | None
    is_last: bool = False


class Row:
    """The numbers of an executor's calls or of a map's items, shown from the first until :meth:`end`.

    ``look`` gives them, the last time when they will not change any more.
    """

    def __init__(
        self,
        label: str,
        look: Callable[[], Counted],
        *,
        display: Display | None = None,
    ) -> None:
        self.label = label
        self.stats = ExecutorStats()
        self.total: int | None = None
        self._look = look
        self._display = display or shared_display()
        self.clock = self._display.clock
        self._began_at = self.clock.monotonic()
        self._pace = Pace(self.clock)
        self.screen = self._display.screen()

    def begin(self) -> None:
        """Something is to be counted (again); quick where it is shown already."""
        self._display.begin(self)

    def look_again(self) -> None:
        """The numbers may not change any more: see to it that this is noticed; quick."""
        self._display.look_again(self)

    def end(self) -> None:
        """Show the last numbers, once."""
        self._display.end(self)

    def look(self) -> bool:
        """Take the numbers as they are now; False when they will not change any more."""
        self.stats, self.total, is_last = self._look()
        self._pace.note(ended=self.stats.ended, running=self.stats.running, total=self.stats.total)
        return not is_last

    @property
    def is_under_way(self) -> bool:
        return self.stats.ended < self.stats.total

    def states(self) -> str:
        stats = self.stats
        shown = ("pending", "queued", "running", "failed", "cancelled")
        return listed({name: getattr(stats, name) for name in shown})

    def pace_text(self) -> str:
        return self._pace.text(self.total)

    def line(self) -> str:
        """The numbers as text, on one line."""
        return ", ".join(filter(None, (self._ended(), self.pace_text())))

    def last_line(self) -> str:
        return f"{self._ended()} in {whole_seconds(self.clock.monotonic() - self._began_at)}"

    def _ended(self) -> str:
        of_all = "" if self.total is None else f" of {self.total}"
        states = self.states()
        return f"prominence: {self.label}: {self.stats.ended}{of_all} ended" + (
            f" ({states})" if states else ""
        )


class Display:
    """Shows rows while something is under way, with one thread."""

    def __init__(self, clock: Clock = MACHINE_CLOCK, screen: Callable[[], Screen] = screen_here) -> None:
        self.clock = clock
        self.screen = screen
        self._condition = InterruptibleCondition()
        self._drawing = threading.RLock()  # taken before the condition, where both are
        self._rows: list[Row] = []
        self._thread: threading.Thread | None = None
        self._has_news = False

    def begin(self, row: Row) -> None:
        with self._condition:
            is_new = row not in self._rows
            if is_new:
                self._rows.append(row)
                self._condition.notify_all()
            self._look_again()
        if is_new:
            self._show(row)  # by the caller, so that a notebook shows it below the caller's cell

    def look_again(self, row: Row) -> None:
        with self._condition:
            if row in self._rows:
                self._look_again()

    def _look_again(self) -> None:
        self._has_news = True
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="prominence-progress", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # as at the end of the program: then nothing is shown
                return
            self._thread = thread

    def end(self, row: Row) -> None:
        with self._drawing:  # also to wait for a thread that ends it now
            with self._condition:
                if row not in self._rows:
                    return
                self._rows.remove(row)
                self._condition.notify_all()
            try:
                row.look()
                row.screen.show_last(row)
            except Exception:  # what is shown must not harm what is done
                log.exception("the progress of %s cannot be shown", row.label)

    def end_all(self) -> None:
        """The program ends: leave nothing half drawn."""
        with self._condition:
            rows = list(self._rows)
        for row in rows:
            self.end(row)

    def _show(self, row: Row) -> None:
        with self._drawing:
            if row not in self._rows:
                return
            try:
                goes_on = row.look()
                if goes_on:
                    row.screen.show(row)
            except Exception:  # the same
                log.exception("the progress of %s cannot be shown", row.label)
                goes_on = False
        if not goes_on:
            self.end(row)

    def _run(self) -> None:
        is_under_way = True
        while is_under_way:
            with self._condition:
                self._has_news = False
                rows = list(self._rows)
            began = self.clock.monotonic()
            for row in rows:
                self._show(row)
            took = self.clock.monotonic() - began
            is_under_way = self._is_to_go_on(rows, max(_SHOWN_EVERY_S, _PAUSE_PER_LOOK * took))

    def _is_to_go_on(self, shown: Sequence[Row], pause: float) -> bool:
        """Pause; where nothing is under way any more, let the screens rest, and have the thread end."""
        are_under_way = any(row.is_under_way for row in shown)
        with self._condition:
            if self._rows:
                self.clock.wait(self._condition, pause if are_under_way else _IDLE_S)
        with self._drawing, self._condition:
            if self._rows and (are_under_way or self._has_news):
                return True
            for screen in {row.screen for row in shown}:
                screen.rest()
            self._thread = None
            return False


_shared = Display()


def shared_display() -> Display:
    """The one of this process."""
    return _shared


def _begin_anew() -> None:
    """In a forked child: what is under way is the parent's, and so is what is drawn."""
    global _shared  # noqa: PLW0603 - a process has one
    _shared = Display()
    let_go_of_screens()


os.register_at_fork(after_in_child=_begin_anew)
