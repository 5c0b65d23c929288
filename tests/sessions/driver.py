"""A driver that a test kills: it submits calls that leave a line each, and says what it has done.

Arguments: name of the session, number of calls, file for the lines.
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


def main() -> None:
    name, number, file = sys.argv[1:]
    executor = ProminenceExecutor(3, session=name)
    futures = []
    for each in range(int(number)):
        futures.append(executor.with_options(name=f"call-{each}").submit(leave_line, file, each))
        say(f"submitted {each}")
    for future in futures:
        say(f"done {future.result()}")
    say("waiting to be killed")
    sys.stdin.read()


if __name__ == "__main__":
    main()
