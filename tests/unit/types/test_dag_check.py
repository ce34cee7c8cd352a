"""A Dag is believed only when every index, edge, type and bound is right."""

from collections.abc import Callable

import pytest
from builders.dags import INT, INTS, ONE, DagBuilder, chain, diamond, fanout

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.dag_check import BadDag, DagLimits, check_dag, digest_of

OUTPUT = dag_pb2.BINDING_KIND_OUTPUT
LIST = dag_pb2.BINDING_KIND_LIST
MAP = dag_pb2.BINDING_KIND_MAP
RECORD = dag_pb2.BINDING_KIND_RECORD
FIELD = dag_pb2.BINDING_KIND_FIELD
SOME_DIGEST = f"sha256:{'0' * 64}"
CONSTANT = dag_pb2.BINDING_KIND_CONSTANT


def text(value: str) -> types_pb2.Value:
    return types_pb2.Value(text=value)


def record_type() -> types_pb2.Type:
    fields = [types_pb2.Field(name="x", type=INT), types_pb2.Field(name="word", type=type_of(str))]
    return types_pb2.Type(record=types_pb2.RecordType(name="flows.Pair", fields=fields))


@pytest.mark.parametrize("dag", [fanout(0), fanout(50), chain(1), chain(50), diamond()])
def test_well_made_dags_are_believed(dag: dag_pb2.Dag) -> None:
    check_dag(dag)


def test_collections_and_fields_are_believed() -> None:
    builder = DagBuilder()
    pair = builder.node(builder.operator("flows:pair", [], [record_type()]))
    item = builder.item(pair)
    number, word = (FIELD, item, 0), (FIELD, item, 1)
    builder.node(ONE, number)
    mapping = builder.collection(MAP, [builder.constant(text("a")), number, builder.constant(text("b")), number])
    builder.node(builder.operator("flows:map", [type_of(dict[str, float])]), mapping)
    rebuilt = builder.collection(RECORD, [number, word])
    builder.node(builder.operator("flows:rebuilt", [record_type()]), rebuilt)
    nested = builder.list([builder.list([number]), builder.list([])])
    builder.node(builder.operator("flows:nested", [type_of(list[list[int]] | None)]), nested)
    builder.node(builder.operator("flows:union", [type_of(dict[str, int] | list[list[int]])]), nested)
    check_dag(builder.output(number))


