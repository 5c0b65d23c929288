"""Functions as jobs: what goes in, and what comes back."""

from __future__ import annotations

import functools
import importlib
import math
import os
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.callables import Maker, Point, Waiter, describe, remembered, tripled

from prominence import InputFile
from prominence.exceptions import (
    InvalidDescription,
    MissingDependency,
    ResultError,
    ResultNotPicklable,
)
from prominence_executors.calls import packing, results
from prominence_executors.calls.pickling import headed
from prominence_executors.runner import main as runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from support.service import LocalService

    from prominence import Session
    from prominence_executors import ProminenceExecutor


def test_a_function_gets_its_arguments_and_gives_its_value(executor: ProminenceExecutor) -> None:
    assert executor.submit(describe, 1, "two", self=3, fn=[4]).result() == (
        (1, "two"),
        {"self": 3, "fn": [4]},
    )


def test_callables_of_every_kind(executor: ProminenceExecutor) -> None:
    offset = 10
    futures = [
        executor.submit(lambda x: x + offset, 1),
        executor.submit(functools.partial(pow, 2), 5),
        executor.submit(Point(1).moved, 2),
        executor.submit(math.sqrt, 16),
        executor.submit(Point, 7),
    ]

    assert [future.result() for future in futures] == [11, 32, Point(3), 4.0, Point(7)]


NOTEBOOK = """
from prominence_executors import ProminenceExecutor
cells = [
    "OFFSET = 10",
    "class Scale:\\n def __init__(self, by): self.by = by\\n def of(self, x): return self.by * x + OFFSET",
    "def shifted(x): return Scale(2).of(x)",
    "executor = ProminenceExecutor()",
    "first = executor.submit(shifted, 1), executor.submit(Scale(3).of, 1), executor.submit(lambda: Scale(5))",
    "OFFSET = 20",
    "def shifted(x): return -Scale(2).of(x)",
    "second = executor.submit(shifted, 1)",
    "print([future.result() for future in first[:2]], isinstance(first[2].result(), Scale), second.result())",
]
for number, cell in enumerate(cells, start=1):
    exec(compile(cell, f"<cell {number}>", "exec"), globals())
"""


