"""Routes that tell of the service itself: its health, its resources, what was used of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from prominence.local.api.answers import answer, disabled

if TYPE_CHECKING:
    from starlette.requests import Request

    from prominence.local.engine import Engine


class ServiceRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/resources", self.resources),
            Route("/accounting", disabled),
        ]

    async def health(self, _: Request) -> Response:
        return Response(status_code=204)

    async def resources(self, _: Request) -> Response:
        shown = [{"cpus": part.cpus, "memory": part.memory} for part in self._engine.capacity()]
        return answer({"existing": [{"capacity": shown[0], "free": shown[1], "site": "local"}]})
