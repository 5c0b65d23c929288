"""Numbers of calls by their state, and how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.until import until

from prominence_executors import ExecutorStats, ProminenceExecutor

if TYPE_CHECKING:
    from pathlib import Path

    from prominence import Session


def test_calls_are_counted_by_their_state(session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with ProminenceExecutor(1, session=session) as executor:
        assert executor.stats() == ExecutorStats()
        assert executor.submit("true").exception() is None
        assert executor.submit("false").exception() is not None
        running = executor.submit(f"sh -c 'until [ -e {go} ]; do sleep 0.05; done'")
        pending, cancelled = executor.submit("true"), executor.submit("true")
        assert cancelled.cancel()
        until(lambda: running.status == "running")

        found = executor.stats()
        assert (found.running, found.pending, found.cancelled, found.failed) == (1, 1, 1, 1)
        assert found.total == 5
        assert str(found) in repr(executor)
        go.touch()
    assert pending.done()
    assert executor.stats() == ExecutorStats(succeeded=3, failed=1, cancelled=1)


def test_light_executors_count_their_own_and_the_parent_all(session: Session) -> None:
    with ProminenceExecutor(session=session) as executor:
        light = executor.with_options(name="light")
        light.submit("true").result()
        executor.submit("true").result()

    assert light.stats() == ExecutorStats(succeeded=1)
    assert executor.stats() == ExecutorStats(succeeded=2)


def test_a_future_shows_how_it_ended(session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with ProminenceExecutor(1, session=session) as executor:
        raises = executor.submit(f"sh -c 'until [ -e {go} ]; do sleep 0.05; done; false'")
        succeeds, cancelled = executor.submit("true"), executor.submit("true")
        assert cancelled.cancel()
        go.touch()

    assert f"<ProminenceFuture job={raises.job.id} status=completed raised=TaskExitError at" in repr(raises)
    assert "status=completed at" in repr(succeeds)
    assert "<ProminenceFuture job=None status=cancelled at" in repr(cancelled)
    assert "<td>cancelled</td>" in cancelled._repr_html_()


def test_notebooks_show_tables_in_which_nothing_is_taken_for_markup(session: Session) -> None:
    def fail() -> None:
        raise ValueError("<b>not bold</b>")

    with ProminenceExecutor(session=session, image="python:3.11-slim") as executor:
        future = executor.submit(fail)

    assert "<td>python:3.11-slim</td>" in executor._repr_html_()
    assert "<th style='text-align:left'>failed</th><td>1</td>" in executor._repr_html_()
    assert "ValueError: &lt;b&gt;not bold&lt;/b&gt;" in future._repr_html_()
    assert f"<td>{future.job.id}</td>" in future._repr_html_()
