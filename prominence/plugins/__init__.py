"""Plugins of the library: found by entry points of the group ``prominence``, called through pluggy."""

from prominence.plugins.manager import (
    PROJECT,
    LoadedPlugin,
    LoadFailure,
    PluginSet,
    hookimpl,
    hookspec,
    plugins,
)

__all__ = ["PROJECT", "LoadFailure", "LoadedPlugin", "PluginSet", "hookimpl", "hookspec", "plugins"]
