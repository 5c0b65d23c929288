"""Routes of data: places to upload to, what was uploaded, and its end."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from wsgiref.handlers import format_date_time

from starlette.responses import Response
from starlette.routing import Route

from prominence.local.api.answers import answer, json_body
from prominence.local.api.presigned import failures_while_receiving
from prominence.local.errors import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from prominence.local.api.presigned import PresignedFiles
    from prominence.local.objects import Objects
    from prominence.sharing import SharedFiles

_OUTPUT_UPLOAD_S: Final = 7200  # as the real service: a job needs its time to get there


class DataRoutes:
    def __init__(self, objects: Objects, presigned: PresignedFiles, files: SharedFiles | None) -> None:
        self._objects = objects
        self._presigned = presigned
        self._files = files

    def routes(self) -> list[Route]:
        return [
            Route("/data", self.find),
            Route("/data", self.ask_to_upload, methods=["POST"]),
            Route("/data/upload", self.ask_to_upload, methods=["POST"]),
            Route("/data/placed", self.take_over, methods=["POST"]),
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
        checksum = _checksum(body)
        key = self._upload_key(request, name)
        place = self._place(request)
        if checksum is None:
            return answer({"url": self._presigned.upload_url(key), **place}, status=201)
        return answer({**self._presigned.upload_form(key, checksum), **place}, status=201)

    async def take_over(self, request: Request) -> Response:
        """Make an object of a file that a client, asked to upload, has filled."""
        if self._files is None or not request.scope["shares_files"]:
            raise Refusal(403, "only a client that has this service's files can place one")
        body = await _object_body(request)
        name, place = body.get("filename"), body.get("path")
        if not isinstance(name, str) or not isinstance(place, str) or not name:
            raise Refusal(400, "the name of an object and the path of a place must be specified")
        key, checksum = self._upload_key(request, name), _checksum(body)
        with failures_while_receiving(), self._objects.take_over(self._files.directory / place) as filled:
            kept = await self._objects.keep(key, filled, checksum)
        return answer({"sha256": kept.digest}, status=201)

    def _upload_key(self, request: Request, name: str) -> str:
        key = self._objects.key_of(name)
        if "/" in name and not _is_member(request, name):
            raise Refusal(403, "Not authorized to access upload with this path")
        return key

    def _place(self, request: Request) -> dict[str, str]:
        """The ``path`` of a file to fill, for a client that has this service's files."""
        if self._files is None or not request.scope["shares_files"]:
            return {}
        with failures_while_receiving():
            told = self._files.told(self._objects.make_place())
        return {} if told is None else {"path": told}

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


def _checksum(body: dict[str, Any]) -> str | None:
    checksum = body.get("checksum")
    if checksum is not None and not isinstance(checksum, str):
        raise Refusal(400, "the checksum of an object is its SHA-256 in hexadecimal digits")
    return checksum


async def _object_body(request: Request) -> dict[str, Any]:
    body = await json_body(request)
    if not isinstance(body, dict):
        raise Refusal(400, "the request must be a JSON object")
    return body
