"""One plugin manager per process, whose plugins are loaded one by one so that a broken one harms nobody."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

import pluggy

from prominence.plugins import hookspecs
from prominence.plugins.markers import PROJECT, hookimpl, hookspec

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

ENTRY_POINTS: Final = "prominence"

__all__ = [
    "ENTRY_POINTS",
    "PROJECT",
    "LoadFailure",
    "LoadedPlugin",
    "PluginSet",
    "hookimpl",
    "hookspec",
    "plugins",
]


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A plugin that could not be loaded, and why."""

    name: str
    distribution: str
    cause: str


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin in use, the distribution that it is from, and the hooks that it implements."""

    name: str
    distribution: str
    hooks: tuple[str, ...]


class PluginSet:
    """The hooks (``hook.<name>(...)``) of all plugins that could be loaded."""

    def __init__(self, found: Iterable[EntryPoint]) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.loaded: list[LoadedPlugin] = []
        self.failures: list[LoadFailure] = []
        for entry_point in found:
            self._load(entry_point)

    @property
    def hook(self) -> Any:
        return self.manager.hook

    def _load(self, entry_point: EntryPoint) -> None:
        try:
            plugin = entry_point.load()
            if (add_hookspecs := getattr(plugin, "add_hookspecs", None)) is not None:
                add_hookspecs(self.manager)
            self.manager.register(plugin, entry_point.name)
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
            cause = f"{type(error).__name__}: {error}"
            failure = LoadFailure(entry_point.name, _distribution(entry_point), cause)
            self.failures.append(failure)
            log.warning("plugin %s of %s is not used: %s", failure.name, failure.distribution, failure.cause)
        else:
            callers = self.manager.get_hookcallers(plugin) or []
            hooks = tuple(sorted(caller.name for caller in callers if caller.has_spec()))
            self.loaded.append(LoadedPlugin(entry_point.name, _distribution(entry_point), hooks))


def _distribution(entry_point: EntryPoint) -> str:
    found = entry_point.dist
    return f"{found.name} {found.version}" if found else "unknown"


@cache
def plugins() -> PluginSet:
    """The plugins installed here, loaded at the first call."""
    return PluginSet(entry_points(group=ENTRY_POINTS))
