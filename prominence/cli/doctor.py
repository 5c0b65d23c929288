"""``prominence doctor``: what is set, what can be reached, what is installed. No secret is shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from prominence.cli.output import as_json, show_json, show_table, when
from prominence.cli.verbs import SERVICE_TROUBLE
from prominence.credentials import expiry_of
from prominence.exceptions import ProminenceError
from prominence.settings import Settings
from prominence.settings.origins import origins
from prominence.version import __version__

if TYPE_CHECKING:
    from prominence.session import Session

_GOOD: Final = "ok"
_BAD: Final = "failed"


@click.command()
@as_json
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Show what is set and from where, and what works.

    No secret is shown, nothing is started, and no job is submitted. The exit code is 3 where something is
    wrong.

    \b
    Example:
      prominence doctor
    """
    session: Session = context.obj
    settings = [each._asdict() for each in origins()]
    checks = [
        {"check": name, "result": result, "detail": detail}
        for name, result, detail in (*_service_checks(session), *_runtime_checks())
    ]
    if as_json:
        versions = {"prominence": __version__, "python": sys.version.split()[0]}
        show_json({"versions": versions, "settings": settings, "checks": checks})
    else:
        click.echo(f"prominence {__version__}, Python {sys.version.split()[0]}\n")
        show_table(("SETTING", "VALUE", "FROM"), [tuple(each.values()) for each in settings])
        click.echo()
        show_table(("CHECK", "RESULT", ""), [tuple(each.values()) for each in checks])
    if any(check["result"] == _BAD for check in checks):
        context.exit(SERVICE_TROUBLE)


_Check = tuple[str, str, str]


def _service_checks(session: Session) -> list[_Check]:
    try:
        settings = Settings.from_environment()
    except ProminenceError as error:
        return [("settings", _BAD, str(error))]
    agree = ("settings", _GOOD, "they agree")
    if settings.url is None:
        return [agree, _local_check(settings)]
    return [agree, _token_check(settings, session.client.clock.time()), *_reachability(session)]


def _token_check(settings: Settings, now: float) -> _Check:
    """A token that looks expired may be good all the same: only the service's answer counts."""
    expiry = expiry_of(settings.token or "")
    if expiry is None:
        return ("token", "unknown", "it does not say when it expires")
    if expiry <= now:
        return ("token", "expired", f"on {when(expiry)} UTC: log in again (prominence login)")
    return ("token", _GOOD, f"expires on {when(expiry)} UTC")


def _reachability(session: Session) -> list[_Check]:
    client = session.client
    try:
        is_healthy = client.is_healthy()
    except ProminenceError as error:
        return [("service", _BAD, str(error))]
    health = (
        ("service", _GOOD, f"{client.url} is well") if is_healthy else ("service", _BAD, "it says it is ill")
    )
    try:
        client.list_jobs(completed=True, num=1)
    except ProminenceError as error:
        return [health, ("access", _BAD, str(error))]
    return [health, ("access", _GOOD, "the token is accepted")]


def _local_check(settings: Settings) -> _Check:
    from prominence.local import daemon

    try:
        endpoint = daemon.running(settings.local)
    except ProminenceError as error:
        return ("local service", _BAD, str(error))
    if endpoint is None:
        return ("local service", "not running", "it is started when it is first needed")
    detail = (
        f"{endpoint.url}, {endpoint.cpus} cpus, {endpoint.memory:g} GB, commands run by {endpoint.runtime}"
    )
    return ("local service", _GOOD, detail)


def _runtime_checks() -> list[_Check]:
    from prominence.local.machine.runtimes import installed_runtimes

    found: dict[str, Any] = installed_runtimes()
    works = [(f"runtime {name}", _GOOD if usable else "not usable", "") for name, usable in found.items()]
    return works or [("container runtimes", "none", "jobs on this machine run without containers")]
