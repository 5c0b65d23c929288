"""The engine of this machine, as the plugin that every local service has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prominence.local.engine import Capacity
from prominence.local.machine.engine import Machine
from prominence.local.machine.hardware import machine_capacity
from prominence.plugins.markers import hookimpl

if TYPE_CHECKING:
    from prominence.local.engine import Engine, EngineSetup

NAME: Final = "machine"


@hookimpl
def prominence_local_engine(name: str, setup: EngineSetup) -> Engine | None:
    if name != NAME:
        return None
    machine = machine_capacity()
    capacity = Capacity(setup.cpus or machine.cpus, setup.memory or machine.memory)
    return Machine(setup.directory, capacity, setup.minute, setup.runtime, setup.database)
