"""The service as plain as a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.service import LocalService, job

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("rough"), cpus=8, memory=64, rough=True) as running:
        yield running


def test_the_same_submission_label_is_another_job(rough: LocalService) -> None:
    description = job("true", labels={"prominencesubmission": "abc123"})

    ids = {rough.request("POST", "/jobs", json=description).json()["id"] for _ in range(3)}

    assert len(ids) == 3
    found = rough.get("/jobs", all="true", constraint="prominencesubmission=abc123").json()
    assert {each["id"] for each in found} == ids
    for each in ids:
        rough.ended(each)


def test_no_answer_has_more_than_the_api_says(rough: LocalService) -> None:
    job_id = rough.post_job("true")
    answers = [rough.get("/jobs"), rough.get(f"/jobs/{job_id}"), rough.get("/resources"), rough.get("/x")]

    assert not [name for answer in answers for name in answer.headers if name.startswith("Prominence-")]
    assert rough.ended(job_id)["status"] == "completed"
