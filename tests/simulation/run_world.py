"""A world around one run without any I/O: a table of node rows that refuses what the shard's SQL would refuse, and dice that decide what happens next."""

import itertools
import random
from uuid import UUID

from invariants.run_invariants import check_run

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.graph import Graph
from mwfs_orchestrator.host_links import attempt_key
from mwfs_orchestrator.model import Grant, RunHeader
from mwfs_orchestrator.states import RUN_ENDED, NodeState, RunState

INT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_INT)


def random_dag(dice: random.Random) -> dag_pb2.Dag:
    """Up to 25 nodes; each takes up to three results of earlier nodes, as one list."""
    dag = dag_pb2.Dag(format=1, workflow="sim:run", types=[INT, types_pb2.Type(list=types_pb2.ListType(item=INT))])
    for attempts in (1, 3):
        for policy in (dag_pb2.FAILURE_POLICY_BLOCK_DEPENDENTS, dag_pb2.FAILURE_POLICY_CANCEL_RUN):
            operator = dag.operators.add(module="sim", qualname="total", failure_policy=policy)
            operator.parameters.add(name="xs", type=1)
            operator.outputs.add(name="result", type=0)
            operator.retry.attempts = attempts
            operator.retry.backoff_seconds = attempts - 1
            operator.resources.cpu_millis = 1000
    for node in range(dice.randint(1, 25)):
        dag.node_operator.append(dice.choice([0, 0, 2, 2, 2, 2, 3]))
        dag.node_location.append(0)
        needs = [dice.randrange(node) for _ in range(dice.randint(0, 3))] if node else []
        dag.arguments.kind.append(dag_pb2.BINDING_KIND_LIST)
        dag.arguments.a.append(len(dag.items.kind))
        dag.arguments.b.append(len(needs))
        for need in needs:
            dag.items.kind.append(dag_pb2.BINDING_KIND_OUTPUT)
            dag.items.a.append(need)
            dag.items.b.append(0)
    dag.files.append("sim.py")
    dag.location_file.append(0)
    dag.location_line.append(1)
    dag.outputs.add(name="last", type=0, item=len(dag.items.kind))
    dag.items.kind.append(dag_pb2.BINDING_KIND_OUTPUT)
    dag.items.a.append(len(dag.node_operator) - 1)
    dag.items.b.append(0)
    return dag


class Refused(AssertionError):
    """The shard would have refused this commit."""


