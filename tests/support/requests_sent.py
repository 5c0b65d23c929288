"""The requests that clients of this process have sent, as urllib3 logs them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator


class RequestsSent(logging.Handler):
    """A context manager; ``lines`` has method and path of each request meanwhile."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._logger = logging.getLogger("urllib3.connectionpool")
        self._level = self._logger.level

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        self._logger.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and '"%s %s %s"' in record.msg:
            self.lines.append("{3} {4}".format(*record.args))

    def matching(self, *parts: str) -> Iterator[str]:
        return (line for line in self.lines if all(part in line for part in parts))
