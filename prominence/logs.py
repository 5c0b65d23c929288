"""Log records that name what they are about: ``job 17: ...`` in the text, ``job_id`` as an attribute.

All loggers lie under ``prominence``, those of the executor package too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class About(logging.LoggerAdapter[logging.Logger]):
    """A logger for records about one job or workflow.

    Records have ``job_id`` and ``workflow_id``, of which the one that does not apply is None.
    """

    def __init__(self, log: logging.Logger, subject: str, ids: dict[str, int | None]) -> None:
        super().__init__(log, ids)
        self._subject = subject

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{self._subject}: {msg}", {**kwargs, "extra": self.extra}


def logger(module: str) -> logging.Logger:
    """The logger of a module, by its ``__name__``."""
    return logging.getLogger(module.replace("prominence_executors", "prominence.executors", 1))


def about(log: logging.Logger, what: str, id: int | None, known_by: object = None) -> About:  # noqa: A002
    """Records about a job or workflow (``what``); ``known_by`` names it where it has no id yet."""
    subject = f"{what} {id}" if id is not None else f"{what} ({known_by})".replace("%", "%%")
    return About(log, subject, {"job_id": None, "workflow_id": None, f"{what}_id": id})
