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

from prometheus_client import Gauge

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import Unavailable
from mwfs_types.dag_functions import FunctionFailed

from .active_run import ActiveRun
from .argument_failures import argument_failure
from .changes import Changes, Timer
from .checkpoint_dropper import CheckpointDropper
from .committer import Committer
from .compiling import CompiledDags
from .contents import Contents
from .control import ControlNodes
from .durations import Durations
from .event_tails import EventTails
from .grants import Grants, held_grants
from .graph import Graph
from .host_links import HostLinks, attempt_key
from .launcher import OperatorSpecs, launch_of
from .model import NotOwner, RunHeader, StartedAttempt, TakenResults
from .outcomes import Outcomes
from .rerun import Reruns
from .retention.model import is_archived
from .reuse import Answer, ResultCache, origin_of
from .scheduler_link import SchedulerLink
from .shard.store import Row, ShardStore, header_of
from .sharding.in_use import Shards
from .slots import ShardLease
from .states import AttemptState, RunState
from .waits import SentSignal
from .watchers import Watchers

log = logging.getLogger(__name__)

ACTIVE_RUNS = Gauge("mwfs_orchestrator_active_runs", "Runs that go on.")


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
        reruns: Reruns,
        dropper: CheckpointDropper,
        durations: Durations,
        give_up: Callable[[str], None],
    ) -> None:
        self.runs: dict[UUID, ActiveRun] = {}
        ACTIVE_RUNS.set_function(self.runs.__len__)
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
        self._dropper = dropper
        self._durations = durations
        self._controls = ControlNodes(contents, change=self.change, spawn=self.spawn)
        self.grants = Grants(self, clock=clock, scheduler=scheduler, hosts=hosts)
        self.outcomes = Outcomes(self, clock=clock, hosts=hosts, compiled=compiled, reruns=reruns)
        self._group_ids = (f"g{number}" for number in itertools.count(1))
        self._reviving: set[UUID] = set()
        #: Ended runs that are being removed.
        self._leaving: set[UUID] = set()
        #: Runs that were let go of and will come back to us.
        self._kept: dict[UUID, ActiveRun] = {}
        #: slot → epoch, for the slots whose runs are all in `runs`.
        self._slots: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def shard_of(self, slot: int) -> ShardStore:
        """Raises Unavailable while it is being opened."""
        return self.shards.shard_of(slot)

    def committer_of(self, run: ActiveRun) -> Committer:
        return self.shards.committer_of(run.header.slot)

    def behind_s(self, slot: int) -> float:
        """For how long the shard of a slot has been writing one commit."""
        return self.shards.committer_of(slot).behind_s

    # Slots and their runs come and go.

    def owns(self, slot: int) -> bool:
        """Whether all runs of the slot are here."""
        return slot in self._slots

    def epoch_of(self, slot: int) -> int:
        """Of a slot that is here; 0 of any other."""
        return self._slots.get(slot, 0)

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
        taken: TakenResults | None = None,
    ) -> "asyncio.Future[None]":
        """Begins a run that does not exist yet, with results of an earlier run; done once it is committed.

        Raises NotOwner.
        """
        self.check_ownership(header.slot)
        run = ActiveRun(header, self._group_ids, self._durations)
        self.runs[header.run_id] = run
        committer = self.committer_of(run)
        run.accept(dag_chunks, graph, committer.pending, self._clock.now_us(), taken)
        return self._when_committed(committer)

    async def take_up(self, lease: ShardLease, slots: list[int]) -> None:
        """Goes on with the runs of slots that have become ours."""
        store = lease.store
        if any(self.shards.holder_of(slot) != store.shard for slot in slots):
            await self.shards.refresh()  # they have come from another shard
        rows = [row for row in await store.load_active_runs(slots) if row["run_id"] not in self.runs]
        run_ids = [row["run_id"] for row in rows]
        numbers = await store.last_numbers(run_ids)
        checkpoints = await store.load_checkpoints(run_ids)
        for row in rows:
            run = self._kept.pop(row["run_id"], None)
            kept = run is not None and run.last_event == numbers.get(row["run_id"])
            if run is None or not kept:
                run = await self._load(store, row, numbers)
            nodes = [] if kept else [dict(node) for node in await store.load_nodes(run.header.run_id)]
            committer = self.committer_of(run)
            self.runs[run.header.run_id] = run
            if kept:
                run.ready.ask_anew(committer.pending)
            else:
                run.checkpoints.last.update(checkpoints.get(run.header.run_id, {}))
                run.restoring.restore(nodes, committer.pending, self._clock.now_us())
            for node, way in run.in_flight.items():
                self._hosts[way.host].adopt((run.header.run_id, node, way.attempt), lease.epochs[run.header.slot])
            self._scheduler.adopt(held_grants([run], self._clock.now_us()))
            committer.flush()
        self._slots.update((slot, lease.epochs[slot]) for slot in slots)
        if rows:
            log.info("took up runs", extra={"shard": store.shard, "runs": len(rows)})

    async def let_go(self, lease: ShardLease, slots: list[int], *, keep: bool = False) -> None:
        """Forgets the runs of slots that go elsewhere. Done once all that happened to them is committed and acted on.

        keep: they will be taken up here again. Those that miss nothing meanwhile need not be read then, until `forget_kept`.
        """
        leaving = set(slots)
        for slot in slots:
            self._slots.pop(slot, None)
        gone = [run for run in self.runs.values() if run.header.slot in leaving]
        withdrawn = []
        for run in gone:
            del self.runs[run.header.run_id]
            for group in run.ready.groups():
                self.grants.groups.pop(group.group_id, None)
                withdrawn.append(group.group_id)
        if withdrawn:
            self._scheduler.send(Counter(), Counter(), withdrawn, Counter())
        await self._when_committed(self.shards.open[lease.store.shard].committer)
        if keep:
            self._kept.update((run.header.run_id, run) for run in gone if run.restoring.can_stand_still())
        self.watchers.move(run.header.run_id for run in gone)
        self.event_tails.move(leaving)

    def forget_kept(self) -> None:
        """What was kept for `take_up` has been taken, or is read."""
        self._kept.clear()

    async def _load(self, store: ShardStore, row: Row, numbers: Mapping[UUID, int]) -> ActiveRun:
        run = ActiveRun(header_of(row), self._group_ids, self._durations)
        run.state, run.round = RunState(row["state"]), row["round"]
        run.last_event = numbers.get(row["run_id"], row["last_event"])
        run.start_us, run.since_us = row["start_us"], row["since_us"]
        run_id = run.header.run_id
        chunks = await store.load_dag(run_id)
        if chunks:
            run.attach(await self._compiled.graph_of(b"".join(chunks)))
            for patch in await store.load_patches(run_id):
                run.restoring.attach_patch(
                    dag_pb2.DagPatch.FromString(patch["data"]), patch["round"], patch["create_us"]
                )
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
            run.checkpoints.last.update((await store.load_checkpoints([run_id])).get(run_id, {}))
            committer = self.committer_of(run)
            nodes = [dict(node) for node in await store.load_nodes(run_id)]
            self.check_ownership(run.header.slot)
            # Ended: restoring it reads states and outputs and makes nothing ready.
            run.restoring.restore(nodes, Changes(), self._clock.now_us())
            self.runs[run_id] = run
            run.restoring.revive(request_id, committer.pending, self._clock.now_us())
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
        await self._ask_of(run, partial(run.stopping.cancel, skip_cleanups=skip_cleanups))

    async def pause(self, run: ActiveRun) -> None:
        """Done once it is committed."""
        await self._ask_of(run, run.stopping.pause)

    async def resume(self, run: ActiveRun) -> None:
        """Done once it is committed."""
        await self._ask_of(run, run.stopping.resume)

    async def signal(self, run: ActiveRun, signal: SentSignal) -> None:
        """A signal of a name that was not sent before; done once it is committed."""
        self.check_ownership(run.header.slot)
        committer = self.committer_of(run)
        run.waits.signal(signal, committer.pending, self._clock.now_us())
        await self._when_committed(committer)

    async def committed(self, run: ActiveRun) -> None:
        """Done once everything that has happened to the run is committed."""
        await self._when_committed(self.committer_of(run))

    async def _ask_of(self, run: ActiveRun, wish: Callable[[Changes, int], None]) -> None:
        self.check_ownership(run.header.slot)
        committer = self.committer_of(run)
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

    # What follows from a commit.

    def after_commit(self, changes: Changes) -> None:
        """Nothing here happened before its commit."""
        for run in changes.finished_runs:
            run.end_committed = run.ended
            if run.ended and self.runs.get(run.header.run_id) is run:
                del self.runs[run.header.run_id]
            for group in run.ready.groups():
                self.grants.groups.pop(group.group_id, None)
        for group_id in changes.withdrawn:
            self.grants.groups.pop(group_id, None)
        for group in [group for group in changes.demands if self.runs.get(group.run.header.run_id) is not group.run]:
            del changes.demands[group]  # let go of meanwhile
        for group in changes.demands:
            self.grants.groups[group.group_id] = group
        if changes.releases or changes.demands or changes.withdrawn:
            self._scheduler.send(changes.releases, changes.demands, changes.withdrawn, changes.lost_us)
        self._launch(changes.launches)
        for host, attempt in changes.stops:
            self._hosts[host].stop_attempt(attempt)
        for run, node in changes.notices:
            if self.runs.get(run.header.run_id) is run:
                self.outcomes.tell_to_make_room(run, node)
        if changes.dropped:
            self._dropper.drop(changes.dropped)
        for host, attempt in changes.acknowledged:
            self._hosts[host].acknowledge(attempt)
        loop = asyncio.get_running_loop()
        # Some waits are long: they keep no run in memory that has ended.
        for delay, run, node in changes.waits:
            loop.call_later(delay, self._wake, weakref.ref(run), node)
        for delay, run, happens in changes.timers:
            loop.call_later(delay, self._time_is_over, weakref.ref(run), happens)
        for run, artifact in changes.contents:
            self.spawn(self._fetch_content(run, artifact))
        for run, node in changes.questions:
            if self.runs.get(run.header.run_id) is run:
                self._controls.carry_out(run, node)
        if changes.results:
            self._results.keep(changes.results)
        if changes.lookups:
            self._results.look_for(changes.lookups)
        if changes.events:
            self.watchers.touch(changes.events)
        for then in changes.then:
            then()
        for run in changes.finished_runs:
            if run.end_committed:
                run.loosen()

    def results_found(self, answers: Iterable[Answer]) -> None:
        """What earlier runs left for nodes that are ready."""
        now = self._clock.now_us()
        for run, node, result in answers:
            if self.runs.get(run.header.run_id) is not run:
                continue
            committer = self.committer_of(run)
            if result is None:
                run.earlier_results.not_found(node, committer.pending, now)
            else:
                run.earlier_results.found(node, result.outputs, origin_of(result), committer.pending, now)
            committer.flush()

    def change(self, run: ActiveRun, change: Callable[[Changes, int], None]) -> None:
        """Something has happened to a run, unless it is gone meanwhile."""
        if self.runs.get(run.header.run_id) is run:
            committer = self.committer_of(run)
            change(committer.pending, self._clock.now_us())
            committer.flush()

    async def _fetch_content(self, run: ActiveRun, artifact: types_pb2.Artifact) -> None:
        content = await self._contents.fetch(artifact)
        if self.runs.get(run.header.run_id) is run:
            committer = self.committer_of(run)
            run.ending.take_content(artifact.digest, content, committer.pending, self._clock.now_us())
            committer.flush()

    def _launch(self, launches: list[StartedAttempt]) -> None:
        now = self._clock.monotonic()
        for started in launches:
            way, run = started.in_flight, started.run
            if not run.attempts.expects(started.node, way.attempt):
                continue
            told = run.preemptions.told.get(started.node)
            if told is not None:
                self.change(run, partial(run.preemptions.end_unsent, started.node, told.reason))
                continue
            # A grant in use was told to whichever scheduler there is now.
            grant, epoch = started.grant, self._scheduler.epoch
            if grant is not None and (now > grant.valid_until or grant.epoch != epoch):
                self._end_here(started, AttemptState.LOST, _expired_grant())
                continue
            try:
                launch = launch_of(started, self._specs, self.epoch_of(run.header.slot), epoch)
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
        committer = self.committer_of(started.run)
        started.run.attempts.end(outcome, committer.pending, self._clock.now_us())
        committer.flush()

    def _time_is_over(self, waiting: "weakref.ref[ActiveRun]", happens: Timer) -> None:
        run = waiting()
        if run is not None:
            self.change(run, lambda changes, now: happens(run, changes=changes, now=now))

    def _wake(self, waiting: "weakref.ref[ActiveRun]", node: int) -> None:
        run = waiting()
        if run is not None and self.runs.get(run.header.run_id) is run:
            committer = self.committer_of(run)
            run.waits.time_is_over(node, committer.pending, self._clock.now_us())
            committer.flush()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something meanwhile."""
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
