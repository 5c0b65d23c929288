"""The database: brought up to date, or refused and left as it is."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from prominence.exceptions import LocalServiceError
from prominence.local import schema
from prominence.local.schema import STEPS, open_database, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service.db"


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def _tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("select name, sql from sqlite_schema order by name").fetchall()


def _edit(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()


def _mark_as_newer(path: Path) -> None:
    _edit(path, "pragma user_version = 99")


def _replace(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def _scribble(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * 4096 + content[8192:])


def test_every_earlier_version_becomes_the_present_one(tmp_path: Path) -> None:
    new = open_database(tmp_path / "new.db")
    for version in range(len(STEPS)):
        path = tmp_path / f"{version}.db"
        connection = sqlite3.connect(path, isolation_level=None)
        upgrade(connection, 0, STEPS[:version])
        assert _version(connection) == version
        connection.close()

        upgraded = open_database(path)

        assert _version(upgraded) == len(STEPS)
        assert _tables(upgraded) == _tables(new)
        upgraded.close()
    new.close()


def test_jobs_of_an_older_database_are_kept(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    upgrade(connection, 0, STEPS[:1])
    connection.execute(
        "insert into jobs (id, name, status, description, created, revision)"
        " values (7, 'old', 'completed', '{}', 1, 1)"
    )
    connection.close()

    upgraded = open_database(path)

    assert upgraded.execute("select id, name, status from jobs").fetchall() == [(7, "old", "completed")]
    upgraded.close()


def test_a_step_that_fails_leaves_the_version_before_it(path: Path) -> None:
    connection = open_database(path)
    before = _tables(connection)
    steps = (*STEPS, "create table fine (x)", "create table half (x); create table half (x)")

    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        upgrade(connection, len(STEPS), steps)

    assert _version(connection) == len(STEPS) + 1
    assert {name for name, _ in _tables(connection)} - {name for name, _ in before} == {"fine"}
    connection.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_mark_as_newer, "version 99"),
        (_replace, "not a database"),
        (_cut, "malformed"),
        (_scribble, "left as it is"),
    ],
    ids=["newer", "garbage", "cut", "scribbled"],
)
def test_what_cannot_be_used_is_refused_and_kept(
    path: Path, damage: Callable[[Path], None], said: str
) -> None:
    open_database(path).close()
    damage(path)
    before = path.read_bytes()

    with pytest.raises(LocalServiceError, match=said) as raised:
        open_database(path)

    assert str(path) in str(raised.value)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    _edit(path, "create table bookmarks (url)")
    before = path.read_bytes()

    with pytest.raises(LocalServiceError, match="not a database of the local service"):
        open_database(path)

    assert path.read_bytes() == before


def test_a_large_database_is_checked_after_a_crash_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_CHECKED_BYTES", 0)
    open_database(path).close()
    _scribble(path)

    open_database(path).close()
    path.with_name("service.db-wal").touch()
    with pytest.raises(LocalServiceError, match="left as it is"):
        open_database(path)
