"""Runs one function call inside of a job; standard library alone, for any image with a Python.

Usage: ``python3 RUNNER CALL RESULT PICKLER MODULES``. CALL and RESULT have one line of JSON and then
bytes. The result is written whole, by rename: first a record that the call has begun, later what came of
it, so that a call which is killed in between still tells that much. PICKLER is an archive with
cloudpickle, MODULES one with the user's own modules (if there are any). Every import here costs every
call, so there are few.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

FORMAT = 1
USER_ERROR = 1
PYTHON_DIFFERS = 90  # exit codes of our own, none that shells or common programs use
CALL_UNREADABLE = 91


def main(arguments: list[str]) -> int:
    call_path, result_path, pickler, modules = arguments
    sys.path.append(os.path.abspath(pickler))
    sys.path.insert(0, os.path.abspath(modules))
    header, payload = read(call_path)
    write(result_path, {"kind": "started"})
    here = list(sys.version_info[:2])
    if header["python"] != here:
        write(result_path, {"kind": "python", "here": here})
        return PYTHON_DIFFERS
    try:
        function, args, kwargs = pickle.loads(payload)
    except BaseException as error:
        write_error(result_path, "unreadable", error)
        return CALL_UNREADABLE
    del payload
    try:
        value = function(*args, **kwargs)
    except BaseException as error:
        write_error(result_path, "exception", error)
        return USER_ERROR
    try:
        content = dumps(value)
    except BaseException as error:
        write_error(result_path, "unpicklable", error)
        return USER_ERROR
    write(result_path, {"kind": "value"}, content)
    return 0


def read(path: str) -> tuple[dict[str, Any], bytes]:
    with open(path, "rb") as file:
        header = json.loads(file.readline())
        return header, file.read()


def write(path: str, header: dict[str, Any], payload: bytes = b"") -> None:
    """Replace the result; on disk before it gets its name, so that it is never half there."""
    header = {
        **header,
        "format": FORMAT,
        "version": sys.version.split()[0],
        "size": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    scratch = path + ".new"
    with open(scratch, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n" + payload)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def write_error(path: str, kind: str, error: BaseException) -> None:
    """The exception itself if it can be pickled, and its text in any case; for the log too."""
    import traceback

    text = "".join(traceback.format_exception(type(error), error, strip_own_frames(error)))
    sys.stderr.write(text)
    header = {
        "kind": kind,
        "type": type(error).__name__,
        "text": text,
        "module": getattr(error, "name", None) if isinstance(error, ImportError) else None,
    }
    try:
        payload = dumps(error)
        pickle.loads(payload)
    except BaseException:
        payload = b""
    write(path, header, payload)


def strip_own_frames(error: BaseException) -> TracebackType | None:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def dumps(value: object) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:
        import cloudpickle

        content: bytes = cloudpickle.dumps(value, protocol=5)
        return content


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
