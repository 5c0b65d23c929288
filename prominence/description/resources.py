"""What a job asks for on the machines that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar, overload

from prominence.description.base import Description
from prominence.exceptions import InvalidDescription

T = TypeVar("T")


class _Default(int):
    """A default that nobody has chosen: it gives way to whatever excludes it."""


class CpusInterval(list[int]):
    """``[min, max]`` numbers of CPUs; empty, and so not sent, until both are set.

    They may be set one after the other, by ``min`` and ``max``.
    """

    _min: int | None = None
    _max: int | None = None

    @property
    def min(self) -> int | None:
        return self[0] if self else self._min

    @min.setter  # noqa: A003 - the property, not the function
    def min(self, value: int | None) -> None:
        self._assign(value, self.max)

    @property
    def max(self) -> int | None:
        return self[-1] if self else self._max

    @max.setter  # noqa: A003 - the same
    def max(self, value: int | None) -> None:
        self._assign(self.min, value)

    def to_dict(self) -> list[int]:
        """The API's JSON, which is a list."""
        return list(self)

    def _assign(self, least: int | None, most: int | None) -> None:
        self._min, self._max = least, most
        self[:] = [] if least is None or most is None else [least, most]


_CPUS: Final = _Default(1)
_MEMORY: Final = _Default(1)


class _OneOf(Generic[T]):
    """A property of which only one in a group can be set; a default of another one steps back."""

    def __init__(self, *group: str) -> None:
        self.group = group
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def _others(self, instance: object) -> list[tuple[str, object]]:
        values = vars(instance)
        return [
            (name, values[name]) for name in self.group if name != self.name and _is_set(values.get(name))
        ]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T | None: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        value = vars(instance).get(self.name)
        if not isinstance(value, _Default):
            return value
        return None if self._others(instance) else int(value)

    def __set__(self, instance: object, value: T | None) -> None:
        if _is_set(value) and not isinstance(value, _Default):
            for name, other in self._others(instance):
                if not isinstance(other, _Default):
                    rule = f"{_WIRE[name]} is {other!r}, and only one of the two can be set"
                    raise InvalidDescription(_WIRE[self.name], value, rule, self.name)
        vars(instance)[self.name] = value


class _Interval(_OneOf[Sequence[int]]):
    """A property that is always there to have its ``min`` and ``max`` set."""

    if TYPE_CHECKING:  # what is assigned may be any pair

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type) -> CpusInterval: ...
        def __get__(self, instance: object | None, owner: type) -> Any: ...

    def __set__(self, instance: object, value: Sequence[int] | None) -> None:
        is_pair = value is None or isinstance(value, list | tuple)  # the rest is for the rules to report
        super().__set__(instance, CpusInterval(value or ()) if is_pair else value)


def _is_set(value: object) -> bool:
    return value is not None and not (isinstance(value, CpusInterval) and not value)


_WIRE: Final = {
    "nodes": "nodes",
    "cpus": "cpus",
    "cpus_range": "cpusRange",
    "cpus_options": "cpusOptions",
    "total_cpus_range": "totalCpusRange",
    "memory": "memory",
    "memory_per_cpu": "memoryPerCpu",
    "disk": "disk",
    "walltime": "walltime",
}
_CPU_GROUP: Final = ("cpus", "cpus_range", "cpus_options")
_MEMORY_GROUP: Final = ("memory", "memory_per_cpu")


class Resources(Description):
    """CPUs, memory, disk, nodes and time for a job.

    - ``cpus``: CPUs on each node
    - ``memory``: GB on each node
    - ``disk``: GB of scratch space
    - ``nodes``: number of nodes
    - ``walltime``: minutes for all tasks together, image pulls not counted
    - ``memory_per_cpu``: GB for each CPU, in place of ``memory``
    - ``cpus_range``: least and most CPUs on each node, in place of ``cpus``
    - ``cpus_options``: the two possible numbers of CPUs on each node, in place of ``cpus``
    - ``total_cpus_range``: least and most CPUs on all nodes together, beside one of the three

    A default never conflicts: it is dropped, and then reads None, once something is set that takes
    its place. Two that were both set on purpose raise `InvalidDescription` at once; set the one to
    None before the other. Properties that are None are not sent. The last three are a `CpusInterval`, which
    is empty while it is not set.
    """

    _wire: ClassVar[Mapping[str, str]] = _WIRE

    cpus = _OneOf[int](*_CPU_GROUP)
    cpus_range = _Interval(*_CPU_GROUP)
    cpus_options = _Interval(*_CPU_GROUP)
    total_cpus_range = _Interval()
    memory = _OneOf[float](*_MEMORY_GROUP)
    memory_per_cpu = _OneOf[float](*_MEMORY_GROUP)

    def __init__(
        self,
        cpus: int | None = _CPUS,
        memory: float | None = _MEMORY,
        disk: int | None = 10,
        nodes: int | None = 1,
        walltime: int | None = 720,
        *,
        memory_per_cpu: float | None = None,
        cpus_range: Sequence[int] | None = None,
        cpus_options: Sequence[int] | None = None,
        total_cpus_range: Sequence[int] | None = None,
    ) -> None:
        self.cpus = cpus
        self.memory = memory
        self.disk = disk
        self.nodes = nodes
        self.walltime = walltime
        self.memory_per_cpu = memory_per_cpu
        self.cpus_range = cpus_range
        self.cpus_options = cpus_options
        self.total_cpus_range = total_cpus_range

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        # What is not in the JSON is not added to it: the service has defaults of its own.
        return {**dict.fromkeys(cls._wire), **super()._arguments(data)}

    def _state(self) -> object:
        return self.to_dict()
