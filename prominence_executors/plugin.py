"""This package as a plugin: of the library, and of any host that has a pluggy plugin manager."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pluggy

from prominence.plugins import hookimpl, plugins
from prominence_executors import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Executor

    import click

NAME: Final = "prominence"
_PLUGIN_NAME: Final = f"{NAME}-executors"


def add_hookspecs(manager: pluggy.PluginManager) -> None:
    manager.add_hookspecs(hookspecs)


@hookimpl
def prominence_executors() -> Mapping[str, Callable[..., Executor]]:
    from prominence_executors.executor import ProminenceExecutor

    return {NAME: ProminenceExecutor}


@hookimpl
def prominence_reducers() -> Mapping[type, Callable[[Any], Any]]:
    from prominence_executors.calls.reducers import REDUCERS

    return REDUCERS


def register(manager: pluggy.PluginManager) -> None:
    """Add our hooks for hosts, and our implementations of them, to a host's own plugin manager.

    Afterwards ``manager.hook.prominence_executors()`` gives executors by name, and
    ``manager.hook.prominence_host_adapters()`` names adapters. Doing it again changes nothing. Our plugin is
    called ``prominence-executors``, for ``manager.unregister(name=...)``.
    """
    if manager.has_plugin(_PLUGIN_NAME):
        return
    _add_hooks_of_hosts(manager)
    implementation = pluggy.HookimplMarker(manager.project_name)(prominence_executors)
    manager.register(SimpleNamespace(prominence_executors=implementation), _PLUGIN_NAME)


def _add_hooks_of_hosts(manager: pluggy.PluginManager) -> None:
    first = getattr(manager.hook, hookspecs.HOOKS_OF_HOSTS[0].__name__, None)
    if first is not None and first.has_spec():  # what unregistering a plugin leaves
        return
    for hook in hookspecs.HOOKS_OF_HOSTS:
        pluggy.HookspecMarker(manager.project_name)(hook)  # pluggy keeps the marks of several projects apart
    manager.add_hookspecs(hookspecs)


@hookimpl
def prominence_commands() -> list[click.Command]:
    from prominence_executors.commands import explain, gc, sessions

    return [explain, gc, sessions]


def available() -> dict[str, Callable[..., Executor]]:
    """Executors by name, of this package and of all plugins that are installed."""
    return _merged(plugins().hook.prominence_executors())


def host_adapters() -> dict[str, str]:
    """Adapters that plugins have for other programs: ``module:object`` by the program's name."""
    return _merged(plugins().hook.prominence_host_adapters())


def create(name: str = NAME, **options: Any) -> Executor:
    """A new executor by its name; raises ValueError, with the names there are, for an unknown one."""
    known = available()
    if name not in known:
        raise ValueError(f"there is no executor {name!r}; there are {', '.join(sorted(known))}")
    return known[name](**options)


def _merged(answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """In one table; pluggy puts the answer of the plugin registered last first, and that one wins."""
    return {name: value for answer in reversed(list(answers)) for name, value in answer.items()}
