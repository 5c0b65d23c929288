"""Routes of data."""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

from prominence.local.api.answers import disabled

_METHODS: Final = ("GET", "POST", "PUT", "DELETE")


class DataRoutes:
    def routes(self) -> list[Route]:
        return [
            Route("/data", disabled, methods=_METHODS),
            Route("/data/{rest:path}", disabled, methods=_METHODS),
        ]
