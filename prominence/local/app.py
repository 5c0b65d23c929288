"""The REST API of the embedded service: requests in, answers out; the work is done in :mod:`jobs`."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from prominence.description.rules import MAX_REQUEST, check_job
from prominence.local.errors import Refusal
from prominence.local.listing import LARGEST, InvalidStatus, Query, detailed_entry, entry, whole
from prominence.local.tokens import OUTPUT_URL_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from prominence.local.engine import Engine
    from prominence.local.jobs import Jobs
    from prominence.local.tokens import Signer

BASE: Final = "/prominence/v1"
FEATURES: Final = "idempotent-submission, wait"
_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "::1")
_OPEN_PATHS: Final = (f"{BASE}/health",)
_OBJECTS: Final = "/objects"
_PARTS_OF_OUTPUT: Final = 3  # attempt, "outputs" and the file
_OUTPUT_TYPE: Final = "text/html; charset=utf-8"
_PIECE_BYTES: Final = 256 * 1024
_MOST_NODES: Final = 1_000_000
_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
_DISABLED: Final = (  # parts of the API that this service does not have (yet)
    "/jobs/{id:int}/exec",
    "/jobs/{id:int}/snapshot",
    "/jobs/{id:int}/remove",
    "/jobs/{id:int}/clone",
    "/workflows",
    "/workflows/{rest:path}",
    "/data",
    "/data/{rest:path}",
    "/kv",
    "/kv/{rest:path}",
    "/accounting",
)


class Api:
    """The routes, bound to one service."""

    def __init__(self, jobs: Jobs, engine: Engine, signer: Signer, stored: Path) -> None:
        self._jobs = jobs
        self._engine = engine
        self._signer = signer
        self._stored = stored
        self.last_request = time.monotonic()

    def app(self) -> ASGIApp:
        routes = [
            Route(f"{BASE}/health", self.health),
            Route(f"{BASE}/jobs", self.create_job, methods=["POST"]),
            Route(f"{BASE}/jobs", self.list_jobs),
            Route(f"{BASE}/jobs", self.delete_jobs, methods=["DELETE"]),
            Route(f"{BASE}/jobs/{{id:int}}", self.describe_job),
            Route(f"{BASE}/jobs/{{id:int}}", self.delete_job, methods=["DELETE"]),
            *(Route(BASE + path, _disabled, methods=_METHODS) for path in _DISABLED),
            Route(f"{BASE}/jobs/{{id:int}}/{{stream:str}}", self.output, methods=["GET"]),
            Route(f"{BASE}/resources", self.resources),
            Route(f"{_OBJECTS}/{{path:path}}", self.stored_object),
        ]
        handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
            Refusal: _refused,
            InvalidStatus: _invalid_status,
            HTTPException: _http_error,
            sqlite3.Error: _storage_error,
            Exception: _unforeseen,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return self._guarded(app)

    async def health(self, _: Request) -> Response:
        return Response(status_code=204)

    async def create_job(self, request: Request) -> Response:
        description = await _json_body(request)
        if violations := _refusing(check_job(description, reserved_label_allowed=True)):
            raise Refusal(400, violations[0].message)
        created = await self._jobs.create(description)
        return _answer({"id": created.id}, created.revision, status=201)

    async def list_jobs(self, request: Request) -> Response:
        query = Query.parse(request.query_params)
        rows, revision = await self._jobs.find(query)
        if query.since is not None:
            shown = self._feed(rows)
        elif query.detail:
            shown = self._detailed(rows)
        else:
            shown = [entry(row) for row in rows]
        return _answer(shown, revision)

    async def describe_job(self, request: Request) -> Response:
        rows, revision = await self._jobs.find(Query(ids=(_job_id(request),)))
        return _answer(self._detailed(rows), revision)

    async def delete_job(self, request: Request) -> Response:
        return await self._delete([_job_id(request)])

    async def delete_jobs(self, request: Request) -> Response:
        ids = Query.parse(request.query_params).ids
        if ids is None:
            raise Refusal(400, "a job id or list of job ids must be provided")
        return await self._delete(ids)

    async def output(self, request: Request) -> Response:
        stream = request.path_params["stream"]
        if stream not in {"stdout", "stderr"}:
            raise HTTPException(404)
        node, offset = (whole(name, request.query_params.get(name, "0")) for name in ("node", "offset"))
        file = self._jobs.open_output(_job_id(request), stream, min(node, _MOST_NODES))
        if file is None:
            return Response(b"", media_type=_OUTPUT_TYPE)
        left = max(0, file.seek(0, os.SEEK_END) - offset)
        file.seek(offset if left else 0)
        headers = {"Content-Length": str(left)}
        return StreamingResponse(_pieces(file, left), headers=headers, media_type=_OUTPUT_TYPE)

    async def resources(self, _: Request) -> Response:
        shown = [{"cpus": part.cpus, "memory": part.memory} for part in self._engine.capacity()]
        return _answer({"existing": [{"capacity": shown[0], "free": shown[1], "site": "local"}]})

    async def stored_object(self, request: Request) -> Response:
        """A file behind a presigned URL; the signature takes the place of a token."""
        if not self._signer.accepts_path(request.scope["path"], dict(request.query_params), "GET"):
            return Response("the URL is not valid, or not any more\n", status_code=403)
        file = self._stored / request.path_params["path"]
        if not file.is_file():
            return Response("there is no such object\n", status_code=404)
        return FileResponse(file, media_type="binary/octet-stream")

    async def _delete(self, ids: Sequence[int]) -> Response:
        if not await self._jobs.delete(ids):
            raise Refusal(400, "No such job(s)")
        return _answer({})

    def _feed(self, rows: list[sqlite3.Row]) -> list[dict[str, Any]]:
        """Changed jobs; those that ended with all that a waiter wants to know of them."""
        labels = self._jobs.labels([row["id"] for row in rows])
        return [
            entry(row)
            if row["status"] in {"idle", "running"}
            else detailed_entry(row, labels.get(row["id"], {}), self._presign)
            for row in rows
        ]

    def _detailed(self, rows: list[sqlite3.Row]) -> list[dict[str, Any]]:
        ids = [row["id"] for row in rows]
        labels, inputs = self._jobs.labels(ids), self._jobs.inputs(ids)
        shown = [detailed_entry(row, labels.get(row["id"], {}), self._presign) for row in rows]
        return [{**each, "inputs": inputs[each["id"]]} if each["id"] in inputs else each for each in shown]

    def _presign(self, path: str) -> str:
        route = f"{_OBJECTS}/{'/'.join(Path(path).parts[-_PARTS_OF_OUTPUT:])}"
        query = self._signer.sign_path(route, int(time.time()) + OUTPUT_URL_S, "GET")
        return f"{self._jobs.url.removesuffix(BASE)}{quote(route)}?{query}"

    def _guarded(self, app: ASGIApp) -> ASGIApp:
        """Only for callers on this machine with a token, and not for web pages they look at."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.last_request = time.monotonic()
                headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
                if (refusal := self._refuses(scope["path"], headers)) is not None:
                    await _error(refusal.status, refusal.reason)(scope, receive, send)
                    return
            await app(scope, receive, send)

        return guarded

    def _refuses(self, path: str, headers: dict[bytes, str]) -> Refusal | None:
        host = headers.get(b"host", "").rpartition(":")[0] or headers.get(b"host", "")
        if host.strip("[]") not in _LOOPBACK_NAMES or b"origin" in headers:
            return Refusal(403, "only programs on this machine may use the local service")
        if path in _OPEN_PATHS or path.startswith(f"{_OBJECTS}/"):
            return None
        _, _, token = headers.get(b"authorization", "").partition(" ")
        if not self._signer.accepts(token):
            return Refusal(401, "Authentication failure")
        return None


