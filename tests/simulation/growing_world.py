"""A world around one run that grows: real workflows with real operators, whose attempts are lost and whose orchestrator dies at any moment."""

import random
from typing import Any

from simulation.child_world import Children
from simulation.run_world import RunWorld

import mwfs
from mwfs.failures import describe_exception
from mwfs.invoke import invoke, load_operator
from mwfs.local_files import LocalFiles
from mwfs.structure.dynamic import compile_call
from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_orchestrator.argument_failures import argument_failure
from mwfs_orchestrator.arguments import arguments_of
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.graph import Graph
from mwfs_orchestrator.growth import LIMITS, Question
from mwfs_orchestrator.host_links import attempt_key
from mwfs_orchestrator.states import NODE_ENDED, RUN_ENDED, NodeState, RunState
from mwfs_orchestrator.waits import SentSignal
from mwfs_types.dag_answers import Grow, Step
from mwfs_types.dag_check import check_patch
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.dag_steps import next_step, patch_of
from mwfs_types.values import decode


class GrowingWorld(RunWorld):
    """One run of a workflow. Unless somebody cancels it, it ends as `run_local` says."""

    compiles = False

    def __init__(
        self,
        seed: int,
        workflow: mwfs.Workflow[..., Any],
        inputs: dict[str, Any],
        signals: dict[str, types_pb2.Value] | None = None,
    ) -> None:
        #: Signals that will be sent, at any moment; and those that were, as the shard has them.
        self.unsent = dict(signals or {})
        self.sent: dict[str, SentSignal] = {}
        self.workflow = workflow
        self.dag = workflow.compile(**inputs)
        self.files = LocalFiles(copies=True)
        #: Control nodes to be asked, and answers on their way back.
        self.questions: list[int] = []
        self.answers: list[tuple[Question, Step]] = []
        self.patches: list[tuple[int, bytes, int]] = []
        #: Outcomes of dynamic operators whose Dags are on their way; no Dag when they failed.
        self.fetched: list[tuple[action_pb2.Outcome, dag_pb2.DagPatch | None]] = []
        self.children = Children(random.Random(seed), self.files)
        self.cancelled = False
        super().__init__(seed)

    def make_graph(self, dice: random.Random) -> Graph:
        dag = dag_pb2.Dag()
        dag.CopyFrom(self.dag.proto)
        return Graph(dag)

    def live(self) -> None:
        super().live()
        while not self.run.ended:
            self.step()
        self.check_end()

    def something_may_happen(self) -> bool:
        return (
            bool(self.questions or self.answers or self.unsent or self.fetched or self.children.started)
            or super().something_may_happen()
        )

    def step(self) -> None:
        chance = self.dice.random()
        if self.questions and chance < 0.3:
            self.ask()
        elif self.answers and chance < 0.5:
            question, step = self.answers.pop(self.dice.randrange(len(self.answers)))
            self._do(lambda changes: self.run.controls.answer(question, step, changes, self.now))
        elif self.fetched and chance < 0.7:
            self.adopt()
        elif self.children.started and 0.7 < chance < 0.78:
            self.child_step()
        elif self.unsent and chance > 0.93:
            self.send()
        else:
            super().step()
            self.cancelled = self.cancelled or self.run.state in (RunState.CANCELLING, RunState.CANCELLED)

    def child_step(self) -> None:
        told = self.children.step(self.run)
        if told is None:
            return
        going_on = self.run.child_runs.going_on
        was_there = going_on.get(told[0]) == told[1]
        self._do(lambda changes: self.run.child_runs.ended(*told, changes, self.now))
        assert was_there
        assert told[0] not in going_on, "its end did not count"
        self.children.started.pop(told[1], None)
        before = list(self.run.node_state)
        self._do(lambda changes: self.run.child_runs.ended(*told, changes, self.now))
        assert before == list(self.run.node_state), "its end counted twice"

    def crash(self) -> None:
        if self.run_row["state"] in RUN_ENDED:
            return
        before = {node for node in self.run.child_runs.going_on if self.run.stopping.is_stopping(node)}
        self.children.forget()
        super().crash()
        going_on = self.run.child_runs.going_on
        assert sorted(going_on.values()) == sorted(self.children.started)
        after = {node for node in going_on if self.run.stopping.is_stopping(node)}
        assert before <= after, "a restart forgets that nobody needs a child"
        assert {going_on[node] for node in after} == self.children.unwanted

    def send(self) -> None:
        name = self.dice.choice(sorted(self.unsent))
        if self.run.ended or (self.run.state is RunState.CANCELLING and not self.run.cleaning.cleaning):
            self.unsent.clear()  # refused
            return
        signal = SentSignal(
            name=name,
            request_id=name,
            payload=self.unsent.pop(name).SerializeToString(),
            principal="someone",
            sent_us=self.now,
        )
        self._do(lambda changes: self.run.waits.signal(signal, changes, self.now))

    def launch(self, node: int) -> None:
        """Arguments are put together when the outcome is made; doing so may fail."""

    def ask(self) -> None:
        node = self.questions.pop(self.dice.randrange(len(self.questions)))
        try:
            question = self.run.controls.question(node)
        except FunctionFailed as error:
            failure = argument_failure(error, self.run.graph, node)
            self._do(lambda changes: self.run.controls.cannot_ask(node, failure, changes, self.now))
            return
        if question is None:
            return
        last = question.scope.last if question.scope is not None else None
        step = next_step(
            question.dag,
            question.operator,
            question.arguments,
            last,
            question.outcomes,
            parent=node,
            limits=LIMITS,
            read=self.run.read_content,
        )
        if isinstance(step, Grow):
            check_patch(step.patch)
        self.answers.append((question, step))

    def outcome(self) -> None:
        if not self.run.in_flight:
            return
        node = self.dice.choice(sorted(self.run.in_flight))
        way = self.run.in_flight[node]
        outcome = action_pb2.Outcome(key=attempt_key((self.header.run_id, node, way.attempt)), worker="w")
        if self.run.stopping.is_stopping(node) and self.dice.random() < 0.7:
            outcome.state = events_pb2.ATTEMPT_STATE_CANCELLED
        elif self.dice.random() < 0.1:
            outcome.state = events_pb2.ATTEMPT_STATE_LOST
            outcome.failure.kind = events_pb2.FAILURE_KIND_LOST
        elif self.run.growth.is_dynamic(node):
            self._make(node, outcome)
            return
        else:
            self._call(node, outcome)
        self._do(lambda changes: self.run.attempts.end(outcome, changes, self.now))
        self.stale.append(outcome)

    def _call(self, node: int, outcome: action_pb2.Outcome) -> None:
        graph = self.run.graph
        assert graph is not None
        outcome.state = events_pb2.ATTEMPT_STATE_FAILED
        try:
            outputs = invoke(self._operator(node), self._arguments(node), self.files)
        except FunctionFailed as error:
            outcome.failure.CopyFrom(argument_failure(error, graph, node))
            return
        except Exception as error:
            outcome.failure.CopyFrom(describe_exception(error))
            return
        outcome.state = events_pb2.ATTEMPT_STATE_SUCCEEDED
        outcome.outputs.extend(value.SerializeToString() for value in outputs)

    def _make(self, node: int, outcome: action_pb2.Outcome) -> None:
        """The attempt of a dynamic operator: its Dag is fetched, and meanwhile anything may happen."""
        graph = self.run.graph
        assert graph is not None
        patch = None
        outcome.state = events_pb2.ATTEMPT_STATE_FAILED
        try:
            patch = patch_of(compile_call(self._operator(node), self._arguments(node), self.files), node)
            check_patch(patch)
            outcome.state = events_pb2.ATTEMPT_STATE_SUCCEEDED
        except FunctionFailed as error:
            outcome.failure.CopyFrom(argument_failure(error, graph, node))
        except Exception as error:
            outcome.failure.CopyFrom(describe_exception(error))
        self.fetched.append((outcome, patch))

    def adopt(self) -> None:
        """The Dag of a dynamic operator is there, or what its attempt failed by."""
        outcome, patch = self.fetched.pop(self.dice.randrange(len(self.fetched)))
        if not self.run.attempts.expects(outcome.key.node, outcome.key.attempt):
            return
        if patch is None:
            self._do(lambda changes: self.run.attempts.end(outcome, changes, self.now))
        else:
            self._do(lambda changes: self.run.growth.grow_by_attempt(outcome, patch, changes, self.now))
        self.stale.append(outcome)

    def _operator(self, node: int) -> mwfs.Operator[..., Any]:
        assert self.run.graph is not None
        row = self.run.graph.operator_of(node)
        return load_operator(row.module, row.qualname)

    def _arguments(self, node: int) -> list[types_pb2.Value]:
        assert self.run.graph is not None
        data, pending = arguments_of(self.run.graph, node, self.run.outputs.__getitem__)
        assert not pending
        return list(types_pb2.ListValue.FromString(data).items)

    def load(self) -> None:
        self.fetched.clear()
        self.questions.clear()
        self.answers.clear()
        self.graph = self.make_graph(self.dice)
        self.run.attach(self.graph)
        for round_, data, created in self.patches:
            self.run.restoring.attach_patch(dag_pb2.DagPatch.FromString(data), round_, created)
        self.run.waits.sent.update(self.sent)

    def commit(self, changes: Changes) -> None:
        self.children.commit(changes)
        for _run, number, _parent, data in changes.patches:
            assert number == len(self.patches) + 1, "grown twice"
            self.patches.append((int(self.run_row["round"]), data, self.now))  # type: ignore[call-overload]
        for _run, name, request_id, payload, principal, sent_us in changes.signals:
            assert name not in self.sent, "a signal was taken twice"
            self.sent[name] = SentSignal(
                name=name, request_id=request_id, payload=payload, principal=principal, sent_us=sent_us
            )
        for move in changes.moved:
            if move.outputs is not None:
                self.run_row["outputs"] = move.outputs
        super().commit(changes)
        self.questions.extend(node for _run, node in changes.questions)

    def check_end(self) -> None:
        assert not self.run.in_flight
        self.children.check_end(int(self.run_row["round"]))  # type: ignore[call-overload]
        assert not any(self.held.values()), "a grant leaked"
        assert self.run_row["state"] in RUN_ENDED
        assert len(self.succeeded_attempts) == len({node for node, _ in self.succeeded_attempts}), (
            "a node succeeded twice"
        )
        assert all(NodeState(state) in NODE_ENDED for state in self.run.node_state[:-1])
        if self.run_row["state"] is RunState.SUCCEEDED:
            assert self.run_row["outputs"] is not None

    def result(self) -> Any:
        """What the run gave, or the class of the error that ended it; None when it was cancelled."""
        if self.run_row["state"] is RunState.CANCELLED:
            return None
        if self.run_row["state"] is RunState.FAILED:
            return events_pb2.Failure.FromString(self.run_row["failure"]).error_type  # type: ignore[arg-type]
        outputs = orchestrator_pb2.GetOutputsResponse.FromString(self.run_row["outputs"]).outputs  # type: ignore[arg-type]
        decoded = [
            decode(one.value, output.annotation, self.files)
            for one, output in zip(outputs, self.workflow.outputs, strict=True)
        ]
        record = self.workflow.signature.record
        return record(*decoded) if record is not None else decoded[0]
