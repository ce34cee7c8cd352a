"""What a run may grow by, rule by rule."""

from collections.abc import Callable

import pytest
from builders.dags import fanout

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_check import BadDag, check_patch


def patch() -> dag_pb2.DagPatch:
    dag = fanout(3)
    return dag_pb2.DagPatch(dag=dag, instance_end=[len(dag.node_operator)], carried=[types_pb2.Value(integer=1)])


def test_a_patch_of_one_instance_is_believed() -> None:
    check_patch(patch())


def nested(levels: int) -> types_pb2.Value:
    value = types_pb2.Value(integer=1)
    for _ in range(levels):
        value = types_pb2.Value(list=types_pb2.ListValue(items=[value]))
    return value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: it.instance_end.append(5), "one output for each of its 2 instances, found 1"),
        (lambda it: it.ClearField("instance_end"), "one output for each of its 0 instances, found 1"),
        (lambda it: it.instance_end.extend([5] * 3_000_000), "one output for each of its 3,000,001 instances"),
        (lambda it: it.instance_end.__setitem__(0, 4), "do not end one after another at its last node"),
        (lambda it: it.instance_end.__setitem__(0, 2**32 - 1), "do not end one after another at its last node"),
        (lambda it: it.carried.add(), "what a patch carries: .*an empty value"),
        (lambda it: it.carried.append(nested(40)), "what a patch carries: .*levels of nesting"),
        (lambda it: it.carried.add(text="x" * (1 << 20)), "carries more than it may"),
        (lambda it: it.carried.extend([types_pb2.Value(null=True)] * 16), "carries more than it may"),
        (lambda it: it.ClearField("dag"), "format"),
    ],
)
def test_a_broken_rule_is_named(change: Callable[[dag_pb2.DagPatch], object], message: str) -> None:
    broken = patch()
    change(broken)
    with pytest.raises(BadDag, match=message):
        check_patch(broken)
