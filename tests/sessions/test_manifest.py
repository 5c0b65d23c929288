"""What a session notes of its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prominence_executors.sessions import names
from prominence_executors.sessions.manifest import CallRecord, Manifest, read_manifest

if TYPE_CHECKING:
    from prominence import Session


def test_calls_that_are_too_much_for_one_value_are_noted_in_several(session: Session) -> None:
    manifest = Manifest(session.client, "pages", "a-driver", lambda write: write())
    records = [CallRecord("function", "call", index=index) for index in range(2_000)]

    ids = manifest.add(records)
    manifest.ensure(ids[-1])

    assert read_manifest(session.client, "pages") == dict(zip(ids, records, strict=True))
    assert len(session.client.kv_list("prominence/pages/calls")) > 1
    names.delete_keys(session.client, "pages")
