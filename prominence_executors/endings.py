"""What becomes of futures when a program ends, is interrupted, or forks."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from prominence.exceptions import InvalidDescription
from prominence_executors.progress import shared_display

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence_executors.future import ProminenceFuture
    from prominence_executors.groups import Group

OnExit = Literal["wait", "detach", "cancel"]

_ON_CTRL_C: Final[dict[OnExit, str]] = {
    "wait": "waiting for {} jobs; Ctrl-C again leaves them to go on",
    "detach": "leaving {} jobs to go on: ProminenceExecutor.attach({!r}) comes back to them",
    "cancel": "ending {} jobs; Ctrl-C again leaves them to go on",
}
_IDS_SHOWN: Final = 10
_groups: weakref.WeakSet[Group] = weakref.WeakSet()


def check_way_out(on_exit: str, session: str | None) -> None:
    """Raises InvalidDescription."""
    if on_exit not in get_args(OnExit):
        raise InvalidDescription("on_exit", on_exit, "'wait', 'detach' or 'cancel'")
    if on_exit == "detach" and session is None:
        raise InvalidDescription("on_exit", on_exit, "possible only with a name as session, to attach by")


def finish_at_exit(group: Group) -> None:
    """Bring a group to its end before the program ends, if nothing else does so."""
    _groups.add(group)


def tell_what_ctrl_c_does(group: Group, unfinished: int) -> None:
    _say(_ON_CTRL_C[group.on_exit].format(unfinished, group.session_name))


def leave(groups: Sequence[Group]) -> None:
    """After Ctrl-C: nobody waits for these futures any more, and their jobs go on."""
    left = list({future for group in groups for future in group.unfinished()})
    for group in groups:
        group.abandon()
    _say(f"{len(left)} jobs are left to go on (ids {_ids(left)})")
    for name in sorted({group.session_name for group in groups if group.session_name is not None}):
        _say(f"come back to them with ProminenceExecutor.attach({name!r})")


def _ids(futures: Sequence[ProminenceFuture[Any]]) -> str:
    ids = sorted(future.job_id for future in futures if future.job_id is not None)
    return ", ".join(map(str, ids[:_IDS_SHOWN])) + (" ..." if len(ids) > _IDS_SHOWN else "")


def _say(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"prominence: {text}\n")


def _forget_parents_futures() -> None:
    for group in list(_groups):
        group.belongs_to_parent()
    _groups.clear()


os.register_at_fork(after_in_child=_forget_parents_futures)


def _finish_before_exit() -> None:
    groups = list(_groups)
    try:
        for group in groups:
            group.close()
        for group in groups:
            group.finish()
    except KeyboardInterrupt:
        leave(groups)
    shared_display().end_all()


# What concurrent.futures itself uses; atexit comes too late, when no new threads can be started.
threading._register_atexit(_finish_before_exit)  # type: ignore[attr-defined]  # noqa: SLF001
