"""Calls about jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from prominence.client.calls import Calls, Listing, ids_text, listing_query
from prominence.exceptions import InvalidDescription, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Unpack

    from prominence.client.calls import Wanted
    from prominence.client.submission import Submission, Submitted

Stream = Literal["stdout", "stderr"]
NO_SUCH_JOB = "No such job"
_NAMES_SHOWN: Final = 20


class JobCalls(Calls):
    def create_job(self, job: dict[str, Any], *, submission: Submission | None = None) -> Submitted:
        """Submit a job in the API's JSON; its id.

        With the ``submission`` of a call that failed, what was sent then is looked for before anything is
        sent again. Raises SubmissionUncertain when answers were lost and the job could not be found either,
        DuplicateRun when it arrived more than once.
        """
        return self._submit("/jobs", job, submission)

    def check_job_is_single(self, submission: Submission) -> None:
        """Raise DuplicateRun when more than one job of this submission has come to run by now."""
        self._check_single("/jobs", submission)

    def list_jobs(self, **wanted: Unpack[Wanted]) -> Listing:
        """Active jobs, or those asked for.

        ``completed`` lists the last ``num`` jobs that ended (default 1, -1: all); ``everything`` active and
        ended ones; ``ids`` exactly these (at most about 100 at a time), in no particular order. ``label`` (a
        name and a value), ``name`` and ``status`` (``idle`` or ``running``) narrow it; ``detail`` adds all
        that is known of each.
        """
        return Listing.of(self._get("/jobs", listing_query(wanted)))

    def list_workflow_jobs(self, workflow_id: int, *, detail: bool = False) -> Listing:
        """All jobs of a workflow, active and ended."""
        query = {"id": str(int(workflow_id)), "workflow": "true", "all": "true"}
        return Listing.of(self._get("/jobs", {**query, "detail": "true"} if detail else query))

    def find_workflow_job(self, workflow_id: int, job: str, instance: int | None = None) -> int:
        """Id of a workflow's job, or of its latest try; ``instance`` is its number where a factory made it.

        Raises NotFound where the workflow has no such job.
        """
        end = f"/{job}" if instance is None else f"/{job}/{instance}"
        found = self.list_workflow_jobs(workflow_id).entries
        ids = [int(each["id"]) for each in found if str(each.get("name")).endswith(end)]
        if not ids:
            known = ", ".join(sorted({str(each.get("name")) for each in found})[:_NAMES_SHOWN]) or "none"
            raise NotFound(f"workflow {workflow_id} has no job {end[1:]}; it has {known}")
        return max(ids)

    def list_changed_jobs(self, since: int, wait: float) -> Listing:
        """Jobs that changed after a revision, waiting up to ``wait`` seconds for one.

        Only for a service with the feature ``wait``; jobs that ended come with their detail.
        """
        return Listing.of(self._get("/jobs", {"since": str(since), "wait": f"{wait:g}"}, longer=wait))

    def describe_job(self, job_id: int) -> Listing:
        """A job with all that is known of it; empty for an unknown id, or another user's."""
        return Listing.of(self._get(f"/jobs/{int(job_id)}"))

    def delete_job(self, job_id: int) -> bool:
        """End a job; False when there was nothing to end (unknown, or ended before)."""
        return self._end(f"/jobs/{int(job_id)}", None, NO_SUCH_JOB)

    def delete_jobs(self, job_ids: Iterable[int]) -> bool:
        """End several jobs with one request; True when at least one of them was ended."""
        return self._end("/jobs", {"id": ids_text(job_ids)}, NO_SUCH_JOB)

    def remove_job(self, job_id: int) -> None:
        """Take an ended job with the policy ``leaveInQueue`` out of the queue.

        Raises ServiceError when it is not in the queue.
        """
        self._call("REMOVE", "PUT", f"/jobs/{int(job_id)}/remove")

    def clone_job(self, job_id: int) -> int:
        """Submit the same job again; the new id.

        It is asked for once, for nothing marks a clone: SubmissionUncertain says that it may have been made.
        """
        return self._submit_unlabelled(f"/jobs/{int(job_id)}/clone", f"a clone of job {job_id}")

    def read_output(self, job_id: int, stream: Stream, *, node: int = 0, offset: int = 0) -> bytes:
        """What a job has written to a stream so far, from a byte offset on."""
        for name, number in (("node", node), ("offset", offset)):
            if number < 0:
                raise InvalidDescription(name, number, "0 or more")
        query = {"node": str(node), "offset": str(offset)}
        return self._get(f"/jobs/{int(job_id)}/{stream}", query, expect_json=False).body

    def execute_command(self, job_id: int, command: Sequence[str]) -> bytes:
        """Run a command beside a running job, outside of its container; what it printed.

        ServiceError when it ends with another exit code than 0, or the job does not run (yet).
        """
        path, query = f"/jobs/{int(job_id)}/exec", {"command": command_text(command)}
        return self._call("ONCE", "POST", path, query, expect_json=False).body

    def create_snapshot(self, job_id: int, path: str) -> None:
        """Have a file or directory of a running job stored as an archive; ``path`` is below its home."""
        self._call("REMOVE", "PUT", f"/jobs/{int(job_id)}/snapshot", {"path": path})

    def get_snapshot_url(self, job_id: int) -> str:
        """Presigned URL of the latest snapshot (``.tgz``), whether or not there is one yet."""
        return self._get(f"/jobs/{int(job_id)}/snapshot").member("url", str)


def command_text(words: Sequence[str]) -> str:
    """A command as the service takes it; raises InvalidDescription where that cannot be."""
    if not words:
        raise InvalidDescription("command", words, "at least one word")
    for number, word in enumerate(words):
        if "," in word:
            rule = "no comma: the service takes the words of a command separated by commas"
            raise InvalidDescription(f"command[{number}]", word, rule)
    return ",".join(words)
