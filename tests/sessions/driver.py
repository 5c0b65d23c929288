"""A driver that a test kills: it submits calls that leave a line each, and says what it has done.

Arguments: name of the session, number of calls, file for the lines; the name alone attaches to the session.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from prominence_executors import ProminenceExecutor


def leave_line(file: str, number: int) -> int:
    with Path(file).open("a") as lines:
        lines.write(f"{number} {os.environ['PROMINENCE_JOB_ID']}\n")
    return number * number


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def attach(name: str) -> None:
    say("attaching")
    executor = ProminenceExecutor.attach(name)
    say("attached")
    for future in executor.attached:
        say(f"done {future.result()}")
    sys.stdin.read()


def submit(name: str, number: int, file: str) -> None:
    executor = ProminenceExecutor(3, session=name)
    futures = []
    for each in range(number):
        futures.append(executor.with_options(name=f"call-{each}").submit(leave_line, file, each))
        say(f"submitted {each}")
    for future in futures:
        say(f"done {future.result()}")
    say("waiting to be killed")
    sys.stdin.read()


def main() -> None:
    name, *words = sys.argv[1:]
    if words:
        submit(name, int(words[0]), words[1])
    else:
        attach(name)


if __name__ == "__main__":
    main()
