"""The one reader of the environment and of files in the user's home.

An argument wins over the environment, the environment over a file.
"""

from prominence.settings.local import DEFAULT_RETENTION, LocalSettings, Retention, RuntimeSettings
from prominence.settings.service import LoginSettings, PluginSettings, Settings

__all__ = [
    "DEFAULT_RETENTION",
    "LocalSettings",
    "LoginSettings",
    "PluginSettings",
    "Retention",
    "RuntimeSettings",
    "Settings",
]
