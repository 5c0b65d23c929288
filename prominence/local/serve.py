"""The process of the embedded service, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sqlite3
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

import uvicorn

from prominence.exceptions import LocalServiceError
from prominence.local.api.answers import BASE
from prominence.local.api.app import application
from prominence.local.attempts import Attempts
from prominence.local.connections import Connection
from prominence.local.directory import AlreadyServed, Endpoint, StateDirectory
from prominence.local.engine import EngineSetup
from prominence.local.engines import make_engine
from prominence.local.job_tables import JobTables
from prominence.local.jobs import Jobs
from prominence.local.ledger import Ledger
from prominence.local.objects import Objects
from prominence.local.queue_limits import QueueLimits
from prominence.local.retention import Pruner
from prominence.local.rough import Turbulence, closing_protocol, roughened
from prominence.local.store import Store
from prominence.local.tokens import Signer
from prominence.local.workflow_tables import WorkflowTables
from prominence.local.workflows import Workflows
from prominence.logs import logger
from prominence.settings import DEFAULT_RETENTION, Retention, RuntimeSettings
from prominence.sharing import SharedFiles
from prominence.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from prominence.local.api.guard import Guard
    from prominence.local.engine import Engine

log = logger(__name__)

_HOST: Final = "127.0.0.1"
_IDLE_LOOK_S: Final = 5.0
_LOST_LOOK_S: Final = 2.0
_TOKEN_LOOK_S: Final = 5.0
_KEEP_ALIVE_S: Final = 75
_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How one service is to run: ``cpus`` and ``memory`` (GB) default to what the engine has.

    It ends after ``idle_minutes`` without a request or an unfinished job (0: never). ``minute`` is the
    length of a walltime minute in seconds, for tests; so is ``rough`` (:mod:`prominence.local.rough`).
    """

    directory: Path
    cpus: int | None = None
    memory: float | None = None
    engine: str = "machine"
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    retention: Retention = DEFAULT_RETENTION
    idle_minutes: float = 10.0
    minute: float = 60.0
    rough: bool = False


def serve(options: ServeOptions, ready: Callable[[], None]) -> None:
    """Run the service until a signal or idleness ends it; ``ready`` is called once it answers."""
    state = StateDirectory(options.directory)
    state.open()
    with state.serving() as mine:
        if not mine:
            raise AlreadyServed(f"another service already runs in {options.directory}")
        try:
            asyncio.run(_serve(options, state, ready))
        except (LocalServiceError, OSError, sqlite3.Error) as error:
            state.refuse_full_disk(error)
            raise


@dataclass(frozen=True, slots=True)
class _Service:
    """The parts of one service, put together."""

    store: Store
    signer: Signer
    engine: Engine
    jobs: Jobs
    workflows: Workflows
    pruner: Pruner
    app: Guard
    files: SharedFiles | None
    turbulence: Turbulence | None

    @classmethod
    async def open(cls, options: ServeOptions, state: StateDirectory, url: str) -> Self:
        """The service on what its directory has, with every job that may still run handed to the engine."""
        state.refuse_emptied_database()
        signer, store = Signer(state.secret()), Store(state.database)
        wanted = (options.cpus, options.memory, options.minute, options.runtime)
        setup = EngineSetup(state.attempts, *wanted, database=store.identity())
        engine = make_engine(options.engine, setup)
        await engine.open()
        objects = Objects(store, state.objects, signer.user)
        objects.open()
        ledger = Ledger(store, last_id=state.last_job())
        workflow_tables = WorkflowTables(store, ledger, idempotent=not options.rough)
        job_tables = JobTables(store, ledger, workflow_tables, idempotent=not options.rough)
        attempts = Attempts(store, objects, signer, url)
        limits = QueueLimits(store, options.minute)
        jobs = Jobs(store, ledger, job_tables, engine, attempts, limits=limits)
        workflows = Workflows(store, ledger, workflow_tables, jobs, engine)
        await jobs.recover()
        pruner = Pruner(options.retention, state=state, store=store, engine=engine, objects=objects)
        turbulence = Turbulence() if options.rough else None
        files = None if options.rough else SharedFiles(state.path, secrets.token_hex(_KEY_BYTES))
        app = application(
            state=state,
            store=store,
            signer=signer,
            objects=objects,
            jobs=jobs,
            workflows=workflows,
            engine=engine,
            files=files,
            turbulence=turbulence,
        )
        return cls(store, signer, engine, jobs, workflows, pruner, app, files, turbulence)

    def server(self, started: Callable[[], None]) -> _Server:
        if self.turbulence is None:
            return _Server(self.app, Connection, started)
        return _Server(roughened(self.app, self.turbulence), closing_protocol(self.turbulence), started)


