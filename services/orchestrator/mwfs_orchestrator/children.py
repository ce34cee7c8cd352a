"""Child runs on their way: submitted wherever their slots are, followed to their ends, cancelled when nobody needs them, and the runs above are told.

Nothing here is remembered: after a restart, or with its slot's next owner, a child begins its way again from its row in `children`. All that it does may be done twice.
"""

import asyncio
import logging
import weakref
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final
from uuid import UUID

import asyncpg
import grpc
from prometheus_client import Gauge

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.caller import Caller, set_caller
from mwfs_chassis.errors import ServiceError
from mwfs_chassis.postgres import AWAY
from mwfs_types.child_runs import cancelled_child, failed_child, refused_child

from .active_run import ActiveRun
from .automations.platform_runs import PlatformRuns
from .changes import Changes
from .child_runs import ChildEnd, request_id_of
from .contents import Contents
from .engine import Engine
from .states import RUN_ENDED, RunState
from .submissions import Intake

log = logging.getLogger(__name__)

CHILDREN = Gauge("mwfs_orchestrator_child_runs", "Child runs that runs of this replica wait for.")
#: The tag of a child run that names the run above it.
PARENT_TAG: Final = "mwfs.parent"
#: Refusals that say nothing about the child itself.
_AGAIN: Final = frozenset(
    (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    )
)
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
#: Children that are submitted at a time.
_SUBMITTED_AT_ONCE: Final = 32
#: Children that are watched on one stream, and how long those that come one after another are gathered for it.
_WATCHED_AT_ONCE: Final = 1_000
_GATHER_S: Final = 0.05
#: Results that are larger travel as artifacts, as those of operators do.
_INLINE_BYTES: Final = 32 * 1024


class _Gone(Exception):
    """The run above is not here any more, or has begun the child's way anew."""


class _Later(Exception):
    """It cannot be done now."""

    def __init__(self, wait_s: float = 0.0) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class _Way:
    """One child on its way."""

    __slots__ = (
        "caller",
        "child",
        "fresh",
        "header",
        "lost",
        "node",
        "round",
        "run",
        "run_end",
        "skip_cleanups",
        "unwanted",
        "wake",
        "workflow",
    )

    def __init__(self, run: ActiveRun, node: int, child: UUID, *, fresh: bool) -> None:
        #: It may be another replica's meanwhile: nothing keeps it in memory.
        self.run = weakref.ref(run)
        self.header = run.header
        #: In whose name it is run: of whoever runs the run above.
        self.caller = Caller(principal=run.header.principal, team=run.header.team)
        self.workflow = run.graph.operator_of(node).control.name if run.graph is not None else ""
        self.node = node
        self.round = run.round
        self.child = child
        #: Nobody has sent it so far.
        self.fresh = fresh
        #: Nobody needs it any more; not even its cleanups.
        self.unwanted = False
        self.skip_cleanups = False
        #: It was there, and is not; it may have been removed long ago, while the run above was paused.
        self.lost = False
        self.run_end: pb.Run | None = None
        self.wake = asyncio.Event()


