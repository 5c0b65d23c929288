"""Descriptions as people write them down: in JSON or YAML, with a few shorthands.

- an input ``"file://path"`` is the file of that name, read in;
- a ``cmd`` of several lines is as many tasks, or a script among the inputs where it begins with ``#!``;
- a task without ``runtime`` is given the one that its image needs.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import sys
from typing import TYPE_CHECKING, Any, Final

from prominence.description.base import inside
from prominence.description.files import InputFile
from prominence.description.task import runtime_for
from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FILE: Final = "file://"
_SCRATCH: Final = "/home/user"
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


def read_document(source: str, download: Callable[[str], bytes]) -> dict[str, Any]:
    """The job or workflow in a file, behind an HTTP URL, or on standard input (``-``), in the API's JSON.

    A workflow has ``jobs``. Raises InvalidDescription where there is no description in it, or a file that it
    names cannot be read; OSError where it cannot be read itself; what ``download`` raises.
    """
    if source.startswith(("http://", "https://")):
        content = download(source)
    elif source == "-":
        content = sys.stdin.buffer.read()
    else:
        with open(source, "rb") as file:  # noqa: PTH123 - lighter than pathlib
            content = file.read()
    return expanded(_parsed(content, source))


def expanded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The description without shorthands; what is no description at all is left for the rules to report."""
    if "jobs" not in document:
        return _expanded_job(document)
    jobs = document["jobs"]
    if not isinstance(jobs, list):
        return dict(document)
    found = []
    for number, job in enumerate(jobs):
        with inside(f"jobs[{number}]"):
            found.append(_expanded_job(job) if isinstance(job, dict) else job)
    return {**document, "jobs": found}


def with_runtimes(job: Any) -> Any:
    """The job with a runtime for each task that has none."""
    if not isinstance(job, dict) or not isinstance(job.get("tasks"), list):
        return job
    return {**job, "tasks": [_with_runtime(task) for task in job["tasks"]]}


def _with_runtime(task: Any) -> Any:
    if not isinstance(task, dict) or "runtime" in task:
        return task
    return {**task, "runtime": runtime_for(task.get("image"))}


def _parsed(content: bytes, source: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as not_json:
        found = _parsed_yaml(content, source, not_json)
    if not isinstance(found, dict):
        raise InvalidDescription(source, found, "a JSON or YAML object that describes a job or a workflow")
    return found


def _parsed_yaml(content: bytes, source: str, not_json: ValueError) -> Any:
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """Leaves what looks like a date the text that it is: JSON has no dates."""

        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in known if tag != _TIMESTAMP]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        return yaml.load(content, PlainLoader)  # noqa: S506 - it is a safe loader
    except yaml.YAMLError as not_yaml:
        why = f"not JSON: {not_json}" if content.lstrip().startswith(b"{") else f"not YAML: {not_yaml}"
        shown = content[:60].decode("utf-8", "replace")
        raise InvalidDescription(source, shown, f"a description in JSON or YAML ({why})") from not_yaml


def _expanded_job(job: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(with_runtimes(dict(job)))
    if isinstance(found.get("inputs"), list):
        found["inputs"] = [_input(number, given) for number, given in enumerate(found["inputs"])]
    if isinstance(found.get("tasks"), list):
        scripts: list[dict[str, Any]] = []
        found["tasks"] = [
            single
            for number, task in enumerate(found["tasks"])
            for single in _tasks(f"tasks[{number}]", task, scripts)
        ]
        if scripts:
            found["inputs"] = [*(found.get("inputs") or []), *scripts]
    return found


def _input(number: int, given: Any) -> Any:
    if not isinstance(given, str):
        return given
    with inside(f"inputs[{number}]"):
        if not given.startswith(_FILE):
            raise InvalidDescription(
                "filename", given, f"an object with filename and content, or {_FILE}path"
            )
        return InputFile(given.removeprefix(_FILE)).to_dict()


def _tasks(path: str, task: Any, scripts: list[dict[str, Any]]) -> list[Any]:
    """The tasks that one with a ``cmd`` of several lines stands for."""
    command = task.get("cmd") if isinstance(task, dict) else None
    if not isinstance(command, str) or "\n" not in command.strip():
        return [task]
    if not command.startswith("#!"):
        return [{**task, "cmd": line.strip()} for line in command.splitlines() if line.strip()]
    with inside(path):
        directory = _working_directory(task.get("workdir"))
    name = f"script-{hashlib.sha256(command.encode()).hexdigest()[:12]}"
    if name not in {script["filename"] for script in scripts}:
        scripts.append(InputFile(name, command, executable=True).to_dict())
    return [{**task, "cmd": posixpath.join(posixpath.relpath(".", directory), name)}]


def _working_directory(given: Any) -> str:
    """A task's working directory, relative to the job's scratch directory, where inputs are."""
    text = posixpath.normpath(str(given or "."))
    if text == _SCRATCH or text.startswith(f"{_SCRATCH}/"):
        text = posixpath.relpath(text, _SCRATCH)
    if text.startswith(("/", "..")) or "$" in text:
        rule = f"a directory below {_SCRATCH}, known beforehand, from where a script can be found"
        raise InvalidDescription("workdir", given, rule)
    return text
