"""Commands and snapshots beside a running attempt, in its scratch directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tarfile
import time
import uuid
from typing import TYPE_CHECKING, Final

from prominence.local.machine import inherited, processes
from prominence.local.trees import with_contents

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping
    from pathlib import Path

_VISIT_VARIABLE: Final = "PROMINENCE_LOCAL_VISIT"
_LARGEST_OUTPUT: Final = 16 * 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024


async def run(
    line: str, scratch: Path, tmp: Path, environment: Mapping[str, str], timeout_s: float
) -> bytes | None:
    """What a shell line wrote to stdout and stderr; None when it failed, took or wrote too much.

    Nothing that it started goes on after it.
    """
    visit = uuid.uuid4().hex
    began = time.time()
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        line,
        cwd=scratch,
        env={
            **inherited.for_tasks(),
            **environment,
            **dict.fromkeys(("TMP", "TEMP", "TMPDIR"), str(tmp)),
            "HOME": str(scratch),
            _VISIT_VARIABLE: visit,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    reading = asyncio.create_task(_read(process))
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
    except TimeoutError:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.to_thread(processes.end_leftovers, _VISIT_VARIABLE, visit, {process.pid}, began)
        await process.wait()
        output = await reading
    return output if process.returncode == 0 and len(output) <= _LARGEST_OUTPUT else None


async def _read(process: Process) -> bytes:
    """All that a process writes, or more than the limit, upon which it is ended."""
    output = bytearray()
    if process.stdout is None:
        return b""
    while piece := await process.stdout.read(_PIECE_BYTES):
        output += piece
        if len(output) > _LARGEST_OUTPUT:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            break
    return bytes(output)


def pack(scratch: Path, name: str, archive: Path) -> bool:
    """Write a ``.tgz`` of a file or directory below ``scratch``; False when there is no such thing there.

    Names in it are relative to ``scratch``. Links are kept as links. What disappears meanwhile is left out.
    """
    root = scratch.resolve()
    found = root / name
    try:
        if not found.exists() or not found.resolve().is_relative_to(root):
            return False
    except OSError:  # no file can have such a name
        return False
    with tarfile.open(archive, "w:gz") as tar:
        for path in with_contents(found.resolve()):
            with contextlib.suppress(FileNotFoundError):
                tar.add(path, arcname=path.relative_to(root), recursive=False)
    return True
