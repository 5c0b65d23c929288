"""A driver that a test kills: it sends arrays of calls that leave a line each, and says what it has done.

Arguments: name of the session, number of calls, how many are an array, file for the lines.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from pathlib import Path

from prominence_executors import ProminenceExecutor


def leave_line(file: str, number: int) -> int:
    with Path(file).open("a") as lines:
        lines.write(f"{number} {os.environ['PROMINENCE_JOB_ID']}\n")
    return number * number


_saying = threading.Lock()


def say(text: object) -> None:
    with _saying:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def main() -> None:
    name, count, size, file = sys.argv[1:]
    executor = ProminenceExecutor(int(size) * 3 // 2, session=name)
    calls = executor._submittable()
    futures = []
    for first in range(0, int(count), int(size)):
        chunks = [[(number,)] for number in range(first, first + int(size))]
        array = calls.array(partial(leave_line, file), chunks)
        assert array is not None
        executor._dispatcher.add(array)
        say(f"submitted {len(chunks)}")
        futures += [call.future for call in array.calls]
    for future in futures:
        future.add_done_callback(lambda _: say("done"))
    for future in futures:
        future.result()
    say("waiting to be killed")
    sys.stdin.read()


if __name__ == "__main__":
    main()
