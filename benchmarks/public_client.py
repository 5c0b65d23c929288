"""The public client 0.21 in an environment of its own, to measure beside."""

from __future__ import annotations

import subprocess
import venv
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC_CLIENT: Final = "prominence==0.21.0"


def install_public_client(directory: Path) -> Path:
    """The directory of the environment's programs."""
    venv.create(directory, with_pip=True)
    programs = directory / "bin"
    command = [str(programs / "python"), "-m", "pip", "install", "--quiet", PUBLIC_CLIENT]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return programs
