"""Cleanups that run although what they are for was cancelled. (pure)

A cleaning node has a row in the state WAITING, as no other `try` has, written with the cancellation of its body: so a restart takes up each
cleanup exactly once. Its newest patch says whether its body is still ending or its cleanup has begun.
"""

from typing import TYPE_CHECKING, Final

from mwfs_api.events.v1 import events_pb2
from mwfs_types.cleanups import Cleanups
from mwfs_types.dag_steps import in_cleanup

from .changes import Changes
from .growth import Scope
from .run_part import RunPart
from .states import CANCELLED, WAITING, RunState

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: The cleanups of a cancelled run have so long, all together and from its cancel on; then what is left of them is cancelled.
CLEANUP_SECONDS: Final = 600.0


class Cleaning(RunPart, Cleanups):
    """The cleaning nodes of a run."""

    def __init__(self, run: "ActiveRun") -> None:
        RunPart.__init__(self, run)
        growth = run.growth
        Cleanups.__init__(
            self,
            lambda node: growth.parent_of(node) if growth.made(node) else -1,
            lambda node: scope.last if (scope := growth.scope_of(node)) is not None else None,
        )

    def has_cleanup(self, node: int) -> bool:
        """Whether a cleanup follows the body of this control node."""
        graph = self._run.graph
        return graph is not None and graph.operator_of(node).control.cleanup > 0

    def is_due(self, node: int) -> bool:
        """Whether a node that is to be cancelled is to clean up first: its body has begun."""
        run = self._run
        return run.node_state[node] == WAITING and node in run.growth.scopes and self.has_cleanup(node)

    def start(self, node: int, changes: Changes) -> None:
        """A node is cleaning from now on; what of its body has not ended is for the caller to cancel."""
        self.begin(node)
        changes.waiting.append((self._run.header.run_id, node, 0, 0))

    def holds_back(self, node: int, scope: Scope) -> bool:
        """Whether the cleanup of a node has to wait for something of its body, although the body's own nodes have ended."""
        return self.waits(node) and self.has_cleanup(node) and not in_cleanup(scope.last)

    def was_cancelled(self, node: int, scope: Scope) -> bool:
        """Whether the body of a node was cancelled, and its cleanup has not begun."""
        return node in self.cleaning and not in_cleanup(scope.last)

    def is_of_no_use(self, node: int) -> bool:
        """Whether nobody waits for the result of a grown node, or only a node that is cleaning: after a restart, to stop it again."""
        growth = self._run.growth
        if not growth.made(node):
            return False
        scope = growth.scope_of(node)
        return scope is None or self.was_cancelled(growth.parent_of(node), scope)

    def goes_on(self, node: int) -> bool:
        """Whether a node may start, or a control node do its next step, where the run now is."""
        run = self._run
        if run.state is RunState.RUNNING and not run.policies.stops_run:
            return True
        if run.state not in (RunState.RUNNING, RunState.CANCELLING):
            return False
        return node in self.cleaning or self.shelters(node)

    def end(self, node: int, changes: Changes, now: int) -> None:
        """A node has cleaned up, or cannot."""
        run = self._run
        run.stopping.close(node, changes, now)
        run.settle(node, CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)

    def go_on_in_time(self, changes: Changes, now: int) -> None:
        """A cancelled run does nothing but what is sheltered, for a while."""
        run = self._run
        if self.cleaning:
            left = max(0.0, CLEANUP_SECONDS - (now - run.since_us) / 1e6)
            changes.timers.append((left, run, cleanups_take_too_long))
            run.controls.ask_all_soon()  # it may have been paused
            run.start_what_can(changes, now)

    def skip_cleanups(self, changes: Changes, now: int) -> None:
        """Of a run that is CANCELLING: cleanups that have not ended are cancelled too."""
        run = self._run
        if run.state is not RunState.CANCELLING:
            return
        for node in run.child_runs.going_on:
            run.child_runs.stop(node, changes, skip_cleanups=True)
        if not self.cleaning:
            return
        sheltered = [node for node in run.in_flight if self.shelters(node)]
        self.give_up()
        run.stopping.cancel_open_nodes(changes, now, given_up=True)
        for node in sheltered:
            run.stopping.stop(node, changes, now, now)
        if run.is_over():
            run.ending.finish(changes, now)


def cleanups_take_too_long(run: "ActiveRun", *, changes: Changes, now: int) -> None:
    """The time that a cancelled run has for its cleanups is over."""
    run.cleaning.skip_cleanups(changes, now)
