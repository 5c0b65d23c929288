"""``python -m prominence.local DIRECTORY OPTIONS``: the service as a process of its own.

Clients start it with ``--detach``: it leaves their session at once and says on the descriptor
``--ready-fd`` that it answers (one line), or why it does not.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from prominence.exceptions import ProminenceError
from prominence.logs import logger
from prominence.settings import Retention, RuntimeSettings

READY: Final = "ready"
TAKEN: Final = "another one runs"
_LOG_BYTES: Final = 5_000_000
_LOG_FILES: Final = 3


def main(arguments: list[str]) -> int:
    options = vars(_parser().parse_args(arguments))
    detach, ready = options.pop("detach"), options.pop("ready_fd")
    if detach and not _detach():
        return 0
    from prominence.local.directory import AlreadyServed, StateDirectory
    from prominence.local.serve import ServeOptions, serve

    _log_to(StateDirectory(options["directory"]).log if detach else None)
    try:
        serve(ServeOptions(**options), ready=lambda: _tell(ready, READY))
    except (ProminenceError, OSError) as error:
        logger("prominence.local").error("%s", error)
        _tell(ready, TAKEN if isinstance(error, AlreadyServed) else str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    """Every option but the last two is a field of ServeOptions, which has the defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m prominence.local", description=__doc__, argument_default=argparse.SUPPRESS
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--cpus", type=int)
    parser.add_argument("--memory", type=float)
    parser.add_argument("--engine")
    parser.add_argument("--runtime", type=lambda text: RuntimeSettings(**json.loads(text)))
    parser.add_argument("--retention", type=Retention.parse)
    parser.add_argument("--idle-minutes", type=float)
    parser.add_argument("--minute", type=float)
    parser.add_argument("--rough", action="store_true")
    parser.add_argument("--detach", action="store_true", default=False)
    parser.add_argument("--ready-fd", type=int, default=None)
    return parser


def _detach() -> bool:
    """Go on in a process that belongs to no terminal and no parent; True in that process."""
    if os.fork():
        return False
    os.setsid()
    os.umask(0o077)
    return True


def _log_to(file: Path | None) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if file is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = RotatingFileHandler(file, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
    logging.basicConfig(
        level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _tell(descriptor: int | None, text: str) -> None:
    if descriptor is not None:
        os.write(descriptor, text.encode() + b"\n")
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
