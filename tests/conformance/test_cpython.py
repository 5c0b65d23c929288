"""CPython's own executor tests on our executor, where this Python's tests are at hand.

They sleep most of the time, so all classes of them run at once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from support.programs import started
from support.service import LocalService

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM: Final = Path(__file__).with_name("cpython_tests.py")
UNPACKED: Final = Path(__file__).parents[2] / ".venv-testsuite/usr/lib/python3.11/test"
FILE: Final = "test_concurrent_futures.py"
CLASSES: Final = (
    "Executor",
    "Wait",
    "AsCompleted",
    "Future",
    "Shutdown",
    "Deadlock",
    "Initializer",
    "FailingInitializer",
)

NOT_MEANT: Final = {
    "FailingInitializer.test_initializer": "reads a private attribute; here other calls may well succeed",
    "Deadlock.test_exit_during_result_pickle_on_worker": "expects SystemExit; here the result is at fault",
    "Deadlock.test_shutdown_deadlock_pickle": "reads a private attribute of process pools",
}


def are_there() -> bool:
    if find_spec("test.support") is None:
        return False
    if sys.version_info < (3, 12):
        return (UNPACKED / FILE).exists()
    return find_spec("test.test_concurrent_futures") is not None


pytestmark = pytest.mark.skipif(
    not are_there(), reason="this Python came without its tests; .ci/run gets those of 3.11 from Debian"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The program of the tests at work, by the class of tests that it was told."""
    directory = tmp_path_factory.mktemp("cpython")
    if sys.version_info < (3, 12):
        shutil.copy(UNPACKED / FILE, directory)
    with LocalService(tmp_path_factory.mktemp("service"), cpus=32, memory=64) as service:
        environment = {
            **os.environ,
            "PROMINENCE_URL": service.endpoint.url,
            "PROMINENCE_TOKEN": service.endpoint.token,
            "PYTHONPATH": str(directory),
        }
        with ExitStack() as stack:
            yield {
                name: stack.enter_context(
                    started(
                        [sys.executable, PROGRAM, name],
                        cwd=directory,
                        env=environment,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                    )
                )
                for name in CLASSES
            }


@pytest.mark.parametrize("name", CLASSES)
def test_cpythons_own_tests_pass(name: str, running: dict[str, subprocess.Popen[str]]) -> None:
    output, log = running[name].communicate()

    ends = json.loads(output.splitlines()[-1])
    assert ends, log
    missed = {each: end for each, end in ends.items() if end != "passed"}
    assert missed.keys() == NOT_MEANT.keys() & ends.keys(), f"{missed}\n{log}"
