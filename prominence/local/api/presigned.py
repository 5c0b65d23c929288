"""URLs that anybody on this machine may use for a while, and the files behind them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.responses import FileResponse, Response
from starlette.routing import Route

from prominence.local.api.answers import BASE
from prominence.local.tokens import OUTPUT_URL_S

if TYPE_CHECKING:
    from starlette.requests import Request

    from prominence.local.tokens import Signer

OBJECTS: Final = "/objects"
_PARTS_OF_OUTPUT: Final = 3  # attempt, "outputs" and the file


class PresignedFiles:
    """Makes URLs of outputs, and serves them; ``url`` is the service's base URL."""

    def __init__(self, signer: Signer, url: str, attempts: Path) -> None:
        self._signer = signer
        self._address = url.removesuffix(BASE)
        self._attempts = attempts

    def routes(self) -> list[Route]:
        return [Route(f"{OBJECTS}/{{path:path}}", self.stored)]

    def url_of(self, path: str) -> str:
        """The URL of a staged-out file, good for seven days."""
        route = f"{OBJECTS}/{'/'.join(Path(path).parts[-_PARTS_OF_OUTPUT:])}"
        query = self._signer.sign_path(route, int(time.time()) + OUTPUT_URL_S, "GET")
        return f"{self._address}{quote(route)}?{query}"

    async def stored(self, request: Request) -> Response:
        if not self._signer.accepts_path(request.scope["path"], dict(request.query_params), "GET"):
            return Response("the URL is not valid, or not any more\n", status_code=403)
        file = self._attempts / request.path_params["path"]
        if not file.is_file():
            return Response("there is no such object\n", status_code=404)
        return FileResponse(file, media_type="binary/octet-stream")
