"""A world around one run without any I/O: a table of node rows that refuses what the shard's SQL would refuse, and dice that decide what happens next."""

import itertools
import random
from typing import ClassVar
from uuid import UUID

from invariants.run_invariants import check_run
from simulation.kept_world import KeptWorld

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.arguments import arguments_of
from mwfs_orchestrator.changes import Changes, Timer
from mwfs_orchestrator.graph import COMPILE_NODE, Graph
from mwfs_orchestrator.host_links import attempt_key
from mwfs_orchestrator.model import Grant, RunHeader, Taken, TakenResults
from mwfs_orchestrator.states import NODE_TRANSITIONS, RUN_ENDED, RUN_TRANSITIONS, AttemptState, NodeState, RunState

INT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_INT)


def random_dag(dice: random.Random) -> dag_pb2.Dag:
    """Up to 25 nodes; each takes up to three results of earlier nodes, as one list, or the sum of two; some follow others without
    taking anything; some are cached."""
    dag = dag_pb2.Dag(format=1, workflow="sim:run", types=[INT, types_pb2.Type(list=types_pb2.ListType(item=INT))])
    dag.options.failure_policy = dice.choice([0, dag_pb2.FAILURE_POLICY_CONTINUE])
    dag.options.max_parallel = dice.choice([0, 0, 1, 3])
    for attempts in (1, 3):
        for policy in (dag_pb2.FAILURE_POLICY_BLOCK_DEPENDENTS, dag_pb2.FAILURE_POLICY_CANCEL_RUN):
            operator = dag.operators.add(module="sim", qualname="total", failure_policy=policy)
            operator.parameters.add(name="xs", type=1)
            operator.outputs.add(name="result", type=0)
            operator.retry.attempts = attempts
            operator.retry.backoff_seconds = attempts - 1
            operator.resources.cpu_millis = 1000
            if attempts > 1:
                operator.later_resources.add(cpu_millis=2000)
    cached = dag.operators.add()
    cached.CopyFrom(dag.operators[2])
    cached.pure = cached.cached = True
    cached.code_digest = "sha256:" + "0" * 64
    impatient = dag.operators.add()
    impatient.CopyFrom(dag.operators[2])
    impatient.queue_timeout_seconds = 0.001
    for policy in (dag_pb2.FAILURE_POLICY_CONTINUE, dag_pb2.FAILURE_POLICY_CANCEL_DEPENDENTS, 0):
        operator = dag.operators.add()
        operator.CopyFrom(dag.operators[0])
        operator.failure_policy = policy  # type: ignore[assignment]
    sometimes_cached = dice.choice([0, 0, 2])
    for node in range(dice.randint(1, 25)):
        dag.node_operator.append(dice.choice([0, 0, 2, 2, 2, 2, 3, 5, 5, 6, 7, 7, 8] + [4] * sometimes_cached))
        dag.node_location.append(0)
        needs = [dice.randrange(node) for _ in range(dice.randint(0, 3))] if node else []
        elements = [(dag_pb2.BINDING_KIND_OUTPUT, need, 0) for need in needs]
        if needs and dice.random() < 0.2:
            # A list of one number: the sum of two results.
            total = _rows(dag.items, [elements[0], elements[-1]])
            elements = [(dag_pb2.BINDING_KIND_APPLY, total, dag_pb2.FUNCTION_ADD)]
        first = _rows(dag.items, elements)
        _rows(dag.arguments, [(dag_pb2.BINDING_KIND_LIST, first, len(elements))])
        if node and dice.random() < 0.2:
            for after in sorted({dice.randrange(node) for _ in range(2)}):
                dag.order_node.append(node)
                dag.order_after.append(after)
    if dice.random() < 0.5:
        # Whatever a Dag says of groups, they are a hint.
        dag.node_group.extend(dice.choice([0, 1, 1, 2]) for _ in dag.node_operator)
    dag.files.append("sim.py")
    dag.location_file.append(0)
    dag.location_line.append(1)
    last = _rows(dag.items, [(dag_pb2.BINDING_KIND_OUTPUT, len(dag.node_operator) - 1, 0)])
    dag.outputs.add(name="last", type=0, item=last)
    return dag


