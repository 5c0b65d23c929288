"""Rules for a job description: the table of its fields, and of those of its files and policies."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from prominence.description import rules_common as common
from prominence.description.checks import (
    ROOT,
    Checker,
    Field,
    Violation,
    all_of,
    anything,
    boolean,
    each,
    first_of,
    hidden,
    is_file_name,
    is_named,
    is_text,
    is_whole,
    list_of,
    mapping,
    require,
    whole,
)
from prominence.description.rules_resources import resources
from prominence.description.rules_task import enough_cpus, one_standard_task, task

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MINUTES: Final = 44640
"""Longest time in a queue or idle that a policy can ask for: 31 days."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/\s]*[=\s]*")
_OTHER_SCHEME: Final = re.compile(r"(?!https?:)[A-Za-z][A-Za-z0-9+.-]*://")
_NO_CONTENT: Final = "each input must contain base64 encoded content"


def _decodes(value: object, *, has_nothing_else: bool = False) -> bool:
    """Whether the service could decode the content; wrong padding is a 500 there."""
    try:
        base64.b64decode(value, validate=has_nothing_else)  # type: ignore[arg-type]  # whatever the request held
    except (binascii.Error, ValueError, TypeError):
        return False
    return True


_doubtful_base64 = first_of(
    require(_decodes, "base64 with correct padding", _NO_CONTENT),
    require(
        lambda value: bool(_BASE64.fullmatch(value)),
        "base64: other characters are silently dropped",
        _NO_CONTENT,
        kind="server-bug",
    ),
)


def _base64(path: str, value: object) -> Iterator[Violation]:
    """Looks once at what is base64 and nothing else, as large as that may be."""
    if not _decodes(value, has_nothing_else=True):
        yield from _doubtful_base64(path, value)


_content = first_of(require(is_text, "base64", _NO_CONTENT), _base64)

INPUT_FIELDS: Final = {
    "filename": Field(
        first_of(
            require(is_named, "a file name", "each input must contain a filename"),
            require(is_file_name, "a file name", "the filename of an input must end with the name of a file"),
        ),
        missing="each input must contain a filename",
    ),
    "content": Field(_content, missing=_NO_CONTENT),
    "executable": Field(anything),
}

_MOUNT_RULE: Final = "directory:/absolute/path"
_mountpoint = first_of(
    require(
        lambda value: isinstance(value, str) and ":" in value,
        _MOUNT_RULE,
        "invalid mountpoint for artifact",
    ),
    require(
        lambda value: "/" not in value.split(":")[0],
        _MOUNT_RULE,
        "invalid source in mountpoint for artifact",
    ),
    require(
        lambda value: value.split(":")[1].startswith("/"),
        _MOUNT_RULE,
        "the mountpoint for an artifact must be an absolute path",
    ),
    require(
        lambda value: value.count(":") == 1 and value.split(":")[1].strip("/") != "",
        _MOUNT_RULE,
        "the mountpoint for an artifact must be one path, and not that of all files",
    ),
)

_ARTIFACT_RULE: Final = "a URL with http:// or https://, or the name of an uploaded object"
_artifact_url = first_of(
    require(is_named, _ARTIFACT_RULE, "an artifact must contain a URL"),
    require(lambda value: not _OTHER_SCHEME.match(value), _ARTIFACT_RULE, "Artifact {} does not exist"),
)

ARTIFACT_FIELDS: Final = {
    "url": Field(
        _artifact_url,
        missing="an artifact must contain a URL",
    ),
    "mountpoint": Field(_mountpoint),
    "executable": Field(anything),
}

_QUEUE_NOT_WHOLE: Final = "the maximum time in queue must be an integer"
_time_in_queue = first_of(
    require(is_whole, f"minutes, 0 to {MAX_MINUTES}", _QUEUE_NOT_WHOLE),
    require(
        lambda value: value >= -1,
        f"minutes, -1 to {MAX_MINUTES}",
        _QUEUE_NOT_WHOLE,
    ),
    require(
        lambda value: value <= MAX_MINUTES,
        f"minutes, 0 to {MAX_MINUTES}",
        f"the maximum time in queue must be less than {MAX_MINUTES}",
    ),
    # Documented as "until it runs", and refused by several servers.
    require(
        lambda value: value != -1,
        "0 or more: some servers refuse -1",
        _QUEUE_NOT_WHOLE,
        kind="server-bug",
    ),
)

_FLAGS: Final = (
    "runSerialTasksOnAllNodes",
    "leaveInQueue",
    "ignoreTaskFailures",
    "reportJobSuccessOnTaskFailure",
)

POLICY_FIELDS: Final = {
    **{flag: Field(boolean(flag)) for flag in _FLAGS},
    "placement": Field(common.placement),
    # Documented as an integer; a negative one is answered with this text.
    "priority": Field(
        whole(
            "the priority must be an integer",
            least=0,
            too_small="the priority must be an integer",
        )
    ),
    "autoScalingType": Field(
        require(
            lambda value: value in (None, "none", "dedicated", "shared"),
            "null, none, dedicated or shared",
            "autoScalingType, if defined, must be none, dedicated or shared",
        )
    ),
    "maximumRetries": Field(common.retries(6)),
    "maximumTaskRetries": Field(common.retries(6, counted="task retries")),
    "maximumTimeInQueue": Field(_time_in_queue),
    "maximumIdleTimePerResource": Field(
        whole(
            "the maximum idle time per resource must be an integer",
            least=1,
            too_small="the maximum idle time per resource must be greater than 0",
            most=MAX_MINUTES,
            too_large=f"the maximum idle time per resource must be less than {MAX_MINUTES}",
        )
    ),
    "preemptible": Field(anything),
}

JOB_FIELDS: Final = {
    "name": Field(common.name("job")),
    "labels": Field(common.labels),
    "resources": Field(resources, missing="a job must contain resources"),
    "tasks": Field(
        first_of(
            list_of(anything, "an array of tasks must be provided"),
            all_of(each(task), one_standard_task),
        ),
        missing="a job must contain tasks",
    ),
    "artifacts": Field(
        list_of(
            mapping(ARTIFACT_FIELDS, "invalid item {} in artifact", "an artifact must be an object"),
            "an array of artifacts must be provided",
        )
    ),
    "outputFiles": Field(common.outputs("outputFiles")),
    "outputDirs": Field(common.outputs("outputDirs")),
    "inputs": Field(
        first_of(
            list_of(
                mapping(INPUT_FIELDS, "invalid item {} in input", "an input must be an object"),
                "an array of inputs must be provided",
            ),
            common.distinct_base_names("inputs", lambda entry: entry["filename"]),
        )
    ),
    # Passed on as it is: its contents are between the user and the storage.
    "storage": Field(
        hidden(require(lambda value: isinstance(value, dict), "an object", "storage must be an object"))
    ),
    "policies": Field(mapping(POLICY_FIELDS, 'invalid item "{}" in policies', "policies must be an object")),
    "notifications": Field(common.notifications("jobFinished")),
}

job: Final[Checker] = mapping(
    JOB_FIELDS,
    'invalid item "{}" in job description',
    "a job description must be a JSON object",
    enough_cpus,
)


def check_job(description: object, *, reserved_label_allowed: bool = False) -> list[Violation]:
    """Everything that is wrong with a job's JSON, in the order in which the service would look.

    The submission tag among the labels is a violation unless ``reserved_label_allowed``, as it is
    for JSON that is about to be sent, or has been received. Whether images and artifacts exist is
    not known here, nor is the size of the whole checked.
    """
    check = job if reserved_label_allowed else all_of(job, common.reserved_labels)
    return list(check(ROOT, description))
