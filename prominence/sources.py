"""Where the watcher learns of jobs and of workflows: which calls tell their states, and how many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar
from urllib.parse import urlencode

from prominence.snapshot import JobSnapshot, Snapshot, WorkflowSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prominence.client.api import ProminenceClient
    from prominence.client.calls import Listing
    from prominence.client.trouble import Trouble

WAIT_FEATURE: Final = "wait"
_IDS_PER_REQUEST: Final = 100
_URL_CHARACTERS: Final = 1500  # real services answer longer ones with everybody's jobs, or not at all
_COMMA: Final = len("%2C")

S_co = TypeVar("S_co", bound=Snapshot, covariant=True)


class Source(Protocol[S_co]):
    """Where the states of things of one kind come from."""

    what: str

    @property
    def trouble(self) -> Trouble: ...

    def snapshot(self, entry: dict[str, Any]) -> S_co: ...

    def parts(self, ids: Sequence[int]) -> Iterator[list[int]]:
        """Ids in groups that fit one request each."""

    @property
    def has_feed(self) -> bool:
        """True when :meth:`changes` can be used."""

    def list(self, ids: Sequence[int]) -> Listing:
        """Many at once."""

    @property
    def has_detail(self) -> bool:
        """True when :meth:`detail` says more of those that ended than :meth:`list`."""

    def detail(self, ids: Sequence[int]) -> Listing: ...

    def alone(self, one: int) -> Listing: ...

    def changes(self, since: int, wait: float) -> Listing: ...


class _ServiceSource:
    """What jobs and workflows of a service have in common."""

    _path: ClassVar[str]

    def __init__(self, client: ProminenceClient) -> None:
        self._client = client

    @property
    def trouble(self) -> Trouble:
        return self._client.trouble

    def parts(self, ids: Sequence[int]) -> Iterator[list[int]]:
        return _parts(ids, self._client.url + self._path)

    @property
    def has_feed(self) -> bool:
        return WAIT_FEATURE in self._client.features


class JobSource(_ServiceSource):
    what = "job"
    has_detail = True
    _path = "/jobs"

    def snapshot(self, entry: dict[str, Any]) -> JobSnapshot:
        snapshot = JobSnapshot(entry)
        return snapshot if snapshot.has_ended else snapshot.without_description()

    def list(self, ids: Sequence[int]) -> Listing:
        return self._client.list_jobs(ids=ids)

    def detail(self, ids: Sequence[int]) -> Listing:
        return self._client.list_jobs(ids=ids, detail=True)

    def alone(self, one: int) -> Listing:
        return self._client.describe_job(one)

    def changes(self, since: int, wait: float) -> Listing:
        return self._client.list_changed_jobs(since, wait)


class WorkflowSource(_ServiceSource):
    what = "workflow"
    has_detail = False
    _path = "/workflows"

    def snapshot(self, entry: dict[str, Any]) -> WorkflowSnapshot:
        return WorkflowSnapshot(entry)

    def list(self, ids: Sequence[int]) -> Listing:
        return self._client.list_workflows(ids=ids)

    def detail(self, ids: Sequence[int]) -> Listing:
        return self.list(ids)

    def alone(self, one: int) -> Listing:
        return self._client.describe_workflow(one)

    def changes(self, since: int, wait: float) -> Listing:
        return self._client.list_changed_workflows(since, wait)


def _parts(ids: Sequence[int], url: str) -> Iterator[list[int]]:
    room = _URL_CHARACTERS - len(f"{url}?{urlencode({'id': '', 'detail': 'true'})}")
    part: list[int] = []
    length = 0
    for each in ids:
        size = len(str(each)) + _COMMA
        if part and (len(part) == _IDS_PER_REQUEST or length + size > room):
            yield part
            part, length = [], 0
        part.append(each)
        length += size
    if part:
        yield part
