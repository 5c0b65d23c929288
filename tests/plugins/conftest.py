"""Plugins that a test adds to the manager of this process, and takes out again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from prominence.plugins import hookimpl, plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def implement() -> Iterator[Callable[..., None]]:
    """``implement(name_of_a_hook=function, ...)`` adds a plugin for the length of the test."""
    manager = plugins().manager
    added: list[SimpleNamespace] = []

    def add(**functions: Callable[..., Any]) -> None:
        plugin = SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})
        manager.register(plugin)
        added.append(plugin)

    yield add
    for plugin in added:
        manager.unregister(plugin)
