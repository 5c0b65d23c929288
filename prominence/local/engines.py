"""Finding the engine that a service is to run jobs with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prominence.exceptions import LocalServiceError
from prominence.local.machine import plugin as machine
from prominence.plugins import PluginSet, plugins

if TYPE_CHECKING:
    from prominence.local.engine import Engine, EngineSetup


def make_engine(name: str, setup: EngineSetup) -> Engine:
    """The engine of that name; installed plugins are loaded only where it is not this machine's.

    Raises LocalServiceError for a name that no plugin knows.
    """
    found = PluginSet(()) if name == machine.NAME else plugins()
    if not found.manager.is_registered(machine):
        found.manager.register(machine)
    engine: Engine | None = found.hook.prominence_local_engine(name=name, setup=setup)
    if engine is None:
        skipped = "".join(f"; {each.name} could not be loaded: {each.cause}" for each in found.failures)
        raise LocalServiceError(f"no plugin has an engine named {name!r} (PROMINENCE_LOCAL_ENGINE){skipped}")
    return engine
