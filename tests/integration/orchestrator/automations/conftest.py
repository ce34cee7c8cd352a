"""Automations on a real catalogue and real shards, with a clock and runs that the test controls, and a fuse that kills between any two steps."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import pytest

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.caller import Caller
from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.ids import RandomIds
from mwfs_orchestrator.automations.backfills import Backfills
from mwfs_orchestrator.automations.commands import Commands, Refused
from mwfs_orchestrator.automations.ends import Ends
from mwfs_orchestrator.automations.firing import Firing
from mwfs_orchestrator.automations.model import Automation
from mwfs_orchestrator.automations.schedules import Schedules
from mwfs_orchestrator.automations.store import AutomationStore, LockedBackfill
from mwfs_orchestrator.automations.upkeep import Upkeep
from mwfs_orchestrator.automations.watches import Watches
from mwfs_orchestrator.catalogue.store import CatalogueStore
from mwfs_orchestrator.model import run_id_of
from mwfs_orchestrator.shard.ends import ShardEnds

TEAM = "red"
CALLER = Caller(principal="ada", team=TEAM)
TEXT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_STRING)
INT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_INT)
DATE_PARTITION = types_pb2.Type(semantic=types_pb2.SemanticType(name="DatePartition", version=1))
SUCCEEDED, FAILED, CANCELLED = (
    events_pb2.RUN_STATE_SUCCEEDED,
    events_pb2.RUN_STATE_FAILED,
    events_pb2.RUN_STATE_CANCELLED,
)


class Killed(BaseException):
    """kill -9, as far as this process is concerned: nothing after it happens."""


class Fuse:
    """Burns through at the nth step; without a number, never."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.at and self.steps >= self.at:
            raise Killed


