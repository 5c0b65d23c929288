"""The rules of the service, as data that the client and the local service share.

They work on the JSON as it is sent. The tables are those of the service's documentation, completed
with what real servers answered; `Violation` tells what they refuse (*invalid*) from what some of
them choke on (*server-bug*).
"""

from __future__ import annotations

from prominence.description.checks import Violation, raise_invalid
from prominence.description.rules_common import (
    CALL_LABEL,
    SESSION_LABEL,
    SUBMISSION_LABEL,
    check_label,
    check_name,
    check_object_name,
    is_reserved,
)
from prominence.description.rules_job import check_job
from prominence.description.rules_size import MAX_REQUEST, check_size
from prominence.description.rules_workflow import check_workflow, dependency_cycle, unknown_parents

__all__ = [
    "CALL_LABEL",
    "MAX_REQUEST",
    "SESSION_LABEL",
    "SUBMISSION_LABEL",
    "Violation",
    "check_job",
    "check_label",
    "check_name",
    "check_object_name",
    "check_size",
    "check_workflow",
    "dependency_cycle",
    "is_reserved",
    "raise_invalid",
    "unknown_parents",
]