class Children:
    """Sees the children of this replica's runs through."""

    def __init__(self, *, engine: Engine, intake: Intake, runs: PlatformRuns, contents: Contents) -> None:
        self._engine = engine
        self._intake = intake
        self._runs = runs
        self._contents = contents
        self._ways: dict[UUID, _Way] = {}
        #: Children to be watched, by team.
        self._unwatched: dict[str, list[_Way]] = {}
        self._room = asyncio.Semaphore(_SUBMITTED_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False

    async def start(self) -> None:
        """The server is there."""
        self._started = True
        for way in list(self._ways.values()):
            self._spawn(self._see_through(way))

    async def stop(self) -> None:
        self._started = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._ways.clear()
        self._unwatched.clear()

    def committed(self, changes: Changes) -> None:
        """Children whose nodes wait for them now, and those that nobody needs any more."""
        for run, node, child, fresh in changes.child_starts:
            before = self._ways.get(child)
            way = self._ways[child] = _Way(run, node, child, fresh=fresh)
            if before is not None:
                before.wake.set()  # of a time when its slot was here before
            if self._started:
                self._spawn(self._see_through(way))
        for run, node, skip_cleanups in changes.child_stops:
            child_of = run.child_runs.going_on.get(node)
            found = self._ways.get(child_of) if child_of is not None else None
            if found is not None:
                found.unwanted = True
                found.skip_cleanups = found.skip_cleanups or skip_cleanups
                found.wake.set()
        if changes.child_starts:
            CHILDREN.set(len(self._ways))

    def _is_gone(self, way: _Way) -> bool:
        run = way.run()
        return (
            run is None or self._ways.get(way.child) is not way or self._engine.runs.get(way.header.run_id) is not run
        )

    async def _see_through(self, way: _Way) -> None:
        set_caller(way.caller)
        try:
            end = await self._until_it_works(way, self._submit)
            if end is None:
                end = await self._follow(way)
            if (run := way.run()) is not None:
                self._engine.change(run, partial(run.child_runs.ended, way.node, way.child, end))
        except _Gone:
            pass
        finally:
            if self._ways.get(way.child) is way:
                del self._ways[way.child]
                CHILDREN.set(len(self._ways))

    async def _until_it_works(self, way: _Way, step: Any) -> Any:
        """What `step` gives, when nothing is in its way any more. Raises _Gone."""
        wait_s = _FIRST_WAIT_S
        while True:
            if self._is_gone(way):
                raise _Gone
            try:
                return await step(way)
            except _Later as later:
                pause_s = max(wait_s, later.wait_s)
            except (*AWAY, ServiceError, grpc.aio.AioRpcError, asyncpg.PostgresError) as error:
                log.info("a child run has to wait", extra={"child": str(way.child), "why": repr(error)})
                pause_s = wait_s
            except Exception as error:
                log.critical("a child run cannot go on", exc_info=error, extra={"child": str(way.child)})
                pause_s = _LONGEST_WAIT_S
            await asyncio.sleep(pause_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    # Submitting.

    async def _submit(self, way: _Way) -> ChildEnd | None:
        """None once the platform has the child; else what its node ends with."""
        async with self._room:
            if way.fresh and way.unwanted:
                return ChildEnd()  # our own commit, and nothing was sent
            if self._is_gone(way):
                raise _Gone
            header = way.header
            dag = await self._engine.shard_of(header.slot).load_child(header.run_id, way.node, way.round)
            if way.fresh and way.unwanted:
                return ChildEnd()
            way.fresh = False
            answer = await self._intake.submit(_header_of(way), dag, way.caller)
        if answer.HasField("accepted"):
            return None
        refused = answer.refused
        if grpc.StatusCode[refused.code] in _AGAIN:
            raise _Later(refused.retry_after_seconds)
        return ChildEnd(failure=refused_child(str(way.child), refused.message))

    # Following.

    async def _follow(self, way: _Way) -> ChildEnd:
        """How the child ends. Raises _Gone."""
        told: tuple[bool, bool] | None = None
        told_lost = False
        self._watch_soon(way)
        while way.run_end is None:
            wanted = (way.unwanted, way.skip_cleanups)
            if way.lost and told_lost:
                return ChildEnd(failure=refused_child(str(way.child), "it is gone, and nobody knows how it ended"))
            if way.lost:
                way.lost, told_lost = False, True
                end: ChildEnd | None = await self._until_it_works(way, self._submit)
                if end is not None:
                    return end
                told = None
                self._watch_soon(way)
            elif way.unwanted and told != wanted:
                await self._until_it_works(way, self._cancel)
                told = wanted
            else:
                await way.wake.wait()
                way.wake.clear()
                if self._is_gone(way):
                    raise _Gone
        found: ChildEnd = await self._until_it_works(way, self._read_end)
        return found

    async def _cancel(self, way: _Way) -> None:
        if not way.lost and way.run_end is None:
            await self._runs.cancel(way.child, way.caller, skip_cleanups=way.skip_cleanups)

    async def _read_end(self, way: _Way) -> ChildEnd:
        run, name = way.run_end, str(way.child)
        assert run is not None, "only a child that has ended is read"
        if way.unwanted:
            return ChildEnd()
        state = RunState(run.state)
        if state is RunState.FAILED:
            return ChildEnd(failure=failed_child(name, run.failure))
        if state is RunState.CANCELLED:
            return ChildEnd(failure=cancelled_child(name))
        value = (await self._runs.outputs(way.child, way.caller)).outputs[0].value
        if value.ByteSize() <= _INLINE_BYTES:
            return ChildEnd(value=value)
        kept = await self._contents.keep(value)
        return (
            ChildEnd(failure=kept)
            if isinstance(kept, events_pb2.Failure)
            else ChildEnd(value=types_pb2.Value(artifact=kept))
        )

    # Watching many at once.

    def _watch_soon(self, way: _Way) -> None:
        waiting = self._unwatched.setdefault(way.header.team, [])
        waiting.append(way)
        if len(waiting) == 1:
            self._spawn(self._gather(way.header.team))

    async def _gather(self, team: str) -> None:
        await asyncio.sleep(_GATHER_S)
        ways = self._unwatched.pop(team, [])
        for first in range(0, len(ways), _WATCHED_AT_ONCE):
            self._spawn(self._watch(ways[first : first + _WATCHED_AT_ONCE]))

    async def _watch(self, ways: list[_Way]) -> None:
        """Until all have ended, or the stream does: then what is left is watched anew."""
        left = {str(way.child): way for way in ways}
        lost = False
        try:
            async for response in self._runs.watch(list(left), ways[0].caller):
                for update in response.updates:
                    if RunState(update.run.state) in RUN_ENDED and (ended := left.pop(update.run.run_id, None)):
                        ended.run_end = update.run
                        ended.wake.set()
        except grpc.aio.AioRpcError as error:
            # Removed, or in the archive.
            lost = error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
            log.info("child runs are watched anew", extra={"children": len(left), "why": error.details()})
        except ServiceError as error:
            log.info("child runs are watched anew", extra={"children": len(left), "why": str(error)})
        if left:
            await asyncio.sleep(_FIRST_WAIT_S)
        for way in left.values():
            if self._is_gone(way):
                way.wake.set()
            elif lost and len(ways) > 1:
                self._spawn(self._watch([way]))  # one of them is not there
            elif lost:
                way.lost = True
                way.wake.set()
            else:
                self._watch_soon(way)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _header_of(way: _Way) -> pb.SubmitHeader:
    """The same whoever submits it: another body under the same request id would be refused."""
    above = way.header
    return pb.SubmitHeader(
        request_id=request_id_of(above.run_id, way.node, way.round),
        workflow=way.workflow,
        priority=above.priority,
        tags={PARENT_TAG: str(above.run_id)},
        options=dag_pb2.RunOptions(child_depth=above.options.child_depth + 1),
    )
