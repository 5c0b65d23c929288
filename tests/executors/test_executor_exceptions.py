"""Exceptions of calls: of every shape, and always with where in the job they were raised."""

from __future__ import annotations

import importlib
import linecache
import sys
import traceback
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support.raising import (
    NeedsBoth,
    OfAFile,
    Quitting,
    Speechless,
    Surly,
    Unpicklable,
    WithALock,
    fail_with,
    noted,
)

from prominence.exceptions import CallUnreadable, ResultError, TaskExitError
from prominence_executors.calls.results import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prominence_executors import ProminenceExecutor


@pytest.mark.parametrize(
    "make",
    [
        lambda: NeedsBoth("it", code=3),
        lambda: OfAFile("/no/such"),
        lambda: ExceptionGroup("several", [ValueError("one"), ExceptionGroup("more", [KeyError("two")])]),
        lambda: ExceptionGroup("several", [NeedsBoth("one", code=4), ValueError("two")]),
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text"),
        lambda: ValueError("half of a pair: \udcff"),
        lambda: ValueError("x" * 3_000_000),
        lambda: SystemExit(5),
        KeyboardInterrupt,
        lambda: StopIteration(5),
        noted,
    ],
)
def test_an_exception_arrives_as_it_was(executor: ProminenceExecutor, make: Callable[[], Any]) -> None:
    expected = make()

    error: Any = executor.submit(fail_with, make).exception()

    assert type(error) is type(expected)
    assert (str(error), repr(error.args)) == (str(expected), repr(expected.args))
    for name in ("code", "errno", "filename", "__notes__"):
        assert getattr(error, name, None) == getattr(expected, name, None)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in fail_with" in error.__cause__.text


@pytest.mark.parametrize("what", [(fail_with, lambda: ValueError("the reason")), ("false",)])
def test_the_traceback_of_an_exception_has_no_frames_of_the_library(
    executor: ProminenceExecutor, what: tuple[Any, ...]
) -> None:
    with pytest.raises((ValueError, TaskExitError)) as caught:
        executor.submit(*what).result()

    modules = {frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(caught.tb)}
    assert modules == {__name__, "concurrent.futures._base"}


def test_what_of_an_exception_cannot_be_pickled_is_left_out(executor: ProminenceExecutor) -> None:
    with pytest.raises(WithALock) as caught:
        executor.submit(fail_with, lambda: WithALock("the text")).result()

    text, lock = caught.value.args
    assert (text, caught.value.text) == ("the text", "the text")
    assert str(lock).startswith("<unlocked _thread.lock")
    assert not hasattr(caught.value, "lock")


def test_an_exception_that_cannot_be_pickled_at_all_is_still_told(executor: ProminenceExecutor) -> None:
    with pytest.raises(ResultError, match=r"raised what cannot be pickled: .*Surly") as caught:
        executor.submit(fail_with, lambda: Surly(5)).result()

    assert "in fail_with" in str(caught.value.__cause__)


def test_a_way_to_pickle_that_fails_is_done_without(executor: ProminenceExecutor) -> None:
    with pytest.raises(Unpicklable, match="the reason"):
        executor.submit(fail_with, lambda: Unpicklable("the reason")).result()


def test_an_exception_of_a_module_that_is_not_here(executor: ProminenceExecutor) -> None:
    def fail() -> None:
        sys.modules["only_there"] = module = type(sys)("only_there")
        exec("class Strange(Exception): pass", vars(module))  # noqa: S102 - in the job
        raise module.Strange("the reason")

    with pytest.raises(ResultError, match=r"cannot be read here \(.*No module named 'only_there'") as caught:
        executor.submit(fail).result()

    assert str(caught.value).endswith(": only_there.Strange: the reason")
    assert "only_there.Strange: the reason" in str(caught.value.__cause__)


def test_causes_and_contexts_are_in_the_remote_traceback(executor: ProminenceExecutor) -> None:
    def fail() -> None:
        try:
            try:
                raise KeyError("first")  # noqa: TRY301 - it is the subject
            except KeyError as error:
                raise ValueError("second") from error
        except ValueError:
            raise RuntimeError("third")  # noqa: B904 - so that it has a context alone

    text = str(executor.submit(fail).exception().__cause__)  # type: ignore[union-attr]

    in_order = [
        "KeyError: 'first'",
        "The above exception was the direct cause",
        "ValueError: second",
        "During handling of the above exception",
        "RuntimeError: third",
    ]
    assert sorted(in_order, key=text.index) == in_order


def test_the_remote_traceback_shows_the_jobs_lines_and_none_of_the_runner(
    executor: ProminenceExecutor,
) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        executor.submit(lambda: 1 / 0 if "this very line" else 0).result()

    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert '1 / 0 if "this very line" else 0' in cause.text
    assert "runner" not in cause.text
    assert "this very line" in "".join(traceback.format_exception(caught.value))


def test_lines_of_code_that_the_job_cannot_read_are_read_here(
    executor: ProminenceExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def fail(by):\n    return 1 / by  # of a notebook\n"
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "<cell 7>", "exec"), scope)  # noqa: S102 - as a notebook does
    monkeypatch.setitem(linecache.cache, "<cell 7>", (len(code), None, code.splitlines(True), "<cell 7>"))

    text = str(executor.submit(scope["fail"], 0).exception().__cause__)

    assert '  File "<cell 7>", line 2, in fail\n    return 1 / by  # of a notebook\nZeroDivision' in text


def test_a_call_that_cannot_be_read_in_the_job_says_why(
    executor: ProminenceExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "changing.py").write_text("def gone(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    changing = importlib.import_module("changing")
    (tmp_path / "changing.py").write_text("")

    with pytest.raises(CallUnreadable, match=r"in the job: AttributeError: .*'gone'") as caught:
        executor.submit(changing.gone).result()

    assert isinstance(caught.value, BrokenExecutor)


@pytest.mark.parametrize(
    "make", [lambda: Speechless("x"), lambda: Quitting("x"), lambda: ValueError("x" * 1_000_000)]
)
def test_any_exception_can_be_explained_and_shown(executor: ProminenceExecutor, make: Any) -> None:
    future = executor.submit(fail_with, make)
    kind = type(future.exception()).__name__

    assert f"cause: {kind}: " in future.explain()
    assert len(future.explain()) < 20_000
    assert kind in future._repr_html_()
    assert len(future._repr_html_()) < 2_000
