"""One method per call of the REST API."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from prominence.clock import Clock
from prominence.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from prominence.client.answers import Answer
    from prominence.client.submission import Submitted
    from prominence.client.transport import Transport

Stream = Literal["stdout", "stderr"]


class Listing(NamedTuple):
    """Jobs in the API's JSON; ``revision`` comes from the embedded service alone."""

    jobs: list[dict[str, Any]]
    revision: int | None


class ProminenceClient:
    """The service, call by call; safe to use from several threads, and a context manager.

    Without arguments the settings come from the environment; without any, the service on this machine is
    used, and started at the first call. Every method raises ServiceError where the service says no,
    ServiceUnavailable where no usable answer comes within 60 seconds.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        from prominence.client.service import service_for
        from prominence.client.transport import Transport

        self.settings = settings or Settings.from_environment(url, token)
        self.clock = clock or Clock()
        self._transport: Transport = Transport(
            service_for(self.settings), self.settings.ssl_verify, self.clock, random
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections; the client may be used again."""
        self._transport.close()

    @property
    def url(self) -> str:
        """The service's base URL; starts the embedded service if that is the one."""
        return self._transport.service.url

    @property
    def is_on_loopback(self) -> bool:
        """True when the service listens on this machine, or at the near end of a tunnel."""
        from prominence.client.transport import is_loopback

        return self._transport.service.is_embedded or is_loopback(self.url)

    @property
    def features(self) -> frozenset[str]:
        """What the service said it has beyond the API; empty before its first answer."""
        return self._transport.features

    def create_job(self, job: dict[str, Any], *, tag: str | None = None, was_sent: bool = False) -> Submitted:
        """Submit a job in the API's JSON; its id.

        ``tag`` names the submission. With ``was_sent`` a job that has it is looked for before anything is
        sent: say so after SubmissionUncertain.
        Raises SubmissionUncertain when answers were lost and the job could not be found either.
        """
        from prominence.client.submission import submit

        return submit(self._transport, "/jobs", job, tag or secrets.token_hex(16), was_sent=was_sent)

    def list_jobs(
        self,
        *,
        ids: Iterable[int] | None = None,
        everything: bool = False,
        completed: bool = False,
        num: int | None = None,
        label: tuple[str, str] | None = None,
        name: str | None = None,
        status: Literal["idle", "running"] | None = None,
        detail: bool = False,
    ) -> Listing:
        """Active jobs, or those asked for.

        ``completed`` lists the last ``num`` jobs that ended (default 1, -1: all); ``everything`` active and
        ended ones; ``ids`` exactly these (at most about 100 at a time), in no particular order.
        """
        query: dict[str, str] = {}
        if ids is not None:
            query["id"] = ",".join(str(int(each)) for each in ids)
        if everything:
            query["all"] = "true"
        if completed:
            query["completed"] = "true"
        if num is not None:
            query["num"] = str(num)
        if label is not None:
            query["constraint"] = f"{label[0]}={label[1]}"
        if name is not None:
            query["name"] = name
        if status is not None:
            query["status"] = status
        if detail:
            query["detail"] = "true"
        return _listing(self._get("/jobs", query))

    def list_changed_jobs(self, since: int, wait: float) -> Listing:
        """Jobs that changed after a revision, waiting up to ``wait`` seconds for one.

        Only for a service with the feature ``wait``; jobs that ended come with their detail.
        """
        return _listing(self._get("/jobs", {"since": str(since), "wait": f"{wait:g}"}, longer=wait))

    def describe_job(self, job_id: int) -> Listing:
        """A job with all that is known of it; empty for an unknown id, or another user's."""
        return _listing(self._get(f"/jobs/{int(job_id)}"))

    def delete_job(self, job_id: int) -> bool:
        """End a job; False when there was nothing to end (unknown, or ended before)."""
        return self._delete(f"/jobs/{int(job_id)}", None)

    def delete_jobs(self, job_ids: Iterable[int]) -> bool:
        """End several jobs with one request; True when at least one of them was ended."""
        return self._delete("/jobs", {"id": ",".join(str(int(each)) for each in job_ids)})

    def read_output(self, job_id: int, stream: Stream, *, node: int = 0, offset: int = 0) -> bytes:
        """What a job has written to a stream so far, from a byte offset on."""
        query = {"node": str(node), "offset": str(offset)}
        return self._get(f"/jobs/{int(job_id)}/{stream}", query, expect_json=False).body

    def download(self, url: str) -> bytes:
        """The bytes behind a presigned URL from a job's description; no token is sent."""
        return self._transport.download(url)

    def resources(self) -> dict[str, Any]:
        """Capacity and what is free of it: cores and memory in GB, site by site."""
        found: dict[str, Any] = self._get("/resources").json()
        return found

    def _get(
        self, path: str, query: dict[str, str] | None = None, *, expect_json: bool = True, longer: float = 0.0
    ) -> Answer:
        from prominence.client.retry import Kind
        from prominence.client.transport import Request

        request = Request("GET", path, Kind.READ, query, expect_json=expect_json, longer=longer)
        return self._transport.send(request)

    def _delete(self, path: str, query: dict[str, str] | None) -> bool:
        from prominence.client.retry import Kind
        from prominence.client.transport import Request
        from prominence.exceptions import ServiceError

        try:
            self._transport.send(Request("DELETE", path, Kind.REMOVE, query))
        except ServiceError as error:
            if error.args[0].startswith("No such job"):
                return False
            raise
        return True


def _listing(answer: Answer) -> Listing:
    return Listing(answer.json(), answer.revision)
