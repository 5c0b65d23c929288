"""The public client's calls, made with this library's client."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from prominence.client.api import ProminenceClient
from prominence.client.auth import obtain_token
from prominence.description.rules import check_job, check_workflow, raise_invalid
from prominence.documents import with_runtimes
from prominence.exceptions import ContentMismatch, InvalidDescription, NotFound
from prominence.settings import LoginSettings
from prominence.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prominence.client.answers import StoredObject
    from prominence.client.job_calls import Stream

_STATUSES: Final = (None, "all", "completed", "idle", "running")
Kind = Literal["jobs", "workflows"]


class PublicClient:
    """What ``ProminenceClient(authenticated=...)`` makes: methods, arguments and results are the old ones.

    Other attributes are those of this library's client. Errors are this library's too;
    ``prominence.exceptions`` knows them by their old names. ``timeout`` has no effect: every request has a
    deadline of its own.
    """

    def __init__(self, authenticated: bool = False, timeout: float = 150) -> None:
        del timeout
        if authenticated:
            self._client = ProminenceClient()

    @cached_property
    def _client(self) -> ProminenceClient:
        """Made when it is first needed: the user may log in before."""
        return ProminenceClient()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._client, name)

    def authenticate_user(self) -> None:
        """Log in, and use the token for this client alone; it is not kept in a file."""
        token = obtain_token(LoginSettings.from_environment())
        self._client = ProminenceClient(token=token.access_token)

    def list_jobs(
        self,
        status: str | None = None,
        num: int = 1,
        constraint: str | None = None,
        name_constraint: str | None = None,
        workflow_id: int | None = None,
        detail: bool = False,
    ) -> list[dict[str, Any]]:
        """Active jobs, or those asked for; of a workflow all jobs, unless ``status`` says otherwise."""
        if workflow_id is not None:
            found = self._client.list_workflow_jobs(workflow_id, detail=detail).entries
            return found if status in {None, "all"} else [job for job in found if job["status"] == status]
        query = _listing(status, num, constraint, name_constraint)
        return self._client.list_jobs(**query, detail=detail).entries

    def list_workflows(
        self,
        status: str | None = None,
        num: int = 1,
        constraint: str | None = None,
        name_constraint: str | None = None,
    ) -> list[dict[str, Any]]:
        query = _listing(status, num, constraint, name_constraint)
        return self._client.list_workflows(**query).entries

    def create_job(self, job: Mapping[str, Any]) -> int:
        """Submit a job in the API's JSON, in which a task's runtime may be left out; its id."""
        complete = with_runtimes(job)
        raise_invalid(check_job(complete))
        return self._client.create_job(complete).id

    def create_workflow(self, workflow: Mapping[str, Any]) -> int:
        """Submit a workflow in the API's JSON, in which tasks' runtimes may be left out; its id."""
        complete = dict(workflow)
        if isinstance(complete.get("jobs"), list):
            complete["jobs"] = [with_runtimes(job) for job in complete["jobs"]]
        raise_invalid(check_workflow(complete))
        return self._client.create_workflow(complete).id

    def rerun(self, resource_id: int) -> int:
        """Run again what failed in a workflow; id of the new one."""
        return self._client.rerun_workflow(resource_id)

    def clone(self, resource_type: str, resource_id: int) -> int:
        """Submit a ``job`` or ``workflow`` again; id of the new one."""
        calls = {"job": self._client.clone_job, "workflow": self._client.clone_workflow}
        return int(_chosen(calls, "resource_type", resource_type)(resource_id))

    def remove(self, resource_type: str, resource_id: int) -> bool:
        """Take an ended ``job`` or ``workflow`` out of the queue; ServiceError where it is not there."""
        calls = {"job": self._client.remove_job, "workflow": self._client.remove_workflow}
        _chosen(calls, "resource_type", resource_type)(resource_id)
        return True

    def delete_job(self, job_id: int) -> bool:
        """End a job; True, or NotFound where there was nothing to end."""
        return self.delete_generic(job_id, "jobs")

    def delete_workflow(self, workflow_id: int) -> bool:
        """End a workflow; True, or NotFound where there was nothing to end."""
        return self.delete_generic(workflow_id, "workflows")

    def delete_generic(self, id: int, resource: Kind) -> bool:
        calls = {"jobs": self._client.delete_job, "workflows": self._client.delete_workflow}
        if not _chosen(calls, "resource", resource)(id):
            raise NotFound(f"there are no {resource} with the id {id}, or they have ended")
        return True

    def describe_job(self, job_id: int, input_only: bool = False) -> dict[str, Any]:
        """A job with all that is known of it, or what submits it again; raises NotFound."""
        return _described("job", job_id, self._client.describe_job(job_id).entries, input_only=input_only)

    def describe_workflow(self, workflow_id: int, input_only: bool = False) -> dict[str, Any]:
        """A workflow with all that is known of it, or what submits it again; raises NotFound."""
        found = self._client.describe_workflow(workflow_id).entries
        return _described("workflow", workflow_id, found, input_only=input_only)

    def stdout_job(self, job_id: int, node: int = 0, offset: int = 0) -> str:
        return self._output("stdout", job_id, node, offset)

    def stderr_job(self, job_id: int, node: int = 0, offset: int = 0) -> str:
        return self._output("stderr", job_id, node, offset)

    def stdout_workflow(
        self, job_id: int, job: str, node: int = 0, instance: int = -1, offset: int = 0
    ) -> str:
        """The standard output of a workflow's job; ``job_id`` is the workflow's."""
        return self._output("stdout", self._job_of(job_id, job, instance), node, offset)

    def stderr_workflow(self, job_id: int, node: int, job: str, instance: int = -1, offset: int = 0) -> str:
        """The standard error of a workflow's job; ``job_id`` is the workflow's."""
        return self._output("stderr", self._job_of(job_id, job, instance), node, offset)

    def stdout_generic(
        self,
        type: Kind,
        id: int,
        node: int,
        job: str | None = None,
        instance: int = -1,
        offset: int = 0,
    ) -> str:
        return self._output_of("stdout", type, id, node, job, instance, offset)

    def stderr_generic(
        self,
        type: Kind,
        id: int,
        node: int,
        job: str | None = None,
        instance: int = -1,
        offset: int = 0,
    ) -> str:
        return self._output_of("stderr", type, id, node, job, instance, offset)

    def execute_command(self, job_id: int, command: Sequence[str]) -> str:
        """What the words of a command print that are run beside a running job."""
        return _text(self._client.execute_command(job_id, command))

    def create_snapshot(self, job_id: int, path: str) -> bool:
        self._client.create_snapshot(job_id, path)
        return True

    def get_snapshot_url(self, job_id: int) -> dict[str, str]:
        return {"url": self._client.get_snapshot_url(job_id)}

    def upload(self, file: str, filename: str, checksum: str | None = None) -> bool:
        """Store the file ``filename`` as the object ``file``; raises ContentMismatch where it is another."""
        stored = self._client.upload_object(file, filename)
        if checksum not in {None, stored}:
            raise ContentMismatch(f"{filename}, which was stored all the same,", str(checksum), stored)
        return True

    def list_objects(self, path: str | None = None) -> list[StoredObject]:
        return self._client.list_objects(path or "")

    def delete_object(self, object: str) -> bool:
        self._client.delete_object(object)
        return True

    def get_usage(
        self, start_date: str, end_date: str, by_group: bool = False, show_all_users: bool = False
    ) -> dict[str, Any]:
        """Usage by user or group, under ``usage``; dates are YYYY-MM-DD."""
        found = self._client.usage(start_date, end_date, by_group=by_group, all_users=show_all_users)
        return {"usage": found}

    def kv_list(self, path: str | None = None) -> list[str]:
        return self._client.kv_list(path or "")

    def kv_delete(self, key: str, prefix: bool = False) -> bool:
        self._client.kv_delete(key, prefix=prefix)
        return True

    def _output_of(
        self, stream: Stream, kind: str, one: int, node: int, job: str | None, instance: int, offset: int
    ) -> str:
        is_workflow = kind == "workflows" and job is not None
        job_id = self._job_of(one, str(job), instance) if is_workflow else one
        return self._output(stream, job_id, node, offset)

    def _output(self, stream: Stream, job_id: int, node: int, offset: int) -> str:
        return _text(self._client.read_output(job_id, stream, node=node, offset=offset))

    def _job_of(self, workflow_id: int, job: str, instance: int) -> int:
        """Services answer by name with an error."""
        return self._client.find_workflow_job(workflow_id, job, None if instance < 0 else instance)


def _listing(status: str | None, num: int, constraint: str | None, name: str | None) -> dict[str, Any]:
    if status not in _STATUSES:
        raise InvalidDescription("status", status, "must be all, completed, idle or running")
    key, _, value = (constraint or "").partition("=")
    return {
        "everything": status == "all",
        "completed": status == "completed",
        "num": num or None,
        "label": (key, value) if constraint else None,
        "name": name or None,
        "status": status if status in {"idle", "running"} else None,
    }


def _chosen(calls: Mapping[str, Any], what: str, name: str) -> Any:
    if name not in calls:
        raise InvalidDescription(what, name, f"must be {' or '.join(calls)}")
    return calls[name]


def _described(what: str, one: int, found: Sequence[dict[str, Any]], *, input_only: bool) -> dict[str, Any]:
    if not found:
        raise NotFound(f"the service does not know {what} {one}, or it is somebody else's")
    if not input_only:
        return found[0]
    return Snapshot(found[0]).description


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
