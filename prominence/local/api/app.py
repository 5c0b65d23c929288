"""The groups of routes put together, and what every failure is answered with."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from prominence.local.api.answers import refused
from prominence.local.api.data import DataRoutes
from prominence.local.api.guard import Guard
from prominence.local.api.jobs import JobRoutes
from prominence.local.api.kv import KeyRoutes
from prominence.local.api.presigned import PresignedFiles
from prominence.local.api.rough import RoughRoutes
from prominence.local.api.routes import RouteGroup, Routes
from prominence.local.api.running import RunningJobRoutes
from prominence.local.api.service import ServiceRoutes
from prominence.local.api.workflows import WorkflowRoutes
from prominence.local.errors import Refusal
from prominence.local.listing import InvalidStatus
from prominence.local.pairs import Pairs
from prominence.local.running import RunningJobs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from prominence.local.directory import StateDirectory
    from prominence.local.engine import Engine
    from prominence.local.jobs import Jobs
    from prominence.local.objects import Objects
    from prominence.local.rough import Turbulence
    from prominence.local.store import Store
    from prominence.local.tokens import Signer
    from prominence.local.workflows import Workflows
    from prominence.sharing import SharedFiles


def application(
    *,
    state: StateDirectory,
    store: Store,
    signer: Signer,
    objects: Objects,
    jobs: Jobs,
    workflows: Workflows,
    engine: Engine,
    files: SharedFiles | None = None,
    turbulence: Turbulence | None = None,
) -> Guard:
    """The whole API, bound to one service; without ``files`` it tells nobody where they are."""
    presigned = PresignedFiles(signer, jobs, objects, state.snapshots, files)
    groups: list[RouteGroup] = [
        RunningJobRoutes(RunningJobs(store, engine, state.snapshots), presigned),
        JobRoutes(jobs, objects, presigned),
        WorkflowRoutes(workflows, jobs, objects),
        DataRoutes(objects, presigned, files),
        KeyRoutes(Pairs(store)),
        ServiceRoutes(engine, store, state.path),
        *([] if turbulence is None else [RoughRoutes(turbulence)]),
    ]
    routes = Routes(route for group in groups for route in group.routes())
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        Refusal: _refusal,
        InvalidStatus: _invalid_status,
        HTTPException: routes.no_route,
        sqlite3.Error: _storage_error,
        Exception: _unforeseen,
    }
    app = Starlette(routes=[routes.mount(), *presigned.routes()], exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, signer, lambda path: bool(routes.methods_of(path)), state.is_lost, files)


async def _refusal(_: Request, error: Refusal) -> Response:
    return refused(error.status, error.reason)


async def _invalid_status(_: Request, __: InvalidStatus) -> Response:
    return refused(200, "invalid status specified")


async def _storage_error(_: Request, error: sqlite3.Error) -> Response:
    return refused(503, f"the state directory cannot be written: {error}")


async def _unforeseen(_: Request, error: Exception) -> Response:
    answer = refused(500, f"unforeseen: {type(error).__name__}; the log has more")
    answer.headers["Connection"] = "close"  # the web server does so, and no request shall run into it
    return answer
