"""Calls about stored objects and the key-value store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from prominence.client.calls import Calls
from prominence.exceptions import InvalidDescription, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Unpack

    from prominence.client.answers import StoredObject
    from prominence.client.downloads import Known, Progress
    from prominence.client.uploads import UploadPlace

MAX_VALUE: Final = 15_967
"""Bytes of a value in the key-value store: the service counts its own overhead against 16,000."""
_NOT_REPLACED: Final = "Atomic replacement not successful"


class StoreCalls(Calls):
    def list_objects(self, path: str = "") -> list[StoredObject]:
        """Stored objects with ``name``, ``size`` (bytes) and ``lastModified``; of a group if one is named."""
        return self._get(_path("/data", path)).objects()

    def create_upload(self, name: str, sha256: str | None = None) -> UploadPlace:
        """A place to send an object to, good for ten minutes; ``sha256`` (hex) is kept beside the object."""
        from prominence.client.uploads import request_place
        from prominence.description.rules import check_object_name

        check_object_name(name)
        return request_place(self._transport, name, sha256)

    def upload_object(
        self,
        name: str,
        content: str | PathLike[str] | bytes | memoryview,
        *,
        checksum: bool | str = True,
        progress: Progress | None = None,
    ) -> str:
        """Store a file (given by its path) or bytes under a name; the SHA-256 of what was stored, in hex.

        With ``checksum`` the store keeps the SHA-256 beside the object; a file is read twice for that, unless
        the SHA-256 is given (in hex). A name ``group/name`` belongs to a group. ``progress(sent, size)`` is
        called as bytes go out. Raises OSError where the file cannot be read, ContentMismatch where it changes
        meanwhile.
        """
        from prominence.client.uploads import upload
        from prominence.description.rules import check_object_name

        check_object_name(name)
        return upload(self._transport, name, content, checksum=checksum, progress=progress)

    def download(self, url: str, **known: Unpack[Known]) -> bytes:
        """The bytes behind a presigned URL; no token is sent.

        A broken connection is taken up where it broke off. ``renew`` is asked for another URL when this one
        is refused; ``size`` (bytes) and ``sha256`` (hex) are what must arrive, and a checksum that the store
        tells is compared in any case; ``progress(done, total)`` is called as bytes come, its total may be
        None. Raises ContentMismatch where something else arrived, ServiceError where the store refuses
        (NotFound, PermissionDenied), ServiceUnavailable when nothing came for a minute.
        """
        from prominence.client.downloads import download

        return download(self._transport, url, known)

    def download_to_file(self, url: str, path: str | PathLike[str], **known: Unpack[Known]) -> Path:
        """Save what is behind a presigned URL in a file of any size; its path.

        As :meth:`download`, in constant memory. The file is there as a whole or not at all, and replaces one
        that exists; raises OSError where it cannot be written.
        """
        from prominence.client.downloads import download_to_file

        download_to_file(self._transport, url, path := Path(path), known)
        return path

    def delete_object(self, name: str) -> None:
        """Delete a stored object; one that does not exist is no error."""
        self._call("REMOVE", "DELETE", _path("/data", name), expect_json=False)

    def kv_get(self, key: str) -> str:
        """The value of a key; raises NotFound where there is none."""
        return self._get(_key_path(key), expect_json=False).body.decode()

    def kv_set(self, key: str, value: str, *, once: bool = False) -> None:
        """Set a key; text of 1 to 15,967 bytes.

        With ``once`` it is not repeated when its answer is lost: the first request may still arrive then.
        """
        self._kv_post(key, value, None, once=once)

    def kv_swap(self, key: str, value: str, expected: str) -> bool:
        """Set a key if it has the expected value; False where it has another, or does not exist.

        Not repeated when its answer is lost: read the key to find out.
        """
        try:
            self._kv_post(key, value, {"prev": expected}, once=True)
        except ServiceError as error:
            if error.args[0].startswith(_NOT_REPLACED):
                return False
            raise
        return True

    def kv_list(self, prefix: str = "") -> list[str]:
        """Keys below a prefix, each with a leading slash."""
        return self._get(_path("/kv", prefix), {"list": "true"}).keys()

    def kv_values(self, prefix: str = "") -> dict[str, str]:
        """Keys below a prefix with their values, in one request."""
        return self._get(_path("/kv", prefix), {"list": "true", "values": "true"}).pairs()

    def kv_delete(self, key: str, *, prefix: bool = False) -> None:
        """Delete a key, or with ``prefix`` all keys below it; what does not exist is no error."""
        self._call("REMOVE", "DELETE", _key_path(key), {"prefix": "true"} if prefix else None)

    def _kv_post(self, key: str, value: str, query: Mapping[str, str] | None, *, once: bool) -> None:
        from prominence.description.checks import is_text

        if not is_text(value):
            raise InvalidDescription(f"value of {key}", value, "text")
        body = value.encode()
        if not 1 <= len(body) <= MAX_VALUE:
            raise InvalidDescription(f"value of {key}", f"{len(body)} bytes", f"1 to {MAX_VALUE} bytes")
        kind = "ONCE" if once else "REMOVE"  # to set a key twice is to set it once
        self._call(kind, "POST", _key_path(key), query, body=body)


def _key_path(key: object) -> str:
    if not isinstance(key, str) or not key.strip("/"):
        raise InvalidDescription("key", key, "text with more than slashes in it")
    return _path("/kv", key)


def _path(base: str, name: str) -> str:
    parts = name.strip("/").split("/") if name.strip("/") else []
    if any(part in {"", ".", ".."} for part in parts):
        raise InvalidDescription("name", name, "parts between slashes, none of them empty, . or ..")
    return "/".join([base, *(quote(part, safe="") for part in parts)])
