"""Dags that were changed at random: each is refused with BadDag, or has every index in range and every edge pointing down."""

import random
from collections.abc import Callable

import pytest
from builders.annotated import Options, Score
from builders.dags import INT, INTS, ONE, DagBuilder, chain, diamond, fanout
from builders.mutations import assert_in_range, mutate
from google.protobuf.message import DecodeError, EncodeError

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.dag_check import BadDag, check_dag
from mwfs_types.values import encode


def everything() -> dag_pb2.Dag:
    """A Dag with every kind of binding and of type."""
    builder = DagBuilder(bundle_digest="sha256:" + "0" * 64)
    score = type_of(Score)
    made = builder.node(builder.operator("flows:score", [], [score, INT]))
    item = builder.item(made)
    name, value = (dag_pb2.BINDING_KIND_FIELD, item, 0), (dag_pb2.BINDING_KIND_FIELD, item, 1)
    again = builder.collection(dag_pb2.BINDING_KIND_RECORD, [name, value])
    text = builder.constant(types_pb2.Value(text="a"))
    mapping = builder.collection(dag_pb2.BINDING_KIND_MAP, [text, value])
    options = builder.constant(encode(Options(2, scores=[Score("a")]), type_of(Options)))
    taker = builder.operator(
        "flows:take", [score, type_of(dict[str, float] | None), type_of(Options), type_of(int | list[list[int]])]
    )
    parts = builder.item((dag_pb2.BINDING_KIND_TYPED, builder.item(again), builder.type(score)))
    builder.item((dag_pb2.BINDING_KIND_FIELD, parts, 1))
    nested = builder.list([builder.list([(dag_pb2.BINDING_KIND_OUTPUT, 0, 1)])])
    node = builder.node(taker, again, mapping, options, nested)
    builder.node(builder.operator("flows:sum", [INTS]), builder.list([node, builder.constant(3)]))
    dag = builder.output(builder.node(ONE, node))
    dag.inputs.add(name="n", type=builder.type(INT), constant=builder.constant(3)[1])
    return dag


@pytest.mark.parametrize("make", [everything, diamond, lambda: fanout(4), lambda: chain(4)])
@pytest.mark.parametrize("seed", range(4))
def test_changed_dags_are_refused_or_in_range(make: Callable[[], dag_pb2.Dag], seed: int) -> None:
    chance = random.Random(seed)
    original = make()
    check_dag(original)
    accepted = 0
    for _ in range(1000):
        dag = dag_pb2.Dag()
        dag.CopyFrom(original)
        for _ in range(chance.choice([1, 1, 2, 5])):
            mutate(dag, chance)
        try:
            check_dag(dag)
        except BadDag:
            continue
        accepted += 1
        assert_in_range(dag)
    assert 0 < accepted < 1000


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_are_refused_or_in_range(seed: int) -> None:
    chance = random.Random(seed)
    original = everything().SerializeToString()
    for _ in range(1500):
        data = bytearray(original)
        for _ in range(chance.choice([1, 1, 3])):
            place = chance.randrange(len(data))
            if chance.random() < 0.7:
                data[place] = chance.randrange(256)
            else:
                del data[place : place + chance.randrange(1, 9)]
        try:
            dag = dag_pb2.Dag.FromString(bytes(data))
            check_dag(dag)
        except (BadDag, DecodeError, EncodeError):
            continue
        assert_in_range(dag)
