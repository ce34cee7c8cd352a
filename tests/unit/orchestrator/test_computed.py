"""Arguments that are computed: fields, lifted functions, and what is left to the worker."""

from collections.abc import Mapping

import pytest
from builders.dags import DagBuilder

from mwfs.artifacts import ArtifactStore
from mwfs.pending_arguments import finish_arguments
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_orchestrator.argument_failures import argument_failure
from mwfs_orchestrator.arguments import arguments_of, outputs_of
from mwfs_orchestrator.graph import Graph
from mwfs_types.dag_functions import FunctionFailed, NeedsContent

Value = types_pb2.Value
Row = tuple[int, int, int]
ADD, MULTIPLY, DIVIDE = dag_pb2.FUNCTION_ADD, dag_pb2.FUNCTION_MULTIPLY, dag_pb2.FUNCTION_DIVIDE
SUM, ELEMENT, LENGTH = dag_pb2.FUNCTION_SUM, dag_pb2.FUNCTION_ELEMENT, dag_pb2.FUNCTION_LENGTH


class Computing(DagBuilder):
    """Nodes 0 and 1 give something; what an argument of the last node is made of is up to the test."""

    def __init__(self) -> None:
        super().__init__()
        self.results = [self.node("m:f", self.constant(1)), self.node("m:f", self.constant(1))]

    def apply(self, function: int, *operands: Row) -> Row:
        return dag_pb2.BINDING_KIND_APPLY, self.collection(dag_pb2.BINDING_KIND_LIST, operands)[1], function

    def field(self, record: Row, index: int) -> Row:
        return dag_pb2.BINDING_KIND_FIELD, self.item(record), index

    @staticmethod
    def of(dag: "Computing", arguments: list[Row]) -> dag_pb2.Dag:
        """The Dag with one more node."""
        copied = Computing()
        copied.dag.CopyFrom(dag.dag)
        copied.node("m:g" + str(len(arguments)), *arguments)
        return copied.dag

    def graph(self, *arguments: Row) -> Graph:
        self.node("m:g", *arguments)
        return Graph(self.dag)


@pytest.fixture
def dag() -> Computing:
    return Computing()


def integer(number: int) -> Value:
    return Value(integer=number)


def record(*numbers: int) -> Value:
    return Value(record=types_pb2.RecordValue(fields=map(integer, numbers)))


def integers(*numbers: int) -> Value:
    return Value(list=types_pb2.ListValue(items=map(integer, numbers)))


def called_with(graph: Graph, *results: Value) -> tuple[list[Value], list[dag_pb2.PendingArgument]]:
    """The last node's arguments when the nodes before it gave `results`."""
    known = {node: (result.SerializeToString(),) for node, result in enumerate(results)}
    data, pending = arguments_of(graph, graph.size - 1, known.__getitem__)
    return list(types_pb2.ListValue.FromString(data).items), list(pending)


def test_functions_of_results_and_constants_are_applied(dag: Computing) -> None:
    first, second = dag.results
    graph = dag.graph(dag.apply(ADD, dag.apply(MULTIPLY, first, dag.constant(10)), second), first)
    assert called_with(graph, integer(4), integer(2)) == ([integer(42), integer(4)], [])
    assert graph.dependencies_of(2) == [0, 1]


def test_what_is_too_large_together_is_refused_before_it_is_made(dag: Computing) -> None:
    first, _ = dag.results
    many = dag.list([first] * 100_000)
    repeated = [
        Graph(Computing.of(dag, [many])),
        Graph(Computing.of(dag, [dag.apply(LENGTH, many)])),
        Graph(Computing.of(dag, [first] * 2000)),
    ]
    for graph in repeated:
        called_with(graph, Value(text="x" * 100), integer(1))
        with pytest.raises(FunctionFailed, match="OverflowError: the values that are given together"):
            called_with(graph, Value(text="x" * 30_000), integer(1))


def test_a_field_of_a_field_inside_a_list(dag: Computing) -> None:
    inner = dag.field(dag.results[0], 1)
    graph = dag.graph(dag.list([dag.field(inner, 0), dag.results[1]]))
    nested = Value(record=types_pb2.RecordValue(fields=[integer(0), record(7, 8)]))
    assert called_with(graph, nested, integer(2)) == ([integers(7, 2)], [])


