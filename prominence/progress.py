"""Progress, drawn by rich, which is imported for nothing else."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta
from traceback import walk_stack
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from rich.progress import Progress

    from prominence.clock import Clock

_ROUND_FROM: Final = 10
_PERIODS: Final = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))


def on_terminal() -> bool:
    return _is_terminal(sys.stderr)


def is_at_prompt() -> bool:
    """True while an interactive Python waits for its user to type, who is not to be disturbed."""
    if not hasattr(sys, "ps1"):
        return False
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - for such uses
    if frame is None or _module(frame).startswith("_pyrepl"):
        return True
    return any(_module(each).startswith("prompt_toolkit") for each, _ in walk_stack(frame))


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _is_terminal(stream: Any) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


@contextmanager
def transfer(text: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """Shows bytes as they go by; None where there is no terminal."""
    if not on_terminal():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    columns = _plain("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with drawn(bars(*columns)) as shown:
        bar = shown.add_task(text, total=None)
        yield lambda done, total: shown.update(bar, completed=done, total=total)


@contextmanager
def drawn(shown: Progress) -> Iterator[Progress]:
    """Draw on standard error of the terminal, until the block ends; then it is gone."""
    drawing = Drawing(shown)
    drawing.begin()
    try:
        yield shown
    finally:
        drawing.end()


def bars(*columns: Any, auto_refresh: bool = True) -> Progress:
    """One line per thing that is under way, for standard error."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        auto_refresh=auto_refresh,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def counting_bars(*, auto_refresh: bool = True) -> Progress:
    """Bars of things that end: how many have, what the others are at, how fast it goes.

    Tasks have the fields ``states`` and ``pace``.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

    return bars(
        _plain("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        _plain("{task.fields[states]}"),
        _plain("{task.fields[pace]}"),
        TimeElapsedColumn(),
        auto_refresh=auto_refresh,
    )


def _plain(text: str) -> Any:
    from rich.progress import TextColumn

    return TextColumn(text, markup=False)


class Drawing:
    """A live display on the terminal; what the program prints or logs there meanwhile appears above it.

    It may begin in one thread and end in another, long after, when the program has put other streams in
    the place of these: then those stay.
    """

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._proxies: list[tuple[str, Any, Any]] = []
        """Kept also when they are not in use: ``print`` may be in one that another thread takes back."""

    def begin(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if _is_terminal(stream):
                proxy = self._proxy(name, stream)
                setattr(sys, name, proxy)
                _redirect_handlers(stream, proxy)
        self._shown.start()
        self._shown.console.show_cursor()  # a program that is killed is not to leave a terminal without

    def end(self) -> None:
        self._shown.stop()
        self.give_back()

    def give_back(self) -> None:
        """Let what the program prints go where it went before."""
        for name, stream, proxy in self._proxies:
            if getattr(sys, name) is proxy:
                setattr(sys, name, stream)
            _redirect_handlers(proxy, stream)

    def _proxy(self, name: str, stream: Any) -> Any:
        from rich.file_proxy import FileProxy

        for known in self._proxies:
            if known[:2] == (name, stream):
                return known[2]
        proxy = FileProxy(self._shown.console, stream)
        self._proxies.append((name, stream, proxy))
        return proxy


def _redirect_handlers(old: Any, new: Any) -> None:
    """Of logging, which keep the stream that they were made with."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):  # places for loggers have none
            if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                handler.setStream(new)


class Pace:
    """How fast things end, counted from the first that runs or has ended until nothing is left to do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_at = clock.monotonic()
        self._ended_before = self._ended = self._running = 0
        self._has_begun = False

    def note(self, *, ended: int, running: int, total: int) -> None:
        """Numbers as they are now."""
        self._ended, self._running = ended, running
        is_over = ended == total
        if is_over or (not self._has_begun and ended == self._ended_before):
            self._began_at, self._ended_before = self._clock.monotonic(), ended
        self._has_begun = not is_over and (self._has_begun or running > 0 or ended > self._ended_before)

    @property
    def per_second(self) -> float | None:
        """None while nothing has ended."""
        ended, seconds = self._ended - self._ended_before, self._clock.monotonic() - self._began_at
        return ended / seconds if ended and seconds else None

    def seconds_left(self, total: int) -> float | None:
        """None until as many have ended as run at a time: the first to end tell little of the others."""
        rate = self.per_second
        if rate is None or self._ended - self._ended_before < self._running:
            return None
        return (total - self._ended) / rate

    def text(self, total: int | None) -> str:
        """For people; empty while nothing is known."""
        rate = self.per_second
        if rate is None:
            return ""
        left = None if total is None else self.seconds_left(total)
        return _rate(rate) + (f", {whole_seconds(left)} left" if left is not None else "")


def _rate(per_second: float) -> str:
    seconds, unit = next((each for each in _PERIODS if per_second * each[0] >= 1), _PERIODS[-1])
    return f"{per_second * seconds:,.{0 if per_second * seconds >= _ROUND_FROM else 1}f}/{unit}"


def whole_seconds(seconds: float) -> str:
    """As ``1 day, 2:03:04``."""
    return str(timedelta(seconds=round(seconds)))


def listed(states: Mapping[str, int]) -> str:
    """As ``3 queued, 2 running``; what there is none of is left out."""
    return ", ".join(f"{number} {state}" for state, number in states.items() if number)
