"""What object stores say of the content that they send or have taken, where it can be relied on."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_UPLOADED_SHA256: Final = "x-amz-meta-prominence_sha256"  # set by uploads with a checksum
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_REPR_DIGEST: Final = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):")
_MD5_ETAG: Final = re.compile(r'"([0-9a-f]{32})"')


class Checksum(NamedTuple):
    """``algorithm`` is hashlib's name, ``digest`` in hex."""

    algorithm: str
    digest: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digest}"


def checksum_in(headers: Mapping[str, str]) -> Checksum | None:
    """The checksum of the whole object by the best header that has one."""
    if found := _REPR_DIGEST.search(headers.get("Repr-Digest", "")):  # RFC 9530
        return _from_base64("sha256", found[1])
    if _SHA256.fullmatch(sha256 := headers.get(_UPLOADED_SHA256, "").lower()):
        return Checksum("sha256", sha256)
    if md5 := headers.get("x-ms-blob-content-md5"):
        return _from_base64("md5", md5)
    return etag_md5(headers)


def etag_md5(headers: Mapping[str, str]) -> Checksum | None:
    """The MD5 that S3 and what is like it use as ETag of an object that is one part and not encrypted.

    Elsewhere an ETag may look the same, and be no checksum.
    """
    names = {name.lower() for name in headers}
    is_s3 = bool(names & {"x-amz-request-id", "x-amzn-requestid"})
    is_encrypted = any(name.startswith("x-amz-server-side-encryption") for name in names)
    found = _MD5_ETAG.fullmatch(headers.get("ETag", ""))
    return Checksum("md5", found[1]) if found and is_s3 and not is_encrypted else None


def _from_base64(algorithm: str, text: str) -> Checksum | None:
    try:
        return Checksum(algorithm, base64.b64decode(text, validate=True).hex())
    except binascii.Error:
        return None
