"""Functions and classes of an interactive session: defined at a prompt, defined again, and reloaded."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService


class Prompt:
    """An interactive Python, whose cells are typed in one after the other."""

    def __init__(self, directory: Path, service: LocalService) -> None:
        self._directory = directory
        self._environment = {
            "PROMINENCE_URL": service.endpoint.url,
            "PROMINENCE_TOKEN": service.endpoint.token,
            "PROMINENCE_LOCAL_PYTHON": sys.executable,
            "PYTHONPATH": str(directory),
            "PYTHONDONTWRITEBYTECODE": "1",  # a module that is changed at once is to be read again
            "HOME": str(directory),
        }

    def enter(self, *cells: str) -> list[str]:
        """The lines that were printed."""
        begin = "from prominence_executors import ProminenceExecutor\nexecutor = ProminenceExecutor()\n"
        typed = "\n\n".join([begin, *cells, "executor.shutdown()", ""])
        done = subprocess.run(
            [sys.executable, "-q", "-i"],
            input=typed,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def prompt(tmp_path: Path, service: LocalService) -> Prompt:
    return Prompt(tmp_path, service)


def test_what_is_defined_at_a_prompt_travels_with_what_it_refers_to(prompt: Prompt) -> None:
    printed = prompt.enter(
        "scale = 10",
        "def helper(number):\n    return scale * number",
        "def work(number):\n    return helper(number) + 1",
        "class Shape:\n    side = 3\n    def area(self):\n        return helper(self.side)",
        "def adds(number):\n    def added(other):\n        return number + other\n    return added",
        "print(executor.submit(work, 4).result())",
        "print(executor.submit(Shape().area).result())",
        "print(executor.submit(adds(5), 2).result())",
        "print(type(executor.submit(Shape).result()) is Shape)",
        "print(list(executor.map(lambda number: work(number), range(3))))",
    )

    assert printed == ["41", "30", "7", "True", "[1, 11, 21]"]


def test_what_is_defined_again_counts_from_the_next_call_on(prompt: Prompt) -> None:
    printed = prompt.enter(
        "def work():\n    return 'first'",
        "class Shape:\n    kind = 'first'",
        "before = executor.submit(work)",
        "print(before.result(), executor.submit(Shape).result().kind)",
        "def work():\n    return 'second'",
        "class Shape:\n    kind = 'second'",
        "print(executor.submit(work).result(), executor.submit(Shape).result().kind)",
        "print(executor.submit(lambda: work()).result())",
    )

    assert printed == ["first first", "second second", "second"]


def test_a_module_that_is_reloaded_is_sent_again(prompt: Prompt, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def work():\n    return 'first'\n")
    printed = prompt.enter(
        "import importlib, pathlib, mine",
        "print(executor.submit(mine.work).result())",
        "written = pathlib.Path(mine.__file__).write_text(\"def work():\\n    return 'second'\\n\")",
        "mine = importlib.reload(mine)",
        "print(executor.submit(mine.work).result())",
        "from mine import work",
        "print(executor.submit(work).result())",
        "print(executor.submit(lambda: work()).result())",
    )

    assert printed == ["first", "second", "second", "second"]
