"""A route of this service's own, for tests of clients: what turbulence there is (``--rough``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from prominence.local.api.answers import answer, json_body
from prominence.local.errors import Refusal
from prominence.local.rough import Rates

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from prominence.local.rough import Turbulence


class RoughRoutes:
    def __init__(self, turbulence: Turbulence) -> None:
        self._turbulence = turbulence

    def routes(self) -> list[Route]:
        return [
            Route("/local/rough", self.show),
            Route("/local/rough", self.set, methods=["PUT"]),
        ]

    async def show(self, _: Request) -> Response:
        return answer(self._turbulence.as_json())

    async def set(self, request: Request) -> Response:
        body = await json_body(request)
        if not isinstance(body, dict) or body.keys() - {"rates", "seed"}:
            raise Refusal(400, "the request must be a JSON object with rates and perhaps a seed")
        seed = body.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise Refusal(400, "the seed must be a whole number")
        self._turbulence.set(Rates.parse(body.get("rates", {})), seed)
        return answer(self._turbulence.as_json())
