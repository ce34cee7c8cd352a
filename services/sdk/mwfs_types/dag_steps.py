"""What a control node does next. Pure: the same for `run_local` and the platform.

`next_step` is asked when the arguments of a control node are known, and again when the nodes of its last patch have ended (a race:
whenever an instance has). It answers with a patch that the run grows by, with the node's result, or with why it fails. All that it needs is in the
arguments, the last patch and its outcomes, so an engine may die between any two steps.

    kind      rounds
    MAP, FILTER, GROUP, REDUCE, WHEN, RACE, CALL    one
    CHILD     one, like CALL; the platform makes a run of it instead (see `child_runs`)
    REPEAT    condition, body, condition, body, … condition: even rounds ask, odd rounds do; an even round carries the state
    TRY       body; then, when it failed with a named error, otherwise; then cleanup, which carries the result or the failure, or
              nothing when the body was cancelled: with a cleanup, a node whose body has begun does not end before that has run
    DYNAMIC   one, which its attempt made
    SIGNAL, SLEEP   none
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_answers import (
    Await,
    Done,
    Failed,
    Failure,
    Grow,
    Outcome,
    Outcomes,
    Step,
    Value,
    Wait,
    collected,
    failed_of,
    first_failure,
    list_of,
    too_large,
    values_of,
)
from mwfs_types.dag_failures import cancelled_body, failure_of_function, record_of
from mwfs_types.dag_functions import FunctionFailed
from mwfs_types.dag_patches import Growing
from mwfs_types.dag_templates import Fragment
from mwfs_types.dag_values import BoundValues
from mwfs_types.growth import GrowthLimits, failure_of
from mwfs_types.limits import MAX_COLLECTED_BYTES

#: A year.
MAX_SLEEP_S = 366 * 86_400

# Phases of TRY.
_TRIED, _FELL_BACK, _CLEANED_AFTER_RESULT, _CLEANED_AFTER_FAILURE, _CLEANED_AFTER_CANCEL = range(5)


def in_cleanup(patch: dag_pb2.DagPatch) -> bool:
    """Whether the newest patch of a TRY is its cleanup."""
    return patch.phase >= _CLEANED_AFTER_RESULT


def next_step(
    dag: dag_pb2.Dag,
    operator: int,
    arguments: Sequence[Value],
    last: dag_pb2.DagPatch | None,
    outcomes: Outcomes,
    *,
    parent: int,
    limits: GrowthLimits,
    read: Callable[[Value], Value] | None = None,
) -> Step:
    """The next step of a control node whose row of `dag.operators` is `operator`.

    arguments: its values, lists read back when they were spilled. last: its newest patch, and outcomes: one for each instance of it, None
    while it runs. parent: the node's number in the run, for the patch. read: gives the content of spilled values; without it,
    NeedsContent is raised when content is needed.
    """
    row = dag.operators[operator]
    while True:
        step = _Control(dag, row.control, arguments, last, limits, parent).step(outcomes)
        if not isinstance(step, Grow) or step.patch.dag.node_operator:
            return step
        # Nothing to run: what was asked follows from the values.
        last = step.patch
        computed = _computed(last, read)
        if isinstance(computed, Failed):
            return computed
        outcomes = computed


def _computed(patch: dag_pb2.DagPatch, read: Callable[[Value], Value] | None) -> list[Outcome] | Failed:
    values = BoundValues(patch.dag, _no_node, read, bounded=True)
    outcomes, size = [], 0
    for output in patch.dag.outputs:
        try:
            value = values.item(output.item)
            size += value.ByteSize()
            if size > MAX_COLLECTED_BYTES:
                return too_large()
            outcomes.append(Outcome(value=value))
        except FunctionFailed as error:
            outcomes.append(Outcome(failures=(failure_of_function(error),)))
    return outcomes


def _no_node(node: int, output: int) -> Value:
    raise AssertionError("a patch without nodes refers to none")


class _Control(Growing):
    """One step of one control node."""

    def step(self, outcomes: Outcomes) -> Step:
        return _STEPS[self.control.kind](self, outcomes)

    def map(self, outcomes: Outcomes) -> Step:
        if self.last is None:
            return self.grow_each(self.control.body)
        failed = [outcome for outcome in outcomes if outcome is not None and outcome.value is None]
        if failed and len(failed) > self.control.tolerate * len(outcomes):
            return first_failure(failed)
        return collected([outcome.value for outcome in outcomes if outcome and outcome.value is not None])

    def filter(self, outcomes: Outcomes) -> Step:
        if self.last is None:
            return self.grow_each(self.control.condition)
        elements = self.arguments[0].list.items
        return failed_of(outcomes) or collected(
            [element for element, outcome in zip(elements, values_of(outcomes), strict=True) if outcome.boolean]
        )

    def group(self, outcomes: Outcomes) -> Step:
        if self.last is None:
            return self.grow_each(self.control.body)
        failed = failed_of(outcomes)
        if failed:
            return failed
        groups: dict[str, list[Value]] = {}
        for element, key in zip(self.arguments[0].list.items, values_of(outcomes), strict=True):
            groups.setdefault(key.text, []).append(element)
        names = sorted(groups)
        return Done(Value(map=types_pb2.MapValue(keys=names, values=[list_of(groups[name]) for name in names])))

    def reduce(self, outcomes: Outcomes) -> Step:
        if self.last is not None:
            return failed_of(outcomes) or Done(values_of(outcomes)[0])
        elements = self.arguments[0].list.items
        if len(elements) < 2:
            empty = Failed(failure_of("ValueError", "reduce of an empty list", "Give initial=…."))
            return Done(elements[0]) if elements else empty
        body = self.control.body
        too_many = self.refusal(len(elements) - 1, body)
        if too_many:
            return too_many
        fragment = Fragment(self.dag)
        kind = self.dag.bodies[body - 1].parameters[0]
        level = [fragment.given(element, kind) for element in elements]
        captured = self.arguments_for(fragment, body, [(0, 0, 0)] * 2)[2:]
        while len(level) > 1:
            joined = [fragment.add(body, [level[at], level[at + 1], *captured]) for at in range(0, len(level) - 1, 2)]
            level = joined + ([level[-1]] if len(level) % 2 else [])
        fragment.end_instance(level[0], fragment.result_type(body))
        return self.patch(fragment)

    def when(self, outcomes: Outcomes) -> Step:
        if self.last is None:
            return self.grow_one(self.control.body if self.arguments[0].boolean else self.control.otherwise)
        return failed_of(outcomes) or Done(values_of(outcomes)[0])

    def repeat(self, outcomes: Outcomes) -> Step:
        control = self.control
        if self.last is None:
            state = self.arguments[0]
        else:
            failed = failed_of(outcomes)
            if failed:
                return failed
            (answer,) = values_of(outcomes)
            if self.last.round % 2 == 0:
                state = self.last.carried[0]
                if not answer.boolean:
                    return Done(state)
                if self.last.round // 2 < control.limit:
                    return self.grow_one(control.body, state)
                if control.stop_at_limit:
                    return Done(state)
                return Failed(
                    failure_of(
                        "LoopLimit",
                        f"the condition of the loop still holds after {control.limit:,} rounds",
                        'Raise `limit`, or write at_limit="stop" to go on with the state.',
                    )
                )
            state = answer
        return self.grow_one(control.condition, state, carried=[state])

    def race(self, outcomes: Outcomes) -> Step:
        control = self.control
        if self.last is None:
            return self._grow_race()
        results: list[Value] = []
        for outcome in outcomes:
            if outcome is None or outcome.value is None:
                continue
            if not control.condition:
                results.append(outcome.value)
            elif outcome.value.record.fields[1].boolean:
                results.append(outcome.value.record.fields[0])
        if len(results) >= control.limit:
            return collected(results[: control.limit])
        if any(outcome is None for outcome in outcomes):
            return Wait()
        failures = [failure for outcome in outcomes if outcome for failure in outcome.failures]
        because = f"; the first failure was {failures[0].error_type}: {failures[0].message}" if failures else ""
        return Failed(
            failure_of(
                "NoWinner",
                f"{len(results)} of {control.limit} wanted results came, and nothing is left to run{because}",
            )
        )

    def _grow_race(self) -> Step:
        control = self.control
        bodies = list(control.candidates)
        elements: list[tuple[Value, ...]] = [()] * len(bodies)
        if control.lists:
            found = self.elements()
            if isinstance(found, Failed):
                return found
            elements, bodies = found, [control.body] * len(found)
        too_many = self.refusal(1, *bodies, *[control.condition] * len(bodies))
        if too_many:
            return too_many
        fragment = Fragment(self.dag)
        kinds: dict[int, int] = {}
        for body, values in zip(bodies, elements, strict=True):
            result = self.add(fragment, body, self.given(fragment, body, values))
            kind = fragment.result_type(body)
            if control.condition:
                condition = self.add(fragment, control.condition, [result])
                if kind not in kinds:
                    kinds[kind] = fragment.pair_type(kind, fragment.result_type(control.condition))
                result, kind = fragment.pair(result, condition), kinds[kind]
            fragment.end_instance(result, kind)
        return self.patch(fragment)

    def attempt(self, outcomes: Outcomes) -> Step:
        control = self.control
        if self.last is None:
            return self.grow_one(control.body, phase=_TRIED)
        outcome = outcomes[0]
        assert outcome is not None
        phase = self.last.phase
        if phase in (_TRIED, _FELL_BACK):
            if outcome.cancelled:
                return self._clean(_CLEANED_AFTER_CANCEL, Value(data=cancelled_body().SerializeToString()))
            if outcome.value is not None:
                return self._clean(_CLEANED_AFTER_RESULT, outcome.value)
            failure = outcome.failures[0]
            if phase == _TRIED and control.otherwise and all(self._catches(one) for one in outcome.failures):
                return self.grow_one(control.otherwise, record_of(failure), phase=_FELL_BACK)
            return self._clean(_CLEANED_AFTER_FAILURE, Value(data=failure.SerializeToString()))
        if outcome.value is None:
            return Failed(outcome.failures[0])
        if phase == _CLEANED_AFTER_RESULT:
            return Done(self.last.carried[0])
        return Failed(Failure.FromString(self.last.carried[0].data))

    def _catches(self, failure: Failure) -> bool:
        if failure.kind in (events_pb2.FAILURE_KIND_CANCELLED, events_pb2.FAILURE_KIND_LIMIT):
            return False
        return not self.control.errors or not set(self.control.errors).isdisjoint(failure.error_classes)

    def _clean(self, phase: int, carried: Value) -> Step:
        if self.control.cleanup:
            return self.grow_one(self.control.cleanup, phase=phase, carried=[carried])
        return Done(carried) if phase == _CLEANED_AFTER_RESULT else Failed(Failure.FromString(carried.data))

    def call(self, outcomes: Outcomes) -> Step:
        if self.last is None:
            return self.grow_one(self.control.body, *self.arguments)
        return failed_of(outcomes) or Done(values_of(outcomes)[0])

    def signal(self, outcomes: Outcomes) -> Step:
        return Await(signal=self.control.name, seconds=self.control.timeout_seconds)

    def sleep(self, outcomes: Outcomes) -> Step:
        given = self.arguments[0]
        seconds = float(given.integer) if given.WhichOneof("kind") == "integer" else given.number
        if not 0 <= seconds <= MAX_SLEEP_S:
            return Failed(failure_of("ValueError", f"mwfs.sleep takes 0 to {MAX_SLEEP_S:,} seconds, found {seconds:g}"))
        return Await(seconds=seconds) if seconds else Done(Value(null=True))

    def dynamic(self, outcomes: Outcomes) -> Step:
        """Asked once its attempt has given the Dag (see `patch_of`) and the run has grown by it."""
        assert self.last is not None, "a dynamic operator begins with an attempt"
        return failed_of(outcomes) or Done(*_first_and_more(values_of(outcomes)))


_STEPS: dict[int, Callable[[_Control, Outcomes], Step]] = {
    dag_pb2.CONTROL_KIND_MAP: _Control.map,
    dag_pb2.CONTROL_KIND_FILTER: _Control.filter,
    dag_pb2.CONTROL_KIND_GROUP: _Control.group,
    dag_pb2.CONTROL_KIND_REDUCE: _Control.reduce,
    dag_pb2.CONTROL_KIND_WHEN: _Control.when,
    dag_pb2.CONTROL_KIND_REPEAT: _Control.repeat,
    dag_pb2.CONTROL_KIND_RACE: _Control.race,
    dag_pb2.CONTROL_KIND_TRY: _Control.attempt,
    dag_pb2.CONTROL_KIND_CALL: _Control.call,
    dag_pb2.CONTROL_KIND_CHILD: _Control.call,
    dag_pb2.CONTROL_KIND_DYNAMIC: _Control.dynamic,
    dag_pb2.CONTROL_KIND_SIGNAL: _Control.signal,
    dag_pb2.CONTROL_KIND_SLEEP: _Control.sleep,
}


def patch_of(dag: dag_pb2.Dag, parent: int) -> dag_pb2.DagPatch:
    """The patch that a dynamic operator has made: all nodes are of the first instance, and each output is the result of one."""
    return dag_pb2.DagPatch(parent=parent, dag=dag, instance_end=[len(dag.node_operator)] * len(dag.outputs))


def _first_and_more(values: Sequence[Value]) -> tuple[Value, tuple[Value, ...]]:
    return values[0], tuple(values[1:])
