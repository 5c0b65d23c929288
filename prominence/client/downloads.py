"""Fetching stored content of any size: piece by piece, taken up again where a connection broke.

A download has no deadline in all: it goes on as long as bytes come, and is given up when a minute of
attempts has brought nothing new.
"""

from __future__ import annotations

import hashlib
import io
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, Final, TypedDict

from prominence.client import same_machine
from prominence.client.checksums import Checksum, checksum_in
from prominence.client.presigned import opened
from prominence.client.retry import Happened, Kind, RequestFailed
from prominence.client.urls import without_query
from prominence.client.wire import pieces_of
from prominence.exceptions import ContentMismatch, NotFound, ServiceError, ServiceUnavailable
from prominence.replacing import check_replaceable, replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import requests

    from prominence.client.transport import Transport

    Progress = Callable[[int, int | None], None]

_PIECE: Final = 262_144
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")


class Known(TypedDict, total=False):
    """What is known of stored content beside a presigned URL of it.

    ``renew`` makes another URL when that one is refused, as it is once it has expired; ``size`` (bytes) and
    ``sha256`` (hex) are what must arrive; ``progress(done, total)`` is called as bytes come, its total may be
    None.
    """

    renew: Callable[[], str]
    size: int | None
    sha256: str | None
    progress: Progress | None
    service_path: str | None
    """Where the service of this machine says that it lies, for clients that have its files."""


def download(transport: Transport, url: str, known: Known) -> bytes:
    """The content; raises as :func:`download_to_file`."""
    if known.get("service_path") and (content := same_machine.read(transport, known)) is not None:
        return content
    memory = io.BytesIO()
    _Download(transport, url, known, memory).run()
    return memory.getvalue()


def download_to_file(transport: Transport, url: str, path: Path, known: Known) -> None:
    """Write the content to a file, which is there as a whole or not at all.

    Raises ContentMismatch where what arrived twice is not what was stored, ServiceError where the store
    refuses, ServiceUnavailable where nothing more comes, OSError where the file cannot be written.
    """
    check_replaceable(path)
    with replacing(path.resolve()) as file:  # of a link, what it leads to is replaced
        if known.get("service_path") and same_machine.copy(transport, known, file):
            return
        _Download(transport, url, known, file).run()


class _Download:
    _done: int  # bytes in the sink
    _total: int | None
    _etag: str
    _expected: Checksum | None
    _hash: hashlib._Hash | None

    def __init__(self, transport: Transport, url: str, known: Known, sink: BinaryIO) -> None:
        self._transport = transport
        self._sink = sink
        self._url = url
        self._renew = known.get("renew")
        self._may_renew = self._renew is not None
        self._size = known.get("size")
        self._sha256 = known.get("sha256")
        self._progress = known.get("progress") or (lambda _done, _total: None)
        self._furthest = 0
        self._mismatches = 0
        self._start_over()

    def run(self) -> None:
        try:
            while not self._retried():
                pass
        except RequestFailed as failed:
            raise failed.error from None  # the cause's text has the whole URL

    def _retried(self) -> bool:
        transport = self._transport
        return transport.retried(Kind.READ, self._stretch, trouble=transport.trouble_of_storage)

    def _stretch(self, deadline: float, is_stale: bool) -> bool:
        """True when all is there; False when some of it came that never came before."""
        before = self._furthest
        try:
            self._fetch(is_stale)
        except RequestFailed as failed:
            is_refused = failed.happened is Happened.REFUSED and not isinstance(failed.error, NotFound)
            if is_refused and self._may_renew and self._renew is not None:
                self._url, self._may_renew = self._renew(), False
                return self._stretch(deadline, is_stale)
            if failed.happened is Happened.LOST and self._furthest > before:
                return False
            raise
        return self._is_what_was_stored()

    def _fetch(self, is_stale: bool) -> None:
        headers = {"Accept-Encoding": "identity"}  # the bytes as they are stored, so that they can be counted
        if self._done and self._etag:
            headers |= {"Range": f"bytes={self._done}-", "If-Range": self._etag}
        try:
            with opened(
                self._transport, "GET", self._url, headers=headers, new_connection=is_stale
            ) as response:
                self._may_renew = self._renew is not None
                self._begin(response)
                for piece in pieces_of(response, _PIECE, decode_content=False):
                    self._take(piece)
        except RequestFailed as failed:
            error = failed.error
            if isinstance(error, ServiceError) and error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise self._changed() from error
            raise

    def _begin(self, response: requests.Response) -> None:
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            self._check_continuation(response)
        else:
            self._start_over()
            etag = response.headers.get("ETag", "")
            self._etag = "" if etag.startswith("W/") else etag  # a weak one may stand for other bytes
            length = response.headers.get("Content-Length", "")
            self._total = int(length) if length.isdecimal() else None
            self._expected = self._expected_checksum(response)
            if self._expected is not None:
                self._hash = hashlib.new(self._expected.algorithm, usedforsecurity=False)
        self._progress(self._done, self._total)

    def _check_continuation(self, response: requests.Response) -> None:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        follows = found is not None and int(found[1]) == self._done and int(found[2]) == self._total
        if not follows or response.headers.get("ETag") != self._etag:
            raise self._changed()

    def _changed(self) -> RequestFailed:
        """What was fetched so far is of no use."""
        self._start_over()
        return RequestFailed(Happened.LOST, ServiceUnavailable("the object changed while it was fetched"))

    def _start_over(self) -> None:
        self._sink.seek(0)
        self._sink.truncate()
        self._done, self._etag = 0, ""
        self._total = self._expected = self._hash = None

    def _expected_checksum(self, response: requests.Response) -> Checksum | None:
        if self._sha256 is not None:
            return Checksum("sha256", self._sha256.lower())
        return checksum_in(response.headers)

    def _take(self, piece: bytes) -> None:
        self._sink.write(piece)
        if self._hash is not None:
            self._hash.update(piece)
        self._done += len(piece)
        self._furthest = max(self._furthest, self._done)
        self._progress(self._done, self._total)

    def _is_what_was_stored(self) -> bool:
        """False the first time that it is not: then everything is fetched once more."""
        if self._size not in {None, self._done}:
            expected, found = f"{self._size} bytes", f"{self._done} bytes"
        elif self._hash is not None and self._expected not in {None, self._arrived(self._hash)}:
            expected, found = str(self._expected), str(self._arrived(self._hash))
        else:
            return True
        if self._mismatches:
            raise ContentMismatch(f"what arrived of {without_query(self._url)}", expected, found)
        self._mismatches += 1
        self._start_over()
        return False

    def _arrived(self, hashed: hashlib._Hash) -> Checksum:
        return Checksum(hashed.name, hashed.hexdigest())
