"""A request that is refused, with the status and text that the REST API has for it."""

from __future__ import annotations

from typing import Final

NO_SUCH_JOB: Final = "Job does not exist"


class Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
