"""Storing content of any size: piece by piece, from the start again where a connection broke.

Each attempt asks for a fresh presigned URL, since one is good for ten minutes only; an attempt itself
has no deadline as long as bytes go out.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from prominence.client import same_machine
from prominence.client.checksums import Checksum, etag_md5
from prominence.client.presigned import opened
from prominence.client.retry import Kind, RequestFailed
from prominence.client.transport import Request
from prominence.client.wire import pieces_of
from prominence.copying import copied, write_in_pieces
from prominence.exceptions import ContentMismatch, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prominence.client.downloads import Progress
    from prominence.client.transport import Transport

_LONG_ATTEMPTS: Final = 5
"""Attempts that may break off after any time; after them, a minute of further ones is left."""
_PAUSE_S: Final = 1.0
_BINARY: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class UploadPlace:
    """Where to send content: with form fields by POST, the content last; without any by PUT."""

    url: str = field(repr=False)
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: str | None = None
    """A file that a client on the machine of its service may fill instead."""


class _Interrupted(Exception):
    """Reading the content failed; no OSError, for that would look like the connection's."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Memory(io.RawIOBase):
    """What lies in memory as a file; nothing is copied before it is read."""

    def __init__(self, content: bytes | memoryview) -> None:
        self.view = memoryview(content).cast("B")
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self.view)}[whence]
        return self._at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece = self.view[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


_File = io.FileIO | _Memory


class Content:
    """Content as it goes out: counted, hashed, and read no further than its size when it was announced."""

    def __init__(self, file: _File, size: int, progress: Progress | None) -> None:
        self._file = file
        self.size = size
        self._progress = progress
        self.rewind()

    def rewind(self) -> None:
        self._file.seek(0)
        self.sent = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def len(self) -> int:
        """Bytes that are still to come; how requests and its multipart encoder find it out."""
        return self.size - self.sent

    @property
    def sha256(self) -> str:
        """Of what was sent, in hex."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    def write_to(self, target: io.FileIO) -> None:
        """Write all of it to a file on this machine, unhashed."""
        self._file.seek(0)
        if isinstance(self._file, _Memory):
            pieces = write_in_pieces(self._file.view, target.fileno())
        else:
            pieces = copied(self._file.fileno(), target.fileno())
        sent = 0
        for count in pieces:
            sent += count
            if self._progress is not None:
                self._progress(sent, self.size)

    def read(self, amount: int = -1) -> bytes:
        left = self.len
        try:
            piece = self._file.read(left if amount < 0 else min(amount, left))
            self.sent += len(piece)
            if piece and self._progress is not None:
                self._progress(self.sent, self.size)
        except Exception as error:
            raise _Interrupted(error) from error
        if left and amount and not piece:
            cut = ContentMismatch("what is uploaded", f"{self.size} bytes", f"{self.sent} bytes")
            raise _Interrupted(cut)
        self._sha256.update(piece)
        self._md5.update(piece)
        return piece


def request_place(transport: Transport, name: str, sha256: str | None) -> UploadPlace:
    """A place for an object, good for ten minutes; with a checksum the store keeps that beside it."""
    body = json.dumps({"filename": name, "checksum": sha256}).encode()
    try:
        answer = transport.send(Request("POST", "/data/upload", Kind.REMOVE, body=body))
    except PermissionDenied as error:
        group, slash, _ = name.partition("/")
        if slash:
            meaning = f"{name!r} would be an object of the group {group!r}, which is not one of yours"
            error.args = (f"{error.args[0]}: {meaning}; a name without slashes is your own",)
        raise
    found = answer.json()
    return UploadPlace(answer.member("url", str), found.get("fields") or {}, found.get("path"))


def upload(
    transport: Transport,
    name: str,
    content: str | os.PathLike[str] | bytes | memoryview,
    *,
    checksum: bool | str,
    progress: Progress | None,
) -> str:
    """Store a file (a path) or bytes as the object ``name``; the SHA-256 of what was stored, in hex.

    Raises OSError where the file cannot be read, ContentMismatch where it changed meanwhile or the store
    took something else, ServiceError where it is refused, ServiceUnavailable where it does not get through.
    """
    with _open(content) as file:
        size = file.seek(0, os.SEEK_END)
        announced = checksum if isinstance(checksum, str) else _sha256(file) if checksum else None
        stored = _Upload(transport, name, Content(file, size, progress), announced).run()
    if announced not in {None, stored}:
        what = f"what was uploaded as {name} changed meanwhile, so it"
        raise ContentMismatch(what, f"sha256 {announced}", f"sha256 {stored}")
    return stored


def _sha256(file: _File) -> str:
    file.seek(0)
    if isinstance(file, _Memory):
        return hashlib.sha256(file.view).hexdigest()
    return hashlib.file_digest(file, "sha256").hexdigest()


def _open(content: str | os.PathLike[str] | bytes | memoryview) -> _File:
    if isinstance(content, bytes | memoryview):
        return _Memory(content)
    path = Path(content)
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a file: pack a directory into an archive first")
    return io.FileIO(path)


class _Upload:
    def __init__(self, transport: Transport, name: str, content: Content, checksum: str | None) -> None:
        self._transport = transport
        self._name = name
        self._content = content
        self._checksum = checksum
        self._broken = 0
        self._may_be_placed = True

    def run(self) -> str:
        """The SHA-256 of what was stored."""
        try:
            while (stored := self._retried()) is None:
                self._transport.clock.sleep(_PAUSE_S * self._broken)
        except RequestFailed as failed:
            raise failed.error from None  # the cause's text has the whole URL
        except _Interrupted as interrupted:
            raise interrupted.reason from None
        return stored

    def _retried(self) -> str | None:
        transport = self._transport
        return transport.retried(Kind.REMOVE, self._attempt, trouble=transport.trouble_of_storage)

    def _attempt(self, _deadline: float, is_stale: bool) -> str | None:
        """The SHA-256 of what was stored; None when it broke off on the way, which may have taken long."""
        place = request_place(self._transport, self._name, self._checksum)
        if self._may_be_placed and (stored := self._placed(place)) is not None:
            return stored
        self._content.rewind()
        try:
            self._send(place, new_connection=is_stale or self._broken > 0)
        except RequestFailed as failed:
            self._broken += 1
            is_broken = self._content.sent and failed.is_ambiguous
            if is_broken and self._broken < _LONG_ATTEMPTS:
                return None
            raise
        return self._content.sha256

    def _placed(self, place: UploadPlace) -> str | None:
        """As :meth:`_attempt`, by way of a file; None where that way is not open."""
        self._may_be_placed = False
        return same_machine.place(self._transport, place, self._name, self._content, self._checksum)

    def _send(self, place: UploadPlace, *, new_connection: bool) -> None:
        method, body, headers = _form(place, self._content) if place.fields else _plain(place, self._content)
        with opened(
            self._transport,
            method,
            place.url,
            body=body,
            headers=headers,
            secrets=place.fields.values(),
            new_connection=new_connection,
        ) as response:
            stored = etag_md5(response.headers)
            for _ in pieces_of(response):
                pass  # to the end, so that the connection can be used again
        sent = Checksum("md5", self._content.md5)
        if stored not in {None, sent}:
            raise ContentMismatch(f"what the store took as {self._name}", str(sent), str(stored))


def _plain(place: UploadPlace, content: Content) -> tuple[str, Any, dict[str, str]]:
    host = urlsplit(place.url).hostname or ""
    headers = {"x-ms-blob-type": "BlockBlob"} if ".blob.core." in host else {}
    return "PUT", content if content.len else b"", headers


def _form(place: UploadPlace, content: Content) -> tuple[str, Any, dict[str, str]]:
    from requests_toolbelt.multipart.encoder import MultipartEncoder

    fields = [*place.fields.items(), ("file", ("file", content, _BINARY))]  # the store wants it last
    encoder = MultipartEncoder(fields)
    return "POST", encoder, {"Content-Type": encoder.content_type}
