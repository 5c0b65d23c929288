"""The service's end of the launcher process, which forks supervisors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from prominence.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logger(__name__)

_PAUSE_S: Final = 0.2  # a launcher that cannot live is not replaced in a busy loop

Launched = Callable[[Path, int | None, str], None]


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
    async def start(cls, launched: Launched, lost: Callable[[], None]) -> Self:
        """Start the program; ``lost`` is called when it has ended."""
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


class Launchers:
    """One launcher process after another: one that ends is replaced.

    ``launched`` is told an attempt's directory and its supervisor's process, or None and why there is none.
    A new launcher is asked for all that is ``unlaunched`` by then; an attempt can be claimed once, so that
    asking twice starts nothing twice.
    """

    def __init__(self, launched: Launched, unlaunched: Callable[[], Iterable[Path]]) -> None:
        self._launched = launched
        self._unlaunched = unlaunched
        self._current: Launcher | None = None
        self._replacing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._current = await Launcher.start(self._launched, self._lost)

    def ask_for(self, root: Path) -> None:
        """Have a supervisor started for the attempt in a directory."""
        if self._current is not None:  # else the next one is asked
            self._current.ask_for(root)

    async def close(self) -> None:
        if self._replacing is not None:
            self._replacing.cancel()
            await asyncio.gather(self._replacing, return_exceptions=True)
        if self._current is not None:
            await self._current.close()

    def _lost(self) -> None:
        log.error("the launcher process ended; starting another")
        self._current = None
        self._replacing = asyncio.create_task(self._replace())

    async def _replace(self) -> None:
        while self._current is None:
            await asyncio.sleep(_PAUSE_S)
            try:
                self._current = await Launcher.start(self._launched, self._lost)
            except OSError:
                log.exception("the launcher cannot be started")
        for root in self._unlaunched():
            self._current.ask_for(root)
