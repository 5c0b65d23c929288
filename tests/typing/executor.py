"""What type checkers are to make of the executor's interface: checked by mypy in `make check`, never run."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

from prominence import Job, Resources, Task
from prominence_executors import CompletedJob, ProminenceExecutor, ProminenceFuture

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future


def area(width: float, *, height: float) -> float:
    return width * height


class Square:
    def __init__(self, side: float) -> None:
        self.side = side

    def __call__(self, times: int) -> float:
        return self.area() * times

    def area(self) -> float:
        return self.side**2

    @classmethod
    def unit(cls) -> Square:
        return cls(1.0)


async def measured(width: float) -> float:
    return width


def functions(executor: ProminenceExecutor) -> None:
    future = executor.submit(area, 2.0, height=3.0)
    assert_type(future, ProminenceFuture[float])
    assert_type(future.result(), float)
    assert_type(executor.submit(lambda: "text").result(), str)
    assert_type(executor.submit(Square(2.0).area).result(), float)
    assert_type(executor.submit(Square.unit).result(), Square)
    assert_type(executor.submit(Square, 2.0).result(), Square)
    assert_type(executor.submit(Square(2.0), 3).result(), float)
    assert_type(executor.submit(partial(area, 2.0), height=3.0).result(), float)
    assert_type(executor.submit(measured, 2.0).result(), float)
    assert_type(list(executor.map(measured, [1.0, 2.0], chunksize="auto")), list[float])
    executor.submit(measured, "2")  # type: ignore[call-overload]
    executor.submit(area, "2")  # type: ignore[call-overload]
    executor.submit(area, 2.0, depth=3.0)  # type: ignore[arg-type, call-arg]


def commands(executor: ProminenceExecutor) -> None:
    assert_type(executor.submit("make mesh").result(), CompletedJob)
    assert_type(executor.submit(["make", Path("mesh")]).result().returncode, int)
    assert_type(executor.submit(Task(image="alpine", command="true")), ProminenceFuture[CompletedJob])
    assert_type(executor.submit(Job(name="job")).result().job, Job)
    executor.submit("echo", "hello")  # type: ignore[call-overload]


def options(executor: ProminenceExecutor) -> None:
    larger = executor.with_options(resources=Resources(cpus=4))
    assert_type(larger, ProminenceExecutor)
    assert_type(list(larger.map(area, [1.0, 2.0], timeout=60, chunksize=2)), list[float])
    larger.map(area, [1.0], chunk_size=2)  # type: ignore[call-overload]


def as_the_standard_library(executor: ProminenceExecutor) -> None:
    any_executor: Executor = executor
    any_future: Future[float] = executor.submit(area, 1.0, height=1.0)
    assert_type(any_executor.submit(abs, -1).result(), int)
    assert_type(any_future.result(), float)


async def awaited(executor: ProminenceExecutor) -> None:
    assert_type(await asyncio.wrap_future(executor.submit(len, "text")), int)
    assert_type(await asyncio.get_running_loop().run_in_executor(executor, len, "text"), int)
