"""Artifacts and input files."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from prominence.description import ArtifactDescription, InputFile, JobDescription, Task
from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from pathlib import Path


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_an_artifact_is_named_by_url() -> None:
    assert ArtifactDescription("data.tgz").to_dict() == {"url": "data.tgz"}
    artifact = ArtifactDescription("data.tgz", "dir", "/mnt/data", executable=True)
    assert artifact.to_dict() == {
        "url": "data.tgz",
        "mountpoint": "dir:/mnt/data",
        "executable": True,
    }


def test_a_directory_without_a_mount_point_is_not_sent() -> None:
    assert ArtifactDescription("data.tgz", "dir").to_dict() == {"url": "data.tgz"}


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("data.tgz", "data"),
        ("group/data.tar.gz", "data"),
        ("data.tar.bz2", "data"),
        ("data.zip", "data"),
        ("data.v1.tar", "data.v1"),
        ("plain", "plain"),
        ("https://host.test/a/data.tgz?signature=a/b.tgz", "data"),
        (".tgz", ".tgz"),
    ],
)
def test_the_directory_is_guessed_from_the_archive(name: str, directory: str) -> None:
    sent = ArtifactDescription(name, mount_point="/mnt").to_dict()
    assert sent["mountpoint"] == f"{directory}:/mnt"


def test_an_artifact_comes_back_from_json() -> None:
    data = {"url": "data.tgz", "mountpoint": "dir:/mnt/data", "executable": True}
    artifact = ArtifactDescription.from_dict(data)
    assert (artifact.name, artifact.directory_name, artifact.mount_point, artifact.executable) == (
        "data.tgz",
        "dir",
        "/mnt/data",
        True,
    )
    assert artifact.to_dict() == data
    assert repr(artifact) == (
        "ArtifactDescription(name='data.tgz', directory_name='dir', mount_point='/mnt/data', executable=True)"
    )


@pytest.mark.parametrize("mountpoint", ["nocolon", 5, ["a"]])
def test_a_mountpoint_has_two_parts(mountpoint: object) -> None:
    with pytest.raises(InvalidDescription) as caught:
        ArtifactDescription.from_dict({"url": "a", "mountpoint": mountpoint})
    assert caught.value.field == "mountpoint"


def test_an_artifact_has_no_property_names_in_its_json() -> None:
    with pytest.raises(InvalidDescription) as caught:
        ArtifactDescription.from_dict({"url": "a", "mount_point": "/a"})
    assert caught.value.field == "mount_point"


@pytest.mark.parametrize(
    ("content", "sent"),
    [("text", b"text"), ("ä", "ä".encode()), (b"\x00\xff\n", b"\x00\xff\n"), ("", b""), (b"", b"")],
)
def test_contents_are_sent_in_base64(content: str | bytes, sent: bytes) -> None:
    file = InputFile("some/where/in.dat", content)
    assert file.to_dict() == {"filename": "in.dat", "content": encoded(sent)}
    assert file.read() == sent


def test_an_executable_input() -> None:
    sent = InputFile("run.sh", "echo", executable=True).to_dict()
    assert sent == {"filename": "run.sh", "content": encoded(b"echo"), "executable": True}


def test_without_content_the_file_is_read_when_needed(tmp_path: Path) -> None:
    path = tmp_path / "in.dat"
    file = InputFile(path)
    path.write_bytes(b"\x00first")
    assert file.to_dict() == {"filename": "in.dat", "content": encoded(b"\x00first")}
    path.write_bytes(b"second")
    assert file.read() == b"second"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "missing.dat")
    with pytest.raises(InvalidDescription, match="cannot be read") as caught:
        InputFile(path).to_dict()
    assert (caught.value.field, caught.value.value) == ("filename", path)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    job = JobDescription(tasks=[Task(image="a")], input_files=[InputFile("a", ""), InputFile(path)])
    with pytest.raises(InvalidDescription) as caught:
        job.validate()
    assert caught.value.field == "inputs[1].filename"


def test_a_job_with_unread_files_can_be_shown_and_compared(tmp_path: Path) -> None:
    path = str(tmp_path / "missing.dat")
    job = JobDescription(input_files=[InputFile(path)])
    assert path in repr(job)
    assert job == JobDescription(input_files=[InputFile(path)])
    assert job != JobDescription(input_files=[InputFile("other")])


@pytest.mark.parametrize("content", [5, "\ud800", ["a"]])
def test_content_that_cannot_be_sent(content: str) -> None:
    with pytest.raises(InvalidDescription) as caught:
        InputFile("a", content).to_dict()
    assert caught.value.field == "content"


def test_a_file_name_is_a_string() -> None:
    with pytest.raises(InvalidDescription) as caught:
        InputFile(5, "content").to_dict()  # type: ignore[arg-type]
    assert caught.value.field == "filename"


def test_an_input_comes_back_from_json() -> None:
    data = {"filename": "in.dat", "content": encoded(b"\x00\xff"), "executable": True}
    file = InputFile.from_dict(data)
    assert (file.filename, file.content, file.executable) == ("in.dat", b"\x00\xff", True)
    assert file.to_dict() == data


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"filename": "a"}, "content"),
        ({"content": ""}, "filename"),
        ({"filename": "a", "content": "abc"}, "content"),
        ({"filename": "a", "content": "ä"}, "content"),
        ({"filename": "a", "content": 5}, "content"),
        ({"filename": "a", "content": "", "mode": 7}, "mode"),
    ],
)
def test_broken_json_of_an_input(data: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidDescription) as caught:
        InputFile.from_dict(data)
    assert caught.value.field == field


def test_equal_by_what_is_sent() -> None:
    assert InputFile("in", "x") == InputFile("in", b"x")
    assert InputFile("in", "") != InputFile("in")
    assert InputFile("in", "x") != InputFile("in", "x", executable=True)
    assert ArtifactDescription("a.tgz", mount_point="/m") == ArtifactDescription("a.tgz", "a", "/m")


def test_repr_abbreviates_contents() -> None:
    shown = repr(InputFile("in.dat", b"x" * 10_000))
    assert shown.startswith("InputFile(filename='in.dat', content=b'xxx")
    assert len(shown) < 100
    assert repr(InputFile("in.dat", "")) == "InputFile(filename='in.dat', content='')"
    assert repr(InputFile("in.dat")) == "InputFile(filename='in.dat')"
