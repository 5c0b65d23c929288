"""Answers that no service should give, and what they are taken for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import page, says

from prominence.exceptions import InvalidDescription, ServiceUnavailable, SubmissionUncertain

if TYPE_CHECKING:
    from collections.abc import Callable

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


NO_OBJECTS: list[Any] = [
    {"error": "none", "more": 1},
    ["a"],
    [{"name": "a", "size": 1}],
    [{"name": "a", "size": "1 kB", "lastModified": "today"}],
]


@pytest.mark.parametrize("answer", NO_OBJECTS)
def test_what_is_no_listing_of_objects_is_no_usable_answer(
    fake: FakeService, client: ProminenceClient, answer: Any
) -> None:
    fake.script("GET", "/data", says(answer))

    with pytest.raises(ServiceUnavailable, match="not a listing"):
        client.list_objects()


@pytest.mark.parametrize("answer", [{}, [1], [{"/a": "x"}], "a"])
def test_what_is_no_listing_of_keys_is_no_usable_answer(
    fake: FakeService, client: ProminenceClient, answer: Any
) -> None:
    fake.script("GET", "/kv", says(answer))

    with pytest.raises(ServiceUnavailable, match="not a listing"):
        client.kv_list()


@pytest.mark.parametrize("answer", [{}, ["/a"], [{"/a": 1}], "a"])
def test_what_is_no_listing_of_values_is_no_usable_answer(
    fake: FakeService, client: ProminenceClient, answer: Any
) -> None:
    fake.script("GET", "/kv", says(answer))

    with pytest.raises(ServiceUnavailable, match="not a listing"):
        client.kv_values()


@pytest.mark.parametrize("answer", [{}, [], "a", None, {"usage": 1, "existing": {}, "url": None}])
def test_an_object_without_what_is_asked_for_is_no_usable_answer(
    fake: FakeService, client: ProminenceClient, answer: Any
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "/accounting": lambda: client.usage("2026-01-01", "2026-01-02"),
        "/resources": client.resources,
        "/jobs/1/snapshot": lambda: client.get_snapshot_url(1),
    }
    for path, call in calls.items():
        fake.script("GET", path, says(answer))
        with pytest.raises(ServiceUnavailable, match=r"the answer has no (usage|existing|url)"):
            call()


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
