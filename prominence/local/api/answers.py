"""What every group of routes uses to read a request and to answer it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from starlette.responses import Response, StreamingResponse

from prominence.description.rules import MAX_REQUEST
from prominence.local.errors import Refusal
from prominence.local.ledger import PAGE
from prominence.local.listing import LARGEST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request

    from prominence.description.rules import Violation
    from prominence.local.ledger import Matches

BASE: Final = "/prominence/v1"
TEXT_TYPE: Final = "text/html; charset=utf-8"
"""What the real service calls all text, and all output of jobs whatever it is."""
FEATURES: Final = "idempotent-submission, wait"


def answer(value: object, revision: int | None = None, *, status: int = 200) -> Response:
    """JSON; a listing or a submission also says which changes of jobs it knows of."""
    headers = {"Prominence-Features": FEATURES}
    if revision is not None:
        headers["Prominence-Revision"] = str(revision)
    body = json.dumps(value, separators=(",", ":")) + "\n"
    return Response(body, status, headers, media_type="application/json")


async def listing(matches: Matches, pages: AsyncIterator[list[dict[str, Any]]]) -> Response:
    """A list of any length: a long one is sent while it is read."""
    if len(matches.ids) <= PAGE:
        return answer([entry async for page in pages for entry in page], matches.revision)
    headers = {"Prominence-Features": FEATURES, "Prominence-Revision": str(matches.revision)}
    return StreamingResponse(_array(pages), headers=headers, media_type="application/json")


async def _array(pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[str]:
    before = "["
    async for page in pages:
        if page:
            yield before + json.dumps(page, separators=(",", ":"))[1:-1]
            before = ","
    yield "[]\n" if before == "[" else "]\n"


def refused(status: int, reason: str) -> Response:
    return Response(json.dumps({"error": reason}) + "\n", status, media_type="application/json")


async def disabled(_: Request) -> Response:
    """A part of the API that this service does not have, as the real service says it."""
    return refused(401, "Functionality disabled")


def id_in_path(request: Request) -> int:
    return min(int(request.path_params["id"]), LARGEST)


def refuse_invalid(violations: Sequence[Violation]) -> None:
    """Raise the first violation that every server refuses; what only some choke on works here."""
    for violation in violations:
        if violation.kind == "invalid":
            raise Refusal(400, violation.message)


async def body_of_at_most(size: int, request: Request, too_large: Refusal) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > size:
            raise too_large
    return bytes(body)


def _no_json(name: str) -> NoReturn:
    """Python reads and writes NaN and Infinity; others could not read an answer that has them."""
    raise ValueError(f"{name} is no number")


async def json_body(request: Request) -> Any:
    too_large = Refusal(413, f"the request is larger than {MAX_REQUEST} bytes")
    body = await body_of_at_most(MAX_REQUEST, request, too_large)
    try:
        return json.loads(body, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the request is not JSON: {error}") from error
