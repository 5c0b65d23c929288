"""Runs one function call inside of a job; standard library alone, for any image with a Python.

Usage: ``python3 RUNNER CALL RESULT PICKLER MODULES [INDEX]``. CALL is a header, pickled behind its size, and
then bytes; the records of RESULT begin with a line of JSON that has a checksum. The result is written whole,
by rename: first a record that the call has begun, later what came of it, so that a call which is killed in
between still tells that much. With INDEX, CALL holds a function and many chunks of items, and that chunk's
are called one by one; what came of them is appended to the result, so that those before a crash are not
lost. PICKLER is an archive with cloudpickle and the rest of the runner, MODULES one with the user's own
modules (if there are any). Every import here costs every call, so there are few.
"""

from __future__ import annotations

import io
import os
import sys
import time
from types import CoroutineType

try:
    import _pickle as pickle  # without what only its other half, in Python, has to import
except ImportError:
    import pickle  # type: ignore[no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from types import TracebackType
    from typing import Any

    from prominence_executors.runner.fence import Fence

USER_ERROR = 1
PYTHON_DIFFERS = 90  # exit codes of our own, none that shells or common programs use
CALL_UNREADABLE = 91
NOT_THE_OWNER = 92
NO_STORE = 93
HAS_BEGUN_BEFORE = 94
FENCE = "PROMINENCE_FENCE"
SIZE_LENGTH = 4  # bytes that tell the size of a header
LARGE = 100_000  # bytes of a buffer that stays out of the pickle
TOGETHER_S = 0.1  # outcomes of items within so long a time are written together
DIGEST_LENGTH = 64
FAR_TOO_LARGE = 100_000  # bytes, to be committed
LONGEST_SAID = 1_000  # characters of an exception's own text


def main(arguments: list[str]) -> int:
    call_path, result_path, pickler, modules, *index = arguments
    archive = os.path.abspath(pickler)
    sys.path[:0] = [os.path.abspath(modules), archive]
    result = Result(os.path.abspath(result_path))  # the call may change the directory
    here = list(sys.version_info[:2])
    try:
        header, payload = split(read(call_path))
        if is_installed("cloudpickle", header["cloudpickle"]):  # and compiled, so that it is imported sooner
            sys.path.remove(archive)
            sys.path.append(archive)
        if header["python"] != here:
            result.write({"kind": "python", "here": here})
            return PYTHON_DIFFERS
        if FENCE in os.environ and not result.claim(*map(int, index)):
            return result.refusal
        result.write(beginning(header, index))
        work = load_chunk(header, payload, int(index[0])) if index else load(payload, header["buffers"], {})
    except BaseException as error:
        result.write_error("unreadable", error)
        return CALL_UNREADABLE
    del payload
    return call_items(result, *work) if index else call(result, *work)


def beginning(header: dict[str, Any], index: list[str]) -> dict[str, Any]:
    """What is recorded before user code runs; of a chunk, how many outcomes are to follow."""
    return {"kind": "started", "items": header["items"][int(index[0])]} if index else {"kind": "started"}


def call(result: Result, function: Callable[..., Any], args: Any, kwargs: Any) -> int:
    try:
        value = made(function, args, kwargs)
    except BaseException as error:
        if is_forked(result):
            raise
        result.write_error("exception", error)
        return USER_ERROR
    if is_forked(result):
        return 0
    try:
        content = dumps(value)
    except BaseException as error:
        result.write_error("unpicklable", error)
        return USER_ERROR
    result.write({"kind": "value"}, *content)
    return 0


