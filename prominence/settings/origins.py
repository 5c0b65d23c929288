"""All settings with where each comes from, as ``prominence doctor`` shows them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from prominence.settings.environment import USER_IN_URL, home_directory
from prominence.settings.local import DEFAULT_RETENTION, default_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DEFAULT: Final = "default"
_DEFAULTS: Final = {
    "PROMINENCE_URL": "the service on this machine",
    "PROMINENCE_TOKEN": "none",
    "PROMINENCE_SSL_VERIFY": "True",
    "PROMINENCE_SETTLE_WINDOW": "120 s, or 5 s on this machine",
    "PROMINENCE_OIDC_URL": "none",
    "PROMINENCE_OIDC_CLIENT_ID": "that of the registration",
    "PROMINENCE_OIDC_CLIENT_SECRET": "that of the registration",
    "PROMINENCE_DISABLE_PLUGINS": "none",
    "PROMINENCE_TRACE_PLUGINS": "False",
    "PROMINENCE_LOCAL_DIR": "",
    "PROMINENCE_LOCAL_CPUS": "all of this machine",
    "PROMINENCE_LOCAL_MEMORY": "all of this machine",
    "PROMINENCE_LOCAL_PYTHON": "",
    "PROMINENCE_LOCAL_ENGINE": "machine",
    "PROMINENCE_LOCAL_RUNTIME": "host",
    "PROMINENCE_LOCAL_RUNTIME_OPTIONS": "none",
    "PROMINENCE_LOCAL_OPENMPI": "what is installed",
    "PROMINENCE_LOCAL_MPICH": "what is installed",
    "PROMINENCE_LOCAL_RETENTION": str(DEFAULT_RETENTION),
}
_SECRETS: Final = frozenset({"PROMINENCE_TOKEN", "PROMINENCE_OIDC_CLIENT_SECRET"})


class Origin(NamedTuple):
    """A setting by its variable's name, its value in words (``set`` for a secret), and where that is from."""

    name: str
    value: str
    origin: str


def origins(*, environ: Mapping[str, str] | None = None, home: Path | None = None) -> list[Origin]:
    """All settings and where each comes from: the environment, a file, or a default.

    Nothing is checked, so that it can be told of settings that contradict each other.
    """
    environ = os.environ if environ is None else environ
    home = home_directory() if home is None else home
    found = [_origin(name, environ, default) for name, default in _DEFAULTS.items()]
    places = {
        "PROMINENCE_LOCAL_DIR": str(default_directory(home)),
        "PROMINENCE_LOCAL_PYTHON": sys.executable,
    }
    tokens = home / ".prominence" / "token"
    return [
        each._replace(value="set", origin=str(tokens))
        if each.name == "PROMINENCE_TOKEN" and each.origin == _DEFAULT and tokens.exists()
        else each._replace(value=each.value or places[each.name])
        for each in found
    ]


def _origin(name: str, environ: Mapping[str, str], default: str) -> Origin:
    given = environ.get(name)
    if not given:
        return Origin(name, default, _DEFAULT)
    return Origin(name, "set" if name in _SECRETS else USER_IN_URL.sub("", given), "environment")
