"""Routes that tell of the service itself: its health, its resources, what was used of them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from datetime import UTC, date, datetime, time
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from prominence.local.api.answers import answer, disabled
from prominence.local.errors import Refusal
from prominence.local.usage import usage_between

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from prominence.local.engine import Engine
    from prominence.local.store import Store

_NEEDED_BYTES: Final = 16 * 1024 * 1024  # less free space than this, and jobs can hardly be told of
_DAY_S: Final = 86400


class ServiceRoutes:
    def __init__(self, engine: Engine, store: Store, directory: Path) -> None:
        self._engine = engine
        self._store = store
        self._directory = directory

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/resources", self.resources),
            Route("/accounting", self.accounting),
            Route("/token", self.token, methods=["POST"]),
            Route("/ts", disabled, methods=["POST"]),
            Route("/ts/{name:str}", disabled),
            Route("/openapi.json", self.document),
        ]

    async def health(self, _: Request) -> Response:
        errors = []
        try:
            self._store.read("select 1 from jobs limit 1")
        except sqlite3.Error:
            errors.append("DATABASE")
        if not os.access(self._directory, os.W_OK) or shutil.disk_usage(self._directory).free < _NEEDED_BYTES:
            errors.append("STATE_DIRECTORY")
        return answer({"errors": ",".join(errors)}, status=409) if errors else Response(status_code=204)

    async def resources(self, _: Request) -> Response:
        shown = [{"cpus": part.cpus, "memory": _plain(part.memory)} for part in self._engine.capacity()]
        return answer({"existing": [{"capacity": shown[0], "free": shown[1], "site": "local"}]})

    async def accounting(self, request: Request) -> Response:
        """By day (UTC), both days included; the service's one user is all users and a group, too."""
        query = request.query_params
        begin, end = _day(query.get("start"), "Start"), _day(query.get("end"), "End")
        used = usage_between(self._store, _midnight(begin), _midnight(end) + _DAY_S)
        figures = {"numberOfJobs": used.jobs, "cpuTime": used.cpu_hours, "wallTime": used.wall_hours}
        by_group = query.get("by_group") == "true"
        claims: dict[str, Any] = request.scope["claims"]
        users = {claims["username"]: figures} if not by_group or query.get("show_all_users") == "true" else {}
        groups = {claims["groups"]: figures} if by_group else {}
        return answer({"usage": {"users": users if used.jobs else {}, "groups": groups}})

    async def document(self, _: Request) -> Response:
        text = resources.files(__package__).joinpath("openapi.json").read_bytes()
        return Response(text, media_type="application/json")

    async def token(self, _: Request) -> Response:
        return answer({}, status=400)  # worker tokens are for workers of a site, of which there are none


def _day(text: str | None, which: str) -> date:
    if text is None:
        raise Refusal(400, f"{which} date must be provided")
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise Refusal(400, f"{which} date must have the form YYYY-MM-DD") from error


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _plain(amount: float) -> float:
    """Whole amounts without a decimal point, as the real service shows them."""
    return int(amount) if amount == int(amount) else amount
