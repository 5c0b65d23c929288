"""What a job writes, as the answer to a request for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from prominence.local.api.answers import TEXT_TYPE
from prominence.local.listing import whole

if TYPE_CHECKING:
    from starlette.requests import Request

    from prominence.local.jobs import Jobs

_MOST_NODES: Final = 1_000_000


async def output_of(jobs: Jobs, job: int, request: Request) -> Response:
    """The stream that the path names, from the ``offset`` and of the ``node`` that the query names."""
    stream = request.path_params["stream"]
    if stream not in {"stdout", "stderr"}:
        raise HTTPException(404)
    node, offset = (whole(name, request.query_params.get(name, "0")) for name in ("node", "offset"))
    part = await jobs.read_output(job, stream, min(node, _MOST_NODES), offset)
    if part is None:
        return Response(b"", media_type=TEXT_TYPE)
    headers = {"Content-Length": str(part.size)}
    return StreamingResponse(part.pieces, headers=headers, media_type=TEXT_TYPE)
