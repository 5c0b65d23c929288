"""Routes of workflows."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from prominence.description.rules import check_workflow
from prominence.local.api.answers import answer, id_in_path, json_body, listing, refuse_invalid
from prominence.local.api.output import output_of
from prominence.local.errors import NO_SUCH_JOB, Refusal
from prominence.local.listing import Query
from prominence.local.workflow_listing import detailed_workflow_entry, workflow_entry

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from prominence.local.jobs import Jobs
    from prominence.local.objects import Objects
    from prominence.local.workflows import Workflows


class WorkflowRoutes:
    def __init__(self, workflows: Workflows, jobs: Jobs, objects: Objects) -> None:
        self._workflows = workflows
        self._objects = objects
        self._jobs = jobs

    def routes(self) -> list[Route]:
        return [
            Route("/workflows", self.create, methods=["POST"]),
            Route("/workflows", self.find),
            Route("/workflows", self.delete_several, methods=["DELETE"]),
            Route("/workflows/{id:int}", self.describe),
            Route("/workflows/{id:int}", self.delete, methods=["DELETE"]),
            Route("/workflows/{id:int}", self.rerun, methods=["PUT"]),
            Route("/workflows/{id:int}/remove", self.remove, methods=["PUT"]),
            Route("/workflows/{id:int}/clone", self.clone, methods=["PUT"]),
            Route("/workflows/{id:int}/{job:path}/{stream:str}", self.output),
        ]

    async def create(self, request: Request) -> Response:
        description = await json_body(request)
        check = partial(check_workflow, reserved_label_allowed=True)
        refuse_invalid(await asyncio.to_thread(check, description))  # there may be thousands of jobs in it
        for job in description["jobs"]:
            self._objects.refuse_missing(job)
        created = await self._workflows.create(description)
        return answer({"id": created.id}, created.revision, status=201)

    async def find(self, request: Request) -> Response:
        query = _query(request)
        if query.since is not None:
            rows, revision = await self._workflows.find(query)
            return answer(_entries(rows), revision)
        matches = await self._workflows.search(query)
        shown = self._detailed if query.detail else _entries
        return await listing(matches, (shown(page) async for page in self._workflows.pages(matches)))

    async def describe(self, request: Request) -> Response:
        rows, revision = await self._workflows.find(Query(ids=(id_in_path(request),)))
        return answer(self._detailed(rows), revision)

    async def delete(self, request: Request) -> Response:
        return await self._delete([id_in_path(request)])

    async def delete_several(self, request: Request) -> Response:
        ids = _query(request).ids
        if ids is None:
            raise Refusal(400, "a workflow id or list of workflow ids must be provided")
        return await self._delete(ids)

    async def rerun(self, request: Request) -> Response:
        created = await self._workflows.rerun(id_in_path(request))
        return answer({"id": created.id}, created.revision)

    async def clone(self, request: Request) -> Response:
        created = await self._workflows.clone(id_in_path(request))
        return answer({"id": created.id}, created.revision, status=201)

    async def remove(self, request: Request) -> Response:
        await self._workflows.remove(id_in_path(request))
        return answer({})

    async def output(self, request: Request) -> Response:
        job = self._workflows.tables.job_at(id_in_path(request), request.path_params["job"])
        if job is None:
            raise Refusal(400, NO_SUCH_JOB)
        return await output_of(self._jobs, job, request)

    async def _delete(self, ids: Sequence[int]) -> Response:
        if not await self._workflows.delete(ids):
            raise Refusal(400, "No such workflow(s)")
        return answer({})

    def _detailed(self, rows: Sequence[sqlite3.Row]) -> list[dict[str, Any]]:
        ids = [row["id"] for row in rows]
        descriptions, labels = self._workflows.tables.descriptions(ids), self._workflows.tables.labels(ids)
        return [
            detailed_workflow_entry(row, descriptions[row["id"]], labels.get(row["id"], {})) for row in rows
        ]


def _entries(rows: Sequence[sqlite3.Row]) -> list[dict[str, Any]]:
    return [workflow_entry(row) for row in rows]


def _query(request: Request) -> Query:
    """``workflow`` makes a difference for jobs alone."""
    return Query.parse({name: value for name, value in request.query_params.items() if name != "workflow"})
