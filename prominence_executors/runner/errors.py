"""Pickles of exceptions that are not picklable as they are: type and text are to arrive all the same.

Most such exceptions have a constructor that wants other arguments than ``args`` holds, which unpickling calls
it with; here they are made without it. Attributes that cannot be pickled are left out, and arguments that
cannot be are replaced by their ``repr``.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from types import MemberDescriptorType

import cloudpickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def dumps(error: BaseException) -> bytes:
    file = io.BytesIO()
    _BarePickler(file, protocol=5).dump(error)
    return file.getvalue()


class _BarePickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, BaseException):
            return super().reducer_override(obj)
        state = {name: value for name, value in vars(obj).items() if _can_travel(value)}
        if isinstance(obj, BaseExceptionGroup):
            args: tuple[Any, ...] = (obj.message, list(obj.exceptions))
        else:
            args = tuple(value if _can_travel(value) else repr(value) for value in obj.args)
            state |= _members(obj)
        return copyreg.__newobj__, (type(obj), *args), {**state, "args": args}  # type: ignore[attr-defined]


def _members(error: BaseException) -> dict[str, Any]:
    """What is not in its ``__dict__``, as the number of an OSError, or slots."""
    found = {}
    for kind in type(error).__mro__:
        for name, member in vars(kind).items():
            value = getattr(error, name, None) if isinstance(member, MemberDescriptorType) else None
            if value is not None and _can_travel(value):
                found[name] = value
    return found


def _can_travel(value: object) -> bool:
    try:
        pickle.loads(cloudpickle.dumps(value))
    except BaseException:
        return False
    return True
