"""Routes of jobs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from prominence.description.rules import check_job
from prominence.local.api.answers import answer, id_in_path, json_body, listing, refuse_invalid
from prominence.local.api.data import output_key
from prominence.local.api.output import output_of
from prominence.local.errors import Refusal
from prominence.local.listing import ACTIVE, Query, detailed_entry, entry

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from prominence.local.api.presigned import Places, PresignedFiles
    from prominence.local.jobs import Jobs
    from prominence.local.objects import Objects


class JobRoutes:
    def __init__(self, jobs: Jobs, objects: Objects, presigned: PresignedFiles) -> None:
        self._jobs = jobs
        self._objects = objects
        self._presigned = presigned

    def routes(self) -> list[Route]:
        return [
            Route("/jobs", self.create, methods=["POST"]),
            Route("/jobs", self.find),
            Route("/jobs", self.delete_several, methods=["DELETE"]),
            Route("/jobs/{id:int}", self.describe),
            Route("/jobs/{id:int}", self.delete, methods=["DELETE"]),
            Route("/jobs/{id:int}/remove", self.remove, methods=["PUT"]),
            Route("/jobs/{id:int}/clone", self.clone, methods=["PUT"]),
            Route("/jobs/{id:int}/{stream:str}", self.output),
        ]

    async def create(self, request: Request) -> Response:
        description = await json_body(request)
        refuse_invalid(check_job(description, reserved_label_allowed=True))
        self._objects.refuse_missing(description)
        created = await self._jobs.create(description)
        return answer({"id": created.id}, created.revision, status=201)

    async def find(self, request: Request) -> Response:
        query = Query.parse(request.query_params)
        if query.since is not None:
            rows, revision = await self._jobs.find(query)
            return answer(self._feed(rows, self._presigned.places_for(request)), revision)
        matches = await self._jobs.search(query)
        detailed = partial(self._detailed, places=self._presigned.places_for(request))
        shown = detailed if query.detail else _entries
        return await listing(matches, (shown(page) async for page in self._jobs.pages(matches)))

    async def describe(self, request: Request) -> Response:
        rows, revision = await self._jobs.find(Query(ids=(id_in_path(request),)))
        return answer(self._detailed(rows, self._presigned.places_for(request)), revision)

    async def delete(self, request: Request) -> Response:
        return await self._delete([id_in_path(request)])

    async def delete_several(self, request: Request) -> Response:
        ids = Query.parse(request.query_params).ids
        if ids is None:
            raise Refusal(400, "a job id or list of job ids must be provided")
        return await self._delete(ids)

    async def remove(self, request: Request) -> Response:
        await self._jobs.remove(id_in_path(request))
        return answer({})

    async def clone(self, request: Request) -> Response:
        created = await self._jobs.clone(id_in_path(request))
        return answer({"id": created.id}, created.revision, status=201)

    async def output(self, request: Request) -> Response:
        return await output_of(self._jobs, id_in_path(request), request)

    async def _delete(self, ids: Sequence[int]) -> Response:
        if not await self._jobs.delete(ids):
            raise Refusal(400, "No such job(s)")
        return answer({})

    def _feed(self, rows: Sequence[sqlite3.Row], places: Places) -> list[dict[str, Any]]:
        """Changed jobs; those that ended with all that a waiter wants to know of them."""
        labels = self._jobs.labels([row["id"] for row in rows])
        return [
            entry(row) if row["status"] in ACTIVE else self._described(row, labels.get(row["id"], {}), places)
            for row in rows
        ]

    def _detailed(self, rows: Sequence[sqlite3.Row], places: Places) -> list[dict[str, Any]]:
        ids = [row["id"] for row in rows]
        labels, inputs = self._jobs.labels(ids), self._jobs.inputs(ids)
        shown = [self._described(row, labels.get(row["id"], {}), places) for row in rows]
        return [{**each, "inputs": inputs[each["id"]]} if each["id"] in inputs else each for each in shown]

    def _described(self, row: sqlite3.Row, labels: dict[str, str], places: Places) -> dict[str, Any]:
        """A job in detail; an output that was not staged out may have been uploaded by the job itself."""
        shown = detailed_entry(row, labels, places.of_output)
        for field, suffix in (("outputFiles", ""), ("outputDirs", ".tgz")):
            for output in shown.get(field, ()):
                key = output_key(row["id"], output["name"] + suffix)
                if not output["url"] and (uploaded := self._objects.find(key)) is not None:
                    output |= {**places.of_object(uploaded), "size": uploaded.size}
        return shown


def _entries(rows: Sequence[sqlite3.Row]) -> list[dict[str, Any]]:
    return [entry(row) for row in rows]
