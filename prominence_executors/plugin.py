"""This package as a plugin: of the library, and of any host that has a pluggy plugin manager."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pluggy

from prominence.plugins import PROJECT, plugins
from prominence_executors import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

NAME: Final = "prominence"


def _own_executors() -> Mapping[str, Callable[..., Executor]]:
    from prominence_executors.executor import ProminenceExecutor

    return {NAME: ProminenceExecutor}


def register(manager: pluggy.PluginManager) -> None:
    """Add our hooks, and our implementations of them, to a host's own plugin manager.

    Afterwards ``manager.hook.prominence_executors()`` gives executors by name. Doing it again changes
    nothing.
    """
    if manager.has_plugin(f"{NAME}-executors"):
        return
    add_hookspecs(manager)
    implementation = pluggy.HookimplMarker(manager.project_name)(_copy(_own_executors))
    manager.register(SimpleNamespace(prominence_executors=implementation), f"{NAME}-executors")


def add_hookspecs(manager: pluggy.PluginManager) -> None:
    marked = ModuleType(hookspecs.__name__)
    marked.prominence_executors = pluggy.HookspecMarker(manager.project_name)(  # type: ignore[attr-defined]
        _copy(hookspecs.prominence_executors)
    )
    manager.add_hookspecs(marked)


prominence_executors = pluggy.HookimplMarker(PROJECT)(_own_executors)


def available() -> dict[str, Callable[..., Executor]]:
    """Executors by name, of this package and of all plugins that are installed."""
    found: dict[str, Callable[..., Executor]] = {}
    for answer in reversed(plugins().hook.prominence_executors()):
        found.update(answer)
    return found


def create(name: str = NAME, **options: Any) -> Executor:
    """A new executor by its name; raises ValueError, with the names there are, for an unknown one."""
    known = available()
    if name not in known:
        raise ValueError(f"there is no executor {name!r}; there are {', '.join(sorted(known))}")
    return known[name](**options)


def _copy(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function as an object of its own: a marker is an attribute, one per host."""

    def copied() -> Any:
        return function()

    copied.__name__ = function.__name__
    copied.__doc__ = function.__doc__
    return copied
