"""Routes of workflows."""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

from prominence.local.api.answers import disabled

_METHODS: Final = ("GET", "POST", "PUT", "DELETE")


class WorkflowRoutes:
    def routes(self) -> list[Route]:
        return [
            Route("/workflows", disabled, methods=_METHODS),
            Route("/workflows/{rest:path}", disabled, methods=_METHODS),
        ]
