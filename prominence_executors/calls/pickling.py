"""Pickles of calls, with what is large in them as objects beside them.

Large are buffers (of arrays, out of band as pickle protocol 5 has it), ``bytes``, and functions and arguments
whose own pickles are. Each becomes an object that is named by its content, so that calls share it; the pickle
refers to it by a persistent id ``(kind, name)``, of which the runner knows how to load the object.
"""

from __future__ import annotations

import io
import pickle
from functools import _lru_cache_wrapper, partial
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import cloudpickle

from prominence.plugins import plugins
from prominence_executors.calls.objects import StoredObject, referred_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prominence_executors.calls.objects import Copy, ObjectStore

LARGE: Final = 100_000
"""Bytes from which a part of a call is an object of its own."""

_Reference = tuple[str, str]
_ANY_PYTHON_READS: Final = 2
_SIZE_LENGTH: Final = 4


def headed(header: Mapping[str, Any], *streams: bytes) -> bytes:
    """What the runner reads: what is to be known first, in a form for every Python, and pickles for one."""
    first = pickle.dumps(header, protocol=_ANY_PYTHON_READS)
    return b"".join([len(first).to_bytes(_SIZE_LENGTH, "big"), first, *streams])


def can_be_pickled(value: Any) -> bool:
    """Whether a part of a call can be sent by itself."""
    try:
        _Pickler(set()).dumped(value)
    except Exception:  # noqa: BLE001 - pickling runs users' code
        return False
    return True


class Pickling:
    """Pickles several values that belong to one job; collects the objects and modules that they need."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._references: dict[int, _Reference] = {}
        self._kept: list[Any] = []  # what has an id in there must not be collected meanwhile
        self.contents: dict[str, Copy] = {}
        self.object_bytes = 0
        """Of all objects that were added."""
        self.needed: set[str] = set()
        self.modules: set[str] = set()

    def dump(self, value: Any, parts: Iterable[Any] = ()) -> tuple[bytes, list[str]]:
        """The pickle of a value, and the names of its buffers' objects, in order.

        Where it is large, those of its ``parts`` that are large become objects. Raises whatever pickling
        raises.
        """
        pickler = _Pickler(self.modules)
        stream = pickler.dumped(value)
        if len(stream) < LARGE and not pickler.has_references:
            return stream, [self.add(buffer.raw()) for buffer in pickler.buffers]
        if len(stream) >= LARGE:
            for part in parts:
                self._refer_if_large(part)
        return self._dump_with_references(value)

    def put(self, value: Any) -> StoredObject[Any]:
        """A value as an object that calls can refer to."""
        content = self._packed(value)
        name = self.add(content)
        return StoredObject(name, len(content), tuple(sorted(self.needed - {name})))

    def _refer_if_large(self, part: Any) -> None:
        if id(part) in self._references or isinstance(part, StoredObject | bytes):
            return
        content = self._packed(part)
        if len(content) >= LARGE:
            self._references[id(part)] = ("pickle", self.add(content))
            self._kept.append(part)

    def _packed(self, value: Any) -> bytes:
        stream, buffers = self._dump_with_references(value)
        return headed({"buffers": buffers}, stream)

    def _dump_with_references(self, value: Any) -> tuple[bytes, list[str]]:
        pickler = _ReferringPickler(self.modules, self._reference)
        stream = pickler.dumped(value)
        return stream, [self.add(buffer.raw()) for buffer in pickler.buffers]

    def _reference(self, value: Any) -> _Reference | None:
        if isinstance(value, StoredObject):
            self.needed.update(referred_to(value))
            return "pickle", value.name
        if type(value) is bytes and len(value) >= LARGE:
            return "bytes", self.add(value)
        return self._references.get(id(value))

    def add(self, content: bytes | memoryview) -> str:
        """The name of an object with this content, which the job will have."""
        name = self._store.name_of(content)
        if name not in self.needed:
            self.needed.add(name)
            self.object_bytes += len(content)
            kept = self._store.keep(name, content)  # the caller may change an array before it is sent
            if kept is not None:
                self.contents[name] = kept
        return name


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Keeps large buffers out of band, and notes the modules of what it pickles by name."""

    def __init__(self, modules: set[str]) -> None:
        self._file = io.BytesIO()
        self.buffers: list[pickle.PickleBuffer] = []
        self.has_references = False
        self._modules = modules
        if reducers := plugins().hook.prominence_reducers():  # the table is read when the base is made
            self.dispatch_table = {}  # it is asked for each object: a ChainMap takes three times as long
            for known in reversed([*reducers, *cloudpickle.Pickler.dispatch_table.maps]):
                self.dispatch_table.update(known)
        # No method of its own, or arguments would live in a cycle until they are collected.
        super().__init__(self._file, protocol=5, buffer_callback=partial(_is_in_band, self.buffers))

    def dumped(self, value: Any) -> bytes:
        self.dump(value)
        return self._file.getvalue()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, StoredObject):
            self.has_references = True
            return object, ()
        self._modules.add(_module_of(obj))
        return super().reducer_override(obj)


class _ReferringPickler(_Pickler):
    """Asks of every object whether it is to be referred to rather than pickled."""

    def __init__(self, modules: set[str], reference: Callable[[Any], _Reference | None]) -> None:
        super().__init__(modules)
        self._reference = reference

    def persistent_id(self, obj: Any) -> _Reference | None:
        return self._reference(obj)


def _is_in_band(large: list[pickle.PickleBuffer], buffer: pickle.PickleBuffer) -> bool:
    try:
        size = buffer.raw().nbytes
    except BufferError:  # not contiguous
        return True
    if size < LARGE:
        return True
    large.append(buffer)
    return False


def _module_of(obj: Any) -> str:
    """The module by which an object is found again when it is read; that of its class for most."""
    if isinstance(obj, ModuleType):
        return obj.__name__
    owner = obj if isinstance(obj, type | FunctionType | _lru_cache_wrapper | TypeVar) else type(obj)
    return str(owner.__module__)
