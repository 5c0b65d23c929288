"""What all groups of API calls share: how a request is made of a method, a path and a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prominence.client.answers import Answer
    from prominence.client.submission import Submission, Submitted
    from prominence.client.transport import Transport


class Calls:
    """A group of calls over one transport."""

    _transport: Transport
    new_tag: Callable[[], str]

    def _get(self, path: str, query: Mapping[str, str] | None = None, **options: Any) -> Answer:
        return self._call("READ", "GET", path, query, **options)

    def _call(
        self, kind: str, method: str, path: str, query: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        """Send a request; ``kind`` (a name of :class:`retry.Kind`) tells whether it may be sent again."""
        from prominence.client.retry import Kind
        from prominence.client.transport import Request

        return self._transport.send(Request(method, path, Kind[kind], query, **options))

    def _submit(self, path: str, description: dict[str, Any], submission: Submission | None) -> Submitted:
        from prominence.client.submission import Submission
        from prominence.client.submitting import submit

        submission = submission or Submission()
        submission.tag = submission.tag or self.new_tag()
        return submit(self._transport, path, description, submission)

    def _check_single(self, path: str, submission: Submission) -> None:
        from prominence.client.submitting import check_single

        check_single(self._transport, path, submission)

    def _submit_unlabelled(self, path: str, what: str) -> int:
        from prominence.client.submitting import submit_unlabelled

        return submit_unlabelled(self._transport, path, what)

    def _end(self, path: str, query: Mapping[str, str] | None, no_such: str) -> bool:
        """Delete jobs or workflows; False where the service says that there was nothing to delete."""
        from prominence.exceptions import ServiceError

        try:
            self._call("REMOVE", "DELETE", path, query)
        except ServiceError as error:
            if error.args[0].startswith(no_such):
                return False
            raise
        return True


def ids_text(ids: Iterable[int]) -> str:
    return ",".join(str(int(each)) for each in ids)


class Listing(NamedTuple):
    """Jobs or workflows in the API's JSON; ``revision`` comes from the embedded service alone."""

    entries: list[dict[str, Any]]
    revision: int | None

    @classmethod
    def of(cls, answer: Answer) -> Self:
        return cls(answer.entries(), answer.revision)


class Wanted(TypedDict, total=False):
    """What a listing of jobs or workflows is to show, as :meth:`JobCalls.list_jobs` says."""

    ids: Iterable[int] | None
    everything: bool
    completed: bool
    num: int | None
    label: tuple[str, str] | None
    name: str | None
    status: Literal["idle", "running"] | None
    detail: bool


_FLAGS: Final = {"all": "everything", "completed": "completed", "detail": "detail"}


def listing_query(wanted: Wanted) -> dict[str, str]:
    """The query of a listing; labels and names are checked, for servers paste them into theirs.

    Raises TypeError for what no listing is asked for.
    """
    if unknown := wanted.keys() - Wanted.__annotations__.keys():
        raise TypeError(f"a listing has no {', '.join(sorted(unknown))}")
    query: dict[str, str] = {}
    if (ids := wanted.get("ids")) is not None:
        query["id"] = ids_text(ids)
    if (num := wanted.get("num")) is not None:
        query["num"] = str(int(num))
    if (label := wanted.get("label")) is not None:
        from prominence.description.rules import check_label

        check_label(*label)
        query["constraint"] = "=".join(label)
    if (name := wanted.get("name")) is not None:
        from prominence.description.rules import check_name

        check_name(name)
        query["name"] = name
    if (status := wanted.get("status")) is not None:
        query["status"] = status
    return query | {flag: "true" for flag, name in _FLAGS.items() if wanted.get(name)}