def _rows(bindings: dag_pb2.Bindings, rows: list[tuple[int, int, int]]) -> int:
    """Appends rows, and gives the number of the first."""
    first = len(bindings.kind)
    for kind, a, b in rows:
        bindings.kind.append(kind)  # type: ignore[arg-type]
        bindings.a.append(a)
        bindings.b.append(b)
    return first


class CheckedRun(ActiveRun):
    """Makes only moves that the table of states has; `taken` has all that were ever made."""

    taken: ClassVar[set[tuple[RunState, RunState] | tuple[NodeState, NodeState]]] = set()
    _state = RunState.ACCEPTED

    @property
    def state(self) -> RunState:
        return self._state

    @state.setter
    def state(self, state: RunState) -> None:
        before, self._state = self._state, state
        # What is read from the run's row is no move.
        if state is not before and self.last_event:
            assert state in RUN_TRANSITIONS[before], f"a run went from {before.name} to {state.name}"
            self.taken.add((before, state))

    def set_state(self, node: int, state: int) -> None:
        self._check(node, state)
        super().set_state(node, state)

    def set_any_state(self, node: int, state: int) -> None:
        self._check(node, state)
        super().set_any_state(node, state)

    def _check(self, node: int, state: int) -> None:
        before, after = NodeState(self.node_state[node]), NodeState(state)
        # What is read from rows is no move.
        if before is after or (self.restoring.under_way and before is NodeState.PENDING):
            return
        assert after in NODE_TRANSITIONS[before], f"node {node} went from {before.name} to {after.name}"
        self.taken.add((before, after))


class Refused(AssertionError):
    """The shard would have refused this commit."""