def test_what_a_notebook_defines_is_sent_as_it_is_at_that_time(service: LocalService, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PROMINENCE_URL": service.endpoint.url,
        "PROMINENCE_TOKEN": service.endpoint.token,
    }

    done = subprocess.run(
        [sys.executable, "-"],
        input=NOTEBOOK,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("[12, 13] True -22\n", "")


def test_methods_and_decorated_functions(executor: ProminenceExecutor) -> None:
    @functools.wraps(describe)
    def wrapped(x: int) -> int:
        return describe(x)[0][0] + 1

    futures = [
        executor.submit(Maker(), 1),
        executor.submit(Maker.named),
        executor.submit(Maker.doubled, 4),
        executor.submit(remembered, 9),
        executor.submit(wrapped, 6),
        executor.submit("{:>4}".format, 5),
        executor.submit(functools.partial(Point(1).moved, by=5)),
    ]

    assert [future.result() for future in futures] == [2, "Maker", 8, 3.0, 7, "   5", Point(6)]
    assert [future.job.name for future in futures[:3]] == ["Maker", "named", "doubled"]
    assert futures[-1].job.name == "moved"


def test_coroutine_functions_are_run_to_their_end(executor: ProminenceExecutor) -> None:
    async def failing() -> None:
        await tripled(0)
        raise KeyError("after a pause")

    futures = [
        executor.submit(tripled, 1),
        executor.submit(functools.partial(tripled, 2)),
        executor.submit(Waiter(), 3),
        executor.submit(Waiter().method, x=4),
    ]
    error = executor.submit(failing).exception()

    assert [future.result() for future in futures] == [3, 6, 9, 12]
    assert list(executor.map(tripled, [5, 6], chunksize=2)) == [15, 18]
    assert isinstance(error, KeyError)
    assert "in failing" in str(error.__cause__)


def counting(last: int) -> Iterator[int]:
    yield from range(last)


async def awaited_counting(last: int) -> AsyncIterator[int]:
    for number in range(last):
        yield number


@pytest.mark.parametrize(
    "function", [counting, awaited_counting, functools.partial(counting, 1), lambda: (yield 1)]
)
def test_generator_functions_are_refused_before_they_are_sent(
    executor: ProminenceExecutor, function: Callable[..., Any]
) -> None:
    future = executor.submit(function, 3)

    with pytest.raises(TypeError, match="gives a generator, which cannot leave its job"):
        future.result()
    assert future.job.id is None
    with pytest.raises(TypeError, match="gives a generator"):
        list(executor.map(function, range(150)))


def test_what_a_script_defines_with_decorators_of_functools(executor: ProminenceExecutor) -> None:
    @functools.cache
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    @functools.singledispatch
    def kind(_: object) -> str:
        return "any"

    @kind.register
    def _(_: int) -> str:
        return "a number"

    class Circle:
        @functools.cached_property
        def area(self) -> float:
            return 3.0

        @functools.lru_cache(maxsize=3, typed=True)  # noqa: B019 - gone with the job
        def scaled(self, by: int) -> float:
            return by * self.area

    def all_of_them() -> tuple[Any, ...]:
        circle = Circle()
        return circle.scaled(2), circle.area, Circle.scaled.cache_parameters(), kind(3), kind("")

    fibonacci(5)

    assert executor.submit(fibonacci, 50).result() == 12_586_269_025
    assert executor.submit(lambda: (fibonacci(3), fibonacci.cache_info().misses)).result() == (2, 4)
    expected = (6.0, 3.0, {"maxsize": 3, "typed": True}, "a number", "any")
    assert executor.submit(all_of_them).result() == expected


def test_an_initializer_runs_once_in_each_job_before_its_calls(executor: ProminenceExecutor) -> None:
    def prepare(word: str) -> None:
        os.environ["WORD"] = os.environ.get("WORD", "") + word

    def word(_: object = None) -> str:
        return os.environ["WORD"]

    prepared = executor.with_options(initializer=prepare, initargs=("ready",))

    assert prepared.submit(word).result() == "ready"
    assert prepared.submit(["printenv", "HOME"]).result().returncode == 0  # a command has none
    assert list(prepared.map(word, range(4), chunksize=2)) == ["ready"] * 4
    with pytest.raises(KeyError):
        executor.submit(word).result()


def test_what_an_initializer_raises_the_calls_raise(executor: ProminenceExecutor) -> None:
    def prepare() -> None:
        raise LookupError("nothing to prepare")

    prepared = executor.with_options(initializer=prepare)

    with pytest.raises(LookupError, match="nothing to prepare") as caught:
        prepared.submit(len, "").result()
    assert "in prepare" in str(caught.value.__cause__)
    assert [type(each) for each in prepared.map(abs, [1, 2], chunksize=2, return_exceptions=True)] == [
        LookupError,
        LookupError,
    ]


def test_a_call_may_go_to_another_directory(executor: ProminenceExecutor) -> None:
    def leave(x: int) -> int:
        os.chdir("/")
        return x

    assert executor.submit(leave, 5).result() == 5
    assert list(executor.map(leave, [6, 7], chunksize=2)) == [6, 7]


def test_a_function_may_return_functions(executor: ProminenceExecutor) -> None:
    assert executor.submit(lambda: lambda x: x * 2).result()(21) == 42


def test_functions_of_the_users_own_modules_travel_along(
    executor: ProminenceExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_module.py").write_text(
        "import users_package.model\n\ndef scaled(x):\n    return users_package.model.FACTOR * x\n"
    )
    package = tmp_path / "users_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.py").write_text("from .util import THREE\n\nFACTOR = THREE\n")
    (package / "util.py").write_text("THREE = 3\n")
    (package / "late.py").write_text("VALUE = 'late'\n")
    monkeypatch.syspath_prepend(tmp_path)
    users_module = importlib.import_module("users_module")

    def late(x: int) -> tuple[int, str]:
        from users_package.late import VALUE  # type: ignore[import-not-found]

        return users_module.scaled(x), VALUE

    assert executor.submit(users_module.scaled, 5).result() == 15
    assert executor.submit(late, 5).result() == (15, "late")


def test_the_callers_own_interpreter_is_used(executor: ProminenceExecutor) -> None:
    assert executor.submit(lambda: sys.executable).result() == sys.executable


def test_large_values_come_back_whole(executor: ProminenceExecutor) -> None:
    value = executor.submit(lambda: bytes(range(256)) * 40_000).result()

    assert value == bytes(range(256)) * 40_000


def test_what_a_function_prints_is_the_jobs_output(executor: ProminenceExecutor) -> None:
    future = executor.submit(print, "hello")
    future.result()

    assert future.stdout() == "hello\n"
    assert future.stderr() == ""


def test_an_argument_that_cannot_be_pickled_fails_the_future_alone(
    executor: ProminenceExecutor, session: Session
) -> None:
    before = len(session.client.list_jobs(everything=True).entries)

    future = executor.submit(len, threading.Lock())

    assert isinstance(future.exception(), TypeError)
    assert future.job.id is None
    assert len(session.client.list_jobs(everything=True).entries) == before


def test_what_belongs_to_this_process_says_what_to_pass_on(executor: ProminenceExecutor) -> None:
    future = executor.submit(len, "four")

    with pytest.raises(TypeError, match=r"a future belongs to its process: pass on its result\(\)"):
        executor.submit(lambda given: given.result(), future).result()
    with pytest.raises(TypeError, match="an executor belongs to its process: make another one"):
        executor.submit(lambda: executor.submit(len, "")).result()


