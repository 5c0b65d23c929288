"""From functions and their arguments to the files and objects that a job needs to make the calls."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from inspect import isasyncgenfunction, isgeneratorfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cloudpickle

from prominence import Artifact, InputFile
from prominence_executors.calls import modules
from prominence_executors.calls.pickling import LARGE, Pickling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prominence_executors.calls.modules import Shipment
    from prominence_executors.calls.objects import ObjectStore

PYTHON: Final = "python3"
RUNNER: Final = "prominence-runner.py"
PICKLER: Final = "prominence-pickler.zip"
MODULES: Final = "prominence-modules.zip"
CALL: Final = "prominence-call.bin"
RESULT: Final = "prominence-result.bin"
INDEX: Final = "index"
"""The factory's parameter that chooses a chunk."""

_CARRIED: Final = ("__init__.py", "errors.py", "fence.py", "plain_json.py", "store.py")


@dataclass(frozen=True, slots=True)
class PackedCall:
    """A command and the files that it needs; ``contents`` are objects to store before the job is sent."""

    command: str
    input_files: list[InputFile]
    artifacts: list[Artifact]
    contents: dict[str, bytes]
    bytes_of_items: int = 0
    """What a job of an array fetches for all the items together."""


class Packer:
    """Packs the calls of one executor: what is small travels with the job, the rest is stored once."""

    def __init__(self, store: ObjectStore, shipment: Shipment) -> None:
        self._store = store
        self._shipment = shipment

    def call(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> PackedCall:
        """Raises TypeError for generator functions, and whatever pickling raises.

        What the program itself (or a notebook) defines travels by value, what is installed by name.
        """
        _check_gives_values(function)
        pickling = Pickling(self._store)
        stream, buffers = pickling.dump(
            (function, tuple(args), dict(kwargs)), parts=[function, *args, *kwargs.values()]
        )
        return self._packed(pickling, {"buffers": buffers}, [stream])

    def chunk(self, function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> PackedCall:
        """The calls of a function with each of some items, in one job."""
        packed = self.chunks(function, [items])
        return replace(packed, command=packed.command.replace(f"${INDEX}", "0"))

    def chunks(self, function: Callable[..., Any], chunks: Sequence[Sequence[tuple[Any, ...]]]) -> PackedCall:
        """The calls of a function with each item of several chunks, as one job per chunk.

        Its command is that of a template, in which the factory's parameter ``index`` chooses the chunk.
        """
        _check_gives_values(function)
        pickling = Pickling(self._store)
        pickles = [pickling.dump(function, parts=[function])]
        shared = pickling.stored_bytes
        pickles += [pickling.dump(chunk, parts=[part for item in chunk for part in item]) for chunk in chunks]
        header = {"pickles": [{"size": len(stream), "buffers": buffers} for stream, buffers in pickles]}
        own = sum(len(stream) for stream, _ in pickles) + pickling.stored_bytes - shared
        packed = self._packed(pickling, header, [stream for stream, _ in pickles], f" ${INDEX}")
        return replace(packed, bytes_of_items=own)

    def _packed(
        self, pickling: Pickling, header: Mapping[str, Any], streams: list[bytes], index: str = ""
    ) -> PackedCall:
        header = {"python": list(sys.version_info[:2]), **header}
        content = b"".join([json.dumps(header).encode(), b"\n", *streams])
        inputs = {RUNNER: runner(), PICKLER: pickler()}
        names = [self._place(pickling, inputs, CALL, content)]
        archive = self._shipment.archive_for(pickling.modules)
        names.append(MODULES if archive is None else self._place(pickling, inputs, MODULES, archive))
        return PackedCall(
            f"{PYTHON} {RUNNER} {names[0]} {RESULT} {PICKLER} {names[1]}{index}",
            [InputFile(name, data) for name, data in inputs.items()],
            [Artifact(name) for name in sorted(pickling.needed)],
            pickling.contents,
        )

    def _place(self, pickling: Pickling, inputs: dict[str, bytes], name: str, content: bytes) -> str:
        """The name that the job finds a content under: an input file's, or an object's where it is large."""
        if len(content) >= LARGE:
            return pickling.add(content)
        inputs[name] = content
        return name


def _check_gives_values(function: Callable[..., Any]) -> None:
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        text = f"{function!r} gives a generator, which cannot leave its job: submit what makes a list of it"
        raise TypeError(text)


@cache
def runner() -> bytes:
    """The program that makes the call in the job."""
    return (files("prominence_executors.runner") / "main.py").read_bytes()


@cache
def pickler() -> bytes:
    """cloudpickle, and what the runner imports, as an archive that Python can import from."""
    package = Path(cloudpickle.__file__).parent
    sources = [(f"cloudpickle/{file.name}", file.read_bytes()) for file in package.glob("*.py")]
    runner_files = files("prominence_executors.runner")
    sources += [(f"prominence_runner/{name}", (runner_files / name).read_bytes()) for name in _CARRIED]
    return modules.archive(sources)
