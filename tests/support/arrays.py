"""Arrays of a few calls: ``map`` sends them from a hundred calls up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prominence_executors import ProminenceExecutor, ProminenceFuture


def array_of(
    executor: ProminenceExecutor, function: Callable[[int], Any], numbers: Sequence[int]
) -> list[ProminenceFuture[Any]]:
    """Futures of calls that are sent as one workflow, however few they are."""
    array = executor._submittable().array(function, [[(number,)] for number in numbers])
    assert array is not None
    executor._dispatcher.add(array)
    return [call.future for call in array.calls]


def value(future: ProminenceFuture[Any]) -> Any:
    (outcome,) = future.result(120)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
