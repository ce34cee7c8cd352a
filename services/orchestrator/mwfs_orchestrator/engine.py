"""All that happens to runs, in one place: what comes in is decided by the run, committed with its neighbours, and only then acted on."""

import asyncio
import itertools
import logging
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from prometheus_client import Counter as MetricCounter
from prometheus_client import Gauge

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import Unavailable
from mwfs_chassis.postgres import AWAY
from mwfs_types.dag_functions import FunctionFailed

from .active_run import ActiveRun
from .argument_failures import argument_failure
from .changes import AttemptId, Changes, Timer
from .committer import Committer
from .compiling import CompiledDags
from .contents import Contents
from .control import ControlNodes
from .event_tails import EventTails
from .graph import COMPILE_NODE, Graph
from .host_links import HostLinks, attempt_id, attempt_key
from .launcher import OperatorSpecs, launch_of
from .model import Grant, Group, NotOwner, RunHeader, StartedAttempt, Taken, slot_of
from .retention.model import is_archived
from .reuse import Answer, ResultCache, origin_of
from .scheduler_link import SchedulerLink
from .shard.store import Row, ShardStore, header_of
from .sharding.in_use import Shards
from .slots import ShardLease
from .states import RUN_ENDED, AttemptState, NodeState, RunState
from .waits import SentSignal
from .watchers import Watchers

log = logging.getLogger(__name__)

ACTIVE_RUNS = Gauge("mwfs_orchestrator_active_runs", "Runs that go on.")
OUTCOMES = MetricCounter("mwfs_orchestrator_outcomes", "Outcomes of attempts.", ("state", "counted"))
_OUTCOME_COUNTED = {state: OUTCOMES.labels(state.name.lower(), "yes") for state in AttemptState}
_OUTCOME_REFUSED = OUTCOMES.labels("any", "no")


