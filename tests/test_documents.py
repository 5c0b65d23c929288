"""Descriptions in files: JSON, YAML and the shorthands."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from prominence.description import check_job, check_workflow
from prominence.documents import expanded, read_document
from prominence.exceptions import InvalidDescription

JOB = {
    "resources": {"cpus": 1, "memory": 1, "disk": 10, "nodes": 1},
    "tasks": [{"image": "alpine", "runtime": "singularity", "cmd": "true"}],
}


def no_download(url: str) -> bytes:
    raise AssertionError(url)


def job(cmd: str, **task: Any) -> dict[str, Any]:
    return {"resources": JOB["resources"], "tasks": [{"image": "alpine", "cmd": cmd, **task}]}


def test_json_and_yaml_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    (tmp_path / "job.yaml").write_text(
        "resources: {cpus: 1, memory: 1, disk: 10, nodes: 1}\ntasks:\n- {image: alpine, cmd: 'true'}\n"
    )

    for name in ("job.json", "job.yaml"):
        assert read_document(str(tmp_path / name), no_download) == JOB


def test_a_url_is_downloaded() -> None:
    asked = []

    def download(url: str) -> bytes:
        asked.append(url)
        return json.dumps(JOB).encode()

    assert read_document("https://host.example/job.json", download) == JOB
    assert asked == ["https://host.example/job.json"]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(JOB).encode())))

    assert read_document("-", no_download) == JOB


def test_what_looks_like_a_date_stays_text(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("labels: {day: 2030-12-31}\n")

    assert read_document(str(tmp_path / "job.yaml"), no_download) == {"labels": {"day": "2030-12-31"}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"tasks": [', "not JSON: Expecting value"),
        ("tasks: [", "not YAML: while parsing"),
        ("just words", "a JSON or YAML object"),
        ("[1, 2]", "a JSON or YAML object"),
        ("", "a JSON or YAML object"),
    ],
)
def test_what_is_no_description_is_refused_with_its_name(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)

    with pytest.raises(InvalidDescription, match=why) as caught:
        read_document(str(path), no_download)

    assert caught.value.field == str(path)


def test_a_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_document(str(tmp_path / "missing.json"), no_download)


def test_input_files_are_read_in(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"\0\1")
    kept = {"filename": "kept", "content": "YQ=="}

    found = expanded({**JOB, "inputs": [f"file://{tmp_path}/in.txt", kept]})

    assert found["inputs"] == [{"filename": "in.txt", "content": "AAE="}, kept]


@pytest.mark.parametrize("given", ["file:///no/such/file", "in.txt"])
def test_inputs_that_cannot_be_read_are_named(given: str) -> None:
    with pytest.raises(InvalidDescription) as caught:
        expanded({"jobs": [JOB, {**JOB, "inputs": [given]}]})

    assert caught.value.field == "jobs[1].inputs[0].filename"


def test_lines_of_a_command_become_tasks() -> None:
    found = expanded(job("echo a\n\n  echo b\n", env={"A": "b"}))

    assert [task["cmd"] for task in found["tasks"]] == ["echo a", "echo b"]
    assert all(task["env"] == {"A": "b"} for task in found["tasks"])
    assert not list(check_job(found))


def test_one_line_with_a_newline_at_its_end_is_one_task() -> None:
    assert expanded(job("echo a\n"))["tasks"] == [
        {"image": "alpine", "cmd": "echo a\n", "runtime": "singularity"}
    ]


def test_scripts_become_inputs() -> None:
    script = "#!/bin/sh\necho a\necho b\n"

    found = expanded({**job(script), "inputs": [{"filename": "in", "content": "YQ=="}]})

    first, second = found["inputs"]
    assert first["filename"] == "in"
    assert base64.b64decode(second["content"]).decode() == script
    assert second["executable"] is True
    assert [task["cmd"] for task in found["tasks"]] == [f"./{second['filename']}"]
    assert not list(check_job(found))


def test_a_script_that_is_run_twice_is_sent_once() -> None:
    document = job("#!/bin/sh\ntrue")
    document["tasks"] *= 2

    found = expanded(document)

    assert len(found["inputs"]) == 1
    assert len({task["cmd"] for task in found["tasks"]}) == 1


@pytest.mark.parametrize(
    ("workdir", "begins"), [("a/b", "../../script-"), ("/home/user/a", "../script-"), (".", "./script-")]
)
def test_scripts_are_found_from_another_working_directory(workdir: str, begins: str) -> None:
    (task,) = expanded(job("#!/bin/sh\ntrue", workdir=workdir))["tasks"]

    assert task["cmd"].startswith(begins)


@pytest.mark.parametrize("workdir", ["/data", "../up", "$where"])
def test_scripts_that_could_not_be_found_are_refused(workdir: str) -> None:
    with pytest.raises(InvalidDescription) as caught:
        expanded(job("#!/bin/sh\ntrue", workdir=workdir))

    assert caught.value.field == "tasks[0].workdir"


def test_jobs_of_a_workflow_have_the_same_shorthands() -> None:
    one = {**job("echo a\necho b"), "name": "one"}

    found = expanded({"name": "all", "jobs": [one]})

    assert len(found["jobs"][0]["tasks"]) == 2
    assert not list(check_workflow(found))


@pytest.mark.parametrize(
    "document",
    [{"jobs": 3}, {"jobs": [3]}, {"tasks": 3}, {"tasks": [3], "inputs": 3}, {"tasks": [{"cmd": 3}]}, {}],
)
def test_what_is_no_job_is_left_for_the_rules(document: dict[str, Any]) -> None:
    check = check_workflow if "jobs" in document else check_job

    assert any(violation.kind == "invalid" for violation in check(expanded(document)))


def _yaml_blocks() -> list[object]:
    pages = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
    block = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [pytest.param(text, id=page.name) for page in pages for text in block.findall(page.read_text())]


@pytest.mark.parametrize("text", _yaml_blocks())
def test_descriptions_in_the_documentation_are_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "block.yaml").write_text(text)

    document = read_document(str(tmp_path / "block.yaml"), no_download)

    assert not list((check_workflow if "jobs" in document else check_job)(document))