async def _serve(options: ServeOptions, state: StateDirectory, ready: Callable[[], None]) -> None:
    listening = _listen(state.last_port())
    port = listening.getsockname()[1]
    if port != state.last_port():
        state.keep_port(port)
    url = f"http://{_HOST}:{port}{BASE}"
    service = await _Service.open(options, state, url)
    capacity, _ = service.engine.capacity()
    endpoint = Endpoint(
        url,
        service.signer.user_token(),
        os.getpid(),
        __version__,
        capacity.cpus,
        capacity.memory,
        options.runtime.name or "host",
        "" if service.files is None else service.files.key,
    )

    def started() -> None:
        state.publish(endpoint)
        log.info("version %s, process %d, %s, %s", __version__, os.getpid(), url, capacity)
        ready()

    server = service.server(started)
    background = [
        asyncio.create_task(service.pruner.prune_from_time_to_time()),
        asyncio.create_task(service.jobs.follow_engine()),
        asyncio.create_task(service.jobs.end_overdue()),
        asyncio.create_task(service.workflows.make_jobs()),
        asyncio.create_task(_keep_token_good(state, service.signer, endpoint)),
        asyncio.create_task(_end_when_lost(server, state)),
        asyncio.create_task(_end_when_idle(server, service, options.idle_minutes * 60)),
    ]
    for task in background:
        task.add_done_callback(server.end_with)
    try:
        await server.serve(sockets=[listening])
    finally:
        state.withdraw()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await service.engine.close()
        service.store.close()
        log.info("ended")


class _Server(uvicorn.Server):
    """Uvicorn, ended by our own signal handlers so that what comes after it is still done."""

    def __init__(self, app: ASGIApp, protocol: type[Connection], started: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                proxy_headers=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=1,
            )
        )
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        yield

    def end(self) -> None:
        self.should_exit = True

    def end_with(self, task: asyncio.Task[None]) -> None:
        """A service that lost one of its parts must not go on as if it were well: the next one recovers."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the service failed", exc_info=error)
            self.end()


async def _keep_token_good(state: StateDirectory, signer: Signer, endpoint: Endpoint) -> None:
    """Publish a new token in time, also when the machine's clock was set and jumped by years."""
    while True:
        await asyncio.sleep(_TOKEN_LOOK_S)
        if signer.wears_out(endpoint.token) and not state.is_lost():
            endpoint = replace(endpoint, token=signer.user_token())
            state.publish(endpoint)


async def _end_when_lost(server: _Server, state: StateDirectory) -> None:
    while True:
        await asyncio.sleep(_LOST_LOOK_S)
        if state.is_lost():
            log.critical("the state directory %s was removed: the service ends", state.path)
            server.end()
            return


async def _end_when_idle(server: _Server, service: _Service, idle_s: float) -> None:
    while idle_s:
        await asyncio.sleep(min(_IDLE_LOOK_S, idle_s))
        if service.app.quiet_s() >= idle_s and not service.jobs.tables.has_unfinished():
            log.info("idle for %.0f minutes", idle_s / 60)
            server.end()
            return


def _listen(wanted_port: int) -> socket.socket:
    """A listening socket on loopback; on the port that an earlier service had, where it is free.

    Jobs that still run know the service by that port.
    """
    for port in (wanted_port, 0):
        # asyncio turns Nagle's algorithm off only where the protocol is named: 40 ms an answer
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_HOST, port))
        except OSError:
            listening.close()
        else:
            return listening
    raise LocalServiceError(f"no port of {_HOST} can be used")
