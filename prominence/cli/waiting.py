"""``prominence wait``."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from prominence.cli.arguments import targets
from prominence.cli.interrupt import leaving_on
from prominence.cli.listing import described
from prominence.cli.output import as_json, show_json, show_table
from prominence.cli.verbs import JOB_FAILED
from prominence.exceptions import NotFound
from prominence.job import Job
from prominence.progress import Pace, counting_bars, drawn, listed, on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prominence.cli.arguments import Target
    from prominence.clock import Clock
    from prominence.session import Session
    from prominence.snapshot import Snapshot
    from prominence.workflow import Workflow

_NO_TIME_S: Final = 0.001  # a timeout of 0 would wait for ever


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop waiting after this time, with exit code 3.",
)
@as_json
@targets
@click.pass_context
def wait(context: click.Context, targets: Sequence[Target], *, timeout: float | None, as_json: bool) -> None:
    """Wait until jobs or workflows have ended, and show how.

    The exit code is 0 when all have succeeded: a job whose tasks ended with another exit code than 0 has not.

    \b
    Example:
      prominence wait 42 43
      prominence wait workflow 44 --timeout 3600
    """
    session: Session = context.obj
    lives = [target.attached(session) for target in targets]
    with leaving_on([target.id for target in targets], targets[0].kind):
        try:
            wait_for(session, lives, timeout)
        except NotFound:
            for target in targets:
                described(session, target)  # says which one, and what it is instead
            raise
    ends = [_end(target, life) for target, life in zip(targets, lives, strict=True)]
    if as_json:
        show_json(ends)
    else:
        show_table(("ID", "STATUS", "EXIT CODES", "REASON"), [_row(end) for end in ends])
    if not all(end["succeeded"] for end in ends):
        context.exit(JOB_FAILED)


def wait_for(session: Session, lives: Sequence[Job | Workflow], timeout_s: float | None) -> None:
    """Return when all have ended; raises as their ``wait`` does, WaitTimeout when the time has passed.

    They are looked at together, with one request for many, however many there are.
    """
    clock = session.client.clock
    end = None if timeout_s is None else clock.monotonic() + timeout_s
    with _shown(len(lives), clock) as on_change:
        for life in lives:
            life.follow(on_change, lambda _: None)  # `wait` raises what is told here
        for life in lives:
            life.wait(0 if end is None else max(end - clock.monotonic(), _NO_TIME_S))


@contextmanager
def _shown(total: int, clock: Clock) -> Iterator[Callable[[Snapshot], None]]:
    """A line on a terminal that tells how many have ended, and what the others do."""
    if not on_terminal():
        yield lambda _: None
        return
    states: dict[int, Snapshot] = {}
    pace = Pace(clock)
    with drawn(counting_bars()) as shown:
        bar = shown.add_task("waiting", total=total, states="", pace="")

        def on_change(snapshot: Snapshot) -> None:
            states[snapshot.id] = snapshot
            active = Counter(state.status for state in states.values() if not state.has_ended)
            ended = len(states) - active.total()
            pace.note(ended=ended, running=active["running"], total=total)
            shown.update(bar, completed=ended, states=listed(active), pace=pace.text(total))

        yield on_change


def _end(target: Target, life: Job | Workflow) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": target.id,
        "kind": target.kind,
        "status": life.status,
        "statusReason": life.status_reason,
    }
    if isinstance(life, Job):
        found["exitCodes"] = list(life.exit_codes)
    else:
        found["progress"] = life.progress
    return {**found, "succeeded": life.succeeded}


def _row(end: dict[str, Any]) -> tuple[object, ...]:
    codes = ",".join("?" if code is None else str(code) for code in end.get("exitCodes", ()))
    return end["id"], end["status"], codes, end["statusReason"]
