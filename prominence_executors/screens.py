"""Where progress is shown: a live line on a terminal, a notebook's output, or plain lines anywhere else."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from prominence.progress import Drawing, counting_bars, is_at_prompt, on_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from prominence_executors.progress import Row

LINE_EVERY_S: Final = 15.0

_screens: dict[type[Screen], Screen] = {}
_making = threading.Lock()


class Screen(Protocol):
    """Called by one thread at a time."""

    def show(self, row: Row) -> None:
        """The row's numbers as they are now."""

    def show_last(self, row: Row) -> None:
        """The row's last numbers, which stay."""

    def rest(self) -> None:
        """Nothing is under way: leave nothing half drawn, until the next row is shown."""


class TerminalScreen:
    """A line for each row at the bottom, below what the program prints; in its end a line that stays."""

    def __init__(self) -> None:
        self._shown: Progress = counting_bars(auto_refresh=False)
        self._drawing = Drawing(self._shown)
        self._tasks: dict[Row, TaskID] = {}
        self._is_drawing = False

    def show(self, row: Row) -> None:
        if row not in self._tasks:
            self._tasks[row] = _add(self._shown, row)
        _update(self._shown, self._tasks[row], row)
        if is_at_prompt():
            self.rest()
            return
        if not self._is_drawing:
            self._is_drawing = True
            self._drawing.begin()
        self._shown.refresh()

    def show_last(self, row: Row) -> None:
        task = self._tasks.pop(row, None)
        if task is not None:
            self._shown.remove_task(task)
        if not self._tasks:
            self.rest()
        self._shown.console.print(row.last_line(), markup=False, highlight=False)

    def rest(self) -> None:
        if self._is_drawing:
            self._is_drawing = False
            self._show_tasks(visible=False)  # or they would be drawn once more before they are erased
            self._drawing.end()
            self._show_tasks(visible=True)

    def _show_tasks(self, *, visible: bool) -> None:
        for task in self._tasks.values():
            self._shown.update(task, visible=visible)

    def let_go(self) -> None:
        """Draw no more, in the middle of whatever is drawn."""
        self._drawing.give_back()


class NotebookScreen:
    """The output of the cell in which a row began; changed in place, with no need of widgets."""

    def __init__(self) -> None:
        self._shown: Progress = counting_bars(auto_refresh=False)
        self._outputs: dict[Row, tuple[TaskID, Any]] = {}

    def show(self, row: Row) -> None:
        from IPython.display import display

        if row not in self._outputs:
            task = _add(self._shown, row)
            self._outputs[row] = task, display(self._table(task), display_id=True)
        task, output = self._outputs[row]
        _update(self._shown, task, row)
        output.update(self._table(task))

    def show_last(self, row: Row) -> None:
        self.show(row)
        task, _ = self._outputs.pop(row)
        self._shown.remove_task(task)

    def rest(self) -> None:
        return

    def _table(self, task: TaskID) -> Any:
        return self._shown.make_tasks_table([each for each in self._shown.tasks if each.id == task])


class LinesScreen:
    """Lines on standard error: one now and then while numbers change, and one in the end."""

    def __init__(self) -> None:
        self._written: dict[Row, tuple[float, str]] = {}

    def show(self, row: Row) -> None:
        now = row.clock.monotonic()
        written_at, before = self._written.setdefault(row, (now, row.line()))
        line = row.line()
        if now - written_at >= LINE_EVERY_S and line != before:
            self._written[row] = now, line
            _write(line)

    def show_last(self, row: Row) -> None:
        self._written.pop(row, None)
        _write(row.last_line())

    def rest(self) -> None:
        return


def _add(shown: Progress, row: Row) -> TaskID:
    task = shown.add_task(row.label, total=None, states="", pace="")
    _update(shown, task, row)
    return task


def _update(shown: Progress, task: TaskID, row: Row) -> None:
    ended = row.stats.ended
    shown.update(task, completed=ended, total=row.total, states=row.states(), pace=row.pace_text())


def _write(line: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def screen_here() -> Screen:
    """The one for where this program runs; there is one of each kind."""
    kind = _kind()
    with _making:
        if kind not in _screens:
            _screens[kind] = kind()
        return _screens[kind]


def let_go_of_screens() -> None:
    """In a forked child: its output goes where it went before anything was drawn."""
    for screen in _screens.values():
        if isinstance(screen, TerminalScreen):
            screen.let_go()
    _screens.clear()


def _kind() -> type[Screen]:
    if _in_notebook():
        return NotebookScreen
    if on_terminal() and sys.stderr is not None:
        from rich.console import Console

        return LinesScreen if Console(stderr=True).is_dumb_terminal else TerminalScreen
    return LinesScreen


def _in_notebook() -> bool:
    shells = sys.modules.get("IPython")
    return shells is not None and hasattr(shells.get_ipython(), "kernel")
