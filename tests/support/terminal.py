"""A terminal that programs of tests run on."""

from __future__ import annotations

import os
import pty
import subprocess
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def run_on_terminal(
    words: Sequence[str],
    *,
    stdout: IO[Any] | None = None,
    environment: Mapping[str, str] | None = None,
    on_output: Callable[[subprocess.Popen[bytes], bytes], bytes | None] = lambda _process, _output: None,
) -> tuple[int, bytes]:
    """Exit code of a program and all that its terminal, 100 columns wide, was sent.

    ``stdout`` is where its standard output goes, if not to the terminal. ``on_output`` is called with the
    process and the output so far as that grows; what it returns is typed in.
    """
    ours, theirs = pty.openpty()
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **(environment or {})}
    process = subprocess.Popen(words, env=settings, stdin=theirs, stdout=stdout or theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    try:
        while piece := _read(ours):
            output += piece
            if typed := on_output(process, output):
                os.write(ours, typed)
        return process.wait(), output
    except BaseException as error:
        error.add_note(f"the terminal was sent, in the end: {output[-2_000:]!r}")
        raise
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # on Linux, the end
        return b""
