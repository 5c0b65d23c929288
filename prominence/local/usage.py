"""What jobs have used, from the service's own history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prominence.local.store import Store

_SECONDS_OF_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Usage:
    """Hours of CPU time, and of cores that were occupied."""

    jobs: int
    cpu_hours: float
    wall_hours: float


def usage_between(store: Store, begin: int, end: int) -> Usage:
    """What jobs used that ended from ``begin`` until before ``end`` (Unix epochs) and ran a task."""
    row = store.read(
        """
        select count(distinct jobs.id) as jobs,
            coalesce(total(json_extract(task.value, '$.cpuTimeUsage')), 0) as cpu_s,
            coalesce(total(json_extract(task.value, '$.wallTimeUsage')
                * coalesce(json_extract(execution, '$.provisionedResources.cpus'), 1)), 0) as wall_s
        from jobs, json_each(jobs.execution, '$.tasks') as task
        where ended >= ? and ended < ? and status not in ('idle', 'running')
        """,
        (begin, end),
    )[0]
    return Usage(row["jobs"], row["cpu_s"] / _SECONDS_OF_HOUR, row["wall_s"] / _SECONDS_OF_HOUR)
