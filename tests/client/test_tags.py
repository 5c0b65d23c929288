"""The text that names a submission: fresh, and from where the client is told to take it."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING

from support.fake_service import FakeService, says

from prominence import Job, ProminenceClient, Session, Task

if TYPE_CHECKING:
    from support.clock import VirtualClock

DESCRIPTION = {"name": "j", "tasks": [{"image": "i", "runtime": "singularity", "cmd": "true"}]}


def tags(fake: FakeService) -> list[str]:
    return [each.json()["labels"]["prominencesubmission"] for each in fake.received]


def test_tags_come_from_the_source_that_was_given(fake: FakeService, token: str, clock: VirtualClock) -> None:
    for path in ("/jobs", "/workflows"):
        fake.script("POST", path, says({"id": 7}, 201))
    numbers = count(1)
    with ProminenceClient(fake.url, token, clock=clock, new_tag=lambda: f"{next(numbers):032x}") as client:
        client.create_job(DESCRIPTION)
        client.create_workflow({"name": "w", "jobs": [DESCRIPTION]})
        Job(session=Session(client=client), tasks=[Task(image="i", command="true")]).create()
    assert [int(tag, 16) for tag in tags(fake)] == [1, 2, 3]


def test_two_programs_with_the_same_seed_have_different_tags(
    fake: FakeService, token: str, clock: VirtualClock
) -> None:
    fake.script("POST", "/jobs", says({"id": 7}, 201))
    for _ in range(2):
        with ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client:
            client.create_job(DESCRIPTION)
    first, second = tags(fake)
    assert first != second
    assert len(first) == len(second) == 32
