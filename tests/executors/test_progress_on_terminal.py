"""Progress on a terminal, beside what the program itself prints and logs there."""

from __future__ import annotations

import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.terminal import run_on_terminal

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from support.service import LocalService

ERASED = r"\r\x1b\[2K"  # the line that was drawn before
COLOUR = r"\x1b\[[1-9][0-9;]*m"
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"

BEGIN = """
import logging, os, sys, time
from prominence_executors import ProminenceExecutor

logging.basicConfig()

def work(number, go):
    while number >= 4 and not os.path.exists(go):
        time.sleep(0.05)
    return 1 / number

go = __file__ + ".go"
"""
MAP = """
with ProminenceExecutor() as executor:
    results = executor.map(work, range(8), [go] * 8, progress=True, return_exceptions=True)
    for number, result in zip(range(4), results):
        print("printed", number)
        logging.warning("logged %d", number)
    print(len(list(results)), "more")
print("the end")
"""


class Script:
    """A program on a terminal; the second half of its map runs when the terminal shows ``go_at``."""

    def __init__(self, path: Path, service: LocalService) -> None:
        self._path = path
        self._environment = {
            "PROMINENCE_URL": service.endpoint.url,
            "PROMINENCE_TOKEN": service.endpoint.token,
            "PROMINENCE_LOCAL_PYTHON": sys.executable,
        }

    def run(
        self, code: str, *, go_at: str = "4/8", environment: dict[str, str] | None = None, **options: Any
    ) -> str:
        """What the terminal was sent by a program that ends well."""

        def go(_: object, output: bytes) -> None:
            if go_at in output.decode(errors="ignore"):
                self._path.with_name(f"{self._path.name}.go").touch()

        exit_code, output = self.start(code, on_output=go, environment=environment, **options)
        assert exit_code == 0, output
        return output

    def start(
        self,
        code: str,
        *,
        interactive: bool = False,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> tuple[int, str]:
        """Exit code, and what the terminal was sent."""
        self._path.write_text(BEGIN + code)
        words = [sys.executable, *(["-i"] if interactive else []), "-W", "error", str(self._path)]
        settings = {**self._environment, **(environment or {})}
        exit_code, output = run_on_terminal(words, environment=settings, **options)
        return exit_code, output.decode()


@pytest.fixture
def script(tmp_path: Path, service: LocalService) -> Script:
    return Script(tmp_path / "script.py", service)


def is_as_before(output: str) -> bool:
    """True when nothing is left drawn, and the cursor is there."""
    hidden, shown = output.rfind(HIDDEN), output.rfind(SHOWN)
    return shown > hidden


def test_what_is_printed_and_logged_meanwhile_stays_whole_above_the_line(script: Script) -> None:
    output = script.run(MAP)

    assert re.search(r"work .*4/8.*1 failed", output)
    assert re.search(COLOUR, output)
    for number in range(4):
        for text in (f"printed {number}", f"WARNING:root:logged {number}"):
            assert re.search(rf"(^|\n|{ERASED}){text}\r\n", output), text
    assert re.search(rf"(\r|{ERASED})prominence: work: 8 of 8 ended \(1 failed\) in 0:00:\d\d\r\n", output)
    assert output.endswith("4 more\r\nthe end\r\n")
    assert is_as_before(output)


def test_without_colours_there_are_none(script: Script) -> None:
    assert not re.search(COLOUR, script.run(MAP, environment={"NO_COLOR": "1"}))


def test_output_that_goes_to_a_file_goes_there(script: Script, tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as file:
        output = script.run(MAP, stdout=file)

    printed = [f"printed {number}" for number in range(4)]
    assert (tmp_path / "output").read_text().splitlines() == [*printed, "4 more", "the end"]
    assert "printed" not in output


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(script: Script) -> None:
    output = script.run(MAP, go_at="logged 3", environment={"TERM": "dumb"})

    assert "\x1b" not in output
    assert "prominence: work: 8 of 8 ended (1 failed) in" in output


def test_a_program_that_ends_without_shutting_down_shows_progress_to_the_end(script: Script) -> None:
    output = script.run("""
executor = ProminenceExecutor(progress=True)
future = executor.submit("sleep 0.5")
other = executor.submit("true")
executor.shutdown(wait=False)
print("nothing waits here")
""")

    assert "nothing waits here" in output
    assert "prominence: calls: 2 of 2 ended in" in output
    assert is_as_before(output)


def test_streams_that_the_program_replaces_meanwhile_stay(script: Script) -> None:
    output = script.run("""
import contextlib, io
executor = ProminenceExecutor(progress=True)
executor.submit("true").result()
with contextlib.redirect_stdout(io.StringIO()) as taken:
    executor.submit("true").result()
    executor.shutdown()
    print("taken")
print("given back", taken.getvalue().split(), sys.stdout.isatty())
""")

    assert "given back ['taken'] True\r\n" in output


def test_an_interrupted_program_leaves_the_terminal_as_it_was(script: Script) -> None:
    pressed = 0

    def press(process: subprocess.Popen[bytes], output: bytes) -> None:
        nonlocal pressed
        wanted = (b"1 running" in output) + (b"Ctrl-C again" in output)
        if wanted > pressed:
            pressed = wanted
            process.send_signal(signal.SIGINT)

    code, output = script.start(
        """
with ProminenceExecutor(progress=True) as executor:
    executor.submit("sleep 600").result()
""",
        on_output=press,
    )

    assert pressed == 2
    assert code != 0
    assert "KeyboardInterrupt" in output
    assert "1 jobs are left to go on" in output
    assert "prominence: calls: 0 of 1 ended (1 running) in" in output
    assert is_as_before(output)


def test_a_prompt_is_not_drawn_over(script: Script, tmp_path: Path) -> None:
    """While the user may type, nothing is drawn; it is again when the program waits for its calls."""
    steps = iter(
        [
            (rf">>> .*{ERASED}", b"time.sleep(1)\n"),
            (r">>> .*sleep.*1 running", b"other.result()\n"),
            (r"0\.25", b"exit()\n"),
        ]
    )
    wanted, answer = next(steps)

    def type_in(_: object, output: bytes) -> bytes | None:
        nonlocal wanted, answer
        if not re.search(wanted, output.decode(errors="ignore"), re.DOTALL):
            return None
        typed = answer
        if b"result" in typed:
            (tmp_path / "script.py.go").touch()
        wanted, answer = next(steps, ("never", b""))
        return typed

    exit_code, output = script.start(
        "executor = ProminenceExecutor(progress=True)\nother = executor.submit(work, 4, go)\n",
        interactive=True,
        on_output=type_in,
    )

    assert exit_code == 0, output
    at_prompt = output.partition(">>> ")[2].partition("time.sleep")[0]
    assert "\u2501" in output
    assert "\u2501" not in at_prompt
    assert "prominence: calls: 1 of 1 ended in" in output
