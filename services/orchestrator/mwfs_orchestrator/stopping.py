"""A run that is paused or cancelled, and nodes whose result is of no use any more: nothing new starts, what runs is told to stop. (pure)"""

from functools import partial
from typing import TYPE_CHECKING

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_types.dag_steps import in_cleanup

from .changes import Changes
from .graph import COMPILE_NODE
from .growth import Scope
from .model import RunMove
from .run_part import RunPart
from .states import CANCELLED, IS_END, PENDING, READY, RUNNING, WAITING, RunState
from .time_limits import STOP_SECONDS, never_stopped

if TYPE_CHECKING:
    from .active_run import ActiveRun


class Stopping(RunPart):
    """Stops a run, or parts of it."""

    # The whole run.

    def pause(self, changes: Changes, now: int) -> None:
        """Nothing new starts until `resume`; what runs goes on. What was ready is pending again, which nothing stored says otherwise."""
        run = self._run
        if run.ended or run.state not in (RunState.RUNNING, RunState.COMPILING):
            return
        run.move(RunState.PAUSED, now)
        changes.event(run, events_pb2.EVENT_KIND_RUN_PAUSED, now)
        changes.moved.append(RunMove(run_id=run.header.run_id, state=run.state))
        for node in range(-1, len(run.node_state) - 1):
            if run.node_state[node] == READY:
                run.set_any_state(node, PENDING)
        self._withdraw(changes)

    def resume(self, changes: Changes, now: int) -> None:
        """A paused run goes on where it was."""
        run = self._run
        if run.ended or run.state is not RunState.PAUSED:
            return
        run.move(RunState.RUNNING if run.graph is not None else RunState.COMPILING, now)
        changes.event(run, events_pb2.EVENT_KIND_RUN_RESUMED, now)
        changes.moved.append(RunMove(run_id=run.header.run_id, state=run.state))
        if run.graph is not None:
            run.controls.ask_all_soon()
            run.start_what_can(changes, now)
        elif run.node_state[COMPILE_NODE] == PENDING:
            run.make_ready(COMPILE_NODE, changes, now)

    def cancel(self, changes: Changes, now: int, *, skip_cleanups: bool = False) -> None:
        """Nothing new starts but cleanups; what runs is stopped; the run ends when that has ended."""
        self._cancel(changes, now)
        if skip_cleanups:
            self._run.cleaning.skip_cleanups(changes, now)

    def _cancel(self, changes: Changes, now: int) -> None:
        run = self._run
        if run.state not in (RunState.RUNNING, RunState.COMPILING, RunState.PAUSED):
            return
        run.move(RunState.CANCELLING, now)
        changes.event(run, events_pb2.EVENT_KIND_RUN_CANCELLING, now)
        changes.moved.append(RunMove(run_id=run.header.run_id, state=run.state))
        self.cancel_open_nodes(changes, now)
        self.stop_all(changes, now)
        run.cleaning.go_on_in_time(changes, now)
        if run.is_over():
            run.ending.finish(changes, now)

    def cancel_open_nodes(self, changes: Changes, now: int, *, given_up: bool = False) -> None:
        """All but what cleans up, and its cleanups."""
        run, sheltered = self._run, []
        cleaning = run.cleaning
        for node in range(len(run.node_state) - 1):  # control nodes come before what they have made
            state = run.node_state[node]
            if IS_END[state] or node in cleaning.cleaning:
                continue
            if cleaning.cleaning and cleaning.shelters(node):
                if state == READY:
                    sheltered.append(node)
            elif state == RUNNING or node in run.child_runs.going_on:
                cleaning.linger(node)
            elif state == WAITING and not given_up and cleaning.is_due(node):
                cleaning.start(node, changes)
            else:
                run.settle(node, CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)
        self._withdraw(changes)
        for node in sheltered:
            run.make_ready(node, changes, now)

    def _withdraw(self, changes: Changes) -> None:
        """Nothing is to start any more, or for now."""
        self._run.earlier_results.looking.clear()
        for group in self._run.ready.clear():
            changes.withdrawn.append(group.group_id)
            changes.demands.pop(group, None)

    # What runs.

    def stop_all(self, changes: Changes, now: int) -> None:
        """All that runs but cleanups."""
        run = self._run
        # A restart does not give cancelled runs more time.
        since = run.since_us if run.state is RunState.CANCELLING else now
        for node in run.in_flight:
            if not run.cleaning.shelters(node):
                self.stop(node, changes, since, now)
        for node in run.child_runs.going_on:
            if not run.cleaning.shelters(node):
                run.child_runs.stop(node, changes)

    def stop(self, node: int, changes: Changes, since: int, now: int) -> None:
        """Tells an attempt to stop. One that does not say in time that it has is given up."""
        run = self._run
        way = run.in_flight[node]
        changes.stops.append((way.host, (run.header.run_id, node, way.attempt)))
        left = max(0.0, STOP_SECONDS - (now - since) / 1e6)
        changes.timers.append((left, run, partial(_give_up_on, node=node, attempt=way.attempt)))

    def is_stopping(self, node: int) -> bool:
        """Whether an attempt of the node is of no use any more."""
        run = self._run
        if node in run.growth.abandoned:
            return True
        stops = run.state is RunState.CANCELLING or run.policies.stops_run
        return stops and not run.cleaning.shelters(node)

    # What is of no use any more.

    def drop(self, node: int, changes: Changes, now: int) -> None:
        """What comes of a node is of no use any more: it is cancelled, what it has grown with it, and what has a cleanup cleans up first."""
        run = self._run
        state, cleaning = run.node_state[node], run.cleaning
        if state == RUNNING:
            run.growth.abandoned.add(node)
            cleaning.linger(node)
            self.stop(node, changes, now, now)
        elif node in run.child_runs.going_on:
            run.growth.abandoned.add(node)
            cleaning.linger(node)
            run.child_runs.stop(node, changes)
        elif cleaning.is_due(node):
            if node not in cleaning.cleaning:
                cleaning.start(node, changes)
                if not in_cleanup(run.growth.scopes[node].last):
                    self._drop_all(run.growth.scopes[node], changes, now)
        elif not IS_END[state]:
            run.earlier_results.looking.discard(node)
            run.ready.remove(node)
            run.settle(node, CANCELLED, events_pb2.EVENT_KIND_NODE_CANCELLED, changes, now)
            self.close(node, changes, now)

    def close(self, node: int, changes: Changes, now: int) -> None:
        """Forgets what a control node has grown; what has not ended in it, at any depth, is dropped."""
        scope = self._run.growth.scopes.pop(node, None)
        if scope is not None:
            self._drop_all(scope, changes, now)

    def _drop_all(self, scope: Scope, changes: Changes, now: int) -> None:
        if scope.open:
            for node in range(scope.first, scope.end):
                self.drop(node, changes, now)


def _give_up_on(run: "ActiveRun", /, *, node: int, attempt: int, changes: Changes, now: int) -> None:
    """The time in which an attempt had to say that it has stopped is over."""
    if run.attempts.expects(node, attempt) and run.stopping.is_stopping(node):
        key = action_pb2.AttemptKey(run_id=str(run.header.run_id), node=node, attempt=attempt)
        outcome = action_pb2.Outcome(key=key, state=events_pb2.ATTEMPT_STATE_LOST, failure=never_stopped(node))
        run.attempts.end(outcome, changes, now)
