"""One task and its JSON."""

from __future__ import annotations

import pytest

from prominence.description import JobDescription, Task
from prominence.exceptions import InvalidDescription

EVERYTHING = {
    "image": "centos:7",
    "runtime": "udocker",
    "cmd": "mpi-program --fast",
    "type": "openmpi",
    "workdir": "work",
    "env": {"A": "1", "B": 2},
    "procsPerNode": 4,
    "app": "main",
    "stdout": "out.txt",
    "imagePullCredential": {"username": "u", "token": "t0ken"},
    "imageSha256": "ab12",
}


def test_all_properties_are_keywords_and_have_their_wire_names() -> None:
    task = Task(
        image="centos:7",
        runtime="udocker",
        command="mpi-program --fast",
        type="openmpi",
        workdir="work",
        env={"A": "1", "B": 2},
        procs_per_node=4,
        app="main",
        stdout="out.txt",
        image_pull_credential={"username": "u", "token": "t0ken"},
        image_sha256="ab12",
    )
    assert task.to_dict() == EVERYTHING
    assert Task.from_dict(EVERYTHING) == task


def test_what_is_not_set_is_left_out() -> None:
    assert Task().to_dict() == {"runtime": "singularity"}
    task = Task(image="a", command="", env={}, workdir=None)
    assert task.to_dict() == {"image": "a", "runtime": "singularity"}


def test_properties_can_be_assigned() -> None:
    task = Task()
    task.image = "centos:7"
    task.command = "hostname"
    task.env["NAME"] = "value"
    assert task.to_dict() == {
        "image": "centos:7",
        "runtime": "singularity",
        "cmd": "hostname",
        "env": {"NAME": "value"},
    }


def test_json_is_to_dict_also_in_a_subclass() -> None:
    class Loud(Task):
        def to_dict(self) -> dict[str, object]:
            return {**super().to_dict(), "cmd": "LOUD"}

    assert Loud(image="a").json() == {"image": "a", "runtime": "singularity", "cmd": "LOUD"}


def test_the_json_shares_nothing_with_the_object() -> None:
    task = Task(image="a", env={"A": "1"})
    task.to_dict()["env"]["A"] = "changed"
    assert task.env == {"A": "1"}
    data = {"image": "a", "runtime": "singularity", "env": {"A": "1"}}
    Task.from_dict(data).env["A"] = "changed"
    assert data["env"] == {"A": "1"}


def test_two_tasks_do_not_share_their_environment() -> None:
    first, second = Task(), Task()
    first.env["A"] = "1"
    assert second.env == {}


def test_unknown_fields_are_named() -> None:
    with pytest.raises(InvalidDescription) as caught:
        Task.from_dict({"image": "a", "colour": "red", "size": 3})
    assert caught.value.field == "colour, size"
    assert caught.value.value == {"colour": "red", "size": 3}
    with pytest.raises(InvalidDescription) as caught:
        Task.from_dict({"colour": "red"})
    assert (caught.value.field, caught.value.value) == ("colour", "red")


def test_a_task_is_an_object() -> None:
    with pytest.raises(InvalidDescription, match="must be a JSON object"):
        Task.from_dict(["image"])  # type: ignore[arg-type]


def test_a_missing_runtime_is_not_invented() -> None:
    assert Task.from_dict({"image": "a"}).to_dict() == {"image": "a"}


def test_repr_shows_what_is_set_but_no_secret() -> None:
    task = Task(image="a", image_pull_credential={"username": "me", "token": "s3cret"})
    assert repr(task) == (
        "Task(image='a', runtime='singularity', image_pull_credential={'username': 'me', 'token': '***'})"
    )
    task.image_pull_credential = "s3cret"  # type: ignore[assignment]
    assert "s3cret" not in repr(task)


def test_equal_by_type_and_by_what_they_say() -> None:
    assert Task(image="a", env={}) == Task(image="a")
    assert Task(image="a") != Task(image="b")
    assert Task(image="a") != JobDescription()
    assert Task(image="a") != {"image": "a", "runtime": "singularity"}


def test_descriptions_change_and_have_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Task())


def test_a_command_in_words_is_refused_by_the_rules() -> None:
    task = Task(image="a", command=["echo", "hi"])  # type: ignore[arg-type]
    with pytest.raises(InvalidDescription) as caught:
        JobDescription(tasks=[task]).validate()
    assert caught.value.field == "tasks[0].cmd"
    assert caught.value.value == ["echo", "hi"]
    assert "a string" in caught.value.rule


def test_a_broken_credential_is_not_shown() -> None:
    task = Task(image="a", image_pull_credential={"token": "s3cret"})
    with pytest.raises(InvalidDescription) as caught:
        JobDescription(tasks=[task]).validate()
    assert caught.value.field == "tasks[0].imagePullCredential"
    assert "s3cret" not in str(caught.value)
