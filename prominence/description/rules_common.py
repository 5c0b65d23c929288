"""Rules that jobs and workflows share: names, labels, notifications, placement, retries.

They are the service's, from its documentation and from its answers to requests that break them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from prominence.description.checks import (
    Checker,
    Field,
    Violation,
    anything,
    each,
    first_of,
    is_file_name,
    is_path,
    is_text,
    join,
    list_of,
    mapping,
    raise_invalid,
    require,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUBMISSION_LABEL: Final = "prominencesubmission"
"""Name of the label by which a submission is found again."""

SESSION_LABEL: Final = "prominencesession"
"""Name of the label by which all jobs of an executor's session are found."""

CALL_LABEL: Final = "prominencecall"
"""Name of the label that tells which of its session's calls a job is for."""

_RESERVED_LABELS: Final = frozenset({SUBMISSION_LABEL, SESSION_LABEL, CALL_LABEL})

MAX_LENGTH: Final = 512
"""Characters in a name, a label's name or a label's value."""

_NAME: Final = re.compile(r"[a-zA-Z0-9\-_ ./]*")
_LABEL_NAME: Final = re.compile(r"[a-zA-Z0-9]+")
_LABEL_VALUE: Final = re.compile(r"[\w\-./]+")


def is_reserved(label: object) -> bool:
    """Whether a label is this library's own, in upper or lower case: users cannot set those."""
    return isinstance(label, str) and label.lower() in _RESERVED_LABELS


def _fits(value: str) -> bool:
    return len(value) <= MAX_LENGTH


def name(what: str) -> Checker:
    """The name of a job or a workflow; an empty one counts as none."""
    rule = f"at most {MAX_LENGTH} letters, digits and -, _, blank, ., /"
    return first_of(
        require(is_text, rule, f"invalid {what} name"),
        require(_fits, rule, f"{what} name must be less than {MAX_LENGTH} characters in length"),
        require(lambda value: bool(_NAME.fullmatch(value)), rule, f"invalid {what} name"),
    )


_LABEL_NAME_RULE: Final = f"label names are at most {MAX_LENGTH} letters and digits"
_LABEL_VALUE_RULE: Final = f"label values are 1 to {MAX_LENGTH} letters, digits and -, _, ., /"
_label_name = first_of(
    require(is_text, _LABEL_NAME_RULE, 'label name "{}" is invalid'),
    require(
        _fits,
        _LABEL_NAME_RULE,
        f"label names must be less than {MAX_LENGTH} characters in length",
    ),
    require(
        lambda value: bool(_LABEL_NAME.fullmatch(value)),
        _LABEL_NAME_RULE,
        'label name "{}" is invalid',
    ),
)
_label_value = first_of(
    require(is_text, _LABEL_VALUE_RULE, 'label value "{}" is invalid'),
    require(
        _fits,
        _LABEL_VALUE_RULE,
        f"label values must be less than {MAX_LENGTH} characters in length",
    ),
    require(
        lambda value: bool(_LABEL_VALUE.fullmatch(value)),
        _LABEL_VALUE_RULE,
        'label value "{}" is invalid',
    ),
)


def _each_label(path: str, value: dict[Any, Any]) -> Iterator[Violation]:
    for label, content in value.items():
        where = join(path, str(label))
        yield from _label_name(where, label)
        yield from _label_value(where, content)


labels: Final[Checker] = first_of(
    require(
        lambda value: isinstance(value, dict),
        "an object of label names and values",
        "labels must be defined as a dict",
    ),
    _each_label,
)


def check_label(label: object, value: object) -> None:
    """Raises InvalidDescription unless both could stand in a description.

    For queries too: some servers paste what they get there into an expression.
    """
    raise_invalid([*_label_name("label name", label), *_label_value("label value", value)])


def check_name(text: object) -> None:
    """Raises InvalidDescription unless this could be the name of a job or workflow."""
    raise_invalid(list(name("job")("name", text)))


