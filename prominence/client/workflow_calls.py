"""Calls about workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prominence.client.calls import Calls, Listing, ids_text, listing_query

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from prominence.client.calls import Wanted
    from prominence.client.submission import Submission, Submitted

NO_SUCH_WORKFLOW = "No such workflow"


class WorkflowCalls(Calls):
    def create_workflow(self, workflow: dict[str, Any], *, submission: Submission | None = None) -> Submitted:
        """Submit a workflow in the API's JSON; its id. See :meth:`create_job`."""
        return self._submit("/workflows", workflow, submission)

    def check_workflow_is_single(self, submission: Submission) -> None:
        """Raise DuplicateRun when more than one workflow of this submission has come to run by now."""
        self._check_single("/workflows", submission)

    def list_workflows(self, **wanted: Unpack[Wanted]) -> Listing:
        """Active workflows, or those asked for, as in :meth:`list_jobs`."""
        return Listing.of(self._get("/workflows", listing_query(wanted)))

    def list_changed_workflows(self, since: int, wait: float) -> Listing:
        """Workflows that changed after a revision, waiting up to ``wait`` seconds for one.

        Only for a service with the feature ``wait``.
        """
        query = {"since": str(since), "wait": f"{wait:g}"}
        return Listing.of(self._get("/workflows", query, longer=wait))

    def describe_workflow(self, workflow_id: int) -> Listing:
        """The workflow alone; empty for an unknown id, and for a moment after the workflow was made."""
        return Listing.of(self._get(f"/workflows/{int(workflow_id)}"))

    def delete_workflow(self, workflow_id: int) -> bool:
        """End a workflow and its jobs; False when there was nothing to end."""
        return self._end(f"/workflows/{int(workflow_id)}", None, NO_SUCH_WORKFLOW)

    def delete_workflows(self, workflow_ids: Iterable[int]) -> bool:
        """End several workflows with one request; True when at least one of them was ended."""
        return self._end("/workflows", {"id": ids_text(workflow_ids)}, NO_SUCH_WORKFLOW)

    def remove_workflow(self, workflow_id: int) -> None:
        """Take an ended workflow with the policy ``leaveInQueue`` out of the queue."""
        self._call("REMOVE", "PUT", f"/workflows/{int(workflow_id)}/remove")

    def clone_workflow(self, workflow_id: int) -> int:
        """Submit the same workflow again; the new id. Asked for once, as :meth:`clone_job`."""
        path = f"/workflows/{int(workflow_id)}/clone"
        return self._submit_unlabelled(path, f"a clone of workflow {workflow_id}")

    def rerun_workflow(self, workflow_id: int) -> int:
        """Run again what failed in an ended workflow; id of the new one.

        Asked for once, as :meth:`clone_job`.
        """
        return self._submit_unlabelled(f"/workflows/{int(workflow_id)}", f"a rerun of workflow {workflow_id}")
