"""Answers that no service should give, and what they are taken for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import page, says

from prominence.exceptions import InvalidDescription, ServiceUnavailable, SubmissionUncertain

if TYPE_CHECKING:
    from support.fake_service import FakeService

    from prominence import ProminenceClient

LISTINGS = [[1, 2], {"id": 1}, [{"id": "x"}], [{"status": "idle"}], [{"id": 1, "labels": [1]}]]


@pytest.mark.parametrize("listing", LISTINGS)
def test_a_look_up_that_brings_no_listing_leaves_the_submission_in_doubt(
    fake: FakeService, client: ProminenceClient, listing: Any
) -> None:
    fake.script("POST", "/jobs", page(503))
    fake.script("GET", "/jobs", says(listing))

    with pytest.raises(SubmissionUncertain, match="not a listing"):
        client.create_job({"name": "one"})
    assert fake.sent.count(("POST", "/jobs")) == 1


@pytest.mark.parametrize("listing", LISTINGS)
def test_what_is_no_listing_is_no_usable_answer(
    fake: FakeService, client: ProminenceClient, listing: Any
) -> None:
    fake.script("GET", "/jobs", says(listing))

    with pytest.raises(ServiceUnavailable, match="not a listing"):
        client.list_jobs()


@pytest.mark.parametrize("key", ["", "/", None])
def test_a_key_is_not_empty(fake: FakeService, client: ProminenceClient, key: Any) -> None:
    for call in (
        lambda: client.kv_set(key, "x"),
        lambda: client.kv_get(key),
        lambda: client.kv_delete(key, prefix=True),
    ):
        with pytest.raises(InvalidDescription, match="key = "):
            call()
    assert fake.received == []


def test_a_value_is_text(fake: FakeService, client: ProminenceClient) -> None:
    value: Any = 5
    with pytest.raises(InvalidDescription, match="value of a = 5: text"):
        client.kv_set("a", value)
    assert fake.received == []