Break = Callable[[dag_pb2.Dag], object]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda dag: setattr(dag, "format", 2), "format"),
        (lambda dag: setattr(dag, "workflow", ""), "workflow"),
        (lambda dag: setattr(dag, "workflow", "a\0b"), "workflow"),
        (lambda dag: setattr(dag, "bundle_digest", "sha256:xyz"), "digest"),
        (lambda dag: dag.digest_parts.add(digest="sha256:xyz"), "digest_parts"),
        (lambda dag: dag.digest_parts.add(digest=SOME_DIGEST, names=["a"]), "digest_parts have different lengths"),
        (lambda dag: dag.digest_parts.add(digest=SOME_DIGEST, names=["a" * 2000], values=[""]), "1024 characters"),
        (
            lambda dag: dag.digest_parts.add(digest=SOME_DIGEST, names=["a"] * 200_001, values=["b"] * 200_001),
            "200,000",
        ),
        (lambda dag: dag.node_operator.append(0), "different lengths"),
        (lambda dag: dag.node_operator.__setitem__(0, 9), "node_operator"),
        (lambda dag: dag.node_location.__setitem__(0, 99), "node_location"),
        (lambda dag: dag.location_file.__setitem__(0, 1), "location_file"),
        (lambda dag: dag.arguments.kind.__setitem__(1, 77), "binding kind 77"),
        (lambda dag: dag.arguments.a.__setitem__(0, 99), "no constant 99"),
        (lambda dag: dag.arguments.b.__setitem__(0, 1), "b is not 0"),
        (lambda dag: dag.arguments.a.__setitem__(1, 99), "no node 99"),
        (lambda dag: dag.arguments.b.__setitem__(1, 1), "no output 1"),
        (lambda dag: dag.arguments.a.__setitem__(1, 1), "not before node 1"),
        (lambda dag: dag.arguments.a.__setitem__(1, 3), r"node 1 \(increment at tests/flows.py:2\), argument 'x0'"),
        (lambda dag: dag.arguments.b.__setitem__(4, 9), "do not all come before"),
        (lambda dag: dag.arguments.kind.append(CONSTANT), "different lengths"),
        (lambda dag: dag.operators[0].parameters.add(name="extra", type=0), "parameters in all"),
        (lambda dag: dag.operators[0].parameters.add(name="x0", type=0), "twice"),
        (lambda dag: setattr(dag.operators[0].parameters[0], "name", "not a name"), "identifiers"),
        (lambda dag: setattr(dag.operators[0].parameters[0], "type", 9), "row 9"),
        (lambda dag: setattr(dag.operators[0], "module", ""), "module"),
        (lambda dag: setattr(dag.operators[0], "timeout_seconds", float("nan")), "timeout_seconds"),
        (lambda dag: setattr(dag.operators[0].retry, "backoff_seconds", -1), "backoff_seconds"),
        (lambda dag: setattr(dag.operators[0].retry, "attempts", 1 << 31), "attempts"),
        (lambda dag: setattr(dag.operators[0].retry, "attempts", 1001), "at most 1,000"),
        (lambda dag: setattr(dag.operators[0].retry, "max_backoff_seconds", 1e9), "max_backoff_seconds"),
        (lambda dag: setattr(dag.operators[0].retry, "backoff_factor", float("inf")), "backoff_factor"),
        (lambda dag: setattr(dag.operators[0].retry, "jitter", 1.5), "jitter must be from 0 to 1"),
        (lambda dag: setattr(dag.operators[0].retry, "jitter", float("nan")), "jitter"),
        (lambda dag: dag.operators[0].retry.only_errors.append("x" * 5000), "only_errors"),
        (lambda dag: dag.operators[0].retry.except_errors.extend(["e"] * 1001), "except_errors"),
        (lambda dag: setattr(dag.operators[0], "timeout_seconds", 1e9), "timeout_seconds must be from 0 to 31,622,400"),
        (lambda dag: setattr(dag.operators[0], "queue_timeout_seconds", -1), "queue_timeout_seconds"),
        (lambda dag: setattr(dag.operators[0], "start_timeout_seconds", float("inf")), "start_timeout_seconds"),
        (lambda dag: setattr(dag.operators[0], "heartbeat_timeout_seconds", -0.1), "heartbeat_timeout_seconds"),
        (lambda dag: setattr(dag.operators[0], "priority", 1_000_001), "within ±1,000,000"),
        (lambda dag: setattr(dag.operators[0], "priority", -(1 << 31)), "within ±1,000,000"),
        (lambda dag: setattr(dag.operators[0].resources, "gpus", 1 << 31), "resources"),
        (lambda dag: setattr(dag.operators[0], "failure_policy", 9), "failure policy"),
        (lambda dag: setattr(dag.types[0], "scalar", 9), "scalar type number 9"),
        (lambda dag: dag.types[0].Clear(), "empty"),
        (lambda dag: dag.types[0].CopyFrom(type_of(str)), "expected str, found 0"),
        (lambda dag: setattr(dag.outputs[0], "item", 99), "output 'result'"),
        (lambda dag: setattr(dag.outputs[0], "type", 99), "output 'result'"),
        (lambda dag: setattr(dag.outputs[0], "location", 99), "its location is out of range"),
        (lambda dag: setattr(dag.outputs[0], "type", 1), r"output 'result': int is not list\[int\]"),
        (lambda dag: dag.outputs.add(name="result"), "twice"),
        (lambda dag: dag.inputs.add(name="n", type=0, constant=5), "input 'n'"),
        (lambda dag: dag.inputs.add(name="n", type=1, constant=0), "inputs.n: expected list"),
        (lambda dag: dag.files.append("x" * 5000), "file 1"),
    ],
)
def test_a_broken_rule_is_named(break_it: Break, message: str) -> None:
    dag = fanout(3)
    break_it(dag)
    with pytest.raises(BadDag, match=message):
        check_dag(dag)


def with_argument(kind: types_pb2.Type, bind: Callable[[DagBuilder], tuple[int, int, int]]) -> dag_pb2.Dag:
    builder = DagBuilder()
    builder.node(ONE, builder.constant(1))
    row = bind(builder)
    return builder.output(builder.node(builder.operator("flows:taker", [kind]), row))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "bind", "message"),
    [
        (type_of(str), lambda b: (OUTPUT, 0, 0), "int is not str"),
        (INTS, lambda b: b.list([b.constant(1), b.constant(text("x"))]), "element 1: expected int, found 'x'"),
        (INT, lambda b: b.list([]), "a list is not int"),
        (type_of(int | None), lambda b: b.list([]), "a list is not int"),
        (type_of(int | str), lambda b: b.list([]), r"a list is none of int \| str"),
        (type_of(dict[str, int]), lambda b: b.collection(MAP, [b.constant(1), b.constant(1)]), "string constants"),
        (type_of(dict[str, int]), lambda b: b.collection(MAP, [b.constant(text("a"))]), "in turn"),
        (
            type_of(dict[str, int]),
            lambda b: b.collection(MAP, [b.constant(text("b")), b.constant(1), b.constant(text("a")), b.constant(1)]),
            "sorted and unique",
        ),
        (record_type(), lambda b: b.collection(RECORD, [b.constant(1)]), "has 2 fields, found 1"),
        (record_type(), lambda b: b.collection(RECORD, [b.constant(1), b.constant(2)]), "field word: expected str"),
        (INT, lambda b: (FIELD, b.item((OUTPUT, 0, 0)), 0), "int has no field 0"),
        (INT, lambda b: (FIELD, b.item(b.constant(1)), 0), "from an output"),
        (INT, lambda b: (FIELD, 9, 0), "does not come before"),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    kind: types_pb2.Type, bind: Callable[[DagBuilder], tuple[int, int, int]], message: str
) -> None:
    with pytest.raises(BadDag, match=message):
        check_dag(with_argument(kind, bind))


