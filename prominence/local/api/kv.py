"""Routes of the key-value store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

from prominence.local.api.answers import TEXT_TYPE, answer, body_of_at_most
from prominence.local.errors import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from prominence.local.pairs import Pair, Pairs

LARGEST_VALUE: Final = 15_967
_LONGEST_KEY: Final = 1024  # bytes


class KeyRoutes:
    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs

    def routes(self) -> list[Route]:
        return [
            Route("/kv", self.get),
            Route("/kv/{key:path}", self.get),
            Route("/kv/{key:path}", self.set, methods=["POST"]),
            Route("/kv/{key:path}", self.delete, methods=["DELETE"]),
        ]

    async def get(self, request: Request) -> Response:
        key = request.path_params.get("key", "")
        if "list" in request.query_params:
            found = self._pairs.below(key)
            if "values" in request.query_params:
                return answer([{f"/{pair.key}": _text(pair)} for pair in found])
            return answer([f"/{pair.key}" for pair in found])
        value = self._pairs.get(_checked(key))
        if value is None:
            raise Refusal(404, "No such key")
        return Response(value, media_type=TEXT_TYPE)

    async def set(self, request: Request) -> Response:
        key = _checked(request.path_params["key"])
        value = await body_of_at_most(LARGEST_VALUE, request, Refusal(400, "Content of value too large"))
        if not value:
            raise Refusal(400, "No value provided")
        previous = request.query_params.get("prev")
        if previous is None:
            await self._pairs.set(key, value)
        elif not await self._pairs.swap(key, value, previous.encode()):
            raise Refusal(400, "Atomic replacement not successful")
        return answer({}, status=201)

    async def delete(self, request: Request) -> Response:
        key = _checked(request.path_params["key"])
        if "prefix" in request.query_params:
            await self._pairs.delete_below(key)
        else:
            await self._pairs.delete(key)
        return answer({})


def _checked(key: str) -> str:
    if not key:
        raise Refusal(400, "Key not specified")
    if len(key.encode()) > _LONGEST_KEY:
        raise Refusal(400, f"a key has at most {_LONGEST_KEY} bytes")
    if "\0" in key:
        raise Refusal(400, "a key has no NUL character")
    return key


def _text(pair: Pair) -> str:
    try:
        return pair.value.decode()
    except UnicodeDecodeError as error:
        reason = f"Unable to access key-value store: the value of /{pair.key} is not text"
        raise Refusal(400, reason) from error
