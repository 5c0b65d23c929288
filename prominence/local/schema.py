"""The tables of the service's database, as numbered steps from an empty file to today's.

Step *n* takes a database from version *n* - 1 to *n*. A step that was released is never changed: what comes
later is a step of its own at the end.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from prominence.exceptions import LocalServiceError

if TYPE_CHECKING:
    from pathlib import Path

_CHECKED_BYTES: Final = 200_000_000  # 0.1 s; a larger file is checked where the last service was killed
STEPS: Final[tuple[str, ...]] = (
    # 1: jobs
    """
    create table jobs (
        id integer primary key,
        name text not null,
        status text not null,
        reason text not null default '',
        description text not null,
        submission text unique,
        created integer not null,
        started integer,
        ended integer,
        attempt integer not null default 1,
        execution text not null default '{}',
        outputs text not null default '{}',
        revision integer not null
    );
    create index jobs_by_revision on jobs (revision);
    create index jobs_by_name on jobs (name);
    create index jobs_active on jobs (id) where status in ('idle', 'running');
    create table labels (job integer not null, name text not null, value text not null);
    create index labels_by_value on labels (name, value);
    create table inputs (job integer primary key, inputs text not null);
    """,
    # 2: uploaded objects and the key-value store
    """
    create table objects (
        key text primary key,
        digest text not null,
        size integer not null,
        modified integer not null
    );
    create index objects_by_digest on objects (digest);
    create table pairs (key text primary key, value blob not null) without rowid;
    """,
    # 3: jobs that stay in the queue after their end, and commands that were run beside jobs
    """
    alter table jobs add column kept integer not null default 0;
    alter table jobs add column commands text not null default '[]';
    create index jobs_kept on jobs (id) where kept;
    """,
    # 4: workflows
    """
    create table workflows (
        id integer primary key,
        name text not null,
        status text not null,
        reason text not null default '',
        submission text unique,
        created integer not null,
        started integer,
        ended integer,
        total integer not null,
        released integer not null default 0,
        done integer not null default 0,
        failed integer not null default 0,
        maximum_retries integer not null,
        maximum_reruns integer not null,
        reruns integer not null default 0,
        kept integer not null,
        revision integer not null
    );
    create index workflows_by_revision on workflows (revision);
    create index workflows_by_name on workflows (name);
    create index workflows_listed on workflows (id) where status in ('idle', 'running') or kept;
    create table workflow_descriptions (workflow integer primary key, description text not null);
    create table workflow_labels (workflow integer not null, name text not null, value text not null);
    create index workflow_labels_by_value on workflow_labels (name, value);
    create index workflow_labels_by_workflow on workflow_labels (workflow);
    create table templates (
        id integer primary key,
        workflow integer not null,
        name text not null,
        total integer not null,
        unfinished_parents integer not null,
        released integer not null default 0,
        made integer not null default 0,
        done integer not null default 0
    );
    create table template_descriptions (
        template integer primary key,
        description text not null,
        factory text,
        inputs text
    );
    create index templates_by_workflow on templates (workflow);
    create index templates_to_make on templates (id) where released and made < total;
    create table children (parent integer, child integer, primary key (parent, child)) without rowid;
    create table retries (template integer, instance integer, primary key (template, instance)) without rowid;
    create table carried_over (
        template integer, instance integer, job integer, primary key (template, instance)
    ) without rowid;
    alter table jobs rename column description to own_description;
    alter table jobs add column workflow integer;
    alter table jobs add column template integer;
    alter table jobs add column instance integer;
    alter table jobs add column parameters text;
    alter table jobs add column succeeded integer;
    create index jobs_by_template on jobs (template, instance) where template is not null;
    create index jobs_by_workflow on jobs (workflow) where workflow is not null;
    create index jobs_being_ended on jobs (id) where status = 'deleted' and ended is null;
    create index labels_by_job on labels (job);
    create view described_jobs as
        select jobs.*,
            case when template is null then own_description else description end as description
        from jobs left join template_descriptions using (template);
    """,
    # 5: which jobs a re-run has carried over, asked for when old ones are removed
    "create index carried_over_by_job on carried_over (job)",
    # 6: a name of its own, which the attempts of its jobs carry; those from before carry none
    """
    create table identity (name text not null);
    insert into identity select case
        when exists (select 1 from jobs) or exists (select 1 from workflows) then ''
        else lower(hex(randomblob(16))) end;
    """,
)


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to the database, made or brought up to date.

    Raises LocalServiceError for a file that is damaged, of another program or of a later release, and
    changes nothing in it.
    """
    was_closed = not path.with_name(f"{path.name}-wal").exists()
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            version = _usable_version(connection, path)
            if not was_closed or path.stat().st_size <= _CHECKED_BYTES:
                _check(connection)
            connection.execute("pragma journal_mode = wal")
            upgrade(connection, version)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise LocalServiceError(
            f"the database {path} cannot be used: {error}; it was left as it is. "
            "Restore it from a copy, or move it away to start with an empty one"
        ) from error
    return connection


def upgrade(connection: sqlite3.Connection, version: int, steps: tuple[str, ...] = STEPS) -> None:
    """Apply the steps after ``version``, each of them wholly or not at all."""
    for number, step in enumerate(steps[version:], version + 1):
        try:
            connection.executescript(f"begin immediate;{step};pragma user_version = {number};commit;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("rollback")
            raise


def _usable_version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("pragma user_version").fetchone()[0])
    if version > len(STEPS):
        raise LocalServiceError(
            f"the database {path} has version {version}, this release knows versions up to {len(STEPS)}: "
            "use the release that wrote it, or move the file away"
        )
    if version == 0 and connection.execute("select count(*) from sqlite_schema").fetchone()[0]:
        raise LocalServiceError(f"{path} is not a database of the local service: move the file away")
    return version


def _check(connection: sqlite3.Connection) -> None:
    damage = connection.execute("pragma quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise sqlite3.DatabaseError(damage)
