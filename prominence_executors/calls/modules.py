"""The user's own modules that a call needs, as an archive that the job can import from.

A module is the user's own when it is a Python file outside of the standard library and site-packages
(packages installed as editable are, too). Those that a pickle names are sent, with their whole package and
with the user's modules that these use in turn.
"""

from __future__ import annotations

import io
import pickletools
import sys
import sysconfig
import zipfile
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the same archive for the same files
_OURS: Final = ("prominence", "prominence_executors")


def archive(sources: Iterable[tuple[str, bytes]]) -> bytes:
    """A compressed archive of files, the same bytes every time."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in sorted(sources):
            target.writestr(zipfile.ZipInfo(name, _ZIP_DATE), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def needed_by(pickled: bytes) -> bytes | None:
    """The archive of the user's modules that a pickle leads to; None when it leads to none."""
    found = _closure(_named_in(pickled))
    sources = {name: data for module in found for name, data in _sources(module)}
    for name in list(sources):
        for folder in PurePosixPath(name).parents[:-1]:  # zipimport knows no packages without this file
            sources.setdefault(f"{folder}/__init__.py", b"")
    return archive(sources.items()) if sources else None


def _named_in(pickled: bytes) -> Iterator[str]:
    """Names in a pickle that are those of loaded modules."""
    for _, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str):
            name = argument.split(" ")[0]  # GLOBAL has module and name in one
            if name in sys.modules:
                yield name


def _closure(names: Iterable[str]) -> set[str]:
    """The top-level names of the user's modules among these, and of those that they use in turn."""
    found: set[str] = set()
    to_see = [name for name in names if _is_users_own(name)]
    seen: set[str] = set()
    while to_see:
        name = to_see.pop()
        if name in seen:
            continue
        seen.add(name)
        found.add(name.split(".")[0])
        to_see += [other for other in _used_by(sys.modules[name]) if _is_users_own(other)]
        to_see += [
            other for other in list(sys.modules) if other.startswith(f"{name}.") and _is_users_own(other)
        ]
    return found


def _used_by(module: ModuleType) -> Iterator[str]:
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str):
            yield name


def _sources(top: str) -> Iterator[tuple[str, bytes]]:
    """The Python files of a module or a package, under the names that they are imported by."""
    for name, module in list(sys.modules.items()):
        if (name == top or name.startswith(f"{top}.")) and _is_users_own(name):
            file = Path(module.__file__ or "")
            path = name.replace(".", "/")
            is_package = file.name == "__init__.py"
            yield (f"{path}/__init__.py" if is_package else f"{path}.py"), file.read_bytes()
            if is_package:
                for part in file.parent.rglob("*.py"):
                    yield f"{path}/{part.relative_to(file.parent).as_posix()}", part.read_bytes()


def _is_users_own(name: str) -> bool:
    top = name.split(".", maxsplit=1)[0]
    if top == "__main__" or top in _OURS or top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and file.endswith(".py") and not _is_installed(file)


@cache
def _is_installed(file: str) -> bool:
    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib", "platstdlib")}
    return any(Path(file).is_relative_to(place) for place in places)
