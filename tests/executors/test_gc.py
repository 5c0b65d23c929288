"""``prominence gc``: what sessions have left is deleted, and nothing that is still of use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.clock import VirtualClock

from prominence import ProminenceClient, Session
from prominence_executors import ProminenceExecutor
from prominence_executors.sessions import names
from prominence_executors.sessions.leftovers import leftovers, look_again

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.command import Command
    from support.service import LocalService

LARGE = b"x" * 2_000_000


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def client(own_service: LocalService, clock: VirtualClock) -> Iterator[ProminenceClient]:
    with ProminenceClient(settings=own_service.settings(), clock=clock) as client:
        yield client


def stored(command: Command) -> tuple[list[str], list[str]]:
    objects = [entry["name"] for entry in command.json("ls", "--json")]
    return objects, command.json("kv", "list", "--json", "prominence")


def test_what_a_session_has_left_is_deleted(command: Command, own_session: Session) -> None:
    with ProminenceExecutor(session="left", service=own_session) as executor:
        assert executor.submit(len, LARGE).result() == len(LARGE)
    command("upload", "--filename", command.directory / command.write("mine.bin", "mine"))
    command("kv", "set", "prominence-mine/a", "1")

    assert "sessions to be deleted: 0" in command("gc", "--dry-run").stderr
    (shown,) = command.json("gc", "--older-than", "0", "--json", "--dry-run")
    assert (shown["session"], shown["size"] >= len(LARGE)) == ("left", True)
    assert len(stored(command)[0]) == 2
    assert "left" in command("gc", "--older-than", "0").stdout

    assert stored(command) == (["mine.bin"], ["/prominence-mine/a"])


def test_only_the_chosen_session_is_deleted(command: Command, own_session: Session) -> None:
    for name in ("kept", "left"):
        with ProminenceExecutor(session=name, service=own_session) as executor:
            executor.submit(len, LARGE).result()

    command("gc", "--session", "left")

    objects, keys = stored(command)
    assert [name.split("-")[1] for name in objects] == ["kept"]
    assert {key.split("/")[2] for key in keys} == {"kept"}


def test_a_session_with_a_job_that_runs_is_left_alone(
    command: Command, own_session: Session, own_service: LocalService
) -> None:
    with ProminenceExecutor(session="busy", service=own_session, on_exit="detach") as executor:
        running = executor.submit("sleep 600").job
        executor.submit(len, LARGE).result()

    assert command.json("gc", "--session", "busy", "--json") == []

    assert own_service.describe(int(running.id or 0))["status"] in {"idle", "running"}
    assert stored(command)[0]


def test_a_session_whose_driver_renews_its_lease_is_in_use(
    client: ProminenceClient, clock: VirtualClock
) -> None:
    for name in ("dead", "alive"):
        client.kv_set(names.key(name, "lease"), "driver:1")
        client.kv_set(names.key(name, "drivers", "driver"), '{"began": 0}')

    def renew() -> None:
        client.kv_set(names.key("alive", "lease"), "driver:2")

    clock.on_sleep = renew
    found = leftovers(client)
    assert [one.is_active for one in found] == [False, False]

    look_again(client, found)

    assert {one.session: one.is_active for one in found} == {"alive": True, "dead": False}


def test_a_session_that_is_taken_up_in_that_moment_is_left_alone(client: ProminenceClient) -> None:
    lease = names.key("taken", "lease")
    client.kv_set(lease, "free")
    client.kv_set(names.key("taken", "drivers", "driver"), '{"began": 0}')
    (one,) = found = leftovers(client)
    look_again(client, found)
    client.kv_set(lease, "another:0")

    assert not one.delete(client)

    assert len(client.kv_list("prominence/taken")) == 2


def test_sessions_whose_names_begin_alike_are_kept(command: Command, own_session: Session) -> None:
    for name in ("run", "run-2", "run.calls", "runs"):
        with ProminenceExecutor(session=name, service=own_session) as executor:
            executor.submit(len, LARGE).result()

    command("gc", "--session", "run")

    objects, keys = stored(command)
    assert len(objects) == 3
    assert {key.split("/")[2] for key in keys} == {"run-2", "run.calls", "runs"}


def test_a_session_whose_first_job_is_on_its_way_is_in_use(
    client: ProminenceClient, clock: VirtualClock, own_service: LocalService
) -> None:
    client.kv_set(names.key("new", "fences", "f"), "free")
    found = leftovers(client)
    assert [(one.session, one.last_used) for one in found] == [("new", None)]

    def arrive() -> None:
        own_service.post_job("sleep 600", labels=names.marks("new"))

    clock.on_sleep = arrive

    look_again(client, found)

    assert [one.is_active for one in found] == [True]