def test_items_refer_only_to_lower_rows() -> None:
    dag = with_argument(INTS, lambda builder: builder.list([builder.constant(1)]))
    dag.items.kind[0], dag.items.a[0], dag.items.b[0] = LIST, 0, 1
    with pytest.raises(BadDag, match="come before"):
        check_dag(dag)


def test_a_node_deep_inside_a_list_must_come_first() -> None:
    builder = DagBuilder()
    builder.node(ONE, builder.constant(1))
    later = builder.list([builder.list([(OUTPUT, 1, 0)])])
    builder.node(builder.operator("flows:taker", [type_of(list[list[int]])]), later)
    with pytest.raises(BadDag, match="needs node 1, which is not before node 1"):
        check_dag(builder.dag)


@pytest.mark.parametrize(
    "field", ["nodes", "bindings", "constants", "types", "operators", "files", "locations", "edges"]
)
def test_each_count_is_bounded(field: str) -> None:
    with pytest.raises(BadDag):
        check_dag(fanout(3), limits=DagLimits(**{field: 0}))


def test_lists_that_double_at_every_level_are_refused_before_they_are_spelled_out() -> None:
    builder = DagBuilder()
    kind = INT
    for _ in range(20):
        kind = types_pb2.Type(list=types_pb2.ListType(item=kind))
    builder.list([builder.constant(1)])
    for row in range(1, 4000):
        builder.item((LIST, 0, row))
    with pytest.raises(BadDag, match="spell out"):
        check_dag(builder.output((LIST, 0, 4000), type_=kind))


def test_unions_made_to_be_slow_are_refused() -> None:
    def union(depth: int, salt: str) -> types_pb2.Type:
        if depth == 0:
            return types_pb2.Type(enum=types_pb2.EnumType(name=salt, members=["A"]))
        arms = [types_pb2.Type(list=types_pb2.ListType(item=union(depth - 1, f"{salt}{i}"))) for i in range(12)]
        return types_pb2.Type(union=types_pb2.UnionType(arms=arms))

    builder = DagBuilder()
    made = builder.node(builder.operator("flows:make", [], [union(3, "a")]))
    with pytest.raises(BadDag):
        check_dag(builder.output(builder.node(builder.operator("flows:take", [union(3, "b")]), made)))


def test_overlapping_lists_of_one_long_row_are_refused() -> None:
    builder = DagBuilder()
    operator = builder.operator("flows:take", [INTS])
    builder.list([builder.constant(1) for _ in range(5000)])
    for first in range(1800):
        builder.node(operator, (LIST, first, 3000))
    with pytest.raises(BadDag, match="spell out"):
        check_dag(builder.dag)


def test_a_long_constant_read_as_many_types_is_refused() -> None:
    builder = DagBuilder()
    numbers = types_pb2.Value()
    numbers.list.items.extend([types_pb2.Value(integer=1)] * 100_000)
    constant = builder.constant(numbers)
    for length in range(100):
        constraints = types_pb2.Constraints(max_length=1_000_000 + length)
        kind = types_pb2.Type(list=types_pb2.ListType(item=INT), constraints=constraints)
        builder.node(builder.operator("flows:take", [kind]), constant)
    with pytest.raises(BadDag, match="too complex"):
        check_dag(builder.dag)


@pytest.mark.parametrize("levels", [30, 200, 5000])
def test_deep_types_are_refused(levels: int) -> None:
    dag = fanout(1)
    kind = dag.types[0]
    for _ in range(levels):
        kind = kind.list.item
    kind.scalar = types_pb2.SCALAR_KIND_INT
    with pytest.raises(BadDag):
        check_dag(dag)


def test_hostile_patterns_are_not_run() -> None:
    kind = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_STRING, constraints=types_pb2.Constraints(pattern="(a+)+$"))
    check_dag(with_argument(kind, lambda builder: builder.constant(text("a" * 60 + "!"))))


def test_the_digest_of_bytes_is_their_address() -> None:
    assert digest_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