class Engine:
    """The runs of this replica's slots."""

    def __init__(
        self,
        *,
        shards: Shards,
        clock: Clock,
        scheduler: SchedulerLink,
        hosts: HostLinks,
        specs: OperatorSpecs,
        compiled: CompiledDags,
        watchers: Watchers,
        results: ResultCache,
        contents: Contents,
        give_up: Callable[[str], None],
    ) -> None:
        self.runs: dict[UUID, ActiveRun] = {}
        self.watchers = watchers
        self.event_tails = EventTails()
        #: A stream met a defect of ours: what it was about may be half done, so memory cannot be trusted.
        self.failed = give_up
        self.shards = shards
        self._clock = clock
        self._scheduler = scheduler
        self._hosts = hosts
        self._specs = specs
        self._compiled = compiled
        self._results = results
        self._contents = contents
        self._controls = ControlNodes(contents, change=self.change, spawn=self._spawn)
        self._groups: dict[str, Group] = {}
        self._group_ids = (f"g{number}" for number in itertools.count(1))
        self._reviving: set[UUID] = set()
        #: Ended runs that are being removed.
        self._leaving: set[UUID] = set()
        #: slot → epoch, for the slots whose runs are all in `runs`.
        self._slots: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def shard_of(self, slot: int) -> ShardStore:
        """Raises Unavailable while it is being opened."""
        return self.shards.shard_of(slot)

    def _committer(self, run: ActiveRun) -> Committer:
        return self.shards.committer_of(run.header.slot)

    def behind_s(self, slot: int) -> float:
        """For how long the shard of a slot has been writing one commit."""
        return self.shards.committer_of(slot).behind_s

    # Slots and their runs come and go.

    def owns(self, slot: int) -> bool:
        """Whether all runs of the slot are here."""
        return slot in self._slots

    def check_ownership(self, slot: int) -> None:
        """Raises NotOwner."""
        if slot not in self._slots:
            raise NotOwner()

    def sample(self, slots: list[int], count: int) -> list[int]:
        """So many of the slots, busy and quiet ones in the proportion in which there are such."""
        runs = Counter(run.header.slot for run in self.runs.values())
        ordered = sorted(slots, key=lambda slot: (runs[slot], slot))
        return [ordered[place * len(ordered) // count] for place in range(count)]

    # Runs begin, are revived and cancelled.

    def accept(
        self,
        header: RunHeader,
        dag_chunks: Iterable[bytes],
        graph: Graph | None,
        taken: Mapping[int, Taken] | None = None,
    ) -> "asyncio.Future[None]":
        """Begins a run that does not exist yet, with results of an earlier run; done once it is committed.

        Raises NotOwner.
        """
        self.check_ownership(header.slot)
        run = ActiveRun(header, self._group_ids)
        self.runs[header.run_id] = run
        ACTIVE_RUNS.set(len(self.runs))
        committer = self._committer(run)
        run.accept(dag_chunks, graph, committer.pending, self._clock.now_us(), taken or {})
        return self._when_committed(committer)

    async def take_up(self, lease: ShardLease, slots: list[int]) -> None:
        """Goes on with the runs of slots that have become ours."""
        store = lease.store
        if any(self.shards.holder_of(slot) != store.shard for slot in slots):
            await self.shards.refresh()  # they have come from another shard
        rows = [row for row in await store.load_active_runs(slots) if row["run_id"] not in self.runs]
        numbers = await store.last_numbers([row["run_id"] for row in rows])
        for row in rows:
            run = await self._load(store, row, numbers)
            nodes = [dict(node) for node in await store.load_nodes(run.header.run_id)]
            committer = self._committer(run)
            self.runs[run.header.run_id] = run
            run.restore(nodes, committer.pending, self._clock.now_us())
            for node, way in run.in_flight.items():
                self._hosts[way.host].adopt((run.header.run_id, node, way.attempt), lease.epochs[run.header.slot])
            self._scheduler.adopt(_held_grants([run]))
            committer.flush()
        self._slots.update((slot, lease.epochs[slot]) for slot in slots)
        ACTIVE_RUNS.set(len(self.runs))
        if rows:
            log.info("took up runs", extra={"shard": store.shard, "runs": len(rows)})

    async def let_go(self, lease: ShardLease, slots: list[int]) -> None:
        """Forgets the runs of slots that go to another replica. Done once all that happened to them is committed and acted on."""
        leaving = set(slots)
        for slot in slots:
            self._slots.pop(slot, None)
        gone = [run for run in self.runs.values() if run.header.slot in leaving]
        withdrawn = []
        for run in gone:
            del self.runs[run.header.run_id]
            for group in run.ready.groups():
                self._groups.pop(group.group_id, None)
                withdrawn.append(group.group_id)
        if withdrawn:
            self._scheduler.send(Counter(), Counter(), withdrawn)
        await self._when_committed(self.shards.open[lease.store.shard].committer)
        self.watchers.move(run.header.run_id for run in gone)
        self.event_tails.move(leaving)
        ACTIVE_RUNS.set(len(self.runs))

    async def _load(self, store: ShardStore, row: Row, numbers: Mapping[UUID, int]) -> ActiveRun:
        run = ActiveRun(header_of(row), self._group_ids)
        run.state, run.round = RunState(row["state"]), row["round"]
        run.last_event = numbers.get(row["run_id"], row["last_event"])
        run.start_us, run.since_us = row["start_us"], row["since_us"]
        run_id = run.header.run_id
        chunks = await store.load_dag(run_id)
        if chunks:
            run.attach(await self._compiled.graph_of(b"".join(chunks)))
            for patch in await store.load_patches(run_id):
                run.attach_patch(dag_pb2.DagPatch.FromString(patch["data"]), patch["round"], patch["create_us"])
            run.waits.sent.update((signal.name, signal) for signal in await store.load_signals(run_id))
        return run

    async def revive(self, row: Row, request_id: str) -> None:
        """Opens the next round of an ended run; done once it is committed. Raises NotOwner."""
        run_id: UUID = row["run_id"]
        if run_id in self._reviving:
            return
        if run_id in self._leaving:
            raise Unavailable(f"The run {run_id} is just being archived.", "Try again in a moment.")
        self._reviving.add(run_id)
        try:
            store = self.shard_of(header_of(row).slot)
            if not await store.present([run_id]):
                raise is_archived(run_id)
            run = await self._load(store, row, await store.last_numbers([run_id]))
            committer = self._committer(run)
            nodes = [dict(node) for node in await store.load_nodes(run_id)]
            self.check_ownership(run.header.slot)
            # Ended: restoring it reads states and outputs and makes nothing ready.
            run.restore(nodes, Changes(), self._clock.now_us())
            self.runs[run_id] = run
            run.revive(request_id, committer.pending, self._clock.now_us())
            await self._when_committed(committer)
        finally:
            self._reviving.discard(run_id)

    def hold_ended(self, run_ids: Iterable[UUID]) -> list[UUID]:
        """Those of these runs that have ended; nobody revives them before they are released."""
        held = [run_id for run_id in run_ids if run_id not in self.runs and run_id not in self._reviving]
        self._leaving.update(held)
        return held

    def release_ended(self, run_ids: Iterable[UUID]) -> None:
        """They are removed, or they stay."""
        self._leaving.difference_update(run_ids)

    async def cancel(self, run: ActiveRun, *, skip_cleanups: bool = False) -> None:
        """Done once it is committed; what runs is stopped after that."""
        await self._ask_of(run, partial(run.cancel, skip_cleanups=skip_cleanups))

    async def pause(self, run: ActiveRun) -> None:
        """Done once it is committed."""
        await self._ask_of(run, run.pause)

    async def resume(self, run: ActiveRun) -> None:
        """Done once it is committed."""
        await self._ask_of(run, run.resume)

    async def signal(self, run: ActiveRun, signal: SentSignal) -> None:
        """A signal of a name that was not sent before; done once it is committed."""
        self.check_ownership(run.header.slot)
        committer = self._committer(run)
        run.signal(signal, committer.pending, self._clock.now_us())
        await self._when_committed(committer)

    async def committed(self, run: ActiveRun) -> None:
        """Done once everything that has happened to the run is committed."""
        await self._when_committed(self._committer(run))

    async def _ask_of(self, run: ActiveRun, wish: Callable[[Changes, int], None]) -> None:
        self.check_ownership(run.header.slot)
        committer = self._committer(run)
        wish(committer.pending, self._clock.now_us())
        if committer.pending:
            await self._when_committed(committer)
        else:
            committer.flush()  # what follows without being written

    def _when_committed(self, committer: Committer) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        committer.pending.then.append(partial(_resolve, done))
        committer.flush()
        return done

    # What the scheduler says.

    def held_grants(self) -> list[scheduler_pb2.HeldGrant]:
        """What runs on which grant, for a scheduler that knows nothing."""
        return _held_grants(self.runs.values())

    def waiting_groups(self) -> list[Group]:
        groups = []
        for run in self.runs.values():
            for group in run.ready.groups():
                group.asked = 0  # nothing asked for before counts
                if run.ready.more_of(group):
                    groups.append(group)
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
                committer = self.shards.any_committer()
                committer.pending.releases[grant.grant_id] += grant.count - used
                committer.flush()

    def revoked(self, revocations: Iterable[scheduler_pb2.Revocation]) -> None:
        """Work that must make room: its attempts are stopped and come back as PREEMPTED outcomes."""
        wanted = {revocation.grant_id: revocation.count for revocation in revocations}
        for run in self.runs.values():
            for node, way in run.in_flight.items():
                if wanted.get(way.grant_id, 0) > 0:
                    wanted[way.grant_id] -= 1
                    run.revoked.add(way.grant_id)
                    self._hosts[way.host].stop_attempt((run.header.run_id, node, way.attempt))

    def hosts_changed(self, hosts: Iterable[scheduler_pb2.Host]) -> None:
        for host in hosts:
            self._hosts[host.host].reach(host.address)

    # What the action services say.

    def holds(self, host: str) -> list[tuple[AttemptId, int]]:
        """All attempts on the host, each with the epoch of its slot."""
        return [
            ((run_id, node, way.attempt), self._slots.get(run.header.slot, 0))
            for run_id, run in self.runs.items()
            for node, way in run.in_flight.items()
            if way.host == host
        ]

    def attached(self, host: str, live: set[AttemptId], outcomes: set[AttemptId], unsent: set[AttemptId]) -> None:
        """What we believe to run on the host and the host does not know is lost."""
        known = live | outcomes | unsent
        self._lose(host, lambda attempt: attempt not in known, "The action service of the host restarted.")
        for run in self.runs.values():
            for node, way in run.in_flight.items():
                if way.host == host and run.is_stopping(node):
                    self._hosts[host].stop_attempt((run.header.run_id, node, way.attempt))
        leftovers = [one for one in live if not self._expects(one)]
        if leftovers:
            self._spawn(self._stop_leftovers(host, leftovers))

    def _expects(self, attempt: AttemptId) -> bool:
        run = self.runs.get(attempt[0])
        return run is not None and run.expects(attempt[1], attempt[2])

    async def _stop_leftovers(self, host: str, attempts: list[AttemptId]) -> None:
        """Attempts that were given up while their host was away still run on it."""
        for attempt in attempts:
            if attempt[0] not in self.runs:
                row = await self.shard_of(slot_of(attempt[0])).get_run(attempt[0])
                if row is not None and RunState(row["state"]) not in RUN_ENDED:
                    continue  # it will be taken up, here or elsewhere
            if not self._expects(attempt):
                log.warning("stopping what was given up", extra={"host": host, "run": str(attempt[0])})
                self._hosts[host].stop_attempt(attempt)

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
        strangers = []
        for outcome in outcomes:
            attempt = attempt_id(outcome.key)
            run = self.runs.get(attempt[0])
            if run is None and not self.owns(slot_of(attempt[0])):
                strangers.append(attempt)
                continue
            if run is None or not run.expects(attempt[1], attempt[2]):
                _OUTCOME_REFUSED.inc()
                committer = self.shards.any_committer()
                committer.pending.acknowledged.append((host, attempt))
                committer.flush()
                continue
            _OUTCOME_COUNTED[AttemptState(outcome.state)].inc()
            if attempt[1] == COMPILE_NODE and outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
                self._spawn(self._take_compiled(host, run, outcome))
                continue
            if outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED and run.is_dynamic(attempt[1]):
                self._spawn(self._take_grown(host, run, outcome))
                continue
            committer = self._committer(run)
            run.end(outcome, committer.pending, now)
            committer.pending.acknowledged.append((host, attempt))
            committer.flush()
        if strangers:
            self._spawn(self._acknowledge_committed(host, strangers))

    async def _acknowledge_committed(self, host: str, attempts: list[AttemptId]) -> None:
        """Outcomes of runs that are not here: what is committed is acknowledged, the rest is for the owner to ask for."""
        for run_id, node, attempt in attempts:
            try:
                rows = await self.shard_of(slot_of(run_id)).load_results(run_id, [node])
            except AWAY:
                return  # the host tells it again
            row = rows.get(node)
            if row is not None and (row["attempt"], row["state"] != NodeState.RUNNING) >= (attempt, True):
                self._hosts[host].acknowledge((run_id, node, attempt))

    async def _take_grown(self, host: str, run: ActiveRun, outcome: action_pb2.Outcome) -> None:
        """Fetches the Dag that a dynamic operator made, and believes it only after all checks."""
        attempt = attempt_id(outcome.key)
        graph = run.graph
        assert graph is not None, "only a run with a graph has dynamic operators"
        operator, types = graph.operator_of(attempt[1]), graph.types_of(attempt[1])
        result = await self._compiled.fetch_patch(self._hosts.address_of(host), operator, types, outcome)
        if not run.expects(attempt[1], attempt[2]):
            return
        committer = self._committer(run)
        if isinstance(result, action_pb2.Outcome):
            result.failure.file, result.failure.line = graph.source_of(attempt[1])
            run.end(result, committer.pending, self._clock.now_us())
        else:
            run.grown(outcome, result, committer.pending, self._clock.now_us())
        committer.pending.acknowledged.append((host, attempt))
        committer.flush()

    async def _take_compiled(self, host: str, run: ActiveRun, outcome: action_pb2.Outcome) -> None:
        """Fetches what the compile attempt made, and believes it only after all checks."""
        attempt = attempt_id(outcome.key)
        result = await self._compiled.fetch(self._hosts.address_of(host), run.header, outcome)
        if self.runs.get(attempt[0]) is not run or not run.expects(attempt[1], attempt[2]):
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
            run.end_committed = run.ended
            if run.ended and self.runs.get(run.header.run_id) is run:
                del self.runs[run.header.run_id]
            for group in run.ready.groups():
                self._groups.pop(group.group_id, None)
        for group_id in changes.withdrawn:
            self._groups.pop(group_id, None)
        for group in [group for group in changes.demands if self.runs.get(group.run.header.run_id) is not group.run]:
            del changes.demands[group]  # let go of meanwhile
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
        # Some waits are long: they keep no run in memory that has ended.
        for delay, run, node in changes.waits:
            loop.call_later(delay, self._wake, weakref.ref(run), node)
        for delay, run, happens in changes.timers:
            loop.call_later(delay, self._time_is_over, weakref.ref(run), happens)
        for run, artifact in changes.contents:
            self._spawn(self._fetch_content(run, artifact))
        for run, node in changes.questions:
            if self.runs.get(run.header.run_id) is run:
                self._controls.carry_out(run, node)
        if changes.results:
            self._results.keep(changes.results)
        if changes.lookups:
            self._results.look_for(changes.lookups)
        if changes.events:
            self.watchers.touch(changes.events)
        if changes.finished_runs or changes.new_runs:
            ACTIVE_RUNS.set(len(self.runs))
        for then in changes.then:
            then()

    def results_found(self, answers: Iterable[Answer]) -> None:
        """What earlier runs left for nodes that are ready."""
        now = self._clock.now_us()
        for run, node, result in answers:
            if self.runs.get(run.header.run_id) is not run:
                continue
            committer = self._committer(run)
            if result is None:
                run.run_anew(node, committer.pending, now)
            else:
                run.reuse(node, result.outputs, origin_of(result), committer.pending, now)
            committer.flush()

    def change(self, run: ActiveRun, change: Callable[[Changes, int], None]) -> None:
        """Something has happened to a run, unless it is gone meanwhile."""
        if self.runs.get(run.header.run_id) is run:
            committer = self._committer(run)
            change(committer.pending, self._clock.now_us())
            committer.flush()

    async def _fetch_content(self, run: ActiveRun, artifact: types_pb2.Artifact) -> None:
        content = await self._contents.fetch(artifact)
        if self.runs.get(run.header.run_id) is run:
            committer = self._committer(run)
            run.take_content(artifact.digest, content, committer.pending, self._clock.now_us())
            committer.flush()

    def _launch(self, launches: list[StartedAttempt]) -> None:
        now = self._clock.monotonic()
        for started in launches:
            way, run = started.in_flight, started.run
            if not run.expects(started.node, way.attempt):
                continue
            # A grant in use was told to whichever scheduler there is now.
            grant, epoch = started.grant, self._scheduler.epoch
            if grant is not None and (now > grant.valid_until or grant.epoch != epoch):
                self._end_here(started, AttemptState.LOST, _expired_grant())
                continue
            try:
                launch = launch_of(started, self._specs, self._slots.get(run.header.slot, 0), epoch)
            except FunctionFailed as error:
                self._end_here(started, AttemptState.FAILED, argument_failure(error, run.graph, started.node))
                continue
            self._hosts[way.host].launch(launch)

    def _end_here(self, started: StartedAttempt, state: AttemptState, failure: events_pb2.Failure) -> None:
        """Ends an attempt that was committed and will not be launched."""
        if self.runs.get(started.run.header.run_id) is not started.run:
            return  # let go of meanwhile: its new owner will find that no host knows the attempt
        key = attempt_key((started.run.header.run_id, started.node, started.in_flight.attempt))
        outcome = action_pb2.Outcome(key=key, state=int(state), failure=failure)  # type: ignore[arg-type]
        committer = self._committer(started.run)
        started.run.end(outcome, committer.pending, self._clock.now_us())
        committer.flush()

    def _time_is_over(self, waiting: "weakref.ref[ActiveRun]", happens: Timer) -> None:
        run = waiting()
        if run is not None:
            self.change(run, lambda changes, now: happens(run, changes=changes, now=now))

    def _wake(self, waiting: "weakref.ref[ActiveRun]", node: int) -> None:
        run = waiting()
        if run is not None and self.runs.get(run.header.run_id) is run:
            committer = self._committer(run)
            run.wake(node, committer.pending, self._clock.now_us())
            committer.flush()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _held_grants(runs: Iterable[ActiveRun]) -> list[scheduler_pb2.HeldGrant]:
    held: dict[str, scheduler_pb2.HeldGrant] = {}
    for run in runs:
        for way in run.in_flight.values():
            grant = held.get(way.grant_id)
            if grant is None:
                grant = held[way.grant_id] = scheduler_pb2.HeldGrant(
                    grant_id=way.grant_id, host=way.host, resources=way.resources, team=run.header.team
                )
            grant.count += 1
    return list(held.values())


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
