"""A small process that forks a supervisor for every attempt it is asked to start.

Forking from here costs a fraction of starting an interpreter, and of forking the service, which is
larger and has threads. It imports what supervisors need, reads requests from a socket, one JSON object
a line (``{"root": attempt directory}``), and answers each with ``{"root": ..., "pid": ...}`` or
``{"root": ..., "error": ...}``. It ends when the other side of the socket is closed; supervisors do not.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path

from prominence.local.machine.supervisor import supervise


def serve(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended supervisors leave no zombies
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the foreground is for the service
    gc.freeze()  # keeps the children from copying pages only to collect garbage
    with contextlib.suppress(ConnectionError), connection.makefile("rb") as requests:
        for line in requests:
            root = json.loads(line)["root"]
            try:
                pid = os.fork()
            except OSError as error:
                answer: dict[str, object] = {"root": root, "error": str(error)}
            else:
                if pid == 0:
                    _become_supervisor(connection, Path(root))
                answer = {"root": root, "pid": pid}
            connection.sendall(json.dumps(answer).encode() + b"\n")


def _become_supervisor(connection: socket.socket, root: Path) -> None:
    """Run the attempt in this child process and end it; does not return."""
    status = 1
    try:
        os.setsid()
        connection.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        supervise(root)
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
