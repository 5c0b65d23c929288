"""An object store such as S3, on a :class:`FakeService`: presigned URLs that can be made to expire."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from itertools import count
from typing import TYPE_CHECKING

from support.fake_service import FakeService, Received, Reply, page, says

if TYPE_CHECKING:
    from collections.abc import Callable

EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


def etag_of(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


@dataclass
class ObjectStore:
    """Objects by name, as the service and the store behind it hand them in and out.

    Each URL has a signature of its own. ``mishap`` may change the next answers of the store, in turn.
    """

    fake: FakeService
    objects: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    mishaps: list[Callable[[Reply], Reply]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._signatures = count(1)
        self.fake.script("POST", "/data/upload", self._place)
        self.fake.script("POST", "/bucket", self._take_form)

    def add(self, name: str, content: bytes) -> None:
        self.objects[name] = content
        self.fake.script("GET", f"/bucket/{name}", self._give)

    def url(self, name: str) -> str:
        return f"{self.fake.address}/bucket/{name}?Signature=signature-{next(self._signatures)}"

    @property
    def requests(self) -> list[Received]:
        """Those that the store got, without the service's."""
        return [each for each in self.fake.received if each.path.startswith("/bucket")]

    def _answer(self, reply: Reply) -> Reply:
        return self.mishaps.pop(0)(reply) if self.mishaps else reply

    def _place(self, request: Received) -> Reply:
        wanted = request.json()
        name = wanted["filename"]
        if wanted["checksum"] is None:
            self.fake.script("PUT", f"/bucket/{name}", self._take)
            return says({"url": self.url(name)}, 201)
        fields = {
            "key": name,
            "signature": f"signature-{next(self._signatures)}",
            "x-amz-meta-prominence_sha256": wanted["checksum"],
        }
        return says({"url": f"{self.fake.address}/bucket", "fields": fields}, 201)

    def _give(self, request: Received) -> Reply:
        if request.query["Signature"] in self.expired:
            return self._answer(Reply(403, EXPIRED, "application/xml"))
        content = self.objects[request.path.removeprefix("/bucket/")]
        etag = etag_of(content)
        whole = Reply(200, content, "binary/octet-stream", {"ETag": etag, **self.headers})
        return self._answer(_part(whole, request, etag))

    def _take(self, request: Received) -> Reply:
        if "Content-Length" not in request.headers:
            return page(411)
        return self._store(request.path.removeprefix("/bucket/"), request.body)

    def _take_form(self, request: Received) -> Reply:
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        form = BytesParser().parsebytes(head + request.body)
        parts = {
            part.get_param("name", header="Content-Disposition"): part.get_payload(decode=True)
            for part in form.get_payload()
        }
        if next(reversed(parts)) != "file":
            return page(400)
        return self._store(parts["key"].decode(), parts["file"])

    def _store(self, name: str, content: bytes) -> Reply:
        etag = etag_of(content)
        reply = self._answer(Reply(204, b"", "text/xml", {"ETag": etag, **self.headers}))
        if reply.status < 300:
            self.add(name, content)
        return reply


def _part(whole: Reply, request: Received, etag: str) -> Reply:
    wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if not wanted or request.headers.get("If-Range", etag) != etag:
        return whole
    start, size = int(wanted[1]), len(whole.body)
    if start >= size:
        return Reply(416, b"", "text/xml")
    span = f"bytes {start}-{size - 1}/{size}"
    return replace(
        whole, status=206, body=whole.body[start:], headers={**whole.headers, "Content-Range": span}
    )


def broken_after(size: int) -> Callable[[Reply], Reply]:
    """The connection ends after so many bytes of the answer's body."""
    return lambda reply: replace(reply, sent=size)


def replaced_by(reply: Reply) -> Callable[[Reply], Reply]:
    """Another answer than the one that is right."""
    return lambda _: reply


def damaged(reply: Reply) -> Reply:
    """One byte of the content is another."""
    return replace(reply, body=bytes([reply.body[0] ^ 1]) + reply.body[1:])