def made(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What a call gives; that of a coroutine function, what its coroutine gives."""
    value = function(*args, **kwargs)
    if type(value) is not CoroutineType:
        return value
    import asyncio

    return asyncio.run(value)


def is_forked(result: Result) -> bool:
    """Whether this is a child that the call has forked: it ends as a program does, and tells nothing."""
    return os.getpid() != result.process


def call_items(result: Result, function: Callable[..., Any], items: list[Any]) -> int:
    """One call after the other; an item that fails does not keep the next ones from being called."""
    with open(result.path, "ab") as file:
        outcomes = ItemOutcomes(file)
        for args in items:
            try:
                value = made(function, args, {})
            except BaseException as error:
                if is_forked(result):
                    raise
                outcomes.add_error("exception", error)
            else:
                if is_forked(result):
                    return 0
                outcomes.add(value)
        outcomes.flush()
    result.commit(is_success=not outcomes.have_errors)
    return USER_ERROR if outcomes.have_errors else 0


class ItemOutcomes:
    """What came of items, in their order; values that come soon after one another share a record."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.file = file
        self.values: list[Any] = []
        self.flushed = self.appended = time.monotonic()
        self.have_errors = False

    def add(self, value: Any) -> None:
        self.values.append(value)
        if time.monotonic() - self.flushed >= TOGETHER_S:
            self.flush()

    def add_error(self, kind: str, error: BaseException) -> None:
        self.flush()
        self.have_errors = True
        self.append(*error_record(kind, error))

    def flush(self) -> None:
        values, self.values = self.values, []
        if values:
            self.append_values(values)
        self.flushed = time.monotonic()

    def append_values(self, values: list[Any]) -> None:
        try:
            content = dumps(values)
        except BaseException as error:
            if len(values) == 1:
                self.add_error("unpicklable", error)
                return
            for value in values:  # to tell which one it is
                self.append_values([value])
            return
        self.append({"kind": "values", "count": len(values)}, *content)

    def append(self, header: dict[str, Any], *content: bytes | memoryview) -> None:
        now = time.monotonic()
        header["seconds"], self.appended = now - self.appended, now
        for piece in record(header, *content):
            self.file.write(piece)
        self.file.flush()


def read(path: str) -> bytearray | mmap:
    """A file's content, to be changed at will; that of an object, whose name has its SHA-256, is verified."""
    with open(path, "rb") as file:
        content = mapped(file) or bytearray(file.read())
    expected = path.removesuffix(".bin").rpartition("-")[2]
    if len(expected) == DIGEST_LENGTH and sha256(content) != expected:
        raise ValueError(f"{path} is damaged: it has another checksum than it had when it was stored")
    return content


def mapped(file: io.BufferedReader) -> mmap | None:
    """A large file as memory: nothing is copied but what is changed. None where that cannot be had."""
    if os.fstat(file.fileno()).st_size < LARGE:
        return None
    try:
        from mmap import ACCESS_COPY, mmap

        return mmap(file.fileno(), 0, access=ACCESS_COPY)
    except (ImportError, OSError):  # cut-down Pythons, some network file systems
        return None


def is_installed(package: str, version: str) -> bool:
    """Whether it is a package of this version that would be imported if there was no archive."""
    for place in sys.path:
        if os.path.isdir(os.path.join(place, package)):
            return os.path.isdir(os.path.join(place, f"{package}-{version}.dist-info"))
    return False


def split(content: bytearray | mmap) -> tuple[dict[str, Any], memoryview]:
    """The header, and what follows it."""
    end = SIZE_LENGTH + int.from_bytes(content[:SIZE_LENGTH], "big")
    return pickle.loads(content[SIZE_LENGTH:end]), memoryview(content)[end:]


def load(stream: memoryview, buffers: list[str], known: dict[str, Any]) -> Any:
    """What was pickled; ``known`` are the objects that were read already, by their names."""
    return CallUnpickler(io.BytesIO(stream), [read(name) for name in buffers], known).load()


def load_chunk(header: dict[str, Any], payload: memoryview, index: int) -> tuple[Any, list[Any]]:
    """The function, and the items of one chunk: the pickles lie one after the other."""
    known: dict[str, Any] = {}
    pickles = header["pickles"]
    starts = [0]
    for one in pickles:
        starts.append(starts[-1] + one["size"])
    function, items = (
        load(payload[starts[number] : starts[number + 1]], pickles[number]["buffers"], known)
        for number in (0, index + 1)
    )
    return function, items


class CallUnpickler(pickle.Unpickler):
    """Finds objects that a pickle refers to among the job's files; the same one for the same name."""

    def __init__(self, stream: io.BytesIO, buffers: list[bytearray | mmap], known: dict[str, Any]) -> None:
        super().__init__(stream, buffers=buffers)
        self.known = known

    def persistent_load(self, reference: tuple[str, str]) -> Any:
        kind, name = reference
        if name not in self.known:
            if kind == "bytes":
                self.known[name] = bytes(read(name))
            else:
                header, payload = split(read(name))
                self.known[name] = load(payload, header["buffers"], self.known)
        return self.known[name]


def record(header: dict[str, Any], *content: bytes | memoryview) -> list[bytes | memoryview]:
    """The pieces of a record: a line with its header and, after a blank, the checksum of all else."""
    header = {**header, "version": sys.version.split()[0], "sizes": [len(piece) for piece in content]}
    line = as_json(header).encode()
    return [line + b" " + sha256(line, *content).encode() + b"\n", *content]


def sha256(*pieces: bytes | bytearray | memoryview | mmap) -> str:
    hashed = hasher(sum(map(len, pieces)))
    for piece in pieces:
        hashed.update(piece)
    return str(hashed.hexdigest())


def hasher(size: int) -> Any:
    """OpenSSL's is the faster one; to load it takes longer than to do without it where there is little."""
    for name in ("_sha256", "_sha2") if size < LARGE else ():  # of Python 3.11, of later ones
        try:
            return __import__(name).sha256()
        except ImportError:
            continue
    import hashlib

    return hashlib.sha256()


def as_json(value: Any) -> str:
    """Of what headers consist of; the package of that name takes long to import, and some Pythons lack it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_json(key)}: {as_json(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_json, value)) + "]"
    if isinstance(value, str):
        return f'"{escaped(value)}"'
    if isinstance(value, float):
        return repr(value)
    return "null" if value is None else str(int(value))


def escaped(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    units = text.encode("utf-16-be", "surrogatepass")
    codes = (units[at] << 8 | units[at + 1] for at in range(0, len(units), 2))
    plain = {code for code in range(32, 127) if chr(code) not in '"\\'}
    return "".join(chr(code) if code in plain else f"\\u{code:04x}" for code in codes)


class Result:
    """Where the outcome goes; with a fence, marked as that of this run."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.process = os.getpid()
        self.refusal = 0
        self._fence: Fence | None = None

    def claim(self, index: int | None = None) -> bool:
        """Become the call's owner; False, with ``refusal`` as exit code, where it is not to be made here."""
        from prominence_runner import fence, store  # in the archive

        try:
            claim = fence.Fence.of_job(os.environ, index)
            verdict = claim.claim()
        except store.Unusable as error:
            self.write({"kind": "no-store", "text": str(error)})
            self.refusal = NO_STORE
            return False
        if verdict == fence.OURS:
            self._fence = claim
            del os.environ[FENCE]  # no business of the user's code
            return True
        self.write({"kind": verdict})
        codes = {fence.OTHERS: NOT_THE_OWNER, fence.INTERRUPTED: HAS_BEGUN_BEFORE, fence.COMMITTED: 0}
        self.refusal = codes[verdict]
        return False

    def write(self, header: dict[str, Any], *content: bytes | memoryview) -> None:
        """Replace the result whole; an outcome is on disk before it gets its name."""
        tells_outcome = header["kind"] != "started"
        if self._fence is not None:
            header["nonce"] = self._fence.nonce
        pieces = record(header, *content)
        scratch = self.path + ".new"
        with open(scratch, "wb") as file:
            file.writelines(pieces)
            if tells_outcome:
                file.flush()
                os.fsync(file.fileno())
        os.replace(scratch, self.path)
        if self._fence is not None and tells_outcome:
            self._fence.commit(pieces, is_success=header["kind"] == "value")

    def commit(self, *, is_success: bool) -> None:
        """Make what was appended the call's outcome, where there is a fence and it is small."""
        if self._fence is not None:
            with open(self.path, "rb") as file:
                self._fence.commit([file.read(FAR_TOO_LARGE)], is_success=is_success)

    def write_error(self, kind: str, error: BaseException) -> None:
        self.write(*error_record(kind, error))


def error_record(kind: str, error: BaseException) -> list[Any]:
    """The exception itself if it can be pickled, and its text in any case; for the log too."""
    import traceback

    text = "".join(traceback.format_exception(type(error), error, strip_own_frames(error)))
    sys.stderr.write(text)
    header = {
        "kind": kind,
        "said": "".join(traceback.format_exception_only(error)).strip()[:LONGEST_SAID],
        "text": text,
        "module": getattr(error, "name", None) if isinstance(error, ImportError) else None,
    }
    return [header, *(dumps_whole(error) or dumps_bare(error))]


def dumps_whole(error: BaseException) -> list[bytes | memoryview]:
    """A pickle of an exception, and its buffers; nothing where it cannot be read again."""
    try:
        stream, *buffers = dumps(error)
        is_itself = isinstance(pickle.loads(stream, buffers=buffers), BaseException)
    except BaseException:
        return []
    return [stream, *buffers] if is_itself else []


def dumps_bare(error: BaseException) -> list[bytes]:
    """A pickle that is read without a call of the exception's class; nothing where that fails, too."""
    try:
        from prominence_runner import errors  # in the archive

        stream = errors.dumps(error)
        pickle.loads(stream)
    except BaseException:
        return []
    return [stream]


def strip_own_frames(error: BaseException) -> TracebackType | None:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def dumps(value: object) -> list[bytes | memoryview]:
    """A pickle, then its large buffers as they are."""
    buffers: list[pickle.PickleBuffer] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            size = buffer.raw().nbytes
        except BufferError:  # not contiguous
            return True
        if size >= LARGE:
            buffers.append(buffer)
        return size < LARGE

    try:
        stream = pickle.dumps(value, protocol=5, buffer_callback=keep_in_band)
    except Exception:
        stream = b""  # tried again below, where an error does not have this one as its context
    if not stream:
        import cloudpickle

        buffers.clear()
        stream = cloudpickle.dumps(value, protocol=5, buffer_callback=keep_in_band)
    return [stream, *(buffer.raw() for buffer in buffers)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
