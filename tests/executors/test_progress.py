"""Progress as it is shown: lines where there is no terminal, and what a notebook gets."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.clock import VirtualClock
from support.items import reciprocal, wait_for
from support.until import until

from prominence.exceptions import InvalidDescription
from prominence.progress import Pace
from prominence_executors import ExecutorStats, ProminenceExecutor
from prominence_executors.progress import Counted, Display, Row
from prominence_executors.screens import LINE_EVERY_S, LinesScreen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prominence import Session


def is_drawn() -> bool:
    return any(thread.name == "prominence-progress" for thread in threading.enumerate())


def shown_on_lines(look: Callable[[float], Counted], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """All lines of a row whose numbers at a second are these, until they are the last."""
    clock = VirtualClock()
    row = Row("simulate", lambda: look(clock.elapsed), display=Display(clock, LinesScreen))
    row.begin()
    until(lambda: not is_drawn())
    out, messages = capsys.readouterr()
    assert out == ""
    return messages.splitlines()


def one_a_second(second: float) -> Counted:
    """Of 100 calls four run at a time, and one ends each second."""
    ended = min(100, int(second))
    running = min(4, 100 - ended)
    stats = ExecutorStats(pending=100 - ended - running, running=running, succeeded=ended)
    return Counted(stats, 100, is_last=ended == 100)


def test_lines_are_few_and_the_last_one_tells_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    *lines, last = shown_on_lines(one_a_second, capsys)

    assert 2 <= len(lines) <= 100 / LINE_EVERY_S
    assert lines[0].startswith("prominence: simulate: 15 of 100 ended (81 pending, 4 running), 1.0/s, 0:01:2")
    assert lines[0].endswith(" left")
    assert last.startswith("prominence: simulate: 100 of 100 ended in 0:01:4")
    assert not any(character < " " for line in (*lines, last) for character in line)


def test_numbers_that_do_not_change_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    def stuck(second: float) -> Counted:
        return Counted(ExecutorStats(queued=3), 3, is_last=second >= 300)

    assert shown_on_lines(stuck, capsys) == ["prominence: simulate: 0 of 3 ended (3 queued) in 0:05:00"]


# ---- how fast it goes


def test_nothing_is_told_of_the_time_left_before_it_can_be_known() -> None:
    clock = VirtualClock()
    pace = Pace(clock)
    pace.note(ended=0, running=0, total=1000)
    clock.advance(3600)  # in the queue
    pace.note(ended=0, running=64, total=1000)
    clock.advance(600)
    pace.note(ended=0, running=64, total=1000)
    assert pace.text(1000) == ""
    pace.note(ended=1, running=64, total=1000)
    assert pace.text(1000) == "6.0/h"  # the first to end tells little of the other 63
    pace.note(ended=64, running=64, total=1000)
    assert pace.text(1000) == "6.4/min, 2:26:15 left"
    assert pace.text(None) == "6.4/min"


def test_time_in_which_nothing_was_to_be_done_does_not_count() -> None:
    clock = VirtualClock()
    pace = Pace(clock)
    pace.note(ended=0, running=1, total=10)
    clock.advance(10)
    pace.note(ended=10, running=0, total=10)
    assert pace.text(10) == ""
    clock.advance(3600)
    pace.note(ended=10, running=0, total=30)
    pace.note(ended=10, running=2, total=30)
    clock.advance(10)
    pace.note(ended=20, running=2, total=30)
    assert pace.text(30) == "1.0/s, 0:00:10 left"


# ---- executors and maps


def test_a_map_shows_its_items(executor: ProminenceExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(executor.map(reciprocal, range(8), chunksize=3, progress=True, return_exceptions=True))

    assert len(found) == 8
    out, messages = capsys.readouterr()
    assert out == ""
    assert messages.startswith("prominence: reciprocal: 8 of 8 ended (1 failed) in ")
    assert messages.count("\n") == 1
    until(lambda: not is_drawn())


@pytest.mark.parametrize("chunksize", [2, "auto"])
def test_a_lazy_map_has_no_total(
    executor: ProminenceExecutor, capsys: pytest.CaptureFixture[str], chunksize: Any
) -> None:
    items = iter(range(1, 8))
    results = executor.map(reciprocal, items, chunksize=chunksize, buffersize=2, progress=True)

    assert len(list(results)) == 7
    assert capsys.readouterr().err.startswith("prominence: reciprocal: 7 ended in ")


def test_a_function_is_told_of_a_lazy_map_how_many_were_taken(executor: ProminenceExecutor) -> None:
    told: list[tuple[int, int]] = []
    results = executor.map(
        abs, range(5), buffersize=2, progress=lambda done, total: told.append((done, total))
    )

    assert list(results) == [0, 1, 2, 3, 4]
    assert told[-1] == (5, 5)
    assert all(done <= total <= done + 2 for done, total in told)


def test_a_map_that_is_given_up_is_shown_no_more(
    executor: ProminenceExecutor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go = tmp_path / "go"
    results = executor.map(wait_for, [go], progress=True)
    del results
    gc.collect()
    assert capsys.readouterr().err.startswith("prominence: wait_for: ")
    until(lambda: not is_drawn())
    go.touch()


def test_what_is_no_progress_is_refused(executor: ProminenceExecutor) -> None:
    with pytest.raises(InvalidDescription, match=r"progress.*True, False, or a function"):
        executor.map(abs, [1], progress="yes")  # type: ignore[arg-type]


def test_an_executor_shows_all_its_calls(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    with ProminenceExecutor(session=session, progress=True) as executor:
        executor.submit(pow, 2, 3)
        executor.with_options(name="other").submit("false")
        assert executor.submit(reciprocal, 0).exception() is not None

    out, messages = capsys.readouterr()
    assert out == ""
    assert messages.startswith("prominence: calls: 3 of 3 ended (2 failed) in ")
    assert messages.count("\n") == 1


def test_an_executor_without_calls_shows_nothing(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProminenceExecutor(session=session, progress=True):
        pass
    assert capsys.readouterr().err == ""


def test_several_executors_have_a_line_each(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        ProminenceExecutor(session="one", service=session, progress=True) as one,
        ProminenceExecutor(session="two", service=session, progress=True) as two,
    ):
        one.submit(abs, 1)
        two.submit(abs, 1)

    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ended")[0] for line in lines] == [
        "prominence: two: 1 of 1",
        "prominence: one: 1 of 1",
    ]


def test_an_executor_that_is_forgotten_can_be_collected(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = ProminenceExecutor(session=session, progress=True)
    assert executor.submit(abs, -1).result() == 1
    collected = weakref.ref(executor)
    del executor
    gc.collect()

    assert collected() is None
    until(lambda: not is_drawn())
    assert "1 of 1 ended" in capsys.readouterr().err


def test_a_shutdown_that_does_not_wait_shows_progress_to_the_end(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go = tmp_path / "go"
    executor = ProminenceExecutor(session=session, progress=True)
    future = executor.submit(wait_for, go)
    executor.shutdown(wait=False)
    assert capsys.readouterr().err == ""
    go.touch()
    future.result()

    until(lambda: not is_drawn())
    assert capsys.readouterr().err.startswith("prominence: calls: 1 of 1 ended in ")


def test_what_cannot_be_shown_harms_no_call(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    closed = (tmp_path / "closed").open("w")
    closed.close()
    with ProminenceExecutor(session=session, progress=True) as executor:
        monkeypatch.setattr(sys, "stderr", closed)
        assert list(executor.map(abs, [-1, -2], progress=True)) == [1, 2]
        monkeypatch.undo()

    assert "the progress of abs cannot be shown" in caplog.text


# ---- notebooks


class Notebook:
    """IPython as it is in a notebook, as far as progress uses it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outputs: list[list[Any]] = []
        display = SimpleNamespace(display=self._display)
        ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel="a kernel"), display=display)
        monkeypatch.setitem(sys.modules, "IPython", ipython)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "IPython.display", display)  # type: ignore[arg-type]

    def _display(self, shown: Any, *, display_id: bool) -> Any:
        assert display_id
        self.outputs.append([shown])
        return SimpleNamespace(update=self.outputs[-1].append)

    def html(self, number: int) -> str:
        """What an output has come to show."""
        found: str = self.outputs[number][-1]._repr_mimebundle_([], [])["text/html"]
        return found


def test_a_notebook_shows_progress_in_one_output_without_widgets(
    executor: ProminenceExecutor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = Notebook(monkeypatch)
    list(executor.map(reciprocal, range(4), progress=True, return_exceptions=True))

    assert len(notebook.outputs) == 1
    assert len(notebook.outputs[0]) > 1
    assert "reciprocal" in notebook.html(0)
    assert "4/4" in notebook.html(0)
    assert "1 failed" in notebook.html(0)
    assert capsys.readouterr() == ("", "")
    assert "ipywidgets" not in sys.modules
