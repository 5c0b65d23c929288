"""``prominence sessions``: who comes back the next day sees what there is."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.until import until

from prominence_executors import ProminenceExecutor
from prominence_executors.sessions import names

if TYPE_CHECKING:
    from support.command import Command

    from prominence import Session


def shown(command: Command) -> dict[str, Any]:
    return {each["session"]: each for each in command.json("sessions", "--json")}


def test_jobs_bytes_and_the_driver_are_shown(command: Command, own_session: Session) -> None:
    with ProminenceExecutor(1, session="beam", service=own_session, on_exit="cancel") as executor:
        assert executor.submit(len, b"x" * 2_000_000).result() == 2_000_000
        running = executor.submit("sleep 600")
        executor.submit("true")
        until(lambda: running.status == "running")

        beam = shown(command)["beam"]
        assert beam["driver"] == {"state": "runs here", "host": socket.gethostname(), "pid": os.getpid()}
        assert beam["calls"] == 3
        assert beam["jobs"] == {"running": 1, "completed": 1}
        assert beam["objects"] == 1
        assert beam["stored_bytes"] >= 2_000_000
        heading, line = command("sessions").stdout.splitlines()
        assert heading.split()[2:6] == ["CALLS", "QUEUED", "RUNNING", "ENDED"]
        assert line.partition(f"process {os.getpid()})")[2].split()[:4] == ["3", "0", "1", "1"]

    assert shown(command)["beam"]["driver"] == {"state": "none", "host": None, "pid": None}
    assert shown(command)["beam"]["jobs"] == {"completed": 1, "deleted": 1}


@pytest.mark.parametrize(
    ("process", "state"),
    [
        ({"machine": "another-host boot", "pid": 17, "started": 1.0}, "elsewhere"),
        (None, "was killed"),
    ],
)
def test_a_driver_that_did_not_end_in_good_order(
    process: dict[str, Any] | None, state: str, command: Command, own_session: Session
) -> None:
    client = own_session.client
    ProminenceExecutor(session="left", service=own_session).shutdown()
    (key,) = client.kv_list("prominence/left/drivers")
    about = json.loads(client.kv_get(key))
    about["process"] = process or {**about["process"], "started": 1.0}
    client.kv_set(key, json.dumps(about))
    client.kv_set(names.key("left", "lease"), f"{key.rpartition('/')[2]}:3")

    assert shown(command)["left"]["driver"]["state"] == state


def test_sessions_of_other_releases_and_without_a_name(command: Command, own_session: Session) -> None:
    client = own_session.client
    client.kv_set(names.key("newer", "drivers", "abcd"), '{"format": 2, "began": 1.0, "prominence": "9.0"}')
    client.kv_set(names.key("newer", "lease"), "abcd:1")
    with ProminenceExecutor(session=own_session) as executor:
        executor.submit(len, b"x" * 2_000_000).result()

    done = command("sessions")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["SESSION", "newer"]
    assert "sessions without a name: 1, with 2" in done.stderr
    newer = shown(command)["newer"]
    assert (newer["calls"], newer["driver"]["state"]) == (None, "unknown")


def test_jobs_of_a_deleted_session_with_the_name_are_not_counted(
    command: Command, own_session: Session
) -> None:
    with ProminenceExecutor(session="twice", service=own_session) as executor:
        for _ in range(3):
            executor.submit("true")
        executor.close(delete=True)
    with ProminenceExecutor(session="twice", service=own_session) as executor:
        executor.submit("false")
        executor.submit("true")

    assert shown(command)["twice"]["jobs"] == {"completed": 2}


def test_none(command: Command) -> None:
    assert command.json("sessions", "--json") == []
