"""One plugin manager per process, whose plugins are loaded one by one so that a broken one harms nobody."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pluggy

from prominence.logs import logger
from prominence.plugins import hookspecs
from prominence.plugins.markers import PROJECT, hookimpl, hookspec
from prominence.settings import PluginSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

log = logger(__name__)

ENTRY_POINTS: Final = "prominence"
_ALL: Final = "*"
T = TypeVar("T")

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

    def __init__(
        self,
        found: Iterable[EntryPoint],
        settings: PluginSettings = PluginSettings(),  # noqa: B008 - immutable
    ) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hookspecs)
        if settings.trace:
            self.manager.add_hookcall_monitoring(_tell_call, _tell_answer)
        self.loaded: list[LoadedPlugin] = []
        self.failures: list[LoadFailure] = []
        self.disabled: list[str] = []
        imported = []
        for entry_point in found:
            if settings.disabled & {entry_point.name, _ALL}:
                self.disabled.append(entry_point.name)
            elif (plugin := self._guarded(entry_point, self._import)) is not None:
                imported.append((entry_point, plugin))
        for entry_point, plugin in imported:  # now that all hooks are known, also those that plugins bring
            self._guarded(entry_point, partial(self._register, plugin))

    @property
    def hook(self) -> Any:
        return self.manager.hook

    def _guarded(self, entry_point: EntryPoint, step: Callable[[EntryPoint], T]) -> T | None:
        try:
            return step(entry_point)
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
            cause = f"{type(error).__name__}: {error}"
            failure = LoadFailure(entry_point.name, _distribution(entry_point), cause)
            self.failures.append(failure)
            log.warning("plugin %s of %s is not used: %s", failure.name, failure.distribution, failure.cause)
            return None

    def _import(self, entry_point: EntryPoint) -> object:
        plugin = entry_point.load()
        if (add_hookspecs := getattr(plugin, "add_hookspecs", None)) is not None:
            add_hookspecs(self.manager)
        return plugin

    def _register(self, plugin: object, entry_point: EntryPoint) -> None:
        try:
            self.manager.register(plugin, entry_point.name)
        except pluggy.PluginValidationError:
            self.manager.unregister(name=entry_point.name)  # older pluggy has its first hooks in use
            raise
        callers = self.manager.get_hookcallers(plugin) or []
        hooks = tuple(sorted(caller.name for caller in callers if caller.has_spec()))
        self.loaded.append(LoadedPlugin(entry_point.name, _distribution(entry_point), hooks))


def _distribution(entry_point: EntryPoint) -> str:
    found = entry_point.dist
    return f"{found.name} {found.version}" if found else "unknown"


def _tell_call(name: str, implementations: Sequence[pluggy.HookImpl], _arguments: object) -> None:
    """Arguments are left out: descriptions of jobs have secrets."""
    called = ", ".join(each.plugin_name for each in reversed(implementations)) or "no plugin"
    _tell(f"{name} calls {called}")


def _tell_answer(
    outcome: pluggy.Result[Any], name: str, _implementations: Sequence[pluggy.HookImpl], _arguments: object
) -> None:
    if (error := outcome.exception) is not None:
        _tell(f"{name} raised {type(error).__name__}")


def _tell(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"prominence: {text}\n")


def plugins() -> PluginSet:
    """The plugins installed here, loaded at the first call.

    Those that ``PROMINENCE_DISABLE_PLUGINS`` names are left out; with ``PROMINENCE_TRACE_PLUGINS`` each call
    of a hook is told on standard error.
    """
    with _loading:  # several threads may be the first
        return _installed()


@cache
def _installed() -> PluginSet:
    return PluginSet(entry_points(group=ENTRY_POINTS), PluginSettings.from_environment())


_loading: Final = threading.RLock()
