"""Ctrl-C at the one moment at which a thread that waits has given up its lock and not begun to wait."""

from __future__ import annotations

import threading

import pytest

from prominence.threads import InterruptibleCondition


class InterruptedLock:
    """A lock whose holder is interrupted right after giving it up to wait."""

    def __init__(self) -> None:
        lock = threading.RLock()
        self.acquire, self.release, self._lock = lock.acquire, lock.release, lock
        self._is_owned = lock._is_owned  # type: ignore[attr-defined]

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *about: object) -> None:
        self._lock.release()

    def _release_save(self) -> object:
        self._lock.release()
        raise KeyboardInterrupt


def test_an_interruption_is_seen_as_one_and_the_lock_is_free() -> None:
    lock = InterruptedLock()
    condition = InterruptibleCondition(lock)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt), condition:
        condition.wait()

    took: list[bool] = []
    other = threading.Thread(target=lambda: took.append(lock.acquire(timeout=10)))
    other.start()
    other.join()
    assert took == [True]
