"""The fences of the calls of an array: a key for each, made before the workflow is sent, and the gate.

The gate keeps twin workflows from sharing the calls between them: that of which a job claims it first makes
all of them, and the caller follows that one.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from prominence.exceptions import ServiceUnavailable
from prominence.threads import InterruptibleCondition
from prominence_executors.fence import CREATION_S, PAUSE_S, Fence, guard
from prominence_executors.runner.fence import ARRAY, gate_of, key_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prominence import ProminenceClient
    from prominence.description import JobDescription

_KEYS_PER_THREAD: Final = 8
_MOST_HELPERS: Final = 15


class ArrayFence:
    """``array`` is what the keys of all its calls, and that of its gate, begin with."""

    def __init__(self, client: ProminenceClient, array: str) -> None:
        self._client = client
        self._array = array
        self.gate = Fence(client, gate_of(array))

    @classmethod
    def create(cls, client: ProminenceClient, prefix: str) -> Self:
        """Make a gate below ``prefix``; raises as :meth:`Fence.create`."""
        gate = Fence.create(client, lambda: gate_of(f"{prefix}/{secrets.token_hex(8)}"))
        return cls(client, gate.page)

    def of_call(self, index: int) -> Fence:
        return Fence(self._client, key_in(self._array, index))

    def guard(self, template: JobDescription, *, may_rerun: bool) -> None:
        """Have the jobs that are made of a template claim gate and call first."""
        guard(template, self._array, ARRAY, may_rerun=may_rerun)

    def make_keys(
        self, indexes: Sequence[int], in_background: Callable[[Callable[[], None]], None]
    ) -> dict[int, Fence]:
        """The fences of these calls, by index; without those of which it is not known whether they were made.

        ``in_background`` runs a callable elsewhere, now or later; keys are made by several at a time. Raises
        what :meth:`Fence.make` raises, but for doubts: ServiceUnavailable only where no key could be made for
        a minute.
        """
        making = _KeyMaking(self._client, {index: self.of_call(index) for index in indexes})
        for _ in range(min(_MOST_HELPERS, len(indexes) // _KEYS_PER_THREAD)):
            in_background(making.take_part)
        return making.finished()


class _KeyMaking:
    """Who waits for the keys takes part in making them: it never needs another thread to get on."""

    def __init__(self, client: ProminenceClient, fences: dict[int, Fence]) -> None:
        self._clock = client.clock
        self._fences = fences
        self._condition = InterruptibleCondition()
        self._left = deque(fences)
        self._under_way = 0
        self._made_last = self._clock.monotonic()
        self._error: BaseException | None = None

    def finished(self) -> dict[int, Fence]:
        self.take_part()
        with self._condition:
            while self._under_way:
                self._condition.wait()
        if self._error is not None:
            raise self._error
        return self._fences

    def take_part(self) -> None:
        while (index := self._next()) is not None:
            error = self._made(index)
            with self._condition:
                self._note(index, error)
                self._under_way -= 1
                self._condition.notify_all()
            if error is not None:
                self._clock.sleep(PAUSE_S)

    def _next(self) -> int | None:
        with self._condition:
            if not self._left:
                return None
            self._under_way += 1
            return self._left.popleft()

    def _made(self, index: int) -> BaseException | None:
        try:
            self._fences[index].make()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            return error
        return None

    def _note(self, index: int, error: BaseException | None) -> None:
        now = self._clock.monotonic()
        if error is None:
            self._made_last = now
        elif isinstance(error, ServiceUnavailable) and now - self._made_last < CREATION_S:
            self._fences.pop(index)
        else:
            self._error = error
            self._left.clear()
