"""Routes that look into running jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from prominence.local.api.answers import TEXT_TYPE, answer, id_in_path
from prominence.local.errors import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from prominence.local.api.presigned import PresignedFiles
    from prominence.local.running import RunningJobs


class RunningJobRoutes:
    def __init__(self, running: RunningJobs, presigned: PresignedFiles) -> None:
        self._running = running
        self._presigned = presigned

    def routes(self) -> list[Route]:
        return [
            Route("/jobs/{id:int}/exec", self.execute, methods=["POST"]),
            Route("/jobs/{id:int}/snapshot", self.make_snapshot, methods=["PUT"]),
            Route("/jobs/{id:int}/snapshot", self.snapshot),
        ]

    async def execute(self, request: Request) -> Response:
        command = request.query_params.get("command")
        if not command or "\0" in command:
            raise Refusal(400, "A command must be specified")
        output = await self._running.execute(id_in_path(request), command)
        return Response(output, media_type=TEXT_TYPE)

    async def make_snapshot(self, request: Request) -> Response:
        path = request.query_params.get("path")
        if not path:
            raise Refusal(400, "A path to snapshot must be specified")
        await self._running.snapshot(id_in_path(request), path)
        return answer({})

    async def snapshot(self, request: Request) -> Response:
        name = self._running.snapshot_name(id_in_path(request))
        return answer({"url": self._presigned.snapshot_url(name)})
