"""Hooks of the library itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prominence.plugins.markers import hookspec

if TYPE_CHECKING:
    import click

    from prominence.description import JobDescription
    from prominence.local.engine import Engine, EngineSetup


@hookspec
def prominence_commands() -> list[click.Command]:  # type: ignore[empty-body]
    """Verbs to add to the ``prominence`` command.

    Called once, when the command is given a verb that is not its own, or lists all verbs. The verbs of all
    plugins are added; one that has the name of a verb that is there already is left out. Example::

        @hookimpl
        def prominence_commands():
            @click.command()
            def hello():
                click.echo("hello")

            return [hello]
    """


@hookspec
def prominence_prepare_job(job: JobDescription) -> None:
    """Change a job before it is submitted, or veto that by raising an error.

    Called once for each job, also those of a workflow, in the thread that submits, before the rules are
    checked; what is raised is raised by ``create()``, or by the future. Example::

        @hookimpl
        def prominence_prepare_job(job):
            job.labels = {**job.labels, "project": "climate"}
    """


@hookspec(firstresult=True)
def prominence_local_engine(name: str, setup: EngineSetup) -> Engine | None:
    """The engine called ``name``, under which the local service is to run jobs; None for another's name.

    Called once in the process of the service, as it starts; ``PROMINENCE_LOCAL_ENGINE`` has the name. Plugins
    are asked only for names other than ``machine``, the engine that comes with the service. Example::

        @hookimpl
        def prominence_local_engine(name, setup):
            return PoolEngine(setup.directory) if name == "pool" else None
    """
