"""The control nodes of a run: what they are asked, and what follows from the answers. (pure)"""

from typing import TYPE_CHECKING, Final

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_answers import Await, Done, Failed, Grow, Outcome, Step
from mwfs_types.dag_failures import failure_of_function
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.dag_steps import in_cleanup
from mwfs_types.files import is_spilled
from mwfs_types.limits import MAX_COLLECTED_BYTES

from .arguments import pack_list, value_at
from .changes import Changes
from .graph import Graph
from .growth import Question, Scope
from .run_part import RunPart
from .states import FAILED, READY, SUCCEEDED, WAITING

if TYPE_CHECKING:
    from .active_run import ActiveRun

_RACE: Final = int(dag_pb2.CONTROL_KIND_RACE)
#: Arguments of a control node, and results of all its instances: of a race, not all are kept.
_OUTCOME_BYTES: Final = 2 * MAX_COLLECTED_BYTES


class ControlSteps(RunPart):
    """Takes the control nodes of a run from one step to the next."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        #: Control nodes whose newest patch has ended, or for a race one instance of it.
        self._due: set[int] = set()

    # When they are asked.

    def note_end(self, node: int) -> None:
        """A node has ended: what waits for it is to be asked."""
        run = self._run
        ended = run.growth.ended(node)
        if ended is not None:
            parent, scope, instance = ended
            if not scope.open or (instance and self._races(parent)):
                self._due.add(parent)
        if run.cleaning.lingering:
            self._due.update(filter(run.cleaning.has_cleanup, run.cleaning.ended(node)))

    def _races(self, node: int) -> bool:
        graph = self._run.graph
        return graph is not None and graph.operator_of(node).control.kind == _RACE

    def ask_soon(self, node: int) -> None:
        """The node is to be asked."""
        self._due.add(node)

    def ask_all_soon(self) -> None:
        """Asked too early does no harm: the answer is to wait."""
        self._due.update(self._run.growth.scopes)

    def ask(self, changes: Changes) -> None:
        """Control nodes above what has ended are asked what they do next."""
        if self._due:
            run = self._run
            changes.questions.extend((run, node) for node in sorted(filter(run.cleaning.goes_on, self._due)))
            self._due.clear()

    def reset(self) -> None:
        """A new round."""
        self._due.clear()

    # What they are asked.

    def question(self, node: int) -> Question | None:
        """What a control node is to be asked; None when it waits for nothing that has ended. Raises FunctionFailed, ContentNeeded."""
        run = self._run
        graph, scope = run.graph, run.growth.scopes.get(node)
        if graph is None or run.node_state[node] not in (READY, WAITING) or not run.cleaning.goes_on(node):
            return None
        dag, local = graph.part_of(node)
        operator = dag.node_operator[local]
        if scope is not None and scope.open and dag.operators[operator].control.kind != _RACE:
            return None
        if scope is not None and run.cleaning.holds_back(node, scope):
            return None
        # What a dynamic operator took, its attempt has had.
        arguments = self._arguments(graph, node) if scope is None or not scope.dynamic else []
        if scope is not None and run.cleaning.was_cancelled(node, scope):
            outcomes: list[Outcome | None] = [Outcome(cancelled=True)]
        else:
            outcomes = [] if scope is None else self._outcomes(graph, scope)
        return Question(node=node, dag=dag, operator=operator, arguments=arguments, scope=scope, outcomes=outcomes)

    def _arguments(self, graph: Graph, node: int) -> list[types_pb2.Value]:
        """Raises FunctionFailed when they are too large together, ContentNeeded."""
        run = self._run
        arguments, size = [], 0
        for row in range(graph.argument_start[node], graph.argument_start[node + 1]):
            data = value_at(graph, graph.arguments, row, run.outputs.__getitem__, run.read_content)
            value = types_pb2.Value.FromString(data)
            arguments.append(run.read_content(value) if is_spilled(value) else value)
            size += arguments[-1].ByteSize()
            if size > _OUTCOME_BYTES:
                raise FunctionFailed("OverflowError", f"the arguments have more than {_OUTCOME_BYTES:,} bytes together")
        return arguments

    def _outcomes(self, graph: Graph, scope: Scope) -> list[Outcome | None]:
        """One for each instance. Raises FunctionFailed when the values are too large together."""
        outcomes: list[Outcome | None] = []
        size = 0
        for instance in range(len(scope.open_of)):
            outcome = self._outcome(graph, scope, instance)
            outcomes.append(outcome)
            if outcome is not None and outcome.value is not None:
                size += outcome.value.ByteSize()
            if size > _OUTCOME_BYTES:
                raise FunctionFailed("OverflowError", f"the results have more than {_OUTCOME_BYTES:,} bytes together")
        return outcomes

    def _outcome(self, graph: Graph, scope: Scope, instance: int) -> Outcome | None:
        if scope.open_of[instance]:
            return None
        run = self._run
        failed = [node for node in scope.nodes_of(instance) if run.node_state[node] == FAILED]
        failures = tuple(run.growth.failures[node] for node in failed)
        if not all(map(run.policies.goes_on, failed)):
            return Outcome(failures=failures)
        try:
            data = value_at(graph, graph.items, scope.items[instance], run.outputs.__getitem__, run.read_content)
        except KeyError:
            return Outcome(failures=failures)  # its result was given up
        except FunctionFailed as error:
            return Outcome(failures=(failure_of_function(error),))
        return Outcome(value=types_pb2.Value.FromString(data))

    # What follows from the answer.

    def answer(self, question: Question, step: Step, changes: Changes, now: int) -> None:
        """What a control node does next. A done value is small enough to travel inline."""
        run, node = self._run, question.node
        if (
            run.node_state[node] not in (READY, WAITING)
            or not run.cleaning.goes_on(node)
            or run.growth.scopes.get(node) is not question.scope
            or node in run.waits.nodes  # asked twice, before and after a pause
            or node in run.child_runs.going_on
        ):
            return
        if node in run.cleaning.cleaning and not (isinstance(step, Grow) and in_cleanup(step.patch)):
            self._not_cleaned(node, step, changes, now)
        elif isinstance(step, Grow):
            is_child = run.child_runs.starts_one(node)
            refused = run.child_runs.refusal() if is_child else run.growth.refusal(node, step.patch)
            if refused is not None:
                self.fail(node, refused, changes, now)
            elif is_child:
                run.child_runs.start(question, step.patch, changes, now)
            else:
                run.growth.grow(node, step.patch, changes, now)
        elif isinstance(step, Done):
            run.stopping.close(node, changes, now)
            self.succeed(node, tuple(value.SerializeToString() for value in step.values), changes, now)
        elif isinstance(step, Await):
            run.waits.begin(node, step, changes, now)
        elif isinstance(step, Failed):
            self.fail(node, step.failure, changes, now)
        run.contents.clear()
        run.go_on(changes, now)

    def cannot_ask(self, node: int, failure: events_pb2.Failure, changes: Changes, now: int) -> None:
        """What a control node takes is not there, or cannot be computed."""
        run = self._run
        if run.node_state[node] in (READY, WAITING) and run.cleaning.goes_on(node):
            self.fail(node, failure, changes, now)
            run.go_on(changes, now)

    def succeed(self, node: int, outputs: tuple[bytes, ...], changes: Changes, now: int) -> None:
        """A control node has its result."""
        run = self._run
        run.set_state(node, SUCCEEDED)
        run.outputs[node] = outputs
        changes.reused.append((run.header.run_id, node, pack_list(outputs), None))
        changes.event(run, events_pb2.EVENT_KIND_NODE_COMPUTED, now, node)
        run.follow(node, changes, now)

    def fail(self, node: int, failure: events_pb2.Failure, changes: Changes, now: int) -> None:
        """A control node has failed, and with it perhaps the run."""
        run = self._run
        graph = run.graph
        assert graph is not None, "only a run with a graph has nodes"
        if node in run.cleaning.cleaning:
            self._not_cleaned(node, Failed(failure), changes, now)
            return
        run.stopping.close(node, changes, now)
        found = events_pb2.Failure()
        found.CopyFrom(failure)
        if not found.file:
            found.file, found.line = graph.source_of(node)
        if found.node < 0:
            found.node = node
        run.set_state(node, FAILED)
        changes.settled.append((run.header.run_id, node, FAILED, run.tries.get(node, 0), found.SerializeToString()))
        batch = changes.event(run, events_pb2.EVENT_KIND_NODE_FAILED, now, node)
        changes.detail(batch).failure.CopyFrom(found)
        changes.body(batch, "", action_pb2.Outcome())
        run.policies.failed(node, found, changes, now)

    def _not_cleaned(self, node: int, step: Step, changes: Changes, now: int) -> None:
        """A cleaning node was asked and would not grow by its cleanup."""
        if isinstance(step, Grow):
            self._due.add(node)  # it was asked before its body was cancelled
        else:
            self._run.cleaning.end(node, changes, now)
