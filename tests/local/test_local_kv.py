"""The key-value store of the local service, as any client would use it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.service import job

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests
    from support.service import LocalService


@pytest.fixture
def store(service: LocalService) -> Iterator[LocalService]:
    """The shared service, with nothing below the key ``t`` before and after the test."""
    yield service
    service.request("DELETE", "/kv/t?prefix=true")


def put(service: LocalService, key: str, value: bytes | str, **query: str) -> requests.Response:
    return service.request("POST", f"/kv/{key}", data=value, params=query)


def test_a_value_comes_back_as_it_was_given(store: LocalService) -> None:
    assert put(store, "t/a", "caf\u00e9\n".encode()).status_code == 201

    found = store.get("/kv/t/a")

    assert found.content == "caf\u00e9\n".encode()
    assert found.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_missing_key_is_told_from_an_empty_path(store: LocalService) -> None:
    missing, unnamed = store.get("/kv/t/none"), store.get("/kv")

    assert (missing.status_code, missing.json()) == (404, {"error": "No such key"})
    assert (unnamed.status_code, unnamed.json()) == (400, {"error": "Key not specified"})


def test_listings_show_what_is_below_a_prefix_with_or_without_values(store: LocalService) -> None:
    for key in ("t/b", "t/a", "t/_internal_x", "tz"):
        put(store, key, key)

    assert store.get("/kv/t/", list="true").json() == ["/t/a", "/t/b"]
    assert store.get("/kv/t/", list="true", values="1").json() == [{"/t/a": "t/a"}, {"/t/b": "t/b"}]
    assert {"/t/a", "/t/b", "/tz"} <= set(store.get("/kv", list="true").json())
    assert store.get("/kv/t/_internal_x").text == "t/_internal_x"


def test_bytes_that_are_no_text_come_back_but_are_in_no_listing_with_values(store: LocalService) -> None:
    put(store, "t/binary", b"\xff\xfe")

    listing = store.get("/kv/t/", list="true", values="true")

    assert store.get("/kv/t/binary").content == b"\xff\xfe"
    assert listing.status_code == 400
    assert listing.json()["error"] == "Unable to access key-value store: the value of /t/binary is not text"


def test_a_swap_wants_the_value_before(store: LocalService) -> None:
    put(store, "t/s", "one")

    done = put(store, "t/s", "two", prev="one")
    refused = put(store, "t/s", "three", prev="one")
    absent = put(store, "t/absent", "x", prev="")

    assert done.status_code == 201
    assert (refused.status_code, refused.json()) == (400, {"error": "Atomic replacement not successful"})
    assert absent.status_code == 400
    assert store.get("/kv/t/s").text == "two"


def test_of_many_swaps_at_once_one_wins(store: LocalService) -> None:
    put(store, "t/race", "free")

    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda n: put(store, "t/race", f"{n}", prev="free").status_code, range(24))
        )

    assert sorted(answers) == [201] + [400] * 23
    assert answers[int(store.get("/kv/t/race").text)] == 201


@pytest.mark.parametrize(
    ("value", "status", "reason"),
    [
        (b"x" * 15967, 201, None),
        (b"x" * 15968, 400, "Content of value too large"),
        (b"", 400, "No value provided"),
    ],
)
def test_values_have_a_size(store: LocalService, value: bytes, status: int, reason: str | None) -> None:
    response = put(store, "t/sized", value)

    assert (response.status_code, response.json().get("error")) == (status, reason)


def test_a_key_has_a_length(store: LocalService) -> None:
    assert put(store, "t/" + "k" * 1022, "v").status_code == 201
    assert put(store, "t/" + "k" * 1023, "v").status_code == 400


def test_a_key_has_no_nul(store: LocalService) -> None:
    response = store.request("POST", "/kv/t/a%00b", data="v")

    assert (response.status_code, response.json()) == (400, {"error": "a key has no NUL character"})


def test_a_prefix_finds_every_character_after_it_and_no_other_key(store: LocalService) -> None:
    for key in ("t/p", "t/p\U0010ffff", "t/pz", "t/q", "t/o"):
        put(store, key, "v")

    assert store.get("/kv/t/p", list="true").json() == ["/t/p", "/t/pz", "/t/p\U0010ffff"]


def test_deleting_takes_one_key_or_all_below(store: LocalService) -> None:
    for key in ("t/d", "t/d/1", "t/d/2", "t/e"):
        put(store, key, "v")

    assert store.request("DELETE", "/kv/t/d").json() == {}
    after_one = store.get("/kv/t/", list="true").json()
    assert store.request("DELETE", "/kv/t/d?prefix=true").status_code == 200

    assert after_one == ["/t/d/1", "/t/d/2", "/t/e"]
    assert store.get("/kv/t/", list="true").json() == ["/t/e"]
    assert store.request("DELETE", "/kv/t/d").status_code == 200


def test_what_was_acknowledged_outlives_the_service(own_service: LocalService) -> None:
    put(own_service, "kept", "value")
    own_service.kill()
    own_service.start()

    assert own_service.get("/kv/kept").text == "value"


def test_a_job_reaches_the_store_with_its_own_token(store: LocalService) -> None:
    script = (
        'import os, urllib.request as r; r.urlopen(r.Request(os.environ["PROMINENCE_URL"] + "/kv/t/job", '
        'b"from the job", {"Authorization": "Bearer " + os.environ["PROMINENCE_TOKEN"]}))'
    )
    description = job("true")
    description["tasks"][0]["cmd"] = f"python3 -c '{script}'"
    job_id = store.request("POST", "/jobs", json=description).json()["id"]

    assert store.ended(job_id)["execution"]["tasks"][0]["exitCode"] == 0
    assert store.get("/kv/t/job").text == "from the job"
