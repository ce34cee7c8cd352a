"""Workflows with every construct, and the patches that they grow by, changed at random: refused with BadDag, or safe to run.

Safe: every index is in range, control nodes answer with a step or a typed failure, and what they grow by is believed again.
"""

import random
from collections.abc import Iterator

import pytest
from builders.mutations import assert_in_range, mutate, mutate_message
from google.protobuf.message import DecodeError, EncodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from mwfs.workflows import Workflow
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import check
from mwfs_types.dag_answers import Grow
from mwfs_types.dag_check import BadDag, check_dag, check_patch
from mwfs_types.dag_functions import FunctionFailed, NeedsContent
from mwfs_types.dag_steps import next_step
from mwfs_types.errors import BadValue
from mwfs_types.growth import GrowthLimits

from . import workflows

Value = types_pb2.Value
LIMITS = GrowthLimits(patch=50, rows=2_000)
SEEDS = range(4)


def value_of(kind: types_pb2.Type, chance: random.Random) -> Value:
    """A value of a type, as far as it is easily found."""
    match kind.WhichOneof("kind"):
        case "optional":
            return Value(null=True) if chance.random() < 0.3 else value_of(kind.optional.item, chance)
        case "list":
            items = [value_of(kind.list.item, chance) for _ in range(chance.randrange(4))]
            return Value(list=types_pb2.ListValue(items=items))
        case "map":
            return Value(map=types_pb2.MapValue(keys=["a"], values=[value_of(kind.map.value, chance)]))
        case "enum":
            return Value(member=kind.enum.members[0])
        case "record" | "tuple" as which:
            parts = [field.type for field in kind.record.fields] if which == "record" else list(kind.tuple.items)
            return Value(record=types_pb2.RecordValue(fields=[value_of(part, chance) for part in parts]))
        case "union":
            return value_of(kind.union.arms[0], chance)
        case "semantic":
            return Value(text="2026-11-23")
    match kind.scalar:
        case types_pb2.SCALAR_KIND_NULL:
            return Value(null=True)
        case types_pb2.SCALAR_KIND_BOOL:
            return Value(boolean=chance.random() < 0.5)
        case types_pb2.SCALAR_KIND_STRING:
            return Value(text="a")
        case types_pb2.SCALAR_KIND_BYTES:
            return Value(data=b"a")
        case types_pb2.SCALAR_KIND_FLOAT:
            return Value(number=0.5)
    return Value(integer=chance.randrange(4))


def patches_of(dag: dag_pb2.Dag, chance: random.Random) -> Iterator[dag_pb2.DagPatch]:
    """What the control nodes of a Dag that is believed grow a run by first."""
    for row, operator in enumerate(dag.operators):
        if not operator.HasField("control") or operator.control.kind == dag_pb2.CONTROL_KIND_DYNAMIC:
            continue
        if operator.control.kind == dag_pb2.CONTROL_KIND_SIGNAL:
            continue
        kinds = [dag.types[parameter.type] for parameter in operator.parameters]
        arguments = [value_of(kind, chance) for kind in kinds]
        try:
            for value, kind in zip(arguments, kinds, strict=True):
                check(value, kind)
        except BadValue:
            continue
        try:
            step = next_step(dag, row, arguments, None, [], parent=0, limits=LIMITS)
        except (FunctionFailed, NeedsContent):
            continue
        if isinstance(step, Grow):
            yield step.patch


def compiled() -> list[dag_pb2.Dag]:
    found = [one for one in vars(workflows).values() if isinstance(one, Workflow)]
    inputs = {"n": 3, "x": 3, "xs": [1, 2, 3]}
    dags = []
    for workflow in found:
        names = [parameter.name for parameter in workflow.parameters]
        if names and set(names) <= set(inputs):
            dags.append(workflow.compile(**{name: inputs[name] for name in names}).proto)
    return dags


DAGS = compiled()
PATCHES = [patch for seed in SEEDS for dag in DAGS for patch in patches_of(dag, random.Random(seed))]


def test_they_have_every_kind_of_control() -> None:
    kinds = {operator.control.kind for dag in DAGS for operator in dag.operators if operator.HasField("control")}
    waiting = {dag_pb2.CONTROL_KIND_SIGNAL, dag_pb2.CONTROL_KIND_SLEEP}
    assert kinds | waiting == set(dag_pb2.ControlKind.values()) - {0}
    assert len(PATCHES) > 100
    for patch in PATCHES:
        check_patch(patch)


@pytest.mark.parametrize("seed", SEEDS)
def test_changed_workflows_are_refused_or_safe_to_run(seed: int) -> None:
    chance = random.Random(seed)
    accepted = grown = 0
    for _ in range(1500):
        dag = dag_pb2.Dag()
        dag.CopyFrom(chance.choice(DAGS))
        for _ in range(chance.choice([1, 1, 2, 5])):
            mutate(
                dag.bodies[chance.randrange(len(dag.bodies))] if dag.bodies and chance.random() < 0.4 else dag, chance
            )
        try:
            check_dag(dag)
        except BadDag:
            continue
        accepted += 1
        for patch in patches_of(dag, chance):
            check_patch(patch)
            grown += 1
    assert 0 < accepted < 1500
    assert grown > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_changed_patches_are_refused_or_in_range(seed: int) -> None:
    chance = random.Random(seed)
    accepted = 0
    for _ in range(1500):
        patch = dag_pb2.DagPatch()
        patch.CopyFrom(chance.choice(PATCHES))
        for _ in range(chance.choice([1, 1, 2, 5])):
            if chance.random() < 0.3:
                mutate_message(patch, chance)
            else:
                mutate(patch.dag, chance)
        accepted += is_believed(patch)
    assert 0 < accepted < 1500


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(PATCHES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 8), st.binary(max_size=8)), max_size=4),
)
def test_changed_bytes_of_patches_are_refused_or_in_range(
    original: dag_pb2.DagPatch, changes: list[tuple[float, int, bytes]]
) -> None:
    data = bytearray(original.SerializeToString())
    for place, length, instead in changes:
        start = int(place * len(data))
        data[start : start + length] = instead
    try:
        patch = dag_pb2.DagPatch.FromString(bytes(data))
    except DecodeError:
        return
    try:
        is_believed(patch)
    except EncodeError:
        # Text that is no UTF-8 in a field that nobody reads.
        return


def is_believed(patch: dag_pb2.DagPatch) -> bool:
    try:
        check_patch(patch)
    except BadDag:
        return False
    assert_in_range(patch.dag)
    ends = list(patch.instance_end)
    assert ends == sorted(ends)
    assert len(ends) == len(patch.dag.outputs)
    assert (ends or [0])[-1] == len(patch.dag.node_operator)
    return True
