"""From functions and their arguments to the files and objects that a job needs to make the calls."""

from __future__ import annotations

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
from prominence_executors.calls.pickling import LARGE, Pickling, can_be_pickled, headed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prominence_executors.calls.modules import Shipment
    from prominence_executors.calls.objects import Copy, ObjectStore

PYTHON: Final = "python3"
RUNNER: Final = "prominence-runner.py"
PICKLER: Final = "prominence-pickler.zip"
MODULES: Final = "prominence-modules.zip"
CALL: Final = "prominence-call.bin"
RESULT: Final = "prominence-result.bin"
FILES: Final = frozenset({RUNNER, PICKLER, MODULES, CALL, RESULT})
INDEX: Final = "index"
"""The factory's parameter that chooses a chunk."""

_WORDS_OF_A_CALL: Final = 6  # an index follows where there are chunks
_CARRIED: Final = ("__init__.py", "errors.py", "fence.py", "store.py")


@dataclass(frozen=True, slots=True)
class CallFiles:
    """What a job starts with to make a call.

    ``call`` and ``modules`` are contents that travel in the job, or the names of objects that have them;
    ``objects`` names all that the job fetches.
    """

    call: bytes | str
    modules: bytes | str | None
    objects: tuple[str, ...]

    def command(self, index: int | str | None = None) -> str:
        """What makes the call; ``index`` chooses a chunk where there are some."""
        call = self.call if isinstance(self.call, str) else CALL
        archive = self.modules if isinstance(self.modules, str) else MODULES
        command = f"{PYTHON} {RUNNER} {call} {RESULT} {PICKLER} {archive}"
        return command if index is None else f"{command} {index}"

    @property
    def input_files(self) -> list[InputFile]:
        contents = {RUNNER: runner(), PICKLER: pickler(), CALL: self.call, MODULES: self.modules}
        return [InputFile(name, data) for name, data in contents.items() if isinstance(data, bytes)]

    @property
    def artifacts(self) -> list[Artifact]:
        return [Artifact(name) for name in self.objects]


@dataclass(frozen=True, slots=True)
class PackedCall:
    """The files of a call, and ``contents`` of objects, by name, to store before its job is sent."""

    files: CallFiles
    contents: Mapping[str, Copy]
    bytes_of_items: int = 0
    """What a job of an array fetches for all the items together."""


class Packer:
    """Packs the calls of one executor: what is small travels with the job, the rest is stored once."""

    def __init__(
        self, store: ObjectStore, shipment: Shipment, initializer: Callable[[], object] | None = None
    ) -> None:
        self._store = store
        self._shipment = shipment
        self._initializer = initializer

    def call(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> PackedCall:
        """Raises TypeError for generator functions, and whatever pickling raises.

        What the program itself (or a notebook) defines travels by value, what is installed by name.
        """
        function = self._prepared(function)
        pickling = Pickling(self._store)
        try:
            stream, buffers = pickling.dump(
                (function, tuple(args), dict(kwargs)), parts=[function, *args, *kwargs.values()]
            )
        except Exception as error:
            if part := _what_cannot_be_pickled(function, args, kwargs):
                error.add_note(f"{part} cannot be pickled")
            raise
        return self._packed(pickling, {"buffers": buffers}, [stream])

    def chunks(self, function: Callable[..., Any], chunks: Sequence[Sequence[tuple[Any, ...]]]) -> PackedCall:
        """The calls of a function with each item of several chunks; a job makes those of one, by index."""
        function = self._prepared(function)
        pickling = Pickling(self._store)
        pickles = [pickling.dump(function, parts=[function])]
        shared = pickling.object_bytes
        pickles += [pickling.dump(chunk, parts=[part for item in chunk for part in item]) for chunk in chunks]
        header = {
            "pickles": [{"size": len(stream), "buffers": buffers} for stream, buffers in pickles],
            "items": [len(chunk) for chunk in chunks],
        }
        own = sum(len(stream) for stream, _ in pickles) + pickling.object_bytes - shared
        packed = self._packed(pickling, header, [stream for stream, _ in pickles])
        return replace(packed, bytes_of_items=own)

    def _prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        _check_gives_values(function)
        return function if self._initializer is None else _initialised(function, self._initializer)

    def _packed(self, pickling: Pickling, header: Mapping[str, Any], streams: list[bytes]) -> PackedCall:
        header = {"python": list(sys.version_info[:2]), "cloudpickle": cloudpickle.__version__, **header}
        call = _placed(pickling, headed(header, *streams))
        archive = self._shipment.archive_for(pickling.modules)
        modules_archive = None if archive is None else _placed(pickling, archive)
        files = CallFiles(call, modules_archive, tuple(sorted(pickling.needed)))
        return PackedCall(files, pickling.contents)


def _placed(pickling: Pickling, content: bytes) -> bytes | str:
    """The content itself, or where it is large the name of an object that has it."""
    return pickling.add(content) if len(content) >= LARGE else content


def _what_cannot_be_pickled(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str | None:
    """The first part of a call that cannot be sent even by itself."""
    arguments: list[tuple[int | str, Any]] = [*enumerate(args, start=1), *kwargs.items()]
    parts = [("the function", function), *((f"argument {name}", value) for name, value in arguments)]
    return next((part for part, value in parts if not can_be_pickled(value)), None)


def _check_gives_values(function: Callable[..., Any]) -> None:
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        name = getattr(function, "__qualname__", repr(function))
        text = f"{name} gives a generator, which cannot leave its job: submit what makes a list of it"
        raise TypeError(text)


def _initialised(function: Callable[..., Any], initializer: Callable[[], object]) -> Callable[..., Any]:
    """Calls the initializer before the function, once in a job; it travels by value, being local."""
    is_initialised = False

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal is_initialised
        if not is_initialised:
            initializer()
            is_initialised = True
        return function(*args, **kwargs)

    return call


def is_call(command: str) -> bool:
    """Whether a job's command makes function calls."""
    return command.startswith(f"{PYTHON} {RUNNER} ")


def is_chunk(command: str) -> bool:
    """Whether such a command makes the calls of a chunk of items, and not a single one."""
    return len(command.split()) > _WORDS_OF_A_CALL


def index_of(job: Mapping[str, Any]) -> int | None:
    """Which of an array's chunks a job is for, from the API's JSON; None for one that is of no array."""
    index = (job.get("parameters") or {}).get(INDEX)
    return None if index is None else int(index)


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