class Fused:
    """Another object, with a step of the fuse before and after each of its calls."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def called(*arguments: Any, **named: Any) -> Any:
            self._fuse.step()
            result = await found(*arguments, **named)
            self._fuse.step()
            return result

        return called


class FusedStore(Fused):
    """A store whose locked backfills have the fuse too: inside the transaction, and after its commit."""

    @asynccontextmanager
    async def locked(self, automation_id: UUID) -> AsyncIterator[Any]:
        async with self._inner.locked(automation_id) as locked:
            yield None if locked is None else _with_automation(locked, self._fuse)
            self._fuse.step()
        self._fuse.step()


def _with_automation(locked: LockedBackfill, fuse: Fuse) -> Any:
    fused = Fused(locked, fuse)
    fused.automation = locked.automation  # type: ignore[attr-defined]
    return fused


class SteppedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000  # 2027-01-15 08:00 UTC

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return self.us / 1e6


class RecordedRuns:
    """Accepts submissions as the intake does: the same request id and body find the same run, another body is refused."""

    def __init__(self) -> None:
        self.submitted: dict[UUID, orchestrator_pb2.SubmitHeader] = {}
        self.cancelled: set[UUID] = set()
        self.values: dict[UUID, orchestrator_pb2.GetOutputsResponse] = {}
        self.refusal: Exception | None = None

    async def submit(self, header: orchestrator_pb2.SubmitHeader, caller: Caller) -> None:
        if self.refusal is not None:
            raise self.refusal
        run_id = run_id_of(caller.team, header.request_id)
        if self.submitted.setdefault(run_id, header) != header:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, "another body")

    async def cancel(self, run_id: UUID, caller: Caller) -> None:
        self.cancelled.add(run_id)

    async def outputs(self, run_id: UUID, caller: Caller) -> orchestrator_pb2.GetOutputsResponse:
        if run_id not in self.values:
            raise FailedPrecondition("no outputs")
        return self.values[run_id]

    def of(self, name: str) -> dict[str, orchestrator_pb2.SubmitHeader]:
        """The runs of an automation, by occasion. Two runs of one occasion are an error."""
        found: dict[str, orchestrator_pb2.SubmitHeader] = {}
        for header in self.submitted.values():
            if name in (header.tags.get(f"mwfs.{kind}") for kind in ("schedule", "trigger", "backfill")):
                occasion = header.tags["mwfs.occasion"]
                assert occasion not in found, f"{occasion} was started twice"
                found[occasion] = header
        return found


class Stage:
    """One catalogue and two shards, and as many orchestrators on them as a test likes."""

    def __init__(self, catalogue: asyncpg.Pool, shards: list[asyncpg.Pool]) -> None:
        self.clock = SteppedClock()
        self.runs = RecordedRuns()
        self.versions = CatalogueStore(catalogue)
        self.store = AutomationStore(catalogue)
        self.shard_pools = shards
        self.shards = [ShardEnds(number, pool) for number, pool in enumerate(shards)]
        self.catalogue = catalogue
        self.firings: list[Firing] = []

    def firing(self, fuse: Fuse | None = None, replica: str = "orchestrator-0") -> Firing:
        """A process that has just started."""
        fuse = fuse or Fuse()
        store: Any = FusedStore(self.store, fuse)
        shards: Any = {shard.shard: Fused(shard, fuse) for shard in self.shards}
        runs: Any = Fused(self.runs, fuse)
        watches = Watches(store=store, shards=shards)
        commands = Commands(store=store, runs=runs, clock=self.clock)
        firing = Firing(
            store=store,
            schedules=Schedules(store=store, versions=self.versions, clock=self.clock),
            ends=Ends(store=store, versions=self.versions, shards=shards, clock=self.clock),
            backfills=Backfills(store=store, versions=self.versions, runs=runs, watches=watches),
            commands=commands,
            watches=watches,
            clock=self.clock,
            replica=replica,
        )
        firing.settle = commands.settle  # type: ignore[attr-defined]
        return firing

    async def go_on(self, firing: Any | None = None) -> None:
        """Until there is nothing more to do at this time."""
        firing = firing or self.firing()
        for _ in range(4):
            await firing.look(woken=True)
            await firing.settle()

    def upkeep(self) -> Upkeep:
        return Upkeep(
            store=self.store,
            versions=self.versions,
            watches=Watches(store=self.store, shards=dict(enumerate(self.shards))),
            changed=lambda: None,
            clock=self.clock,
            ids=RandomIds(),
        )

    async def create(self, name: str, caller: Caller = CALLER, **content: Any) -> Automation:
        made, _ = await self.upkeep().create(caller, pb.CreateAutomationRequest(name=name, **content))
        return made

    async def register(
        self,
        workflow: str,
        inputs: Mapping[str, types_pb2.Type] | None = None,
        outputs: Mapping[str, types_pb2.Type] | None = None,
        digest: str = "a",
    ) -> str:
        version = orchestrator_pb2.WorkflowVersion(
            workflow=workflow, digest="sha256:" + digest * 64, create_time_us=ord(digest)
        )
        for name, type_ in (inputs or {}).items():
            version.inputs.add(name=name, type=type_)
        for name, type_ in (outputs or {}).items():
            version.outputs.add(name=name, type=type_)
        await self.versions.add_version(TEAM, version)
        return version.digest

    async def end_run(
        self,
        run_id: UUID,
        workflow: str,
        state: int = SUCCEEDED,
        *,
        round: int = 1,
        tags: str = "{}",
        outputs: bytes | None = None,
    ) -> None:
        """What the group commit does when a run ends that somebody waits for (`test_run_ends.py` shows that it does)."""
        await self.shard_pools[run_id.int % 2].execute(
            "INSERT INTO run_ends SELECT $1, $2, $3, $4, $5, $6::jsonb, $7, $8, array_agg(automation_id) FROM watched_ends"
            " WHERE team = $3 AND workflow IN ($4, '') HAVING count(*) > 0 ON CONFLICT DO NOTHING",
            run_id,
            round,
            TEAM,
            workflow,
            state,
            tags,
            self.clock.us,
            outputs,
        )

    async def occasions(self, automation: Automation) -> dict[str, int]:
        rows = await self.catalogue.fetch(
            "SELECT occasion, state FROM occasions WHERE automation_id = $1", automation.automation_id
        )
        return {row["occasion"]: row["state"] for row in rows}

    async def state(self, automation: Automation) -> int:
        found = await self.store.get_many([automation.automation_id])
        return found[automation.automation_id].state


@pytest.fixture
async def stage(databases: Callable[..., list[str]]) -> AsyncIterator[Stage]:
    (catalogue,) = databases(1, package="mwfs_orchestrator.catalogue")
    pools = [
        await asyncpg.create_pool(dsn, min_size=1, max_size=4)
        for dsn in (catalogue, *databases(2, package="mwfs_orchestrator.shard"))
    ]
    yield Stage(pools[0], pools[1:])
    for pool in pools:
        await pool.close()


def template(workflow: str, *fills: pb.Fill, **inputs: types_pb2.Value) -> pb.RunTemplate:
    return pb.RunTemplate(workflow=workflow, fills=fills, inputs=inputs)
