"""Routes of the key-value store."""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

from prominence.local.api.answers import disabled

_METHODS: Final = ("GET", "POST", "PUT", "DELETE")


class KeyRoutes:
    def routes(self) -> list[Route]:
        return [
            Route("/kv", disabled, methods=_METHODS),
            Route("/kv/{rest:path}", disabled, methods=_METHODS),
        ]
