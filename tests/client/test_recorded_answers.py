"""What the recorded answers of a real service mean to the client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.clock import VirtualClock

from prominence.client.answers import Answer, check
from prominence.client.retry import Happened, RequestFailed
from prominence.exceptions import (
    AuthenticationError,
    FeatureDisabled,
    NotFound,
    PermissionDenied,
    ServiceError,
    ServiceUnavailable,
    WrongService,
)

if TYPE_CHECKING:
    from prominence.exceptions import ProminenceError

URL = "http://prominence.test/prominence/v1"
ERRORS = json.loads((Path(__file__).parent / "recorded_errors.json").read_text(encoding="utf-8"))

MEANINGS: dict[tuple[int, str], tuple[Happened, type[ProminenceError]] | None] = {
    (200, "JSON"): None,
    (200, "page"): None,
    (201, "JSON"): None,
    (204, "nothing"): None,
    (200, "nothing"): None,
    (200, "error"): (Happened.REFUSED, ServiceError),
    (400, "error"): (Happened.REFUSED, ServiceError),
    (400, "JSON"): (Happened.REFUSED, ServiceError),
    (400, "page"): (Happened.REFUSED, ServiceError),
    (401, "Authentication failure"): (Happened.REFUSED, AuthenticationError),
    (401, "Functionality disabled"): (Happened.REFUSED, FeatureDisabled),
    (403, "error"): (Happened.REFUSED, PermissionDenied),
    (404, "error"): (Happened.REFUSED, NotFound),
    (404, "page"): (Happened.REFUSED, WrongService),
    (405, "page"): (Happened.REFUSED, WrongService),
    (409, "JSON"): (Happened.REFUSED, ServiceError),
    (413, "page"): (Happened.REFUSED, ServiceError),
    (415, "page"): (Happened.REFUSED, ServiceError),
    (500, "page"): (Happened.SERVER_ERROR, ServiceUnavailable),
}


def body_of(row: dict[str, Any]) -> str:
    """What kind of body it is; of a 401 the text decides."""
    if not row["body"]:
        return "nothing"
    if "json" not in row["type"]:
        return "page"
    refusal = _refusal(row["body"].encode())
    if refusal is not None:
        return refusal if row["status"] == 401 else "error"
    return "JSON"


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: f"{row['stack']}: {row['label']}")
def test_what_a_recorded_answer_means(row: dict[str, Any]) -> None:
    kind = body_of(row)
    answer = Answer(row["status"], {"Content-Type": row["type"]}, row["body"].encode())
    expected = MEANINGS[row["status"], kind]
    if expected is None:
        assert check(answer, URL, VirtualClock(), expect_json=kind == "JSON") is answer
        return
    with pytest.raises(RequestFailed) as caught:
        check(answer, URL, VirtualClock(), expect_json=True)
    happened, error = expected
    assert caught.value.happened is happened
    assert type(caught.value.error) is error
    assert caught.value.error.status == row["status"]  # type: ignore[attr-defined]
    assert (_refusal(row["body"].encode()) or "") in str(caught.value.error)


def test_every_meaning_was_recorded() -> None:
    assert {(row["status"], body_of(row)) for row in ERRORS} == set(MEANINGS)


def _refusal(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get("error") if isinstance(found, dict) else None
