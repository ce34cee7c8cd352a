"""All that happens to runs, in one place: what comes in is decided by the run, committed with its neighbours, and only then acted on."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any
from uuid import UUID

from prometheus_client import Counter, Gauge

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_chassis.clock import Clock

from .active_run import ActiveRun, field_of_artifact
from .arguments import FieldOfArtifact
from .changes import AttemptId, Changes
from .committer import Committer
from .compiling import CompiledDags
from .graph import COMPILE_NODE, Graph
from .host_links import HostLinks, attempt_id, attempt_key
from .launcher import OperatorSpecs, launch_of
from .model import Grant, Group, RunHeader, StartedAttempt
from .scheduler_link import SchedulerLink
from .shard.store import Row, ShardStore, header_of
from .slots import ShardLease
from .states import AttemptState, RunState
from .watchers import Watchers

log = logging.getLogger(__name__)

ACTIVE_RUNS = Gauge("mwfs_orchestrator_active_runs", "Runs that go on.")
OUTCOMES = Counter("mwfs_orchestrator_outcomes", "Outcomes of attempts.", ("state", "counted"))
_OUTCOME_COUNTED = {state: OUTCOMES.labels(state.name.lower(), "yes") for state in AttemptState}
_OUTCOME_REFUSED = OUTCOMES.labels("any", "no")


class Engine:
    """The runs of this replica's slots."""

    def __init__(
        self,
        *,
        stores: list[ShardStore],
        shard_of_slot: list[int],
        clock: Clock,
        scheduler: SchedulerLink,
        hosts: HostLinks,
        specs: OperatorSpecs,
        compiled: CompiledDags,
        watchers: Watchers,
        give_up: Callable[[str], None],
    ) -> None:
        self.runs: dict[UUID, ActiveRun] = {}
        self.watchers = watchers
        #: A stream met a defect of ours: what it was about may be half done, so memory cannot be trusted.
        self.failed = give_up
        self.stores = stores
        self._shard_of_slot = shard_of_slot
        self._clock = clock
        self._scheduler = scheduler
        self._hosts = hosts
        self._specs = specs
        self._compiled = compiled
        self._committers: list[Committer] = []
        self._groups: dict[str, Group] = {}
        self._group_ids = (f"g{number}" for number in itertools.count(1))
        self._reviving: set[UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def write_through(self, committers: list[Committer]) -> None:
        """The committers, one a shard in the stores' order."""
        self._committers = committers

    def shard_of(self, slot: int) -> ShardStore:
        return self.stores[self._shard_of_slot[slot]]

    def _committer(self, run: ActiveRun) -> Committer:
        return self._committers[self._shard_of_slot[run.header.slot]]

    # Runs begin, are taken up, revived and cancelled.

    def accept(self, header: RunHeader, dag_chunks: Iterable[bytes], graph: Graph | None) -> "asyncio.Future[None]":
        """Begins a run that does not exist yet; done once it is committed."""
        run = ActiveRun(header, self._group_ids)
        self.runs[header.run_id] = run
        ACTIVE_RUNS.set(len(self.runs))
        committer = self._committer(run)
        run.accept(dag_chunks, graph, committer.pending, self._clock.now_us())
        return self._when_committed(committer)

    async def take_up(self, lease: ShardLease, slots: list[int]) -> None:
        """Goes on with the runs of slots that have become ours."""
        store = lease.store
        rows = [row for row in await store.load_active_runs(slots) if row["run_id"] not in self.runs]
        for row in rows:
            run = await self._load(store, row)
            committer = self._committer(run)
            self.runs[run.header.run_id] = run
            run.restore(
                [dict(node) for node in await store.load_nodes(run.header.run_id)],
                committer.pending,
                self._clock.now_us(),
            )
            for way in run.in_flight.values():
                _ = self._hosts[way.host]
            committer.flush()
        ACTIVE_RUNS.set(len(self.runs))
        if rows:
            log.info("took up runs", extra={"shard": store.shard, "runs": len(rows)})

    async def _load(self, store: ShardStore, row: Row) -> ActiveRun:
        run = ActiveRun(header_of(row), self._group_ids)
        run.state, run.round = RunState(row["state"]), row["round"]
        run.last_event, run.start_us = row["last_event"], row["start_us"]
        chunks = await store.load_dag(run.header.run_id)
        if chunks:
            run.attach(await self._compiled.graph_of(b"".join(chunks)))
        return run

    async def revive(self, row: Row, request_id: str) -> None:
        """Opens the next round of an ended run; done once it is committed."""
        run_id: UUID = row["run_id"]
        if run_id in self._reviving:
            return
        self._reviving.add(run_id)
        try:
            store = self.shard_of(header_of(row).slot)
            run = await self._load(store, row)
            committer = self._committer(run)
            # Ended: restoring it reads states and outputs and makes nothing ready.
            run.restore([dict(node) for node in await store.load_nodes(run_id)], Changes(), self._clock.now_us())
            self.runs[run_id] = run
            run.revive(request_id, committer.pending, self._clock.now_us())
            await self._when_committed(committer)
        finally:
            self._reviving.discard(run_id)

    async def cancel(self, run: ActiveRun) -> None:
        """Done once it is committed; what runs is stopped after that."""
        committer = self._committer(run)
        run.cancel(committer.pending, self._clock.now_us())
        if committer.pending:
            await self._when_committed(committer)

    def _when_committed(self, committer: Committer) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        committer.pending.then.append(partial(_resolve, done))
        committer.flush()
        return done

    # What the scheduler says.

    def held_grants(self) -> list[scheduler_pb2.HeldGrant]:
        """What runs on which grant, for a scheduler that knows nothing."""
        held: dict[str, scheduler_pb2.HeldGrant] = {}
        for run in self.runs.values():
            for way in run.in_flight.values():
                grant = held.get(way.grant_id)
                if grant is None:
                    grant = held[way.grant_id] = scheduler_pb2.HeldGrant(
                        grant_id=way.grant_id, host=way.host, resources=way.resources, team=run.header.team
                    )
                grant.count += 1
        return list(held.values())

    def waiting_groups(self) -> list[Group]:
        groups = [group for run in self.runs.values() for group in run.ready.groups() if group.ready]
        self._groups.update((group.group_id, group) for group in groups)
        return groups

    def granted(self, grants: list[Grant]) -> None:
        now = self._clock.now_us()
        for grant in grants:
            group = self._groups.get(grant.group_id)
            used = 0
            if group is not None and grant.epoch == self._scheduler.epoch:
                committer = self._committer(group.run)
                used = group.run.start(group, grant, committer.pending, now)
                committer.flush()
            if used < grant.count:
                self._committers[0].pending.releases[grant.grant_id] += grant.count - used
                self._committers[0].flush()

    def revoked(self, revocations: Iterable[scheduler_pb2.Revocation]) -> None:
        """Work that must make room: its attempts are stopped and come back as PREEMPTED outcomes."""
        wanted = {revocation.grant_id: revocation.count for revocation in revocations}
        for run in self.runs.values():
            for node, way in run.in_flight.items():
                if wanted.get(way.grant_id, 0) > 0:
                    wanted[way.grant_id] -= 1
                    self._hosts[way.host].stop_attempt((run.header.run_id, node, way.attempt))

    def hosts_changed(self, hosts: Iterable[scheduler_pb2.Host]) -> None:
        for host in hosts:
            self._hosts[host.host].reach(host.address)

    # What the action services say.

    def attached(self, host: str, live: set[AttemptId], outcomes: set[AttemptId], unsent: set[AttemptId]) -> None:
        """What we believe to run on the host and the host does not know is lost."""
        known = live | outcomes | unsent
        self._lose(host, lambda attempt: attempt not in known, "The action service of the host restarted.")
        for run in self.runs.values():
            if run.state is RunState.CANCELLING or run.stopping:
                for node, way in run.in_flight.items():
                    if way.host == host:
                        self._hosts[host].stop_attempt((run.header.run_id, node, way.attempt))

    def host_lost(self, host: str) -> None:
        self._lose(host, lambda _attempt: True, "The host could not be reached any more.")

    def _lose(self, host: str, lost: Callable[[AttemptId], bool], why: str) -> None:
        outcomes = []
        for run_id, run in self.runs.items():
            for node, way in run.in_flight.items():
                attempt = (run_id, node, way.attempt)
                if way.host == host and lost(attempt):
                    failure = events_pb2.Failure(
                        kind=events_pb2.FAILURE_KIND_LOST,
                        error_type="HostLost",
                        message=why,
                        next_step="It is tried again.",
                    )
                    outcomes.append(
                        action_pb2.Outcome(
                            key=attempt_key(attempt), state=events_pb2.ATTEMPT_STATE_LOST, failure=failure
                        )
                    )
        if outcomes:
            log.warning("attempts lost", extra={"host": host, "attempts": len(outcomes), "why": why})
            self.outcomes(host, outcomes)

    def outcomes(self, host: str, outcomes: Iterable[action_pb2.Outcome]) -> None:
        """Outcomes are acknowledged when they are committed, and at once when they come too late to count."""
        now = self._clock.now_us()
        for outcome in outcomes:
            attempt = attempt_id(outcome.key)
            run = self.runs.get(attempt[0])
            if run is None or not run.expects(attempt[1], attempt[2]):
                _OUTCOME_REFUSED.inc()
                self._committers[0].pending.acknowledged.append((host, attempt))
                self._committers[0].flush()
                continue
            _OUTCOME_COUNTED[AttemptState(outcome.state)].inc()
            if attempt[1] == COMPILE_NODE and outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
                self._spawn(self._take_compiled(host, run, outcome))
                continue
            committer = self._committer(run)
            run.end(outcome, committer.pending, now)
            committer.pending.acknowledged.append((host, attempt))
            committer.flush()

    async def _take_compiled(self, host: str, run: ActiveRun, outcome: action_pb2.Outcome) -> None:
        """Fetches what the compile attempt made, and believes it only after all checks."""
        attempt = attempt_id(outcome.key)
        result = await self._compiled.fetch(self._hosts.address_of(host), run.header, outcome)
        if not run.expects(attempt[1], attempt[2]):
            return
        committer = self._committer(run)
        now = self._clock.now_us()
        if isinstance(result, events_pb2.Failure):
            refused = action_pb2.Outcome(
                key=outcome.key, state=events_pb2.ATTEMPT_STATE_FAILED, failure=result, worker=outcome.worker
            )
            run.end(refused, committer.pending, now)
        else:
            run.compiled(result.chunks, result.graph, outcome, committer.pending, now)
        committer.pending.acknowledged.append((host, attempt))
        committer.flush()

    # What follows from a commit.

    def after_commit(self, changes: Changes) -> None:
        """Nothing here happened before its commit."""
        for run in changes.finished_runs:
            if run.ended and self.runs.get(run.header.run_id) is run:
                del self.runs[run.header.run_id]
            for group in run.ready.groups():
                self._groups.pop(group.group_id, None)
        for group_id in changes.withdrawn:
            self._groups.pop(group_id, None)
        for group in changes.demands:
            self._groups[group.group_id] = group
        if changes.releases or changes.demands or changes.withdrawn:
            self._scheduler.send(changes.releases, changes.demands, changes.withdrawn)
        self._launch(changes.launches)
        for host, attempt in changes.stops:
            self._hosts[host].stop_attempt(attempt)
        for host, attempt in changes.acknowledged:
            self._hosts[host].acknowledge(attempt)
        loop = asyncio.get_running_loop()
        for delay, run, node in changes.waits:
            loop.call_later(delay, self._wake, run, node)
        if changes.events:
            self.watchers.touch(changes.events)
        if changes.finished_runs or changes.new_runs:
            ACTIVE_RUNS.set(len(self.runs))
        for then in changes.then:
            then()

    def _launch(self, launches: list[StartedAttempt]) -> None:
        now = self._clock.monotonic()
        for started in launches:
            way, run = started.in_flight, started.run
            if not run.expects(started.node, way.attempt):
                continue
            if now > started.grant.valid_until or started.grant.epoch != self._scheduler.epoch:
                self._end_here(started, AttemptState.LOST, _expired_grant())
                continue
            try:
                launch = launch_of(started, self._specs)
            except FieldOfArtifact:
                self._end_here(started, AttemptState.FAILED, field_of_artifact(started.node))
                continue
            self._hosts[way.host].launch(launch)

    def _end_here(self, started: StartedAttempt, state: AttemptState, failure: events_pb2.Failure) -> None:
        """Ends an attempt that was committed and will not be launched."""
        key = attempt_key((started.run.header.run_id, started.node, started.in_flight.attempt))
        outcome = action_pb2.Outcome(key=key, state=int(state), failure=failure)  # type: ignore[arg-type]
        committer = self._committer(started.run)
        started.run.end(outcome, committer.pending, self._clock.now_us())
        committer.flush()

    def _wake(self, run: ActiveRun, node: int) -> None:
        if self.runs.get(run.header.run_id) is run:
            committer = self._committer(run)
            run.wake(node, committer.pending, self._clock.now_us())
            committer.flush()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _resolve(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


def _expired_grant() -> events_pb2.Failure:
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_LOST,
        error_type="GrantExpired",
        message="The scheduler's grant ran out before the attempt could be launched.",
        next_step="It is tried again.",
    )
