"""URLs that anybody on this machine may use for a while, and the files behind them.

As with an object store the signature in a URL stands for the permission, and the method is part of it::

    GET  /objects/jobs/<id>/files/<name>       what the engine staged out; also .../dirs/<name>
    GET  /objects/snapshots/<job>.tgz
    GET  /objects/scratch/<job>/<name>         what a job uploaded as an output
    PUT  /objects/<key>                        an upload, its key in the path
    POST /objects                              an upload as a form, its key in the fields
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from prominence.local.api.answers import BASE
from prominence.local.errors import Refusal, not_stored
from prominence.local.tokens import OUTPUT_URL_S, UPLOAD_URL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path, PurePath

    from starlette.requests import Request

    from prominence.local.jobs import Jobs
    from prominence.local.listing import OutputKind
    from prominence.local.objects import Incoming, Objects, StoredObject
    from prominence.local.tokens import Signer
    from prominence.sharing import SharedFiles

OBJECTS: Final = "/objects"
_CHECKSUM_FIELD: Final = "x-amz-meta-prominence_sha256"
_FILE: Final = "file"
_MOST_FORM_BYTES: Final = 64 * 1024  # of the fields before the file
_MOST_FIELDS: Final = 32


class Places:
    """Where a client finds stored files: URLs that are good for seven days, and paths if it shares them."""

    def __init__(self, presign: Callable[[str, str, int], str], files: SharedFiles | None) -> None:
        self._presign = presign
        self._files = files

    def of_output(self, job: int, kind: OutputKind, path: PurePath) -> dict[str, str]:
        """The ``url`` of what the engine staged out, and its ``path``."""
        return self._place(f"jobs/{job}/{kind}/{path.name}", path)

    def of_object(self, stored: StoredObject) -> dict[str, str]:
        return self._place(stored.key, stored.path)

    def _place(self, key: str, path: PurePath) -> dict[str, str]:
        told = None if self._files is None else self._files.told(path)
        return {"url": self._presign(key, "GET", OUTPUT_URL_S)} | ({} if told is None else {"path": told})


class PresignedFiles:
    """Makes URLs and serves them."""

    def __init__(
        self, signer: Signer, jobs: Jobs, objects: Objects, snapshots: Path, files: SharedFiles | None
    ) -> None:
        self._signer = signer
        self._jobs = jobs
        self._objects = objects
        self._snapshots = snapshots
        self._files = files
        self._address = jobs.url.removesuffix(BASE)

    def routes(self) -> list[Route]:
        return [
            Route(OBJECTS, self.form, methods=["POST"]),
            Route(f"{OBJECTS}/jobs/{{job:int}}/{{kind:str}}/{{stored_as:str}}", self.output),
            Route(f"{OBJECTS}/snapshots/{{name:str}}", self.snapshot),
            Route(f"{OBJECTS}/{{key:path}}", self.download),
            Route(f"{OBJECTS}/{{key:path}}", self.upload, methods=["PUT"]),
        ]

    def places_for(self, request: Request) -> Places:
        """Where the client that asks finds stored files."""
        return Places(self._url, self._files if request.scope["shares_files"] else None)

    def snapshot_url(self, name: str) -> str:
        return self._url(f"snapshots/{name}", "GET", OUTPUT_URL_S)

    def upload_url(self, key: str, lifetime_s: int = UPLOAD_URL_S) -> str:
        """Where the content of an object can be PUT."""
        return self._url(key, "PUT", lifetime_s)

    def upload_form(self, key: str, checksum: str) -> dict[str, Any]:
        """Where to POST an object, and the fields to send before the file; valid as long as a URL."""
        expires = self._signer.expiry(UPLOAD_URL_S)
        fields = {
            "key": key,
            "expires": str(expires),
            "signature": self._signer.signature(OBJECTS, expires, "POST", f"{key}\n{checksum}"),
            _CHECKSUM_FIELD: checksum,
        }
        return {"url": f"{self._address}{OBJECTS}", "fields": fields}

    async def output(self, request: Request) -> Response:
        self._check(request, "GET")
        return _file(self._jobs.tables.stored_output(**request.path_params))

    async def snapshot(self, request: Request) -> Response:
        self._check(request, "GET")
        return _file(self._snapshots / request.path_params["name"])

    async def download(self, request: Request) -> Response:
        self._check(request, "GET")
        found = self._objects.find(request.path_params["key"])
        if found is None:
            raise Refusal(404, "there is no such object")
        return _file(found.path, found.digest)

    async def upload(self, request: Request) -> Response:
        self._check(request, "PUT")
        with failures_while_receiving(), self._objects.receive() as incoming:
            async for piece in request.stream():
                await incoming.write(piece)
            return await self._keep(request.path_params["key"], incoming, 200)

    async def form(self, request: Request) -> Response:
        _, options = parse_options_header(request.headers.get("content-type", ""))
        with failures_while_receiving(), self._objects.receive() as incoming:
            fields = await _read_form(request, options.get("boundary", ""), incoming, self._check_form)
            return await self._keep(fields["key"], incoming, 204, fields[_CHECKSUM_FIELD])

    async def _keep(self, key: str, incoming: Incoming, status: int, checksum: str | None = None) -> Response:
        kept = await self._objects.keep(key, incoming, checksum)
        return Response(status_code=status, headers={"ETag": f'"{kept.digest}"'})

    def _check(self, request: Request, method: str) -> None:
        if not self._signer.accepts_path(request.scope["path"], request.query_params, method):
            raise Refusal(403, "the URL is not valid, or not any more")

    def _check_form(self, fields: dict[str, str]) -> None:
        given, expires, key, checksum = (
            fields.get(name, "") for name in ("signature", "expires", "key", _CHECKSUM_FIELD)
        )
        if not self._signer.accepts_signature(given, OBJECTS, expires, "POST", f"{key}\n{checksum}"):
            raise Refusal(403, "the form is not valid, or not any more")

    def _url(self, key: str, method: str, lifetime_s: int) -> str:
        path = f"{OBJECTS}/{key}"
        query = self._signer.sign_path(path, self._signer.expiry(lifetime_s), method)
        return f"{self._address}{quote(path)}?{query}"


async def _read_form(
    request: Request, boundary: str, incoming: Incoming, check: Callable[[dict[str, str]], None]
) -> dict[str, str]:
    """The text fields of a form, passed to ``check`` before anything of the part ``file`` is taken in.

    That part is the last one; its content goes to ``incoming`` as it arrives.
    """
    fields: dict[str, str] = {}
    name, text, text_bytes = "", bytearray(), 0
    with PushMultipartParser(boundary, max_segment_count=_MOST_FIELDS, strict=True) as parser:
        async for chunk in request.stream():
            for event in parser.parse(chunk) if chunk else ():
                if isinstance(event, MultipartSegment):
                    if name == _FILE:
                        raise Refusal(400, "the form cannot be read: the file is not its last part")
                    name, text = event.name, bytearray()
                    if name == _FILE:
                        check(fields)
                elif event is None:
                    fields[name] = text.decode(errors="replace")
                elif name == _FILE:
                    await incoming.write(event)
                else:
                    text_bytes += len(event)
                    if text_bytes > _MOST_FORM_BYTES:
                        raise Refusal(413, f"the fields of a form have at most {_MOST_FORM_BYTES} bytes")
                    text += event
    if name != _FILE:
        raise Refusal(400, "the form cannot be read: it has no file")
    return fields


def _file(path: Path | None, digest: str | None = None) -> Response:
    """A file to be read whole or in ranges, with what tells whether it is still the same one."""
    if path is None or not path.is_file():
        raise Refusal(404, "there is no such object")
    headers = {} if digest is None else {"ETag": f'"{digest}"'}
    return FileResponse(path, headers=headers, media_type="binary/octet-stream")


@contextmanager
def failures_while_receiving() -> Iterator[None]:
    """What can go wrong while a content arrives, as refusals."""
    try:
        yield
    except ClientDisconnect as error:
        raise Refusal(400, "the connection ended before the content did") from error
    except MultipartError as error:
        raise Refusal(400, f"the form cannot be read: {error}") from error
    except OSError as error:
        raise not_stored("the object", error) from error
