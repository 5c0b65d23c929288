"""Routes of data: places to upload to, what was uploaded, and its end."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from wsgiref.handlers import format_date_time

from starlette.responses import Response
from starlette.routing import Route

from prominence.local.api.answers import answer, json_body
from prominence.local.errors import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from prominence.local.api.presigned import PresignedFiles
    from prominence.local.objects import Objects

_OUTPUT_UPLOAD_S: Final = 7200  # as the real service: a job needs its time to get there


class DataRoutes:
    def __init__(self, objects: Objects, presigned: PresignedFiles) -> None:
        self._objects = objects
        self._presigned = presigned

    def routes(self) -> list[Route]:
        return [
            Route("/data", self.find),
            Route("/data", self.ask_to_upload, methods=["POST"]),
            Route("/data/upload", self.ask_to_upload, methods=["POST"]),
            Route("/data/output", self.ask_for_output, methods=["POST"]),
            Route("/data/{name:path}", self.find),
            Route("/data/{name:path}", self.delete, methods=["DELETE"]),
        ]

    async def ask_to_upload(self, request: Request) -> Response:
        body: dict[str, Any] = {}
        name = request.query_params.get("name")
        if name is None:
            body = await _object_body(request)
            name = body.get("filename")
        if not isinstance(name, str) or not name:
            raise Refusal(400, "An object name must be specified")
        checksum = body.get("checksum")
        if checksum is not None and not isinstance(checksum, str):
            raise Refusal(400, "the checksum of an object is its SHA-256 in hexadecimal digits")
        key = self._objects.key_of(name)
        if "/" in name and not _is_member(request, name):
            raise Refusal(403, "Not authorized to access upload with this path")
        if checksum is None:
            return answer({"url": self._presigned.upload_url(key)}, status=201)
        return answer(self._presigned.upload_form(key, checksum), status=201)

    async def ask_for_output(self, request: Request) -> Response:
        job = request.scope["claims"].get("job")
        if job is None:
            raise Refusal(400, "Unspecified error")  # the words of the real service for a user's token
        name = (await _object_body(request)).get("name")
        if not isinstance(name, str) or not name:
            raise Refusal(400, "Name not specified")
        self._objects.key_of(name)
        key = output_key(job, name)
        return answer({"url": self._presigned.upload_url(key, _OUTPUT_UPLOAD_S)}, status=201)

    async def find(self, request: Request) -> Response:
        path = request.path_params.get("name")
        if path is not None and not _is_member(request, path):
            raise Refusal(403, "Not authorized to access this path")
        space = f"uploads/{self._objects.user}/" if path is None else "groups/"
        return answer(
            [
                {
                    "name": each.key.removeprefix(space),
                    "size": each.size,
                    "lastModified": format_date_time(each.modified),
                }
                for each in self._objects.below(space + (path or ""))
            ]
        )

    async def delete(self, request: Request) -> Response:
        name = request.path_params["name"]
        if "/" in name and not _is_member(request, name):
            raise Refusal(403, "Not authorized to access this object")
        await self._objects.delete(self._objects.key_of(name))
        return Response(status_code=204)


def output_key(job: int, name: str) -> str:
    """The key of what a job uploads as its output ``name``, stored under its base name like any output."""
    return f"scratch/{job}/{PurePosixPath(name).name}"


def _is_member(request: Request, path: str) -> bool:
    groups: list[str] = request.scope["claims"]["groups"].split(",")
    return path.split("/", maxsplit=1)[0] in groups


async def _object_body(request: Request) -> dict[str, Any]:
    body = await json_body(request)
    if not isinstance(body, dict):
        raise Refusal(400, "the request must be a JSON object")
    return body
