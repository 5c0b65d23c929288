"""Hooks of the executor package.

The first two are also for programs with a plugin manager of their own: see ``register`` of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prominence.plugins import hookspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from prominence import Job
    from prominence.exceptions import JobFailedError
    from prominence.snapshot import JobSnapshot


@hookspec
def prominence_executors() -> Mapping[str, Callable[..., Executor]]:  # type: ignore[empty-body]
    """Executors by name, each as something to call with the executor's options.

    Called when somebody asks for an executor by name (:func:`prominence_executors.create`) or for the list
    of names. The answers of all plugins are put together; for a name that several have, the plugin
    registered last wins. Importing what an executor needs should wait until it is called. Example::

        @hookimpl
        def prominence_executors():
            return {"threads": concurrent.futures.ThreadPoolExecutor}
    """


@hookspec
def prominence_host_adapters() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Adapters for other programs, by the program's name, each as ``module:object``.

    Called when somebody asks which there are (:func:`prominence_executors.host_adapters`). Nothing is
    imported for that, so that programs which are not installed do no harm. The answers of all plugins are put
    together; for a name that several have, the plugin registered last wins. Example::

        @hookimpl
        def prominence_host_adapters():
            return {"luigi": "my_package.luigi_adapter:RemoteTask"}
    """


@hookspec
def prominence_reducers() -> Mapping[type, Callable[[Any], tuple[Any, ...]]]:  # type: ignore[empty-body]
    """How objects of some types are pickled in calls, as functions that return what ``__reduce__`` does.

    Called each time that a call is pickled, in the thread that submits it. What a function refers to must be
    importable in the job, or travel with it; values that calls give back are pickled without it. Example::

        @hookimpl
        def prominence_reducers():
            return {Table: lambda table: (Table.open, (table.path,))}
    """


@hookspec
def prominence_job_changed(job: Job, snapshot: JobSnapshot) -> None:
    """See each new state of a job that an executor runs, the last time when it has ended.

    Called in the thread that watches all jobs of the session, so an implementation must be quick and ask
    nothing of the service; what it raises is logged, and changes nothing. Example::

        @hookimpl
        def prominence_job_changed(job, snapshot):
            if snapshot.has_ended:
                counter.labels(snapshot.status).inc()
    """


@hookspec(firstresult=True)
def prominence_classify_failure(job: Job, snapshot: JobSnapshot) -> type[JobFailedError] | None:
    """The kind of error that a failed job is, for failures that only a site knows; None for all others.

    Called once for each job of an executor that has failed, before the built-in rules are asked, in the
    thread that brings its outcome; it may read the job's output. An error that it raises is logged. Example::

        @hookimpl
        def prominence_classify_failure(job, snapshot):
            return LicenceMissing if 42 in snapshot.exit_codes else None
    """


HOOKS_OF_HOSTS: Final = (prominence_executors, prominence_host_adapters)
"""Those that a program with a plugin manager of its own calls."""
