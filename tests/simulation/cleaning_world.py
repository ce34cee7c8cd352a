"""A world around one run whose bodies are cut short at any moment: what must be cleaned up is, once, and after all that it is for."""

from collections.abc import Callable

from simulation.growing_world import GrowingWorld

from mwfs_api.dags.v1 import dag_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.cleaning import cleanups_take_too_long
from mwfs_orchestrator.growth import Growth
from mwfs_orchestrator.states import NODE_ENDED, NodeState, RunState
from mwfs_types.dag_steps import in_cleanup


class CleaningWorld(GrowingWorld):
    """Somebody cancels often, and sometimes does not want to wait for the cleanups; sometimes their time is over."""

    #: The cleanups of the run were given up.
    skipped = False
    #: Bodies that were cancelled, and cleaned up.
    cleaned = 0

    def step(self) -> None:
        chance = self.dice.random()
        if chance < 0.01:
            self._do(lambda changes: self.run.stopping.cancel(changes, self.now))
            self.cancelled = self.run.state in (RunState.CANCELLING, RunState.CANCELLED)
        elif chance < 0.013 and self.run.state is RunState.CANCELLING:
            self._do(lambda changes: self.run.stopping.cancel(changes, self.now, skip_cleanups=True))
        elif chance < 0.02:
            self.crash()
        else:
            super().step()

    def _revive(self) -> None:
        self.skipped = False
        super()._revive()

    def _new_run(self) -> ActiveRun:
        run = super()._new_run()
        skip: Callable[[Changes, int], None] = run.cleaning.skip_cleanups

        def skipping(changes: Changes, now: int) -> None:
            self.skipped = self.skipped or (run.state is RunState.CANCELLING and bool(run.cleaning.cleaning))
            skip(changes, now)

        run.cleaning.skip_cleanups = skipping  # type: ignore[method-assign]
        return run

    def commit(self, changes: Changes) -> None:
        bound = [timer for timer in changes.timers if timer[2] is cleanups_take_too_long]
        if bound and self.dice.random() < 0.9:  # the time is long
            changes.timers.remove(bound[0])
        before = len(self.patches)
        super().commit(changes)
        for _round, data, _created in self.patches[before:]:
            self.check_cleanup(dag_pb2.DagPatch.FromString(data))

    def crash(self) -> None:
        super().crash()
        growth, cleaning = self.run.growth, self.run.cleaning.cleaning
        for node in self.run.in_flight:
            around = next((one for one in _around(growth, node) if one in cleaning), None)
            if around is not None and not in_cleanup(growth.scopes[around].last):
                assert self.run.stopping.is_stopping(node), f"node {node} goes on after a restart, for nobody"

    def is_try(self, node: int) -> bool:
        assert self.run.graph is not None
        return self.run.graph.operator_of(node).control.cleanup > 0

    def check_cleanup(self, patch: dag_pb2.DagPatch) -> None:
        """Nothing of the body goes on when its cleanup begins."""
        if not self.is_try(patch.parent) or not in_cleanup(patch):
            return
        growth = self.run.growth
        scope = growth.scopes[patch.parent]
        for node in range(len(self.run.node_state) - 1):
            if patch.parent in _around(growth, node) and not scope.first <= node < scope.end:
                state = NodeState(self.run.node_state[node])
                assert state in NODE_ENDED, f"node {patch.parent} cleans up while node {node} below it is {state.name}"

    def check_end(self) -> None:
        super().check_end()
        tries: list[tuple[dag_pb2.DagPatch, int]] = []
        first = self.dag_size
        for round_, data, _created in self.patches:
            patch = dag_pb2.DagPatch.FromString(data)
            if round_ == self.run_row["round"] and self.is_try(patch.parent):
                tries.append((patch, first))
            first += len(patch.dag.node_operator)
        begun = [patch.parent for patch, _ in tries if not in_cleanup(patch)]
        cleaned = [patch.parent for patch, _ in tries if in_cleanup(patch)]
        assert len(set(begun)) == len(begun), "a body began twice"
        assert len(set(cleaned)) == len(cleaned), "a cleanup ran twice"
        left = [node for node in begun if node not in cleaned and self.has_nodes(node)]
        assert self.skipped or not left, f"nobody cleaned up after {left}"
        for patch, first in tries:
            if in_cleanup(patch):
                states = self.run.node_state[first : first + len(patch.dag.node_operator)]
                assert self.skipped or NodeState.CANCELLED not in states, f"the cleanup of {patch.parent} was cut short"
                self.cleaned += self.run.node_state[patch.parent] == NodeState.CANCELLED

    @property
    def dag_size(self) -> int:
        return len(self.dag.proto.node_operator)

    def has_nodes(self, node: int) -> bool:
        """Whether the cleanup of a node grows the run: one that only gives a value does not."""
        assert self.run.graph is not None
        dag, local = self.run.graph.part_of(node)
        cleanup = dag.operators[dag.node_operator[local]].control.cleanup
        return bool(dag.bodies[cleanup - 1].node_operator)


def _around(growth: Growth, node: int) -> list[int]:
    """The control nodes around a node, innermost first."""
    found = []
    while growth.made(node):
        node = growth.parent_of(node)
        found.append(node)
    return found