def test_a_function_of_a_list_of_results(dag: Computing) -> None:
    graph = dag.graph(dag.apply(SUM, dag.list(dag.results)))
    assert called_with(graph, integer(4), integer(5)) == ([integer(9)], [])


def test_shared_parts_are_computed_once_and_waited_for_once(dag: Computing) -> None:
    row = dag.results[0]
    for _ in range(60):
        row = dag.apply(ADD, *[row] * 2)
    graph = dag.graph(row)
    assert len(graph.dependents_of(0)) == 2
    assert called_with(graph, integer(0)) == ([integer(0)], [])


def test_expressions_may_be_deep(dag: Computing) -> None:
    row = dag.results[0]
    for _ in range(20_000):
        row = dag.apply(ADD, row, dag.constant(1))
    assert called_with(dag.graph(row), integer(0)) == ([integer(20_000)], [])


def test_a_failing_function_is_a_failure_at_the_line_of_the_call(dag: Computing) -> None:
    graph = dag.graph(dag.apply(DIVIDE, dag.constant(1), dag.results[0]))
    with pytest.raises(FunctionFailed) as raised:
        called_with(graph, integer(0))
    failure = argument_failure(raised.value, graph, 2)
    assert (failure.kind, failure.error_type) == (events_pb2.FAILURE_KIND_ARGUMENTS, "ZeroDivisionError")
    assert (failure.file, failure.line, failure.node) == (*graph.source_of(2), 2)
    assert failure.error_classes[:2] == ["builtins.ZeroDivisionError", "builtins.ArithmeticError"]


def test_a_result_that_is_not_the_declared_record_fails_its_consumer_and_nothing_else(dag: Computing) -> None:
    with pytest.raises(FunctionFailed):
        called_with(dag.graph(dag.field(dag.results[0], 0)), integer(1))


@pytest.fixture
def store(tmp_path) -> ArtifactStore:  # type: ignore[no-untyped-def]
    return ArtifactStore(tmp_path)


def spilled(store: ArtifactStore, value: Value) -> Value:
    return Value(artifact=store.put_bytes(value.SerializeToString(), "value"))


def finished(graph: Graph, store: ArtifactStore, results: Mapping[int, Value]) -> list[Value]:
    values, pending = called_with(graph, *results.values())
    assert pending
    return finish_arguments(values, pending, store)


def test_what_is_read_from_the_object_store_is_left_to_the_worker(dag: Computing, store: ArtifactStore) -> None:
    first, second = dag.results
    computed = dag.apply(ADD, dag.apply(ELEMENT, first, dag.constant(-1)), dag.field(second, 1))
    graph = dag.graph(dag.constant(5), dag.list([computed, dag.apply(LENGTH, first)]))
    results = {0: spilled(store, integers(1, 2, 3)), 1: spilled(store, record(10, 20))}
    values, pending = called_with(graph, *results.values())
    assert values == [integer(5), Value(null=True)]
    assert [argument.parameter for argument in pending] == [1]
    assert finished(graph, store, results) == [integer(5), integers(23, 3)]


def test_the_worker_leaves_large_values_where_they_are_when_they_are_only_passed_on(
    dag: Computing, store: ArtifactStore
) -> None:
    first, second = dag.results
    graph = dag.graph(dag.list([second, dag.apply(LENGTH, first)]))
    results = {0: spilled(store, integers(1)), 1: spilled(store, integers(2))}
    (value,) = finished(graph, store, results)
    assert value.list.items[0] == results[1]


def test_a_function_that_fails_in_the_worker_fails_the_same_way(dag: Computing, store: ArtifactStore) -> None:
    graph = dag.graph(dag.apply(ELEMENT, dag.results[0], dag.constant(9)))
    with pytest.raises(FunctionFailed) as raised:
        finished(graph, store, {0: spilled(store, integers(1))})
    assert raised.value.error_type == "IndexError"


def test_an_output_of_the_run_may_be_computed_too(dag: Computing, store: ArtifactStore) -> None:
    graph = Graph(dag.output(dag.apply(ADD, *dag.results)))
    given = {0: (integer(1).SerializeToString(),), 1: (integer(2).SerializeToString(),)}
    assert b"\x18\x06" in outputs_of(graph, given.__getitem__)
    given[1] = (spilled(store, integers(1)).SerializeToString(),)
    with pytest.raises(NeedsContent):
        outputs_of(graph, given.__getitem__)
