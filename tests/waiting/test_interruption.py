"""Ctrl-C while a thread begins to wait, waits, or takes its lock again."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest
from support.until import until

from prominence.threads import InterruptibleCondition

if TYPE_CHECKING:
    from types import FrameType


class Interruption:
    """Comes after a number of steps of the calling thread's wait, where a signal can come."""

    def __init__(self, steps: int) -> None:
        self.steps_left = steps

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "c_return" and frame.f_code is InterruptibleCondition.wait.__code__:
            self.steps_left -= 1
            if self.steps_left == 0:
                raise KeyboardInterrupt


def wait(condition: InterruptibleCondition, interruption: Interruption) -> None:
    with condition:
        sys.setprofile(interruption)
        condition.wait(0)
        sys.setprofile(None)


def is_free(condition: InterruptibleCondition) -> bool:
    took: list[bool] = []
    other = threading.Thread(target=lambda: took.append(condition.acquire(timeout=10)))
    other.start()
    other.join()
    return took == [True]


def test_an_interruption_is_seen_as_one_and_the_lock_is_free() -> None:
    uninterrupted = Interruption(0)
    wait(InterruptibleCondition(), uninterrupted)
    steps = -uninterrupted.steps_left
    assert steps >= len(("hold the waiter", "give up the lock", "wait", "take the lock"))

    for step in range(1, steps + 1):
        condition = InterruptibleCondition()
        with pytest.raises(KeyboardInterrupt):
            wait(condition, Interruption(step))
        assert is_free(condition)


def test_the_lock_is_taken_and_given_up_where_no_signal_comes() -> None:
    steps: list[str] = []
    condition = InterruptibleCondition()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            steps.append(frame.f_code.co_name)

    sys.setprofile(note)
    with condition:
        pass
    sys.setprofile(None)

    assert steps == []


def test_one_who_waits_is_told() -> None:
    condition, waiting, told = InterruptibleCondition(), [], []

    def hear() -> None:
        with condition:
            waiting.append(True)
            told.append(condition.wait(600))

    threads = [threading.Thread(target=hear, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: len(waiting) == len(threads))
    for count in (1, 2):
        with condition:
            assert len(told) == count - 1
            condition.notify()
        until(lambda count=count: len(told) == count)  # type: ignore[misc]
    for thread in threads:
        thread.join()

    assert told == [True, True]


def test_all_who_wait_are_told_and_hold_the_lock_in_turn() -> None:
    condition, news = InterruptibleCondition(), threading.Event()
    waiting, told = [], []

    def hear() -> None:
        with condition:
            waiting.append(True)
            told.append((condition.wait(10), news.is_set()))

    threads = [threading.Thread(target=hear) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(waiting) == len(threads))
    with condition:
        news.set()
        condition.notify_all()
    for thread in threads:
        thread.join()

    assert told == [(True, True)] * len(threads)
    with condition:
        assert not condition.wait(0)  # nothing is left of what was told
