"""Fences that are read together: one request for those of a page, and never with an answer from before."""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
from support.clock import VirtualClock
from support.fake_service import Received, Reply, page
from support.fake_store import FakeStore, Trouble
from support.until import until

from prominence import ProminenceClient, Session
from prominence.threads import WorkThreads
from prominence_executors.claims import ClaimReader
from prominence_executors.fence import Claim, Fence, Pages
from prominence_executors.runner.fence import FREE, KEYS_PER_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDED: Final = "17:0123456789abcdef:."


class Store(FakeStore):
    """Holds each answer back while ``is_open`` is not set."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        super().__init__()

    def answer(self, request: Received) -> Reply:
        reply = super().answer(request)
        assert self.is_open.wait(60)
        return reply


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as store:
        yield store
        store.is_open.set()


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    clock = VirtualClock()
    with (
        ProminenceClient(store.url, "a-token", clock=clock, random=Random(1)) as client,
        Session(client=client) as session,
    ):
        yield session


@pytest.fixture
def reader(session: Session) -> Iterator[ClaimReader]:
    threads = WorkThreads("test", 4)
    yield ClaimReader(session, threads)
    threads.join()


class Told:
    """What was told of each fence."""

    def __init__(self, reader: ClaimReader, session: Session) -> None:
        self.values: dict[str, str | None] = {}
        self._reader = reader
        self._session = session

    def ask(self, *keys: str) -> None:
        for key in keys:

            def then(claim: Claim | None, key: str = key) -> None:
                self.values[key] = None if claim is None else claim.value

            self._reader.ask(Fence(self._session.client, key), then)


@pytest.fixture
def told(reader: ClaimReader, session: Session) -> Told:
    return Told(reader, session)


def reads(store: Store) -> list[str]:
    return [request.path.removeprefix("/kv/") for request in store.received]


def test_one_is_read_alone(store: Store, told: Told) -> None:
    store.values = {"page/a": ENDED}
    store.is_open.set()

    told.ask("page/a")

    until(lambda: told.values == {"page/a": ENDED})
    assert reads(store) == ["page/a"]


def test_what_is_asked_for_while_a_request_is_under_way_is_read_by_the_next_one(
    store: Store, told: Told
) -> None:
    store.values = {f"page/{name}": FREE for name in "abcd"}
    told.ask("page/a")
    until(lambda: store.received)
    store.values |= {"page/b": ENDED, "page/c": ENDED}  # after what is under way was answered, as good as
    told.ask("page/b", "page/c")
    store.is_open.set()

    until(lambda: len(told.values) == 3)
    assert told.values == {"page/a": FREE, "page/b": ENDED, "page/c": ENDED}
    assert reads(store) == ["page/a", "page"]


def test_pages_are_read_beside_each_other(store: Store, told: Told) -> None:
    store.values = {"one/a": ENDED, "two/a": ENDED}

    told.ask("one/a", "two/a")

    until(lambda: sorted(reads(store)) == ["one/a", "two/a"])
    store.is_open.set()
    until(lambda: len(told.values) == 2)


@pytest.mark.parametrize(
    "trouble", [page(503), Reply(body=b'[{"/page/b": "17:0123'), Reply(body=b"[[1]]"), Reply(body=b"{}")]
)
def test_without_an_answer_nothing_is_told_but_that(store: Store, told: Told, trouble: Reply) -> None:
    store.values = {"page/a": ENDED, "page/b": ENDED, "page/c": ENDED}
    told.ask("page/a")
    until(lambda: store.received)
    store.troubles.extend([Trouble(trouble, has_effect=False)] * 1000)
    told.ask("page/b", "page/c")
    store.is_open.set()

    until(lambda: len(told.values) == 3)
    assert told.values == {"page/a": ENDED, "page/b": None, "page/c": None}


def test_values_that_no_fence_has_are_not_told(store: Store, told: Told) -> None:
    store.values = {"page/a": ENDED, "page/b": ENDED[:9], "page/c": ENDED}
    told.ask("page/a")
    until(lambda: store.received)
    told.ask("page/b", "page/c", "page/deleted")
    store.is_open.set()

    until(lambda: len(told.values) == 4)
    assert told.values == {"page/a": ENDED, "page/b": None, "page/c": ENDED, "page/deleted": None}


def test_pages_are_filled_one_after_the_other() -> None:
    pages = Pages("prominence/session/fences")

    found = [pages.new_key().rpartition("/")[0] for _ in range(2 * KEYS_PER_PAGE + 1)]

    assert len(set(found)) == 3
    assert found == sorted(found, key=found.index)
    assert len({len(page) for page in found}) == 1
