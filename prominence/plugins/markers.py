"""The names by which pluggy tells this project's hooks from those of other hosts."""

from __future__ import annotations

from typing import Final

import pluggy

PROJECT: Final = "prominence"
hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)