_OBJECT_BYTES: Final = 900  # stores end a key at 1,024, and the service puts a prefix before the name
_OBJECT_RULE: Final = (
    f"a name, or group/name, of at most {_OBJECT_BYTES} bytes: no part between slashes is empty, . or .., "
    "and it does not begin with http, for then it would be taken for a URL"
)


def _is_object_name(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable() or value.startswith("http"):
        return False
    return not {"", ".", ".."} & set(value.split("/")) and len(value.encode()) <= _OBJECT_BYTES


def check_object_name(text: object) -> None:
    """Raises InvalidDescription unless an uploaded object could have this name."""
    raise_invalid(list(require(_is_object_name, _OBJECT_RULE, "invalid object name")("name", text)))


def reserved_labels(path: str, value: object) -> Iterator[Violation]:
    """The rule for descriptions written by users: some labels are not theirs to set."""
    found = value.get("labels") if isinstance(value, dict) else None
    for label in found if isinstance(found, dict) else ():
        if is_reserved(label):
            yield Violation(
                join(join(path, "labels"), label),
                found[label] if isinstance(found, dict) else None,
                "reserved for this library",
                f'label name "{label}" is reserved for this library',
                "invalid",
            )


def notifications(event: str) -> Checker:
    """Notifications of the one event that the service knows for a job or a workflow."""
    table = {
        "event": Field(
            require(lambda v: v == event, event, 'invalid notification event "{}"'),
            missing="a notification must contain an event",
        ),
        "type": Field(
            require(lambda v: v == "email", "email", 'invalid notification type "{}"'),
            missing="a notification must contain a type",
        ),
    }
    one = mapping(table, 'invalid item "{}" in notifications', "a notification must be an object")
    return list_of(one, "notifications must be in the form of a list")


def _places(what: str) -> Checker:
    sites, regions = (
        Field(
            list_of(
                require(is_text, "a string", f"{kind} in {what} must be a list"),
                f"{kind} in {what} must be a list",
            )
        )
        for kind in ("sites", "regions")
    )
    table = {"sites": sites, "regions": regions}
    return mapping(table, f'invalid item "{{}}" in {what}', f"{what} must be an object")


placement: Final[Checker] = mapping(
    {
        "requirements": Field(_places("requirements")),
        "preferences": Field(_places("preferences")),
    },
    'invalid item "{}" in placement policy',
    "placement must be an object",
)


def retries(most: int, what: str = "retries", counted: str = "") -> Checker:
    """A number of retries, 1 to ``most``; no retries is said by leaving the policy out."""
    return whole(
        f"the number of {counted or what} must be an integer",
        least=1,
        too_small=f"the number of {what} must be greater than 0",
        most=most,
        too_large=f"the number of {what} must be less than {most}",
    )


def outputs(what: str) -> Checker:
    """A list of paths, which are stored under their base names."""
    return first_of(
        list_of(anything, f"an array of {what} must be provided"),
        each(
            first_of(
                require(is_text, "a list of strings", f"{what} must be a list of strings"),
                require(is_path, "paths that a file system can have", f"{what} must be paths"),
                # Accepted by the service, which then fails to store them.
                require(
                    is_file_name,
                    "a path that ends with a name",
                    "Stageout failed due to no such file or directory",
                    kind="server-bug",
                ),
            )
        ),
        distinct_base_names(what, lambda entry: entry),
    )


def distinct_base_names(what: str, name_of: Callable[[Any], Any]) -> Checker:
    """Of two entries with one base name, the second takes the place of the first."""

    def check(path: str, value: list[Any]) -> Iterator[Violation]:
        seen: set[str] = set()
        for index, entry in enumerate(value):
            found = name_of(entry)
            base = found.rstrip("/").rpartition("/")[2] if isinstance(found, str) else ""
            if base and base in seen:
                message = f'{what} must have different base names: "{base}" is used more than once'
                yield Violation(f"{path}[{index}]", found, "another base name", message, "server-bug")
            seen.add(base)

    return check