class RunWorld:
    """One run, its rows, its events, and everything that may befall it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1_000_000
        self.graph = Graph(random_dag(self.dice))
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
            compile_job=None,
            create_us=self.now,
        )
        self.rows: dict[int, dict[str, object]] = {}
        self.run_row: dict[str, object] = {"state": RunState.RUNNING, "round": 1, "last_event": 0, "failure": None}
        self.events: list[events_pb2.RunEvents] = []
        self.succeeded_attempts: list[tuple[int, int]] = []
        self.held: dict[str, int] = {}
        self.wanted: dict[object, int] = {}
        self.withdrawn: list[object] = []
        self.waits: list[int] = []
        self.stale: list[action_pb2.Outcome] = []
        self.grant_ids = (f"grant-{number}" for number in itertools.count())
        self.run = self._new_run()
        self._do(lambda changes: self.run.accept([b"dag"], self.graph, changes, self.now))

    def _new_run(self) -> ActiveRun:
        return ActiveRun(self.header, (f"g{number}" for number in itertools.count()))

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
        wanted = any(count > 0 for count in self.wanted.values())
        assert wanted or self.run.in_flight or self.waits, "the run goes on and nothing can happen to it any more"
        happening = self.dice.random()
        if happening < 0.03:
            self.crash()
        elif happening < 0.035:
            self._do(lambda changes: self.run.cancel(changes, self.now))
        elif happening < 0.1 and self.stale:
            outcome = self.dice.choice(self.stale)
            assert not self.run.expects(outcome.key.node, outcome.key.attempt), "a late outcome would count twice"
        elif happening < 0.5:
            self.grant()
        elif self.waits and happening < 0.6:
            node = self.waits.pop()
            self._do(lambda changes: self.run.wake(node, changes, self.now))
        else:
            self.outcome()

    def grant(self) -> None:
        groups = [group for group, count in self.wanted.items() if count > 0]
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
            used = self.run.start(group, grant, changes, self.now)  # type: ignore[arg-type]
            changes.releases[grant.grant_id] += count - used

        self._do(start)

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
        if outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED:
            outcome.outputs.append(types_pb2.Value(integer=node).SerializeToString())
        else:
            outcome.failure.kind = events_pb2.FAILURE_KIND_RAISED
        assert self.run.expects(node, way.attempt)
        self._do(lambda changes: self.run.end(outcome, changes, self.now))
        self.stale.append(outcome)

    def crash(self) -> None:
        """The process is gone; another one reads the rows, and the scheduler hears a new hello."""
        if self.run_row["state"] in RUN_ENDED:
            return
        self.run = self._new_run()
        self.run.state = self.run_row["state"]  # type: ignore[assignment]
        self.run.round, self.run.last_event = self.run_row["round"], self.run_row["last_event"]  # type: ignore[assignment]
        self.run.attach(self.graph)
        self.waits.clear()
        self.wanted.clear()
        self.withdrawn.clear()
        changes = Changes()
        self.run.restore(self._copied_rows(), changes, self.now)
        self.held = {}
        for way in self.run.in_flight.values():
            self.held[way.grant_id] = self.held.get(way.grant_id, 0) + 1
        self.commit(changes)
        self.wanted = {group: len(group.ready) for group in self.run.ready.groups()}

    def _copied_rows(self) -> list[dict[str, object]]:
        return [dict(row, node=node) for node, row in sorted(self.rows.items())]

    def _revive(self) -> None:
        self.run = self._new_run()
        self.run.state = self.run_row["state"]  # type: ignore[assignment]
        self.run.round, self.run.last_event = self.run_row["round"], self.run_row["last_event"]  # type: ignore[assignment]
        self.run.attach(self.graph)
        self.run.restore(self._copied_rows(), Changes(), self.now)
        self.wanted.clear()
        self.waits.clear()
        self.withdrawn.clear()
        self._do(lambda changes: self.run.revive("again", changes, self.now))

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
            self.run_row.update(state=RunState(state), round=int(self.run_row["round"]) + 1, failure=None)  # type: ignore[call-overload]
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
        for _run, node, state in changes.settled:
            row = self.rows.setdefault(node, _row(state=NodeState.PENDING))
            if row["state"] in (NodeState.RUNNING, NodeState.FINISHING, NodeState.SUCCEEDED):
                raise Refused(f"node {node} was settled while it was {row['state']}")
            row["state"] = NodeState(state)
        for move in changes.moved:
            self.run_row.update(state=RunState(move.state), failure=move.failure)
        for batch in changes.events.values():
            assert batch.first_number == int(self.run_row["last_event"]) + 1, "a gap in the numbers"  # type: ignore[call-overload]
            self.run_row["last_event"] = batch.first_number + len(batch.kind) - 1
            self.events.append(batch)
        for grant_id, count in changes.releases.items():
            left = self.held.get(grant_id, 0) - count
            assert left >= 0, f"{grant_id} was released more often than it was held"
            self.held[grant_id] = left
        for group, count in changes.demands.items():
            self.wanted[group] = self.wanted.get(group, 0) + count
        if changes.withdrawn:
            self.withdrawn += self.wanted
            self.wanted.clear()
        self.waits.extend(node for _delay, _run, node in changes.waits)

    # What must hold.

    def check_end(self) -> None:
        rows = {node: (int(row["state"]), int(row["attempt"])) for node, row in self.rows.items()}  # type: ignore[call-overload]
        assert check_run(self.events, nodes=rows, dag=self.graph.dag) == []
        assert not self.run.in_flight
        assert not any(self.held.values()), "a grant leaked"
        assert self.run_row["state"] in RUN_ENDED
        assert len(self.succeeded_attempts) == len({node for node, _ in self.succeeded_attempts}), (
            "a node succeeded twice"
        )
        states = {
            node: self.rows[node]["state"] if node in self.rows else NodeState.PENDING
            for node in range(self.graph.size)
        }
        assert states == {node: NodeState(state) for node, state in enumerate(self.run.node_state[:-1])}
        assert all(state not in (NodeState.PENDING, NodeState.READY, NodeState.RUNNING) for state in states.values())
        for node, state in states.items():
            needed = [states[need] for need in self.graph.dependencies_of(node)]
            if state in (NodeState.SUCCEEDED, NodeState.FAILED):
                assert set(needed) <= {NodeState.SUCCEEDED}
            if state is NodeState.UPSTREAM_FAILED:
                assert NodeState.FAILED in needed or NodeState.UPSTREAM_FAILED in needed
        if self.run_row["state"] is RunState.SUCCEEDED:
            assert set(states.values()) == {NodeState.SUCCEEDED}
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
    }
    return {**empty, **known}
