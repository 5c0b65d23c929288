"""The service's end of the launcher process, which forks supervisors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Launcher:
    """The launcher process as the service sees it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        writer: asyncio.StreamWriter,
        reading: asyncio.Task[None],
    ) -> None:
        self._process = process
        self._writer = writer
        self._reading = reading

    @classmethod
    async def start(cls, launched: Callable[[Path, int | None, str], None], lost: Callable[[], None]) -> Self:
        """Start the program.

        ``launched`` is told an attempt's directory and its supervisor's process, or None and why there is
        none; ``lost`` is called when the launcher has ended.
        """
        ours, theirs = socket.socketpair()
        module = "prominence.local.machine.launcher"
        process = subprocess.Popen(  # noqa: ASYNC220 - returns as soon as the program is started
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)

        async def read() -> None:
            with contextlib.suppress(ConnectionError):  # it ended with questions that it had not read
                while line := await reader.readline():
                    answer = json.loads(line)
                    launched(Path(answer["root"]), answer.get("pid"), answer.get("error", ""))
            lost()

        return cls(process, writer, asyncio.create_task(read()))

    def ask_for(self, root: Path) -> None:
        self._writer.write(json.dumps({"root": str(root)}).encode() + b"\n")

    async def close(self) -> None:
        self._reading.cancel()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await asyncio.to_thread(self._process.wait)
