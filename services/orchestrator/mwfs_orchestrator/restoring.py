"""A run that is taken up again: where its rows say it was, or for another round. (pure)"""

from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2

from .arguments import unpack_list
from .changes import Changes
from .graph import COMPILE_NODE, Graph
from .model import InFlight, RunMove
from .retry import delay_before
from .run_part import RunPart
from .states import CANCELLED, FAILED, IS_END, PENDING, RUNNING, SKIPPED, SUCCEEDED, WAITING, RunState
from .waits import NodeWait

if TYPE_CHECKING:
    from .active_run import ActiveRun


class Restoring(RunPart):
    """Restores a run, and revives it."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        #: From the first patch to the end of `restore`.
        self.under_way = False
        #: When a node was made, or last ended, as far as rows say so; for Dags whose nodes may not wait for room for ever.
        self._row_times: dict[int, int] = {}
        #: Nodes that were made in earlier rounds: what has not succeeded of them is not needed.
        self._history: list[range] = []

    # From rows.

    def attach_patch(self, patch: dag_pb2.DagPatch, round: int, create_us: int) -> None:
        """Grows as the run once did, in its round `round`. Before `restore`."""
        run = self._run
        graph, parent = run.graph, patch.parent
        assert graph is not None, "only a run with a graph grows"
        self.under_way = True
        first, end = run.growth.append(patch)
        if graph.queue_limits:
            self._row_times.update(dict.fromkeys(range(first, end), create_us))
        if round == run.round:
            run.growth.add(parent, patch, first, graph.last_items, dynamic=run.growth.is_dynamic(parent))
            if run.node_state[parent] == PENDING:
                run.set_state(parent, WAITING)
        else:
            run.growth.add(parent, patch, first, 0)
            del run.growth.scopes[parent]
            self._history.append(range(first, end))

    def restore(self, rows: Iterable[Mapping[str, Any]], changes: Changes, now: int) -> None:
        """Takes up the run where its rows say it was. Emits no event; demands go to `changes`."""
        run = self._run
        self.under_way = True
        for row in rows:
            self._restore_node(row, changes, now)
        run.preemptions.restore(changes, now)
        self._restore_growth(changes, now)
        if run.state is RunState.COMPILING:
            if not run.in_flight:
                run.make_ready(COMPILE_NODE, changes, now)
        elif run.state is RunState.RUNNING:
            run.start_what_can(changes, now)
        elif run.state is RunState.CANCELLING:
            run.stopping.stop_all(changes, now)
            run.cleaning.go_on_in_time(changes, now)
        elif run.state is RunState.PAUSED and run.nothing_open():
            run.ending.finish(changes, now)
        self._row_times.clear()
        self.under_way = False

    def _restore_node(self, row: Mapping[str, Any], changes: Changes, now: int) -> None:
        run = self._run
        graph = run.graph
        node, state = row["node"], int(row["state"])
        run.attempt[node] = row["attempt"]
        run.interruptions.restore(node, row["interruptions"])
        if row["tries"]:
            run.tries[node] = row["tries"]
        if graph is not None and graph.queue_limits:
            self._row_times[node] = max(self._row_times.get(node, 0), row["end_us"])
        if node == COMPILE_NODE:
            run.node_state[COMPILE_NODE] = state
        elif state != PENDING or node not in run.growth.scopes:
            # The row of an earlier round does not know what it has grown.
            run.set_state(node, state)
        if state == RUNNING:
            run.in_flight[node] = InFlight(
                attempt=row["attempt"],
                host=row["host"],
                grant_id=row["grant_id"],
                resources=run.ready.resources_of(node),
                held_us=row["start_us"],
            )
        elif state == SUCCEEDED and node != COMPILE_NODE and graph is not None:
            run.outputs[node] = unpack_list(row["outputs"])
            for dependent in graph.dependents_of(node):
                run.missing[dependent] -= 1
        elif state == FAILED:
            run.policies.restore(node, events_pb2.Failure.FromString(row["failure"]))
        elif state == SKIPPED:
            run.policies.let_followers_go(node)
        elif state == WAITING and graph is not None:
            self._restore_wait(graph, node, row, changes, now)

    def _restore_wait(self, graph: Graph, node: int, row: Mapping[str, Any], changes: Changes, now: int) -> None:
        run = self._run
        if run.cleaning.is_due(node):
            run.cleaning.begin(node)
        elif run.child_runs.starts_one(node):
            run.child_runs.restore(node, changes)
        elif graph.is_control(node):
            until_us = row["end_us"]
            signal = graph.operator_of(node).control.name
            run.waits.add(node, NodeWait(signal=signal, since_us=row["start_us"], until_us=until_us))
            if until_us:
                changes.waits.append((max(0.0, (until_us - now) / 1e6), run, node))
        elif node not in run.growth.scopes:
            attempt = (run.header.run_id, node, row["attempt"])
            delay = delay_before(graph.operator_of(node).retry, run.tries.get(node, 0), attempt)
            over_us = row["end_us"] + int(delay * 1e6)
            if over_us > now:
                changes.waits.append(((over_us - now) / 1e6, run, node))
            else:
                run.set_state(node, PENDING)
                self._row_times[node] = over_us

    def _restore_growth(self, changes: Changes, now: int) -> None:
        run = self._run
        for nodes in self._history:
            for node in nodes:
                if run.node_state[node] != SUCCEEDED:
                    run.set_state(node, CANCELLED)
        for node in [one for one in run.growth.scopes if IS_END[run.node_state[one]]]:
            del run.growth.scopes[node]
        for node in [*run.in_flight, *run.child_runs.going_on]:
            if run.cleaning.is_of_no_use(node):
                run.stopping.drop(node, changes, now)
        for node in [one for one in range(len(run.missing)) if run.node_state[one] == FAILED]:
            if run.policies.cancels_dependents(node) and not run.ended:
                run.policies.cancel_with(node, changes, now)
        if run.policies.stops_run and run.state in (RunState.RUNNING, RunState.PAUSED):
            run.stopping.stop_all(changes, now)
        run.controls.ask_all_soon()

    def can_stand_still(self) -> bool:
        """Whether a run misses nothing while nobody tells it anything: it waits for room and outcomes, which are told again, and for no clock and no answer."""
        run = self._run
        graph = run.graph
        return (
            run.state is RunState.RUNNING
            and graph is not None
            and not (graph.control_operators or graph.dynamic_operators or graph.cached_operators or graph.queue_limits)
            and not (run.counts[WAITING] or run.counts[FAILED] or run.counts[CANCELLED])
        )

    def ready_since(self, node: int, now: int) -> int:
        """After a restart a node has been ready since what it needs was there, and its last attempt had ended."""
        times, graph = self._row_times, self._run.graph
        if not self.under_way or graph is None:
            return now
        needed = max((times.get(one, 0) for one in graph.dependencies_of(node)), default=0)
        return min(now, max(self._run.since_us, needed, times.get(node, 0)))

    # For another round.

    def revive(self, request_id: str, changes: Changes, now: int) -> None:
        """Opens the next round of a failed or cancelled run: succeeded nodes stay, all others begin anew."""
        run = self._run
        run.round += 1
        run.end_us = 0
        run.end_committed = False
        run.failure = None
        for part in (run.policies, run.growth, run.cleaning, run.waits, run.child_runs):
            part.reset()
        run.tries.clear()
        run.lost.clear()
        for node in range(len(run.node_state) - 1):
            if run.node_state[node] != SUCCEEDED:
                run.set_state(node, PENDING)
                if run.growth.made(node):
                    # What was grown is not gone back to: control nodes begin anew.
                    run.set_state(node, CANCELLED)
        run.controls.reset()
        self._count_missing()
        changes.event(run, events_pb2.EVENT_KIND_RUN_REVIVED, now)
        run.move(RunState.RUNNING if run.graph is not None else RunState.COMPILING, now)
        changes.revived.append((run.header.run_id, run.state, request_id))
        if run.graph is None:
            run.node_state[COMPILE_NODE] = PENDING
            run.make_ready(COMPILE_NODE, changes, now)
            return
        if not run.start_us:  # it was cancelled while it was compiled
            run.tell_start(run.graph, changes, now)
            changes.moved.append(
                RunMove(run_id=run.header.run_id, state=run.state, start_us=now, node_count=run.graph.size)
            )
        run.start_what_can(changes, now)

    def _count_missing(self) -> None:
        run = self._run
        if run.graph is None:
            return
        run.missing = array("I", run.graph.waits_for)
        for node in run.outputs:
            for dependent in run.graph.dependents_of(node):
                run.missing[dependent] -= 1
