"""URLs that anybody on this machine may use for a while, and the files behind them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.responses import FileResponse, Response
from starlette.routing import Route

from prominence.local.api.answers import BASE
from prominence.local.tokens import OUTPUT_URL_S

if TYPE_CHECKING:
    from starlette.requests import Request

    from prominence.local.jobs import Jobs
    from prominence.local.listing import OutputKind
    from prominence.local.tokens import Signer

OBJECTS: Final = "/objects"


class PresignedFiles:
    """Makes URLs of outputs, and serves them."""

    def __init__(self, signer: Signer, jobs: Jobs) -> None:
        self._signer = signer
        self._jobs = jobs
        self._address = jobs.url.removesuffix(BASE)

    def routes(self) -> list[Route]:
        return [
            Route(f"{OBJECTS}/jobs/{{job:int}}/{{kind:str}}/{{stored_as:str}}", self.output),
            Route(f"{OBJECTS}/{{rest:path}}", _invalid),
        ]

    def url_of(self, job: int, kind: OutputKind, stored_as: str) -> str:
        """The URL of a staged-out file, good for seven days."""
        route = f"{OBJECTS}/jobs/{job}/{kind}/{stored_as}"
        query = self._signer.sign_path(route, int(time.time()) + OUTPUT_URL_S, "GET")
        return f"{self._address}{quote(route)}?{query}"

    async def output(self, request: Request) -> Response:
        if not self._signer.accepts_path(request.scope["path"], dict(request.query_params), "GET"):
            return await _invalid(request)
        file = self._jobs.stored_output(**request.path_params)
        if file is None or not file.is_file():
            return Response("there is no such object\n", status_code=404)
        return FileResponse(file, media_type="binary/octet-stream")


async def _invalid(_: Request) -> Response:
    return Response("the URL is not valid, or not any more\n", status_code=403)
