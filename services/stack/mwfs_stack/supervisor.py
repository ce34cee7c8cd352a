"""Runs the whole platform of one home: PostgreSQL first, then the services, until a signal; then everything stops."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwfs_stack.child import Child
from mwfs_stack.health import HealthProbe
from mwfs_stack.home_files import ENDPOINTS_FILE, Home, HomeLock, write_json
from mwfs_stack.leftovers import end_leftovers
from mwfs_stack.ports import choose_ports
from mwfs_stack.postgres import Cluster
from mwfs_stack.services import (
    DATABASES,
    SERVICES,
    Capacity,
    ServiceSpec,
    common_environment,
    metrics_of,
    own_environment,
)

log = logging.getLogger(__name__)

POSTGRES = "postgres"
_POSTGRES_READY_S = 60.0
#: It writes all that is not on disk yet, which takes a while on a busy machine; ended sooner, it would have to recover at its next start.
_POSTGRES_STOP_S = 15.0
_SERVICE_READY_S = 60.0
#: After a kill -9 the old shared memory block may be in use for a moment: many short lives are no reason to despair.
_POSTGRES_EARLY_DEATHS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, and where."""

    home: Path
    capacity: Capacity
    #: Port of the first service, the orchestrator; None: the recorded one, or any.
    port: int | None = None
    services: Sequence[ServiceSpec] = SERVICES


async def supervise(plan: Plan, *, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Start everything, report it once by `on_ready`, keep it running until SIGTERM or SIGINT, stop everything.

    Raises AlreadyRunning, or a StackError after everything that did start has stopped again.
    """
    home = Home.prepare(plan.home)
    lock = HomeLock(home.path)
    try:
        async with AsyncExitStack() as running:
            with _stop_signals() as stop_asked:
                await _until(stop_asked, _run(plan, home, running, on_ready))
                log.info("stopping")
            # Here the exit stack stops the services, then PostgreSQL.
    finally:
        # A signal while the cluster was being made leaves a thread at it: nobody else may begin before it has ended.
        await asyncio.get_running_loop().shutdown_default_executor()
        (home.path / ENDPOINTS_FILE).unlink(missing_ok=True)
        lock.release()


async def _run(plan: Plan, home: Home, running: AsyncExitStack, on_ready: Callable[[dict[str, Any]], None]) -> None:
    await asyncio.to_thread(end_leftovers, home.path)
    names = [spec.name for spec in plan.services]
    fixed = (names[0], plan.port) if plan.port is not None else None
    # A PostgreSQL that was left behind frees its port before ports are checked.
    await asyncio.to_thread(
        Cluster(directory=home.database_directory, password_file=home.password_file, port=0).stop_leftover
    )
    ports = choose_ports(home.path, [*names, *map(metrics_of, names), POSTGRES], running.enter_context, fixed=fixed)
    board = _Board(home.path, ports)
    cluster = Cluster(directory=home.database_directory, password_file=home.password_file, port=ports[POSTGRES])
    await asyncio.to_thread(cluster.prepare)
    postgres = _postgres_child(cluster, home, board)
    await _keep(postgres, running, board)
    await postgres.wait_ready(_POSTGRES_READY_S)
    await cluster.ensure_databases(DATABASES)
    (home.path / "artifacts").mkdir(exist_ok=True)

    token = home.token()
    shared = common_environment(
        home=home.path, token=token, ports=ports, services=plan.services, capacity=plan.capacity, dsn=cluster.dsn
    )
    together = await running.enter_async_context(_Together())
    for spec in plan.services:
        probe = await running.enter_async_context(HealthProbe(f"127.0.0.1:{ports[spec.name]}", token))
        child = Child(
            name=spec.name,
            command=spec.argv,
            environment=shared | own_environment(spec, ports),
            directory=home.path,
            log_file=home.logs / f"{spec.name}.log",
            is_ready=probe.is_serving,
            changed=board.write,
        )
        board.children.append(child)
        together.children.append(child)
        await child.start()
    await asyncio.gather(*(child.wait_ready(_SERVICE_READY_S) for child in together.children))
    log.info("ready", extra={"home": home.path})
    on_ready(board.document())
    await asyncio.Event().wait()


def _postgres_child(cluster: Cluster, home: Home, board: "_Board") -> Child:
    return Child(
        name=POSTGRES,
        command=cluster.command,
        environment={"PATH": os.defpath, "LC_ALL": "C"},
        directory=cluster.directory,
        log_file=home.logs / f"{POSTGRES}.log",
        is_ready=cluster.answers,
        changed=board.write,
        stop_signals=(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL),
        stop_timeout_s=_POSTGRES_STOP_S,
        early_deaths=_POSTGRES_EARLY_DEATHS,
    )


async def _keep(child: Child, running: AsyncExitStack, board: "_Board") -> None:
    board.children.append(child)
    running.push_async_callback(child.stop)
    await child.start()


class _Together:
    """Stops its children at the same time."""

    def __init__(self) -> None:
        self.children: list[Child] = []

    async def __aenter__(self) -> "_Together":
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(child.stop() for child in self.children))


class _Board:
    """Keeps `endpoints.json` true: who listens where, as which process, in which state."""

    def __init__(self, home: Path, ports: dict[str, int]) -> None:
        self.children: list[Child] = []
        self._home = home
        self._ports = ports

    def document(self) -> dict[str, Any]:
        return {"services": {child.name: self._entry(child) for child in self.children}, "pid": os.getpid()}

    def write(self) -> None:
        write_json(self._home / ENDPOINTS_FILE, self.document())

    def _entry(self, child: Child) -> dict[str, Any]:
        metrics = self._ports.get(metrics_of(child.name))
        return {
            "address": f"127.0.0.1:{self._ports[child.name]}",
            "metrics_address": f"127.0.0.1:{metrics}" if metrics else "",
            "pid": child.pid,
            "made_at": child.made_at,
            "state": child.state,
            "deaths": child.deaths,
        }


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM, SIGINT and SIGHUP set, from the first moment on."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, asked.set)
    yield asked


async def _until(stop_asked: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it fails or a stop is asked for."""
    doing = asyncio.ensure_future(work)
    asking = asyncio.ensure_future(stop_asked.wait())
    try:
        await asyncio.wait({doing, asking}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asking.cancel()
        doing.cancel()
        outcome = (await asyncio.gather(doing, asking, return_exceptions=True))[0]
    if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
        raise outcome
