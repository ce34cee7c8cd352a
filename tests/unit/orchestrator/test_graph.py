"""The shape of a Dag as arrays."""

import mwfs
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_orchestrator.arguments import arguments_of, delimited, pack_list, unpack_list
from mwfs_orchestrator.graph import Graph


def value(number: int) -> bytes:
    return types_pb2.Value(integer=number).SerializeToString()


def dag_of(*arguments: tuple[int, int, int], items: tuple[tuple[int, int, int], ...] = ()) -> dag_pb2.Dag:
    """A node per argument, each of an operator with one parameter."""
    dag = dag_pb2.Dag(format=1, workflow="w:w", constants=[types_pb2.Value(integer=7), types_pb2.Value(text="k")])
    dag.types.add(scalar=types_pb2.SCALAR_KIND_INT)
    dag.operators.add(module="m", qualname="f").parameters.add(name="x")
    for columns, rows in ((dag.arguments, arguments), (dag.items, items)):
        for kind, a, b in rows:
            columns.kind.append(kind)  # type: ignore[arg-type]
            columns.a.append(a)
            columns.b.append(b)
    dag.node_operator.extend([0] * len(arguments))
    return dag


CONSTANT, OUTPUT, LIST, MAP, RECORD, FIELD = 1, 2, 3, 4, 5, 6


def test_a_diamond_waits_follows_and_ranks() -> None:
    dag = dag_of((CONSTANT, 0, 0), (OUTPUT, 0, 0), (OUTPUT, 0, 0), (LIST, 0, 2), items=((OUTPUT, 1, 0), (OUTPUT, 2, 0)))
    graph = Graph(dag)
    assert list(graph.waits_for) == [0, 1, 1, 2]
    assert [list(graph.dependents_of(node)) for node in range(4)] == [[1, 2], [3], [3], []]
    assert [graph.dependencies_of(node) for node in range(4)] == [[], [0], [0], [1, 2]]
    assert list(graph.rank)[:4] == [3, 2, 2, 1]


def test_an_edge_used_twice_is_waited_for_twice_and_followed_twice() -> None:
    graph = Graph(dag_of((CONSTANT, 0, 0), (LIST, 0, 2), items=((OUTPUT, 0, 0), (OUTPUT, 0, 0))))
    assert graph.waits_for[1] == 2
    assert list(graph.dependents_of(0)) == [1, 1]
    assert graph.dependencies_of(1) == [0]


def test_order_without_data_is_waited_for_and_followed_like_data() -> None:
    dag = dag_of((CONSTANT, 0, 0), (CONSTANT, 0, 0), (OUTPUT, 0, 0))
    dag.order_node.extend([2, 2])
    dag.order_after.extend([0, 1])
    graph = Graph(dag)
    assert list(graph.waits_for) == [0, 0, 3]
    assert [list(graph.dependents_of(node)) for node in range(3)] == [[2, 2], [2], []]
    assert [graph.dependencies_of(node) for node in range(3)] == [[], [], [0, 1]]
    assert list(graph.rank)[:3] == [2, 2, 1]


def test_ranks_that_the_compiler_gave_are_taken() -> None:
    dag = dag_of((CONSTANT, 0, 0), (OUTPUT, 0, 0))
    dag.node_rank.extend([900, 4])
    assert list(Graph(dag).rank)[:2] == [900, 4]


def test_nested_collections_are_searched_to_the_bottom() -> None:
    items = ((OUTPUT, 0, 0), (LIST, 0, 1), (CONSTANT, 1, 0), (LIST, 1, 1))
    graph = Graph(dag_of((CONSTANT, 0, 0), (MAP, 2, 2), items=items))
    assert graph.dependencies_of(1) == [0]
    arguments = types_pb2.ListValue.FromString(arguments_of(graph, 1, lambda node: (value(5),))[0])
    assert dict(zip(arguments.items[0].map.keys, arguments.items[0].map.values, strict=True))["k"].list.items[
        0
    ].list.items[0] == types_pb2.Value(integer=5)


def test_an_empty_dag_has_a_graph() -> None:
    assert Graph(dag_pb2.Dag(format=1)).size == 0


def test_arguments_are_what_protobuf_itself_would_write() -> None:
    graph = Graph(dag_of((CONSTANT, 0, 0), (LIST, 0, 3), items=((OUTPUT, 0, 0), (CONSTANT, 0, 0), (OUTPUT, 0, 0))))
    big = types_pb2.Value(text="x" * 300).SerializeToString()
    written, pending = arguments_of(graph, 1, lambda node: (big,))
    assert not pending
    expected = types_pb2.ListValue()
    inner = expected.items.add().list
    inner.items.add().text = "x" * 300
    inner.items.add().integer = 7
    inner.items.add().text = "x" * 300
    assert written == expected.SerializeToString()


def test_lengths_of_every_size_are_written_as_varints() -> None:
    for size in (0, 1, 127, 128, 16_383, 16_384, 3_000_000):
        packed = pack_list([types_pb2.Value(data=b"x" * size).SerializeToString()])
        assert len(unpack_list(packed)) == 1
        assert len(types_pb2.ListValue.FromString(packed).items[0].data) == size
    assert delimited(b"\x0a", b"") == b"\x0a\x00"


@mwfs.workflow
def asks(n: int) -> int:
    return mwfs.signal("approved", int)


@mwfs.workflow
def asks_below(n: int) -> int:
    return mwfs.when(mwfs.signal("sure", bool), lambda: asks(n), lambda: mwfs.child(asks_elsewhere, n))


@mwfs.workflow
def asks_elsewhere(n: int) -> int:
    return mwfs.signal("elsewhere", int)


def test_signals_are_those_of_the_run_and_not_of_its_children() -> None:
    assert set(Graph(mwfs.compile(asks_below, n=1).proto).signals) == {"sure", "approved"}
