"""From a function and its arguments to the files that a job needs to make the call."""

from __future__ import annotations

import io
import json
import sys
import sysconfig
import threading
import zipfile
from contextlib import contextmanager
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cloudpickle

from prominence import InputFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

RUNNER: Final = "prominence-runner.py"
PICKLER: Final = "prominence-pickler.zip"
CALL: Final = "prominence-call.bin"
RESULT: Final = "prominence-result.bin"
COMMAND: Final = f"python3 {RUNNER} {CALL} {RESULT} {PICKLER}"
_registry_lock: Final = threading.RLock()
_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the same archive every time


def input_files(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[InputFile]:
    """The runner and the pickled call; raises whatever pickling raises.

    Functions of the program itself and of modules outside of site-packages travel by value, others by
    name.
    """
    header = {"python": list(sys.version_info[:2])}
    with _by_value(_module_of(function)):
        payload = cloudpickle.dumps((function, tuple(args), dict(kwargs)), protocol=5)
    call = json.dumps(header).encode() + b"\n" + payload
    return [InputFile(RUNNER, runner()), InputFile(PICKLER, pickler()), InputFile(CALL, call)]


@cache
def runner() -> bytes:
    """The program that makes the call in the job."""
    return (files("prominence_executors.runner") / "main.py").read_bytes()


@cache
def pickler() -> bytes:
    """cloudpickle as an archive that Python can import from; the same bytes every time."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for module in sorted(Path(cloudpickle.__file__).parent.glob("*.py")):
            _add(target, f"cloudpickle/{module.name}", module.read_text(encoding="utf-8"))
    return archive.getvalue()


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), text, zipfile.ZIP_DEFLATED)


def _module_of(function: Callable[..., Any]) -> ModuleType | None:
    while isinstance(function, partial):
        function = function.func
    return sys.modules.get(getattr(function, "__module__", None) or "")


@contextmanager
def _by_value(module: ModuleType | None) -> Iterator[None]:
    """Pickle what a module of the user's own defines by value: the job cannot import it."""
    if module is None or not _is_users_own(module):
        yield
        return
    with _registry_lock:  # cloudpickle's registry is the process's, whatever thread pickles
        if module.__name__ in cloudpickle.list_registry_pickle_by_value():
            yield
            return
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            cloudpickle.unregister_pickle_by_value(module)


def _is_users_own(module: ModuleType) -> bool:
    if module.__name__ == "__main__" or module.__name__.split(".")[0] in sys.stdlib_module_names:
        return False
    file = getattr(module, "__file__", None)
    return file is not None and not any(
        Path(file).is_relative_to(sysconfig.get_path(kind)) for kind in ("purelib", "platlib", "stdlib")
    )
