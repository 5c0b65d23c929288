"""CPython's own tests of executors, run against ours: ``python cpython_tests.py CLASS ...``.

A program of its own, because these tests end interpreters and count threads. They are those of the Python
that runs it: the package ``test.test_concurrent_futures`` from 3.12 on, one file in 3.11, which must be
importable as ``test_concurrent_futures``. Only their mixins are taken, as they are. The last line of its
output is a JSON object with how each test ended: ``passed``, or the last line of the error.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from concurrent.futures import BrokenExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from test import support

from prominence_executors import ProminenceExecutor


class ForwardingExecutor(ProminenceExecutor):
    """Shows in the driver's output what a call prints, as a pool on the same machine does."""

    def __init__(self, max_workers: int = 5, **options: Any) -> None:
        super().__init__(max_workers, forward_output=True, **options)


class ContextlessExecutor(ForwardingExecutor):
    """Takes a multiprocessing context, as tests of process pools give one."""

    def __init__(self, max_workers: int = 5, mp_context: None = None) -> None:  # noqa: ARG002 - as theirs
        super().__init__(max_workers)


def cpython() -> SimpleNamespace:
    """The mixins by name, and the modules ``deadlock`` and ``shutdown`` that they look names up in."""
    if sys.version_info < (3, 12):
        file = import_module("test_concurrent_futures")
        return SimpleNamespace(**vars(file), deadlock=file, shutdown=file)
    names: dict[str, Any] = {}
    for part in ("util", "executor", "wait", "as_completed", "shutdown", "init", "deadlock", "future"):
        is_test = part not in {"util", "executor"}
        module = import_module(f"test.test_concurrent_futures.{'test_' if is_test else ''}{part}")
        names |= vars(module) | {part: module}
    return SimpleNamespace(**names)


def classes(theirs: SimpleNamespace) -> dict[str, type[unittest.TestCase]]:
    """CPython's tests by name, on our executor."""

    class Ours(theirs.ExecutorMixin):  # type: ignore[misc, name-defined]
        executor_type = ForwardingExecutor

    class OursAsProcesses(theirs.ExecutorMixin):  # type: ignore[misc, name-defined]
        executor_type = ContextlessExecutor
        ctx = None

        def get_context(self) -> None:
            return None

    base = theirs.BaseTestCase
    bases = {
        "Executor": (theirs.ExecutorTest, Ours, base),
        "Wait": (theirs.WaitTests, Ours, base),
        "AsCompleted": (theirs.AsCompletedTests, Ours, base),
        "Shutdown": (theirs.ExecutorShutdownTest, Ours, base),
        "Initializer": (theirs.InitializerMixin, Ours, base),
        "FailingInitializer": (theirs.FailingInitializerMixin, Ours, base),
        "Deadlock": (theirs.ExecutorDeadlockTest, OursAsProcesses, base),
        "Future": (theirs.FutureTests,),
    }
    return {name: type(name, each, {}) for name, each in bases.items()}


def run_scripts_on_ours(shutdown: ModuleType) -> None:
    """Some tests run a script that imports the executor from the standard library; let it import ours."""
    run = shutdown.assert_python_ok
    name = ForwardingExecutor.__name__
    changes = {
        f"from concurrent.futures import {name}": f"from {Path(__file__).stem} import {name}",
        "from test.test_concurrent_futures import": f"from {shutdown.__name__} import",
    }

    def run_on_ours(*words: str, **environment: str) -> Any:
        changed = list(words)
        for old, new in changes.items():
            changed = [word.replace(old, new) for word in changed]
        path = os.pathsep.join(each for each in sys.path if each)
        return run(*changed, __isolated=False, PYTHONPATH=path, **environment)

    shutdown.assert_python_ok = run_on_ours  # type: ignore[attr-defined]


class Ends(unittest.TextTestResult):
    """How each test ended, by its name."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.by_name: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        super().startTest(test)
        support.environment_altered = False

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().stopTest(test)
        if support.environment_altered:  # what unittest itself does not take for a failure
            self.by_name.setdefault(_name(test), "threads or processes were left behind")
        self.by_name.setdefault(_name(test), "passed")

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self.by_name[_name(test)] = f"{err[0].__name__}: {err[1]}"

    addFailure = addError  # noqa: N815

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self.by_name[_name(test)] = f"skipped: {reason}"


def _name(test: unittest.TestCase) -> str:
    return f"{type(test).__name__}.{test.id().rpartition('.')[2]}"


def main(names: list[str]) -> None:
    support.use_resources = ["walltime", "cpu"]
    theirs = cpython()
    theirs.deadlock.BrokenProcessPool = BrokenExecutor  # what it is derived from
    run_scripts_on_ours(theirs.shutdown)
    cases = classes(theirs)
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    suite = unittest.TestSuite(load(cases[name]) for name in names or cases)
    result = unittest.TextTestRunner(resultclass=Ends, verbosity=2).run(suite)
    assert isinstance(result, Ends)
    sys.stdout.write(f"\n{json.dumps(result.by_name)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
