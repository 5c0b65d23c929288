"""What of a script's own definitions cloudpickle cannot send along, or not well.

Each gives what ``__reduce__`` would: what is called in the job, with what, and attributes to set.
"""

from __future__ import annotations

from functools import _CacheInfo, _lru_cache_wrapper, cached_property
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import cloudpickle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Reduced: TypeAlias = str | tuple[Any, ...]

_FILE_LEFT_OUT: Final = "<dynamic-code>"  # by newer versions of cloudpickle


def _code(code: CodeType) -> Reduced:
    """With the name of its file, so that tracebacks have it."""
    make, arguments, *_ = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return make, tuple(code.co_filename if each == _FILE_LEFT_OUT else each for each in arguments)


def _cached_function(function: _lru_cache_wrapper[Any]) -> Reduced:
    """With an empty cache; one that can be imported goes by name."""
    if function.__module__ != "__main__" and "<locals>" not in function.__qualname__:
        return function.__qualname__
    parameters = function.cache_parameters()
    arguments = (function.__wrapped__, parameters["maxsize"], parameters["typed"], _CacheInfo)
    return _lru_cache_wrapper, arguments, dict(vars(function))


def _cached_property(found: cached_property[Any]) -> Reduced:
    """Without its lock (before Python 3.12)."""
    return cached_property, (found.func,), {"attrname": found.attrname}


def _weak_dictionary(found: WeakKeyDictionary[Any, Any]) -> Reduced:
    """Single dispatch keeps one."""
    return WeakKeyDictionary, (dict(found),)


REDUCERS: Final[Mapping[type, Callable[[Any], Reduced]]] = {
    CodeType: _code,
    _lru_cache_wrapper: _cached_function,
    cached_property: _cached_property,
    WeakKeyDictionary: _weak_dictionary,
}
