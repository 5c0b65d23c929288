"""What the library logs, where the program has configured no logging: a line on standard error."""

from __future__ import annotations

import logging
import sys


class _Notices(logging.Handler):
    """Shows warnings as Python does by itself, but says from whom they are."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None and not self._is_handled(record.name):
            sys.stderr.write(f"prominence: {record.getMessage()}\n")

    def _is_handled(self, name: str) -> bool:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(each is not self for each in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False


def show_notices() -> None:
    """Of this library and its executor; once per process is enough."""
    logging.getLogger("prominence").addHandler(_NOTICES)  # which adds it once


_NOTICES = _Notices(logging.WARNING)