def _answer(value: object, revision: int | None = None, *, status: int = 200) -> Response:
    """JSON; a listing or a submission also says which changes of jobs it knows of."""
    headers = {"Prominence-Features": FEATURES}
    if revision is not None:
        headers["Prominence-Revision"] = str(revision)
    body = json.dumps(value, separators=(",", ":")) + "\n"
    return Response(body, status, headers, media_type="application/json")


def _job_id(request: Request) -> int:
    return min(int(request.path_params["id"]), LARGEST)


def _refusing(violations: Sequence[Any]) -> list[Any]:
    return [violation for violation in violations if violation.kind == "invalid"]


async def _json_body(request: Request) -> Any:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST:
            raise Refusal(413, f"the request is larger than {MAX_REQUEST} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the request is not JSON: {error}") from error


def _error(status: int, reason: str) -> Response:
    return Response(json.dumps({"error": reason}) + "\n", status, media_type="application/json")


async def _disabled(_: Request) -> Response:
    return _error(401, "Functionality disabled")  # as the real service says it


async def _refused(_: Request, error: Refusal) -> Response:
    return _error(error.status, error.reason)


async def _invalid_status(_: Request, __: InvalidStatus) -> Response:
    return _error(200, "invalid status specified")


async def _http_error(_: Request, error: HTTPException) -> Response:
    page = f"<!doctype html>\n<title>{error.status_code} {error.detail}</title>\n<h1>{error.detail}</h1>\n"
    return Response(page, error.status_code, error.headers, media_type="text/html")


async def _unforeseen(_: Request, error: Exception) -> Response:
    return _error(500, f"unforeseen: {type(error).__name__}; the log has more")


async def _pieces(file: BinaryIO, left: int) -> AsyncIterator[bytes]:
    """So many bytes of a file, read beside the event loop."""
    with file:
        while left > 0 and (piece := await asyncio.to_thread(file.read, min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece


async def _storage_error(_: Request, error: sqlite3.Error) -> Response:
    return _error(503, f"the state directory cannot be written: {error}")
