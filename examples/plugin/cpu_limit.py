"""No job asks for more cpus than `CPU_LIMIT` (an environment variable; 4 where it is not set)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from prominence.exceptions import InvalidDescription
from prominence.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from prominence import Job


def limit() -> int:
    return int(os.environ.get("CPU_LIMIT", "4"))


@hookimpl
def prominence_prepare_job(job: Job) -> None:
    cpus = job.resources.cpus
    if cpus is not None and cpus > limit():
        raise InvalidDescription("cpus", cpus, f"at most {limit()} (CPU_LIMIT)", "resources.cpus")
    job.labels = {**job.labels, "cpulimit": str(limit())}


@hookimpl
def prominence_executors() -> Mapping[str, Callable[..., Executor]]:
    def largest(**options: object) -> Executor:
        from prominence import Resources
        from prominence_executors import ProminenceExecutor

        return ProminenceExecutor(resources=Resources(cpus=limit()), **options)  # type: ignore[arg-type]

    return {"largest": largest}


@hookimpl
def prominence_commands() -> list[click.Command]:
    @click.command(name="cpu-limit")
    def cpu_limit() -> None:
        """Show how many cpus a job may ask for."""
        click.echo(limit())

    return [cpu_limit]
