"""From a function and its arguments to the files that a job needs to make the call."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cloudpickle

from prominence import InputFile
from prominence_executors.calls import modules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RUNNER: Final = "prominence-runner.py"
PICKLER: Final = "prominence-pickler.zip"
MODULES: Final = "prominence-modules.zip"
CALL: Final = "prominence-call.bin"
RESULT: Final = "prominence-result.bin"
COMMAND: Final = f"python3 {RUNNER} {CALL} {RESULT} {PICKLER} {MODULES}"


def input_files(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[InputFile]:
    """The runner, the pickled call and the user's own modules; raises whatever pickling raises.

    What the program itself (or a notebook) defines travels by value, what is installed by name.
    """
    header = {"python": list(sys.version_info[:2])}
    payload = cloudpickle.dumps((function, tuple(args), dict(kwargs)), protocol=5)
    call = json.dumps(header).encode() + b"\n" + payload
    inputs = [InputFile(RUNNER, runner()), InputFile(PICKLER, pickler()), InputFile(CALL, call)]
    if (needed := modules.needed_by(payload)) is not None:
        inputs.append(InputFile(MODULES, needed))
    return inputs


@cache
def runner() -> bytes:
    """The program that makes the call in the job."""
    return (files("prominence_executors.runner") / "main.py").read_bytes()


@cache
def pickler() -> bytes:
    """cloudpickle as an archive that Python can import from."""
    package = Path(cloudpickle.__file__).parent
    return modules.archive((f"cloudpickle/{file.name}", file.read_bytes()) for file in package.glob("*.py"))