class RunWorld:
    """One run, its rows, its events, and everything that may befall it."""

    #: Some of the runs come without their Dag.
    compiles = True

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1_000_000
        self.graph = self.make_graph(self.dice)
        compiles = self.compiles and self.dice.random() < 0.2
        self.header = RunHeader(
            run_id=UUID(int=seed + 1),
            team="team",
            principal="someone",
            request_id=str(seed),
            body_digest=b"",
            workflow="sim:run",
            version_digest="",
            bundle_digest="",
            priority=0,
            tags={},
            compile_job=b"job" if compiles else None,
            create_us=self.now,
        )
        #: Its Dag is stored.
        self.compiled = not compiles
        self.rows: dict[int, dict[str, object]] = {}
        self.run_row: dict[str, object] = {
            "state": RunState.RUNNING,
            "round": 1,
            "last_event": 0,
            "failure": None,
            "since_us": 0,
        }
        self.events: list[events_pb2.RunEvents] = []
        self.succeeded_attempts: list[tuple[int, int]] = []
        self.held: dict[str, int] = {}
        self.wanted: dict[object, int] = {}
        self.withdrawn: list[object] = []
        self.waits: list[int] = []
        self.timers: list[Timer] = []
        #: Nodes for which an earlier result is being looked for.
        self.lookups: list[int] = []
        self.stale: list[action_pb2.Outcome] = []
        self.kept = KeptWorld()
        self.grant_ids = (f"grant-{number}" for number in itertools.count())
        self.run = self._new_run()
        taken = self._taken() if self.compiles and not compiles else None
        self._do(lambda changes: self.run.accept([], None if compiles else self.graph, changes, self.now, taken))

    def make_graph(self, dice: random.Random) -> Graph:
        return Graph(random_dag(dice))

    def _taken(self) -> TakenResults:
        """Sometimes the run repeats another one in part."""
        taken: dict[int, Taken] = {}
        often = self.dice.choice([0.0, 0.0, 0.5, 0.9, 1.0])
        for node in range(self.graph.size):
            if self.dice.random() < often and all(need in taken for need in self.graph.dependencies_of(node)):
                outputs = types_pb2.ListValue(items=[types_pb2.Value(integer=node)]).SerializeToString()
                taken[node] = Taken(outputs=outputs, origin=events_pb2.ResultOrigin(run_id=str(UUID(int=0)), node=node))
        return TakenResults(nodes=taken)

    def load(self) -> None:
        """Another process reads the graph."""
        if self.compiled:
            self.run.attach(self.graph)

    def something_may_happen(self) -> bool:
        wanted = any(count > 0 for count in self.wanted.values())
        paused = self.run.state is RunState.PAUSED
        return bool(wanted or self.run.in_flight or self.waits or self.lookups or paused)

    def _new_run(self) -> ActiveRun:
        return CheckedRun(self.header, (f"g{number}" for number in itertools.count()))

    # What may happen.

    def live(self) -> None:
        """Until the run has ended, then perhaps another round, then again."""
        for _ in range(3):
            while not self.run.ended:
                self.step()
            self.check_end()
            if self.run_row["state"] is RunState.SUCCEEDED or self.dice.random() < 0.4:
                return
            self._revive()

    def step(self) -> None:
        self.now += self.dice.randint(1, 1000)
        assert self.something_may_happen(), "the run goes on and nothing can happen to it any more"
        if self.dice.random() < 0.1:
            self.revoke()
        if self.dice.random() < 0.1:
            self.keep()
        happening = self.dice.random()
        if happening < 0.03:
            self.crash()
        elif happening < 0.035:
            self._do(lambda changes: self.run.stopping.cancel(changes, self.now))
        elif happening < 0.045:
            self._do(lambda changes: self.run.stopping.pause(changes, self.now))
        elif self.run.state is RunState.PAUSED and happening < 0.15:
            self._do(lambda changes: self.run.stopping.resume(changes, self.now))
        elif happening < 0.1 and self.stale:
            outcome = self.dice.choice(self.stale)
            assert not self.run.attempts.expects(outcome.key.node, outcome.key.attempt), (
                "a late outcome would count twice"
            )
        elif self.timers and happening < 0.13:
            happens = self.timers.pop(self.dice.randrange(len(self.timers)))
            self._do(lambda changes: happens(self.run, changes=changes, now=self.now))
        elif self.lookups and happening < 0.3:
            self.answer_lookup()
        elif happening < 0.5:
            self.grant()
        elif self.waits and happening < 0.6:
            node = self.waits.pop()
            self._do(lambda changes: self.run.waits.time_is_over(node, changes, self.now))
        else:
            self.outcome()

    def grant(self) -> None:
        groups = [group for group, count in self.wanted.items() if count > 0]
        assert not groups or self.run.state is not RunState.PAUSED, "a paused run asks for room"
        if self.dice.random() < 0.1:
            groups = self.withdrawn  # the grant was on its way when nobody wanted it any more
        if not groups:
            return
        group = self.dice.choice(groups)
        count = self.dice.randint(1, 4)
        grant = Grant(grant_id=next(self.grant_ids), group_id="", count=count, host="h", epoch=1, valid_until=1e9)
        self.wanted[group] = max(0, self.wanted.get(group, 0) - count)
        self.held[grant.grant_id] = count

        def start(changes: Changes) -> None:
            limit = self.run.options.max_parallel
            used = self.run.attempts.start(group, grant, changes, self.now)  # type: ignore[arg-type]
            changes.releases[grant.grant_id] += count - used
            assert not limit or len(self.run.in_flight) <= limit, "more runs than may run"
            for started in changes.launches:
                self.launch(started.node)

        self._do(start)

    def revoke(self) -> None:
        """The scheduler wants some of its room back; now and then room that nobody has."""
        preemptions = self.run.preemptions
        grant_id = self.dice.choice([*sorted({way.grant_id for way in self.run.in_flight.values()}), "nobody's"])
        count = self.dice.randint(1, 3)

        def tell(changes: Changes) -> None:
            before = len(preemptions.told)
            for node in preemptions.choose(grant_id, count, set()):
                preemptions.tell(node, 30_000, "others", changes, self.now)
            assert len(preemptions.told) - before <= count
            assert preemptions.choose(grant_id, count, set()) == [], "told again, others would have to go"

        self.run.attempts.revoked.add(grant_id)
        self._do(tell)

    def keep(self) -> None:
        """An attempt that goes on has kept a checkpoint; sometimes it is told of it twice."""
        nodes = [node for node in sorted(self.run.in_flight) if node != COMPILE_NODE]
        if nodes:
            node = self.dice.choice(nodes)
            checkpoint = self.kept.new(node, self.run.in_flight[node].attempt)
            for _ in range(self.dice.randint(1, 2)):
                self._do(lambda changes: self.run.checkpoints.keep(node, checkpoint, changes, self.now))

    def launch(self, node: int) -> None:
        """Its arguments are there."""
        self.kept.check_launch(self.run, node)
        if node != COMPILE_NODE:
            arguments_of(self.graph, node, self.run.outputs.__getitem__)

    def outcome(self) -> None:
        if not self.run.in_flight:
            return
        node = self.dice.choice(sorted(self.run.in_flight))
        way = self.run.in_flight[node]
        outcome = action_pb2.Outcome(key=attempt_key((self.header.run_id, node, way.attempt)), worker="w")
        if self.run.state is RunState.CANCELLING and self.dice.random() < 0.5:
            outcome.state = events_pb2.ATTEMPT_STATE_CANCELLED
        else:
            outcome.state = self.dice.choices(
                [
                    events_pb2.ATTEMPT_STATE_SUCCEEDED,
                    events_pb2.ATTEMPT_STATE_FAILED,
                    events_pb2.ATTEMPT_STATE_LOST,
                    events_pb2.ATTEMPT_STATE_TIMED_OUT,
                ],
                [80, 8, 8, 4],
            )[0]
        told = self.run.preemptions.told.get(node)
        if told is not None and self.dice.random() < 0.7:
            outcome.state = events_pb2.ATTEMPT_STATE_PREEMPTED
        if node != COMPILE_NODE and self.dice.random() < 0.2:
            outcome.checkpoint.CopyFrom(self.kept.new(node, way.attempt))
        if outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
            outcome.outputs.append(types_pb2.Value(integer=node).SerializeToString())
        else:
            outcome.failure.kind = events_pb2.FAILURE_KIND_RAISED
        assert self.run.attempts.expects(node, way.attempt)
        if node == COMPILE_NODE and outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
            taken = self._taken()
            self._do(lambda changes: self.run.compiled([b"dag"], self.graph, outcome, changes, self.now, taken))
        else:
            self._do(lambda changes: self._end(outcome, changes))
        if told is not None:
            self.kept.ends.add((AttemptState(outcome.state), NodeState(self.run.node_state[node])))
        self.stale.append(outcome)

    def _end(self, outcome: action_pb2.Outcome, changes: Changes) -> None:
        self.run.attempts.end(outcome, changes, self.now)
        for started in changes.launches:  # in the room of the one that has ended
            assert started.grant is None
            self.launch(started.node)

    def answer_lookup(self) -> None:
        node = self.lookups.pop(self.dice.randrange(len(self.lookups)))
        outputs = types_pb2.ListValue(items=[types_pb2.Value(integer=node)]).SerializeToString()
        origin = events_pb2.ResultOrigin(run_id=str(UUID(int=0)), node=node)
        if self.dice.random() < 0.5:
            self._do(lambda changes: self.run.earlier_results.found(node, outputs, origin, changes, self.now))
        else:
            self._do(lambda changes: self.run.earlier_results.not_found(node, changes, self.now))

    def crash(self) -> None:
        """The process is gone; another one reads the rows, and the scheduler hears a new hello."""
        if self.run_row["state"] in RUN_ENDED:
            return
        waiting, told = self._waiting_for_room(), dict(self.run.preemptions.told)
        self._take_run_row()
        self.load()
        self.timers.clear()
        self.waits.clear()
        self.lookups.clear()
        self.wanted.clear()
        self.withdrawn.clear()
        changes = Changes()
        self.kept.restore(self.run)
        self.run.restoring.restore(self._copied_rows(), changes, self.now)
        assert self.run.preemptions.told == told, "who was told to make room is told again, or never"
        self.held = {}
        for way in self.run.in_flight.values():
            self.held[way.grant_id] = self.held.get(way.grant_id, 0) + 1
        self.commit(changes)
        for node, since in waiting.items():
            found = self.run.ready.since(node)
            assert found is None or found == since, f"node {node} waits for room since {since}, not {found}"
        self.wanted = {group: group.asked for group in self.run.ready.groups()}

    def _take_run_row(self) -> None:
        self.run = self._new_run()
        # Before the events, so that it is no move.
        self.run.state, self.run.since_us = self.run_row["state"], self.run_row["since_us"]  # type: ignore[assignment]
        self.run.start_us = self.run_row["start_us"]  # type: ignore[assignment]
        self.run.round, self.run.last_event = self.run_row["round"], self.run_row["last_event"]  # type: ignore[assignment]

    def _waiting_for_room(self) -> dict[int, int]:
        """Since when the nodes that may not do so for ever wait."""
        limits = self.graph.queue_limits
        nodes = [node for node in range(self.graph.size) if self.graph.node_operator[node] in limits]
        return {node: since for node in nodes if (since := self.run.ready.since(node)) is not None}

    def _copied_rows(self) -> list[dict[str, object]]:
        return [dict(row, node=node) for node, row in sorted(self.rows.items())]

    def _revive(self) -> None:
        self._take_run_row()
        self.load()
        self.kept.restore(self.run)
        self.run.restoring.restore(self._copied_rows(), Changes(), self.now)
        self.wanted.clear()
        self.timers.clear()
        self.waits.clear()
        self.lookups.clear()
        self.withdrawn.clear()
        self._do(lambda changes: self.run.restoring.revive("again", changes, self.now))

    def _do(self, happening: "object") -> None:
        changes = Changes()
        happening(changes)  # type: ignore[operator]
        self.commit(changes)

    # What the shard would do.

    def commit(self, changes: Changes) -> None:
        for run_id, state, _request in changes.revived:
            assert run_id == self.header.run_id
            if self.run_row["state"] not in (RunState.FAILED, RunState.CANCELLED):
                raise Refused("revived a run that has not failed")
            self.run_row.update(
                state=RunState(state), round=int(self.run_row["round"]) + 1, failure=None, since_us=self.now
            )  # type: ignore[call-overload]
            for row in self.rows.values():
                if row["state"] != NodeState.SUCCEEDED:
                    row.update(state=NodeState.PENDING, tries=0, failure=None)
        for _run, node, attempt, host, grant_id in changes.started:
            row = self.rows.get(node)
            if row is None:
                if attempt != 1:
                    raise Refused(f"node {node} began with attempt {attempt}")
            elif row["attempt"] != attempt - 1 or row["state"] not in (NodeState.PENDING, NodeState.WAITING):
                raise Refused(f"node {node} cannot start attempt {attempt}: {row}")
            tries = row["tries"] if row else 0
            self.rows[node] = _row(state=NodeState.RUNNING, attempt=attempt, tries=tries, host=host, grant_id=grant_id)
        for _run, node, attempt, state, tries, outputs, failure in changes.ended:
            row = self.rows[node]
            if row["attempt"] != attempt or row["state"] != NodeState.RUNNING:
                raise Refused(f"node {node} cannot end attempt {attempt}: {row}")
            row.update(state=NodeState(state), tries=tries, outputs=outputs, failure=failure, end_us=self.now)
            if state == NodeState.SUCCEEDED:
                self.succeeded_attempts.append((node, attempt))
        for _run, node, since, until in changes.waiting:
            row = self.rows.setdefault(node, _row(state=NodeState.PENDING))
            if row["state"] != NodeState.PENDING:
                raise Refused(f"node {node} cannot wait: {row}")
            row.update(state=NodeState.WAITING, start_us=since, end_us=until)
        for _run, node, outputs, origin in changes.reused:
            row = self.rows.setdefault(node, _row(state=NodeState.PENDING))
            if row["state"] not in (NodeState.PENDING, NodeState.WAITING):
                raise Refused(f"node {node} cannot take a result: {row}")
            row.update(state=NodeState.SUCCEEDED, outputs=outputs, origin=origin, failure=None, end_us=self.now)
            self.succeeded_attempts.append((node, 0))
        for _run, node, state, tries, failure in changes.settled:
            row = self.rows.setdefault(node, _row(state=NodeState.PENDING))
            if row["state"] in (NodeState.RUNNING, NodeState.FINISHING, NodeState.SUCCEEDED):
                raise Refused(f"node {node} was settled while it was {row['state']}")
            row.update(state=NodeState(state), tries=tries, failure=failure, end_us=self.now)
        for (_run, node), data in changes.interruptions.items():
            self.rows[node]["interruptions"] = data
        self.compiled = self.compiled or bool(changes.dag_chunks)
        for new in changes.new_runs:
            began = self.now if new[1] is RunState.RUNNING else 0
            self.run_row.update(state=new[1], since_us=self.now, start_us=began)
        for move in changes.moved:
            if move.state != self.run_row["state"]:
                self.run_row["since_us"] = self.now
            self.run_row.update(state=RunState(move.state), failure=move.failure)
            self.run_row.update({} if move.start_us is None else {"start_us": move.start_us})
        for batch in changes.events.values():
            assert batch.first_number == int(self.run_row["last_event"]) + 1, "a gap in the numbers"  # type: ignore[call-overload]
            self.run_row["last_event"] = batch.first_number + len(batch.kind) - 1
            self.events.append(batch)
        self.kept.commit(changes)
        for grant_id, count in changes.releases.items():
            left = self.held.get(grant_id, 0) - count
            assert left >= 0, f"{grant_id} was released more often than it was held"
            self.held[grant_id] = left
        for group, count in changes.demands.items():
            self.wanted[group] = self.wanted.get(group, 0) + count
        for group in [group for group in self.wanted if group.group_id in changes.withdrawn]:
            self.withdrawn.append(group)
            del self.wanted[group]
        self.lookups.extend(node for _run, node in changes.lookups)
        self.waits.extend(node for _delay, _run, node in changes.waits)
        self.timers.extend(happens for _delay, _run, happens in changes.timers)

    # What must hold.

    def check_end(self) -> None:
        rows = {node: (int(row["state"]), int(row["attempt"])) for node, row in self.rows.items()}  # type: ignore[call-overload]
        assert check_run(self.events, nodes=rows, dag=self.graph.dag) == []
        assert not self.run.in_flight
        assert not self.run.preemptions.told
        assert not any(self.held.values()), "a grant leaked"
        assert not self.run.earlier_results.looking, "a node waits for an answer that will not come"
        assert self.run_row["state"] in RUN_ENDED
        assert len(self.succeeded_attempts) == len({node for node, _ in self.succeeded_attempts}), (
            "a node succeeded twice"
        )
        if not self.compiled or self.run.graph is None:  # also cancelled while it was compiled
            return
        states = {
            node: self.rows[node]["state"] if node in self.rows else NodeState.PENDING
            for node in range(self.graph.size)
        }
        self.kept.check_end(states)  # type: ignore[arg-type]
        assert states == {node: NodeState(state) for node, state in enumerate(self.run.node_state[:-1])}
        assert all(state not in (NodeState.PENDING, NodeState.READY, NodeState.RUNNING) for state in states.values())
        for node, state in states.items():
            needed = [states[need] for need in self.graph.dependencies_of(node)]
            if state in (NodeState.SUCCEEDED, NodeState.FAILED):
                # What only follows a node may start after it was given up.
                out_of_the_way = {NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED}
                assert set(needed) <= out_of_the_way or self.run_row["round"] != 1  # a later round may cancel them
                taken = [need for need in self.graph.dependencies_of(node) if self.graph.takes_from(node, need)]
                assert {states[need] for need in taken} <= {NodeState.SUCCEEDED}
            if state is NodeState.SKIPPED:
                assert NodeState.FAILED in needed or NodeState.SKIPPED in needed
            if state is NodeState.UPSTREAM_FAILED:
                assert NodeState.FAILED in needed or NodeState.UPSTREAM_FAILED in needed
        if self.run_row["state"] is RunState.SUCCEEDED:
            tolerated = {node for node in range(self.graph.size) if self.run.policies.goes_on(node)}
            assert set(states.values()) <= {NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED}
            assert {node for node, state in states.items() if state is NodeState.FAILED} <= tolerated
        if self.run_row["state"] is RunState.FAILED:
            assert NodeState.FAILED in states.values()


def _row(**known: object) -> dict[str, object]:
    empty = {
        "tries": 0,
        "attempt": 0,
        "host": "",
        "grant_id": "",
        "start_us": 0,
        "end_us": 0,
        "outputs": None,
        "failure": None,
        "interruptions": None,
    }
    return {**empty, **known}
