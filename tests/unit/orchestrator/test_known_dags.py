"""A Dag like one that was checked before is believed just when all checks would believe it, and is the same graph."""

import random
from typing import Annotated, Any

import pytest

import mwfs
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_orchestrator.arguments import arguments_of
from mwfs_orchestrator.graph import Graph
from mwfs_orchestrator.known_dags import MAX_BYTES, KnownDags
from mwfs_types.dag_check import check_dag
from mwfs_types.errors import BadDag


@mwfs.operator
def mixed(
    rate: Annotated[float, mwfs.Range(0, 1)], kind: int | str, names: dict[str, int], words: list[str], note: str | None
) -> float:
    return rate


@mwfs.operator
def plain(count: int, share: float, label: str, on: bool) -> float:
    return share


@mwfs.operator
def numbers(n: int) -> list[int]:
    return list(range(n))


@mwfs.workflow
def wide(rate: Annotated[float, mwfs.Range(0, 1)], count: int, words: list[str], label: str = "x") -> float:
    first = mixed(rate, kind=count, names={"a": count, "b": 2}, words=words, note=None)
    return plain(count + 3, first, label, True)


def dag_of(**inputs: Any) -> dag_pb2.Dag:
    return mwfs.compile(wide, **inputs).proto


def some_value(dice: random.Random) -> types_pb2.Value:
    return dice.choice(
        [
            types_pb2.Value(integer=dice.randint(-3, 3)),
            types_pb2.Value(number=dice.choice([0.0, 0.5, 1.0, 1.5, -1.0, float("nan")])),
            types_pb2.Value(text=dice.choice(["a", "b", "c", "", "x" * 70_000])),
            types_pb2.Value(boolean=True),
            types_pb2.Value(null=True),
            types_pb2.Value(list=types_pb2.ListValue(items=[types_pb2.Value(text="w")])),
            types_pb2.Value(list=types_pb2.ListValue(items=[types_pb2.Value(integer=1)])),
            types_pb2.Value(map=types_pb2.MapValue(keys=["z"], values=[types_pb2.Value(integer=dice.randint(1, 2))])),
            types_pb2.Value(),
        ]
    )


def verdict(data: bytes) -> bool:
    try:
        check_dag(dag_pb2.Dag.FromString(data))
    except BadDag:
        return False
    return True


@pytest.mark.parametrize("first_seed", range(0, 100, 50))
def test_it_says_what_all_checks_say(first_seed: int) -> None:
    believed = 0
    for seed in range(first_seed, first_seed + 50):
        dice = random.Random(seed)
        known = KnownDags()
        dag = dag_of(rate=dice.random(), count=dice.randint(0, 9), words=["one", "two"])
        known.check(dag.SerializeToString())
        for _ in range(8):
            other = dag_pb2.Dag()
            other.CopyFrom(dag)
            for _ in range(dice.choice([1, 1, 2])):
                row = dice.randrange(len(other.constants))
                value = some_value(dice)
                if dice.random() < 0.7:  # of the same kind, more often than chance would have it
                    while value.WhichOneof("kind") != dag.constants[row].WhichOneof("kind"):
                        value = some_value(dice)
                other.constants[row].CopyFrom(value)
            data = other.SerializeToString()
            try:
                graph = known.check(data)
            except BadDag:
                assert not verdict(data), f"seed {seed}"
                continue
            assert verdict(data), f"seed {seed}"
            believed += 1
            anew = Graph(other)
            outputs = {0: (types_pb2.Value(number=0.25).SerializeToString(),)}
            for node in range(anew.size):
                assert arguments_of(graph, node, outputs.__getitem__) == arguments_of(anew, node, outputs.__getitem__)
            assert graph.dag == other
    assert believed > 20


def test_another_dag_is_not_taken_for_a_known_one() -> None:
    known = KnownDags()
    dag = dag_of(rate=0.5, count=1, words=[])
    known.check(dag.SerializeToString())
    dag.node_operator[1] = 0
    with pytest.raises(BadDag):
        known.check(dag.SerializeToString())


def test_graphs_share_what_does_not_differ() -> None:
    known = KnownDags()
    first, second = (known.check(dag_of(rate=0.5, count=count, words=[]).SerializeToString()) for count in (5, 6))
    assert first.dependents is second.dependents
    assert first.constants != second.constants


def test_dags_that_may_grow_share_nothing() -> None:
    @mwfs.workflow
    def grows(n: int) -> list[float]:
        return mwfs.map(lambda x: plain(x, 0.5, "a", True), numbers(n))

    known = KnownDags()
    graphs = [known.check(mwfs.compile(grows, n=n).proto.SerializeToString()) for n in (1, 2)]
    assert graphs[0].control_operators
    assert graphs[0].dependents is not graphs[1].dependents


def test_large_dags_are_checked_each_time() -> None:
    known = KnownDags()
    large = []
    for count in (5, 6):
        dag = dag_of(rate=0.5, count=count, words=[])
        dag.files.extend(f"{'f' * 500}{number}.py" for number in range(200))
        large.append(dag.SerializeToString())
    assert all(len(data) > MAX_BYTES for data in large)
    first, second = map(known.check, large)
    assert first.dependents is not second.dependents
