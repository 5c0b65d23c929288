"""Transfers under mishaps drawn at random, in virtual time: what arrives is whole, or an error says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.clock import VirtualClock
from support.fake_service import RESET, FakeService, Reply, page
from support.object_store import ObjectStore, damaged, etag_of

from prominence import ProminenceClient
from prominence.exceptions import ContentMismatch, PermissionDenied, ServiceUnavailable

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "a-token-that-nobody-may-see"
MISHAPS = 6
FEW, MANY = range(50), range(50, 2000)


def _broken(random: Random, store: ObjectStore) -> Callable[[Reply], Reply]:
    del store
    return lambda reply: replace(reply, sent=random.randrange(len(reply.body) + 1))


def _reset(random: Random, store: ObjectStore) -> Callable[[Reply], Reply]:
    del random, store
    return lambda _: RESET


def _unavailable(random: Random, store: ObjectStore) -> Callable[[Reply], Reply]:
    del store
    return lambda _: page(random.choice([500, 502, 503, 429]))


def _expired(random: Random, store: ObjectStore) -> Callable[[Reply], Reply]:
    del random

    def expire(reply: Reply) -> Reply:
        store.expired.add(store.requests[-1].query.get("Signature", ""))
        return replace(reply, sent=len(reply.body) // 2)

    return expire


def _whole_again(random: Random, store: ObjectStore) -> Callable[[Reply], Reply]:
    """A store that knows no ranges."""
    del random
    return lambda reply: replace(reply, status=200, body=store.objects["out.dat"]) if reply.body else reply


def _other_version(random: Random, store: ObjectStore) -> Callable[[Reply], Reply]:
    def change(reply: Reply) -> Reply:
        store.add("out.dat", random.randbytes(random.randrange(1, 3000)))
        return replace(reply, sent=len(reply.body) // 3)

    return change


def _damaged(random: Random, store: ObjectStore) -> Callable[[Reply], Reply]:
    del random, store
    return lambda reply: damaged(reply) if reply.body and reply.status < 300 else reply


def _part_of_another(random: Random, store: ObjectStore) -> Callable[[Reply], Reply]:
    """A store that does not know If-Range, and has another version by now."""

    def change(reply: Reply) -> Reply:
        start = int(store.requests[-1].headers.get("Range", "bytes=0-")[6:-1])
        content = random.randbytes(start + random.randrange(1, 3000))
        store.add("out.dat", content)
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        headers = {**reply.headers, "ETag": etag_of(content), "Content-Range": span}
        return replace(reply, status=206, body=content[start:], headers=headers)

    return change


Mishap = Callable[[Random, ObjectStore], Callable[[Reply], Reply]]
DOWNLOAD_MISHAPS: tuple[Mishap, ...] = (
    _broken,
    _broken,
    _reset,
    _unavailable,
    _expired,
    _whole_again,
    _other_version,
    _part_of_another,
    _damaged,
)
UPLOAD_MISHAPS: tuple[Mishap, ...] = (_reset, _unavailable)


def _draw(kinds: tuple[Mishap, ...], random: Random, store: ObjectStore) -> None:
    store.mishaps = [random.choice(kinds)(random, store) for _ in range(random.randrange(MISHAPS))]


@pytest.mark.parametrize("seeds", [FEW, pytest.param(MANY, marks=pytest.mark.full)], ids=["few", "many"])
def test_a_download_is_whole_or_says_why_not(seeds: range, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    told: list[str] = []
    with FakeService() as fake:
        for seed in seeds:
            random = Random(seed)
            store = ObjectStore(fake, headers={"x-amz-request-id": "1"})
            store.add("out.dat", random.randbytes(random.randrange(3000)))
            _draw(DOWNLOAD_MISHAPS, random, store)
            target = tmp_path / str(seed)
            with ProminenceClient(fake.url, TOKEN, clock=VirtualClock(), random=random) as client:
                try:
                    client.download_to_file(
                        store.url("out.dat"), target, renew=lambda store=store: store.url("out.dat")
                    )
                    outcomes["whole"] += 1
                    assert target.read_bytes() == store.objects["out.dat"], seed
                except (ContentMismatch, ServiceUnavailable, PermissionDenied) as error:
                    outcomes[type(error).__name__] += 1
                    told.append(f"{error}{vars(error)}")
                    assert not target.exists(), seed
            fake.received.clear()
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
    assert "signature-" not in "".join(told)
    assert outcomes["whole"] > 0.9 * len(seeds), outcomes


@pytest.mark.parametrize("seeds", [FEW, pytest.param(MANY, marks=pytest.mark.full)], ids=["few", "many"])
def test_an_upload_gets_there_whole(seeds: range) -> None:
    with FakeService() as fake:
        for seed in seeds:
            random = Random(seed)
            store = ObjectStore(fake, headers={"x-amz-request-id": "1"})
            content = random.randbytes(random.randrange(3000))
            _draw(UPLOAD_MISHAPS, random, store)
            with ProminenceClient(fake.url, TOKEN, clock=VirtualClock(), random=random) as client:
                client.upload_object("arg.bin", content, checksum=random.random() < 0.5)
            assert store.objects["arg.bin"] == content, seed
            fake.received.clear()
