"""``prominence resources`` and ``usage``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from prominence.cli.output import as_json, show_json, show_table

if TYPE_CHECKING:
    from prominence.session import Session


@click.command()
@as_json
@click.pass_obj
def resources(session: Session, *, as_json: bool) -> None:
    """Show each site's CPUs and memory in GB.

    \b
    Example:
      prominence resources
    """
    found = session.client.resources()
    if as_json:
        show_json(found)
        return
    rows = [
        (site["site"], *(site[which][what] for which in ("capacity", "free") for what in ("cpus", "memory")))
        for site in found.get("existing", [])
    ]
    show_table(("SITE", "CPUS", "MEMORY", "FREE CPUS", "FREE MEMORY"), rows)


@click.command()
@click.option("--group", "by_group", is_flag=True, help="By group in place of user.")
@click.option("--all", "all_users", is_flag=True, help="All users of the group.")
@as_json
@click.argument("start", metavar="START", type=click.DateTime(["%Y-%m-%d"]))
@click.argument("end", metavar="END", type=click.DateTime(["%Y-%m-%d"]))
@click.pass_obj
def usage(session: Session, start: Any, end: Any, *, by_group: bool, all_users: bool, as_json: bool) -> None:
    """Show what was used: number of jobs, hours of CPU and wall time.

    START and END are dates such as 2030-12-31, both included.

    \b
    Example:
      prominence usage 2030-01-01 2030-12-31 --group
    """
    days = (f"{day:%Y-%m-%d}" for day in (start, end))
    found = session.client.usage(*days, by_group=by_group, all_users=all_users)
    if as_json:
        show_json(found)
        return
    rows = [
        (who, figures["numberOfJobs"], f"{figures['cpuTime']:.2f}", f"{figures['wallTime']:.2f}")
        for kind in ("users", "groups")
        for who, figures in (found.get(kind) or {}).items()
    ]
    show_table(("USER OR GROUP", "JOBS", "CPU HOURS", "WALL HOURS"), rows)
