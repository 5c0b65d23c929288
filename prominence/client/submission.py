"""Submitting once, over an API that has no idempotency keys.

Every submission carries a fresh tag in a reserved label. When an answer is lost, the service is asked for
jobs with that tag, again and again until the settle window has passed, and only then is the job sent
again, with the same tag. The embedded service takes the tag as an idempotency key, so there the job is
simply sent again.
"""

from __future__ import annotations

import itertools
import json
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prominence.client.retry import Kind, RequestFailed
from prominence.client.transport import Request
from prominence.description.rules import MAX_REQUEST, SUBMISSION_LABEL
from prominence.exceptions import InvalidDescription, ProminenceError, SubmissionUncertain

if TYPE_CHECKING:
    from prominence.client.answers import Answer
    from prominence.client.transport import Transport

log = logging.getLogger(__name__)

IDEMPOTENT: Final = "idempotent-submission"
SETTLE_REMOTE_S: Final = 120.0
SETTLE_LOCAL_S: Final = 5.0
_LOOK_AGAIN_S: Final = 2.0
_SEND_AGAIN_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 15.0
_DEADLINE_EXTRA_S: Final = 120.0


class Submitted(NamedTuple):
    """An accepted job; ``revision`` is the embedded service's, for following what comes after."""

    id: int
    revision: int | None


def submit(
    transport: Transport, path: str, description: dict[str, Any], tag: str, *, was_sent: bool = False
) -> Submitted:
    """Send a description to ``path`` (``/jobs``) and return its id, also when answers are lost.

    Raises InvalidDescription before anything is sent, ServiceError where it is refused, ServiceUnavailable
    where it certainly did not arrive, and SubmissionUncertain where that stays unknown.
    """
    settle_s = SETTLE_LOCAL_S if transport.service.is_embedded else SETTLE_REMOTE_S
    deadline = transport.clock.monotonic() + settle_s + _DEADLINE_EXTRA_S
    labelled = {**description, "labels": {**description.get("labels", {}), SUBMISSION_LABEL: tag}}
    request = Request("POST", path, Kind.SUBMIT, body=_body(labelled))
    if was_sent and (found := _look_up(transport, path, tag, settle_s)) is not None:
        return found
    doubt: ProminenceError | None = None
    for attempt in itertools.count():
        try:
            return _accepted(transport.attempt(request))
        except RequestFailed as failed:
            if not failed.is_ambiguous and doubt is None:
                raise failed.error from None  # it was refused, or never sent
            if not failed.is_ambiguous:
                raise _uncertain(tag, f"{doubt}; then {failed.error}") from failed.error
            doubt = failed.error
        log.warning("submission %s is in doubt (%s), looking for it", tag, doubt)
        if transport.clock.monotonic() >= deadline:
            raise _uncertain(tag, str(doubt)) from doubt
        if IDEMPOTENT in transport.features:
            transport.clock.sleep(min(_SEND_AGAIN_S * 2**attempt, _LONGEST_PAUSE_S))
            continue
        if (found := _look_up(transport, path, tag, settle_s)) is not None:
            return found
        doubt = None  # the settle window has passed: it did not arrive
    raise AssertionError("counting has no end")


def _body(description: dict[str, Any]) -> bytes:
    body = json.dumps(description).encode()
    if len(body) > MAX_REQUEST:
        rule = (
            f"at most {MAX_REQUEST} bytes as JSON, input files and pickled arguments included: "
            "let the job read or make large data itself"
        )
        raise InvalidDescription("description", f"{len(body)} bytes", rule)
    return body


def _accepted(answer: Answer) -> Submitted:
    found = answer.json()
    if not isinstance(found, dict) or not isinstance(found.get("id"), int):
        raise ProminenceError(f"the service accepted a submission without naming its id: {found!r}")
    return Submitted(found["id"], answer.revision or None)  # 0: it was there before


def _look_up(transport: Transport, path: str, tag: str, settle_s: float) -> Submitted | None:
    """The job with this tag, once it shows; None when the settle window passed without one."""
    query = {"all": "true", "constraint": f"{SUBMISSION_LABEL}={tag}"}
    request = Request("GET", path, Kind.READ, query)
    end = transport.clock.monotonic() + settle_s
    while True:
        try:
            answer = transport.send(request)
        except ProminenceError as error:
            raise _uncertain(tag, f"it cannot be looked up: {error}") from error
        found = answer.json()
        if len(found) > 1:
            ids = ", ".join(str(entry["id"]) for entry in found)
            raise _uncertain(tag, f"the service has it more than once: {ids}")
        if found:
            return Submitted(found[0]["id"], None)  # it may have changed before this revision
        if transport.clock.monotonic() >= end:
            return None
        transport.clock.sleep(_LOOK_AGAIN_S)


def _uncertain(tag: str, why: str) -> SubmissionUncertain:
    return SubmissionUncertain(
        f"whether the service has this job is not known ({why}); a job with the label "
        f"{SUBMISSION_LABEL}={tag} would be it",
        tag,
    )
