"""The `host` runtime: a task's command is run directly on this machine, with no container.

What a container would give is imitated where that is possible without one: a home directory of the
job's own, a private /tmp by way of TMPDIR, a clean environment. The image is not looked at.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from prominence.local.machine.files import AttemptFiles

CONTAINER_HOME: Final = "/home/user"
INTERPRETER_VARIABLE: Final = "PROMINENCE_LOCAL_PYTHON"
NOT_RUNNABLE: Final = 255  # what the service reports for a missing command or working directory
_HOME_IN_VALUE: Final = re.compile(rf"(?<![\w./-]){CONTAINER_HOME}(?=[/:]|$)")
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "TZ")
_PYTHONS: Final = ("python", "python3")


class NotRunnable(Exception):
    """A command cannot be started; the text is for the job's standard error."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program ready to be started: where it lies, its arguments, environment and directory."""

    path: str
    argv: list[str]
    environment: dict[str, str]
    directory: Path


def prepare(task: dict[str, Any], number: int, environment: dict[str, str], files: AttemptFiles) -> Command:
    """The command of a task; raises :class:`NotRunnable` where there is none that can run."""
    own = _environment(task, number, environment, files)
    directory = _directory(task, own, files)
    try:
        argv = shlex.split(substitute(task.get("cmd", ""), own))
    except ValueError as error:
        raise NotRunnable(f"cmd cannot be split into words: {error}") from error
    if not argv:
        raise NotRunnable("there is no command, and without a container no entry point of an image")
    if argv[0] in _PYTHONS and INTERPRETER_VARIABLE in own:
        argv[0] = own[INTERPRETER_VARIABLE]
    return Command(_find(argv[0], own, directory), argv, own, directory)


def substitute(text: str, environment: dict[str, str]) -> str:
    """Fill in what the service fills in before a command runs: the ids; ``$$`` becomes ``$``."""
    known = ("PROMINENCE_JOB_ID", "PROMINENCE_WORKFLOW_ID")
    return Template(text).safe_substitute({k: environment[k] for k in known if k in environment})


def inherited() -> dict[str, str]:
    """What programs get of the service's own environment."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _environment(
    task: dict[str, Any], number: int, environment: dict[str, str], files: AttemptFiles
) -> dict[str, str]:
    tmp = str(files.tmp)
    return {
        **inherited(),
        "HOME": str(files.scratch),
        "USER": os.environ.get("USER", "user"),
        "TMP": tmp,
        "TEMP": tmp,
        "TMPDIR": tmp,
        "PROMINENCE_CONTAINER_RUNTIME": "host",
        "PROMINENCE_TASK_NUM": str(number),
        **environment,
        **{key: _in_scratch(str(value), files) for key, value in task.get("env", {}).items()},
    }


def _in_scratch(value: str, files: AttemptFiles) -> str:
    return _HOME_IN_VALUE.sub(lambda _: str(files.scratch), value)


def _directory(task: dict[str, Any], environment: dict[str, str], files: AttemptFiles) -> Path:
    wanted = substitute(task.get("workdir") or "", environment)
    directory = files.scratch / _in_scratch(wanted, files)
    if not directory.is_dir():
        raise NotRunnable(f"working directory {wanted} does not exist")
    return directory


def _find(program: str, environment: dict[str, str], directory: Path) -> str:
    if "/" in program:
        found = shutil.which(directory / program)
    else:
        found = shutil.which(program, path=environment.get("PATH", os.defpath))
    if found is None:
        raise NotRunnable(f"{program}: command not found")
    return str(found)
