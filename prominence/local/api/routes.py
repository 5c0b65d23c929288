"""All routes below the base: which paths there are, and what a request for anything else is answered."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response
from starlette.routing import Mount, Route, Router

from prominence.local.api.answers import BASE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.exceptions import HTTPException
    from starlette.requests import Request


class RouteGroup(Protocol):
    def routes(self) -> list[Route]: ...


class Routes:
    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = list(routes)

    def mount(self) -> Mount:
        return Mount(BASE, Router(self._routes, redirect_slashes=False))

    def methods_of(self, path: str) -> set[str]:
        """The methods that a path has; none where there is no such path."""
        if not path.startswith(BASE):
            return set()
        below = path.removeprefix(BASE)
        matching = [route for route in self._routes if route.path_regex.match(below)]
        return {method for route in matching for method in route.methods or ()}

    async def no_route(self, request: Request, error: HTTPException) -> Response:
        """The page that the real service's web framework shows; OPTIONS is answered, too."""
        headers = {}
        if methods := self.methods_of(request.scope["path"]):
            headers["Allow"] = ", ".join(sorted({*methods, "OPTIONS"}))
        if methods and request.method == "OPTIONS":
            return Response(headers=headers, media_type="text/html")
        title = HTTPStatus(error.status_code).phrase
        page = f"<!doctype html>\n<title>{error.status_code} {title}</title>\n<h1>{title}</h1>\n"
        is_wrong_method = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
        return Response(page, error.status_code, headers if is_wrong_method else None, media_type="text/html")
