"""The user's own modules that a call needs, as an archive that the job can import from.

A module is the user's own when it is a Python file outside of the standard library and site-packages
(packages installed as editable are, too). Those that a call names are sent, with their whole package and
with the user's modules that these use in turn.
"""

from __future__ import annotations

import importlib
import io
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Ship: TypeAlias = Literal["auto"] | Sequence[str | ModuleType] | None

_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the same archive for the same files
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})  # also those of the user, and of Debian
_OURS: Final = ("prominence", "prominence_executors")


def archive(sources: Iterable[tuple[str, bytes]]) -> bytes:
    """A compressed archive of files, the same bytes every time."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in sorted(sources):
            target.writestr(zipfile.ZipInfo(name, _ZIP_DATE), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


class Shipment:
    """Which of the user's modules go with calls.

    Each selection is read from disk when it is first needed, and again when one of its modules was reloaded.

    ``ship`` is ``"auto"`` for those that a call reaches, a list of modules (or their names) for exactly
    these, None for none.
    """

    def __init__(self, ship: Ship) -> None:
        self._tops = None if ship == "auto" else frozenset(_top_names(ship or ()))
        self._archives: dict[frozenset[str], _Archive] = {}

    def archive_for(self, names: Iterable[str]) -> bytes | None:
        """The archive for a call that reaches the modules of these names; None where it needs none."""
        if self._tops is not None:
            chosen = self._tops
        else:
            chosen = frozenset(name for name in names if name in sys.modules and _is_users_own(name))
        known = self._archives.get(chosen)
        if known is None or not known.is_current:
            tops = self._tops if self._tops is not None else _closure(chosen)
            specs = {name: _spec(name) for name in list(sys.modules) if name.partition(".")[0] in tops}
            known = self._archives[chosen] = _Archive(_archive_of(tops), specs)
        return known.content


class _Archive(NamedTuple):
    """Modules as they were read, and with which specs: a module that is reloaded has another one."""

    content: bytes | None
    specs: Mapping[str, object]

    @property
    def is_current(self) -> bool:
        return all(_spec(name) is spec for name, spec in self.specs.items())


def _spec(name: str) -> object:
    return getattr(sys.modules.get(name), "__spec__", None)


def check_ship(ship: Any) -> None:
    """Raises InvalidDescription for what cannot be sent along."""
    if ship is None or ship == "auto":
        return
    if isinstance(ship, str) or not isinstance(ship, Sequence):
        raise InvalidDescription("ship", ship, '"auto", None, or a list of modules or their names')
    _top_names(ship)


def _top_names(ship: Iterable[str | ModuleType]) -> list[str]:
    found = []
    for number, each in enumerate(ship):
        if not isinstance(each, str | ModuleType):
            raise InvalidDescription(f"ship[{number}]", each, "a module, or the name of one")
        name = each.__name__ if isinstance(each, ModuleType) else each
        top = name.partition(".")[0]
        try:
            module = importlib.import_module(top)
        except ImportError as error:
            raise InvalidDescription(f"ship[{number}]", name, f"cannot be imported here: {error}") from error
        if not (getattr(module, "__file__", None) or "").endswith(".py"):
            raise InvalidDescription(f"ship[{number}]", name, "is no Python file or package of them")
        found.append(top)
    return found


def _archive_of(tops: Iterable[str]) -> bytes | None:
    sources = {name: data for top in tops for name, data in _sources(top)}
    for name in list(sources):
        for folder in PurePosixPath(name).parents[:-1]:  # zipimport knows no packages without this file
            sources.setdefault(f"{folder}/__init__.py", b"")
    return archive(sources.items()) if sources else None


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
        file = Path(getattr(module, "__file__", None) or "")
        if (name == top or name.startswith(f"{top}.")) and file.suffix == ".py":
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
    path = Path(file)
    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib", "platstdlib")}
    return not _INSTALLED.isdisjoint(path.parts) or any(path.is_relative_to(place) for place in places)