@pytest.mark.parametrize(
    ("part", "function", "args", "kwargs"),
    [
        ("argument 2", divmod, (1, threading.Lock()), {}),
        ("argument key", sorted, ([],), {"key": threading.Lock()}),
        ("the function", threading.Lock().acquire, (), {}),
    ],
)
def test_what_of_a_call_cannot_be_pickled_is_told(
    part: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    executor: ProminenceExecutor,
) -> None:
    error = executor.submit(function, *args, **kwargs).exception()

    assert isinstance(error, TypeError)
    assert error.__notes__ == [f"{part} cannot be pickled"]


def test_a_value_that_cannot_be_pickled_is_told(executor: ProminenceExecutor) -> None:
    with pytest.raises(ResultNotPicklable, match=r"value cannot be pickled: TypeError: .*lock") as caught:
        executor.submit(threading.Lock).result()

    assert "lock" in str(caught.value.__cause__)


def _exit_here() -> None:
    raise SystemExit


class PoisonedHere:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __reduce__(self) -> Any:
        return _unless_in, (self.pid,)


def _unless_in(pid: int) -> None:
    if os.getpid() == pid:
        _exit_here()


def test_a_value_that_cannot_be_read_here_is_told(executor: ProminenceExecutor) -> None:
    pid = os.getpid()

    with pytest.raises(ResultError, match="cannot be read here: SystemExit"):
        executor.submit(lambda: PoisonedHere(pid)).result()

    assert executor.submit(len, "still at work").result() == 13


def test_a_call_whose_files_are_too_large_is_refused_before_it_is_sent(executor: ProminenceExecutor) -> None:
    with_file = executor.with_options(input_files=[InputFile("data", os.urandom(780_000))])

    future = with_file.submit(len, os.urandom(90_000))

    with pytest.raises(InvalidDescription, match=r"inputs\[\d\]\.content = .*, which may have 1048576"):
        future.result()
    assert future.job.id is None


def test_outputs_of_a_call_are_with_its_job(executor: ProminenceExecutor, tmp_path: Path) -> None:
    def write() -> int:
        with open("numbers.txt", "w") as file:  # noqa: PTH123 - runs elsewhere
            return file.write("1 2 3")

    future = executor.with_options(output_files=["numbers.txt"]).submit(write)

    assert future.result() == 5
    saved = tmp_path / "saved"
    assert future.job.get_output_file("numbers.txt") == "1 2 3"
    assert future.job.get_output_file("numbers.txt", save_as=saved) == saved
    assert saved.read_text() == "1 2 3"


class TestRunner:
    """The runner's own files, without a service."""

    def call(self, tmp_path: Path, minor: int, payload: bytes) -> tuple[int, results.Record]:
        header = {"python": [3, minor], "cloudpickle": "3.0.0", "buffers": []}
        (tmp_path / "call").write_bytes(headed(header, payload))
        before = list(sys.path)
        code = runner.main([str(tmp_path / "call"), str(tmp_path / "result"), "no.zip", "none.zip"])
        sys.path[:] = before
        return code, results.Record.parse((tmp_path / "result").read_bytes())

    def test_another_python_is_told_and_nothing_is_run(self, tmp_path: Path) -> None:
        code, record = self.call(tmp_path, 99, b"not even a pickle")

        assert (code, record.kind) == (90, "python")
        assert record.header["here"] == list(sys.version_info[:2])

    def test_a_module_that_the_image_lacks_is_named(self, tmp_path: Path) -> None:
        code, record = self.call(tmp_path, sys.version_info.minor, b"cno_such_module\nf\n.")

        assert code == 91
        with pytest.raises(MissingDependency, match=r"image a\.sif has no module 'no_such_module'") as caught:
            record.value("a.sif")
        assert (caught.value.module, caught.value.image) == ("no_such_module", "a.sif")

    def test_a_damaged_result_is_told(self, tmp_path: Path) -> None:
        runner.Result(str(tmp_path / "result")).write({"kind": "value"}, pickle.dumps([1, 2, 3]))
        content = (tmp_path / "result").read_bytes()

        for damaged in (content[:-1], content[:-1] + b"x", b"", b"text", content.partition(b"\n")[0]):
            with pytest.raises(ResultError):
                results.Record.parse(damaged)

    def test_a_call_that_only_began_tells_no_outcome(self, tmp_path: Path) -> None:
        runner.Result(str(tmp_path / "result")).write({"kind": "started"})

        assert not results.Record.parse((tmp_path / "result").read_bytes()).tells_the_outcome

    def test_the_archive_is_the_same_every_time(self) -> None:
        first = packing.pickler()
        packing.pickler.cache_clear()

        assert packing.pickler() == first
        assert len(first) + len(packing.runner()) < 42_000
